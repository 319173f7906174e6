#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Backings: the backing files of a store, open
 *
 * Which files there are stands in the store; their descriptors are the keeper's, who gives them to
 * each generation. A file is opened when the first disk names it, which others may then share, and
 * closed when the last one that named it is gone.
 *
 * What outlives a death at any point of it:
 *
 *   opening   the record is made, then the descriptor goes to the keeper, then a disk names it; a
 *             record that no disk names is closed by whoever looks next
 *   closing   the record goes, then the file is marked as nobody's or removed, then the keeper lets
 *             go; who follows has a descriptor without a record, and does the rest by what is left
 *             of that
 *
 * Ownership: descriptors in here are this process's; the keeper has its own.
 * Locking:   one mutex, held while a file is opened or closed, which may take as long as writing
 *            all of it. Callers hold no lock of the engine. Errors are taken without it.
 * Errors:    those of backing-file.h, and -ENOSPC where there are ZR_BACKINGS_MAX files, -EINVAL for
 *            one that is shared and was opened for something else; each is said in one line.
 * Cost:      0.1 % of the file of private memory is 2 bytes a block, made when it is opened.
 */

#include <pthread.h>

#include "backing-io.h"
#include "store.h"

struct backings_file {
	int fd;      /* -1: none */
	uint64_t id; /* of the record that io is for; 0: none is */
	unsigned int n_held;
	struct backing_io io;
};

struct backings {
	/* constant */
	struct zr_store *store;
	dev_t mount_device;     /* 0: not mounted yet */
	const char *mountpoint; /* where it will be; NULL once it is */
	/* Give the descriptor of that index to who keeps it, -1: none; NULL: nobody keeps any. */
	void (*pass)(void *context, unsigned int index, int fd);
	void *context;
	int news;       /* eventfd: there are errors to be said, or a file was opened */
	bool is_unsaid; /* of who says errors: there may be some still */

	pthread_mutex_t lock;
	/* protected by lock */
	struct backings_file files[ZR_BACKINGS_MAX];
};

/* No file is there. Return: 0 or -errno. */
int backings_init(struct backings *backings, struct zr_store *store);

/* Close the descriptors; the files stay what they are. */
void backings_deinit(struct backings *backings);

/* A descriptor that was opened by another process, in place of what was there. -1: none. */
void backings_take(struct backings *backings, unsigned int index, int fd);

/* Before the store is loaded, and again at the last moment (@is_last): what is there of each record, if
 * it is the file that the record means. Until then a descriptor may still be on its way, and what is
 * not that file is looked at again; only at the last moment what was on it is lost. Return: 0, -ENOMEM,
 * -EUCLEAN. */
int backings_attach(struct backings *backings, bool is_last);

/* Give all descriptors to who keeps them once more. Return: false while somebody opens or closes a
 * file, which may take long. */
bool backings_pass_all(struct backings *backings);

/* Does the store write back to any file? */
bool backings_are_there(const struct backings *backings);

/* The file that @spec names is open, and spec->attrs.backing_id its number, which stays until
 * backings_release(). Nothing happens where it names none. */
int backings_hold(struct backings *backings, struct zr_disk_spec *spec, struct zr_stop stop);

/* It was named by a disk, or was not: files that no disk names are closed. */
void backings_release(struct backings *backings, const struct zr_disk_spec *spec);

/* Is there one that no disk names, and nobody reads from, or that one who died was closing? */
bool backings_are_idle(struct backings *backings);

/* Close the files that no disk names. */
void backings_sweep(struct backings *backings);

/* The mount is gone: what is on the files is nobody's. */
void backings_close(struct backings *backings);

/* Say the first error of each file, once; or later, if somebody opens or closes one. By one thread. */
void backings_say_errors(struct backings *backings);

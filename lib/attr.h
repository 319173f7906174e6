#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Attributes: the one table
 *
 * Every attribute, of a disk or of the daemon, is one row: its name, what it is for, when it may
 * change, and how its text is read and written. What a configuration may say, what lies below
 * .control/, what zramfsctl explains and what the manual lists are all made from it.
 *
 * Ownership: rows are static.
 * Locking:   parse touches the caller's spec alone; show, stream and apply lock for themselves, and
 *            may wait and allocate.
 * Errors:    those of the kernel's zram: -EINVAL, -EBUSY, ... ; nothing changed on any of them.
 *            -EINTR for long work that was interrupted, which has then done a part of it.
 * Cost:      a look-up walks a few dozen rows; not for the path of a disk request.
 */

#include "stop.h"
#include "store.h"

enum zr_attr_flags {
	ZR_ATTR_CONFIG = 1,  /* a key of the configuration, and a word of hot_add */
	ZR_ATTR_CONTROL = 2, /* a file under .control/<disk>/, or .control/zramfs/ */
	ZR_ATTR_DAEMON = 4,  /* of the daemon, not of a disk */
	ZR_ATTR_LONG = 8,    /* writing it, or showing it, may take long, and can be interrupted */
	ZR_ATTR_ADDS = 16, /* what is applied adds to what is there; an empty text is none of it */
};

enum zr_attr_when {
	ZR_WHEN_NEVER,  /* it is read */
	ZR_WHEN_ALWAYS, /* at any time */
	ZR_WHEN_EMPTY,  /* while the disk has no size */
	ZR_WHEN_UNUSED, /* while the disk is not in use */
	ZR_WHEN_START,  /* when the daemon starts */
};

/* Longest text that is written to a control file, without the terminator; sysfs has a page. */
#define ZR_ATTR_VALUE_MAX 4095u

/* Longest text that show gives. What is longer is streamed. */
#define ZR_ATTR_TEXT_MAX 16384u

struct zr_batch;

/*
 * What the process can do that the engine cannot. Each may be called by any thread, and gets
 * @context; texts end in a newline and fit ZR_ATTR_TEXT_MAX. Return: 0 or -errno, what is printed
 * its length.
 */
struct zr_attr_daemon {
	void *context;
	/* Have a worker of the program at @path take over, empty for the one that runs. Returns
	 * when it is ready to, or cannot: -EINTR if @stop said so, and the old one goes on. */
	int (*upgrade)(void *context, const char *path, struct zr_stop stop);
	int (*print_upgrade)(void *context, char *text, size_t n_text); /* how the last one went */
	int (*print_safety)(void *context, char *text, size_t n_text);
	int (*print_generation)(void *context, char *text, size_t n_text);
	uint32_t (*watchdog)(void *context); /* seconds */
	void (*set_watchdog)(void *context, uint32_t seconds);
	uint32_t (*poll_us)(void *context);
	void (*set_poll_us)(void *context, uint32_t us);
	uint32_t (*policy_cpu)(void *context); /* percent of a core */
	void (*set_policy_cpu)(void *context, uint32_t percent);
	/* Have a thread there that does what disks want done by themselves. */
	int (*follow_policies)(void *context);
	const char *transport; /* as the configuration calls it */
	uint32_t uring_depth;
	/* Open the file at @path and have the disk, which has no size, write pages back to it; empty:
	 * to none. What else its attributes say of the file holds. What is wrong is said in the log.
	 * May take as long as all of the file takes to be written. */
	int (*back)(void *context, struct zr_disk *disk, const char *path, struct zr_stop stop);
	/* What pages are written back with, lent to one at a time: NULL once @stop said so. */
	struct zr_batch *(*take_batch)(void *context, struct zr_stop stop);
	void (*give_batch)(void *context, struct zr_batch *batch);
};

/* What an attribute is asked of, and by whom. */
struct zr_attr_target {
	struct zr_store *store;
	struct zr_disk *disk; /* NULL: the daemon */
	struct zr_ctx *ctx;
	const struct zr_attrs *defaults;     /* what reset goes back to */
	unsigned int n_threads;              /* that serve disks */
	struct zr_stop stop;                 /* of long work */
	const struct zr_attr_daemon *daemon; /* NULL outside of the daemon */
};

struct zr_attr {
	const char *name;
	unsigned int flags; /* enum zr_attr_flags */
	unsigned int mode;  /* of the control file: the kernel's, where it has one */
	enum zr_attr_when when;
	const char *type;    /* size, number, word, text, figure, table: for people */
	const char *unit;    /* NULL: none */
	const char *allowed; /* what a message says is allowed; NULL: it is not written */
	const char *help;    /* one line */
	const char *since;   /* version of zramfs */

	/* Text of the configuration into a spec. Return: 0, -EINVAL, -ERANGE. */
	int (*parse)(struct zr_disk_spec *spec, const char *text);
	int (*parse_daemon)(struct zr_daemon_spec *spec, const char *text);
	/* What parse would take for what the spec says. Empty: nothing to say, and the key may be
	 * left out; parse takes that too where print can give it. NULL for what is no key. */
	void (*print)(const struct zr_disk_spec *spec, char *text, size_t n_text);
	void (*print_daemon)(const struct zr_daemon_spec *spec, char *text, size_t n_text);

	/* What is wrong with such a text whatever the disk is doing, asked before it is claimed.
	 * NULL: nothing. */
	int (*check)(const char *text);
	/* Text written to the control file, without its newline. Return: 0 or -errno. NULL: no
	 * writing. */
	int (*apply)(const struct zr_attr_target *target, const char *text);
	/* Text of the control file, newline included; n_text bytes at most. Return: its length or
	 * -errno. NULL: no reading, or stream. */
	int (*show)(const struct zr_attr_target *target, char *text, size_t n_text);
	/* The same for text of any length: whole lines, from *cursorp on, which begins with 0 and
	 * is moved. Return: bytes, 0 at the end, or -errno. */
	int (*stream)(const struct zr_attr_target *target, uint64_t *cursorp, char *text,
		      size_t n_text);
};

/* The index of a row is part of node numbers, and stays what it is when rows are added. */
#define ZR_ATTR_INDEX_MAX 240u

/* NULL where there is none. */
const struct zr_attr *zr_attr_at(unsigned int index);

/* The first row at or above *indexp, which becomes its index; NULL past the last:
 * for (i = 0; (attr = zr_attr_next(&i)); ++i) */
const struct zr_attr *zr_attr_next(unsigned int *indexp);

/* Of a disk, or of the daemon. NULL if there is none of that name. */
const struct zr_attr *zr_attr_find(const char *name);
const struct zr_attr *zr_attr_find_daemon(const char *name);

/* In words. */
const char *zr_attr_when_text(enum zr_attr_when when);

/* What is set of a disk that is there, or of the daemon: what print would make text of. */
void zr_attr_spec_of(struct zr_disk *disk, struct zr_disk_spec *spec);

#define ZR_ATTR_WHY_MAX 512u

/*
 * A line "name attribute=value ..." into @spec, which has the defaults. A value with blanks in it
 * stands in double quotes. A disk of which no size is said gets none.
 *
 * Return: 0, -EINVAL or -ERANGE, and then one line without its newline in @why that names the word
 * and what is allowed.
 */
int zr_attr_parse_line(struct zr_disk_spec *spec, const char *line, char why[ZR_ATTR_WHY_MAX]);

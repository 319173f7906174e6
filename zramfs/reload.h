#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Reload: the configuration, read again
 *
 * New sections become disks, and what may change of the others changes. What may not is named, and
 * so is a section that is gone; its disk stays. A file with an error changes nothing.
 *
 * Ownership: has the configuration that was read last, and its path.
 * Locking:   the main thread's. Disks and store lock for themselves; each change has the records'
 *            lock (records.h), and no record: a run that a death cuts short has done a part, and
 *            the next one the rest.
 * Errors:    said in one line each, by log_line().
 * Cost:      that of loading, and a look at every key of every disk.
 */

#include "config.h"
#include "fs.h"

struct reload {
	char *path;                    /* absolute; NULL: no file was named */
	struct config *config;         /* what was read last */
	struct zr_daemon_spec started; /* what the daemon was started with */
};

/* @path: as typed, or NULL. To be called before the working directory changes. @config is the
 * reload's from now on, also on errors. Return: 0 or -errno. */
int reload_init(struct reload *reload, const char *path, struct config *config);
void reload_deinit(struct reload *reload);

/* Read it again, and do what it says. Return: a descriptor of the text that was read, the caller's;
 * -1 if it was not taken over. */
int reload_run(struct reload *reload, struct zr_store *store, struct fs *fs);

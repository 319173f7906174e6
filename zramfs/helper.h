#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Helper: this program as mount(8) calls it, for a line of fstab(5)
 *
 *   mount.fuse.zramfs SOURCE MOUNTPOINT [-fnsv] [-o OPTIONS] [-t TYPE]    a link to it in /sbin
 *   zramfs SOURCE MOUNTPOINT [-o OPTIONS]                                 by mount.fuse3(8)
 *
 * What that means is said in our own words, and main() goes on with these. Options that are for
 * mount(8), systemd or nobody any more are left out; what is left is libfuse's to know.
 *
 * Ownership: the words are made once and stay.
 * Locking:   one thread.
 * Errors:    what is wrong is said in one line.
 * Cost:      none worth a word.
 */

/* Were these typed by mount(8), or in its way? */
int helper_is_meant(int argc, char **argv);

/* Puts our own words in their place. Return: -1 to go on, or what to exit with. */
int helper_take(int *argcp, char ***argvp);

#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Kworkers: what the administrator of such a machine does for the loop device
 *
 * Writing to a loop device on FUSE takes a few small pieces of kernel memory for each request, by a
 * kernel worker. With little left it finds none and waits for memory that only its own writing
 * would free: seen with the daemon idle and 912 pages under writeback. A real-time task may go
 * deeper into what the kernel keeps, and gives back what it took when the request is done. The
 * workers of loop devices cannot be told apart from other unbound ones, and come and go: all of
 * these are made real-time tasks, and looked for again five times a second.
 */

/* Starts the thread. */
void kworkers_start(void);

#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Control: files that the kernel or zramfs make when they are read
 *
 * A file of zramfs answers when a worker serves; until then whoever reads it waits. So what is read
 * there is read by threads that may wait, and an answer that is an errno is an error of the run:
 * programs are to see a pause when a worker is killed, and nothing else.
 */

#include <stddef.h>

#include "board.h"

/* Return: 0, and a text that ends with a 0 byte; -errno, and an empty one. */
int control_read(const char *path, char *text, size_t n_bytes);

/* Counts and prints it. */
void control_failed(struct board *board, const char *path, int r);

/* The thread that keeps the figures of the disk on the board up to date. */
void control_start(struct board *board, const char *mount);

#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Load: what the programs share that run while workers are killed
 *
 * A program runs until SIGTERM, ends with status 0 and one line of what it did, or with status 1
 * and one line of what was wrong, at once. Signals are blocked in its threads: an interrupted
 * request would be another test. A request that nobody answers is told from a slow one by its age.
 *
 * Ownership: what it was is a constant text of the caller's.
 * Locking:   none; each thread notes what it waits for in a place of its own.
 * Errors:    load_fail() does not return.
 * Cost:      a look at the clock for each request.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOAD_THREADS_MAX 64u

/* The process dies with whoever started it. */
void load_init(void);

/* false once SIGTERM has come. */
bool load_goes_on(void);

void __attribute__((noreturn, format(printf, 1, 2))) load_fail(const char *format, ...);

/* What thread @no asks for now, and that it has the answer. */
void load_asks(unsigned int no, const char *what, uint64_t where);
void load_has(unsigned int no);

/* Run @run in threads 0 .. @n_threads - 1 until the last one has ended. */
void load_run(unsigned int n_threads, void (*run)(unsigned int no));

/* A whole number of an argument, from 1 to @max. */
unsigned int load_number(const char *text, unsigned int max);

/* Bytes for direct I/O, aligned to a page. */
void *load_buffer(size_t n_bytes);

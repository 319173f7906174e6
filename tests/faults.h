#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Refusals of the kernel, on demand
 *
 * All memory of a store is asked for in one place, madvise(MADV_POPULATE_WRITE). Tests that include
 * this are linked with --wrap=madvise, and the call that they name fails. Others go through.
 */

/* The so-many-th request for memory from now fails; 0: none does. Counts down to 0. */
extern unsigned int faults_countdown;

/* What it fails with: ENOMEM unless said otherwise. */
extern int faults_errno;

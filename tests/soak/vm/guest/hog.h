#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Hog: a program that takes all memory there is, in pages that no codec makes smaller.
 *
 * It is the one that the kernel is to kill when there is no more: its oom_score_adj is the highest.
 */

#include "board.h"

/* Does not return: exits 0 after n_pages, should nobody end it before. */
_Noreturn void hog_run(struct board *board, uint64_t n_pages);

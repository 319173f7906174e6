#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Killer: ends the worker that serves, with SIGKILL, at random instants
 *
 * .control/zramfs/generation says which process that is. Whoever reads it while no worker serves
 * waits until one does, as any program with a page on the disk would: so what is measured from the
 * kill to the answer of another generation is the pause that programs see. One kill in four comes
 * as soon as the new generation has answered, the others up to four seconds later. While there is a
 * hog none comes within a second: the one that would follow may not have its memory yet, and there is
 * none to be had, which is said in zramfs(8).
 *
 * A worker whose parent is not the parent of the first is none: it is left alone, and that is an
 * error, as is an answer that is an errno.
 */

#include "board.h"

/* Starts the thread; it kills while board->kills_wanted. @mount: where zramfs is mounted. */
void killer_start(struct board *board, const char *mount);

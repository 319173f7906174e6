#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Upkeep: the thread that keeps memory ahead of need and gives back what is free
 *
 * Whoever serves requests neither populates nor punches memory; this thread does. It is woken when
 * a class of the pool runs low, and looks around fifty times a second while something changes, once
 * a second while nothing does: is there memory to trim, and would a pass of compaction be worth it?
 * Where that is permitted it has the lowest real-time priority: who waits for it is many, and it is
 * one among all that run.
 *
 * Making it and letting it begin are apart: a thread wants memory of its own, and whoever takes over
 * a store when there is none has it made before.
 *
 * Ownership: the engine is the caller's and outlives it.
 * Locking:   none of its own; takes COMPACT, GROW and below.
 * Errors:    -EAGAIN or -ENOMEM where there is no thread to be had.
 * Cost:      idle, one look a second, 0.1 ms of a core.
 */

#include "pages.h"

struct zr_upkeep;

/* It waits. Of @engine nothing is looked at yet. @in_real_time: at the lowest real-time priority, if
 * that is permitted; else with a better nice value. */
int zr_upkeep_new(struct zr_upkeep **upkeepp, struct zr_engine *engine, bool in_real_time);

/* When the engine is loaded. The second time nothing happens. */
void zr_upkeep_begin(struct zr_upkeep *upkeep);

/* Whoever waits for memory is woken, and gets it themselves from now on. */
struct zr_upkeep *zr_upkeep_free(struct zr_upkeep *upkeep);

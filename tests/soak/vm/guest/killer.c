/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "killer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "control.h"
#include "page.h"
#include "watch.h"

#define LONGEST_LIFE_MS 4000u

/* Where somebody takes all memory there is: until then the one that is to follow is made ready. */
#define SHORTEST_LIFE_MS 1000u

struct worker {
	uint64_t generation;
	int pid;
};

static char generation_path[256];

/* Return: 0; -errno of the read; -EBADMSG if there is something else in the file. */
static int worker_now(struct worker *workerp)
{
	struct worker worker;
	char text[64];
	const int r = control_read(generation_path, text, sizeof(text));

	if (r < 0)
		return r;
	if (sscanf(text, "%lu %d", &worker.generation, &worker.pid) != 2 || worker.pid < 2)
		return -EBADMSG;
	*workerp = worker;
	return 0;
}

/* Return: the parent's pid; 0 if there is no such process. */
static int parent_of(int pid)
{
	char path[64], text[512];
	const char *behind_name;
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (control_read(path, text, sizeof(text)) < 0)
		return 0;
	behind_name = strrchr(text, ')');
	if (!behind_name || sscanf(behind_name + 1, " %*c %d", &parent) != 1)
		return 0;
	return parent;
}

/* Waits until the one after @dead serves. */
static int await_next(const struct board *board, const struct worker *dead, struct worker *nextp)
{
	int r;

	do {
		r = worker_now(nextp);
		if (r < 0)
			return r;
		if (nextp->generation != dead->generation)
			return 0;
		clock_wait_ms(5);
	} while (board->phase != PHASE_END);
	return -ECANCELED;
}

static int kill_one(struct board *board, struct worker *worker)
{
	const uint64_t killed_at = clock_ms();
	struct worker next;
	int r;

	if (kill(worker->pid, SIGKILL) < 0)
		return errno == ESRCH ? 0 : -errno;
	board->n_kills++;
	board->killed_at_ms = killed_at;
	r = await_next(board, worker, &next);
	if (r < 0)
		return r;
	board->pause_ms = clock_ms() - killed_at;
	board->killed_at_ms = 0;
	if (board->pause_ms > board->pause_ms_max)
		board->pause_ms_max = board->pause_ms;
	board->generation = next.generation;
	*worker = next;
	return 0;
}

static void *killer_run(void *argument)
{
	struct board *board = argument;
	struct worker worker;
	uint64_t random = clock_ms() << 1 | 1;
	int keeper = 0, r = 0;

	while (board->phase != PHASE_END && r == 0) {
		if (!board->kills_wanted) {
			clock_wait_ms(20);
			continue;
		}
		if (board->phase == PHASE_HOG)
			clock_wait_ms(SHORTEST_LIFE_MS);
		if (random_next(&random) % 4 != 0)
			clock_wait_ms(random_next(&random) % LONGEST_LIFE_MS);
		r = worker_now(&worker);
		if (r < 0)
			break;
		board->generation = worker.generation;
		if (keeper == 0)
			keeper = parent_of(worker.pid);
		if (keeper < 2 || parent_of(worker.pid) != keeper) {
			watch_say("failed process %d is no child of the keeper, %d", worker.pid,
				  keeper);
			board->n_errors++;
			break;
		}
		r = kill_one(board, &worker);
	}
	/* When all is taken down the mount may go while it is asked. */
	if (r < 0 && board->phase != PHASE_END)
		control_failed(board, generation_path, r);
	return NULL;
}

void killer_start(struct board *board, const char *mount)
{
	snprintf(generation_path, sizeof(generation_path), "%s/.control/zramfs/generation", mount);
	watch_thread(killer_run, board, 0);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Soak: what runs in the guest, from the first line to the last
 *
 *     soak PORT MOUNT SECONDS TIMES HOGS KILLS STRIDE BEGIN END
 *
 * BEGIN (a program) mounts zramfs on MOUNT and swaps to it, END takes that down. In between: the
 * checker, of TIMES the memory that is available then, for SECONDS, at least a third of them after
 * it has filled its pages; next to it HOGS hogs, one after the other; then one page in STRIDE once
 * more. KILLS is 1 if the worker is
 * to be killed all the time but while the first hog runs.
 *
 * What happened goes to PORT: a line a second that begins with "watch", and lines that begin with
 * "begin", "phase", "hog", "checker", "log", "failed" and, the last one, "end".
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checker.h"
#include "clock.h"
#include "control.h"
#include "hog.h"
#include "killer.h"
#include "kworkers.h"
#include "watch.h"

#define CHECKER_THREADS 4u

/* How willing the kernel is to kill, when it must: the hog first, then us never. */
#define OOM_CHECKER "-500"
#define OOM_HOG     "1000"
#define OOM_SELF    "-1000"

struct soak {
	const char *mount, *begin, *end;
	uint64_t seconds, times, n_hogs;
	int kills;
	struct board *board;
	uint64_t n_pages;
	pid_t checker;
	int checker_ended; /* waited for already */
};

static void set_oom_score(const char *score)
{
	const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, score, strlen(score)) < 0)
		err(1, "soak: oom_score_adj");
	close(fd);
}

static const char *how_it_ended(int status, char text[32])
{
	if (WIFSIGNALED(status))
		snprintf(text, 32, "signal %d", WTERMSIG(status));
	else
		snprintf(text, 32, "status %d", WEXITSTATUS(status));
	return text;
}

/* Return: 1 if it ended with status 0. */
static int run_program(const char *path)
{
	char how[32];
	int status;
	const pid_t pid = fork();

	if (pid == 0) {
		set_oom_score("0");
		execl(path, path, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		watch_say("failed %s cannot run: %s", path, strerror(errno));
		return 0;
	}
	if (status != 0)
		watch_say("failed %s ended with %s", path, how_it_ended(status, how));
	return status == 0;
}

static void start_checker(struct soak *soak)
{
	soak->checker = fork();
	if (soak->checker == 0) {
		set_oom_score(OOM_CHECKER);
		checker_run(soak->board, soak->n_pages, CHECKER_THREADS);
	}
	if (soak->checker < 0)
		err(1, "soak: no checker");
}

/* Return: 1 while the checker runs. */
static int checker_runs(struct soak *soak)
{
	char how[32];
	int status;

	if (soak->checker_ended)
		return 0;
	if (waitpid(soak->checker, &status, WNOHANG) != soak->checker)
		return 1;
	soak->checker_ended = 1;
	if (soak->board->phase != PHASE_LAST || status != 0)
		watch_say("failed the checker ended with %s", how_it_ended(status, how));
	else
		watch_say("checker ended well");
	return 0;
}

static void enter(struct soak *soak, enum phase phase, const char *name)
{
	soak->board->phase = phase;
	watch_say("phase %s", name);
}

/* Return: 1 if the checker still runs then. */
static int let_it_run(struct soak *soak, uint64_t began)
{
	const uint64_t least = clock_ms() + soak->seconds * 1000 / 3;
	const uint64_t until = began + soak->seconds * 1000 > least ? began + soak->seconds * 1000
								    : least;

	while (clock_ms() < until) {
		if (!checker_runs(soak))
			return 0;
		clock_wait_ms(50);
	}
	return 1;
}

static int let_it_fill(struct soak *soak)
{
	while (soak->board->n_filled < soak->n_pages) {
		if (!checker_runs(soak))
			return 0;
		clock_wait_ms(50);
	}
	return 1;
}

/* The checker must have gone on, or the hog is not over. */
static int await_progress(struct soak *soak)
{
	const uint64_t n_wanted = soak->board->n_verified + 1000;

	while (soak->board->n_verified < n_wanted) {
		if (!checker_runs(soak))
			return 0;
		clock_wait_ms(50);
	}
	return 1;
}

/* One hog, from its first page to its end. Return: 1 if the checker still runs then. */
static int let_a_hog_in(struct soak *soak, uint64_t no, uint64_t n_pages)
{
	const uint64_t began = clock_ms();
	char how[32];
	int status;
	pid_t hog;

	soak->board->n_hogged = 0;
	soak->board->kills_wanted = soak->kills && no > 1;
	hog = fork();
	if (hog == 0) {
		set_oom_score(OOM_HOG);
		hog_run(soak->board, n_pages);
	}
	if (hog < 0) {
		watch_say("failed no hog: %s", strerror(errno));
		return 0;
	}
	while (waitpid(hog, &status, WNOHANG) != hog) {
		if (!checker_runs(soak))
			return 0;
		clock_wait_ms(50);
	}
	watch_say("hog %lu ended with %s after %lu pages and %lu ms, %s kills of the worker", no,
		  how_it_ended(status, how), soak->board->n_hogged, clock_ms() - began,
		  soak->board->kills_wanted ? "with" : "without");
	return await_progress(soak);
}

static void run_all(struct soak *soak)
{
	const uint64_t all_there_is = (soak->board->available_kib + soak->board->swap_free_kib) /
				      (PAGE_BYTES / 1024);
	const uint64_t began = clock_ms();

	start_checker(soak);
	enter(soak, PHASE_FILL, "fill");
	soak->board->kills_wanted = soak->kills;
	if (!let_it_fill(soak))
		return;
	enter(soak, PHASE_CHECK, "check");
	if (!let_it_run(soak, began))
		return;
	enter(soak, PHASE_HOG, "hog");
	for (uint64_t no = 1; no <= soak->n_hogs; ++no) {
		if (!let_a_hog_in(soak, no, all_there_is))
			return;
	}
	enter(soak, PHASE_LAST, "last");
	while (checker_runs(soak))
		clock_wait_ms(50);
}

static struct soak soak_of(char **argv)
{
	return (struct soak){
		.mount = argv[2],
		.seconds = strtoull(argv[3], NULL, 10),
		.times = strtoull(argv[4], NULL, 10),
		.n_hogs = strtoull(argv[5], NULL, 10),
		.kills = atoi(argv[6]),
		.begin = argv[8],
		.end = argv[9],
		.board = mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0),
	};
}

int main(int argc, char **argv)
{
	struct soak soak;

	if (argc != 10)
		errx(2, "usage: soak PORT MOUNT SECONDS TIMES HOGS KILLS STRIDE BEGIN END");
	soak = soak_of(argv);
	if (soak.board == MAP_FAILED || mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		err(1, "soak: no locked memory");
	soak.board->stride = strtoull(argv[7], NULL, 10);
	set_oom_score(OOM_SELF);
	watch_start(soak.board, argv[1]);
	kworkers_start();
	if (run_program(soak.begin)) {
		/* A whole sample of the time after swapon. */
		clock_wait_ms(1500);
		soak.n_pages = soak.board->available_kib / (PAGE_BYTES / 1024) * soak.times;
		watch_say("begin available=%lu swap=%lu pages=%lu", soak.board->available_kib,
			  soak.board->swap_free_kib, soak.n_pages);
		control_start(soak.board, soak.mount);
		killer_start(soak.board, soak.mount);
		run_all(&soak);
		/* Then nobody reads below the mount any more; who does so now ends within this time. */
		enter(&soak, PHASE_END, "down");
		clock_wait_ms(1500);
		if (soak.checker_ended)
			run_program(soak.end);
	}
	watch_say("end");
	return 0;
}

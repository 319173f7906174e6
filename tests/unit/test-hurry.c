/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Who is waited for by those who wait for memory has real-time priority, and nobody else
 */

#include "hurry.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "safety.h"
#include "test.h"
#include "thread.h"

/* thread.c and buffers.c want it. */
void safety_buffer_refused(size_t n_bytes)
{
}

#define N_THREADS 40u /* more than are read from /proc at once */

static const struct thread_kind kind = { .name = "waits" };

struct waiting {
	pthread_t thread;
	struct thread_room room;
	_Atomic pid_t number;
	int end; /* of a pipe: closed when it is to end */
};

static void wait_for_end(void *context)
{
	struct waiting *waiting = context;
	char byte;

	waiting->number = (pid_t)syscall(SYS_gettid);
	CHECK(read(waiting->end, &byte, 1) == 0);
}

static bool is_permitted(void)
{
	const int r = hurry(0, true);

	CHECK(r == 0 || r == -EPERM);
	CHECK(in_hurry() == (r == 0));
	CHECK(hurry(0, false) == 0 && !in_hurry());
	if (r < 0)
		printf("# no CAP_SYS_NICE: nobody comes first here\n");
	return r == 0;
}

static void test_a_thread_started_in_a_hurry_is_calm_when_it_runs(void)
{
	struct waiting waiting = { 0 };
	int ends[2];

	CHECK(pipe(ends) == 0);
	waiting.end = ends[0];
	CHECK(hurry(0, true) == 0);
	CHECK(thread_start(&waiting.thread, &waiting.room, &kind, wait_for_end, &waiting) == 0);
	CHECK(in_hurry() && hurry(0, false) == 0);
	while (waiting.number == 0)
		usleep(1000);
	CHECK(sched_getscheduler(waiting.number) == SCHED_OTHER);
	close(ends[1]);
	thread_join(waiting.thread, &waiting.room);
	close(ends[0]);
}

/* Of another process, with all of its threads. */
static void test_all_threads_of_a_process(void)
{
	static struct waiting waiting[N_THREADS];
	unsigned int i;
	int ends[2], status;
	pid_t child;

	CHECK(pipe(ends) == 0);
	for (i = 0; i < N_THREADS; ++i) {
		waiting[i].end = ends[0];
		CHECK(thread_start(&waiting[i].thread, &waiting[i].room, &kind, wait_for_end,
				   &waiting[i]) == 0);
	}
	for (i = 0; i < N_THREADS; ++i) {
		while (waiting[i].number == 0)
			usleep(1000);
	}
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		hurry_all(getppid());
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	for (i = 0; i < N_THREADS; ++i)
		CHECK(sched_getscheduler(waiting[i].number) == SCHED_FIFO);
	CHECK(in_hurry() && hurry(0, false) == 0);
	close(ends[1]);
	for (i = 0; i < N_THREADS; ++i)
		thread_join(waiting[i].thread, &waiting[i].room);
	close(ends[0]);
}

static void test_a_process_that_is_gone(void)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (child == 0)
		_exit(0);
	CHECK(waitpid(child, &status, 0) == child);
	hurry_all(child);
	CHECK(hurry(child, true) == -ESRCH && !in_hurry());
}

int main(void)
{
	RUN(test_a_process_that_is_gone);
	if (!is_permitted())
		return 0;
	RUN(test_a_thread_started_in_a_hurry_is_calm_when_it_runs);
	RUN(test_all_threads_of_a_process);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What requests and replies pass through is there before the first one: as the kernel counts it,
 * resident and locked, page for page; and where the limit of locked memory is small, resident all
 * the same, and locked in the order in which it is asked for.
 */

#include "buffers.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "safety.h"
#include "system.h"
#include "test.h"
#include "thread.h"

#define KIB(n) ((size_t)(n) << 10)

#define REPLY_BYTES KIB(128)

static unsigned int n_refused;

/* Instead of the daemon's, which remembers it to be said. */
void safety_buffer_refused(size_t n_bytes)
{
	CHECK(n_bytes > 0);
	++n_refused;
}

/* What the kernel knows of the mappings that a range is in, in KiB. */
struct resident {
	unsigned long size, rss, locked;
};

static struct resident resident_of(const void *bytes, size_t n_bytes)
{
	const unsigned long first = (unsigned long)bytes, last = first + n_bytes;
	struct resident sum = { 0 };
	unsigned long from, to, kib;
	bool inside = false;
	char line[512];
	FILE *file;

	file = fopen("/proc/self/smaps", "re");
	CHECK(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx %*[rwxps-]", &from, &to) == 2)
			inside = from >= first && to <= last;
		else if (inside && sscanf(line, "Size: %lu", &kib) == 1)
			sum.size += kib;
		else if (inside && sscanf(line, "Rss: %lu", &kib) == 1)
			sum.rss += kib;
		else if (inside && sscanf(line, "Locked: %lu", &kib) == 1)
			sum.locked += kib;
	}
	fclose(file);
	return sum;
}

static void check_resident(const struct buffer *buffer, bool is_locked)
{
	const struct resident sum = resident_of(buffer->bytes, buffer->n_bytes);

	CHECK(sum.size == buffer->n_bytes / 1024);
	CHECK(sum.rss == sum.size);
	if (ZR_SANITIZED)
		return;
	CHECK(buffer->is_locked == is_locked);
	CHECK(sum.locked == (is_locked ? sum.size : 0));
}

static void test_made_is_resident_and_locked_is_locked(void)
{
	static const size_t sizes[] = { 1, 4096, 4097, KIB(256), KIB(1024) + 4096 };
	struct buffer buffer = { 0 };
	unsigned int i;
	size_t at;

	for (i = 0; i < ZR_ARRAY_SIZE(sizes); ++i) {
		CHECK(buffer_make(&buffer, sizes[i]) == 0);
		CHECK(buffer.n_bytes >= sizes[i] && buffer.n_bytes < sizes[i] + 65536);
		for (at = 0; at < buffer.n_bytes; ++at)
			CHECK(buffer.bytes[at] == 0);
		check_resident(&buffer, false);
		buffer_lock(&buffer);
		check_resident(&buffer, true);
		buffer_free(&buffer);
		CHECK(!buffer.bytes && !buffer.is_locked);
	}
	CHECK(n_refused == 0);
}

static void test_none_is_neither_locked_nor_freed(void)
{
	struct buffer none = { 0 };

	buffer_lock(&none);
	buffer_free(&none);
	CHECK(n_refused == 0);
}

/* In a child, which dies of it. */
static void check_deadly(long at)
{
	struct rlimit no_core = { 0 };
	struct buffer buffer;
	int status;
	pid_t child;

	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGSEGV, SIG_DFL);
		CHECK(buffer_make(&buffer, 1) == 0);
		*(volatile uint8_t *)(buffer.bytes + at) = 1;
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void test_around_a_buffer_nobody_writes(void)
{
	check_deadly(-1);
	check_deadly(zr_system_page_bytes());
}

/* A child would share its pages until one of the two writes: then they would not be there. */
static void test_a_child_takes_nothing_away(void)
{
	struct rusage before, after;
	struct buffer buffer;
	int status;
	pid_t child;
	size_t at;

	/* No kernel knows that advice. */
	if (madvise(NULL, 4096, -1) == 0) {
		printf("# skipped: an emulator takes any advice and follows none\n");
		return;
	}
	CHECK(buffer_make(&buffer, KIB(1024)) == 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		_exit(0);
	CHECK(waitpid(child, &status, 0) == child && status == 0);

	CHECK(getrusage(RUSAGE_THREAD, &before) == 0);
	for (at = 0; at < buffer.n_bytes; at += 4096)
		*(volatile uint8_t *)(buffer.bytes + at) = 1;
	CHECK(getrusage(RUSAGE_THREAD, &after) == 0);
	/* Of other memory a few may be. */
	CHECK(ZR_SANITIZED || after.ru_minflt - before.ru_minflt < 16);
	buffer_free(&buffer);
}

/* threads */

static const struct thread_kind looks = { .name = "looks",
					  .n_reply = REPLY_BYTES,
					  .moves_pages = true };
static const struct thread_kind waits = { .name = "waits", .n_reply = REPLY_BYTES };

struct seen {
	uintptr_t on_stack;
	const uint8_t *reply;
	bool has_ctx;
};

static void thread_look(void *context)
{
	struct seen *seen = context;

	seen->on_stack = (uintptr_t)__builtin_frame_address(0); /* a sanitizer moves locals */
	seen->reply = thread_self.reply;
	seen->has_ctx = thread_self.ctx != NULL;
}

static void check_room(struct thread_room *room, bool is_locked)
{
	struct seen seen = { 0 };
	pthread_t thread;

	CHECK(thread_start(&thread, room, &looks, thread_look, &seen) == 0);
	/* The stack is looked at while it is one. */
	buffer_lock(&room->reply);
	buffer_lock(&room->stack);
	check_resident(&room->reply, is_locked);
	check_resident(&room->stack, is_locked);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(seen.has_ctx && seen.reply == room->reply.bytes);
	CHECK(room->reply.n_bytes == REPLY_BYTES);
	CHECK(seen.on_stack > (uintptr_t)room->stack.bytes &&
	      seen.on_stack < (uintptr_t)room->stack.bytes + room->stack.n_bytes);
	buffer_free(&room->reply);
	buffer_free(&room->stack);
}

static void test_a_thread_has_its_reply_and_its_stack(void)
{
	struct thread_room room;

	check_room(&room, true);
	CHECK(n_refused == 0);
}

static void test_a_joined_thread_leaves_nothing(void)
{
	struct thread_room room;
	struct seen seen = { 0 };
	pthread_t thread;

	CHECK(thread_start(&thread, &room, &looks, thread_look, &seen) == 0);
	thread_join(thread, &room);
	CHECK(seen.has_ctx && !room.reply.bytes && !room.stack.bytes);
}

static void thread_wait(void *context)
{
	char byte;

	CHECK(read(*(int *)context, &byte, 1) == 0);
}

/* A child of fork() finds the stacks of all threads there are, or the C library would kill it. */
static void test_a_child_finds_stacks(void)
{
	struct thread_room room;
	int ends[2], status;
	pthread_t thread;
	pid_t child;

	CHECK(pipe(ends) == 0);
	CHECK(thread_start(&thread, &room, &waits, thread_wait, &ends[0]) == 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		_exit(0);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	close(ends[1]);
	thread_join(thread, &room);
	close(ends[0]);
}

/* a small limit */

static void as_nobody(void (*test)(void), size_t limit_bytes)
{
	struct rlimit limit = { .rlim_cur = limit_bytes, .rlim_max = limit_bytes };
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
		test_drop_root();
		test();
		fflush(NULL);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* 2 MiB allow two of 1 MiB, the first two that are asked for, and nothing more. */
static void locks_the_first_ones(void)
{
	struct buffer buffers[4];
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(buffers); ++i)
		CHECK(buffer_make(&buffers[i], KIB(1024)) == 0);
	for (i = ZR_ARRAY_SIZE(buffers); i-- > 0;)
		buffer_lock(&buffers[i]);
	for (i = 0; i < ZR_ARRAY_SIZE(buffers); ++i)
		check_resident(&buffers[i], i >= 2);
	CHECK(ZR_SANITIZED || n_refused == 2);

	/* What is freed counts no more. */
	buffer_free(&buffers[3]);
	buffer_lock(&buffers[0]);
	check_resident(&buffers[0], true);
	CHECK(ZR_SANITIZED || n_refused == 2);
}

static void locks_nothing(void)
{
	struct thread_room room;

	check_room(&room, false);
	CHECK(ZR_SANITIZED || n_refused == 2);
}

static void test_a_small_limit(void)
{
	as_nobody(locks_the_first_ones, KIB(2048));
}

static void test_no_limit_at_all(void)
{
	as_nobody(locks_nothing, 0);
}

int main(void)
{
	RUN(test_made_is_resident_and_locked_is_locked);
	RUN(test_none_is_neither_locked_nor_freed);
	RUN(test_around_a_buffer_nobody_writes);
	RUN(test_a_child_takes_nothing_away);
	RUN(test_a_thread_has_its_reply_and_its_stack);
	RUN(test_a_joined_thread_leaves_nothing);
	RUN(test_a_child_finds_stacks);
	RUN(test_a_small_limit);
	RUN(test_no_limit_at_all);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Who logs never waits: not for a system's log that nobody reads, nor for a full pipe. What could
 * be said arrives, whole and in order; a log that was started anew is found again.
 */

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_log.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "test.h"

/* More than waiting ever takes when nothing waits. */
#define HANG_S 20

/* In the working directory of the test, see LOG_SOCKET. */
static const char *const path = LOG_SOCKET;

static int journal_new(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	CHECK(strlen(path) < sizeof(address.sun_path));
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0);
	(void)unlink(path);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

static ssize_t journal_read(int fd, char *text, size_t n_text)
{
	ssize_t n = recv(fd, text, n_text - 1, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = 0;
	return n;
}

/* standard error */

/* A full pipe is standard error until it is given back. */
struct pipe_instead {
	int ends[2], before;
};

static struct pipe_instead pipe_begin(void)
{
	struct pipe_instead instead;

	CHECK(pipe2(instead.ends, O_CLOEXEC) == 0);
	instead.before = dup(STDERR_FILENO);
	CHECK(instead.before >= 0 && dup2(instead.ends[1], STDERR_FILENO) >= 0);
	return instead;
}

static void pipe_end(const struct pipe_instead *instead)
{
	CHECK(dup2(instead->before, STDERR_FILENO) >= 0);
	close(instead->before);
	close(instead->ends[0]);
	close(instead->ends[1]);
}

static size_t pipe_drain(const struct pipe_instead *instead, char *text, size_t n_text)
{
	size_t n_all = 0;
	ssize_t n;

	CHECK(fcntl(instead->ends[0], F_SETFL, O_NONBLOCK) == 0);
	while (n_all < n_text - 1 &&
	       (n = read(instead->ends[0], text + n_all, n_text - 1 - n_all)) > 0)
		n_all += (size_t)n;
	text[n_all] = 0;
	return n_all;
}

static void test_a_full_pipe_stops_nobody(void)
{
	const struct pipe_instead instead = pipe_begin();
	static char text[1 << 20];
	unsigned int i, n_lines = 0, n_expected;
	char *line, *rest;

	log_never_block();
	for (i = 0; i < 20000; ++i) /* 64 KiB is what a pipe takes */
		log_line("line %u", i);

	CHECK(pipe_drain(&instead, text, sizeof(text)) > 4096);
	/* The first ones, each of them whole. */
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		CHECK(sscanf(line, "zramfs: line %u", &n_expected) == 1);
		CHECK(n_expected == n_lines++);
	}
	CHECK(n_lines > 0 && n_lines < 20000);

	/* There is room again. */
	log_line("again");
	CHECK(pipe_drain(&instead, text, sizeof(text)) == strlen("zramfs: again\n"));
	pipe_end(&instead);
}

static void *many_lines(void *context)
{
	unsigned int i;

	for (i = 0; i < 2000; ++i)
		log_line("a line that is said by more than one at a time");
	return NULL;
}

static void test_many_at_a_full_pipe(void)
{
	const struct pipe_instead instead = pipe_begin();
	pthread_t threads[4];
	unsigned int i;

	for (i = 0; i < 4; ++i)
		CHECK(pthread_create(&threads[i], NULL, many_lines, NULL) == 0);
	for (i = 0; i < 4; ++i)
		CHECK(pthread_join(threads[i], NULL) == 0);
	pipe_end(&instead);
}

/* the system's log */

static void test_to_the_system(void)
{
	char text[1024], expected[64];
	int journal = journal_new();

	log_to_syslog();
	log_line("disk %s is \x1b[31mred", "swap0");
	CHECK(journal_read(journal, text, sizeof(text)) > 0);
	/* daemon.warning */
	snprintf(expected, sizeof(expected), "<28>zramfs[%d]: disk swap0 is ", (int)getpid());
	CHECK(strncmp(text, expected, strlen(expected)) == 0);
	CHECK(!strchr(text, '\x1b') && !strchr(text, '\n'));

	log_line("%0*d", 5000, 7);
	CHECK(journal_read(journal, text, sizeof(text)) > 500);
	close(journal);
}

static void test_a_log_that_nobody_reads_stops_nobody(void)
{
	int journal = journal_new();
	unsigned int i, n_lines = 0;
	char text[1024];

	for (i = 0; i < 20000; ++i)
		log_line("line %u", i);
	while (journal_read(journal, text, sizeof(text)) > 0)
		CHECK(atoi(strstr(text, "line ") + 5) == (int)n_lines++);
	CHECK(n_lines > 0 && n_lines < 20000);
	log_line("again");
	CHECK(journal_read(journal, text, sizeof(text)) > 0 && strstr(text, "again"));
	close(journal);
}

static void test_a_log_started_anew_is_found(void)
{
	int journal = journal_new();
	char text[1024];

	log_line("first");
	CHECK(journal_read(journal, text, sizeof(text)) > 0 && strstr(text, "first"));
	close(journal);
	log_line("nobody hears that");
	journal = journal_new();
	log_line("second");
	CHECK(journal_read(journal, text, sizeof(text)) > 0 && strstr(text, "second"));
	CHECK(journal_read(journal, text, sizeof(text)) < 0);
	close(journal);
}

static void test_what_libfuse_says(void)
{
	char text[1024], reason[LOG_REASON_BYTES];
	int journal = journal_new();

	log_catch_fuse(0);
	fuse_log(FUSE_LOG_ERR, "fuse: no such %s\n", "thing");
	CHECK(journal_read(journal, text, sizeof(text)) > 0 && strstr(text, "no such thing"));
	log_fuse_reason(reason, "otherwise");
	CHECK(strcmp(reason, "no such thing") == 0);
	close(journal);
	CHECK(unlink(path) == 0);
}

int main(void)
{
	alarm(HANG_S);
	RUN(test_a_full_pipe_stops_nobody);
	RUN(test_many_at_a_full_pipe);
	RUN(test_to_the_system);
	RUN(test_a_log_that_nobody_reads_stops_nobody);
	RUN(test_a_log_started_anew_is_found);
	RUN(test_what_libfuse_says);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "watch.h"

#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "clock.h"
#include "control.h"

#define STACK_BYTES 65536u

static int port_fd = -1, sysrq_fd = -1;

void watch_say(const char *format, ...)
{
	char line[768];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n] = '\n';
	/* Nobody could be told that it failed; the other side misses the line. */
	if (write(port_fd, line, (size_t)n + 1) < 0)
		return;
}

void watch_thread(void *(*run)(void *), void *argument, int priority)
{
	const struct sched_param param = { .sched_priority = priority };
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	if (priority) {
		pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
		pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
		pthread_attr_setschedparam(&attr, &param);
	}
	if (pthread_create(&thread, &attr, run, argument) != 0)
		errx(1, "watch: no thread");
	pthread_attr_destroy(&attr);
}

/* ---- the watchdog */

static void say_board(struct board *board, uint64_t now)
{
	watch_say("watch ms=%lu phase=%d free=%lu available=%lu swapfree=%lu swapmax=%lu in=%lu "
		  "out=%lu sampled=%lu stored=%lu used=%lu usedmax=%lu generation=%lu kills=%lu "
		  "errors=%lu pause=%lu pausemax=%lu "
		  "killed=%lu filled=%lu verified=%lu written=%lu dropped=%lu bad=%lu hogged=%lu",
		  now, board->phase, board->free_kib, board->available_kib, board->swap_free_kib,
		  board->swap_used_kib_max, board->n_swapped_in, board->n_swapped_out,
		  board->sampled_at_ms, board->stored_kib, board->used_kib, board->used_kib_max,
		  board->generation, board->n_kills, board->n_errors, board->pause_ms,
		  board->pause_ms_max, board->killed_at_ms, board->n_filled, board->n_verified,
		  board->n_written, board->n_dropped, board->n_bad, board->n_hogged);
}

static uint64_t say_bad_pages(const struct board *board, uint64_t n_said)
{
	const uint64_t n_bad = board->n_bad < BOARD_BAD_PAGES ? board->n_bad : BOARD_BAD_PAGES;
	const struct bad_page *bad;

	for (; n_said < n_bad; ++n_said) {
		bad = &board->bad[n_said];
		watch_say("failed page %lu of round %lu is wrong at byte %lu: %016lx, not %016lx",
			  bad->number, bad->round, bad->offset, bad->found, bad->wanted);
	}
	return n_said;
}

/* Blocked tasks, memory: in the kernel's log. */
static void have_the_kernel_tell(void)
{
	if (write(sysrq_fd, "w", 1) < 0 || write(sysrq_fd, "m", 1) < 0)
		watch_say("log the kernel does not tell which tasks are blocked");
}

static void *watchdog_run(void *argument)
{
	struct board *board = argument;
	uint64_t n_said = 0, n_done, n_done_before = 0, done_at = clock_ms(), now;
	int told = 0;

	for (;;) {
		clock_wait_ms(1000);
		now = clock_ms();
		say_board(board, now);
		n_said = say_bad_pages(board, n_said);

		n_done = board->n_written + board->n_verified + board->n_hogged;
		if (n_done != n_done_before || board->phase == PHASE_END) {
			n_done_before = n_done;
			done_at = now;
			told = 0;
		} else if (!told && now - done_at > STALL_SECONDS * 1000) {
			watch_say("log nothing was done for %u seconds", STALL_SECONDS);
			have_the_kernel_tell();
			told = 1;
		}
	}
	return NULL;
}

/* ---- the sampler */

static uint64_t value_of(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static void sample(struct board *board)
{
	static char text[16384]; /* of the one sampler */
	uint64_t used;

	control_read("/proc/meminfo", text, sizeof(text));
	board->free_kib = value_of(text, "MemFree:");
	board->available_kib = value_of(text, "MemAvailable:");
	board->swap_free_kib = value_of(text, "SwapFree:");
	used = value_of(text, "SwapTotal:") - board->swap_free_kib;
	if (used > board->swap_used_kib_max)
		board->swap_used_kib_max = used;
	control_read("/proc/vmstat", text, sizeof(text));
	board->n_swapped_in = value_of(text, "\npswpin ");
	board->n_swapped_out = value_of(text, "\npswpout ");
	board->sampled_at_ms = clock_ms();
}

static void *sampler_run(void *argument)
{
	struct board *board = argument;

	for (;;) {
		sample(board);
		clock_wait_ms(500);
	}
	return NULL;
}

/* ---- the listener */

static void *listener_run(void *argument)
{
	const int fd = *(const int *)argument;
	char message[400];
	ssize_t n;

	while ((n = recv(fd, message, sizeof(message) - 1, 0)) >= 0) {
		message[n] = 0;
		watch_say("log %s", message);
	}
	return NULL;
}

static int syslog_open(void)
{
	const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		err(1, "watch: /dev/log");
	return fd;
}

/* ---- all of them */

static int port_open(const char *port)
{
	const int fd = open(port, O_WRONLY | O_NOCTTY | O_CLOEXEC);
	struct termios mode;

	if (fd < 0 || tcgetattr(fd, &mode) < 0)
		err(1, "watch: %s", port);
	cfmakeraw(&mode);
	tcsetattr(fd, TCSANOW, &mode);
	return fd;
}

void watch_start(struct board *board, const char *port)
{
	static int syslog_fd;

	port_fd = port_open(port);
	sysrq_fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	syslog_fd = syslog_open();
	watch_thread(watchdog_run, board, 50);
	watch_thread(sampler_run, board, 0);
	watch_thread(listener_run, &syslog_fd, 0);
}

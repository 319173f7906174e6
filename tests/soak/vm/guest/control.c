/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "watch.h"

static char mm_stat_path[256];

int control_read(const char *path, char *text, size_t n_bytes)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	int r = 0;

	text[0] = 0;
	if (fd < 0)
		return -errno;
	n = read(fd, text, n_bytes - 1);
	if (n < 0)
		r = -errno;
	else
		text[n] = 0;
	close(fd);
	return r;
}

void control_failed(struct board *board, const char *path, int r)
{
	board->n_errors++;
	watch_say("failed %s cannot be read: %s", path, strerror(-r));
}

/* orig_data_size compr_data_size mem_used_total ... */
static void *figures_run(void *argument)
{
	struct board *board = argument;
	uint64_t stored, compressed, used;
	char text[256];
	int r;

	while (board->phase != PHASE_END) {
		r = control_read(mm_stat_path, text, sizeof(text));
		if (r == 0 && sscanf(text, "%lu %lu %lu", &stored, &compressed, &used) != 3)
			r = -EBADMSG;
		if (r < 0 && board->phase == PHASE_END)
			break;
		if (r < 0) {
			control_failed(board, mm_stat_path, r);
			break;
		}
		board->stored_kib = stored / 1024;
		board->used_kib = used / 1024;
		if (board->used_kib > board->used_kib_max)
			board->used_kib_max = board->used_kib;
		clock_wait_ms(1000);
	}
	return NULL;
}

void control_start(struct board *board, const char *mount)
{
	snprintf(mm_stat_path, sizeof(mm_stat_path), "%s/.control/swap0/mm_stat", mount);
	watch_thread(figures_run, board, 0);
}

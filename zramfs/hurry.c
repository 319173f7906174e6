/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "hurry.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of getdents64(2). */
struct entry {
	uint64_t inode, offset;
	unsigned short n_bytes;
	unsigned char type;
	char name[];
};

int hurry(pid_t thread, bool on)
{
	const int policy = on ? SCHED_FIFO : SCHED_OTHER;
	const struct sched_param param = { .sched_priority = sched_get_priority_min(policy) };

	return sched_setscheduler(thread, policy, &param) < 0 ? -errno : 0;
}

/* Its own reader of directories: the C library's allocates, at a moment when there may be nothing. */
void hurry_all(pid_t process)
{
	_Alignas(struct entry) char entries[1024];
	const struct entry *entry;
	char path[32];
	long n, at;
	int fd;

	/* First of all: whom it starts from now on is in a hurry as well. */
	(void)hurry(process, true);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)process);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	while ((n = syscall(SYS_getdents64, fd, entries, sizeof(entries))) > 0) {
		for (at = 0; at < n; at += entry->n_bytes) {
			entry = (const struct entry *)(entries + at);
			if (isdigit((unsigned char)entry->name[0]))
				(void)hurry((pid_t)atoi(entry->name), true);
		}
	}
	close(fd);
}

void hurry_end(pthread_t thread)
{
	static const struct sched_param usual = { 0 };

	(void)pthread_setschedparam(thread, SCHED_OTHER, &usual);
}

bool in_hurry(void)
{
	return sched_getscheduler(0) == SCHED_FIFO;
}

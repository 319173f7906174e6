/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "kworkers.h"

#include <dirent.h>
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "control.h"

#define NAME "kworker/u"

static void make_real_time(int pid)
{
	const struct sched_param param = { .sched_priority = 1 };
	char path[64], name[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (control_read(path, name, sizeof(name)) < 0 || strncmp(name, NAME, strlen(NAME)) != 0)
		return;
	if (sched_getscheduler(pid) != SCHED_RR)
		(void)sched_setscheduler(pid, SCHED_RR, &param); /* it may have ended */
}

static void *look_again_and_again(void *context)
{
	struct dirent *entry;
	DIR *proc;

	(void)context;
	for (;;) {
		proc = opendir("/proc");
		while (proc && (entry = readdir(proc)))
			if (atoi(entry->d_name) > 2)
				make_real_time(atoi(entry->d_name));
		if (proc)
			closedir(proc);
		clock_wait_ms(200);
	}
	return NULL;
}

void kworkers_start(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, look_again_and_again, NULL) != 0)
		errx(1, "soak: no thread for the kernel's workers");
}

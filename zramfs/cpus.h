#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Cpus: which processors there may be, and which there are
 *
 * Ownership: plain values.
 * Locking:   none.
 * Errors:    -EINVAL for what is no list, -ERANGE for a number of CPU_SETSIZE or more, what open(2)
 *            says.
 * Cost:      a file of /sys.
 */

#include <sched.h>
#include <stdbool.h>

#define CPUS_POSSIBLE "/sys/devices/system/cpu/possible"
#define CPUS_ONLINE   "/sys/devices/system/cpu/online"

/* "0-3,8\n" */
int cpus_parse(const char *list, cpu_set_t *set);

int cpus_read(const char *path, cpu_set_t *set);

/* Have the calling thread run there alone. Return: does it? */
bool cpus_pin(unsigned int cpu);

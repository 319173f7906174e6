/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "cpus.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Return: what stands behind the number, or NULL. */
static const char *number_parse(const char *text, unsigned long *numberp)
{
	char *end;

	if (*text < '0' || *text > '9')
		return NULL;
	errno = 0;
	*numberp = strtoul(text, &end, 10);
	return end;
}

int cpus_parse(const char *list, cpu_set_t *set)
{
	unsigned long first, last;

	CPU_ZERO(set);
	for (;;) {
		list = number_parse(list, &first);
		last = first;
		if (list && *list == '-')
			list = number_parse(list + 1, &last);
		if (!list || last < first)
			return -EINVAL;
		if (last >= CPU_SETSIZE)
			return -ERANGE;
		for (; first <= last; ++first)
			CPU_SET(first, set);
		if (*list == 0 || *list == '\n')
			return 0;
		if (*list++ != ',')
			return -EINVAL;
	}
}

int cpus_read(const char *path, cpu_set_t *set)
{
	char list[4096];
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, list, sizeof(list) - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	list[n] = 0;
	return cpus_parse(list, set);
}

bool cpus_pin(unsigned int cpu)
{
	cpu_set_t set;

	if (cpu >= CPU_SETSIZE)
		return false;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) == 0 && sched_getcpu() == (int)cpu;
}

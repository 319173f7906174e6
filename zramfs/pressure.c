/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "pressure.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

void pressure_open(struct pressure *pressure)
{
	pressure->fd = open("/proc/pressure/memory", O_RDONLY | O_CLOEXEC);
}

void pressure_close(struct pressure *pressure)
{
	if (pressure->fd >= 0)
		close(pressure->fd);
	pressure->fd = -1;
}

/* "some avg10=0.12 avg60=..." */
int pressure_read(void *context)
{
	const struct pressure *pressure = context;
	int whole, hundredths;
	char text[128];
	ssize_t n;

	if (pressure->fd < 0)
		return -1;
	n = pread(pressure->fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return -1;
	text[n] = 0;
	if (sscanf(text, "some avg10=%d.%2d", &whole, &hundredths) != 2)
		return -1;
	return whole * 100 + hundredths;
}

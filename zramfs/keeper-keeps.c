/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What the keeper keeps for workers to come: the configuration, and backing files
 */

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper-parts.h"

void keeper_hold_config(struct keeper *keeper)
{
	struct stat st;

	if (keeper->config_text)
		munmap(keeper->config_text, keeper->n_config);
	keeper->config_text = NULL;
	if (fstat(keeper->config_fd, &st) < 0 || st.st_size == 0)
		return;
	keeper->n_config = (size_t)st.st_size;
	keeper->config_text = mmap(NULL, keeper->n_config, PROT_READ, MAP_SHARED | MAP_POPULATE,
				   keeper->config_fd, 0);
	if (keeper->config_text == MAP_FAILED)
		keeper->config_text = NULL;
}

/* Is what @fd has what we have? */
static bool config_is_same(const struct keeper *keeper, int fd)
{
	struct stat st;
	void *text;
	bool same;

	if (!keeper->config_text || fstat(fd, &st) < 0 || (size_t)st.st_size != keeper->n_config)
		return false;
	text = mmap(NULL, keeper->n_config, PROT_READ, MAP_SHARED, fd, 0);
	if (text == MAP_FAILED)
		return false;
	same = memcmp(text, keeper->config_text, keeper->n_config) == 0;
	munmap(text, keeper->n_config);
	return same;
}

bool keeper_take_config(struct keeper *keeper, int fd)
{
	if (fd < 0)
		return false;
	if (config_is_same(keeper, fd)) {
		close(fd);
		return false;
	}
	close(keeper->config_fd);
	keeper->config_fd = fd;
	service_keep(keeper->service, SERVICE_CONFIG, fd);
	keeper_hold_config(keeper);
	keeper_drop_spare(keeper); /* who was given the old one */
	return true;
}

void keeper_take_backing(struct keeper *keeper, uint64_t index, int fd)
{
	const struct wire_message backed = { .kind = WIRE_BACKED, .value = index };
	int *kept = &keeper->backing_fds[index % ZR_BACKINGS_MAX];

	/* It was said already, and is now said again. */
	if (*kept >= 0 && fd >= 0 && service_is_same(*kept, fd)) {
		close(fd);
		return;
	}
	if (*kept < 0 && fd < 0)
		return;
	if (*kept >= 0)
		close(*kept);
	*kept = fd;
	service_keep(keeper->service, SERVICE_BACKING + index % ZR_BACKINGS_MAX, fd);
	if (keeper->spare.end >= 0)
		(void)wire_send(keeper->spare.end, &backed, fd);
	if (keeper->upgrade.candidate.end >= 0)
		(void)wire_send(keeper->upgrade.candidate.end, &backed, fd);
}

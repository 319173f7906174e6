/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "aliases.h"

#include <stddef.h>
#include <string.h>

#include "base.h"

#define PLACES_OF_A_DISK (ALIAS_TOP | ALIAS_DEFAULTS | ALIAS_DISK)

static const struct alias aliases[] = {
	{ "zram-size", ALIAS_GENERATOR, ALIAS_DISK, "disksize" },
	{ "zram-resident-limit", ALIAS_GENERATOR, ALIAS_DISK, "mem_limit" },
	{ "compression-algorithm", ALIAS_GENERATOR, ALIAS_DISK, "comp_algorithm" },
	{ "swap-priority", ALIAS_GENERATOR, ALIAS_DISK, "swap_priority" },
	{ "host-memory-limit", ALIAS_GENERATOR, ALIAS_DISK, "host-memory-limit" },
	{ "fs-type", ALIAS_GENERATOR, ALIAS_DISK, "format" },
	{ "mount-point", ALIAS_GENERATOR, ALIAS_DISK, NULL },
	{ "options", ALIAS_GENERATOR, ALIAS_DISK, NULL },
	{ "writeback-device", ALIAS_GENERATOR, ALIAS_DISK, "backing_dev" },
	/* what zram-generator once had */
	{ "memory-limit", ALIAS_GENERATOR, ALIAS_DISK, "host-memory-limit" },
	{ "zram-fraction", ALIAS_GENERATOR, ALIAS_DISK, "disksize" },
	{ "max-zram-size", ALIAS_GENERATOR, ALIAS_DISK, "disksize" },

	{ "disksize_kb", ALIAS_COMPCACHE, PLACES_OF_A_DISK, "disksize" },
	{ "memlimit_kb", ALIAS_COMPCACHE, PLACES_OF_A_DISK, "mem_limit" },
	{ "backing_swap", ALIAS_COMPCACHE, PLACES_OF_A_DISK, "backing_dev" },
	{ "num_devices", ALIAS_COMPCACHE, ALIAS_TOP | ALIAS_DAEMON, "num_devices" },
};

const struct alias *alias_next(unsigned int places, unsigned int *indexp)
{
	while (*indexp < ZR_ARRAY_SIZE(aliases)) {
		const struct alias *alias = &aliases[(*indexp)++];

		if (alias->places & places)
			return alias;
	}
	return NULL;
}

const struct alias *alias_find(unsigned int places, const char *key)
{
	const struct alias *alias;
	unsigned int i = 0;

	while ((alias = alias_next(places, &i)))
		if (strcmp(alias->key, key) == 0)
			return alias;

	return NULL;
}

bool alias_is_generator_section(const char *name)
{
	static const char stem[] = "zram";

	if (strncmp(name, stem, strlen(stem)) != 0)
		return false;
	name += strlen(stem);
	return *name != '\0' && name[strspn(name, "0123456789")] == '\0';
}

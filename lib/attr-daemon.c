/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What is set of the daemon: [zramfs] in the configuration, .control/zramfs/
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "attr-parts.h"
#include "size.h"

static int threads_parse(struct zr_daemon_spec *spec, const char *text)
{
	unsigned long n_threads;
	int r;

	r = zr_attr_parse_number(text, 10, ZR_THREADS_MAX, &n_threads);
	if (r < 0)
		return r;
	spec->n_threads = (unsigned int)n_threads;
	return 0;
}

static void threads_print(const struct zr_daemon_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%u", spec->n_threads);
}

static int threads_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	return snprintf(text, n_text, "%u\n", target->n_threads);
}

static int mem_limit_parse(struct zr_daemon_spec *spec, const char *text)
{
	return zr_attr_parse_limit(text, spec->ram_bytes, &spec->mem_limit_bytes);
}

static void mem_limit_print(const struct zr_daemon_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%" PRIu64, spec->mem_limit_bytes);
}

static int mem_limit_apply(const struct zr_attr_target *target, const char *text)
{
	struct zr_daemon_spec spec = { 0 };

	if (mem_limit_parse(&spec, text) < 0)
		return -EINVAL;
	zr_store_set_mem_limit(target->store, spec.mem_limit_bytes);
	return 0;
}

static int mem_limit_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	return snprintf(text, n_text, "%" PRIu64 "\n", zr_store_mem_limit(target->store));
}

const struct zr_attr zr_attrs_daemon[] = {
	{ .name = "threads",
	  .flags = ZR_ATTR_DAEMON | ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_START,
	  .type = "number",
	  .allowed = "0 (one for each core) to 64",
	  .help = "threads that serve disks",
	  .since = "0.1.0",
	  .parse_daemon = threads_parse,
	  .print_daemon = threads_print,
	  .show = threads_show },
	{ .name = "mem_limit",
	  .flags = ZR_ATTR_DAEMON | ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "size",
	  .unit = "bytes",
	  .allowed = "0 for none, or up to 256T: " ZR_SIZE_ALLOWED,
	  .help = "most memory that all disks together may take, compressed",
	  .since = "0.1.0",
	  .parse_daemon = mem_limit_parse,
	  .print_daemon = mem_limit_print,
	  .apply = mem_limit_apply,
	  .show = mem_limit_show },
	{ .name = NULL },
};

_Static_assert(ZR_THREADS_MAX == 64, "the message of threads says 64");

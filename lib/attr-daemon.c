/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Attributes of the daemon: [zramfs] in the configuration, .control/zramfs/
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "attr-parts.h"
#include "size.h"

static int number_parse(const char *text, uint64_t max, uint32_t *numberp)
{
	uint64_t number;
	int r;

	r = zr_attr_parse_number(text, 10, max, &number);
	if (r == 0)
		*numberp = (uint32_t)number;
	return r;
}

static int threads_parse(struct zr_daemon_spec *spec, const char *text)
{
	return number_parse(text, ZR_THREADS_MAX, &spec->n_threads);
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

static int watchdog_parse(struct zr_daemon_spec *spec, const char *text)
{
	return number_parse(text, ZR_WATCHDOG_MAX, &spec->watchdog_s);
}

static void watchdog_print(const struct zr_daemon_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%" PRIu32, spec->watchdog_s);
}

static int watchdog_apply(const struct zr_attr_target *target, const char *text)
{
	struct zr_daemon_spec spec = { 0 };
	int r;

	r = watchdog_parse(&spec, text);
	if (r < 0)
		return r;
	if (!target->daemon)
		return -ENODEV;
	target->daemon->set_watchdog(target->daemon->context, spec.watchdog_s);
	return 0;
}

static int watchdog_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	if (!target->daemon)
		return -ENODEV;
	return snprintf(text, n_text, "%" PRIu32 "\n",
			target->daemon->watchdog(target->daemon->context));
}

/* waiting */

static int poll_us_parse(struct zr_daemon_spec *spec, const char *text)
{
	return number_parse(text, ZR_POLL_US_MAX, &spec->poll_us);
}

static void poll_us_print(const struct zr_daemon_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%" PRIu32, spec->poll_us);
}

static int poll_us_apply(const struct zr_attr_target *target, const char *text)
{
	struct zr_daemon_spec spec = { 0 };
	int r;

	r = poll_us_parse(&spec, text);
	if (r < 0)
		return r;
	if (!target->daemon)
		return -ENODEV;
	target->daemon->set_poll_us(target->daemon->context, spec.poll_us);
	return 0;
}

static int poll_us_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	if (!target->daemon)
		return -ENODEV;
	return snprintf(text, n_text, "%" PRIu32 "\n",
			target->daemon->poll_us(target->daemon->context));
}

/* what is done by itself */

static int policy_cpu_parse(struct zr_daemon_spec *spec, const char *text)
{
	return number_parse(text, ZR_POLICY_CPU_MAX, &spec->policy_cpu);
}

static void policy_cpu_print(const struct zr_daemon_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%" PRIu32, spec->policy_cpu);
}

static int policy_cpu_apply(const struct zr_attr_target *target, const char *text)
{
	struct zr_daemon_spec spec = { 0 };
	int r;

	r = policy_cpu_parse(&spec, text);
	if (r < 0)
		return r;
	if (!target->daemon)
		return -ENODEV;
	target->daemon->set_policy_cpu(target->daemon->context, spec.policy_cpu);
	return 0;
}

static int policy_cpu_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	if (!target->daemon)
		return -ENODEV;
	return snprintf(text, n_text, "%" PRIu32 "\n",
			target->daemon->policy_cpu(target->daemon->context));
}

/* the way of requests */

static const char *const transports[] = {
	[ZR_TRANSPORT_CLASSIC] = "classic",
	[ZR_TRANSPORT_IO_URING] = "io_uring",
};

static int transport_parse(struct zr_daemon_spec *spec, const char *text)
{
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(transports); ++i) {
		if (strcmp(text, transports[i]) != 0)
			continue;
		spec->transport = (enum zr_transport)i;
		return 0;
	}
	return -EINVAL;
}

static void transport_print(const struct zr_daemon_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%s", transports[spec->transport]);
}

static int transport_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	if (!target->daemon)
		return -ENODEV;
	return snprintf(text, n_text, "%s\n", target->daemon->transport);
}

static int uring_depth_parse(struct zr_daemon_spec *spec, const char *text)
{
	uint32_t depth = 0;
	int r;

	r = number_parse(text, ZR_URING_DEPTH_MAX, &depth);
	if (r < 0)
		return r;
	if (depth == 0)
		return -ERANGE;
	spec->uring_depth = depth;
	return 0;
}

static void uring_depth_print(const struct zr_daemon_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%" PRIu32, spec->uring_depth);
}

static int uring_depth_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	if (!target->daemon)
		return -ENODEV;
	return snprintf(text, n_text, "%" PRIu32 "\n", target->daemon->uring_depth);
}

/* processes */

static int generation_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	if (!target->daemon)
		return -ENODEV;
	return target->daemon->print_generation(target->daemon->context, text, n_text);
}

static int safety_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	if (!target->daemon)
		return -ENODEV;
	return target->daemon->print_safety(target->daemon->context, text, n_text);
}

static int upgrade_apply(const struct zr_attr_target *target, const char *text)
{
	/* The daemon's own directory is nobody's. */
	if (*text != 0 && *text != '/')
		return -EINVAL;
	if (!target->daemon)
		return -ENODEV;
	return target->daemon->upgrade(target->daemon->context, text, target->stop);
}

static int upgrade_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	if (!target->daemon)
		return -ENODEV;
	return target->daemon->print_upgrade(target->daemon->context, text, n_text);
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
	{ .name = "generation",
	  .flags = ZR_ATTR_DAEMON | ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figures",
	  .help = "which worker serves, counted from 1, and its process",
	  .since = "0.1.0",
	  .show = generation_show },
	{ .name = "safety",
	  .flags = ZR_ATTR_DAEMON | ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "table",
	  .help = "what keeps the daemon from needing memory: ok, or refused and why",
	  .since = "0.1.0",
	  .show = safety_show },
	{ .name = "upgrade",
	  .flags = ZR_ATTR_DAEMON | ZR_ATTR_CONTROL | ZR_ATTR_LONG,
	  .mode = 0644,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "text",
	  .allowed = "the path of a zramfs from / on, or nothing for the one that is installed",
	  .help = "replace the worker by one of this program; how the last time went",
	  .since = "0.1.0",
	  .apply = upgrade_apply,
	  .show = upgrade_show },
	{ .name = "watchdog",
	  .flags = ZR_ATTR_DAEMON | ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "number",
	  .unit = "seconds",
	  .allowed = "0 for none, or up to 3600 seconds",
	  .help = "a worker that makes no progress for that long is killed and followed",
	  .since = "0.1.0",
	  .parse_daemon = watchdog_parse,
	  .print_daemon = watchdog_print,
	  .apply = watchdog_apply,
	  .show = watchdog_show },
	{ .name = "poll_us",
	  .flags = ZR_ATTR_DAEMON | ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "number",
	  .unit = "microseconds",
	  .allowed = "0 for none, or up to 1000 microseconds",
	  .help = "how long who waits for a request looks for it before sleeping, where it helps",
	  .since = "0.1.0",
	  .parse_daemon = poll_us_parse,
	  .print_daemon = poll_us_print,
	  .apply = poll_us_apply,
	  .show = poll_us_show },
	{ .name = "transport",
	  .flags = ZR_ATTR_DAEMON | ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_START,
	  .type = "word",
	  .allowed = "classic or io_uring",
	  .help = "the way of requests; over io_uring it is short, and nobody can follow a worker "
		  "that dies",
	  .since = "0.1.0",
	  .parse_daemon = transport_parse,
	  .print_daemon = transport_print,
	  .show = transport_show },
	{ .name = "uring_depth",
	  .flags = ZR_ATTR_DAEMON | ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_START,
	  .type = "number",
	  .allowed = "1 to 1024",
	  .help = "requests that each processor may have under way over io_uring",
	  .since = "0.1.0",
	  .parse_daemon = uring_depth_parse,
	  .print_daemon = uring_depth_print,
	  .show = uring_depth_show },
	{ .name = "policy_cpu",
	  .flags = ZR_ATTR_DAEMON | ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "number",
	  .unit = "percent",
	  .allowed = "0 for none of it, or up to 100 percent",
	  .help = "percent of one core that is taken for what disks want done by themselves",
	  .since = "0.1.0",
	  .parse_daemon = policy_cpu_parse,
	  .print_daemon = policy_cpu_print,
	  .apply = policy_cpu_apply,
	  .show = policy_cpu_show },
	{ .name = NULL },
};

_Static_assert(ZR_THREADS_MAX == 64, "the message of threads says 64");
_Static_assert(ZR_URING_DEPTH_MAX == 1024, "the message of uring_depth says 1024");
_Static_assert(ZR_WATCHDOG_MAX == 3600, "the message of watchdog says 3600");
_Static_assert(ZR_POLL_US_MAX == 1000, "the message of poll_us says 1000");

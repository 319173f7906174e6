/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "transport.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cpus.h"
#include "entries.h"
#include "log.h"
#include "rings.h"

#define ENABLED "/sys/module/fuse/parameters/enable_uring"

#define SAYS "transport io_uring: "

/* Of RAM, for its buffers. */
#define PART_OF_RAM 8u

/* Where /sys is not there, or not ours to read, the kernel says it when it is mounted. */
static int fuse_check(void)
{
	char text = 'Y';
	int fd, r = 0;

	fd = open(ENABLED, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && access("/sys/module/fuse/parameters", F_OK) == 0) {
		log_line(SAYS "this kernel has none for FUSE: Linux 6.14 or later");
		return -EOPNOTSUPP;
	}
	if (fd < 0)
		return 0;
	if (read(fd, &text, 1) == 1 && text != 'Y') {
		log_line(SAYS "switched off: echo Y > " ENABLED ", as root");
		r = -EOPNOTSUPP;
	}
	close(fd);
	return r;
}

static int uring_check(void)
{
	const int r = rings_probe();

	if (r == -EPERM)
		log_line(SAYS "io_uring is not permitted: sysctl kernel.io_uring_disabled=0, or "
			      "allow it in the seccomp profile of the container");
	else if (r == -ENOSYS || r == -EINVAL)
		log_line(SAYS "this kernel has none that will do: Linux 6.14 or later");
	else if (r < 0)
		log_line(SAYS "%s", strerror(-r));
	return r;
}

static uint64_t to_mib(uint64_t n_bytes)
{
	return (n_bytes + (1u << 20) - 1) >> 20;
}

static int memory_check(const struct entries_plan *plan, uint64_t ram_bytes)
{
	const uint64_t limit_bytes = ram_bytes / PART_OF_RAM;

	if (ram_bytes == 0 || plan->n_bytes <= limit_bytes)
		return 0;
	log_line(SAYS "%u requests for each of %u processors would take %" PRIu64
		      " MiB, more than an eighth of RAM: lower uring_depth, or choose transport = "
		      "classic",
		 plan->depth, plan->n_online, to_mib(plan->n_bytes));
	return -ENOMEM;
}

static int plan_make(struct entries_plan *plan, cpu_set_t *online, unsigned int depth)
{
	cpu_set_t possible;
	int r;

	r = cpus_read(CPUS_POSSIBLE, &possible);
	if (r == 0)
		r = cpus_read(CPUS_ONLINE, online);
	if (r == 0)
		r = entries_plan(plan, &possible, online, depth, ENTRIES_PAYLOAD_BYTES);
	if (r < 0)
		log_line(SAYS "%s: %s", CPUS_POSSIBLE, strerror(-r));
	return r;
}

int transport_make(const struct zr_daemon_spec *spec, int *fdp)
{
	struct entries_plan plan;
	cpu_set_t online;
	int r;

	*fdp = -1;
	if (spec->transport == ZR_TRANSPORT_CLASSIC)
		return 0;
	r = fuse_check();
	if (r == 0)
		r = uring_check();
	if (r == 0)
		r = plan_make(&plan, &online, spec->uring_depth);
	if (r == 0)
		r = memory_check(&plan, spec->ram_bytes);
	if (r < 0)
		return r;

	*fdp = entries_make(&plan, &online);
	if (*fdp < 0) {
		log_line(SAYS "%s", strerror(-*fdp));
		return *fdp;
	}
	log_line(SAYS
		 "fast, but if the worker dies the disks are lost: for swap choose classic; its "
		 "buffers take %" PRIu64 " MiB",
		 to_mib(plan.n_bytes));
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Memory: what the kernel does about swap, and how that suits swap that is memory itself
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "check.h"
#include "sysfile.h"

#define PROC_VM "/proc/sys/vm/"
#define ZSWAP   "/sys/module/zswap/parameters/enabled"

/* Below this, caches that disks on flash have to refill go before pages that memory keeps. */
#define SWAPPINESS_LEAST 60

#define MAP_COUNT_DEFAULT 65530

static void check_page_cluster(struct report *report)
{
	int64_t cluster;

	if (sysfile_number(&cluster, PROC_VM "page-cluster") < 0)
		return;
	if (cluster == 0)
		report_finding(report, REPORT_OK, "vm.page-cluster", NULL, "0");
	else
		report_finding(report, REPORT_WARN, "vm.page-cluster", "sysctl vm.page-cluster=0",
			       "%" PRId64 ": each page that is read brings %" PRId64
			       " more, which are decompressed for nothing",
			       cluster, (INT64_C(1) << (cluster & 31)) - 1);
}

static void check_swappiness(struct report *report)
{
	int64_t swappiness;

	if (sysfile_number(&swappiness, PROC_VM "swappiness") < 0)
		return;
	if (swappiness >= SWAPPINESS_LEAST)
		report_finding(report, REPORT_OK, "vm.swappiness", NULL, "%" PRId64, swappiness);
	else
		report_finding(report, REPORT_WARN, "vm.swappiness", "sysctl vm.swappiness=100",
			       "%" PRId64 ": caches go before anything is swapped", swappiness);
}

static void check_zswap(struct report *report)
{
	char enabled[8];

	if (sysfile_read(enabled, sizeof(enabled), ZSWAP) <= 0)
		return;
	if (enabled[0] == 'Y' || enabled[0] == '1')
		report_finding(report, REPORT_WARN, "zswap", "echo N >" ZSWAP,
			       "on: what is swapped is compressed twice");
	else
		report_finding(report, REPORT_OK, "zswap", NULL, "off");
}

static void check_overcommit(struct report *report)
{
	int64_t overcommit;

	if (sysfile_number(&overcommit, PROC_VM "overcommit_memory") < 0)
		return;
	if (overcommit != 2)
		report_finding(report, REPORT_OK, "overcommit", NULL, "%s",
			       overcommit == 1 ? "always" : "by estimate");
	else
		report_finding(report, REPORT_WARN, "overcommit", "sysctl vm.overcommit_memory=0",
			       "never: the daemon may be refused memory that is there");
}

static void check_map_count(struct report *report)
{
	int64_t n_maps;

	if (sysfile_number(&n_maps, PROC_VM "max_map_count") == 0 && n_maps < MAP_COUNT_DEFAULT)
		report_finding(report, REPORT_WARN, "vm.max_map_count",
			       "sysctl vm.max_map_count=65530",
			       "%" PRId64 ": less than the kernel's own 65530", n_maps);
}

/* Which loop device of ours the system would hibernate to. */
static const struct loop_user *hibernation_to(const struct check *check)
{
	unsigned int device_major, device_minor;
	char text[32];
	size_t i;

	if (sysfile_read(text, sizeof(text), "/sys/power/resume") <= 0 ||
	    sscanf(text, "%u:%u", &device_major, &device_minor) != 2)
		return NULL;
	for (i = 0; i < check->n_loops; ++i) {
		if (check->loops[i].number == makedev(device_major, device_minor) &&
		    loop_mount(&check->loops[i], check->mounts, check->n_mounts))
			return &check->loops[i];
	}
	return NULL;
}

static void check_sleep(struct check *check)
{
	const struct loop_user *loop = hibernation_to(check);
	char states[64];

	if (loop)
		report_finding(&check->report, REPORT_BAD, "hibernation",
			       "resume from a swap area on a disk that keeps its data: "
			       "/sys/power/resume, and resume= of the kernel's command line",
			       "to %s, which is memory and lost when the power is off",
			       loop->device);
	if (check_swapping(check) && sysfile_read(states, sizeof(states), "/sys/power/state") > 0 &&
	    (strstr(states, "mem") || strstr(states, "disk")))
		report_finding(&check->report, REPORT_WARN, "suspend",
			       "zramfsctl detach the disk before, and swapon after",
			       "stops the daemon, which the kernel may need to stop the rest");
}

void check_memory(struct check *check)
{
	report_heading(&check->report, "swapping to a disk");
	check_page_cluster(&check->report);
	check_swappiness(&check->report);
	check_zswap(&check->report);
	check_overcommit(&check->report);
	check_map_count(&check->report);
	check_sleep(check);
}

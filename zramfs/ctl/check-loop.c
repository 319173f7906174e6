/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Loop devices: how they were attached, and what was set of them
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base.h"
#include "check.h"
#include "human.h"
#include "loop-change.h"
#include "say.h"

/* The kernel's own is 128; with few, one program's writes hold up another's reads. */
#define REQUESTS_LEAST 64

const struct swap_area *check_area(const struct check *check, const struct loop_user *loop)
{
	size_t i;

	for (i = 0; loop->top == LOOP_TOP_SWAP && i < check->n_areas; ++i) {
		if (strcmp(check->areas[i].path, loop->top_device) == 0)
			return &check->areas[i];
	}
	return swaps_find(check->areas, check->n_areas, loop->number);
}

bool check_swapping(const struct check *check)
{
	size_t i;

	for (i = 0; i < check->n_loops; ++i) {
		if (check_area(check, &check->loops[i]) &&
		    loop_mount(&check->loops[i], check->mounts, check->n_mounts))
			return true;
	}
	return false;
}

/* A setting below /sys/block, and how to set it. */
static char *setting(const struct loop_user *loop, const char *value, const char *name)
{
	return say_text("echo %s >/sys/block/%s/queue/%s", value, strrchr(loop->device, '/') + 1,
			name);
}

static void check_direct_io(struct report *report, const struct loop_user *loop)
{
	ZR_CLEANUP(zr_freep) char *remedy = NULL;

	if (loop->direct_io) {
		report_finding(report, REPORT_OK, "direct I/O", NULL, "on");
		return;
	}
	remedy = say_text("losetup --direct-io=on %s", loop->device);
	report_finding(report, loop->top == LOOP_TOP_SWAP ? REPORT_BAD : REPORT_WARN, "direct I/O",
		       remedy,
		       "off: every page is kept twice, and requests are served one by one%s",
		       loop->top == LOOP_TOP_SWAP
			       ? "; swapping needs memory for that just when there is none"
			       : "");
}

static void check_sector(struct report *report, const struct loop_user *loop)
{
	ZR_CLEANUP(zr_freep) char *remedy = NULL;

	if (loop->queue.sector_bytes < 0)
		return;
	if (loop->queue.sector_bytes >= LOOP_SECTOR_BYTES) {
		report_finding(report, REPORT_OK, "sector", NULL, "%" PRId64,
			       loop->queue.sector_bytes);
		return;
	}
	remedy = say_text("zramfsctl detach %s, then attach; a filesystem keeps the sectors that "
			  "it was made with",
			  loop->device);
	report_finding(report, REPORT_WARN, "sector", remedy,
		       "%" PRId64
		       ": writing a part of a page decompresses and compresses all of it",
		       loop->queue.sector_bytes);
}

static void check_discard(struct report *report, const struct loop_user *loop)
{
	const int64_t most_bytes = loop->queue.discard_max_bytes;
	ZR_CLEANUP(zr_freep) char *remedy = NULL;
	char bytes[16], size[HUMAN_MAX];

	if (most_bytes < 0 || loop->read_only)
		return;
	snprintf(bytes, sizeof(bytes), "%u", LOOP_DISCARD_MAX_BYTES);
	human_size(size, (uint64_t)most_bytes);
	if (most_bytes > 0 && most_bytes <= LOOP_DISCARD_MAX_BYTES) {
		report_finding(report, REPORT_OK, "discard_max_bytes", NULL, "%s", size);
		return;
	}
	remedy = setting(loop, bytes, "discard_max_bytes");
	if (most_bytes == 0)
		report_finding(report, REPORT_WARN, "discard_max_bytes", remedy,
			       "0: memory of what is deleted does not come back");
	else
		report_finding(report, REPORT_WARN, "discard_max_bytes", remedy,
			       "%s: a large discard holds up writers until it is done", size);
}

static void check_cache(struct report *report, const struct loop_user *loop)
{
	ZR_CLEANUP(zr_freep) char *remedy = NULL;

	if (loop->queue.write_back < 0)
		return;
	if (loop->queue.write_back == 0) {
		report_finding(report, REPORT_OK, "write_cache", NULL, "write through");
		return;
	}
	remedy = setting(loop, "\"write through\"", "write_cache");
	report_finding(report, REPORT_WARN, "write_cache", remedy,
		       "write back: flushes, which do nothing here, take time");
}

static void check_queue(struct report *report, const struct loop_user *loop)
{
	const struct loop_queue *queue = &loop->queue;
	ZR_CLEANUP(zr_freep) char *remedy = NULL;
	bool fine = true;

	if (queue->scheduler[0] && strcmp(queue->scheduler, "none") != 0) {
		remedy = setting(loop, "none", "scheduler");
		report_finding(report, REPORT_WARN, "scheduler", remedy,
			       "%s: there is nothing to gain from sorting requests",
			       queue->scheduler);
		fine = false;
	}
	if (queue->rotational > 0) {
		zr_freep(&remedy);
		remedy = setting(loop, "0", "rotational");
		report_finding(report, REPORT_WARN, "rotational", remedy,
			       "1: filesystems and swap lay out data as for a hard disk");
		fine = false;
	}
	if (queue->n_requests >= 0 && queue->n_requests < REQUESTS_LEAST) {
		zr_freep(&remedy);
		remedy = setting(loop, "128", "nr_requests");
		report_finding(report, REPORT_WARN, "nr_requests", remedy,
			       "%" PRId64 ": few requests at a time", queue->n_requests);
		fine = false;
	}
	if (fine && queue->n_requests >= 0)
		report_finding(report, REPORT_OK, "queue", NULL,
			       "%" PRId64 " requests, not sorted; read-ahead %" PRId64 " KiB",
			       queue->n_requests, queue->read_ahead_kib);
}

/* What lies on it */

static void check_swap_area(struct check *check, const struct swap_area *area)
{
	const struct swap_area *other = NULL;
	char size[HUMAN_MAX], used[HUMAN_MAX];
	size_t i;

	for (i = 0; i < check->n_areas; ++i) {
		const struct swap_area *one = &check->areas[i];

		if (one != area && one->priority >= area->priority &&
		    (!other || one->priority > other->priority))
			other = one;
	}
	human_size(size, area->size_bytes);
	human_size(used, area->used_bytes);
	if (other && major(other->device) != major(area->device))
		report_finding(
			&check->report, REPORT_WARN, "swap",
			"zramfsctl detach the disk, then swapon --priority with a higher one",
			"%s, %s used, priority %d; %s has %d and is not used after it", size, used,
			area->priority, other->path, other->priority);
	else
		report_finding(&check->report, REPORT_OK, "swap", NULL, "%s, %s used, priority %d",
			       size, used, area->priority);
	if (check->n_areas == 1)
		report_finding(&check->report, REPORT_WARN, "the only swap",
			       "a swap area of a lower priority on a disk that is no memory",
			       "what does not fit in memory has nowhere to go");
}

static void check_top(struct check *check, const struct loop_user *loop)
{
	const struct swap_area *area = check_area(check, loop);

	if (area)
		check_swap_area(check, area);
	else if (loop->on_top)
		report_finding(&check->report, REPORT_OK, "used by", NULL, "%s", loop->on_top);
	/* mount -o loop asks for that, too. */
	if (loop->detaching)
		report_finding(&check->report, loop->on_top ? REPORT_OK : REPORT_WARN, "detaching",
			       NULL, "by itself, when its last user closes it");
	if (loop->is_cut)
		report_finding(&check->report, REPORT_WARN, "part of the disk", NULL,
			       "attached with an offset or a limit of its size");
}

static bool is_same_file(const struct loop_user *one, const struct loop_user *other)
{
	if (one->file.device != 0 && other->file.device != 0)
		return loop_file_same(&one->file, &other->file);
	return strcmp(one->backing, other->backing) == 0;
}

/* Another device on the same disk, whose writes this one does not see. */
static void check_twin(struct check *check, const struct loop_user *loop)
{
	ZR_CLEANUP(zr_freep) char *remedy = NULL;
	size_t i;

	for (i = 0; i < check->n_loops; ++i) {
		const struct loop_user *other = &check->loops[i];

		if (other->number == loop->number || !is_same_file(other, loop))
			continue;
		remedy = say_text("zramfsctl detach %s", other->device);
		report_finding(&check->report,
			       loop->top != LOOP_TOP_NONE && other->top != LOOP_TOP_NONE
				       ? REPORT_BAD
				       : REPORT_WARN,
			       "attached twice", remedy,
			       "%s is on it, too, and does not see what is written here",
			       other->device);
		return;
	}
}

void check_loop(struct check *check, const struct loop_user *loop)
{
	struct report *report = &check->report;

	report_heading(report, "%s on %s", loop->device, loop->backing);
	check_direct_io(report, loop);
	check_sector(report, loop);
	check_discard(report, loop);
	check_cache(report, loop);
	check_queue(report, loop);
	check_twin(check, loop);
	check_top(check, loop);
}

void check_other_loop(struct check *check, const struct loop_user *loop)
{
	ZR_CLEANUP(zr_freep) char *remedy = NULL;

	if (loop->read_only || loop->queue.write_back != 0)
		return;
	report_heading(&check->report, "%s on %s", loop->device, loop->backing);
	remedy = setting(loop, "\"write back\"", "write_cache");
	report_finding(&check->report, REPORT_BAD, "write_cache", remedy,
		       "write through, as losetup --detach leaves it after a disk of zramfs: "
		       "flushes do not reach that file, and a loss of power loses data");
}

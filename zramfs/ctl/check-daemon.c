/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The daemon: the processes that serve a mount, and what its disks may take
 */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "ask.h"
#include "base.h"
#include "check.h"
#include "human.h"
#include "say.h"
#include "serving.h"
#include "view.h"

/* Programs with this are not killed when memory is short, or after all others. */
#define OOM_SCORE_SAFE (-900)

/* What the processes take beside the disks: their own figure, too. */
#define OWN_BYTES (UINT64_C(48) << 20)

/* What the daemon says. */
struct served {
	struct view view;
	uint64_t generation; /* 0: nothing */
	pid_t worker;        /* 0: nothing */
};

/* Is a disk of this mount swapped to? */
static bool is_swapped_to(const struct check *check, const struct mount *mount)
{
	size_t i;

	for (i = 0; i < check->n_loops; ++i) {
		if (loop_mount(&check->loops[i], mount, 1) &&
		    check_area(check, &check->loops[i]) != NULL)
			return true;
	}
	return false;
}

static void check_locked(struct report *report, const struct serving *serving)
{
	char locked[HUMAN_MAX], limit[HUMAN_MAX];

	if (serving->locked_bytes < 0)
		return;
	if (serving->locked_bytes > 0)
		report_finding(report, REPORT_OK, "locked memory", NULL, "%s",
			       human_size(locked, (uint64_t)serving->locked_bytes));
	else if (serving->uid != 0 && serving->lock_limit >= 0 && serving->lock_limit < INT64_MAX)
		report_finding(report, REPORT_WARN, "locked memory", NULL,
			       "none, and its limit is %s: it can be swapped out itself, so it "
			       "should not be the only swap",
			       human_size(limit, (uint64_t)serving->lock_limit));
	else
		report_finding(report, REPORT_WARN, "locked memory", NULL,
			       "none: it can be swapped out itself, so it should not be the only "
			       "swap");
}

static void check_swapped(struct report *report, const struct serving *serving, bool swapped_to)
{
	char bytes[HUMAN_MAX];

	if (serving->swapped_bytes > 0)
		report_finding(report, swapped_to ? REPORT_BAD : REPORT_WARN, "swapped out",
			       swapped_to ? "another swap of a higher priority, or "
					    "zramfsctl detach of this one"
					  : NULL,
			       "%s of it%s", human_size(bytes, (uint64_t)serving->swapped_bytes),
			       swapped_to ? ", perhaps to its own disk, which it then waits for"
					  : ": slow when it is needed");
}

__attribute__((format(printf, 2, 3))) static void text_add(char **textp, const char *format, ...)
{
	ZR_CLEANUP(zr_freep) char *before = *textp, *more = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&more, format, args) < 0)
		say_no_memory();
	va_end(args);
	*textp = say_text("%s%s", before, more);
}

static const char *const role_names[] = {
	[SERVING_ALONE] = "process",
	[SERVING_KEEPER] = "keeper",
	[SERVING_WORKER] = "worker",
	[SERVING_SPARE] = "spare",
};

/* Of keeper and worker, which need not have the same: either may be killed. */
static void check_oom(struct report *report, const struct serving *found, size_t n_found)
{
	ZR_CLEANUP(zr_freep) char *values = say_text("%s", ""), *pids = say_text("%s", "");
	ZR_CLEANUP(zr_freep) char *remedy = NULL;
	int64_t worst = INT64_MIN;
	size_t i;

	for (i = 0; i < n_found; ++i) {
		const struct serving *one = &found[i];

		if (one->oom_score_adj == INT64_MIN)
			continue;
		text_add(&pids, " %d", (int)one->pid);
		if (one->role == SERVING_SPARE)
			continue;
		text_add(&values, "%s%" PRId64, *values ? ", " : "", one->oom_score_adj);
		if (one->role != SERVING_ALONE)
			text_add(&values, " of the %s", role_names[one->role]);
		worst = one->oom_score_adj > worst ? one->oom_score_adj : worst;
	}
	if (!*values)
		return;
	if (worst <= OOM_SCORE_SAFE) {
		report_finding(report, REPORT_OK, "oom_score_adj", NULL, "%s", values);
		return;
	}
	remedy = say_text("for p in%s; do echo -1000 >/proc/$p/oom_score_adj; done, as root", pids);
	report_finding(report, REPORT_WARN, "oom_score_adj", remedy,
		       "%s: the kernel may kill it when memory is short", values);
}

/* The most that the disks may come to take; VIEW_UNKNOWN if that is not known. */
static uint64_t most_of(const struct view *view)
{
	uint64_t most_bytes = 0;
	size_t i;

	for (i = 0; i < view->n_disks; ++i) {
		const struct view_disk *disk = &view->disks[i];
		uint64_t bytes = disk->disksize;

		if (bytes == VIEW_UNKNOWN)
			return VIEW_UNKNOWN;
		if (disk->mem_limit != VIEW_UNKNOWN && disk->mem_limit > 0)
			bytes = zr_min(bytes, disk->mem_limit);
		/* What would not fit is too much already. */
		most_bytes = zr_min(most_bytes + bytes, UINT64_MAX / 2);
	}
	if (view->total.mem_limit != VIEW_UNKNOWN && view->total.mem_limit > 0)
		most_bytes = zr_min(most_bytes, view->total.mem_limit);
	return most_bytes;
}

static void check_ram(struct report *report, uint64_t most_bytes)
{
	char most[HUMAN_MAX], ram[HUMAN_MAX];
	uint64_t ram_bytes;
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return;
	ram_bytes = (uint64_t)info.totalram * info.mem_unit;
	human_size(most, most_bytes);
	human_size(ram, ram_bytes);
	if (most_bytes <= ram_bytes)
		report_finding(report, REPORT_OK, "mem_limit", NULL, "%s at most, of %s of RAM",
			       most, ram);
	else
		report_finding(
			report, REPORT_WARN, "mem_limit",
			"zramfsctl set DISK mem_limit=50%, for each or for zramfs as a whole",
			"the disks may take %s, if it compresses badly, and there are %s of "
			"RAM",
			most, ram);
}

static void check_cgroup(struct report *report, const struct serving *serving, uint64_t most_bytes)
{
	char limit[HUMAN_MAX], most[HUMAN_MAX], own[HUMAN_MAX];

	if (serving->cgroup_limit == INT64_MAX)
		return;
	human_size(limit, (uint64_t)serving->cgroup_limit);
	if (most_bytes == VIEW_UNKNOWN || most_bytes + OWN_BYTES <= (uint64_t)serving->cgroup_limit)
		report_finding(report, REPORT_OK, "memory cgroup", NULL, "%s at most", limit);
	else
		report_finding(report, REPORT_BAD, "memory cgroup",
			       "raise the limit above what the disks may take (a service: "
			       "MemoryMax=), or set mem_limit below it",
			       "%s at most, and the disks may take %s, and the daemon itself %s: "
			       "at the limit it is killed or stands still",
			       limit, human_size(most, most_bytes), human_size(own, OWN_BYTES));
}

static void say_process(struct report *report, const struct serving *serving, uint64_t generation)
{
	if (serving->role == SERVING_WORKER && generation > 0)
		report_finding(report, REPORT_OK, "worker", NULL, "%d, generation %" PRIu64,
			       (int)serving->pid, generation);
	else
		report_finding(report, REPORT_OK, role_names[serving->role], NULL, "%d",
			       (int)serving->pid);
	/* One that is older than zramfsctl is not told of what it cannot have. */
	if (serving->role == SERVING_ALONE && generation > 0)
		report_finding(report, REPORT_WARN, "keeper",
			       "umount, and zramfs again without --no-keeper",
			       "none: what kills this process ends the mount");
}

static void check_processes(struct check *check, const struct mount *mount,
			    const struct served *served, uint64_t most_bytes)
{
	struct report *report = &check->report;
	struct serving found[SERVING_MAX];
	size_t n_found, i;

	n_found = serving_find(mount, served->worker, found);
	if (n_found == 0)
		report_finding(report, REPORT_OK, "process", NULL, "not visible to you");
	for (i = 0; i < n_found; ++i)
		say_process(report, &found[i], served->generation);
	for (i = 0; i < n_found; ++i) {
		if (found[i].role != SERVING_WORKER && found[i].role != SERVING_ALONE)
			continue;
		check_locked(report, &found[i]);
		check_swapped(report, &found[i], is_swapped_to(check, mount));
		check_cgroup(report, &found[i], most_bytes);
	}
	check_oom(report, found, n_found);
}

static void say_silent(struct report *report, const struct mount *mount, int error, const char *why)
{
	ZR_CLEANUP(zr_freep) char *remedy = NULL;

	switch (error) {
	case -ENOTCONN:
	case -ECONNABORTED:
		remedy = say_text("umount -l %s, or fusermount3 -uz as a user", mount->path);
		report_finding(report, REPORT_BAD, "answer", remedy,
			       "none: its daemon is dead, and its disks are gone");
		break;
	case -ETIMEDOUT:
		report_finding(report, REPORT_BAD, "answer", NULL, "none in time: it hangs");
		break;
	case -EACCES:
	case -EPERM:
		report_finding(report, REPORT_OK, "answer", NULL,
			       "not visible to you: a mount of another user");
		break;
	default:
		report_finding(report, REPORT_WARN, "answer", NULL, "%s", why);
	}
}

/* What it says of itself. Return: 0 or -errno, and then why. */
static int served_read(const struct mount *mount, struct served *served, char why[VIEW_WHY_MAX])
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	size_t n_text;
	int worker, r;

	*served = (struct served){ .worker = 0 };
	r = mount->is_foreign ? -EACCES : view_read(mount, &served->view, why);
	/* A daemon that is older has none. */
	if (r == 0 && ask_file(mount, ".control/zramfs/generation", &text, &n_text) == 0 &&
	    sscanf(text, "%" SCNu64 " %d", &served->generation, &worker) == 2)
		served->worker = worker;
	return r;
}

void check_daemon(struct check *check, const struct mount *mount)
{
	uint64_t most_bytes = VIEW_UNKNOWN;
	char why[VIEW_WHY_MAX];
	struct served served;
	int r;

	report_heading(&check->report, "daemon of %s", mount->path);
	r = served_read(mount, &served, why);
	if (r == 0)
		most_bytes = most_of(&served.view);

	check_processes(check, mount, &served, most_bytes);
	if (r < 0) {
		say_silent(&check->report, mount, r, why);
		return;
	}
	if (most_bytes != VIEW_UNKNOWN)
		check_ram(&check->report, most_bytes);
	check_safety(&check->report, mount);
	check_watchdog(&check->report, mount);
	check_poison(&check->report, &served.view);
	view_clear(&served.view);
}

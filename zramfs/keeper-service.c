/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The keeper under a service manager: what it says, what it has held, how it leaves, and how the next
 * one goes on
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hello.h"
#include "inherit.h"
#include "keeper-parts.h"
#include "keeper.h"
#include "log.h"
#include "safety.h"
#include "sync.h"

#define SECOND_NS INT64_C(1000000000)

/* A worker that does not say what it has, or whether it has read the configuration; a manager that
 * does not read. */
#define TELL_NS   (3 * SECOND_NS)
#define FILES_NS  (300 * SECOND_NS) /* it has begun to, and waits for a file that is opened */
#define RELOAD_NS (60 * SECOND_NS)
#define LEAVE_NS  (5 * SECOND_NS)

/* what is to be done once */

void keeper_told_all(struct keeper *keeper)
{
	struct attendance *attendance = &keeper->attendance;

	if (!attendance->is_telling)
		return;
	attendance->is_telling = false;
	upgrade_begin(keeper, attendance->program, "", false);
}

void keeper_told_config(struct keeper *keeper)
{
	keeper->attendance.told_until_ns = zr_monotonic_ns() + FILES_NS;
}

/* The program that was started is the one that is to serve. */
static void go_on(struct keeper *keeper)
{
	struct attendance *attendance = &keeper->attendance;

	/* One that died says no more. */
	if (attendance->is_telling &&
	    ((!keeper->worker.is_foreign && keeper->worker.state == CHILD_READY) ||
	     zr_monotonic_ns() > attendance->told_until_ns))
		keeper_told_all(keeper);
	if (!attendance->wants_reload || attendance->is_telling || !upgrade_is_over(keeper))
		return;
	attendance->wants_reload = false;
	keeper->reload = true;
	keeper_tell_asked(keeper);
}

void keeper_reload_begun(struct keeper *keeper)
{
	keeper->attendance.is_reloading = true;
	keeper->attendance.reload_until_ns = zr_monotonic_ns() + RELOAD_NS;
}

void keeper_reload_done(struct keeper *keeper, int error)
{
	keeper->attendance.is_reloading = false;
	keeper->attendance.reload_failed = error != 0;
}

/* Who dies of it, or meanwhile, does not say so. */
static bool is_reloading(struct keeper *keeper)
{
	struct attendance *attendance = &keeper->attendance;

	if (attendance->is_reloading && (keeper->worker.state != CHILD_READY ||
					 zr_monotonic_ns() > attendance->reload_until_ns))
		attendance->is_reloading = false;
	return attendance->is_reloading || keeper->reload;
}

/* what is said */

static bool is_settled(struct keeper *keeper)
{
	const struct attendance *attendance = &keeper->attendance;

	return !keeper->detach && !attendance->is_telling && !attendance->wants_reload &&
	       upgrade_is_over(keeper) && !is_reloading(keeper);
}

static void say_serving(struct keeper *keeper)
{
	const uint32_t n_disks = atomic_load(&keeper->shelf->n_disks);
	const char *upgraded = keeper->upgrade.said;
	char text[SERVICE_SAID_MAX];

	snprintf(text, sizeof(text),
		 "READY=1\nSTATUS=Serving %" PRIu32 " disk%s; generation %" PRIu64
		 ", process %d%s%s%s",
		 n_disks, n_disks == 1 ? "" : "s", keeper->generation, (int)keeper->worker.pid,
		 keeper->attendance.reload_failed ? "; configuration refused, see the log" : "",
		 strncmp(upgraded, "failed", strlen("failed")) == 0 ? "; upgrade " : "",
		 strncmp(upgraded, "failed", strlen("failed")) == 0 ? upgraded : "");
	service_say(keeper->service, text);
}

/* RELOADING wants the time at which it began, so that a READY of before does not count. */
static void say_reloading(struct keeper *keeper)
{
	struct attendance *attendance = &keeper->attendance;
	char text[SERVICE_SAID_MAX];

	if (attendance->reload_usec == 0)
		attendance->reload_usec = zr_monotonic_ns() / 1000;
	snprintf(text, sizeof(text),
		 "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=Reading the configuration again",
		 attendance->reload_usec);
	service_say(keeper->service, text);
}

/* @is_held: all that is to be held was sent, which comes before READY. */
static void say(struct keeper *keeper, bool is_held)
{
	struct attendance *attendance = &keeper->attendance;
	char text[SERVICE_SAID_MAX];

	if (attendance->is_leaving)
		return;
	if (attendance->was_ready && is_reloading(keeper)) {
		say_reloading(keeper);
		return;
	}
	attendance->reload_usec = 0;
	if (keeper->worker.state == CHILD_READY &&
	    (attendance->was_ready || (is_held && is_settled(keeper)))) {
		attendance->was_ready = true;
		say_serving(keeper);
		return;
	}
	if (keeper->worker.state == CHILD_READY)
		snprintf(text, sizeof(text), "STATUS=Process %d serves, and is to be replaced",
			 (int)keeper->worker.pid);
	else
		snprintf(text, sizeof(text), "STATUS=Generation %" PRIu64 " is to serve",
			 keeper->generation + (keeper->worker.state != CHILD_TAKING_OVER));
	service_say(keeper->service, text);
}

/* leaving */

bool keeper_leave(struct keeper *keeper)
{
	struct attendance *attendance = &keeper->attendance;

	/* What was not said to be there ends as a whole. */
	if ((!attendance->was_ready && !attendance->is_found) || !service_may_hold(keeper->service))
		return false;
	if (attendance->is_leaving)
		return true;
	attendance->is_leaving = true;
	attendance->is_proving = false;
	attendance->is_telling = attendance->wants_reload = false;
	upgrade_give_up(keeper, "the keeper was told to leave");
	keeper_drop_spare(keeper);
	service_say(keeper->service, "STATUS=The keeper leaves, the worker goes on");
	return true;
}

/* Who cannot leave does what it would do elsewhere. */
static void stay(struct keeper *keeper)
{
	log_line("%s: the service manager holds no descriptors, so this ends the mount; set "
		 "FileDescriptorStoreMax=32",
		 keeper->resolved);
	keeper->attendance.is_leaving = false;
	keeper->terminate = true;
	keeper_tell_asked(keeper);
}

/* One that has died, and was not waited for yet. */
static bool is_broken(int end)
{
	struct pollfd wanted = { .fd = end };

	return poll(&wanted, 1, 0) != 0;
}

/* Not while nobody serves, or somebody was told to finish, since that is for the keeper to see to. */
static void leave_look(struct keeper *keeper, bool is_held)
{
	struct attendance *attendance = &keeper->attendance;
	struct service *service = keeper->service;

	if (!attendance->is_leaving)
		return;
	if (keeper->worker.state != CHILD_READY || keeper->upgrade.is_draining ||
	    is_broken(keeper->worker.end)) {
		attendance->is_proving = false;
		return;
	}
	if (!attendance->is_proving) {
		if (!is_held || service_wanted(service) >= 0)
			return;
		service->proof = SERVICE_UNKNOWN;
		attendance->is_proving = true;
		attendance->leave_until_ns = zr_monotonic_ns() + LEAVE_NS;
	}
	if (service->proof == SERVICE_UNKNOWN)
		service_prove(service);
	if (service->proof == SERVICE_HOLDS_NOTHING) {
		stay(keeper);
		return;
	}
	/* One that does not answer is busy, or swapped out; what it holds it holds. */
	if ((service->proof != SERVICE_HOLDS || !is_held) &&
	    zr_monotonic_ns() < attendance->leave_until_ns)
		return;
	(void)service_sync(service);
	log_line("%s: the keeper leaves, process %d goes on serving", keeper->resolved,
		 (int)keeper->worker.pid);
	exit(EXIT_SUCCESS);
}

/* each turn */

void keeper_attend(struct keeper *keeper)
{
	struct service *service = keeper->service;
	const pid_t pids[] = { keeper->worker.pid, keeper->spare.pid,
			       keeper->upgrade.candidate.pid };
	const int ends[] = { keeper->worker.end, keeper->spare.end, keeper->upgrade.candidate.end };
	bool is_held;

	go_on(keeper);
	if (!service_is_there(service))
		return;
	service_hear(service);
	service_keep_wires(service, pids, ends, ZR_ARRAY_SIZE(pids));
	is_held = service_sync(service);
	say(keeper, is_held);
	leave_look(keeper, is_held);
}

void keeper_hold_all(struct keeper *keeper)
{
	unsigned int i;

	service_keep(keeper->service, SERVICE_FUSE, keeper->fuse_fd);
	service_keep(keeper->service, SERVICE_STORE, keeper->store_fd);
	service_keep(keeper->service, SERVICE_CONFIG, keeper->config_fd);
	service_keep(keeper->service, SERVICE_PROGRAM, keeper->binary);
	if (keeper->entries_fd >= 0)
		service_keep(keeper->service, SERVICE_ENTRIES, keeper->entries_fd);
	for (i = 0; i < ZR_BACKINGS_MAX; ++i) {
		if (keeper->backing_fds[i] >= 0)
			service_keep(keeper->service, SERVICE_BACKING + i, keeper->backing_fds[i]);
	}
}

/* going on */

static bool is_same_file(int a, int b)
{
	struct stat first, second;

	return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

/* What came meanwhile is read by the loop; what was lost with the keeper before is asked for. */
static void worker_found(struct keeper *keeper, const struct inherited *inherited, int own)
{
	struct attendance *attendance = &keeper->attendance;
	const bool serves = atomic_load(&keeper->shelf->worker_pid) == (uint64_t)inherited->worker;

	keeper->worker = (struct child){ .pid = inherited->worker,
					 .end = inherited->wire,
					 .state = serves ? CHILD_READY : CHILD_TAKING_OVER,
					 .is_foreign = true,
					 .has_all = serves,
					 .ready_ns = zr_monotonic_ns() };
	/* It says its pid after that. */
	keeper->generation = keeper->generation_before = atomic_load(&keeper->shelf->generation);
	attendance->program = own;
	attendance->is_telling = true;
	attendance->told_until_ns = zr_monotonic_ns() + TELL_NS;
	(void)wire_say(inherited->wire, WIRE_TELL);
}

/* It died, and its keeper too: the program that was started is to serve, and if it cannot, the one
 * that did. */
static void worker_lost(struct keeper *keeper, int own)
{
	keeper->worker = (struct child){
		.end = -1, .state = CHILD_READY, .is_foreign = true, .ready_ns = zr_monotonic_ns()
	};
	if (is_same_file(keeper->binary, own))
		close(keeper->binary);
	else
		keeper->upgrade.before = keeper->binary;
	keeper->upgrade.is_new = true;
	keeper->binary = own;
	service_keep(keeper->service, SERVICE_PROGRAM, own);
	keeper_worker_died(keeper, SIGKILL);
}

int keeper_run_found(const struct options *options, struct service *service,
		     const struct inherited *inherited)
{
	static struct keeper keeper;
	const int own = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	int r;

	keeper.service = service;
	keeper.fuse_fd = inherited->fds[SERVICE_FUSE];
	keeper.store_fd = inherited->fds[SERVICE_STORE];
	keeper.config_fd = inherited->fds[SERVICE_CONFIG];
	keeper.entries_fd = inherited->fds[SERVICE_ENTRIES];
	memcpy(keeper.backing_fds, inherited->fds + SERVICE_BACKING, sizeof(keeper.backing_fds));
	keeper.binary = inherited->fds[SERVICE_PROGRAM];
	if (keeper.binary < 0)
		keeper.binary = fcntl(own, F_DUPFD_CLOEXEC, 0);
	keeper.resolved = options->mountpoint;
	r = own < 0 || keeper.binary < 0 ? -EBADF : keeper_init(&keeper, options);
	if (r < 0) {
		log_line("%s: no keeper: %s", keeper.resolved, strerror(-r));
		return EXIT_FAILURE;
	}

	log_never_block();
	safety_lock_present();
	safety_lock_future();
	keeper.generation = keeper.generation_before = atomic_load(&keeper.shelf->generation);
	keeper.cannot_resend = !hello_can_resend(&keeper.shelf->init);
	keeper.attendance.is_found = true;
	keeper.attendance.wants_reload = options->config_path != NULL;
	if (inherited->worker > 0)
		worker_found(&keeper, inherited, own);
	else
		worker_lost(&keeper, own);
	keeper_loop(&keeper);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hello.h"
#include "hurry.h"
#include "keeper-parts.h"
#include "log.h"
#include "mount.h"
#include "safety.h"
#include "sync.h"
#include "worker.h"

/* So many generations in a row may fail. */
#define FAILURES_MAX 5u

/* Who served that long has not died of what the one before died of. */
#define SERVED_WELL_S 60

/* Of a worker that does not come to serve, of one that was told to finish, and of one of a former
 * version, which does not say that it has all it needs. */
#define START_TICKS  60u
#define DRAIN_TICKS  10u
#define SETTLE_TICKS 10u

#define DEAD_LOOKS   40u
#define DEAD_LOOK_MS 50

/* The spare one is told of so much more. */
#define FOLLOW_BYTES (UINT64_C(4) << 20)

/* children */

static void child_forget(struct child *child)
{
	if (child->end >= 0)
		close(child->end);
	*child = CHILD_NONE;
}

/* Of one that is not ours, the pid may be another's once its end is closed. */
void keeper_kill(const struct child *child)
{
	struct pollfd end = { .fd = child->end };

	if (child->pid <= 0 || (child->is_foreign && (child->end < 0 || poll(&end, 1, 0) != 0)))
		return;
	kill(child->pid, SIGKILL);
}

/* It is waited for like any other. */
void keeper_drop_spare(struct keeper *keeper)
{
	keeper_kill(&keeper->spare);
	child_forget(&keeper->spare);
}

int keeper_launch(struct keeper *keeper, struct child *child, int binary)
{
	int ends[2], r;
	struct launch launch = { .mode = "--worker",
				 .rest = keeper->arguments,
				 .fds = { [LAUNCH_FUSE] = keeper->fuse_fd,
					  [LAUNCH_STORE] = keeper->store_fd,
					  [LAUNCH_CONFIG] = keeper->config_fd,
					  [LAUNCH_BINARY] = binary,
					  [LAUNCH_ENTRIES] = keeper->entries_fd } };

	r = wire_pair(ends);
	if (r < 0)
		return r;
	launch.fds[LAUNCH_WIRE] = ends[1];
	launch_back(&launch, keeper->backing_fds);
	r = launch_run(&launch);
	close(ends[1]);
	if (r < 0) {
		close(ends[0]);
		return r;
	}
	*child = (struct child){ .pid = r, .end = ends[0], .state = CHILD_STARTING };
	return 0;
}

static uint64_t store_bytes(const struct keeper *keeper)
{
	struct stat st;

	return fstat(keeper->store_fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

/* The spare one has page tables for what there was when it was made, and memory to load it. */
static void spare_follow(struct keeper *keeper)
{
	const uint64_t n_bytes = store_bytes(keeper);

	/* What comes after it has become smaller may be elsewhere. */
	if (n_bytes < keeper->followed_bytes)
		keeper->followed_bytes = n_bytes;
	if (keeper->spare.state != CHILD_STANDBY || n_bytes < keeper->followed_bytes + FOLLOW_BYTES)
		return;
	keeper->followed_bytes = n_bytes;
	(void)wire_say(keeper->spare.end, WIRE_FOLLOW);
}

/* Nobody serves. The spare one is to, or one that is made now: it is in a hurry, and so is whoever
 * makes it. Of one that stands by the main thread suffices, since the others want nothing. */
static void worker_provide(struct keeper *keeper)
{
	struct child *worker = &keeper->worker;

	(void)hurry(0, true);
	if (keeper->spare.state == CHILD_GONE)
		(void)keeper_launch(keeper, &keeper->spare, keeper->binary);
	*worker = keeper->spare;
	keeper->spare = CHILD_NONE;
	if (worker->state == CHILD_STARTING)
		hurry_all(worker->pid);
	else if (worker->pid > 0)
		(void)hurry(worker->pid, true);
	keeper_serve(keeper);
	/* Not for longer: at such a priority a process that ends takes up to a second for it. */
	(void)hurry(0, false);
}

/* There is always somebody who is to serve, and when that one does, somebody to follow: not before
 * it has all it needs, since there may be too little memory for both, and none becomes free until
 * then. What cannot be had now is tried again with the next look. Nobody could follow one that dies
 * over io_uring. */
static void children_provide(struct keeper *keeper)
{
	const struct child *worker = &keeper->worker;

	if (worker->state == CHILD_GONE)
		worker_provide(keeper);
	if (worker->state == CHILD_READY && worker->has_all && !worker->is_dead &&
	    keeper->spare.state == CHILD_GONE && !keeper->spare_failed && !keeper->entries &&
	    !keeper->attendance.is_leaving) {
		(void)keeper_launch(keeper, &keeper->spare, keeper->binary);
		keeper->followed_bytes = store_bytes(keeper);
	}
}

/* Tell who is to serve to do so, once it is there to be told. */
void keeper_serve(struct keeper *keeper)
{
	struct child *worker = &keeper->worker;
	struct wire_message serve = { .kind = WIRE_SERVE,
				      .value = keeper->generation + 1,
				      .error = keeper->fault };

	if (worker->state != CHILD_STANDBY && worker->state != CHILD_PREPARED)
		return;
	snprintf(serve.text, sizeof(serve.text), "%s", keeper->upgrade.said);
	++keeper->generation;
	worker->ticks = 0;
	worker->state = CHILD_TAKING_OVER;
	if (wire_send(worker->end, &serve, -1) < 0)
		keeper_kill(worker);
}

/* the end */

/* What a dead worker had with the kernel over io_uring keeps the mount for a moment. */
static bool is_dead_soon(const struct keeper *keeper)
{
	unsigned int i;

	for (i = 0; keeper->entries && i < DEAD_LOOKS; ++i) {
		if (mount_is_dead(keeper->resolved))
			return true;
		poll(NULL, 0, DEAD_LOOK_MS);
	}
	return mount_is_dead(keeper->resolved);
}

static _Noreturn void keeper_end(struct keeper *keeper, int status)
{
	keeper_kill(&keeper->spare);
	keeper_kill(&keeper->worker);
	keeper_kill(&keeper->upgrade.candidate);

	/* With the last descriptor the connection ends, and whoever waits for an answer is told. */
	close(keeper->fuse_fd);
	service_say(keeper->service, "STOPPING=1\nSTATUS=The mount ends");
	service_end(keeper->service);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	if (status == EXIT_SUCCESS ? mount_is_dead(keeper->resolved) : is_dead_soon(keeper))
		(void)mount_detach(keeper->resolved, 0, true);
	exit(status);
}

static _Noreturn void give_up(struct keeper *keeper, const char *why)
{
	log_line("%s: ended, and its disks are lost: %s", keeper->resolved, why);
	mount_abort(keeper->resolved, (dev_t)atomic_load(&keeper->shelf->mount_device));
	keeper_end(keeper, EXIT_FAILURE);
}

/* Another process serves, which is not for us to end: it has a keeper of its own. */
static _Noreturn void yield(struct keeper *keeper, const char *why)
{
	log_line("%s: %s", keeper->resolved, why);
	keeper_kill(&keeper->spare);
	keeper_kill(&keeper->worker);
	keeper_kill(&keeper->upgrade.candidate);
	exit(EXIT_FAILURE);
}

/* deaths */

static bool is_fault(int signal_no)
{
	switch (signal_no) {
	case SIGSEGV:
	case SIGBUS:
	case SIGILL:
	case SIGFPE:
	case SIGABRT:
	case SIGTRAP:
	case SIGSYS:
		return true;
	default:
		return false;
	}
}

static void death_describe(const struct child *child, int status, char text[KEEPER_TEXT_MAX])
{
	const int signal_no = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (child->why[0])
		snprintf(text, KEEPER_TEXT_MAX, "%s", child->why);
	else if (child->is_hung)
		snprintf(text, KEEPER_TEXT_MAX, "killed: it made no progress");
	else if (child->is_foreign)
		snprintf(text, KEEPER_TEXT_MAX, "died");
	else if (signal_no)
		snprintf(text, KEEPER_TEXT_MAX, "died of signal %d, %s", signal_no,
			 strsignal(signal_no));
	else
		snprintf(text, KEEPER_TEXT_MAX, "exited with status %d", WEXITSTATUS(status));
}

/* All that it has read was answered. */
static bool is_drained(const struct child *child, int status)
{
	return child->is_drained ||
	       (WIFEXITED(status) && WEXITSTATUS(status) == WORKER_EXIT_DRAINED);
}

/* A generation that could not, or did not want to. One that served and made no progress is none of
 * these: where the machine has no memory left nobody makes any, and what is in hand is no poison.
 * Return: what to tell the next one: the signal if it died of a fault, 0 if it did not. */
static int death_count(struct keeper *keeper, const struct child *child, int status)
{
	const bool served = child->state == CHILD_READY;
	const bool fault = (WIFSIGNALED(status) && is_fault(WTERMSIG(status))) ||
			   (!child->is_foreign && WIFEXITED(status));

	/* Its successor was to be another, who died meanwhile. */
	if (is_drained(child, status))
		return 0;
	if (served && !fault) {
		keeper->n_failures = 0;
		return 0;
	}
	if (served && zr_monotonic_ns() - child->ready_ns > SERVED_WELL_S * INT64_C(1000000000))
		keeper->n_failures = 0;
	++keeper->n_failures;
	if (!fault)
		return 0;
	return WIFSIGNALED(status) ? WTERMSIG(status) : SIGABRT;
}

void keeper_worker_died(struct keeper *keeper, int status)
{
	const struct child dead = keeper->worker;
	char last[KEEPER_TEXT_MAX], why[KEEPER_TEXT_MAX + 64];
	bool has_answered;
	int fault;

	keeper->worker.pid = 0; /* it may be somebody else's by now */
	/* Its mount is gone, or it was asked to end. */
	if (!dead.is_foreign && dead.state >= CHILD_TAKING_OVER && WIFEXITED(status) &&
	    WEXITSTATUS(status) == EXIT_SUCCESS)
		keeper_end(keeper, EXIT_SUCCESS);

	/* It was told, and did not live to hear it. */
	if (keeper->told_ns != 0 && zr_monotonic_ns() - keeper->told_ns < KEEPER_LOOK_NS)
		keeper->terminate = true;
	if (!keeper->detach && keeper->entries && atomic_load(&keeper->entries->is_live)) {
		death_describe(&dead, status, last);
		snprintf(why, sizeof(why), "the worker %s, and nobody can follow it over io_uring",
			 last);
		give_up(keeper, why);
	}
	child_forget(&keeper->worker);
	has_answered = is_drained(&dead, status);
	if (upgrade_is_to_follow(keeper) && (has_answered || !keeper->cannot_resend)) {
		upgrade_take_over(keeper);
		return;
	}

	fault = death_count(keeper, &dead, status);
	/* What the seats say is what the last one had in hand that took over. */
	if (dead.state >= CHILD_TAKING_OVER)
		keeper->fault = fault;
	death_describe(&dead, status, last);
	if (keeper->waiting_since_ns == 0) {
		keeper->waiting_since_ns = zr_monotonic_ns();
		snprintf(keeper->death, sizeof(keeper->death), "%s", last);
	}
	/* Before anybody serves there is nothing to lose, and who typed the command is told why. */
	if (keeper->detach) {
		log_line(dead.why[0] ? "%s" : "the worker %s before it was ready", last);
		keeper_end(keeper, EXIT_FAILURE);
	}
	if (keeper->cannot_resend && dead.state == CHILD_READY && !has_answered)
		give_up(keeper, "the worker died, and this kernel cannot send its requests again; "
				"Linux 6.9 can");
	if (keeper->n_failures >= FAILURES_MAX) {
		snprintf(why, sizeof(why), "%u generations in a row failed, the last one %s",
			 FAILURES_MAX, last);
		give_up(keeper, why);
	}
	if (dead.state != CHILD_READY || fault)
		upgrade_go_back(keeper, last);
	/* What keeps one from starting may be over in a second: the next look tries again. */
	if (dead.state >= CHILD_TAKING_OVER || keeper->spare.state == CHILD_STANDBY)
		children_provide(keeper);
}

/* A spare one that fails by itself is tried a few times: it is not needed yet. */
static void spare_died(struct keeper *keeper)
{
	const struct child dead = keeper->spare;

	child_forget(&keeper->spare);
	if (++keeper->n_spares_failed >= FAILURES_MAX && !keeper->spare_failed) {
		keeper->spare_failed = true;
		log_line("%s: no worker can be made ready ahead of need: %s", keeper->resolved,
			 dead.why[0] ? dead.why : "it died");
	}
}

static void child_died(struct keeper *keeper, pid_t pid, int status)
{
	if (pid == keeper->worker.pid)
		keeper_worker_died(keeper, status);
	else if (pid == keeper->spare.pid)
		spare_died(keeper);
	else if (pid == keeper->upgrade.candidate.pid)
		upgrade_candidate_died(keeper, status);
}

/* messages */

void keeper_tell_asked(struct keeper *keeper)
{
	if (keeper->worker.state != CHILD_READY || keeper->upgrade.is_draining)
		return;
	if (keeper->reload) {
		(void)wire_say(keeper->worker.end, WIRE_RELOAD);
		keeper_reload_begun(keeper);
	}
	if (keeper->terminate) {
		(void)wire_say(keeper->worker.end, WIRE_TERMINATE);
		keeper->told_ns = zr_monotonic_ns();
	}
	keeper->reload = keeper->terminate = false;
}

/* The line about a death is said when it is over, and whoever is needed next is there. */
static void say_death(struct keeper *keeper)
{
	if (keeper->waiting_since_ns == 0)
		return;
	log_line("%s: generation %" PRIu64 " %s; generation %" PRIu64
		 " serves, requests waited %" PRId64 " ms",
		 keeper->resolved, keeper->generation_before, keeper->death, keeper->generation,
		 (keeper->worker.ready_ns - keeper->waiting_since_ns) / 1000000);
	keeper->waiting_since_ns = 0;
}

static void worker_ready(struct keeper *keeper, const struct wire_message *message)
{
	keeper->worker.state = CHILD_READY;
	keeper->worker.ready_ns = zr_monotonic_ns();
	keeper->worker.ticks = 0;
	/* Of one that was found on its way, it was not known. */
	keeper->generation = zr_max(keeper->generation, atomic_load(&keeper->shelf->generation));
	keeper->worker.tells_all = message->more != 0;
	keeper->cannot_resend = message->error != 0;
	/* What they died of is known, and will not be served again. */
	if (message->value > 0)
		keeper->n_failures = 0;
	keeper->spare_failed = false;
	keeper->n_spares_failed = 0;

	if (keeper->detach) {
		struct detach *detach = keeper->detach;

		keeper->detach = NULL;
		log_never_block();
		/* Whoever was waiting for the command has given up on it. */
		if (detach_ready(detach) < 0)
			(void)wire_say(keeper->worker.end, WIRE_TERMINATE);
	}
	upgrade_done(keeper);
	say_death(keeper);
	keeper->generation_before = keeper->generation;
	keeper_tell_asked(keeper);
}

static void worker_message(struct keeper *keeper, const struct wire_message *message, int fd)
{
	struct child *worker = &keeper->worker;

	switch (message->kind) {
	case WIRE_STANDBY:
		worker->state = CHILD_STANDBY;
		keeper_serve(keeper);
		break;
	case WIRE_READY:
		worker_ready(keeper, message);
		break;
	case WIRE_PREPARED:
		worker->has_all = true;
		children_provide(keeper);
		break;
	case WIRE_CONFIG:
		keeper_told_config(keeper);
		if (keeper_take_config(keeper, fd))
			children_provide(keeper);
		return;
	case WIRE_UPGRADE:
		upgrade_begin(keeper, fd, message->text, true);
		return;
	case WIRE_BACKING:
		keeper_take_backing(keeper, message->value, fd);
		return;
	case WIRE_RELOADED:
		keeper_reload_done(keeper, message->error);
		break;
	case WIRE_TOLD:
		keeper_told_all(keeper);
		break;
	case WIRE_DRAINED:
		worker->is_drained = true;
		break;
	case WIRE_REFUSED:
		if (message->error == EBUSY && worker->state == CHILD_TAKING_OVER)
			yield(keeper, message->text);
		if (keeper->upgrade.is_draining && worker->state == CHILD_READY)
			upgrade_refused(keeper, message);
		else
			snprintf(worker->why, sizeof(worker->why), "%s", message->text);
		break;
	}
	if (fd >= 0)
		close(fd);
}

static void spare_message(struct keeper *keeper, const struct wire_message *message, int fd)
{
	if (message->kind == WIRE_STANDBY) {
		keeper->spare.state = CHILD_STANDBY;
		keeper->n_spares_failed = 0;
	} else if (message->kind == WIRE_REFUSED) {
		snprintf(keeper->spare.why, sizeof(keeper->spare.why), "%s", message->text);
	}
	if (fd >= 0)
		close(fd);
}

/* An end that is closed is that of a process that dies, which is waited for; but for one that is
 * not our child. */
static bool child_read(struct keeper *keeper, struct child *child)
{
	struct wire_message message;
	int fd, r;

	r = wire_receive(child->end, &message, &fd);
	if (r == -EAGAIN)
		return false;
	if (r < 0) {
		/* Who does not speak like one of us must not serve on, kept by nobody. */
		if (r == -EPROTO)
			keeper_kill(child);
		close(child->end);
		child->end = -1;
		if (child->is_foreign)
			keeper_worker_died(keeper, SIGKILL);
		return false;
	}

	if (child == &keeper->worker)
		worker_message(keeper, &message, fd);
	else if (child == &keeper->spare)
		spare_message(keeper, &message, fd);
	else
		upgrade_message(keeper, &message, fd);
	return true;
}

/* looks */

static bool requests_wait(const struct keeper *keeper)
{
	struct pollfd fuse = { .fd = keeper->fuse_fd, .events = POLLIN };
	unsigned int i;

	for (i = 0; i < SHELF_SEATS; ++i) {
		const struct seat *seat = &keeper->shelf->seats[i];

		if (atomic_load(&seat->unique) != 0 && atomic_load(&seat->is_long) == 0)
			return true;
	}
	return poll(&fuse, 1, 0) == 1 && fuse.revents & POLLIN;
}

static uint64_t progress(const struct keeper *keeper)
{
	uint64_t n_done = 0;
	unsigned int i;

	for (i = 0; i < SHELF_SEATS; ++i)
		n_done += atomic_load(&keeper->shelf->seats[i].n_done);
	return n_done;
}

/* What it has in hand is sent to who follows it. Else it is waited for, however long it takes. */
static bool can_be_followed(const struct keeper *keeper)
{
	return !keeper->cannot_resend &&
	       !(keeper->entries && atomic_load(&keeper->entries->is_live));
}

/* Looks are counted, not time: while everything stands still, this does too. */
static void watch(struct keeper *keeper)
{
	const bool is_waited_for = keeper->upgrade.is_draining && !can_be_followed(keeper);
	struct child *worker = &keeper->worker;
	const uint32_t limit = atomic_load(&keeper->shelf->watchdog_s);
	const uint64_t n_done = progress(keeper);

	if (worker->state != CHILD_READY || limit == 0 || n_done != keeper->n_done ||
	    is_waited_for || !requests_wait(keeper)) {
		keeper->n_done = n_done;
		keeper->n_stuck = 0;
		return;
	}
	if (++keeper->n_stuck <= limit)
		return;
	keeper->n_stuck = 0;
	worker->is_hung = true;
	keeper_kill(worker);
}

static void look(struct keeper *keeper)
{
	struct child *worker = &keeper->worker;

	watch(keeper);
	if (worker->state != CHILD_READY && worker->state != CHILD_GONE &&
	    atomic_load(&keeper->shelf->watchdog_s) != 0 && ++worker->ticks > START_TICKS) {
		worker->is_hung = true;
		keeper_kill(worker);
	}
	if (worker->state == CHILD_READY && !worker->tells_all && ++worker->ticks > SETTLE_TICKS)
		worker->has_all = true;
	/* It may not have been there yet when it was told. */
	if (worker->state == CHILD_STARTING && keeper->waiting_since_ns != 0)
		hurry_all(worker->pid);
	if (keeper->upgrade.is_draining && can_be_followed(keeper) &&
	    ++keeper->upgrade.ticks > DRAIN_TICKS)
		keeper_kill(worker);
	upgrade_look(keeper);
	children_provide(keeper);
	spare_follow(keeper);
}

/* signals */

static void children_wait(struct keeper *keeper)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == keeper->worker.pid)
			keeper->worker.is_dead = true;
		/* What it said last is why it died. */
		while (pid == keeper->worker.pid && keeper->worker.end >= 0 &&
		       child_read(keeper, &keeper->worker))
			;
		while (pid == keeper->spare.pid && keeper->spare.end >= 0 &&
		       child_read(keeper, &keeper->spare))
			;
		child_died(keeper, pid, status);
	}
}

static void signal_read(struct keeper *keeper)
{
	struct signalfd_siginfo info;

	if (read(keeper->signals, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGHUP:
		keeper->reload = true;
		keeper_tell_asked(keeper);
		break;
	case SIGTERM:
	case SIGINT:
		if (info.ssi_signo == SIGTERM && keeper_leave(keeper))
			break;
		keeper->terminate = true;
		keeper_tell_asked(keeper);
		break;
	case SIGUSR2:
		upgrade_begin(keeper, -1, "", false);
		break;
	default:
		children_wait(keeper);
	}
}

static int signals_take(struct keeper *keeper)
{
	sigset_t wanted;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL); /* ignored, as it may be inherited, nobody could be waited for */
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGHUP);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGUSR2);
	sigaddset(&wanted, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &wanted, NULL) < 0)
		return -errno;
	keeper->signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
	return keeper->signals < 0 ? -errno : 0;
}

/* the whole */

_Noreturn void keeper_loop(struct keeper *keeper)
{
	struct child *children[] = { &keeper->worker, &keeper->spare, &keeper->upgrade.candidate };
	int64_t next_ns = zr_monotonic_ns() + KEEPER_LOOK_NS;

	keeper_attend(keeper);
	for (;;) {
		struct pollfd wanted[] = {
			{ .fd = keeper->signals, .events = POLLIN },
			{ .fd = children[0]->end, .events = POLLIN },
			{ .fd = children[1]->end, .events = POLLIN },
			{ .fd = children[2]->end, .events = POLLIN },
			{ .fd = service_wanted(keeper->service), .events = POLLIN },
		};
		const int64_t left_ns = zr_max(next_ns - zr_monotonic_ns(), INT64_C(0));
		int left_ms = (int)((left_ns + 999999) / 1000000);
		unsigned int i;

		if (keeper->service->wait_ms > 0)
			left_ms = zr_min(left_ms, keeper->service->wait_ms);
		(void)poll(wanted, ZR_ARRAY_SIZE(wanted), left_ms);
		for (i = 0; i < ZR_ARRAY_SIZE(children); ++i) {
			if (wanted[i + 1].revents && children[i]->end == wanted[i + 1].fd)
				(void)child_read(keeper, children[i]);
		}
		if (wanted[0].revents)
			signal_read(keeper);
		if (zr_monotonic_ns() >= next_ns) {
			look(keeper);
			next_ns = zr_monotonic_ns() + KEEPER_LOOK_NS;
		}
		keeper_attend(keeper);
	}
}

/* What the kernel calls a program that was replaced; what replaced it is at its path. */
static void path_undelete(char *path)
{
	static const char deleted[] = " (deleted)";
	const size_t n = strlen(path), n_deleted = sizeof(deleted) - 1;

	if (n > n_deleted && strcmp(path + n - n_deleted, deleted) == 0)
		path[n - n_deleted] = 0;
}

int keeper_init(struct keeper *keeper, const struct options *options)
{
	ssize_t n;
	int r;

	keeper->worker = keeper->spare = keeper->upgrade.candidate = CHILD_NONE;
	keeper->upgrade.binary = keeper->upgrade.before = -1;
	n = readlink("/proc/self/exe", keeper->binary_path, sizeof(keeper->binary_path) - 1);
	keeper->binary_path[n > 0 ? n : 0] = 0;
	path_undelete(keeper->binary_path);
	options_rest(options, keeper->arguments);
	r = signals_take(keeper);
	if (r < 0)
		return r;
	keeper_hold_config(keeper);
	if (keeper->entries_fd >= 0) {
		keeper->entries = entries_look(keeper->entries_fd);
		if (!keeper->entries)
			return -ENOMEM;
	}
	keeper->shelf = shelf_map(keeper->store_fd);
	return keeper->shelf ? 0 : -ENOMEM;
}

int keeper_run(const struct options *options, const struct start *start, struct detach *detach,
	       struct service *service)
{
	static struct keeper keeper;
	int r;

	keeper.service = service;
	keeper.fuse_fd = start->fuse_fd;
	keeper.store_fd = start->store_fd;
	keeper.config_fd = start->config_fd;
	keeper.entries_fd = start->entries_fd;
	memcpy(keeper.backing_fds, start->backing_fds, sizeof(keeper.backing_fds));
	keeper.detach = detach;
	keeper.resolved = options->mountpoint;
	keeper.binary = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	r = keeper.binary < 0 ? -errno : keeper_init(&keeper, options);
	if (r == 0) {
		safety_lock_present();
		keeper_hold_all(&keeper);
		r = keeper_launch(&keeper, &keeper.worker, keeper.binary);
	}
	if (r < 0) {
		log_line("cannot start: %s", strerror(-r));
		keeper_end(&keeper, EXIT_FAILURE);
	}
	safety_lock_future();
	keeper_loop(&keeper);
}

int keeper_run_again(const struct options *options)
{
	static struct service nobody;
	static struct keeper keeper;
	unsigned int i;
	int r;

	service_none(&nobody);
	keeper.service = &nobody;
	keeper.fuse_fd = LAUNCH_FUSE;
	keeper.store_fd = LAUNCH_STORE;
	keeper.config_fd = LAUNCH_CONFIG;
	keeper.binary = LAUNCH_BINARY;
	keeper.entries_fd = launch_found(LAUNCH_ENTRIES);
	for (i = 0; i < ZR_BACKINGS_MAX; ++i)
		keeper.backing_fds[i] = launch_found(LAUNCH_BACKING + i);
	keeper.resolved = options->mountpoint;
	r = keeper_init(&keeper, options);
	if (r < 0) {
		log_line("%s: no keeper: %s", keeper.resolved, strerror(-r));
		return EXIT_FAILURE;
	}

	log_never_block();
	safety_lock_present();
	safety_lock_future();
	keeper.generation = keeper.generation_before = atomic_load(&keeper.shelf->generation);
	keeper.worker = (struct child){ .pid = (pid_t)atomic_load(&keeper.shelf->worker_pid),
					.end = LAUNCH_WIRE,
					.state = CHILD_READY,
					.is_foreign = true,
					.has_all = true,
					.ready_ns = zr_monotonic_ns() };
	keeper.cannot_resend = !hello_can_resend(&keeper.shelf->init);
	upgrade_begin(&keeper, fcntl(keeper.binary, F_DUPFD_CLOEXEC, LAUNCH_END), "", false);
	keeper_loop(&keeper);
}

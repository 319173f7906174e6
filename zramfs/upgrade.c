/* SPDX-License-Identifier: GPL-2.0-or-later */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "keeper-parts.h"
#include "log.h"
#include "sync.h"

/* A program that does not come to say that it is there, or to map the store. Looks. */
#define CANDIDATE_TICKS 60u

/* So long the program before is kept. */
#define GO_BACK_S 60

static void answer(struct keeper *keeper, int error, const char *text)
{
	struct wire_message message = { .kind = WIRE_UPGRADED, .error = error };

	snprintf(message.text, sizeof(message.text), "%s", text);
	if (keeper->worker.end >= 0)
		(void)wire_send(keeper->worker.end, &message, -1);
}

static void candidate_forget(struct upgrade *upgrade)
{
	if (upgrade->candidate.pid > 0)
		kill(upgrade->candidate.pid, SIGKILL); /* it is waited for like any other */
	if (upgrade->candidate.end >= 0)
		close(upgrade->candidate.end);
	if (upgrade->binary >= 0)
		close(upgrade->binary);
	upgrade->candidate = CHILD_NONE;
	upgrade->binary = -1;
}

/* A worker that was told to finish ends all the same: until then it is draining. */
static void fail(struct keeper *keeper, int error, const char *why)
{
	struct upgrade *upgrade = &keeper->upgrade;

	snprintf(upgrade->said, sizeof(upgrade->said), "failed: %.*s",
		 (int)sizeof(upgrade->said) - (int)sizeof("failed: "), why);
	log_line("%s: not upgraded, %s: %s", keeper->resolved,
		 upgrade->is_draining ? "one of the same program follows" : "the worker goes on",
		 why);
	candidate_forget(upgrade);
	/* Also of one that nobody asked this keeper for: the keeper before may have been. */
	answer(keeper, error, upgrade->said);
	upgrade->is_asked = false;
}

/* It is not begun. */
static void refuse(struct keeper *keeper, int binary, bool is_asked)
{
	const bool is_leaving = keeper->attendance.is_leaving;
	const char *why = is_leaving ? "the keeper was told to leave"
				     : "another upgrade is under way";
	char text[WIRE_TEXT_MAX];

	log_line("%s: not upgraded: %s", keeper->resolved, why);
	snprintf(text, sizeof(text), "failed: %s", why);
	if (is_asked)
		answer(keeper, is_leaving ? EINTR : EBUSY, text);
	if (binary >= 0)
		close(binary);
}

void upgrade_begin(struct keeper *keeper, int binary, const char *path, bool is_asked)
{
	struct upgrade *upgrade = &keeper->upgrade;
	int r;

	if (upgrade->candidate.state != CHILD_GONE || upgrade->is_draining ||
	    keeper->attendance.is_leaving) {
		refuse(keeper, binary, is_asked);
		return;
	}

	upgrade->is_asked = is_asked;
	if (keeper->entries && atomic_load(&keeper->entries->cannot_leave)) {
		upgrade->binary = binary;
		fail(keeper, EOPNOTSUPP,
		     "over io_uring it takes a worker that may run on every processor; allow it "
		     "them by taskset or AllowedCPUs= of the service");
		return;
	}
	if (binary < 0 && path[0] == 0)
		binary = open(keeper->binary_path, O_PATH | O_CLOEXEC);
	else if (binary < 0)
		errno = EBADF; /* it did not come with the message */
	r = binary < 0 ? -errno : keeper_launch(keeper, &upgrade->candidate, binary);
	upgrade->binary = binary;
	if (r < 0) {
		char why[WIRE_TEXT_MAX];

		snprintf(why, sizeof(why), "%.*s: %s", (int)sizeof(why) / 2,
			 path[0] ? path : keeper->binary_path, strerror(-r));
		fail(keeper, -r, why);
	}
}

/* The worker finishes what it has in hand, and exits; the candidate is there. */
static void drain(struct keeper *keeper)
{
	struct upgrade *upgrade = &keeper->upgrade;

	if (keeper->worker.state != CHILD_READY)
		return; /* looked at again */
	upgrade->is_draining = true;
	upgrade->ticks = 0;
	keeper->waiting_since_ns = zr_monotonic_ns();
	snprintf(keeper->death, sizeof(keeper->death), "was replaced");
	if (wire_say(keeper->worker.end, WIRE_DRAIN) < 0)
		keeper_kill(&keeper->worker);
}

static void candidate_standby(struct keeper *keeper, uint32_t version)
{
	char why[WIRE_TEXT_MAX];

	if (version != SHELF_VERSION) {
		snprintf(why, sizeof(why),
			 "it keeps what is open in another way: version %" PRIu32 ", not %u",
			 version, SHELF_VERSION);
		fail(keeper, EPROTONOSUPPORT, why);
		return;
	}
	keeper->upgrade.candidate.state = CHILD_PREPARING;
	(void)wire_say(keeper->upgrade.candidate.end, WIRE_PREPARE);
}

void upgrade_message(struct keeper *keeper, const struct wire_message *message, int fd)
{
	struct child *candidate = &keeper->upgrade.candidate;

	if (fd >= 0)
		close(fd);
	switch (message->kind) {
	case WIRE_STANDBY:
		candidate_standby(keeper, message->version);
		break;
	case WIRE_PREPARED:
		candidate->state = CHILD_PREPARED;
		drain(keeper);
		break;
	case WIRE_REFUSED:
		fail(keeper, message->error ? message->error : ENOEXEC, message->text);
		break;
	}
}

void upgrade_refused(struct keeper *keeper, const struct wire_message *message)
{
	keeper->waiting_since_ns = 0;
	keeper->upgrade.is_draining = false;
	fail(keeper, message->error, message->text);
}

void upgrade_candidate_died(struct keeper *keeper, int status)
{
	char why[WIRE_TEXT_MAX];

	if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "the new program died of signal %d, %s",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(why, sizeof(why), "the new program is no worker: it exited with status %d",
			 WEXITSTATUS(status));
	keeper->upgrade.candidate.pid = 0;
	fail(keeper, ENOEXEC, why);
}

bool upgrade_is_to_follow(struct keeper *keeper)
{
	struct upgrade *upgrade = &keeper->upgrade;
	const bool was_draining = upgrade->is_draining;

	upgrade->is_draining = false;
	return was_draining && upgrade->candidate.state == CHILD_PREPARED;
}

void upgrade_take_over(struct keeper *keeper)
{
	struct upgrade *upgrade = &keeper->upgrade;

	upgrade->is_asked = false;
	upgrade->is_new = true;
	if (upgrade->before >= 0)
		close(upgrade->before);
	upgrade->before = keeper->binary;
	keeper->binary = upgrade->binary;
	upgrade->binary = -1;
	service_keep(keeper->service, SERVICE_PROGRAM, keeper->binary);

	snprintf(upgrade->said, sizeof(upgrade->said), "done: generation %" PRIu64,
		 keeper->generation + 1);
	keeper->fault = 0;
	keeper->worker = upgrade->candidate;
	upgrade->candidate = CHILD_NONE;
	keeper_drop_spare(keeper); /* of the program before */
	keeper_serve(keeper);
}

void upgrade_done(struct keeper *keeper)
{
	keeper->upgrade.is_new = false;
}

void upgrade_go_back(struct keeper *keeper, const char *why)
{
	struct upgrade *upgrade = &keeper->upgrade;

	if (upgrade->before < 0)
		return;
	log_line("%s: going back to the program before: the new worker %s", keeper->resolved, why);
	snprintf(upgrade->said, sizeof(upgrade->said), "failed: went back, the new worker %.160s",
		 why);
	close(keeper->binary);
	keeper->binary = upgrade->before;
	upgrade->before = -1;
	service_keep(keeper->service, SERVICE_PROGRAM, keeper->binary);
	upgrade->is_new = false;
	keeper_drop_spare(keeper);
}

bool upgrade_is_over(const struct keeper *keeper)
{
	return keeper->worker.state == CHILD_READY &&
	       keeper->upgrade.candidate.state == CHILD_GONE && !keeper->upgrade.is_draining;
}

void upgrade_give_up(struct keeper *keeper, const char *why)
{
	if (keeper->upgrade.candidate.state != CHILD_GONE && !keeper->upgrade.is_draining)
		fail(keeper, EINTR, why);
}

void upgrade_look(struct keeper *keeper)
{
	struct upgrade *upgrade = &keeper->upgrade;
	struct child *candidate = &upgrade->candidate;

	if (candidate->state == CHILD_PREPARED && !upgrade->is_draining)
		drain(keeper);
	else if (candidate->state != CHILD_GONE && !upgrade->is_draining &&
		 ++candidate->ticks > CANDIDATE_TICKS)
		fail(keeper, ETIMEDOUT, "the new program did not come to be ready");

	if (upgrade->before >= 0 && !upgrade->is_new && keeper->worker.state == CHILD_READY &&
	    zr_monotonic_ns() - keeper->worker.ready_ns > GO_BACK_S * INT64_C(1000000000)) {
		close(upgrade->before);
		upgrade->before = -1;
	}
}

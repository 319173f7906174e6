/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base.h"

#define PREFIX "zramfs-"
#define SAMPLE "sample"

/* Who does not read is asked again after so long, and twice as long each time. */
#define WAIT_MIN_MS 10
#define WAIT_MAX_MS 1000

/* Of the end: a manager that does not come to read. */
#define END_MS 3000

/* names */

static const char *const kinds[] = {
	[SERVICE_FUSE] = "fuse",       [SERVICE_STORE] = "store",     [SERVICE_CONFIG] = "config",
	[SERVICE_PROGRAM] = "program", [SERVICE_ENTRIES] = "entries", [SERVICE_BACKING] = "backing",
};

/* The name up to the number. */
static void stem(char text[NOTIFY_NAME_MAX], enum service_slot slot)
{
	if (slot >= SERVICE_WIRE)
		snprintf(text, NOTIFY_NAME_MAX, PREFIX "wire-");
	else if (slot >= SERVICE_BACKING)
		snprintf(text, NOTIFY_NAME_MAX, PREFIX "%s%d-", kinds[SERVICE_BACKING],
			 (int)(slot - SERVICE_BACKING));
	else
		snprintf(text, NOTIFY_NAME_MAX, PREFIX "%s-", kinds[slot]);
}

void service_name(char name[NOTIFY_NAME_MAX], enum service_slot slot, uint32_t number)
{
	size_t n;

	stem(name, slot);
	n = strlen(name);
	snprintf(name + n, NOTIFY_NAME_MAX - n, "%u", (unsigned int)number);
}

enum service_slot service_slot_of(const char *name, uint32_t *numberp)
{
	char text[NOTIFY_NAME_MAX];
	enum service_slot slot;
	unsigned long long number;
	char *end;

	for (slot = SERVICE_FUSE; slot <= SERVICE_WIRE; ++slot) {
		stem(text, slot);
		if (strncmp(name, text, strlen(text)) != 0)
			continue;
		name += strlen(text);
		number = strtoull(name, &end, 10);
		if (name[0] < '1' || name[0] > '9' || *end || number > UINT32_MAX)
			return SERVICE_END;
		*numberp = (uint32_t)number;
		return slot;
	}
	return SERVICE_END;
}

/* Where the kernel does not compare open files, those of the same file are the same, as they are to
 * the manager. */
bool service_is_same(int a, int b)
{
	const pid_t self = getpid();
	const long r = syscall(SYS_kcmp, self, self, KCMP_FILE, a, b);
	struct stat first, second;

	if (r >= 0)
		return r == 0;
	return fstat(a, &first) == 0 && fstat(b, &second) == 0 && !S_ISCHR(first.st_mode) &&
	       !S_ISBLK(first.st_mode) && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

/* who is there */

void service_none(struct service *service)
{
	enum service_slot slot;

	*service = (struct service){ .notify = NOTIFY_NONE, .sample = -1, .barrier = -1 };
	for (slot = SERVICE_FUSE; slot < SERVICE_END; ++slot)
		service->kept[slot].fd = -1;
}

void service_begin(struct service *service, bool is_asked_for)
{
	service_none(service);
	service->is_asked_for = is_asked_for;
	notify_begin(&service->notify);
}

bool service_is_there(const struct service *service)
{
	return service->notify.socket >= 0;
}

bool service_may_hold(const struct service *service)
{
	return service_is_there(service) && service->is_asked_for;
}

/* what is to be held */

void service_keep(struct service *service, enum service_slot slot, int fd)
{
	struct service_kept *kept = &service->kept[slot];

	if (!service_may_hold(service))
		return;
	kept->fd = fd;
	kept->number = fd < 0 ? 0 : ++service->n_numbers;
}

void service_found(struct service *service, enum service_slot slot, int fd, uint32_t number)
{
	service->kept[slot] = (struct service_kept){ .fd = fd, .number = number, .held = number };
	if (slot < SERVICE_WIRE && service->n_numbers < number)
		service->n_numbers = number;
}

/* If there are more than there is room for, what is called so stays until the end. */
void service_drop(struct service *service, const char *name)
{
	if (service->n_going < SERVICE_GOING)
		snprintf(service->going[service->n_going++], NOTIFY_NAME_MAX, "%s", name);
}

static bool is_listed(pid_t pid, const pid_t pids[], const int ends[], unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; ++i) {
		if (pids[i] == pid && ends[i] >= 0)
			return true;
	}
	return false;
}

/* Return: where the wire of @pid is, or could be; NULL: nowhere. */
static struct service_kept *wire_slot(struct service *service, pid_t pid)
{
	struct service_kept *found = NULL;
	enum service_slot slot;

	for (slot = SERVICE_WIRE; slot < SERVICE_END; ++slot) {
		struct service_kept *kept = &service->kept[slot];

		if (kept->number == (uint32_t)pid)
			return kept;
		if (kept->number == 0 && kept->held == 0)
			found = kept;
	}
	return found;
}

void service_keep_wires(struct service *service, const pid_t pids[], const int ends[],
			unsigned int n)
{
	struct service_kept *kept;
	enum service_slot slot;
	unsigned int i;

	if (!service_may_hold(service))
		return;
	for (slot = SERVICE_WIRE; slot < SERVICE_END; ++slot) {
		kept = &service->kept[slot];
		if (kept->number != 0 && !is_listed((pid_t)kept->number, pids, ends, n)) {
			kept->fd = -1;
			kept->number = 0;
		}
	}
	for (i = 0; i < n; ++i) {
		kept = pids[i] > 0 && ends[i] >= 0 ? wire_slot(service, pids[i]) : NULL;
		if (kept) {
			kept->fd = ends[i];
			kept->number = (uint32_t)pids[i];
		}
	}
}

/* telling */

static bool send_named(struct service *service, const char *what, const char *name, int fd)
{
	char text[NOTIFY_NAME_MAX + 64];

	snprintf(text, sizeof(text), "%s\nFDNAME=%s\n", what, name);
	return notify_send(&service->notify, text, fd) != -EAGAIN;
}

/* What was held goes after what is new has come. */
static bool slot_sync(struct service *service, enum service_slot slot)
{
	struct service_kept *kept = &service->kept[slot];
	char name[NOTIFY_NAME_MAX];

	if (kept->number == kept->held)
		return true;
	if (kept->fd >= 0) {
		service_name(name, slot, kept->number);
		if (!send_named(service, "FDSTORE=1\nFDPOLL=0", name, kept->fd))
			return false;
	}
	if (kept->held != 0) {
		service_name(name, slot, kept->held);
		service_drop(service, name);
	}
	kept->held = kept->number;
	return true;
}

static bool going_sync(struct service *service)
{
	while (service->n_going > 0) {
		if (!send_named(service, "FDSTOREREMOVE=1", service->going[0], -1))
			return false;
		--service->n_going;
		memmove(service->going[0], service->going[1],
			service->n_going * sizeof(service->going[0]));
	}
	return true;
}

static bool all_sync(struct service *service)
{
	enum service_slot slot;

	/* Names of a former mount first: this one's may be the same. */
	if (!going_sync(service))
		return false;
	for (slot = SERVICE_FUSE; slot < SERVICE_END; ++slot) {
		if (!slot_sync(service, slot))
			return false;
	}
	return going_sync(service);
}

bool service_sync(struct service *service)
{
	if (!service_is_there(service))
		return true;
	if (all_sync(service)) {
		service->wait_ms = 0;
		return true;
	}
	service->wait_ms = (int)zr_min(zr_max(service->wait_ms * 2, WAIT_MIN_MS), WAIT_MAX_MS);
	return false;
}

/* whether it holds anything */

static void pipe_close(int *endp)
{
	if (*endp >= 0)
		close(*endp);
	*endp = -1;
}

/* Have the other end of a pipe sent with @text, if that was not done. Return: 0; -EAGAIN: later;
 * -errno: there is nobody. */
static int pipe_send(struct service *service, const char *text, int *endp)
{
	int ends[2], r;

	if (*endp >= 0)
		return 0;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -EAGAIN;
	r = notify_send(&service->notify, text, ends[1]);
	close(ends[1]);
	if (r == 0)
		*endp = ends[0];
	else
		close(ends[0]);
	return r;
}

void service_prove(struct service *service)
{
	int r;

	if (!service_may_hold(service) || service->barrier >= 0)
		return;
	service->proof = SERVICE_UNKNOWN;
	r = pipe_send(service, "FDSTORE=1\nFDPOLL=0\nFDNAME=" PREFIX SAMPLE "\n", &service->sample);
	if (r == 0)
		r = pipe_send(service, "BARRIER=1", &service->barrier);
	if (r == -EAGAIN)
		service->wait_ms = WAIT_MAX_MS / 10;
	else if (r < 0)
		service->proof = SERVICE_HOLDS_NOTHING;
}

int service_wanted(const struct service *service)
{
	return service->barrier;
}

static bool is_broken(int end)
{
	struct pollfd wanted = { .fd = end, .events = POLLIN };

	return poll(&wanted, 1, 0) == 1;
}

void service_hear(struct service *service)
{
	if (service->barrier < 0 || !is_broken(service->barrier))
		return;
	service->proof = is_broken(service->sample) ? SERVICE_HOLDS_NOTHING : SERVICE_HOLDS;
	if (service->proof == SERVICE_HOLDS)
		service_drop(service, PREFIX SAMPLE);
	pipe_close(&service->sample);
	pipe_close(&service->barrier);
}

void service_say(struct service *service, const char *text)
{
	if (!service_is_there(service) || strcmp(text, service->said) == 0)
		return;
	if (notify_send(&service->notify, text, -1) != -EAGAIN)
		snprintf(service->said, sizeof(service->said), "%s", text);
	else if (service->wait_ms == 0)
		service->wait_ms = WAIT_MIN_MS;
}

/* the end */

static void rest(int end, int ms)
{
	struct pollfd wanted = { .fd = end, .events = POLLIN };

	(void)poll(&wanted, 1, ms);
}

/* All is sent, and it has come to that. */
static void settle(struct service *service)
{
	int waited_ms;

	for (waited_ms = 0; !service_sync(service) && waited_ms < END_MS;) {
		rest(-1, service->wait_ms);
		waited_ms += service->wait_ms;
	}
	pipe_close(&service->sample);
	pipe_close(&service->barrier);
	if (service_may_hold(service))
		(void)pipe_send(service, "BARRIER=1", &service->barrier);
	if (service->barrier >= 0)
		rest(service->barrier, END_MS);
	pipe_close(&service->barrier);
}

void service_settle(struct service *service)
{
	if (service->n_going > 0)
		settle(service);
}

void service_end(struct service *service)
{
	enum service_slot slot;

	for (slot = SERVICE_FUSE; slot < SERVICE_END; ++slot) {
		service->kept[slot].fd = -1;
		service->kept[slot].number = 0;
	}
	if (service->sample >= 0)
		service_drop(service, PREFIX SAMPLE);
	settle(service);
	notify_end(&service->notify);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "intake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base.h"
#include "shelf.h"
#include "sync.h"

#define PARK_NS 10000000

void gate_init(struct gate *gate, int fd, const _Atomic uint32_t *poll_us, const struct seat *seats,
	       unsigned int n_seats)
{
	*gate = (struct gate){ .fd = fd, .poll_us = poll_us, .seats = seats, .n_seats = n_seats };
	trial_init(&gate->trial);
}

void gate_deinit(struct gate *gate)
{
	trial_deinit(&gate->trial);
}

int intake_open(struct intake *intake, struct gate *gate, uint32_t number)
{
	struct epoll_event wanted = { .events = EPOLLIN | EPOLLEXCLUSIVE };
	const int flags = fcntl(gate->fd, F_GETFL);

	*intake = (struct intake){ .gate = gate, .number = number };
	intake->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (intake->epoll < 0)
		return -errno;
	if (flags < 0 || fcntl(gate->fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    epoll_ctl(intake->epoll, EPOLL_CTL_ADD, gate->fd, &wanted) < 0) {
		const int error = errno;

		intake_close(intake);
		return -error;
	}
	return 0;
}

void intake_close(struct intake *intake)
{
	if (intake->epoll >= 0)
		close(intake->epoll);
	intake->epoll = -1;
}

ssize_t intake_try(const struct intake *intake, void *bytes, size_t n_bytes)
{
	const ssize_t n = read(intake->gate->fd, bytes, n_bytes);

	return n < 0 ? -errno : n;
}

/* the post */

static bool has_post(const struct intake *intake)
{
	return atomic_load_explicit(&intake->gate->post, memory_order_relaxed) == intake->number;
}

static bool post_take(struct intake *intake)
{
	uint32_t nobody = 0;

	return has_post(intake) ||
	       atomic_compare_exchange_strong(&intake->gate->post, &nobody, intake->number);
}

/* @holder leaves it, or is made to. */
static void post_free(struct gate *gate, uint32_t holder)
{
	if (atomic_compare_exchange_strong(&gate->post, &holder, 0) &&
	    atomic_load(&gate->n_parked) > 0)
		syscall(SYS_futex, &gate->post, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void intake_leave_post(struct intake *intake)
{
	if (has_post(intake))
		post_free(intake->gate, intake->number);
}

/* Wait while @holder has the post, and never for good: it may be stuck. Each waits as much longer
 * as there are others, so that one after another looks. */
static ssize_t park(struct intake *intake, uint32_t holder, void *bytes, size_t n_bytes)
{
	struct gate *gate = intake->gate;
	const int64_t while_ns = PARK_NS * ((int64_t)atomic_fetch_add(&gate->n_parked, 1) + 1);
	const struct timespec timeout = { .tv_sec = while_ns / 1000000000,
					  .tv_nsec = while_ns % 1000000000 };
	ssize_t n;

	syscall(SYS_futex, &gate->post, FUTEX_WAIT_PRIVATE, holder, &timeout, NULL, 0);
	atomic_fetch_sub(&gate->n_parked, 1);
	n = intake_try(intake, bytes, n_bytes);
	if (n >= 0)
		post_free(gate, holder);
	return n;
}

/* looking */

static void trial_look_at(struct gate *gate)
{
	const int64_t now_ns = zr_monotonic_ns();
	uint64_t n_served = 0;
	unsigned int i;

	if (!trial_is_due(&gate->trial, now_ns))
		return;
	for (i = 0; i < gate->n_seats; ++i)
		n_served += atomic_load_explicit(&gate->seats[i].n_done, memory_order_relaxed);
	trial_note(&gate->trial, now_ns, n_served);
}

/* Look for a request for @limit_ns. Return: as intake_try(). */
static ssize_t look(struct intake *intake, void *bytes, size_t n_bytes, int64_t limit_ns)
{
	const int64_t begin_ns = zr_monotonic_ns();
	ssize_t n;

	do
		n = intake_try(intake, bytes, n_bytes);
	while (n == -EAGAIN && zr_monotonic_ns() - begin_ns < limit_ns);
	return n;
}

/* Sleep until there is one, and take it. */
static ssize_t sleep_for(const struct intake *intake, void *bytes, size_t n_bytes)
{
	struct epoll_event event;

	if (epoll_wait(intake->epoll, &event, 1, -1) < 0)
		return -errno;
	return intake_try(intake, bytes, n_bytes);
}

static ssize_t wait_for(struct intake *intake, void *bytes, size_t n_bytes)
{
	const int64_t limit_ns =
		(int64_t)atomic_load_explicit(intake->gate->poll_us, memory_order_relaxed) * 1000;
	const uint32_t holder = atomic_load(&intake->gate->post);
	ssize_t n = -EAGAIN;

	if (limit_ns > 0)
		trial_look_at(intake->gate);
	if (holder != 0 && holder != intake->number)
		return park(intake, holder, bytes, n_bytes);
	if (limit_ns > 0 && trial_looks(&intake->gate->trial) && post_take(intake))
		n = look(intake, bytes, n_bytes, limit_ns);
	/* After an error it may never come back here. */
	if (n < 0)
		intake_leave_post(intake);
	return n == -EAGAIN ? sleep_for(intake, bytes, n_bytes) : n;
}

ssize_t intake_read(struct intake *intake, void *bytes, size_t n_bytes)
{
	ssize_t n;

	n = intake_try(intake, bytes, n_bytes);
	if (n == -EAGAIN)
		return wait_for(intake, bytes, n_bytes);
	/* It was there already: more threads may be wanted. */
	intake_leave_post(intake);
	return n;
}

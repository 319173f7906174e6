/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "ring.h"

#include <errno.h>
#include <liburing.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base.h"
#include "cpus.h"

/* The second half of a submission is the command; and who submits is one thread, which runs what the
 * kernel has for it when it waits, and at no other time. */
#ifndef RING_FLAGS
#define RING_FLAGS                                                                    \
	(IORING_SETUP_SQE128 | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | \
	 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED)
#endif

/* What tells submissions apart that are no entry's, which counts from 0. The number above is the
 * library's. */
#define WOKEN (UINT64_MAX - 1)

/* Many short answers are told of at once, a long one without waiting for others to be served. */
#define UNSAID_BYTES (64u << 10)

/* What is worth waking another thread for, which may take 50 us. */
#define LARGE_READ_BYTES  (64u << 10)
#define LARGE_WRITE_BYTES (32u << 10)

/* Requests that the kernel was asked for have numbers of their own: even, and above all others. */
#define RETRIEVED (UINT64_C(1) << 62)

#define PARK_WAIT_NS 100000000
#define PARK_TRIES   (ENTRIES_DEPTH_MAX * 4)

_Thread_local struct ring *ring_self;
_Thread_local struct entry *ring_serving;

int rings_probe(void)
{
	struct io_uring uring;
	int r;

	r = io_uring_queue_init(1, &uring, RING_FLAGS);
	if (r == 0)
		io_uring_queue_exit(&uring);
	return r;
}

static unsigned int entries_of(const struct ring *ring)
{
	const struct rings *rings = ring->rings;
	unsigned int i, n = 0;

	for (i = 0; i < rings->head->n_entries; ++i)
		n += rings->entries[i].ring == ring;
	return n;
}

int ring_init(struct ring *ring, struct rings *rings)
{
	int r;

	ring->rings = rings;
	ring->last_waiting = &ring->waiting;
	ring->wake = eventfd(0, EFD_CLOEXEC);
	if (ring->wake < 0)
		return -errno;
	ring->uring = calloc(1, sizeof(*ring->uring));
	if (!ring->uring)
		return -ENOMEM;
	r = io_uring_queue_init(entries_of(ring) + 1, ring->uring, RING_FLAGS);
	if (r < 0) {
		free(ring->uring);
		ring->uring = NULL;
	}
	return r;
}

void ring_deinit(struct ring *ring)
{
	if (ring->uring) {
		io_uring_queue_exit(ring->uring);
		free(ring->uring);
	}
	if (ring->uring || ring->wake > 0)
		close(ring->wake);
}

/* entries */

static void entry_submit(struct ring *ring, struct entry *entry, unsigned int command)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring->uring);
	struct uring_command *said;

	if (!sqe)
		abort(); /* there is one for each entry */
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = ring->rings->fuse_fd;
	sqe->cmd_op = command;
	sqe->user_data = (uint64_t)(entry - ring->rings->entries);
	if (command == URING_REGISTER) {
		sqe->addr = (uintptr_t)entry->memory;
		sqe->len = ZR_ARRAY_SIZE(entry->memory);
	}
	said = (struct uring_command *)sqe->cmd;
	said->queue = (uint16_t)entry->slot->queue;
	said->commit_id = command == URING_COMMIT ? entry->head->entry.commit_id : 0;
	atomic_store_explicit(&entry->slot->state, ENTRY_FETCHING, memory_order_relaxed);
	++ring->n_fetching;
}

void ring_commit(struct ring *ring, struct entry *entry)
{
	ring->n_unsaid += entry->head->entry.n_payload;
	entry_submit(ring, entry, URING_COMMIT);
}

void ring_hand_over(struct entry *entry)
{
	struct ring *ring = entry->ring;
	struct entry *first = atomic_load(&ring->answered);
	const uint64_t one = 1;

	do
		entry->next = first;
	while (!atomic_compare_exchange_weak(&ring->answered, &first, entry));
	/* Whoever put the first one there has woken it. */
	if (!first && write(ring->wake, &one, sizeof(one)) < 0)
		abort(); /* an eventfd takes a 1 */
}

static void answers_take(struct ring *ring)
{
	struct entry *entry = atomic_exchange(&ring->answered, NULL), *next;

	for (; entry; entry = next) {
		next = entry->next;
		ring_commit(ring, entry);
	}
}

/* To be answered with nothing. */
static void retrieved_answer(struct ring *ring, struct entry *entry, uint64_t unique)
{
	const struct fuse_out_header header = { .len = sizeof(header), .unique = unique };
	const struct iovec part = { (void *)&header, sizeof(header) };

	(void)entry_answer(ring->rings->head, (unsigned int)(entry - ring->rings->entries), &part,
			   1);
	atomic_store(&entry->slot->unique, 0);
	ring_commit(ring, entry);
}

static void wait_to_serve(struct ring *ring, struct entry *entry)
{
	entry->next = NULL;
	*ring->last_waiting = entry;
	ring->last_waiting = &entry->next;
}

/* What the kernel did not lay out as it should cannot be answered, and would hang. */
static size_t request_of(struct ring *ring, struct entry *entry, const uint8_t **requestp)
{
	const size_t n = entry_request(ring->rings->head,
				       (unsigned int)(entry - ring->rings->entries), requestp);

	if (n == 0)
		abort();
	return n;
}

static void entry_serve(struct ring *ring, struct entry *entry)
{
	struct ring_request request = { .payload = entry->memory[1].iov_base,
					.n_payload = entry->memory[1].iov_len,
					.is_left = entry->is_left,
					.found = entry->found };
	const struct fuse_in_header *header;
	bool was_served;

	request.n_request = request_of(ring, entry, &request.request);
	header = (const struct fuse_in_header *)request.request;
	if (header->opcode == FUSE_NOTIFY_REPLY) {
		retrieved_answer(ring, entry, header->unique);
		return;
	}

	ring_serving = entry;
	was_served = ring->rings->use.serve(ring->rings->use.context, &request);
	ring_serving = NULL;
	if (!was_served) {
		wait_to_serve(ring, entry);
		return;
	}
	if (ring->n_unsaid >= UNSAID_BYTES) {
		(void)io_uring_submit(ring->uring);
		ring->n_unsaid = 0;
	}
}

/* A request came: whoever serves it forgets what was before. */
static void entry_take(struct ring *ring, struct entry *entry)
{
	const struct fuse_in_header *header = (const struct fuse_in_header *)entry->head->in_out;

	entry->is_left = false;
	entry->found = NULL;
	atomic_store(&entry->slot->unique, header->unique);
	atomic_store(&entry->slot->state, ENTRY_TAKEN);
}

/* completions */

static void wake_arm(struct ring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring->uring);

	if (!sqe)
		abort();
	memset(sqe, 0, 2 * sizeof(*sqe));
	io_uring_prep_read(sqe, ring->wake, &ring->woken, sizeof(ring->woken), 0);
	sqe->user_data = WOKEN;
}

static void lent_serve(struct ring *ring)
{
	struct entry *entry = atomic_exchange(&ring->lent, NULL);

	if (entry)
		entry_serve(ring, entry);
}

/* The mount is gone, or was never there. */
static bool is_end(int error)
{
	return error == -ENOTCONN || error == -ECONNABORTED || error == -ENODEV;
}

static void retry(struct ring *ring)
{
	struct entry *entry = ring->waiting, *next;

	ring->waiting = NULL;
	ring->last_waiting = &ring->waiting;
	for (; entry; entry = next) {
		next = entry->next;
		entry_serve(ring, entry);
	}
}

static void fetched(struct ring *ring, struct entry *entry, int result)
{
	--ring->n_fetching;
	if (result == 0) {
		entry_take(ring, entry);
		return;
	}
	atomic_store(&entry->slot->state, ENTRY_GONE);
	if (atomic_load(&ring->rings->error) == 0)
		atomic_store(&ring->rings->error, result);
	/* Nobody would take what comes for it any more, and who asked would wait for ever. */
	if (!is_end(result) && atomic_load(&ring->rings->n_begun) == ring->rings->n_rings)
		abort();
}

/* Return: false if there is none. */
static bool completion_take(struct ring *ring, struct entry **entryp)
{
	struct io_uring_cqe *cqe;
	uint64_t which;
	int result;

	*entryp = NULL;
	if (io_uring_peek_cqe(ring->uring, &cqe) < 0 || !cqe)
		return false;
	which = cqe->user_data;
	result = cqe->res;
	io_uring_cqe_seen(ring->uring, cqe);

	if (which == WOKEN) {
		wake_arm(ring);
		if (ring->is_parked_here)
			return true;
		answers_take(ring);
		lent_serve(ring);
		if (atomic_fetch_and(&ring->wishes, ~(unsigned int)RING_RETRY) & RING_RETRY)
			retry(ring);
		return true;
	}
	fetched(ring, &ring->rings->entries[which], result);
	if (result == 0)
		*entryp = &ring->rings->entries[which];
	return true;
}

/* parking */

void ring_ask(struct ring *ring, enum ring_wish wish)
{
	const uint64_t one = 1;

	atomic_fetch_or(&ring->wishes, wish);
	if (write(ring->wake, &one, sizeof(one)) < 0)
		abort(); /* an eventfd takes a 1 */
}

/* Have the kernel send a request to the queue of the processor that this thread runs on. Return: 0
 * or -errno. */
static int retrieve(struct ring *ring)
{
	struct {
		struct fuse_out_header header;
		struct fuse_notify_retrieve_out out;
	} notice = { .header = { .len = sizeof(notice), .error = FUSE_NOTIFY_RETRIEVE },
		     .out.nodeid = atomic_load(&ring->rings->known_node) };

	notice.out.notify_unique = RETRIEVED |
				   (atomic_fetch_add(&ring->rings->next_retrieved, 1) << 1);
	return write(ring->rings->fuse_fd, &notice, sizeof(notice)) < 0 ? -errno : 0;
}

static unsigned int fetching_of(const struct ring *ring, unsigned int queue)
{
	const struct rings *rings = ring->rings;
	unsigned int i, n = 0;

	for (i = 0; i < rings->head->n_entries; ++i)
		n += rings->head->slots[i].queue == queue && rings->entries[i].ring == ring &&
		     atomic_load(&rings->head->slots[i].state) == ENTRY_FETCHING;
	return n;
}

/* What is there: nothing of it is served any more. */
static void take_all(struct ring *ring)
{
	struct __kernel_timespec wait = { .tv_nsec = PARK_WAIT_NS };
	struct io_uring_cqe *cqe;
	struct entry *entry;

	(void)io_uring_submit_and_wait_timeout(ring->uring, &cqe, 1, &wait, NULL);
	while (completion_take(ring, &entry))
		;
}

static void queue_park(struct ring *ring, unsigned int queue)
{
	unsigned int i;

	/* One that is not there makes no requests, and its entries are taken back. */
	if (!cpus_pin(queue))
		return;
	for (i = 0; i < PARK_TRIES && fetching_of(ring, queue) > 0; ++i) {
		if (retrieve(ring) == -ENOMEM)
			continue;
		take_all(ring);
	}
}

static void ring_park(struct ring *ring)
{
	const struct rings *rings = ring->rings;
	uint32_t state;
	unsigned int i;

	ring->is_parked_here = true;
	(void)io_uring_submit(ring->uring);
	for (i = 0; i < rings->head->n_queues; ++i) {
		if (fetching_of(ring, i) > 0)
			queue_park(ring, i);
	}
	for (i = 0; i < rings->head->n_entries; ++i) {
		state = ENTRY_FETCHING;
		if (rings->entries[i].ring == ring)
			atomic_compare_exchange_strong(&rings->head->slots[i].state, &state,
						       ENTRY_NEW);
	}
	io_uring_queue_exit(ring->uring);
	free(ring->uring);
	ring->uring = NULL;
	atomic_store(&ring->is_parked, true);
}

/* the whole */

/* Requests that were left are served once all entries are with the kernel, or answered. */
static void entries_begin(struct ring *ring)
{
	struct rings *rings = ring->rings;
	struct entry *entry;

	for (entry = rings->entries; entry < rings->entries + rings->head->n_entries; ++entry) {
		if (entry->ring != ring)
			continue;
		switch (atomic_load(&entry->slot->state)) {
		case ENTRY_NEW:
			entry_submit(ring, entry, URING_REGISTER);
			break;
		case ENTRY_ANSWERED:
			ring_commit(ring, entry);
			break;
		case ENTRY_TAKEN:
		case ENTRY_LEFT:
			atomic_store(&entry->slot->state, ENTRY_TAKEN);
			wait_to_serve(ring, entry);
			break;
		}
	}
	wake_arm(ring);
	(void)io_uring_submit(ring->uring);
	retry(ring);
}

/* Serving it takes longer than waking another thread. */
static bool is_large(const struct entry *entry)
{
	const struct fuse_in_header *header = (const struct fuse_in_header *)entry->head->in_out;
	const struct fuse_read_in *in = (const struct fuse_read_in *)entry->head->op_in;

	return (header->opcode == FUSE_READ && in->size >= LARGE_READ_BYTES) ||
	       (header->opcode == FUSE_WRITE && entry->head->entry.n_payload >= LARGE_WRITE_BYTES);
}

/* Return: has another ring got it? */
static bool lend(struct ring *ring, struct entry *entry)
{
	const uint64_t one = 1;
	struct ring *other;

	for (other = ring->rings->rings; other < ring->rings->rings + ring->rings->n_rings;
	     ++other) {
		struct entry *none = NULL;

		if (other == ring || !atomic_exchange(&other->is_idle, false) ||
		    !atomic_compare_exchange_strong(&other->lent, &none, entry))
			continue;
		if (write(other->wake, &one, sizeof(one)) < 0)
			abort(); /* an eventfd takes a 1 */
		return true;
	}
	return false;
}

static void large_serve_one(struct ring *ring, struct entry *entry)
{
	entry_serve(ring, entry);
	answers_take(ring);
	(void)io_uring_submit(ring->uring);
	ring->n_unsaid = 0;
}

/* Who has it stays on its processor, and may wait long for a turn where others want that, too: what
 * it has not begun with is done here. */
static void lent_take_back(struct ring *ring)
{
	struct ring *other;

	for (other = ring->rings->rings; other < ring->rings->rings + ring->rings->n_rings;
	     ++other) {
		struct entry *entry = atomic_load(&other->lent);

		if (entry && entry->ring == ring &&
		    atomic_compare_exchange_strong(&other->lent, &entry, NULL))
			large_serve_one(ring, entry);
	}
}

/* One after another, as many at once as there are rings; each is told of when it is done. */
static void large_serve(struct ring *ring, struct entry *large)
{
	struct entry *entry, *next;

	for (entry = large; entry; entry = next) {
		next = entry->next;
		while (next) {
			struct entry *const rest = next->next; /* lent, it is not ours any more */

			if (!lend(ring, next))
				break;
			next = rest;
		}
		large_serve_one(ring, entry);
	}
	lent_take_back(ring);
}

/* What has come by now. */
static void round_serve(struct ring *ring)
{
	struct entry *entry, *large = NULL, **last = &large;
	unsigned int n;

	for (n = io_uring_cq_ready(ring->uring); n > 0 && completion_take(ring, &entry); --n) {
		if (!entry)
			continue;
		if (!is_large(entry)) {
			entry_serve(ring, entry);
			continue;
		}
		entry->next = NULL;
		*last = entry;
		last = &entry->next;
	}
	large_serve(ring, large);
}

/* From here on the ring is this thread's. Version 2.3 of the library declares a function for it, and
 * does not have it. */
static int enable(struct ring *ring)
{
	return syscall(SYS_io_uring_register, ring->uring->ring_fd, IORING_REGISTER_ENABLE_RINGS,
		       NULL, 0) < 0
		       ? -errno
		       : 0;
}

void ring_run(struct ring *ring)
{
	unsigned int wishes;
	int r;

	ring_self = ring;
	if (ring->has_cpu && !cpus_pin(ring->cpu))
		atomic_store(&ring->rings->head->cannot_leave, 1);
	r = enable(ring);
	if (r < 0) {
		atomic_store(&ring->rings->error, r);
		return;
	}
	(void)io_uring_register_ring_fd(ring->uring);
	entries_begin(ring);
	round_serve(ring);
	atomic_fetch_add(&ring->rings->n_begun, 1);

	for (;;) {
		wishes = atomic_load(&ring->wishes);
		if (wishes & RING_PARK) {
			ring_park(ring);
			break;
		}
		if (wishes & RING_END || ring->n_fetching == 0) {
			/* There is no more to come than what others answer. */
			if (atomic_load(&ring->rings->error) < 0 || wishes & RING_END)
				break;
		}
		/* What was lent is served before anything else is. */
		if (!atomic_load(&ring->lent))
			atomic_store(&ring->is_idle, true);
		(void)io_uring_submit_and_wait(ring->uring, 1);
		atomic_store(&ring->is_idle, false);
		ring->n_unsaid = 0;
		round_serve(ring);
	}
	ring_self = NULL;
}

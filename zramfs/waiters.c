/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "waiters.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "heap.h"
#include "hurry.h"
#include "shelf.h"

/* Of the largest kind, whose bytes fit aside. */
#define PARKED_REQUESTS 2u

/* How often who waits for room says that it is no hang: the keeper looks once a second. */
#define NOTE_S 1

struct waiters_entry {
	struct waited request;
	struct waiters_entry *next;
	uint64_t order;
	bool is_parked; /* its bytes are the next ones of those aside */
};

/* bytes of writes, put aside and taken in the same order */

static void park_locked(struct waiters *waiters, const uint8_t *bytes, size_t n_bytes)
{
	const size_t to = (waiters->parked_at + waiters->n_parked) % waiters->n_parked_max;
	const size_t n_first = zr_min(n_bytes, waiters->n_parked_max - to);

	memcpy(waiters->parked + to, bytes, n_first);
	memcpy(waiters->parked, bytes + n_first, n_bytes - n_first);
	waiters->n_parked += n_bytes;
}

static void unpark_locked(struct waiters *waiters, uint8_t *bytes, size_t n_bytes)
{
	const size_t from = waiters->parked_at;
	const size_t n_first = zr_min(n_bytes, waiters->n_parked_max - from);

	memcpy(bytes, waiters->parked + from, n_first);
	memcpy(bytes + n_first, waiters->parked, n_bytes - n_first);
	waiters->parked_at = (from + n_bytes) % waiters->n_parked_max;
	waiters->n_parked -= n_bytes;
}

/* the queues */

static void queue_init(struct waiters_queue *queue)
{
	queue->first = NULL;
	queue->last = &queue->first;
}

static void queue_put(struct waiters_queue *queue, struct waiters_entry *entry)
{
	entry->next = NULL;
	*queue->last = entry;
	queue->last = &entry->next;
}

static struct waiters_entry *queue_take(struct waiters_queue *queue)
{
	struct waiters_entry *entry = queue->first;

	queue->first = entry->next;
	if (!queue->first)
		queue->last = &queue->first;
	return entry;
}

static bool queue_has(const struct waiters_queue *queue, uint64_t unique)
{
	const struct waiters_entry *entry = queue->first;

	while (entry && (entry->request.unique & ~SHELF_RESENT) != unique)
		entry = entry->next;
	return entry != NULL;
}

/* The one to take from: who came first, of what may be begun. Return: NULL: there is nothing. */
static struct waiters_queue *queue_next_locked(struct waiters *waiters)
{
	const struct waiters_entry *read = waiters->reads.first, *write = waiters->writes.first;

	if (waiters->n_writing == WAITERS_WRITING)
		write = NULL;
	if (read && (!write || read->order < write->order))
		return &waiters->reads;
	return write ? &waiters->writes : NULL;
}

/* handing over */

/* Until something is freed. A file that is slow is no hang of who waits here. */
static void wait_locked(struct waiters *waiters)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += NOTE_S;
	thread_note_waiting();
	(void)pthread_cond_timedwait(&waiters->freed, &waiters->lock, &until);
}

/* Writes get room in the order they came: a large one would wait for ever beside small ones. */
static void park_wait_locked(struct waiters *waiters, size_t n_bytes)
{
	const uint64_t turn = waiters->n_waiting++;

	ZR_ASSERT(n_bytes <= waiters->n_parked_max);

	while (waiters->n_let_in != turn || !waiters->free ||
	       waiters->n_parked_max - waiters->n_parked < n_bytes)
		wait_locked(waiters);
	++waiters->n_let_in;
	pthread_cond_broadcast(&waiters->freed);
}

bool waiters_post(struct waiters *waiters, const struct waited *request, bool stays)
{
	const bool is_write = request->opcode == FUSE_WRITE;
	struct waiters_entry *entry;

	if (!atomic_load(&waiters->are_there))
		return false;

	pthread_mutex_lock(&waiters->lock);
	if (is_write && !stays)
		park_wait_locked(waiters, request->n_bytes);
	while (!waiters->free)
		wait_locked(waiters);

	entry = waiters->free;
	waiters->free = entry->next;
	entry->request = *request;
	entry->order = waiters->n_posted++;
	entry->is_parked = is_write && !stays;
	if (entry->is_parked)
		park_locked(waiters, request->bytes, request->n_bytes);
	if (!stays)
		entry->request.bytes = NULL;
	queue_put(is_write ? &waiters->writes : &waiters->reads, entry);
	pthread_cond_signal(&waiters->posted);
	pthread_mutex_unlock(&waiters->lock);
	return true;
}

bool waiters_have(struct waiters *waiters, uint64_t unique)
{
	bool have;

	pthread_mutex_lock(&waiters->lock);
	have = queue_has(&waiters->reads, unique) || queue_has(&waiters->writes, unique);
	pthread_mutex_unlock(&waiters->lock);
	return have;
}

bool waiters_are_idle(struct waiters *waiters)
{
	bool are_idle;

	pthread_mutex_lock(&waiters->lock);
	are_idle = !waiters->reads.first && !waiters->writes.first && waiters->n_busy == 0;
	pthread_mutex_unlock(&waiters->lock);
	return are_idle;
}

/* taking over */

/* Into the calling thread's hands: whoever looks for it finds it in the queue or in the seat. */
static void take_locked(struct waiters *waiters, struct waiters_queue *queue,
			struct waited *request)
{
	struct waiters_entry *entry = queue_take(queue);

	*request = entry->request;
	if (!request->bytes)
		request->bytes = thread_self.reply;
	if (entry->is_parked)
		unpark_locked(waiters, request->bytes, request->n_bytes);
	entry->next = waiters->free;
	waiters->free = entry;
	pthread_cond_broadcast(&waiters->freed);

	thread_take_seat(request->unique & ~SHELF_RESENT, request->node, request->opcode);
	++waiters->n_busy;
	waiters->n_writing += request->opcode == FUSE_WRITE;
	/* It may have been woken for more than one, or have become free to do what nobody could. */
	if (queue_next_locked(waiters))
		pthread_cond_signal(&waiters->posted);
}

static void waiter_main(void *context)
{
	struct waiters *waiters = context;
	struct waiters_queue *queue;
	struct waited request;

	thread_self.takes_long = true;
	pthread_mutex_lock(&waiters->lock);
	thread_self.seat = waiters->seats + waiters->n_seated++;
	for (;;) {
		queue = queue_next_locked(waiters);
		if (queue) {
			take_locked(waiters, queue, &request);
			pthread_mutex_unlock(&waiters->lock);
			waiters->serve(waiters->context, &request);
			thread_leave_seat();
			pthread_mutex_lock(&waiters->lock);
			--waiters->n_busy;
			waiters->n_writing -= request.opcode == FUSE_WRITE;
		} else if (waiters->stopping) {
			break;
		} else {
			pthread_cond_wait(&waiters->posted, &waiters->lock);
		}
	}
	pthread_mutex_unlock(&waiters->lock);
}

/* making and ending */

void waiters_init(struct waiters *waiters, struct seat *seats, waiters_serve serve, void *context)
{
	pthread_condattr_t attr;

	*waiters = (struct waiters){ .serve = serve, .context = context, .seats = seats };
	pthread_mutex_init(&waiters->starting, NULL);
	pthread_mutex_init(&waiters->lock, NULL);
	pthread_cond_init(&waiters->posted, NULL);
	zr_must(pthread_condattr_init(&attr));
	zr_must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	zr_must(pthread_cond_init(&waiters->freed, &attr));
	zr_must(pthread_condattr_destroy(&attr));
	queue_init(&waiters->reads);
	queue_init(&waiters->writes);
}

/* Nobody else is there yet. */
static int room_make(struct waiters *waiters, unsigned int n_requests, size_t n_bytes)
{
	const unsigned int n_entries = n_requests + WAITERS_MORE;
	struct waiters_entry *entries;
	unsigned int i;
	int r;

	waiters->n_parked_max = PARKED_REQUESTS * n_bytes;
	r = buffer_make(&waiters->memory, waiters->n_parked_max + n_entries * sizeof(*entries));
	if (r < 0)
		return r;
	waiters->parked = waiters->memory.bytes;
	entries = (struct waiters_entry *)(waiters->parked + waiters->n_parked_max);
	for (i = 0; i < n_entries; ++i)
		entries[i].next = i + 1 < n_entries ? &entries[i + 1] : NULL;
	waiters->free = entries;
	return 0;
}

static void end(struct waiters *waiters)
{
	unsigned int i;

	pthread_mutex_lock(&waiters->lock);
	waiters->stopping = true;
	pthread_cond_broadcast(&waiters->posted);
	pthread_mutex_unlock(&waiters->lock);
	for (i = 0; i < waiters->n_threads; ++i)
		thread_join(waiters->threads[i], &waiters->rooms[i]);
	buffer_free(&waiters->memory);
	waiters->n_threads = waiters->n_seated = 0;
	waiters->free = NULL;
	waiters->stopping = false;
}

static int threads_start(struct waiters *waiters, size_t n_bytes)
{
	const struct thread_kind kind = { .name = "zramfs-waiter",
					  .n_reply = n_bytes,
					  .n_heap = HEAP_JOB_BYTES,
					  .moves_pages = true,
					  .may_wait = true };
	int r = 0;

	while (r == 0 && waiters->n_threads < WAITERS) {
		r = thread_start(&waiters->threads[waiters->n_threads],
				 &waiters->rooms[waiters->n_threads], &kind, waiter_main, waiters);
		waiters->n_threads += r == 0;
	}
	return r;
}

/* What the kernel copies to or from first. */
static void memory_lock(struct waiters *waiters)
{
	unsigned int i;

	for (i = 0; i < WAITERS; ++i)
		buffer_lock(&waiters->rooms[i].reply);
	buffer_lock(&waiters->memory);
	for (i = 0; i < WAITERS; ++i)
		buffer_lock(&waiters->rooms[i].stack);
}

int waiters_start(struct waiters *waiters, unsigned int n_requests, size_t n_bytes)
{
	int r = 0;

	pthread_mutex_lock(&waiters->starting);
	if (!atomic_load(&waiters->are_there)) {
		r = room_make(waiters, n_requests, n_bytes);
		if (r == 0)
			r = threads_start(waiters, n_bytes);
		if (r == 0) {
			memory_lock(waiters);
			atomic_store(&waiters->are_there, true);
		} else {
			end(waiters);
		}
	}
	pthread_mutex_unlock(&waiters->starting);
	return r;
}

void waiters_calm(struct waiters *waiters)
{
	unsigned int i;

	pthread_mutex_lock(&waiters->starting);
	for (i = 0; i < waiters->n_threads; ++i)
		hurry_end(waiters->threads[i]);
	pthread_mutex_unlock(&waiters->starting);
}

void waiters_stop(struct waiters *waiters)
{
	atomic_store(&waiters->are_there, false);
	end(waiters);
	pthread_cond_destroy(&waiters->freed);
	pthread_cond_destroy(&waiters->posted);
	pthread_mutex_destroy(&waiters->lock);
	pthread_mutex_destroy(&waiters->starting);
}

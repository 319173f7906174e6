/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "held.h"

#include <string.h>

/* What lies before each request. */
struct held_header {
	_Alignas(8) size_t n_request; /* what follows is aligned, too */
	uint64_t unique;
	struct record *record;
	bool is_resent;
};

_Static_assert(sizeof(struct held_header) % 8 == 0, "requests are aligned");

int held_init(struct held *held, unsigned int n_waiting_max)
{
	int r;

	*held = (struct held){ .n_waiting_max = n_waiting_max };
	r = buffer_make(&held->memory, HELD_BYTES);
	if (r < 0)
		return r;
	pthread_mutex_init(&held->lock, NULL);
	pthread_cond_init(&held->ended, NULL);
	atomic_store(&held->is_on, true);
	return 0;
}

void held_deinit(struct held *held)
{
	buffer_free(&held->memory);
	pthread_cond_destroy(&held->ended);
	pthread_mutex_destroy(&held->lock);
}

void held_lock(struct held *held)
{
	buffer_lock(&held->memory);
}

static bool has_room_locked(const struct held *held, size_t n_request)
{
	return held->memory.n_bytes - held->n_put >=
	       sizeof(struct held_header) + zr_align_up(n_request, 8);
}

static void put_locked(struct held *held, const uint8_t *request, size_t n_request)
{
	const struct held_header header = { .n_request = n_request,
					    .unique = thread_self.unique,
					    .record = thread_self.record,
					    .is_resent = thread_self.is_resent };
	uint8_t *to = held->memory.bytes + held->n_put;

	memcpy(to, &header, sizeof(header));
	memcpy(to + sizeof(header), request, n_request);
	held->n_put += sizeof(header) + zr_align_up(n_request, 8);
	thread_self.record = NULL; /* whoever takes it has it */
}

static void wait_locked(struct held *held)
{
	++held->n_waiting;
	pthread_cond_wait(&held->ended, &held->lock);
	--held->n_waiting;
}

bool held_put(struct held *held, const uint8_t *request, size_t n_request)
{
	bool was_put = false;

	if (!atomic_load(&held->is_on))
		return false;

	pthread_mutex_lock(&held->lock);
	while (atomic_load(&held->is_on) && !was_put) {
		was_put = has_room_locked(held, n_request);
		if (was_put)
			put_locked(held, request, n_request);
		else if (held->n_waiting == held->n_waiting_max)
			break;
		else
			wait_locked(held);
	}
	pthread_mutex_unlock(&held->lock);
	return was_put;
}

bool held_end(struct held *held)
{
	bool was_on;

	pthread_mutex_lock(&held->lock);
	was_on = atomic_exchange(&held->is_on, false);
	pthread_cond_broadcast(&held->ended);
	pthread_mutex_unlock(&held->lock);
	return was_on;
}

const uint8_t *held_take(struct held *held, size_t *n_requestp)
{
	const uint8_t *from = held->memory.bytes + held->n_taken;
	struct held_header header;

	if (held->n_taken == held->n_put) {
		buffer_free(&held->memory);
		return NULL;
	}

	memcpy(&header, from, sizeof(header));
	held->n_taken += sizeof(header) + zr_align_up(header.n_request, 8);
	thread_self.unique = header.unique;
	thread_self.record = header.record;
	thread_self.is_resent = header.is_resent;
	*n_requestp = header.n_request;
	return from + sizeof(header);
}

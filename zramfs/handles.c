/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "handles.h"

#include <errno.h>
#include <time.h>

#include "node.h"

/* How long a RELEASE may be on its way: an UNLINK after a close() overtakes it 1 time in 3,000. */
#define RELEASE_WAIT_NS 200000000

#define VIRTUAL_BYTES_MIN 256u

int handles_init(struct handles *handles, struct zr_store *store)
{
	pthread_condattr_t attr;
	int r;

	r = pthread_condattr_init(&attr);
	if (r)
		return -r;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	r = pthread_cond_init(&handles->changed, &attr);
	pthread_condattr_destroy(&attr);
	if (r)
		return -r;

	handles->store = store;
	return -pthread_mutex_init(&handles->lock, NULL);
}

void handles_deinit(struct handles *handles)
{
	unsigned int i;
	uint64_t fh;

	for (fh = 0; fh < HANDLES_CHUNK * HANDLES_CHUNKS; ++fh) {
		if (handles->chunks[fh / HANDLES_CHUNK] && handles_get(handles, fh)->node != 0)
			handles_close(handles, fh);
	}
	for (i = 0; i < HANDLES_CHUNKS; ++i)
		free(handles->chunks[i]);
	pthread_cond_destroy(&handles->changed);
	pthread_mutex_destroy(&handles->lock);
}

struct handle *handles_get(struct handles *handles, uint64_t fh)
{
	return &handles->chunks[fh / HANDLES_CHUNK][fh % HANDLES_CHUNK];
}

/* A free number; chunks come as they are needed and never move. */
static int handle_find_free(struct handles *handles, uint64_t *fhp)
{
	const uint64_t n_handles = (uint64_t)HANDLES_CHUNK * HANDLES_CHUNKS;
	uint64_t i, fh;

	for (i = 0; i < n_handles; ++i) {
		struct handle **chunk;

		fh = (handles->next + i) % n_handles;
		chunk = &handles->chunks[fh / HANDLES_CHUNK];
		if (!*chunk)
			*chunk = calloc(HANDLES_CHUNK, sizeof(**chunk));
		if (!*chunk)
			return -ENOMEM;
		if (handles_get(handles, fh)->node != 0)
			continue;
		/* Low numbers again and again: only when a chunk is full is the next one made. */
		handles->next = fh % HANDLES_CHUNK == HANDLES_CHUNK - 1 ? 0 : fh + 1;
		*fhp = fh;
		return 0;
	}
	return -ENFILE;
}

static int handle_take(struct handles *handles, const struct handle *wanted, uint64_t *fhp)
{
	int r;

	r = handle_find_free(handles, fhp);
	if (r == 0)
		*handles_get(handles, *fhp) = *wanted;
	return r;
}

int handles_open_disk(struct handles *handles, struct zr_disk *disk, enum handles_claimed how,
		      uint64_t *fhp)
{
	const struct handle wanted = { .node = node_of(disk->id, NODE_KIND_DISK), .disk = disk };
	int r = 0;

	pthread_mutex_lock(&handles->lock);
	while (how == HANDLES_WAIT && handles->disks[disk->entry_no].claimed)
		pthread_cond_wait(&handles->changed, &handles->lock);
	if (how == HANDLES_AT_ONCE && handles->disks[disk->entry_no].claimed)
		r = -EAGAIN;
	if (r == 0)
		r = handle_take(handles, &wanted, fhp);
	if (r == 0)
		++handles->disks[disk->entry_no].n_open;
	pthread_mutex_unlock(&handles->lock);
	return r;
}

/* What a virtual file costs while it is open: with a number, and what malloc() adds. */
static uint64_t virtual_bytes(const struct handle *handle)
{
	return VIRTUAL_BYTES_MIN + handle->n_text + (handle->stream ? STREAM_ROOM : 0);
}

int handles_open_virtual(struct handles *handles, const struct handle *wanted, bool trusted,
			 uint64_t *fhp)
{
	const uint64_t n_max = trusted ? HANDLES_VIRTUAL_MAX : HANDLES_VIRTUAL_MAX / 4;
	const uint64_t n_bytes = virtual_bytes(wanted);
	int r;

	pthread_mutex_lock(&handles->lock);
	r = handles->virtual_bytes + n_bytes > n_max ? -ENFILE : handle_take(handles, wanted, fhp);
	if (r == 0)
		handles->virtual_bytes += n_bytes;
	pthread_mutex_unlock(&handles->lock);
	return r;
}

void handles_close(struct handles *handles, uint64_t fh)
{
	struct handle closed;

	pthread_mutex_lock(&handles->lock);
	closed = *handles_get(handles, fh);
	*handles_get(handles, fh) = (struct handle){ 0 };
	if (!closed.disk)
		handles->virtual_bytes -= virtual_bytes(&closed);
	if (closed.disk) {
		--handles->disks[closed.disk->entry_no].n_open;
		pthread_cond_broadcast(&handles->changed);
	}
	if (fh < handles->next)
		handles->next = fh;
	pthread_mutex_unlock(&handles->lock);

	zr_disk_unpin(handles->store, closed.disk);
	free(closed.text);
	stream_free(closed.stream);
}

int handles_claim(struct handles *handles, struct zr_disk *disk, unsigned int n_own)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += RELEASE_WAIT_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		++until.tv_sec;
	}

	pthread_mutex_lock(&handles->lock);
	while (r == 0 && (handles->disks[disk->entry_no].claimed ||
			  handles->disks[disk->entry_no].n_open > n_own))
		r = pthread_cond_timedwait(&handles->changed, &handles->lock, &until);
	if (r == 0)
		handles->disks[disk->entry_no].claimed = true;
	pthread_mutex_unlock(&handles->lock);
	return r == 0 ? 0 : -EBUSY;
}

void handles_unclaim(struct handles *handles, struct zr_disk *disk)
{
	pthread_mutex_lock(&handles->lock);
	handles->disks[disk->entry_no].claimed = false;
	pthread_cond_broadcast(&handles->changed);
	pthread_mutex_unlock(&handles->lock);
}

unsigned int handles_count_entry(struct handles *handles, unsigned int entry_no)
{
	unsigned int n_open;

	pthread_mutex_lock(&handles->lock);
	n_open = handles->disks[entry_no].n_open;
	pthread_mutex_unlock(&handles->lock);
	return n_open;
}

unsigned int handles_count(struct handles *handles, const struct zr_disk *disk)
{
	return handles_count_entry(handles, disk->entry_no);
}

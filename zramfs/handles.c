/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "handles.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "node.h"

/* How long a RELEASE may be on its way: an UNLINK after a close() overtakes it 1 time in 3,000. */
#define RELEASE_WAIT_NS 200000000

#define VIRTUAL_BYTES_MIN 256u

/* There is no place until the table grows. */
#define HANDLES_E_FULL 1

_Static_assert(HANDLES_CHUNK * sizeof(struct handle_slot) == HANDLES_CHUNK_BYTES,
	       "a chunk is a page");
_Static_assert(HANDLES_CHUNK *(uint64_t)HANDLES_CHUNKS <= UINT64_C(1) << HANDLES_INDEX_BITS,
	       "every place has a number");
_Static_assert(SHELF_HANDLES + HANDLES_CHUNK_BYTES * (uint64_t)HANDLES_CHUNKS <= ZR_SHELF_BYTES_MAX,
	       "the shelf has room for all");

/* the table */

static struct handle_slot *slot_at(const struct handles *handles, uint64_t index)
{
	return (struct handle_slot *)((uint8_t *)handles->shelf + SHELF_HANDLES) + index;
}

static struct handle *handle_at(const struct handles *handles, uint64_t index)
{
	struct handle *chunk = atomic_load_explicit(&handles->chunks[index / HANDLES_CHUNK],
						    memory_order_acquire);

	return chunk ? &chunk[index % HANDLES_CHUNK] : NULL;
}

static uint64_t index_of(uint64_t fh)
{
	return fh & ((UINT64_C(1) << HANDLES_INDEX_BITS) - 1);
}

struct handle *handles_get(struct handles *handles, uint64_t fh)
{
	struct handle *handle = NULL;

	if (index_of(fh) < HANDLES_CHUNK * (uint64_t)HANDLES_CHUNKS)
		handle = handle_at(handles, index_of(fh));
	return handle && handle->node != 0 && handle->fh == fh ? handle : NULL;
}

/* What a virtual file costs while it is open: with a number, and what malloc() adds. */
static uint64_t virtual_bytes(const struct handle *handle)
{
	if (handle->is_lost)
		return VIRTUAL_BYTES_MIN;
	return VIRTUAL_BYTES_MIN + handle->n_text + (handle->stream ? STREAM_ROOM : 0);
}

/* Room for more than @n_chunks have, unless somebody else made it. */
static int table_grow(struct handles *handles, uint64_t n_chunks)
{
	const uint64_t n_bytes = SHELF_HANDLES + (n_chunks + 1) * HANDLES_CHUNK_BYTES;
	struct handle *chunk;
	int r = 0;

	if (n_chunks == HANDLES_CHUNKS)
		return -ENFILE;

	pthread_mutex_lock(&handles->grow);
	if (handles->n_chunks == n_chunks) {
		chunk = calloc(HANDLES_CHUNK, sizeof(*chunk));
		if (chunk && zr_store_shelf(handles->store, n_bytes)) {
			pthread_mutex_lock(&handles->lock);
			atomic_store(&handles->chunks[n_chunks], chunk);
			++handles->n_chunks;
			pthread_mutex_unlock(&handles->lock);
		} else {
			free(chunk);
			r = -ENOMEM;
		}
	}
	pthread_mutex_unlock(&handles->grow);
	return r;
}

static void slot_restore(struct handles *handles, const struct handle_slot *slot,
			 struct handle *handle)
{
	handle->node = atomic_load(&slot->node);
	handle->fh = slot->fh;
	handle->uid = slot->uid;
	handle->opened_by = slot->opened_by;
	if (node_is_disk(handle->node)) {
		handle->disk = zr_store_get(handles->store, node_disk_id(handle->node));
		if (handle->disk)
			++handles->disks[handle->disk->entry_no].n_open;
	} else {
		handle->is_lost = true;
		handle->n_text = slot->n_text;
		handles->virtual_bytes += virtual_bytes(handle);
	}
}

static int chunk_restore(struct handles *handles)
{
	const uint64_t first = handles->n_chunks * HANDLES_CHUNK;
	struct handle *chunk;
	unsigned int i;

	chunk = calloc(HANDLES_CHUNK, sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	for (i = 0; i < HANDLES_CHUNK; ++i) {
		if (atomic_load(&slot_at(handles, first + i)->node) != 0)
			slot_restore(handles, slot_at(handles, first + i), &chunk[i]);
	}
	atomic_store(&handles->chunks[handles->n_chunks], chunk);
	++handles->n_chunks;
	return 0;
}

int handles_init(struct handles *handles, struct zr_store *store, struct shelf *shelf)
{
	const uint64_t n_bytes = zr_store_shelf_bytes(store) - SHELF_HANDLES;
	const uint64_t n_chunks = zr_min(n_bytes / HANDLES_CHUNK_BYTES, HANDLES_CHUNKS);
	pthread_condattr_t attr;
	int r;

	memset(handles, 0, sizeof(*handles));
	handles->store = store;
	handles->shelf = shelf;
	zr_must(pthread_condattr_init(&attr));
	zr_must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	zr_must(pthread_cond_init(&handles->changed, &attr));
	zr_must(pthread_condattr_destroy(&attr));
	zr_must(pthread_mutex_init(&handles->grow, NULL));
	zr_must(pthread_mutex_init(&handles->lock, NULL));

	for (r = 0; r == 0 && handles->n_chunks < n_chunks;)
		r = chunk_restore(handles);
	/* The first open is not to be what statistics tell of. */
	if (r == 0 && n_chunks == 0)
		r = table_grow(handles, 0);
	if (r < 0)
		handles_deinit(handles, true);
	return r;
}

static void handle_deinit(struct handles *handles, struct handle *handle)
{
	zr_disk_unpin(handles->store, handle->disk);
	free(handle->text);
	stream_free(handle->stream);
}

void handles_deinit(struct handles *handles, bool keep)
{
	uint64_t i;

	for (i = 0; i < handles->n_chunks * HANDLES_CHUNK; ++i) {
		struct handle *handle = handle_at(handles, i);

		if (handle->node != 0 && !keep)
			atomic_store(&slot_at(handles, i)->node, 0);
		handle_deinit(handles, handle);
	}
	for (i = 0; i < handles->n_chunks; ++i)
		free(handles->chunks[i]);
	pthread_cond_destroy(&handles->changed);
	pthread_mutex_destroy(&handles->lock);
	pthread_mutex_destroy(&handles->grow);
}

/* opening and closing */

static int place_find_locked(struct handles *handles, uint64_t *indexp)
{
	const uint64_t n_places = handles->n_chunks * HANDLES_CHUNK;

	while (handles->next < n_places && handle_at(handles, handles->next)->node != 0)
		++handles->next;
	if (handles->next == n_places)
		return HANDLES_E_FULL;
	*indexp = handles->next;
	return 0;
}

static uint32_t text_bytes(const struct handle *handle)
{
	return handle->stream ? HANDLES_TEXT_UNKNOWN : (uint32_t)handle->n_text;
}

static void handle_publish_locked(struct handles *handles, uint64_t index,
				  const struct handle *wanted, uint64_t *fhp)
{
	const uint64_t serial = atomic_fetch_add(&handles->shelf->next_serial, 1);
	struct handle_slot *slot = slot_at(handles, index);
	struct handle *handle = handle_at(handles, index);

	*handle = *wanted;
	handle->fh = serial << HANDLES_INDEX_BITS | index;
	slot->fh = handle->fh;
	slot->opened_by = wanted->opened_by;
	slot->uid = wanted->uid;
	slot->n_text = text_bytes(wanted);
	atomic_store(&slot->node, wanted->node);

	if (wanted->disk)
		++handles->disks[wanted->disk->entry_no].n_open;
	else
		handles->virtual_bytes += virtual_bytes(wanted);
	*fhp = handle->fh;
}

/* Return: also HANDLES_E_FULL. */
static int open_locked(struct handles *handles, const struct handle *wanted,
		       enum handles_claimed how, uint64_t n_bytes_max, uint64_t *fhp)
{
	uint64_t index = 0;
	int r;

	if (wanted->disk) {
		const bool *claimed = &handles->disks[wanted->disk->entry_no].claimed;

		while (how == HANDLES_WAIT && *claimed)
			pthread_cond_wait(&handles->changed, &handles->lock);
		if (how == HANDLES_AT_ONCE && *claimed)
			return -EAGAIN;
	} else if (handles->virtual_bytes + virtual_bytes(wanted) > n_bytes_max) {
		return -ENFILE;
	}

	r = place_find_locked(handles, &index);
	if (r == 0)
		handle_publish_locked(handles, index, wanted, fhp);
	return r;
}

static int handle_open(struct handles *handles, const struct handle *wanted,
		       enum handles_claimed how, uint64_t n_bytes_max, uint64_t *fhp)
{
	uint64_t n_chunks;
	int r;

	do {
		pthread_mutex_lock(&handles->lock);
		r = open_locked(handles, wanted, how, n_bytes_max, fhp);
		n_chunks = handles->n_chunks;
		pthread_mutex_unlock(&handles->lock);
		if (r != HANDLES_E_FULL)
			return r;
		r = table_grow(handles, n_chunks);
	} while (r == 0);
	return r;
}

int handles_open_disk(struct handles *handles, struct zr_disk *disk, enum handles_claimed how,
		      uint64_t opened_by, uint32_t uid, uint64_t *fhp)
{
	const struct handle wanted = { .node = node_of(disk->id, NODE_KIND_DISK),
				       .disk = disk,
				       .opened_by = opened_by,
				       .uid = uid };

	return handle_open(handles, &wanted, how, 0, fhp);
}

static uint64_t virtual_bytes_max(bool trusted)
{
	return trusted ? HANDLES_VIRTUAL_MAX : HANDLES_VIRTUAL_MAX / 4;
}

int handles_open_virtual(struct handles *handles, const struct handle *wanted, bool trusted,
			 uint64_t *fhp)
{
	return handle_open(handles, wanted, HANDLES_WAIT, virtual_bytes_max(trusted), fhp);
}

/* Return: also 1 if somebody else was faster. */
static int restore_locked(struct handles *handles, uint64_t fh, const struct handle *rendered,
			  bool trusted)
{
	struct handle *handle = handles_get(handles, fh);
	uint64_t n_bytes;

	if (!handle)
		return -ESTALE;
	if (!handle->is_lost)
		return 1;
	n_bytes = handles->virtual_bytes - virtual_bytes(handle) + virtual_bytes(rendered);
	if (n_bytes > virtual_bytes_max(trusted))
		return -ENFILE;

	handles->virtual_bytes = n_bytes;
	handle->text = rendered->text;
	handle->n_text = rendered->n_text;
	handle->stream = rendered->stream;
	slot_at(handles, index_of(fh))->n_text = text_bytes(rendered);
	/* Who reads looks at this first, and takes no lock. */
	atomic_store(&handle->is_lost, false);
	return 0;
}

int handles_restore(struct handles *handles, uint64_t fh, const struct handle *rendered,
		    bool trusted)
{
	int r;

	pthread_mutex_lock(&handles->lock);
	r = restore_locked(handles, fh, rendered, trusted);
	pthread_mutex_unlock(&handles->lock);
	if (r <= 0)
		return r;

	free(rendered->text);
	stream_free(rendered->stream);
	return 0;
}

bool handles_find(struct handles *handles, uint64_t opened_by, uint64_t *fhp)
{
	bool found = false;
	uint64_t i;

	pthread_mutex_lock(&handles->lock);
	for (i = 0; !found && i < handles->n_chunks * HANDLES_CHUNK; ++i) {
		const struct handle *handle = handle_at(handles, i);

		found = handle->node != 0 && handle->opened_by == opened_by;
		if (found)
			*fhp = handle->fh;
	}
	pthread_mutex_unlock(&handles->lock);
	return found;
}

void handles_close(struct handles *handles, uint64_t fh)
{
	struct handle closed = { 0 };
	struct handle *handle;

	pthread_mutex_lock(&handles->lock);
	handle = handles_get(handles, fh);
	if (handle) {
		closed = *handle;
		atomic_store(&slot_at(handles, index_of(fh))->node, 0);
		*handle = (struct handle){ 0 };
		handles->next = zr_min(handles->next, index_of(fh));
	}
	if (closed.disk) {
		--handles->disks[closed.disk->entry_no].n_open;
		pthread_cond_broadcast(&handles->changed);
	} else if (handle && !node_is_disk(closed.node)) {
		handles->virtual_bytes -= virtual_bytes(&closed);
	}
	pthread_mutex_unlock(&handles->lock);

	handle_deinit(handles, &closed);
}

/* claims */

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

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "cpus.h"
#include "ring.h"

static void entry_init(struct rings *rings, unsigned int i, struct ring *ring)
{
	struct entry *entry = &rings->entries[i];

	entry->ring = ring;
	entry->slot = &rings->head->slots[i];
	entry->head = entry_head(rings->head, i);
	entry->memory[0] = (struct iovec){ entry->head, sizeof(*entry->head) };
	entry->memory[1] = (struct iovec){ entry_payload(rings->head, i), rings->head->n_payload };
}

/* Rings for processors that are there, and each queue to one of them. */
static void share_out(struct rings *rings, const cpu_set_t *online)
{
	const struct entries_head *head = rings->head;
	const unsigned int n_queues = (unsigned int)zr_min(head->n_queues, CPU_SETSIZE);
	unsigned int i, n_online = 0, n_offline = 0, of_queue[CPU_SETSIZE];

	for (i = 0; i < n_queues; ++i) {
		if (CPU_ISSET(i, online))
			of_queue[i] = n_online++;
	}
	rings->n_rings = n_online == 0 ? 1 : n_online > RINGS_MAX ? RINGS_MAX : n_online;
	for (i = 0; i < n_queues; ++i) {
		of_queue[i] = (CPU_ISSET(i, online) ? of_queue[i] : n_offline++) % rings->n_rings;
		/* One that serves several processors belongs to none. */
		if (CPU_ISSET(i, online) && n_online <= RINGS_MAX) {
			rings->rings[of_queue[i]].cpu = i;
			rings->rings[of_queue[i]].has_cpu = true;
		}
	}
	for (i = 0; i < head->n_entries; ++i)
		entry_init(rings, i, &rings->rings[of_queue[head->slots[i].queue]]);
}

int rings_new(struct rings **ringsp, int entries_fd, int fuse_fd)
{
	struct rings *rings;
	unsigned int i;
	cpu_set_t online;
	int r;

	rings = calloc(1, sizeof(*rings));
	if (!rings)
		return -ENOMEM;
	rings->fuse_fd = fuse_fd;
	r = cpus_read(CPUS_ONLINE, &online);
	if (r == 0)
		r = entries_map(&rings->head, entries_fd);
	if (r == 0 && rings->head->n_queues > CPU_SETSIZE)
		r = -ERANGE;
	if (r == 0) {
		rings->entries = calloc(rings->head->n_entries, sizeof(*rings->entries));
		r = rings->entries ? 0 : -ENOMEM;
	}
	if (r == 0)
		share_out(rings, &online);
	for (i = 0; r == 0 && i < rings->n_rings; ++i)
		r = ring_init(&rings->rings[i], rings);
	if (r < 0) {
		rings_free(rings);
		return r;
	}
	*ringsp = rings;
	return 0;
}

struct rings *rings_free(struct rings *rings)
{
	unsigned int i;

	if (!rings)
		return NULL;
	for (i = 0; i < rings->n_rings; ++i)
		ring_deinit(&rings->rings[i]);
	free(rings->entries);
	entries_unmap(rings->head);
	free(rings);
	return NULL;
}

void rings_serve_by(struct rings *rings, const struct rings_use *use)
{
	rings->use = *use;
}

unsigned int rings_count(const struct rings *rings)
{
	return rings->n_rings;
}

struct entries_head *rings_entries(struct rings *rings)
{
	return rings->head;
}

void rings_inherit(struct rings *rings, void *(*find)(void *context, uint64_t unique),
		   void *context)
{
	struct entry *entry;
	unsigned int state;

	for (entry = rings->entries; entry < rings->entries + rings->head->n_entries; ++entry) {
		state = atomic_load(&entry->slot->state);
		if (state != ENTRY_TAKEN && state != ENTRY_LEFT)
			continue;
		entry->is_left = true;
		entry->found = find(context, atomic_load(&entry->slot->unique));
	}
}

void rings_run(struct rings *rings, unsigned int i)
{
	ring_run(&rings->rings[i]);
}

int rings_have_begun(struct rings *rings)
{
	const int error = atomic_load(&rings->error);

	if (error < 0)
		return error;
	return atomic_load(&rings->n_begun) == rings->n_rings ? 0 : -EAGAIN;
}

static void ask_all(struct rings *rings, enum ring_wish wish)
{
	unsigned int i;

	for (i = 0; i < rings->n_rings; ++i)
		ring_ask(&rings->rings[i], wish);
}

void rings_retry(struct rings *rings)
{
	ask_all(rings, RING_RETRY);
}

void rings_end(struct rings *rings)
{
	ask_all(rings, RING_END);
}

bool rings_park(struct rings *rings, uint64_t node)
{
	bool all = true;
	unsigned int i;

	atomic_store(&rings->known_node, node);
	for (i = 0; i < rings->n_rings; ++i) {
		if (atomic_load(&rings->rings[i].is_parked))
			continue;
		if (!(atomic_load(&rings->rings[i].wishes) & RING_PARK))
			ring_ask(&rings->rings[i], RING_PARK);
		all = false;
	}
	return all;
}

void rings_freeze(struct rings *rings)
{
	struct entry_slot *slot = rings->head->slots;
	struct entry_slot *const end = slot + rings->head->n_entries;
	uint32_t state;

	for (; slot < end; ++slot) {
		state = ENTRY_TAKEN;
		atomic_compare_exchange_strong(&slot->state, &state, ENTRY_LEFT);
	}
	for (slot = rings->head->slots; slot < end; ++slot) {
		while (atomic_load(&slot->state) == ENTRY_ANSWERING)
			sched_yield();
	}
}

/* answers */

/* Jobs answer once in milliseconds: the entries are walked. */
static struct entry *entry_find(struct rings *rings, uint64_t unique)
{
	struct entry *entry;

	if (ring_serving &&
	    atomic_load_explicit(&ring_serving->slot->unique, memory_order_relaxed) == unique)
		return ring_serving;
	for (entry = rings->entries; entry < rings->entries + rings->head->n_entries; ++entry) {
		if (atomic_load_explicit(&entry->slot->unique, memory_order_relaxed) == unique)
			return entry;
	}
	return NULL;
}

/* What cannot be said is an error, for whoever waits for it. */
static void answer_put(struct rings *rings, unsigned int i, const struct iovec *parts,
		       unsigned int n_parts)
{
	struct fuse_out_header header;
	const struct iovec part = { &header, sizeof(header) };

	if (entry_answer(rings->head, i, parts, n_parts) == 0)
		return;
	memcpy(&header, parts[0].iov_base, sizeof(header));
	header.len = sizeof(header);
	header.error = -EIO;
	(void)entry_answer(rings->head, i, &part, 1);
}

bool rings_answer(struct rings *rings, const struct iovec *parts, unsigned int n_parts)
{
	const struct fuse_out_header *header = parts[0].iov_base;
	uint32_t state = ENTRY_TAKEN;
	struct entry *entry;

	/* A notification, or the answer to one, has no number of a request. */
	if (header->unique == 0)
		return false;
	entry = entry_find(rings, header->unique);
	if (!entry)
		return false;
	if (!atomic_compare_exchange_strong(&entry->slot->state, &state, ENTRY_ANSWERING))
		return true; /* left for another */

	answer_put(rings, (unsigned int)(entry - rings->entries), parts, n_parts);
	atomic_store(&entry->slot->unique, 0);
	atomic_store(&entry->slot->state, ENTRY_ANSWERED);
	if (entry->ring == ring_self)
		ring_commit(entry->ring, entry);
	else
		ring_hand_over(entry);
	return true;
}

bool rings_find(struct rings *rings, uint64_t unique, uint64_t *nodep, uint32_t *opcodep)
{
	const struct entry *entry = entry_find(rings, unique);
	struct fuse_in_header in;

	if (!entry)
		return false;
	memcpy(&in, entry->head->in_out, sizeof(in));
	*nodep = in.nodeid;
	*opcodep = in.opcode;
	return true;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "tier.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "budget.h"
#include "clean.h"
#include "disk-parts.h"
#include "look.h"

#define MS_NS INT64_C(1000000)

/* Where the process locks its memory all of it is populated. */
#define STACK_BYTES (256u << 10)

#define LOOK_NS  (1000 * MS_NS)    /* while there is something to be tried again, or to punch */
#define NEVER_NS (3600000 * MS_NS) /* until it is told */
#define REST_NS  (10 * MS_NS)      /* between passes over all slots for what is too large to stay */

/* Once begun, so much more goes than had to. */
#define SPILL_MORE_SHARE 32

/* Of all disks together there is no mark; they spill from that percentage of their limit on. */
#define SPILL_ALL_PERCENT 90

/* How often the hand comes to the end for one batch, so that it has seen all. */
#define ROUNDS 2

/* A batch all of whose pages were used meanwhile; so many in a row are as bad as none. */
#define EMPTY_BATCHES 64

/* After so many of them it is not asked any more whether pages are cold. */
#define EMPTY_COLD 2

/* Runs of blocks that are punched a second after they became free, and those that take longer. */
#define PUNCH_BLOCKS 16
#define PUNCH_ALL_NS (10000 * MS_NS)

/* A frame is no longer than that, whatever it is sealed with. */
#define FRAME_BYTES_MOST (ZR_PAGE_SIZE + 256)

struct zr_tier {
	struct zr_store *store;
	struct zr_batch *batch;
	struct zr_cleaner *cleaner;
	struct zr_policy *policy;
	pthread_t thread;
	sem_t may_begin;
	bool has_begun; /* the caller's */
	_Atomic bool xstop;
	/* the thread's own */
	int64_t look_ns; /* when to look, whether told or not */
	int64_t punch_all_ns;
	uint64_t n_taken; /* pages that went because of a limit, in this look */
};

static void look_by(struct zr_tier *tier, int64_t when_ns)
{
	tier->look_ns = (int64_t)zr_min((uint64_t)tier->look_ns, (uint64_t)when_ns);
}

/* leaf by leaf */

/* A copy of the first leaf at or above *leaf_nop. Return: false past the last one. */
static bool leaf_next(struct zr_disk *disk, uint64_t *leaf_nop, zr_slot slots[ZR_LEAF_SLOTS])
{
	struct zr_look look = { .disk = disk, .leaf_no = *leaf_nop };

	while (zr_look_on(&look) > 0) {
		if (!look.there)
			continue;
		*leaf_nop = look.first >> ZR_LEAF_SHIFT;
		memcpy(slots, look.slots, sizeof(look.slots));
		return true;
	}
	return false;
}

static void leaf_mark(struct zr_disk *disk, uint64_t leaf_no)
{
	ZR_GUARD_SHARED(&disk->shape);

	zr_pages_mark_leaf_idle(&disk->pages, leaf_no);
}

/* what is cold */

/* But for the one that is about to be taken from. Return: false at the end. */
static bool mark_leaf(struct zr_disk *disk, zr_slot slots[ZR_LEAF_SLOTS])
{
	uint64_t *at = &disk->pages.mark_hand;

	if (*at == disk->pages.hand >> ZR_LEAF_SHIFT)
		++*at;
	if (!leaf_next(disk, at, slots))
		return false;
	if (*at != disk->pages.hand >> ZR_LEAF_SHIFT)
		leaf_mark(disk, *at);
	++*at;
	return true;
}

/* Mark the leaf that the other hand is at, and move it on: one for each batch, four times as fast as
 * the hand that takes. So what is marked has the time of many batches to be used. */
static void mark_far(struct zr_disk *disk)
{
	struct zr_pages *pages = &disk->pages;
	zr_slot slots[ZR_LEAF_SLOTS];

	if (!mark_leaf(disk, slots)) {
		pages->mark_hand = 0;
		(void)mark_leaf(disk, slots);
	}
}

/* Not used since it was marked or, where ages are known, @from or older. */
static bool is_cold(zr_slot slot, zr_age age, zr_age from)
{
	if (zr_slot_kind(slot) != ZR_SLOT_KIND_OBJECT)
		return false;
	return from != 0 ? slot & ZR_SLOT_UNUSED && age >= from : slot & ZR_SLOT_IDLE;
}

/* Name pages of the leaf that the hand is in. Return: is the batch full? */
static bool gather_leaf(struct zr_tier *tier, struct zr_disk *disk,
			const zr_slot slots[ZR_LEAF_SLOTS], zr_age from, bool any, uint32_t *np)
{
	uint64_t *hand = &disk->pages.hand;
	zr_age ages[ZR_LEAF_SLOTS] = { 0 };
	bool full = false;

	if (from != 0) {
		ZR_GUARD_SHARED(&disk->shape);
		zr_ages_copy(&disk->pages, *hand >> ZR_LEAF_SHIFT, ages);
	}
	do {
		const unsigned int i = *hand % ZR_LEAF_SLOTS;

		if (any ? zr_slot_kind(slots[i]) != ZR_SLOT_KIND_OBJECT
			: !is_cold(slots[i], ages[i], from))
			continue;
		++*np;
		full = zr_batch_add(tier->batch, *hand);
	} while (++*hand % ZR_LEAF_SLOTS != 0 && !full);
	return full;
}

/* Name a batch of pages that were not used since they were marked, or what there is of them; of all,
 * where @any will do. Return: how many. */
static uint32_t gather(struct zr_tier *tier, struct zr_disk *disk, zr_age from, bool any)
{
	uint64_t *hand = &disk->pages.hand;
	zr_slot slots[ZR_LEAF_SLOTS];
	unsigned int n_rounds = 0;
	uint64_t leaf_no;
	uint32_t n = 0;

	mark_far(disk);
	while (n_rounds < ROUNDS && !atomic_load(&tier->xstop)) {
		leaf_no = *hand >> ZR_LEAF_SHIFT;
		if (!leaf_next(disk, &leaf_no, slots)) {
			*hand = 0;
			++n_rounds;
			continue;
		}
		*hand = zr_max(*hand, leaf_no << ZR_LEAF_SHIFT);
		if (gather_leaf(tier, disk, slots, from, any, &n))
			return n;
		if (any)
			leaf_mark(disk, leaf_no);
	}
	return n;
}

/* Is more used than is to be? @by: a share of the mark less. */
static bool is_over(struct zr_disk *disk, bool once_begun)
{
	struct zr_engine *engine = disk->engine;
	const uint64_t own = atomic_load(&disk->pages.xspill_bytes);
	const uint64_t all = atomic_load(&engine->xlimit_bytes) / 100 * SPILL_ALL_PERCENT;
	const uint64_t own_used = (uint64_t)atomic_load(&disk->pages.xused_bytes);
	const uint64_t all_used = (uint64_t)atomic_load(&engine->xused_bytes);
	const uint64_t share = once_begun ? SPILL_MORE_SHARE : UINT64_MAX;

	return (own != 0 && own_used > own - own / share) ||
	       (all != 0 && all_used > all - all / share);
}

static bool spills(struct zr_disk *disk)
{
	ZR_GUARD_SHARED(&disk->shape);

	return zr_disk_spills(disk);
}

static uint64_t n_free(struct zr_disk *disk)
{
	ZR_GUARD_SHARED(&disk->shape);

	return disk->pages.backing ? atomic_load(&disk->pages.backing->xn_free) : 0;
}

/* Before anything has to go all objects are marked once, so that it is known by then what is used. */
static void mark_ahead(struct zr_tier *tier, struct zr_disk *disk)
{
	const uint64_t from = atomic_load(&disk->pages.xspill_bytes);
	zr_slot slots[ZR_LEAF_SLOTS];
	uint64_t leaf_no;

	if (from == 0 || atomic_load(&disk->pages.xspill_wake_bytes) == from ||
	    (uint64_t)atomic_load(&disk->pages.xused_bytes) <=
		    atomic_load(&disk->pages.xspill_wake_bytes))
		return;
	atomic_store(&disk->pages.xspill_wake_bytes, from);
	for (leaf_no = 0; !atomic_load(&tier->xstop) && leaf_next(disk, &leaf_no, slots); ++leaf_no)
		leaf_mark(disk, leaf_no);
}

/* Write what is named, on the disk's account of the day. */
static int flush(struct zr_tier *tier, struct zr_disk *disk, uint64_t *n_writtenp)
{
	const uint64_t before = zr_batch_bytes(tier->batch);
	const int r = zr_batch_flush(tier->batch, n_writtenp);

	zr_budget_note(disk->entry, zr_batch_bytes(tier->batch) - before, zr_boot_ns());
	return r;
}

enum {
	SPILL_E_NOTHING = 1, /* all that can be on the file is */
};

/* For spill_n_free: it was no file that refused. */
#define NOTHING_TO_TAKE UINT64_MAX

/* One batch. Return: 0, SPILL_E_NOTHING, or what the file refuses. */
static int spill_once(struct zr_tier *tier, struct zr_disk *disk, unsigned int n_empty,
		      uint64_t *n_writtenp)
{
	const struct zr_batch_filter oldest = { .marks = ZR_SLOT_UNUSED };
	const struct zr_batch_filter cold = { .marks = ZR_SLOT_IDLE }, all = { 0 };
	const zr_age from = (zr_age)atomic_load(&disk->plan.xoldest_from);

	if (from != 0) {
		zr_batch_begin(tier->batch, disk, &oldest);
		if (gather(tier, disk, from, false) > 0)
			return flush(tier, disk, n_writtenp);
		/* Until ages were looked at again. */
		atomic_store(&disk->plan.xoldest_from, 0);
	}
	zr_batch_begin(tier->batch, disk, &cold);
	if (n_empty < EMPTY_COLD && gather(tier, disk, 0, false) > 0)
		return flush(tier, disk, n_writtenp);

	/* All is in use: who writes must not wait until something is not. */
	zr_batch_begin(tier->batch, disk, &all);
	if (gather(tier, disk, 0, true) == 0)
		return SPILL_E_NOTHING;
	return flush(tier, disk, n_writtenp);
}

/* files that are full of holes */

static bool is_wanted(void *context)
{
	struct zr_tier *tier = context;

	return atomic_load(&tier->xstop);
}

/* Return: is there more room? */
static bool clean(struct zr_tier *tier, bool is_needed)
{
	const struct zr_stop stop = { .is_wanted = is_wanted, .context = tier };
	struct zr_backing *backing;
	uint64_t n_blocks, n_all = 0;
	unsigned int i;

	for (i = 0; i < ZR_BACKINGS_MAX && !atomic_load(&tier->xstop); ++i) {
		backing = zr_store_backing_use(tier->store, i);
		if (!backing)
			continue;
		if (zr_clean_is_worth_it(backing, is_needed)) {
			/* What the file refuses is refused again, and counted, when pages go. */
			(void)zr_clean(tier->store, tier->cleaner, backing, is_needed, &stop,
				       &n_blocks);
			n_all += n_blocks;
		}
		zr_store_backing_unuse(backing);
	}
	return n_all > 0;
}

/* Until it is told by who is refused, or @again_ns. */
static void be_deaf(struct zr_tier *tier, struct zr_disk *disk, int64_t again_ns)
{
	atomic_store(&disk->pages.xspill_again_ns, again_ns);
	atomic_store(&disk->pages.xspill_wake_bytes, UINT64_MAX);
	look_by(tier, again_ns);
}

static void spill(struct zr_tier *tier, struct zr_disk *disk)
{
	struct zr_pages *pages = &disk->pages;
	unsigned int n_empty = 0;
	uint64_t n_written;
	bool refused;
	int r = 0;

	while (r == 0 && !atomic_load(&tier->xstop)) {
		/* Below the mark there may be too little for one write all the same. */
		refused = atomic_exchange(&pages->xrefused, false);
		if (!refused && !is_over(disk, true))
			return;
		n_written = 0;
		r = spill_once(tier, disk, n_empty, &n_written);
		if (r == -ENOSPC && clean(tier, true))
			r = 0;
		tier->n_taken += n_written;
		n_empty = n_written > 0 ? 0 : n_empty + 1;
		if (r == 0 && n_empty > EMPTY_BATCHES)
			r = -EAGAIN;
		/* What was written is room, also before an error. */
		atomic_store(&pages->xspill_error, n_written > 0 || r > 0 ? 0 : r);
		pages->waits_for_others = r == SPILL_E_NOTHING && refused;
		zr_room_tell(&disk->engine->room);
	}
	pages->spill_n_free = r < 0 ? n_free(disk) : NOTHING_TO_TAKE;
	be_deaf(tier, disk, zr_monotonic_ns() + LOOK_NS);
}

/* It failed just now, and nothing has changed. Where there was nothing to take, there may be now: but
 * who looks for it looks at every slot, so not before somebody needs it. */
static bool is_in_vain(struct zr_disk *disk)
{
	struct zr_pages *pages = &disk->pages;

	if (atomic_load(&pages->xspill_again_ns) <= zr_monotonic_ns())
		return false;
	if (pages->spill_n_free == NOTHING_TO_TAKE)
		return !atomic_load(&pages->xrefused);
	return n_free(disk) <= pages->spill_n_free;
}

static void spill_if_wanted(struct zr_tier *tier, struct zr_disk *disk)
{
	struct zr_pages *pages = &disk->pages;

	if (!spills(disk))
		return;
	if (is_in_vain(disk)) {
		look_by(tier, atomic_load(&pages->xspill_again_ns));
		return;
	}
	if (atomic_load(&pages->xspill_wake_bytes) == UINT64_MAX &&
	    atomic_load(&pages->xspill_again_ns) <= zr_monotonic_ns())
		atomic_store(&pages->xspill_wake_bytes, atomic_load(&pages->xspill_bytes));
	mark_ahead(tier, disk);
	if (atomic_load(&pages->xrefused) || is_over(disk, false))
		spill(tier, disk);
}

/* what is too large to stay */

/* At most that many pages may go today. */
static uint64_t n_affordable(struct zr_disk *disk)
{
	struct zr_attrs attrs;

	zr_disk_attrs(disk, &attrs);
	return zr_budget_left(disk->entry, attrs.writeback_daily_bytes, zr_boot_ns()) /
	       FRAME_BYTES_MOST;
}

/* Return: 0, -EDQUOT where more may not go today, -errno. */
static int flush_larger(struct zr_tier *tier, struct zr_disk *disk, uint32_t above)
{
	const struct zr_batch_filter larger = { .n_bytes_min = above + 1 };
	uint64_t leaf_no, n_written = 0, n_left = n_affordable(disk);
	zr_slot slots[ZR_LEAF_SLOTS];
	unsigned int i;
	int r = n_left == 0 ? -EDQUOT : 0;

	zr_batch_begin(tier->batch, disk, &larger);
	for (leaf_no = 0; r == 0 && !atomic_load(&tier->xstop) && leaf_next(disk, &leaf_no, slots);
	     ++leaf_no) {
		for (i = 0; r == 0 && i < ZR_LEAF_SLOTS; ++i) {
			if (zr_slot_kind(slots[i]) != ZR_SLOT_KIND_OBJECT ||
			    zr_slot_length(slots[i]) <= above)
				continue;
			if (!zr_batch_add(tier->batch, (leaf_no << ZR_LEAF_SHIFT) + i) &&
			    --n_left > 0)
				continue;
			r = flush(tier, disk, &n_written);
			n_left = n_affordable(disk);
			if (r == 0 && n_left == 0)
				r = -EDQUOT;
		}
	}
	if (r == 0)
		r = flush(tier, disk, &n_written);
	if (n_written > 0)
		zr_room_tell(&disk->engine->room);
	return r;
}

static void spill_larger(struct zr_tier *tier, struct zr_disk *disk)
{
	const uint32_t above = atomic_load(&disk->pages.xspill_above_bytes);
	int r;

	if (above == 0 || !atomic_exchange(&disk->pages.xhas_larger, false))
		return;
	r = flush_larger(tier, disk, above);
	if (r < 0)
		/* They stay, and nobody tells of more. */
		atomic_store(&disk->pages.xhas_larger, true);
	if (r == -EDQUOT)
		look_by(tier, zr_monotonic_ns() + zr_budget_rest_ns(zr_boot_ns()));
	else
		look_by(tier, zr_monotonic_ns() + (r < 0 ? LOOK_NS : REST_NS));
}

/* all of it */

static void punch(struct zr_tier *tier)
{
	const int64_t now = zr_monotonic_ns();
	const bool all = now >= tier->punch_all_ns;

	if (!zr_store_punch(tier->store, all ? 1 : PUNCH_BLOCKS))
		return;
	if (all)
		tier->punch_all_ns = now + PUNCH_ALL_NS;
	look_by(tier, now + LOOK_NS);
}

static void error_forget(struct zr_disk *disk)
{
	int nothing = SPILL_E_NOTHING;

	(void)atomic_compare_exchange_strong(&disk->pages.xspill_error, &nothing, 0);
}

/* Who has nothing to give may get room that others gave, below a limit of all. Once no disk has, there
 * will be none. */
static void refuse_in_the_end(struct zr_tier *tier)
{
	struct zr_disk *disk;
	uint64_t id = 0;

	while ((disk = zr_store_next(tier->store, id))) {
		id = disk->id;
		if (disk->pages.waits_for_others && tier->n_taken == 0)
			atomic_store(&disk->pages.xspill_error, SPILL_E_NOTHING);
		/* Who was refused since then is looked after next. */
		if (atomic_load(&disk->pages.xrefused))
			error_forget(disk);
		disk->pages.waits_for_others = false;
		zr_disk_unpin(tier->store, disk);
	}
}

/* what policies want */

static bool is_urgent(const struct zr_tier *tier)
{
	return atomic_load(&tier->xstop) || atomic_load(&zr_store_room(tier->store)->xwanted);
}

/* A step of each disk in turn, until somebody waits for room or there is nothing to do now. */
static void follow_policies(struct zr_tier *tier)
{
	struct zr_moment moment;
	struct zr_disk *disk;
	int64_t when, soonest = 0;
	uint64_t id;

	do {
		moment = (struct zr_moment){ zr_monotonic_ns(), zr_boot_ns() };
		soonest = ZR_POLICY_NEVER;
		for (id = 0; !is_urgent(tier) && (disk = zr_store_next(tier->store, id));
		     zr_disk_unpin(tier->store, disk)) {
			id = disk->id;
			when = zr_policy_step(tier->policy, disk, &moment);
			soonest = (int64_t)zr_min((uint64_t)soonest, (uint64_t)when);
		}
	} while (!is_urgent(tier) && soonest <= moment.now_ns);
	look_by(tier, soonest);
}

static void look(struct zr_tier *tier)
{
	struct zr_disk *disk;
	uint64_t id = 0;

	tier->look_ns = zr_monotonic_ns() + NEVER_NS;
	tier->n_taken = 0;
	while ((disk = zr_store_next(tier->store, id)) && !atomic_load(&tier->xstop)) {
		id = disk->id;
		spill_larger(tier, disk);
		spill_if_wanted(tier, disk);
		zr_disk_unpin(tier->store, disk);
	}
	if (disk)
		zr_disk_unpin(tier->store, disk);
	refuse_in_the_end(tier);
	if (clean(tier, false))
		look_by(tier, zr_monotonic_ns() + REST_NS);
	punch(tier);
	/* Of disks that have no file, or one that is full, others may wait. */
	zr_room_tell(zr_store_room(tier->store));
}

static void *run(void *context)
{
	struct zr_tier *tier = context;

	while (sem_wait(&tier->may_begin) < 0)
		;
	while (!atomic_load(&tier->xstop)) {
		look(tier);
		follow_policies(tier);
		zr_room_await_want(zr_store_room(tier->store), tier->look_ns);
	}
	return NULL;
}

/* Signals are for whoever made the process. */
static int thread_start(struct zr_tier *tier)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int error;

	sigfillset(&all);
	zr_must(pthread_sigmask(SIG_SETMASK, &all, &before));
	zr_must(pthread_attr_init(&attr));
	zr_must(pthread_attr_setstacksize(&attr, STACK_BYTES));
	error = pthread_create(&tier->thread, &attr, run, tier);
	zr_must(pthread_attr_destroy(&attr));
	zr_must(pthread_sigmask(SIG_SETMASK, &before, NULL));
	return -error;
}

int zr_tier_new(struct zr_tier **tierp, struct zr_store *store, const struct zr_policy_host *host)
{
	struct zr_tier *tier;
	int r;

	tier = calloc(1, sizeof(*tier));
	if (!tier)
		return -ENOMEM;

	tier->store = store;
	zr_must(sem_init(&tier->may_begin, 0, 0));
	r = zr_batch_new(&tier->batch);
	if (r == 0)
		r = zr_cleaner_new(&tier->cleaner);
	if (r == 0)
		r = zr_policy_new(&tier->policy, host, tier->batch);
	if (r == 0)
		r = thread_start(tier);
	if (r < 0) {
		zr_policy_free(tier->policy);
		zr_cleaner_free(tier->cleaner);
		zr_batch_free(tier->batch);
		zr_must(sem_destroy(&tier->may_begin));
		free(tier);
		return r;
	}

	zr_room_set(zr_store_room(tier->store), ZR_ROOM_SOON);
	*tierp = tier;
	return 0;
}

void zr_tier_begin(struct zr_tier *tier)
{
	if (tier->has_begun)
		return;
	tier->has_begun = true;
	zr_room_set(zr_store_room(tier->store), ZR_ROOM_MADE);
	zr_must(sem_post(&tier->may_begin));
}

struct zr_tier *zr_tier_free(struct zr_tier *tier)
{
	if (!tier)
		return NULL;

	atomic_store(&tier->xstop, true);
	zr_must(sem_post(&tier->may_begin));
	zr_room_want(zr_store_room(tier->store));
	zr_must(pthread_join(tier->thread, NULL));
	zr_room_set(zr_store_room(tier->store), ZR_ROOM_NONE);
	zr_policy_free(tier->policy);
	zr_cleaner_free(tier->cleaner);
	zr_batch_free(tier->batch);
	zr_must(sem_destroy(&tier->may_begin));
	free(tier);
	return NULL;
}

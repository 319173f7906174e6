/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "policy.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "allowance.h"
#include "budget.h"
#include "compact.h"
#include "crash.h"
#include "disk-parts.h"
#include "look.h"

#define MS_NS     INT64_C(1000000)
#define SECOND_NS (1000 * MS_NS)

/* Of a step: about a millisecond each. What is written waits for the file besides. */
#define LOOK_LEAVES       64u
#define RECOMPRESS_LEAVES 256u
#define RECOMPRESS_TRIES  8u
/* Requests are to be large: so a batch is filled from as many leaves as need be, in reason. */
#define WRITE_BACK_LEAVES 2048u

#define INTERVAL_SHARE 8u
#define INTERVAL_MIN_S 1u
#define INTERVAL_MAX_S 600u

#define BUSY_PAGES_A_S 200
#define RATE_NS        (250 * MS_NS)   /* what is counted for so long says how busy a disk is, */
#define RATE_STALE_NS  (2 * SECOND_NS) /* for so long */
#define BUSY_AGAIN_NS  SECOND_NS

#define PRESSURE_SHORT    1000 /* 10 percent */
#define PRESSURE_NS       SECOND_NS
#define SHORT_ALL_PERCENT 90u

#define FILE_AGAIN_NS    (10 * SECOND_NS)
#define MEMORY_AGAIN_NS  (20 * MS_NS)
#define COMPACT_LOOK_NS  SECOND_NS
#define COMPACT_AGAIN_NS (10 * SECOND_NS)
#define COMPACT_MIN      UINT64_C(65536) /* free cells; less is no memory to speak of */

/* What is in the oldest part of the objects, one in so many, goes first at a limit. */
#define OLDEST_SHARE 8u

struct zr_policy {
	struct zr_policy_host host;
	struct zr_batch *batch;
	struct zr_ctx *ctx;
	struct zr_allowance allowance;
	int pressure;
	int64_t pressure_ns; /* when it was so; 0: never */
};

/* What a step is about. */
struct work {
	struct zr_policy *policy;
	struct zr_disk *disk;
	struct zr_plan *plan;
	struct zr_moment moment;
	struct zr_attrs attrs;
};

int zr_policy_new(struct zr_policy **policyp, const struct zr_policy_host *host,
		  struct zr_batch *batch)
{
	struct zr_policy *policy;
	int r;

	policy = calloc(1, sizeof(*policy));
	if (!policy)
		return -ENOMEM;

	if (host)
		policy->host = *host;
	policy->batch = batch;
	policy->pressure = -1;
	r = zr_ctx_new(&policy->ctx);
	if (r < 0) {
		zr_policy_free(policy);
		return r;
	}
	*policyp = policy;
	return 0;
}

struct zr_policy *zr_policy_free(struct zr_policy *policy)
{
	if (!policy)
		return NULL;

	zr_ctx_free(policy->ctx);
	free(policy);
	return NULL;
}

int64_t zr_policy_interval_ns(const struct zr_attrs *attrs)
{
	const uint32_t ages[] = { attrs->idle_age_s, attrs->recompress_age_s,
				  attrs->writeback_age_s };
	uint32_t least = UINT32_MAX;
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(ages); ++i) {
		if (ages[i] != 0 && ages[i] < least)
			least = ages[i];
	}
	if (least == UINT32_MAX)
		return 0;
	return (int64_t)zr_min(zr_max(least / INTERVAL_SHARE, INTERVAL_MIN_S), INTERVAL_MAX_S) *
	       SECOND_NS;
}

bool zr_policy_is_on(const struct zr_attrs *attrs)
{
	return zr_attrs_keep_ages(attrs) || attrs->compact_at != 0;
}

/* is it a good moment? */

static int pressure_of(struct zr_policy *policy, int64_t now_ns)
{
	if (!policy->host.pressure)
		return -1;
	if (policy->pressure_ns == 0 || now_ns - policy->pressure_ns >= PRESSURE_NS) {
		policy->pressure = policy->host.pressure(policy->host.context);
		policy->pressure_ns = now_ns;
	}
	return policy->pressure;
}

static bool is_over(uint64_t used, uint64_t limit, uint32_t percent)
{
	return limit != 0 && used > limit / 100 * percent;
}

bool zr_policy_is_short(struct zr_policy *policy, struct zr_disk *disk, int64_t now_ns)
{
	const struct zr_pages *pages = &disk->pages;
	struct zr_attrs attrs;

	zr_disk_attrs(disk, &attrs);
	return pressure_of(policy, now_ns) >= PRESSURE_SHORT ||
	       is_over((uint64_t)atomic_load(&pages->xused_bytes),
		       atomic_load(&pages->xlimit_bytes), attrs.writeback_at) ||
	       is_over((uint64_t)atomic_load(&disk->engine->xused_bytes),
		       atomic_load(&disk->engine->xlimit_bytes), SHORT_ALL_PERCENT);
}

/* Pages that are read and written now, a second. Return: -1 if that is not known yet. */
static int64_t rate_of(struct work *work)
{
	const struct zr_counters *counters = &work->disk->entry->counters;
	const uint64_t n = atomic_load(&counters->num_reads) + atomic_load(&counters->num_writes);
	struct zr_plan *plan = work->plan;
	const int64_t passed = work->moment.now_ns - plan->counted_ns;
	int64_t rate = atomic_load(&plan->xrate);

	if (plan->counted_ns != 0 && passed >= 0 && passed < RATE_NS)
		return rate;
	/* Counters may have been set back. */
	if (plan->counted_ns == 0 || passed <= 0 || passed > RATE_STALE_NS ||
	    n < plan->n_pages_then)
		rate = -1;
	else
		rate = (int64_t)((n - plan->n_pages_then) * (uint64_t)SECOND_NS / (uint64_t)passed);
	plan->n_pages_then = n;
	plan->counted_ns = work->moment.now_ns;
	atomic_store(&plan->xrate, rate);
	return rate;
}

/* what comes next */

static int64_t say(struct work *work, enum zr_deed deed, enum zr_delay delay, int64_t when_ns)
{
	struct zr_plan *plan = work->plan;

	atomic_store(&plan->xnext, deed);
	atomic_store(&plan->xdelay, delay);
	atomic_store(&plan->xnext_ns, when_ns);
	return when_ns;
}

static int64_t look_due_ns(const struct work *work)
{
	const struct zr_entry *entry = work->disk->entry;
	const int64_t interval = zr_policy_interval_ns(&work->attrs);
	const int64_t seen = atomic_load(&entry->ages_seen_ns);

	if (interval == 0)
		return ZR_POLICY_NEVER;
	if (seen == 0 || atomic_load(&entry->ages_begun_ns) != 0)
		return work->moment.now_ns;
	return seen + interval;
}

static bool is_fragmented(const struct work *work)
{
	const struct zr_pool_usage usage = zr_pool_usage(&work->disk->engine->pool);

	return usage.wasted_bytes > COMPACT_MIN &&
	       usage.wasted_bytes * 100 >= usage.span_bytes * work->attrs.compact_at;
}

static int64_t compact_due_ns(struct work *work)
{
	struct zr_plan *plan = work->plan;

	if (work->attrs.compact_at == 0)
		return ZR_POLICY_NEVER;
	if (!plan->compacts && plan->compact_look_ns <= work->moment.now_ns) {
		plan->compacts = is_fragmented(work);
		plan->compact_look_ns = work->moment.now_ns + COMPACT_LOOK_NS;
	}
	return plan->compacts ? work->moment.now_ns : plan->compact_look_ns;
}

/* What keeps pages from going to the file, and until when. */
static enum zr_delay write_back_delay(const struct work *work, int64_t *untilp)
{
	const struct zr_moment *moment = &work->moment;

	*untilp = moment->now_ns + FILE_AGAIN_NS;
	if (atomic_load(&work->disk->entry->writeback_limit_enable) != 0 &&
	    atomic_load(&work->disk->entry->writeback_limit) == 0)
		return ZR_DELAY_LIMIT;
	*untilp = work->plan->file_again_ns;
	if (*untilp > moment->now_ns)
		return ZR_DELAY_FILE;
	*untilp = moment->now_ns + zr_budget_rest_ns(moment->boot_ns);
	if (zr_budget_left(work->disk->entry, work->attrs.writeback_daily_bytes, moment->boot_ns) ==
	    0)
		return ZR_DELAY_BUDGET;
	return ZR_DELAY_NONE;
}

/* What there is to do now. ZR_DEED_NONE: nothing before *untilp, which was told. */
static enum zr_deed choose(struct work *work, int64_t *untilp)
{
	const struct zr_plan *plan = work->plan;
	const int64_t now = work->moment.now_ns, look_ns = look_due_ns(work);
	const int64_t compact_ns = compact_due_ns(work);
	enum zr_delay delay;
	int64_t until_ns;

	if (look_ns <= now)
		return ZR_DEED_LOOK;
	if (compact_ns <= now)
		return ZR_DEED_COMPACT;
	if (plan->recompresses)
		return ZR_DEED_RECOMPRESS;
	*untilp = (int64_t)zr_min((uint64_t)look_ns, (uint64_t)compact_ns);
	if (!plan->writes_back) {
		(void)say(work, look_ns <= compact_ns ? ZR_DEED_LOOK : ZR_DEED_COMPACT,
			  ZR_DELAY_TIME, *untilp);
		return ZR_DEED_NONE;
	}
	delay = write_back_delay(work, &until_ns);
	if (delay == ZR_DELAY_NONE)
		return ZR_DEED_WRITE_BACK;
	(void)say(work, ZR_DEED_WRITE_BACK, delay, until_ns);
	*untilp = (int64_t)zr_min((uint64_t)*untilp, (uint64_t)until_ns);
	return ZR_DEED_NONE;
}

/* May it be done now? Return: when, and why not before. */
static int64_t may_at(struct work *work, enum zr_deed deed, enum zr_delay *delayp)
{
	struct zr_policy *policy = work->policy;
	const int64_t now = work->moment.now_ns;
	const uint32_t percent = policy->host.cpu_percent
					 ? policy->host.cpu_percent(policy->host.context)
					 : ZR_POLICY_CPU_DEFAULT;
	int64_t when, rate;

	when = zr_allowance_when(&policy->allowance, percent, now);
	*delayp = percent == 0 ? ZR_DELAY_OFF : ZR_DELAY_CPU;
	if (when > now || deed == ZR_DEED_LOOK)
		return when;

	rate = rate_of(work);
	if (atomic_load(&work->plan->xis_short))
		return now;
	*delayp = rate < 0 ? ZR_DELAY_RATE : ZR_DELAY_BUSY;
	if (rate < 0)
		return now + RATE_NS;
	return rate > BUSY_PAGES_A_S ? now + BUSY_AGAIN_NS : now;
}

static void note_deed(struct work *work, enum zr_deed deed, uint64_t n_pages)
{
	struct zr_plan *plan = work->plan;

	/* What goes on is one deed. */
	if (atomic_load(&plan->xlast) != deed ||
	    work->moment.now_ns - atomic_load(&plan->xlast_ns) > RATE_STALE_NS)
		atomic_store(&plan->xlast_pages, 0);
	atomic_store(&plan->xlast, deed);
	atomic_store(&plan->xlast_ns, work->moment.now_ns);
	atomic_fetch_add(&plan->xlast_pages, n_pages);
}

/* looking at ages */

/* The age that one in OLDEST_SHARE of the objects has reached. */
static uint32_t oldest_from(const struct zr_ages_seen *seen)
{
	uint64_t n_all = 0, n = 0;
	unsigned int i;

	for (i = 0; i < ZR_AGE_BUCKETS; ++i)
		n_all += seen->in_bucket[i];
	for (i = ZR_AGE_BUCKETS - 1; i > 1; --i) {
		n += seen->in_bucket[i];
		if (n > 0 && n >= n_all / OLDEST_SHARE)
			break;
	}
	return n == 0 ? 0 : 1u << (i - 1);
}

static bool has_older(const struct zr_ages_seen *seen, uint32_t seconds)
{
	unsigned int i;

	for (i = zr_age_bucket(zr_age_of(seconds)); i < ZR_AGE_BUCKETS; ++i) {
		if (seen->in_bucket[i] > 0)
			return true;
	}
	return false;
}

/* All leaves were looked at. Passes that did not come to their end go on where they are. */
static void look_end(struct work *work)
{
	struct zr_entry *entry = work->disk->entry;
	const struct zr_attrs *attrs = &work->attrs;
	struct zr_plan *plan = work->plan;
	unsigned int i;

	/* Dying between any two of these looks at the end of it once more. */
	atomic_store(&entry->ages_seen_ns, atomic_load(&entry->ages_begun_ns));
	atomic_store(&entry->ages_begun_ns, 0);
	atomic_store(&entry->ages_leaf_no, 0);
	for (i = 0; i < ZR_AGE_BUCKETS; ++i)
		atomic_store(&plan->xin_bucket[i], plan->seen.in_bucket[i]);
	atomic_store(&plan->xoldest_from, oldest_from(&plan->seen));
	if (attrs->recompress_age_s != 0 && attrs->recomp_priorities != 0)
		plan->recompresses |= has_older(&plan->seen, attrs->recompress_age_s);
	if (attrs->writeback_age_s != 0 && work->disk->pages.backing)
		plan->writes_back |= has_older(&plan->seen, attrs->writeback_age_s);
	plan->seen = (struct zr_ages_seen){ 0 };
}

/* How many units the objects that were not used are older now. */
static uint32_t units_passed(const struct zr_entry *entry)
{
	const int64_t before = atomic_load(&entry->ages_seen_ns);
	const int64_t now = atomic_load(&entry->ages_begun_ns);

	if (before == 0 || now <= before)
		return 0;
	/* Rounded so that many short intervals come to what they are. */
	return (uint32_t)zr_min((uint64_t)(now / ZR_AGE_UNIT_NS - before / ZR_AGE_UNIT_NS),
				UINT16_MAX);
}

static int64_t look_on(struct work *work)
{
	struct zr_entry *entry = work->disk->entry;
	struct zr_pages *pages = &work->disk->pages;
	const zr_age idle_from = zr_age_of(work->attrs.idle_age_s);
	uint64_t leaf_no, next;
	uint32_t n_units;
	unsigned int i;

	ZR_GUARD_SHARED(&work->disk->shape);

	if (work->disk->removed || zr_policy_interval_ns(zr_disk_attrs_valid(work->disk)) == 0)
		return work->moment.now_ns;
	if (atomic_load(&entry->ages_begun_ns) == 0) {
		atomic_store(&entry->ages_leaf_no, 0);
		atomic_store(&entry->ages_begun_ns, work->moment.now_ns);
		work->plan->seen = (struct zr_ages_seen){ 0 };
	}
	n_units = units_passed(entry);
	leaf_no = zr_ages_next_leaf(pages, atomic_load(&entry->ages_leaf_no));
	for (i = 0; leaf_no != UINT64_MAX && i < LOOK_LEAVES; ++i, leaf_no = next) {
		zr_ages_look(pages, leaf_no, n_units, idle_from, &work->plan->seen);
		next = zr_ages_next_leaf(pages, leaf_no + 1);
		zr_ages_trim(pages, leaf_no, next);
		atomic_store(&entry->ages_leaf_no, leaf_no + 1);
	}
	if (leaf_no == UINT64_MAX)
		look_end(work);
	return work->moment.now_ns;
}

/* pages that are old enough */

/* A leaf and the ages of its objects. */
struct aged {
	struct zr_look look;
	zr_age ages[ZR_LEAF_SLOTS];
};

/* The next leaf at or above that of *page_nop, which is moved to it. Return: 1, with look.there not
 * set for a stretch of none; 0 at the end, or there is no such disk any more. */
static int aged_on(struct work *work, struct aged *aged, uint64_t *page_nop)
{
	aged->look.disk = work->disk;
	aged->look.leaf_no = *page_nop >> ZR_LEAF_SHIFT;
	if (zr_look_on(&aged->look) <= 0)
		return 0;
	if (!aged->look.there) {
		*page_nop = aged->look.leaf_no << ZR_LEAF_SHIFT;
		return 1;
	}
	*page_nop = zr_max(*page_nop, aged->look.first);

	ZR_GUARD_SHARED(&work->disk->shape);
	zr_ages_copy(&work->disk->pages, aged->look.first >> ZR_LEAF_SHIFT, aged->ages);
	return 1;
}

static bool is_old(const struct aged *aged, uint64_t page_no, zr_age from)
{
	const zr_slot slot = aged->look.slots[page_no % ZR_LEAF_SLOTS];

	return zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT && slot & ZR_SLOT_UNUSED &&
	       aged->ages[page_no % ZR_LEAF_SLOTS] >= from;
}

/* recompression */

/* With each priority above its own, until one makes it smaller. Return: 0, ZR_PAGE_E_AS_IT_WAS or
 * negative. */
static int recompress_page(struct work *work, uint64_t page_no, zr_slot slot)
{
	unsigned int i;
	int r = ZR_PAGE_E_AS_IT_WAS;

	for (i = zr_slot_codec(slot) + 1; r == ZR_PAGE_E_AS_IT_WAS && i <= ZR_RECOMP_MAX; ++i) {
		if (work->attrs.recomp_priorities >> i & 1)
			r = zr_disk_try_recompress(work->disk, work->policy->ctx, page_no, i);
	}
	if (r == 0)
		atomic_fetch_add(&work->disk->entry->counters.policy_recompressions, 1);
	return r;
}

/* Of a leaf. Return: 0 or -errno: the page that is next could not be. */
static int recompress_leaf(struct work *work, const struct aged *aged, unsigned int *n_triesp)
{
	const zr_age from = zr_age_of(work->attrs.recompress_age_s);
	const uint64_t end = aged->look.first + ZR_LEAF_SLOTS;
	uint64_t *at = &work->plan->recompress_at;
	int r;

	for (; *at < end && *n_triesp < RECOMPRESS_TRIES; ++*at) {
		const zr_slot slot = aged->look.slots[*at % ZR_LEAF_SLOTS];

		if (!is_old(aged, *at, from) || slot & ZR_SLOT_INCOMPRESSIBLE ||
		    work->attrs.recomp_priorities >> (zr_slot_codec(slot) + 1) == 0)
			continue;
		r = recompress_page(work, *at, slot);
		if (r < 0 && r != -EIO)
			return r;
		++*n_triesp;
		note_deed(work, ZR_DEED_RECOMPRESS, r == 0);
	}
	return 0;
}

static int64_t recompress_on(struct work *work)
{
	struct zr_plan *plan = work->plan;
	unsigned int i, n_tries = 0;
	struct aged aged;
	int r = 0;

	for (i = 0; r == 0 && i < RECOMPRESS_LEAVES && n_tries < RECOMPRESS_TRIES; ++i) {
		if (work->attrs.recompress_age_s == 0 ||
		    !aged_on(work, &aged, &plan->recompress_at)) {
			plan->recompresses = false;
			plan->recompress_at = 0;
			return work->moment.now_ns;
		}
		if (aged.look.there)
			r = recompress_leaf(work, &aged, &n_tries);
	}
	if (r < 0)
		return say(work, ZR_DEED_RECOMPRESS, ZR_DELAY_MEMORY,
			   work->moment.now_ns + MEMORY_AGAIN_NS);
	return work->moment.now_ns;
}

/* writing back */

/* What is named of the next request. */
struct naming {
	uint64_t n_left;     /* bytes that may go to the file */
	uint32_t n_overhead; /* of each frame */
	bool full;
};

/* Return: false for a disk without a file. */
static bool naming_begin(struct work *work, struct naming *naming)
{
	const struct zr_backing *backing;

	ZR_GUARD_SHARED(&work->disk->shape);

	backing = work->disk->pages.backing;
	if (!backing)
		return false;
	*naming = (struct naming){
		.n_left = zr_budget_left(work->disk->entry, work->attrs.writeback_daily_bytes,
					 work->moment.boot_ns),
		.n_overhead = backing->record->seal_bytes,
	};
	return true;
}

static void name_leaf(struct work *work, const struct aged *aged, struct naming *naming)
{
	const zr_age from = zr_age_of(work->attrs.writeback_age_s);
	const uint64_t end = aged->look.first + ZR_LEAF_SLOTS;
	uint64_t *at = &work->plan->write_back_at;
	uint64_t n_bytes;

	for (; *at < end && !naming->full; ++*at) {
		const zr_slot slot = aged->look.slots[*at % ZR_LEAF_SLOTS];

		if (!is_old(aged, *at, from))
			continue;
		n_bytes = work->attrs.compressed_writeback ? zr_slot_length(slot) : ZR_PAGE_SIZE;
		n_bytes = zr_align_up(n_bytes + naming->n_overhead, ZR_CELL_UNIT);
		if (n_bytes > naming->n_left) {
			naming->full = true;
			return;
		}
		if (naming->n_left != UINT64_MAX)
			naming->n_left -= n_bytes;
		naming->full = zr_batch_add(work->policy->batch, *at);
	}
}

/* Of what is named, what was not used meanwhile. */
static void write_back_named(struct work *work)
{
	struct zr_plan *plan = work->plan;
	uint64_t n_written = 0;
	int r;

	r = zr_batch_flush(work->policy->batch, &n_written);
	zr_budget_note(work->disk->entry, zr_batch_bytes(work->policy->batch),
		       work->moment.boot_ns);
	atomic_fetch_add(&work->disk->entry->counters.policy_writes, n_written);
	atomic_store(&plan->xfile_error, r < 0 ? r : 0);
	if (r < 0)
		plan->file_again_ns = work->moment.now_ns + FILE_AGAIN_NS;
	if (n_written > 0) {
		note_deed(work, ZR_DEED_WRITE_BACK, n_written);
		zr_room_tell(&work->disk->engine->room);
	}
}

static int64_t write_back_on(struct work *work)
{
	static const struct zr_batch_filter unused = { .marks = ZR_SLOT_UNUSED };
	struct zr_plan *plan = work->plan;
	struct naming naming = { .full = false };
	struct aged aged;
	bool at_end = work->attrs.writeback_age_s == 0 || !naming_begin(work, &naming);
	unsigned int i;

	zr_batch_begin(work->policy->batch, work->disk, &unused);
	for (i = 0; !at_end && i < WRITE_BACK_LEAVES && !naming.full; ++i) {
		at_end = !aged_on(work, &aged, &plan->write_back_at);
		if (!at_end && aged.look.there)
			name_leaf(work, &aged, &naming);
	}
	write_back_named(work);
	if (at_end) {
		plan->writes_back = false;
		plan->write_back_at = 0;
	}
	return work->moment.now_ns;
}

/* compaction */

static int64_t compact_on(struct work *work)
{
	struct zr_plan *plan = work->plan;

	note_deed(work, ZR_DEED_COMPACT, 0);
	if (!zr_compact_step(work->disk->engine)) {
		plan->compacts = false;
		plan->compact_look_ns = work->moment.now_ns + COMPACT_AGAIN_NS;
	}
	return work->moment.now_ns;
}

/* all of it */

static int64_t act(struct work *work, enum zr_deed deed)
{
	switch (deed) {
	case ZR_DEED_LOOK:
		return look_on(work);
	case ZR_DEED_RECOMPRESS:
		return recompress_on(work);
	case ZR_DEED_WRITE_BACK:
		return write_back_on(work);
	case ZR_DEED_COMPACT:
		return compact_on(work);
	case ZR_DEED_NONE:
	default:
		return ZR_POLICY_NEVER;
	}
}

int64_t zr_policy_step(struct zr_policy *policy, struct zr_disk *disk,
		       const struct zr_moment *moment)
{
	struct work work = { policy, disk, &disk->plan, *moment, { .mode = 0 } };
	enum zr_delay delay;
	enum zr_deed deed;
	int64_t when, began_ns;

	zr_disk_attrs(disk, &work.attrs);
	if (!zr_policy_is_on(&work.attrs) || zr_disk_size(disk) == 0)
		return say(&work, ZR_DEED_NONE, ZR_DELAY_NONE, ZR_POLICY_NEVER);

	atomic_store(&disk->plan.xis_short, zr_policy_is_short(policy, disk, moment->now_ns));
	atomic_store(&disk->plan.xpressure, policy->pressure);
	deed = choose(&work, &when);
	if (deed == ZR_DEED_NONE)
		return when;
	when = may_at(&work, deed, &delay);
	if (when > moment->now_ns)
		return say(&work, deed, delay, when);

	(void)say(&work, deed, ZR_DELAY_NONE, moment->now_ns);
	began_ns = zr_thread_cpu_ns();
	when = act(&work, deed);
	zr_allowance_spend(&policy->allowance, zr_thread_cpu_ns() - began_ns);
	return when;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Random byte-range operations against a flat shadow.
 *
 * The shadow is obviously correct and the disks are not; any disagreement is a bug in the disks.
 * The seed is printed, so a failure is one re-run away (SEED=, ZR_TEST_STEPS=).
 *
 * A disk is far larger than a shadow can be, so the shadow is of some windows: the start, the edge
 * of a subtree half way, and the last pages there can be. Between them no operation starts or ends,
 * so what lies there is always a hole; ranges that are punched or cut off may cover it.
 */

#include "rig.h"

#include <errno.h>

#include "census.h"
#include "policy.h"
#include "recompress.h"

#define N_DISKS     3u
#define N_WINDOWS   3u
#define N_PAGES     (1200u + 32u + 32u)
#define WRITE_BYTES (24 * (size_t)ZR_PAGE_SIZE)

/* At debug_level 2 a step with its walks takes about 60 us. */
#define STEPS 200000

static const struct window {
	uint64_t page_no;
	unsigned int n_pages, first; /* first: in the shadow */
} windows[N_WINDOWS] = {
	{ 0, 1200, 0 },
	{ (UINT64_C(1) << 27) - 16, 32, 1200 },
	{ ZR_DISK_PAGES_MAX - 32, 32, 1232 },
};

struct shadow {
	struct zr_disk *disk; /* NULL: there is none */
	uint64_t size_bytes, limit_bytes;
	bool data[N_PAGES];
	uint8_t pages[N_PAGES][ZR_PAGE_SIZE];
};

static struct rig rig;
static struct rng rng;
static struct shadow shadows[N_DISKS];
static uint64_t limit_all_bytes; /* of all disks together */
static unsigned long n_refused, n_recompressed, n_aged;

static uint64_t below(uint64_t bound)
{
	return rng_below(&rng, bound);
}

/* the shadow */

/* Of the page at @offset; N_PAGES between the windows. */
static unsigned int index_of(uint64_t offset)
{
	const uint64_t page_no = offset / ZR_PAGE_SIZE;
	unsigned int w;

	for (w = 0; w < N_WINDOWS; ++w) {
		if (page_no >= windows[w].page_no &&
		    page_no < windows[w].page_no + windows[w].n_pages)
			return windows[w].first + (unsigned int)(page_no - windows[w].page_no);
	}
	return N_PAGES;
}

static uint64_t offset_of(unsigned int index)
{
	unsigned int w = N_WINDOWS - 1;

	while (index < windows[w].first)
		--w;
	return (windows[w].page_no + index - windows[w].first) * ZR_PAGE_SIZE;
}

/* Bytes of the page that lie in [offset, end), as a range within it. */
static bool overlap(unsigned int index, uint64_t offset, uint64_t end, uint32_t *atp,
		    uint32_t *n_bytesp)
{
	const uint64_t start = offset_of(index);
	const uint64_t from = zr_max(offset, start), to = zr_min(end, start + ZR_PAGE_SIZE);

	*atp = (uint32_t)(from - start);
	*n_bytesp = (uint32_t)(to - from);
	return from < to;
}

static void shadow_put(struct shadow *shadow, uint64_t offset, const uint8_t *bytes, size_t n_bytes)
{
	size_t n_done, n_step;

	for (n_done = 0; n_done < n_bytes; n_done += n_step) {
		const uint64_t at = offset + n_done;
		const unsigned int index = index_of(at);

		n_step = zr_min(n_bytes - n_done, ZR_PAGE_SIZE - at % ZR_PAGE_SIZE);
		memcpy(shadow->pages[index] + at % ZR_PAGE_SIZE, bytes + n_done, n_step);
		shadow->data[index] = true;
	}
	if (n_bytes > 0)
		shadow->size_bytes = zr_max(shadow->size_bytes, offset + n_bytes);
}

/* Whole pages become holes; parts of those that are none, zeros. */
static void shadow_punch(struct shadow *shadow, uint64_t offset, uint64_t end)
{
	uint32_t at, n_bytes;
	unsigned int i;

	for (i = 0; i < N_PAGES; ++i) {
		if (!overlap(i, offset, end, &at, &n_bytes))
			continue;
		memset(shadow->pages[i] + at, 0, n_bytes);
		if (n_bytes == ZR_PAGE_SIZE)
			shadow->data[i] = false;
	}
}

/* The first byte at or above @offset that is (not) data; UINT64_MAX for -ENXIO. */
static uint64_t shadow_seek(const struct shadow *shadow, uint64_t offset, bool data)
{
	unsigned int i;

	if (offset >= shadow->size_bytes)
		return UINT64_MAX;

	for (i = 0; i < N_PAGES; ++i) {
		const uint64_t start = offset_of(i);

		if (start + ZR_PAGE_SIZE <= offset)
			continue;
		if (!data && offset < start) /* between windows */
			return zr_min(offset, shadow->size_bytes);
		if (start >= shadow->size_bytes)
			break;
		if (shadow->data[i] == data)
			return zr_max(offset, start);
		offset = start + ZR_PAGE_SIZE;
	}
	return data ? UINT64_MAX : zr_min(offset, shadow->size_bytes);
}

static uint64_t shadow_n_data(const struct shadow *shadow)
{
	uint64_t n = 0;
	unsigned int i;

	for (i = 0; i < N_PAGES; ++i)
		n += shadow->data[i];
	return n;
}

/* checks */

static uint64_t used_bytes(const struct shadow *shadow)
{
	return (uint64_t)atomic_load(&shadow->disk->pages.xused_bytes);
}

static uint64_t used_by_all(void)
{
	uint64_t n_bytes = 0;
	unsigned int i;

	for (i = 0; i < N_DISKS; ++i)
		n_bytes += shadows[i].disk ? used_bytes(&shadows[i]) : 0;
	return n_bytes;
}

/* A page and its path are five cells. */
static bool is_near(uint64_t used, uint64_t limit_bytes)
{
	return limit_bytes > 0 && used + 5 * ZR_PAGE_SIZE > limit_bytes;
}

/* Refused for a limit: was there one, and was it near? */
static void check_refusal(const struct shadow *shadow, int r)
{
	CHECK(r == 0 || r == -ENOSPC);
	if (r == 0)
		return;
	++n_refused;
	CHECK(is_near(used_bytes(shadow), shadow->limit_bytes) ||
	      is_near(used_by_all(), limit_all_bytes));
}

static void check_disk(const struct shadow *shadow)
{
	CHECK(zr_disk_size(shadow->disk) == shadow->size_bytes);
	CHECK(zr_disk_orig_bytes(shadow->disk) == shadow_n_data(shadow) * ZR_PAGE_SIZE);
}

static void check_figures(const struct shadow *shadow)
{
	struct zr_disk_figures figures;
	int64_t n_same = 0, n_zero = 0;
	uint64_t word;
	unsigned int i;

	for (i = 0; i < N_PAGES; ++i) {
		if (!shadow->data[i] || !zr_fill_detect(shadow->pages[i], &word))
			continue;
		++n_same;
		n_zero += word == 0;
	}
	zr_disk_figures(shadow->disk, &figures);
	CHECK(figures.tally.gauge[ZR_GAUGE_SAME] == n_same);
	CHECK(figures.tally.gauge[ZR_GAUGE_ZERO] == n_zero);
	CHECK(figures.limit_bytes == shadow->limit_bytes);
	CHECK(figures.size_bytes == shadow->size_bytes);
	CHECK(figures.max_bytes >= figures.used_bytes);
}

static void check_contents(const struct shadow *shadow)
{
	uint8_t page[ZR_PAGE_SIZE];
	size_t n_read;
	unsigned int i;

	for (i = 0; i < N_PAGES; ++i) {
		const uint64_t at = offset_of(i);

		CHECK(zr_disk_read(shadow->disk, rig.ctx, at, page, sizeof(page), &n_read) == 0);
		CHECK(n_read == (at < shadow->size_bytes
					 ? zr_min(sizeof(page), shadow->size_bytes - at)
					 : 0));
		CHECK(memcmp(page, shadow->pages[i], n_read) == 0);
		CHECK(bytes_are(shadow->pages[i] + n_read, 0, sizeof(page) - n_read));
	}
	check_figures(shadow);
}

static void check_everything(void)
{
	unsigned int i;

	rig_validate(rig.store);
	for (i = 0; i < N_DISKS; ++i) {
		if (shadows[i].disk) {
			check_disk(&shadows[i]);
			check_contents(&shadows[i]);
		}
	}
}

/* operations */

/* An offset in a window, often at the edge of a page. */
static uint64_t pick_offset(void)
{
	uint64_t offset = offset_of((unsigned int)below(below(4) == 0 ? N_PAGES : 1200));

	switch (below(4)) {
	case 0:
		return offset;
	case 1:
		return offset + 1;
	case 2:
		return offset + ZR_PAGE_SIZE - 1;
	default:
		return offset + below(ZR_PAGE_SIZE);
	}
}

/* A range within one window. */
static uint64_t pick_range(size_t *n_bytesp)
{
	const uint64_t offset = pick_offset();
	unsigned int index = index_of(offset), w = N_WINDOWS - 1;
	uint64_t room;

	while (index < windows[w].first)
		--w;
	room = (windows[w].page_no + windows[w].n_pages) * ZR_PAGE_SIZE - offset;
	room = zr_min(room, WRITE_BYTES);
	*n_bytesp = (size_t)(below(3) == 0 ? zr_min(room, ZR_PAGE_SIZE * (1 + below(4)))
					   : 1 + below(below(8) == 0 ? room : zr_min(room, 9000)));
	return offset;
}

static void do_write(struct shadow *shadow)
{
	static uint8_t bytes[WRITE_BYTES + ZR_PAGE_SIZE];
	const uint64_t used = used_bytes(shadow), used_all = used_by_all();
	size_t n_bytes, n_written, at;
	const uint64_t offset = pick_range(&n_bytes);
	int r;

	/* Kinds change at the pages of the disk, so that whole ones are same-filled. */
	for (at = 0; at < n_bytes; at += ZR_PAGE_SIZE - (offset + at) % ZR_PAGE_SIZE)
		page_random(&rng, bytes + at);

	r = zr_disk_write(shadow->disk, rig.ctx, offset, bytes, n_bytes, &n_written);
	check_refusal(shadow, r);
	CHECK(r == 0 ? n_written == n_bytes : n_written < n_bytes);
	CHECK(n_written == n_bytes || n_written == 0 || (offset + n_written) % ZR_PAGE_SIZE == 0);
	shadow_put(shadow, offset, bytes, n_written);
	CHECK(shadow->limit_bytes == 0 || used_bytes(shadow) <= zr_max(used, shadow->limit_bytes));
	CHECK(limit_all_bytes == 0 || used_by_all() <= zr_max(used_all, limit_all_bytes));
}

static void do_read(struct shadow *shadow)
{
	static uint8_t bytes[WRITE_BYTES];
	size_t n_bytes, n_read, n_done, n_step;
	const uint64_t offset = pick_range(&n_bytes);

	CHECK(zr_disk_read(shadow->disk, rig.ctx, offset, bytes, n_bytes, &n_read) == 0);
	CHECK(n_read ==
	      (offset < shadow->size_bytes ? zr_min(n_bytes, shadow->size_bytes - offset) : 0));
	for (n_done = 0; n_done < n_read; n_done += n_step) {
		const uint64_t at = offset + n_done;

		n_step = zr_min(n_read - n_done, ZR_PAGE_SIZE - at % ZR_PAGE_SIZE);
		CHECK(memcmp(bytes + n_done, shadow->pages[index_of(at)] + at % ZR_PAGE_SIZE,
			     n_step) == 0);
	}
}

static void do_punch(struct shadow *shadow)
{
	size_t n_bytes;
	uint64_t offset = pick_range(&n_bytes), end = offset + n_bytes;

	if (below(4) == 0) { /* from window to window, or whole leaves */
		const uint64_t other = pick_offset();

		end = zr_max(offset, other) + 1;
		offset = zr_min(offset, other);
	}

	CHECK(zr_disk_punch(shadow->disk, rig.ctx, offset, end - offset) == 0);
	if (offset >= shadow->size_bytes)
		return;
	if (end >= shadow->size_bytes) /* all that there is of the last page */
		end = zr_align_up(shadow->size_bytes, ZR_PAGE_SIZE);
	shadow_punch(shadow, offset, end);
}

static void do_truncate(struct shadow *shadow)
{
	uint64_t size_bytes = below(8) == 0 ? 0 : pick_offset();

	if (below(2) == 0) /* not all disks should be short for long */
		size_bytes = zr_max(size_bytes, shadow->size_bytes - shadow->size_bytes % 5000);

	CHECK(zr_disk_truncate(shadow->disk, rig.ctx, size_bytes) == 0);
	if (size_bytes < shadow->size_bytes) {
		shadow_punch(shadow, size_bytes, zr_align_up(size_bytes, ZR_PAGE_SIZE));
		shadow_punch(shadow, zr_align_up(size_bytes, ZR_PAGE_SIZE), UINT64_MAX);
	}
	shadow->size_bytes = size_bytes;
}

static void do_extend(struct shadow *shadow)
{
	const uint64_t size_bytes = pick_offset();

	CHECK(zr_disk_extend(shadow->disk, size_bytes) == 0);
	shadow->size_bytes = zr_max(shadow->size_bytes, size_bytes);
}

static void do_seek(struct shadow *shadow)
{
	const uint64_t offset = pick_offset();
	uint64_t want, found = 0;
	int data, r;

	for (data = 0; data < 2; ++data) {
		want = shadow_seek(shadow, offset, data);
		r = data ? zr_disk_seek_data(shadow->disk, offset, &found)
			 : zr_disk_seek_hole(shadow->disk, offset, &found);
		CHECK(r == (want == UINT64_MAX ? -ENXIO : 0));
		CHECK(r < 0 || found == want);
	}
}

static void do_limit(struct shadow *shadow)
{
	const uint64_t used = used_bytes(shadow);

	shadow->limit_bytes = below(3) == 0 ? 0 : used / 2 + below(used + 65536);
	CHECK(zr_disk_set_mem_limit(shadow->disk, shadow->limit_bytes) == 0);
}

static void do_limit_all(struct shadow *shadow)
{
	const uint64_t used = used_by_all();

	limit_all_bytes = below(2) == 0 ? 0 : used / 2 + below(used + 65536);
	zr_store_set_mem_limit(rig.store, limit_all_bytes);
}

/* All objects, and nothing else. */
static void do_mark(struct shadow *shadow)
{
	const int64_t *gauge;
	struct zr_census census;
	int r;

	r = zr_census_mark_idle(shadow->disk, NULL);
	CHECK(r == (shadow->size_bytes > 0 ? 0 : -EINVAL));
	if (r < 0)
		return;
	CHECK(zr_census_take(shadow->disk, NULL, &census) == 0);
	gauge = census.tally.gauge;
	CHECK(census.n_idle == (uint64_t)(gauge[ZR_GAUGE_PAGES] - gauge[ZR_GAUGE_SAME]));
	CHECK((uint64_t)gauge[ZR_GAUGE_PAGES] == shadow_n_data(shadow));
}

/* It takes no more than before, and is what it was. */
static void do_recompress(struct shadow *shadow)
{
	const struct zr_recompress_request request = {
		.types = (unsigned int)below(4), /* idle, huge */
		.threshold = below(2) ? (uint32_t)below(ZR_OBJECT_USEFUL_MAX + 1) : 0,
		.max_pages = below(2) ? below(N_PAGES) : ZR_RECOMPRESS_ALL,
		.first_priority = (unsigned int)below(ZR_RECOMP_MAX + 1),
		.last_priority = 1 + (unsigned int)below(ZR_RECOMP_MAX),
	};
	const uint64_t used_before = used_bytes(shadow);
	struct zr_recompress_result result;
	int r;

	r = zr_recompress_run(shadow->disk, rig.ctx, NULL, &request, &result);
	CHECK(r == (shadow->size_bytes > 0 && request.first_priority <= request.last_priority
			    ? 0
			    : -EINVAL));
	CHECK(result.n_smaller <= result.n_tried);
	CHECK(result.n_tried <= request.max_pages);
	CHECK(result.n_tried <= shadow_n_data(shadow));
	CHECK(result.n_smaller > 0 ? used_bytes(shadow) < used_before
				   : used_bytes(shadow) == used_before);
	n_recompressed += result.n_smaller;
	check_contents(shadow);
}

static int change_ages(struct zr_attrs *attrs, void *context)
{
	attrs->idle_age_s = below(3) ? 3 : 0;
	attrs->recompress_age_s = below(3) ? 0 : 20;
	return 0;
}

static struct zr_batch *batch;
static struct zr_policy *policy;
static struct zr_moment moment = { 1000000000, 1000000000 };

/* Half a minute passes: objects grow older, and are recompressed for it. */
static void do_age(struct shadow *shadow)
{
	struct zr_disk_figures figures;
	unsigned int i;

	CHECK(zr_disk_change_attrs(shadow->disk, false, change_ages, NULL) == 0);
	for (i = 0; i < 30; ++i) {
		moment.now_ns += 1000000000;
		(void)zr_policy_step(policy, shadow->disk, &moment);
	}
	zr_disk_figures(shadow->disk, &figures);
	n_aged += figures.tally.n_age_nodes > 0;
	if (!zr_store_has_policies(rig.store))
		CHECK(figures.tally.n_age_nodes == 0);
	check_contents(shadow);
}

static void do_codec(struct shadow *shadow)
{
	const struct zr_codec_params params = { (uint32_t)below(ZR_N_ALGORITHMS),
						ZR_CODEC_LEVEL_DEFAULT };

	CHECK(zr_disk_set_codec(shadow->disk, &params) == (shadow->size_bytes ? -EBUSY : 0));
}

static void shadow_clear(struct shadow *shadow)
{
	memset(shadow->data, 0, sizeof(shadow->data));
	memset(shadow->pages, 0, sizeof(shadow->pages));
	shadow->size_bytes = shadow->limit_bytes = 0;
}

static void do_reset(struct shadow *shadow)
{
	struct zr_disk_spec spec;

	rig_spec_init(&spec);
	CHECK(zr_disk_reset(shadow->disk, &spec.attrs) == 0);
	shadow_clear(shadow);
}

static const char *name_of(const struct shadow *shadow)
{
	static char name[8];

	snprintf(name, sizeof(name), "disk%u", (unsigned int)(shadow - shadows));
	return name;
}

static void do_remove(struct shadow *shadow)
{
	zr_store_remove(rig.store, shadow->disk);
	shadow->disk = zr_disk_unpin(rig.store, shadow->disk);
	shadow_clear(shadow);
}

/* Over the next disk, if there is one; the shadow moves along. */
static void do_rename(struct shadow *shadow)
{
	struct shadow *other = &shadows[((unsigned int)(shadow - shadows) + 1) % N_DISKS];

	CHECK(zr_store_rename(rig.store, shadow->disk, name_of(other), NULL) ==
	      (other->disk ? -EEXIST : 0));
	if (other->disk)
		CHECK(zr_store_rename(rig.store, shadow->disk, name_of(other), other->disk) == 0);
	zr_disk_unpin(rig.store, other->disk);
	*other = *shadow;
	shadow_clear(shadow);
	shadow->disk = NULL;
}

/* Another worker takes over. */
static void do_attach(void)
{
	unsigned int i;

	for (i = 0; i < N_DISKS; ++i)
		zr_disk_unpin(rig.store, shadows[i].disk);
	rig_reattach(&rig);
	CHECK(zr_store_mem_limit(rig.store) == limit_all_bytes);
	for (i = 0; i < N_DISKS; ++i) {
		const bool was = shadows[i].disk;

		shadows[i].disk = zr_store_find(rig.store, name_of(&shadows[i]));
		CHECK(was == (shadows[i].disk != NULL));
	}
	check_everything();
}

static const struct {
	unsigned int weight; /* of 1000 */
	void (*run)(struct shadow *shadow);
} operations[] = {
	{ 380, do_write },    { 130, do_read },     { 170, do_punch }, { 60, do_truncate },
	{ 40, do_extend },    { 110, do_seek },     { 50, do_limit },  { 13, do_codec },
	{ 12, do_limit_all }, { 8, do_mark },       { 3, do_reset },   { 2, do_remove },
	{ 2, do_rename },     { 8, do_recompress }, { 12, do_age },
};

static void step(void)
{
	struct shadow *shadow = &shadows[below(N_DISKS)];
	unsigned int roll = (unsigned int)below(1000), i;

	if (!shadow->disk)
		shadow->disk = rig_add(&rig, name_of(shadow), 0);

	for (i = 0; i < ZR_ARRAY_SIZE(operations) - 1 && roll >= operations[i].weight; ++i)
		roll -= operations[i].weight;
	operations[i].run(shadow);

	zr_store_validate(rig.store);
	if (shadow->disk)
		check_disk(shadow);
}

static void test_disks_match_their_shadows(void)
{
	const unsigned long n_steps = test_number("ZR_TEST_STEPS", STEPS);
	unsigned long i;

	rig_init(&rig);
	CHECK(zr_batch_new(&batch) == 0 && zr_policy_new(&policy, NULL, batch) == 0);
	for (i = 0; i < n_steps; ++i) {
		step();
		if (i % 500 == 499)
			check_everything();
		if (below(700) == 0)
			do_attach();
	}
	check_everything();
	printf("# %lu steps, %lu refused for the limit, %lu pages recompressed, %lu times ages\n",
	       n_steps, n_refused, n_recompressed, n_aged);
	CHECK((n_refused > 0 && n_recompressed > 0 && n_aged > 0) || n_steps < 5000);
	policy = zr_policy_free(policy);
	batch = zr_batch_free(batch);

	for (i = 0; i < N_DISKS; ++i)
		shadows[i].disk = zr_disk_unpin(rig.store, shadows[i].disk);
	rig_deinit(&rig);
}

int main(void)
{
	rng = rng_init("test-disk-model");
	RUN(test_disks_match_their_shadows);
	return 0;
}

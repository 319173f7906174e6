/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The limit of all disks together, at its edge. What they use is what their figures say, added up;
 * rig_validate() compares that with the sum that is kept.
 */

#include "rig.h"

#include <errno.h>

static struct rig rig;
static struct zr_disk *a, *b;

/* Two disks with a page each that is stored raw, so that their nodes are there. */
static void set_up(void)
{
	struct rng rng = rng_init("test-mem-limit");
	uint8_t page[ZR_PAGE_SIZE];

	rig_init(&rig);
	a = rig_add(&rig, "a", MIB(4));
	b = rig_add(&rig, "b", MIB(4));
	bytes_random(&rng, page, sizeof(page));
	disk_put(&rig, a, 0, page, sizeof(page));
	disk_put(&rig, b, 0, page, sizeof(page));
}

static void tear_down(void)
{
	a = zr_disk_unpin(rig.store, a);
	b = zr_disk_unpin(rig.store, b);
	rig_deinit(&rig);
}

static uint64_t used(struct zr_disk *disk)
{
	struct zr_disk_figures figures;

	zr_disk_figures(disk, &figures);
	return figures.used_bytes;
}

/* A raw page. */
static int put(struct zr_disk *disk, uint64_t page_no)
{
	struct rng rng = { .state = page_no + 1 };
	uint8_t page[ZR_PAGE_SIZE];
	size_t n_written;

	bytes_random(&rng, page, sizeof(page));
	return zr_disk_write(disk, rig.ctx, page_no * ZR_PAGE_SIZE, page, sizeof(page), &n_written);
}

static void test_no_limit_unless_it_is_set(void)
{
	set_up();
	CHECK(zr_store_mem_limit(rig.store) == 0);
	CHECK(put(a, 1) == 0);
	zr_store_set_mem_limit(rig.store, 1);
	CHECK(zr_store_mem_limit(rig.store) == 1);
	CHECK(put(a, 2) == -ENOSPC);
	zr_store_set_mem_limit(rig.store, 0);
	CHECK(put(a, 2) == 0);
	tear_down();
}

static void test_two_share_it(void)
{
	struct zr_disk_figures before, after;

	set_up();
	zr_store_set_mem_limit(rig.store, used(a) + used(b) + 2 * ZR_PAGE_SIZE);
	CHECK(put(a, 1) == 0);
	CHECK(put(b, 1) == 0);
	zr_disk_figures(a, &before);
	CHECK(put(a, 2) == -ENOSPC);
	zr_disk_figures(a, &after);
	CHECK(memcmp(&before, &after, sizeof(before)) == 0); /* the peak as well */
	CHECK(put(b, 2) == -ENOSPC);
	rig_validate(rig.store);

	/* What does not grow can be written, at the limit and above it. */
	CHECK(put(a, 1) == 0 && put(b, 0) == 0);
	zr_store_set_mem_limit(rig.store, ZR_PAGE_SIZE);
	CHECK(put(a, 1) == 0 && put(b, 0) == 0);
	zr_store_set_mem_limit(rig.store, used(a) + used(b));
	rig_validate(rig.store);

	/* What one gives back the other may have, and no more. */
	CHECK(zr_disk_punch(a, rig.ctx, ZR_PAGE_SIZE, ZR_PAGE_SIZE) == 0);
	CHECK(put(b, 2) == 0);
	CHECK(put(b, 3) == -ENOSPC && put(a, 1) == -ENOSPC);
	rig_validate(rig.store);
	tear_down();
}

/* To the byte. */
static void test_the_edge(void)
{
	static const uint64_t word = UINT64_C(0xfedcba9876543210); /* a cell of 16 bytes */
	uint8_t page[ZR_PAGE_SIZE];
	size_t n_written;

	set_up();
	zr_fill_page(page, word);
	zr_store_set_mem_limit(rig.store, used(a) + used(b) + 15);
	CHECK(zr_disk_write(a, rig.ctx, 4096, page, sizeof(page), &n_written) == -ENOSPC);
	zr_store_set_mem_limit(rig.store, used(a) + used(b) + 16);
	CHECK(zr_disk_write(a, rig.ctx, 4096, page, sizeof(page), &n_written) == 0);
	CHECK(zr_disk_write(b, rig.ctx, 4096, page, sizeof(page), &n_written) == -ENOSPC);
	/* A new leaf is 4096 bytes, though its page has no object. */
	memset(page, 0, sizeof(page));
	CHECK(zr_disk_write(b, rig.ctx, MIB(2), page, sizeof(page), &n_written) == -ENOSPC);
	CHECK(zr_disk_write(b, rig.ctx, 4096, page, sizeof(page), &n_written) == 0);
	rig_validate(rig.store);
	tear_down();
}

/* The stricter of the two refuses, and what it refuses the other does not count. */
static void test_beside_the_limit_of_a_disk(void)
{
	set_up();
	zr_store_set_mem_limit(rig.store, used(a) + used(b) + 3 * ZR_PAGE_SIZE);
	CHECK(zr_disk_set_mem_limit(a, used(a) + ZR_PAGE_SIZE) == 0);
	CHECK(put(a, 1) == 0);
	CHECK(put(a, 2) == -ENOSPC && put(a, 3) == -ENOSPC);
	rig_validate(rig.store);
	CHECK(put(b, 1) == 0 && put(b, 2) == 0 && put(b, 3) == -ENOSPC);
	CHECK(zr_disk_set_mem_limit(a, 0) == 0);
	CHECK(put(a, 2) == -ENOSPC);
	rig_validate(rig.store);
	tear_down();
}

/* Zeros give memory back, and must not need room first, though the page they leave may be longer
 * for a moment or for good. */
static void test_punching_part_of_a_page_at_the_limit(void)
{
	set_up();
	zr_store_set_mem_limit(rig.store, 1);
	CHECK(zr_disk_punch(a, rig.ctx, 100, 1000) == 0);
	CHECK(zr_disk_truncate(a, rig.ctx, 3000) == 0);
	rig_validate(rig.store);
	tear_down();
}

static void test_reset_and_removal_give_room(void)
{
	struct zr_disk_spec spec;

	set_up();
	zr_store_set_mem_limit(rig.store, used(a) + used(b));
	CHECK(put(b, 1) == -ENOSPC);
	zr_disk_spec_init(&spec, 0);
	CHECK(zr_disk_reset(a, &spec.attrs) == 0);
	rig_validate(rig.store);
	CHECK(put(b, 1) == 0);

	zr_store_set_mem_limit(rig.store, used(b));
	CHECK(put(a, 0) == -ENOSPC);
	zr_store_remove(rig.store, b);
	CHECK(put(a, 0) == -ENOSPC); /* pinned: its pages are still there */
	b = zr_disk_unpin(rig.store, b);
	CHECK(put(a, 0) == 0);
	rig_validate(rig.store);
	tear_down();
}

static void test_a_disk_that_does_not_fit_is_not_made(void)
{
	struct zr_disk_spec spec;
	struct zr_disk *disk;

	set_up();
	zr_store_set_mem_limit(rig.store, used(a) + used(b));
	zr_disk_spec_init(&spec, 0);
	memcpy(spec.attrs.name, "swap", 5);
	spec.attrs.format = ZR_FORMAT_SWAP; /* its header is a page */
	spec.disksize_bytes = MIB(1);
	CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == -ENOSPC);
	CHECK(!zr_store_find(rig.store, "swap"));
	rig_validate(rig.store);
	tear_down();
}

/* The limit is in the store; the sum is derived. */
static void test_it_survives_attaching(void)
{
	uint64_t used_bytes;

	set_up();
	used_bytes = used(a) + used(b);
	zr_store_set_mem_limit(rig.store, used_bytes + ZR_PAGE_SIZE);
	zr_disk_unpin(rig.store, a);
	zr_disk_unpin(rig.store, b);
	rig_reattach(&rig);
	a = zr_store_find(rig.store, "a");
	b = zr_store_find(rig.store, "b");
	CHECK(zr_store_mem_limit(rig.store) == used_bytes + ZR_PAGE_SIZE);
	CHECK(put(a, 1) == 0);
	CHECK(put(a, 2) == -ENOSPC && put(b, 1) == -ENOSPC);
	rig_validate(rig.store);
	tear_down();
}

/* Whoever writes while it is set, changed and taken away is counted, or is not, but never half. */
static void test_set_anew_at_random(void)
{
	struct rng rng = rng_init("test-mem-limit");
	unsigned int i;
	int r;

	set_up();
	for (i = 0; i < 2000; ++i) {
		struct zr_disk *disk = rng_below(&rng, 2) ? a : b;
		const uint64_t before = used(a) + used(b), limit = zr_store_mem_limit(rig.store);

		switch (rng_below(&rng, 8)) {
		case 0:
			zr_store_set_mem_limit(rig.store,
					       rng_below(&rng, 3) * rng_below(&rng, MIB(2)));
			break;
		case 1:
		case 2:
			CHECK(zr_disk_punch(disk, rig.ctx, rng_below(&rng, MIB(4)),
					    rng_below(&rng, MIB(1) / 2)) == 0);
			break;
		default:
			r = put(disk, rng_below(&rng, 1024));
			CHECK(r == 0 || (r == -ENOSPC && limit != 0));
			CHECK(r < 0 || limit == 0 || used(a) + used(b) <= zr_max(limit, before));
			break;
		}
		rig_validate(rig.store);
	}
	tear_down();
}

int main(void)
{
	RUN(test_no_limit_unless_it_is_set);
	RUN(test_two_share_it);
	RUN(test_the_edge);
	RUN(test_beside_the_limit_of_a_disk);
	RUN(test_punching_part_of_a_page_at_the_limit);
	RUN(test_reset_and_removal_give_room);
	RUN(test_a_disk_that_does_not_fit_is_not_made);
	RUN(test_it_survives_attaching);
	RUN(test_set_anew_at_random);
	return 0;
}

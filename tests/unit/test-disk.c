/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Ranges, sizes and holes, edges first: empty, one, full, one past. Sizes are chosen so that the
 * last page is whole, has one byte, or lacks one. What random operations find is the model test's.
 */

#include "rig.h"

#include <errno.h>

static struct rig rig;
static struct zr_disk *disk;

static void set_up(uint64_t size_bytes)
{
	rig_init(&rig);
	disk = rig_add(&rig, "disk0", size_bytes);
}

static void tear_down(void)
{
	disk = zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

static size_t read_some(uint64_t offset, void *bytes, size_t n_bytes)
{
	size_t n_read = 12345;

	CHECK(zr_disk_read(disk, rig.ctx, offset, bytes, n_bytes, &n_read) == 0);
	return n_read;
}

static void fill(uint64_t offset, size_t n_bytes, uint8_t value)
{
	static uint8_t bytes[MIB(5)];

	CHECK(n_bytes <= sizeof(bytes));
	memset(bytes, value, n_bytes);
	disk_put(&rig, disk, offset, bytes, n_bytes);
}

/* Are the bytes of the range all @value? */
static bool is_filled(uint64_t offset, size_t n_bytes, uint8_t value)
{
	static uint8_t bytes[MIB(5)];

	CHECK(n_bytes <= sizeof(bytes));
	memset(bytes, ~value, n_bytes);
	disk_get(&rig, disk, offset, bytes, n_bytes);
	return bytes_are(bytes, value, n_bytes);
}

static uint64_t next_data(uint64_t offset)
{
	uint64_t found = 0;
	int r = zr_disk_seek_data(disk, offset, &found);

	CHECK(r == 0 || (r == -ENXIO && found == 0));
	return r < 0 ? UINT64_MAX : found;
}

static uint64_t next_hole(uint64_t offset)
{
	uint64_t found = 0;
	int r = zr_disk_seek_hole(disk, offset, &found);

	CHECK(r == 0 || (r == -ENXIO && found == 0));
	return r < 0 ? UINT64_MAX : found;
}

static void test_empty_disk(void)
{
	uint8_t bytes[16] = { 0 };
	size_t n_written = 1;

	set_up(0);
	CHECK(zr_disk_size(disk) == 0);
	CHECK(read_some(0, bytes, sizeof(bytes)) == 0);
	CHECK(read_some(UINT64_MAX, bytes, sizeof(bytes)) == 0);
	CHECK(next_data(0) == UINT64_MAX && next_hole(0) == UINT64_MAX);
	CHECK(zr_disk_punch(disk, rig.ctx, 0, UINT64_MAX) == 0);
	CHECK(zr_disk_truncate(disk, rig.ctx, 0) == 0);
	CHECK(zr_disk_write(disk, rig.ctx, 0, bytes, 0, &n_written) == 0);
	CHECK(n_written == 0);
	CHECK(zr_disk_size(disk) == 0 && zr_disk_orig_bytes(disk) == 0);
	tear_down();
}

static void test_one_byte(void)
{
	uint8_t bytes[16];

	set_up(0);
	fill(0, 1, 'x');
	CHECK(zr_disk_size(disk) == 1);
	CHECK(zr_disk_orig_bytes(disk) == ZR_PAGE_SIZE);
	CHECK(read_some(0, bytes, sizeof(bytes)) == 1 && bytes[0] == 'x');
	CHECK(read_some(1, bytes, sizeof(bytes)) == 0);
	CHECK(next_data(0) == 0 && next_hole(0) == 1);
	CHECK(next_data(1) == UINT64_MAX && next_hole(1) == UINT64_MAX);
	tear_down();
}

/* Reads are cut at the end; writes grow it. */
static void test_around_the_end(void)
{
	static const uint64_t sizes[] = { 4095, 4096, 4097, MIB(2) - 1, MIB(2), MIB(2) + 1 };
	uint8_t bytes[64];
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(sizes); ++i) {
		set_up(sizes[i]);
		CHECK(read_some(sizes[i] - 1, bytes, sizeof(bytes)) == 1 && bytes[0] == 0);
		CHECK(read_some(sizes[i], bytes, sizeof(bytes)) == 0);
		CHECK(read_some(sizes[i] + 1, bytes, sizeof(bytes)) == 0);

		fill(sizes[i] - 1, 1, 1);
		CHECK(zr_disk_size(disk) == sizes[i]);
		fill(sizes[i] - 1, 2, 2);
		CHECK(zr_disk_size(disk) == sizes[i] + 1);
		fill(sizes[i] + 10, 1, 3);
		CHECK(zr_disk_size(disk) == sizes[i] + 11);
		CHECK(is_filled(sizes[i] + 1, 9, 0));
		CHECK(is_filled(sizes[i] - 1, 2, 2) && is_filled(sizes[i] + 10, 1, 3));
		tear_down();
	}
}

static void test_full_disk(void)
{
	static uint8_t bytes[MIB(4)], back[MIB(4)];
	struct rng rng = rng_init("test-disk");
	struct zr_store_usage usage;
	struct zr_disk_figures figures;
	uint64_t at;

	set_up(sizeof(bytes));
	for (at = 0; at < sizeof(bytes); at += ZR_PAGE_SIZE)
		page_random(&rng, bytes + at);
	disk_put(&rig, disk, 0, bytes, sizeof(bytes));
	disk_get(&rig, disk, 0, back, sizeof(back));
	CHECK(memcmp(bytes, back, sizeof(bytes)) == 0);
	CHECK(zr_disk_size(disk) == sizeof(bytes));
	CHECK(next_data(0) == 0 && next_hole(0) == sizeof(bytes));

	zr_disk_figures(disk, &figures);
	CHECK(figures.size_bytes == sizeof(bytes) && figures.orig_bytes == sizeof(bytes));
	CHECK(figures.table_bytes == 5 * ZR_PAGE_SIZE);
	CHECK(figures.used_bytes >= figures.compr_bytes + figures.table_bytes);
	CHECK(figures.total_bytes >= figures.used_bytes);
	zr_store_usage(rig.store, &usage);
	/* It is alone; what is kept for whatever comes next is nobody's. */
	CHECK(figures.total_bytes == figures.used_bytes + usage.wasted_bytes);
	CHECK(figures.max_bytes >= figures.total_bytes);
	rig_validate(rig.store);
	tear_down();
}

/* Every alignment of both ends, over one page and over three. */
static void test_ranges_that_are_not_pages(void)
{
	static const uint32_t edges[] = {
		0, 1, 7, 2048, 4095, 4096, 4097, 8191, 8192, 12287, 12288
	};
	static uint8_t shadow[12288], bytes[12288];
	struct rng rng = rng_init("test-disk");
	unsigned int i, j;

	set_up(sizeof(shadow));
	for (i = 0; i < ZR_ARRAY_SIZE(edges); ++i) {
		for (j = i + 1; j < ZR_ARRAY_SIZE(edges); ++j) {
			const uint32_t n_bytes = edges[j] - edges[i];

			rng_fill_mixed(&rng, shadow + edges[i], n_bytes);
			disk_put(&rig, disk, edges[i], shadow + edges[i], n_bytes);
			disk_get(&rig, disk, 0, bytes, sizeof(bytes));
			CHECK(memcmp(bytes, shadow, sizeof(bytes)) == 0);
			disk_get(&rig, disk, edges[i], bytes, n_bytes);
			CHECK(memcmp(bytes, shadow + edges[i], n_bytes) == 0);
		}
	}
	CHECK(zr_disk_size(disk) == sizeof(shadow));
	tear_down();
}

/* What was cut off does not come back. */
static void test_tail_is_zero_after_shrinking_and_growing(void)
{
	static const uint64_t cuts[] = {
		1, 4095, 4096, 4097, 8191, MIB(2) - 1, MIB(2), MIB(2) + 1
	};
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(cuts); ++i) {
		const uint64_t kept = zr_align_up(cuts[i], ZR_PAGE_SIZE);

		set_up(0);
		fill(0, MIB(4) + 100, 0xee);
		CHECK(zr_disk_truncate(disk, rig.ctx, cuts[i]) == 0);
		CHECK(zr_disk_size(disk) == cuts[i]);
		CHECK(zr_disk_orig_bytes(disk) == kept);
		rig_validate(rig.store);
		CHECK(zr_disk_truncate(disk, rig.ctx, MIB(4)) == 0);
		CHECK(is_filled(0, cuts[i], 0xee));
		CHECK(is_filled(cuts[i], MIB(4) - cuts[i], 0));
		CHECK(next_hole(0) == kept && next_data(kept) == UINT64_MAX);

		/* and no more does it by extending or by writing past the end */
		CHECK(zr_disk_truncate(disk, rig.ctx, cuts[i] - 1) == 0);
		CHECK(zr_disk_extend(disk, cuts[i] + 50) == 0);
		CHECK(is_filled(cuts[i] - 1, 51, 0));
		tear_down();
	}
}

static void test_truncate_to_nothing_keeps_attributes(void)
{
	struct zr_attrs attrs;
	struct zr_disk_figures figures;

	set_up(0);
	fill(0, MIB(3), 0xab);
	CHECK(zr_disk_set_mem_limit(disk, MIB(1)) == 0);
	CHECK(zr_disk_truncate(disk, rig.ctx, 0) == 0);
	zr_disk_figures(disk, &figures);
	CHECK(figures.size_bytes == 0 && figures.used_bytes == 0 && figures.orig_bytes == 0);
	zr_disk_attrs(disk, &attrs);
	CHECK(attrs.mem_limit_bytes == MIB(1));
	CHECK(strcmp(attrs.name, "disk0") == 0);
	tear_down();
}

static void test_extend_only_grows(void)
{
	set_up(5000);
	CHECK(zr_disk_extend(disk, 4000) == 0);
	CHECK(zr_disk_size(disk) == 5000);
	CHECK(zr_disk_extend(disk, 9000) == 0);
	CHECK(zr_disk_size(disk) == 9000);
	CHECK(is_filled(0, 9000, 0));
	CHECK(zr_disk_orig_bytes(disk) == 0);
	tear_down();
}

/* holes */

static void check_punch(uint64_t offset, uint64_t n_bytes, uint64_t size_bytes)
{
	const uint64_t end = n_bytes < size_bytes - offset ? offset + n_bytes : size_bytes;
	const uint64_t first = zr_align_up(offset, ZR_PAGE_SIZE);
	const uint64_t last = end == size_bytes ? zr_align_up(end, ZR_PAGE_SIZE)
						: zr_align_down(end, ZR_PAGE_SIZE);
	const uint64_t n_holes = last > first ? last - first : 0;

	set_up(0);
	fill(0, size_bytes, 0x77);
	CHECK(zr_disk_punch(disk, rig.ctx, offset, n_bytes) == 0);
	CHECK(zr_disk_size(disk) == size_bytes);
	CHECK(is_filled(0, offset, 0x77));
	CHECK(is_filled(offset, end - offset, 0));
	CHECK(is_filled(end, size_bytes - end, 0x77));
	CHECK(zr_disk_orig_bytes(disk) == zr_align_up(size_bytes, ZR_PAGE_SIZE) - n_holes);
	if (n_holes > 0) {
		CHECK(next_hole(0) == first);
		CHECK(next_data(first) == (last < size_bytes ? last : UINT64_MAX));
	}
	CHECK(disk->entry->counters.notify_free == n_holes / ZR_PAGE_SIZE);
	rig_validate(rig.store);
	tear_down();
}

static void test_punch(void)
{
	const uint64_t size = MIB(4) + 100;

	check_punch(0, size, size);
	check_punch(0, 1, size);
	check_punch(1, 4095, size);
	check_punch(4096, 4096, size);
	check_punch(4095, 2, size);
	check_punch(100, 4096, size);
	check_punch(100, 200, size);
	check_punch(MIB(2), MIB(2), size);               /* just a leaf */
	check_punch(MIB(2) - 4096, MIB(2) + 8192, size); /* a leaf and a page on either side */
	check_punch(MIB(1) + 5, MIB(2), size);
	check_punch(MIB(4), 100, size); /* all of the last page that there is */
	check_punch(MIB(4), 99, size);
	check_punch(MIB(4) + 50, UINT64_MAX, size);
	check_punch(4096, UINT64_MAX, size);
	check_punch(0, UINT64_MAX, 1);
}

static void test_punched_zeros_are_holes_and_written_ones_are_not(void)
{
	set_up(0);
	fill(0, 3 * ZR_PAGE_SIZE, 0);
	CHECK(zr_disk_orig_bytes(disk) == 3 * ZR_PAGE_SIZE);
	CHECK(next_hole(0) == 3 * ZR_PAGE_SIZE);
	CHECK(zr_disk_punch(disk, rig.ctx, ZR_PAGE_SIZE, ZR_PAGE_SIZE) == 0);
	CHECK(zr_disk_orig_bytes(disk) == 2 * ZR_PAGE_SIZE);
	CHECK(next_hole(0) == ZR_PAGE_SIZE && next_data(ZR_PAGE_SIZE) == 2 * ZR_PAGE_SIZE);

	/* Empty ones count too, as the kernel counts. */
	CHECK(zr_disk_punch(disk, rig.ctx, ZR_PAGE_SIZE, ZR_PAGE_SIZE) == 0);
	CHECK(disk->entry->counters.notify_free == 2);
	tear_down();
}

static void test_seek_over_far_leaves(void)
{
	static const uint64_t at[] = { MIB(2) * 3 + 4096, UINT64_C(1) << 39,
				       (UINT64_C(1) << 47) - 4096, ZR_DISK_SIZE_MAX - 4096 };
	uint64_t offset = 0;
	unsigned int i;

	set_up(0);
	for (i = 0; i < ZR_ARRAY_SIZE(at); ++i)
		fill(at[i], ZR_PAGE_SIZE, 1);
	for (i = 0; i < ZR_ARRAY_SIZE(at); ++i) {
		CHECK(next_hole(offset) == offset);
		CHECK(next_data(offset) == at[i]);
		CHECK(next_data(at[i] - 1) == at[i]);
		CHECK(next_data(at[i] + 5) == at[i] + 5);
		CHECK(next_hole(at[i]) == at[i] + ZR_PAGE_SIZE ||
		      at[i] + ZR_PAGE_SIZE == ZR_DISK_SIZE_MAX);
		offset = at[i] + ZR_PAGE_SIZE;
	}
	CHECK(next_hole(ZR_DISK_SIZE_MAX - 1) == ZR_DISK_SIZE_MAX);
	CHECK(next_data(ZR_DISK_SIZE_MAX) == UINT64_MAX);
	tear_down();
}

/* A leaf that is full to its end, and one with a hole at its end. */
static void test_seek_at_edges_of_leaves(void)
{
	set_up(MIB(8));
	fill(0, MIB(4), 1);
	CHECK(next_hole(0) == MIB(4));
	CHECK(zr_disk_punch(disk, rig.ctx, MIB(4) - 1, 1) == 0);
	CHECK(next_hole(0) == MIB(4));
	CHECK(zr_disk_punch(disk, rig.ctx, MIB(4) - 4096, 4096) == 0);
	CHECK(next_hole(0) == MIB(4) - 4096);
	CHECK(zr_disk_punch(disk, rig.ctx, MIB(2) - 4096, 8192) == 0);
	CHECK(next_hole(0) == MIB(2) - 4096);
	CHECK(next_data(MIB(2) - 1) == MIB(2) + 4096);
	CHECK(next_data(MIB(4)) == UINT64_MAX);
	tear_down();
}

/* the largest disk */

static void test_too_large(void)
{
	static const uint64_t past = ZR_DISK_SIZE_MAX;
	uint8_t bytes[2] = { 1, 2 };
	size_t n_written = 7;

	set_up(0);
	CHECK(zr_disk_write(disk, rig.ctx, past - 1, bytes, 2, &n_written) == -EFBIG);
	CHECK(n_written == 0);
	CHECK(zr_disk_write(disk, rig.ctx, past, bytes, 1, &n_written) == -EFBIG);
	CHECK(zr_disk_write(disk, rig.ctx, UINT64_MAX, bytes, 2, &n_written) == -EFBIG);
	CHECK(disk->entry->counters.invalid_io == 3);
	CHECK(zr_disk_truncate(disk, rig.ctx, past + 1) == -EFBIG);
	CHECK(zr_disk_extend(disk, past + 1) == -EFBIG);
	CHECK(zr_disk_set_disksize(disk, rig.ctx, past + 1) == -EFBIG);
	CHECK(zr_disk_set_disksize(disk, rig.ctx, UINT64_MAX) == -EFBIG);
	CHECK(zr_disk_size(disk) == 0);

	fill(past - 1, 1, 9);
	CHECK(zr_disk_size(disk) == past);
	CHECK(is_filled(past - 1, 1, 9) && is_filled(past - 4096, 4095, 0));
	CHECK(zr_disk_punch(disk, rig.ctx, 0, UINT64_MAX) == 0);
	CHECK(is_filled(past - 1, 1, 0));
	CHECK(zr_disk_truncate(disk, rig.ctx, 1) == 0);
	tear_down();
}

/* attributes */

static void test_disksize_is_set_once(void)
{
	set_up(0);
	CHECK(zr_disk_set_disksize(disk, rig.ctx, 0) == -EINVAL);
	CHECK(zr_disk_set_disksize(disk, rig.ctx, 1) == 0);
	CHECK(zr_disk_size(disk) == ZR_PAGE_SIZE);
	CHECK(zr_disk_set_disksize(disk, rig.ctx, MIB(1)) == -EBUSY);
	CHECK(zr_disk_truncate(disk, rig.ctx, 0) == 0);
	CHECK(zr_disk_set_disksize(disk, rig.ctx, MIB(1)) == 0);
	tear_down();
}

static void test_codec_is_set_while_empty(void)
{
	struct zr_codec_params params = { ZR_ALGORITHM_ZSTD, 3 };
	struct zr_attrs attrs;

	set_up(0);
	CHECK(zr_disk_set_codec(disk, &params) == 0);
	fill(0, 100, 5);
	CHECK(zr_disk_set_codec(disk, &params) == -EBUSY);
	CHECK(is_filled(0, 100, 5));
	params.level = 100000;
	CHECK(zr_disk_set_codec(disk, &params) == -EINVAL);
	params.algorithm = ZR_N_ALGORITHMS;
	CHECK(zr_disk_set_codec(disk, &params) == -EINVAL);
	zr_disk_attrs(disk, &attrs);
	CHECK(attrs.codecs[0].algorithm == ZR_ALGORITHM_ZSTD && attrs.codecs[0].level == 3);
	tear_down();
}

/* Six bits of noise to a byte: lz4 stores it raw, zstd makes three quarters of it. */
static void fill_six_bits(struct rng *rng, uint64_t page_no, uint8_t page[ZR_PAGE_SIZE])
{
	unsigned int i;

	for (i = 0; i < ZR_PAGE_SIZE; ++i)
		page[i] = (uint8_t)(32 + rng_below(rng, 64));
	disk_put(&rig, disk, page_no * ZR_PAGE_SIZE, page, ZR_PAGE_SIZE);
}

static int set_recomp(unsigned int priority, int32_t level)
{
	return zr_disk_set_recomp(disk, priority,
				  &(struct zr_codec_params){ ZR_ALGORITHM_ZSTD, level });
}

static int recompress(uint64_t page_no, unsigned int priority)
{
	return zr_disk_recompress(disk, rig.ctx, page_no, priority, 0);
}

static int64_t n_with_number(unsigned int number)
{
	struct zr_disk_figures figures;

	zr_disk_figures(disk, &figures);
	return figures.tally.gauge[ZR_GAUGE_CODEC + number];
}

/* Number 0 is the codec, the others are those of their priority; each may be another level of one
 * algorithm. */
static void test_codec_numbers(void)
{
	static uint8_t shadow[ZR_RECOMP_MAX + 1][ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-disk");
	struct zr_disk_spec spec;
	struct zr_attrs attrs;
	unsigned int i;

	set_up(0);
	zr_disk_spec_init(&spec, 0);
	CHECK(zr_disk_reset(disk, &spec.attrs) == 0); /* none is configured */
	CHECK(set_recomp(0, 1) == -EINVAL && set_recomp(ZR_RECOMP_MAX + 1, 1) == -EINVAL);
	CHECK(set_recomp(1, 99) == -EINVAL);
	zr_disk_attrs(disk, &attrs);
	CHECK(attrs.recomp_priorities == 0);
	CHECK(recompress(1, 1) == -EINVAL);
	CHECK(set_recomp(3, 19) == 0 && set_recomp(1, 2) == 0 && set_recomp(1, 1) == 0);
	zr_disk_attrs(disk, &attrs);
	CHECK(attrs.recomp_priorities == (1u << 3 | 1u << 1));
	CHECK(attrs.codecs[1].level == 1 && attrs.codecs[3].level == 19);
	CHECK(attrs.codecs[0].algorithm == spec.attrs.codecs[0].algorithm);

	CHECK(zr_disk_truncate(disk, rig.ctx, MIB(1)) == 0);
	CHECK(set_recomp(1, 3) == -EBUSY && set_recomp(2, 3) == -EBUSY);
	for (i = 0; i <= ZR_RECOMP_MAX; ++i)
		fill_six_bits(&rng, i, shadow[i]);
	CHECK(recompress(0, 0) == -EINVAL && recompress(2, 2) == -EINVAL);
	CHECK(recompress(2, ZR_RECOMP_MAX + 1) == -EINVAL && recompress(2, 40) == -EINVAL);
	CHECK(recompress(1, 1) == 0 && recompress(3, 3) == 0);

	/* Attached again they mean what they did. */
	disk = zr_disk_unpin(rig.store, disk);
	rig_reattach(&rig);
	disk = zr_store_find(rig.store, "disk0");
	CHECK(n_with_number(1) == 1 && n_with_number(2) == 0 && n_with_number(3) == 1);
	CHECK(recompress(2, 2) == -EINVAL && recompress(2, 3) == 0);
	CHECK(recompress(3, 1) == ZR_PAGE_E_AS_IT_WAS); /* not down again */
	for (i = 0; i <= ZR_RECOMP_MAX; ++i) {
		uint8_t page[ZR_PAGE_SIZE];

		disk_get(&rig, disk, i * (uint64_t)ZR_PAGE_SIZE, page, sizeof(page));
		CHECK(memcmp(page, shadow[i], sizeof(page)) == 0);
	}
	tear_down();
}

static void test_recompression(void)
{
	uint8_t page[ZR_PAGE_SIZE], back[ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-disk");
	struct zr_disk_figures before, after;

	set_up(MIB(1));
	fill_six_bits(&rng, 5, page);
	zr_disk_figures(disk, &before);
	CHECK(recompress(5, ZR_RECOMP_MAX) == 0);
	zr_disk_figures(disk, &after);
	CHECK(after.used_bytes < before.used_bytes - ZR_PAGE_SIZE / 8);
	CHECK(after.compr_bytes < before.compr_bytes && after.orig_bytes == before.orig_bytes);
	CHECK(recompress(5, ZR_RECOMP_MAX) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(recompress(6, ZR_RECOMP_MAX) == ZR_PAGE_E_AS_IT_WAS);
	disk_get(&rig, disk, 5 * ZR_PAGE_SIZE, back, sizeof(back));
	CHECK(memcmp(page, back, sizeof(page)) == 0);

	/* What is written next is compressed with the disk's own codec again. */
	fill(5 * ZR_PAGE_SIZE, 100, 7);
	CHECK(n_with_number(ZR_RECOMP_MAX) == 0);
	tear_down();
}

static void test_reset_goes_back_to_defaults(void)
{
	struct zr_disk_spec spec;
	struct zr_attrs attrs;

	set_up(0);
	zr_disk_spec_init(&spec, 0);
	spec.attrs.mem_limit_bytes = 123456;
	spec.attrs.mode = 0777;
	CHECK(zr_disk_set_codec(disk, &(struct zr_codec_params){ ZR_ALGORITHM_ZSTD, 3 }) == 0);
	CHECK(zr_disk_set_owner(disk, 0640, 17, 18) == 0);
	fill(0, MIB(3), 5);
	CHECK(zr_disk_reset(disk, &spec.attrs) == 0);

	CHECK(zr_disk_size(disk) == 0 && zr_disk_orig_bytes(disk) == 0);
	CHECK(disk->entry->counters.num_writes == 0);
	zr_disk_attrs(disk, &attrs);
	CHECK(attrs.codecs[0].algorithm == ZR_ALGORITHM_LZ4);
	CHECK(attrs.mem_limit_bytes == 123456);
	CHECK(attrs.mode == 0640 && attrs.uid == 17 && attrs.gid == 18);
	CHECK(strcmp(attrs.name, "disk0") == 0);
	fill(0, 100, 6);
	CHECK(is_filled(0, 100, 6));
	tear_down();
}

static void test_swap_format_writes_a_header(void)
{
	struct zr_disk_spec spec;
	char bytes[ZR_PAGE_SIZE];

	rig_init(&rig);
	zr_disk_spec_init(&spec, 0);
	strcpy(spec.attrs.name, "swap0");
	strcpy(spec.attrs.label, "here");
	spec.attrs.format = ZR_FORMAT_SWAP;
	spec.disksize_bytes = MIB(1);
	CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == 0);
	disk_get(&rig, disk, 0, bytes, sizeof(bytes));
	CHECK(memcmp(bytes + (zr_system_page_bytes() - 10) % ZR_PAGE_SIZE, "SWAPSPACE2", 10) == 0 ||
	      zr_system_page_bytes() > ZR_PAGE_SIZE);
	CHECK(strcmp(bytes + 1052, "here") == 0);

	/* Too small for one: no size, nothing written. */
	CHECK(zr_disk_truncate(disk, rig.ctx, 0) == 0);
	CHECK(zr_disk_set_disksize(disk, rig.ctx, ZR_PAGE_SIZE) == -EINVAL);
	CHECK(zr_disk_size(disk) == 0 && zr_disk_orig_bytes(disk) == 0);
	tear_down();
}

static void test_counters_count_pages(void)
{
	struct zr_counters *counters;

	set_up(MIB(1));
	counters = &disk->entry->counters;
	fill(4095, 2, 1);
	CHECK(counters->num_writes == 2);
	CHECK(is_filled(0, 3 * ZR_PAGE_SIZE, 1) == false);
	CHECK(counters->num_reads == 3);
	CHECK(is_filled(MIB(1) - 1, 1, 0));
	CHECK(counters->num_reads == 4);
	CHECK(counters->failed_reads == 0 && counters->failed_writes == 0);
	tear_down();
}

static void test_writing_tells_the_time(void)
{
	int64_t before;

	set_up(MIB(1));
	before = zr_disk_now_ns();
	disk->entry->mtime_ns = disk->entry->ctime_ns = 5;
	CHECK(is_filled(0, 10, 0));
	CHECK(disk->entry->mtime_ns == 5);
	fill(0, 1, 1);
	CHECK(disk->entry->mtime_ns >= before && disk->entry->ctime_ns >= before);
	disk->entry->mtime_ns = disk->entry->ctime_ns = 5;
	CHECK(zr_disk_set_owner(disk, 0600, 0, 0) == 0);
	CHECK(disk->entry->mtime_ns == 5 && disk->entry->ctime_ns >= before);
	tear_down();
}

static void test_removed_disk_refuses(void)
{
	struct zr_disk_spec spec;
	size_t n_written;

	set_up(0);
	fill(0, MIB(1), 4);
	zr_store_remove(rig.store, disk);
	zr_disk_spec_init(&spec, 0);
	CHECK(zr_disk_write(disk, rig.ctx, 0, "x", 1, &n_written) == -ESTALE);
	CHECK(zr_disk_punch(disk, rig.ctx, 0, 1) == -ESTALE);
	CHECK(zr_disk_extend(disk, MIB(9)) == -ESTALE);
	CHECK(zr_disk_truncate(disk, rig.ctx, 0) == -ESTALE);
	CHECK(zr_disk_set_disksize(disk, rig.ctx, MIB(9)) == -ESTALE);
	CHECK(zr_disk_set_mem_limit(disk, 0) == -ESTALE);
	CHECK(zr_disk_set_codec(disk, &spec.attrs.codecs[0]) == -ESTALE);
	CHECK(zr_disk_set_owner(disk, 0, 0, 0) == -ESTALE);
	CHECK(zr_disk_set_recomp(disk, 1, &spec.attrs.codecs[1]) == -ESTALE);
	CHECK(zr_disk_recompress(disk, rig.ctx, 0, 1, 0) == -ESTALE);
	CHECK(zr_disk_reset(disk, &spec.attrs) == -ESTALE);
	CHECK(zr_store_rename(rig.store, disk, "other", NULL) == -ESTALE);
	tear_down();
}

int main(void)
{
	RUN(test_empty_disk);
	RUN(test_one_byte);
	RUN(test_around_the_end);
	RUN(test_full_disk);
	RUN(test_ranges_that_are_not_pages);
	RUN(test_tail_is_zero_after_shrinking_and_growing);
	RUN(test_truncate_to_nothing_keeps_attributes);
	RUN(test_extend_only_grows);
	RUN(test_punch);
	RUN(test_punched_zeros_are_holes_and_written_ones_are_not);
	RUN(test_seek_over_far_leaves);
	RUN(test_seek_at_edges_of_leaves);
	RUN(test_too_large);
	RUN(test_disksize_is_set_once);
	RUN(test_codec_is_set_while_empty);
	RUN(test_codec_numbers);
	RUN(test_recompression);
	RUN(test_reset_goes_back_to_defaults);
	RUN(test_swap_format_writes_a_header);
	RUN(test_counters_count_pages);
	RUN(test_writing_tells_the_time);
	RUN(test_removed_disk_refuses);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What is opened is what was sealed, for that page of that run: whatever else the file gives back.
 * */

#include "test.h"

#include <errno.h>
#include <time.h>

#include "seal.h"

#define OBJECT_MAX ZR_PAGE_SIZE

static const uint32_t kinds[] = { ZR_BACKING_SEALED, 0 };
static const uint32_t lengths[] = { 0, 1, 15, 16, 17, 255, 2048, 4095, 4096 };
static const struct zr_frame_owner owner = { .disk_id = 3, .page_no = UINT64_C(1) << 35 };

static uint8_t object[OBJECT_MAX], opened[OBJECT_MAX];
static uint8_t frame[OBJECT_MAX + ZR_SEAL_BYTES_MAX];

static struct zr_backing_record record_of(uint32_t flags)
{
	struct zr_backing_record record = { .flags = flags, .seal_bytes = seal_bytes(flags) };

	memset(record.nonce, 0x11, sizeof(record.nonce));
	memset(record.key, 0x22, sizeof(record.key));
	return record;
}

static void test_what_is_sealed_is_opened(void)
{
	struct rng rng = rng_init("test-seal");
	size_t kind, i;

	for (kind = 0; kind < ZR_ARRAY_SIZE(kinds); ++kind) {
		struct zr_backing_record record = record_of(kinds[kind]);

		for (i = 0; i < ZR_ARRAY_SIZE(lengths); ++i) {
			const uint32_t n = lengths[i], n_frame = n + record.seal_bytes;

			bytes_random(&rng, object, sizeof(object));
			memset(frame, 0x5a, sizeof(frame));
			memset(opened, 0x5a, sizeof(opened));
			seal_make(&record, &owner, 77 + i, object, n, frame);
			CHECK(seal_open(&record, &owner, frame, n, opened) == 0);
			CHECK(memcmp(opened, object, n) == 0);
			/* Neither writes beyond what it is to. */
			CHECK(n == OBJECT_MAX || opened[n] == 0x5a);
			CHECK(frame[n_frame] == 0x5a);
		}
	}
}

/* Every bit of a frame counts. */
static void test_a_changed_bit_is_found(void)
{
	const uint32_t n = 100;
	size_t kind, bit;

	for (kind = 0; kind < ZR_ARRAY_SIZE(kinds); ++kind) {
		struct zr_backing_record record = record_of(kinds[kind]);

		seal_make(&record, &owner, 5, object, n, frame);
		for (bit = 0; bit < (n + record.seal_bytes) * 8; ++bit) {
			frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
			CHECK(seal_open(&record, &owner, frame, n, opened) == -EIO);
			frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		CHECK(seal_open(&record, &owner, frame, n, opened) == 0);
		CHECK(seal_open(&record, &owner, frame, n - 1, opened) == -EIO);
		CHECK(seal_open(&record, &owner, frame, n + 1, opened) == -EIO);
	}
}

static void test_another_page_disk_run_or_key_is_found(void)
{
	const struct zr_frame_owner disk = { .disk_id = owner.disk_id + 1,
					     .page_no = owner.page_no };
	const struct zr_frame_owner page = { .disk_id = owner.disk_id,
					     .page_no = owner.page_no + 1 };
	size_t kind;

	for (kind = 0; kind < ZR_ARRAY_SIZE(kinds); ++kind) {
		struct zr_backing_record record = record_of(kinds[kind]), other = record;

		seal_make(&record, &owner, 5, object, OBJECT_MAX, frame);
		memset(opened, 0x5a, sizeof(opened));
		CHECK(seal_open(&record, &disk, frame, OBJECT_MAX, opened) == -EIO);
		CHECK(seal_open(&record, &page, frame, OBJECT_MAX, opened) == -EIO);
		other.nonce[15] ^= 1;
		CHECK(seal_open(&other, &owner, frame, OBJECT_MAX, opened) == -EIO);
		CHECK(memcmp(opened, object, OBJECT_MAX) != 0);
	}
	{
		struct zr_backing_record record = record_of(ZR_BACKING_SEALED), other = record;

		seal_make(&record, &owner, 5, object, OBJECT_MAX, frame);
		other.key[0] ^= 1;
		CHECK(seal_open(&other, &owner, frame, OBJECT_MAX, opened) == -EIO);
	}
}

/* What a hole of the file reads as, and a file that was cut short and grown again. */
static void test_zeros_are_no_object(void)
{
	size_t kind, i;

	memset(frame, 0, sizeof(frame));
	for (kind = 0; kind < ZR_ARRAY_SIZE(kinds); ++kind) {
		struct zr_backing_record record = record_of(kinds[kind]);

		for (i = 0; i < ZR_ARRAY_SIZE(lengths); ++i)
			CHECK(seal_open(&record, &owner, frame, lengths[i], opened) == -EIO);
	}
}

/* With a key nothing of the object is to be seen, and the same object is another one each time. */
static void test_a_keyed_frame_says_nothing(void)
{
	struct zr_backing_record record = record_of(ZR_BACKING_SEALED);
	static uint8_t other[sizeof(frame)];

	memset(object, 'A', sizeof(object));
	seal_make(&record, &owner, 1, object, OBJECT_MAX, frame);
	seal_make(&record, &owner, 2, object, OBJECT_MAX, other);
	CHECK(!memmem(frame, sizeof(frame), "AAAA", 4));
	CHECK(memcmp(frame + 8, other + 8, OBJECT_MAX + 16) != 0);
}

/* Not a test of speed: figures for the header. */
static void print_cost(void)
{
	static const uint32_t n_objects[] = { 1, 256, 1024, 2048, 4096 };
	struct timespec begin, end;
	size_t kind, i;
	unsigned int round;

	for (kind = 0; kind < ZR_ARRAY_SIZE(kinds); ++kind)
		for (i = 0; i < ZR_ARRAY_SIZE(n_objects); ++i) {
			struct zr_backing_record record = record_of(kinds[kind]);

			clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
			for (round = 0; round < 2000; ++round)
				seal_make(&record, &owner, round, object, n_objects[i], frame);
			clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
			printf("# %s %4u bytes %5.0f ns\n",
			       kinds[kind] & ZR_BACKING_SEALED ? "keyed" : "proof", n_objects[i],
			       ((double)(end.tv_sec - begin.tv_sec) * 1e9 +
				(double)(end.tv_nsec - begin.tv_nsec)) /
				       2000);
		}
}

int main(void)
{
	CHECK(seal_init() == 0);
	CHECK(seal_init() == 0); /* again, as after a fork */
	RUN(test_what_is_sealed_is_opened);
	RUN(test_a_changed_bit_is_found);
	RUN(test_another_page_disk_run_or_key_is_found);
	RUN(test_zeros_are_no_object);
	RUN(test_a_keyed_frame_says_nothing);
	print_cost();
	return 0;
}

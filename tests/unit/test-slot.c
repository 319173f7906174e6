/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A slot is a word, so what it says can be compared with what was said to it, over edges and random
 * words. The only trick is a definition of "fits the slot" that is not the one under test.
 */

#include "test.h"

#include "slot.h"

/* Between -2^55 and 2^55 - 1, or two equal halves. */
static bool word_fits(uint64_t word)
{
	const int64_t value = (int64_t)word;
	uint32_t halves[2];

	memcpy(halves, &word, sizeof(halves));
	return (value >= -(INT64_C(1) << 55) && value < INT64_C(1) << 55) || halves[0] == halves[1];
}

static void check_word(uint64_t word)
{
	zr_slot slot = 42;

	if (!word_fits(word)) {
		CHECK(!zr_slot_same(word, &slot));
		CHECK(slot == 42); /* written on success only */
		return;
	}

	CHECK(zr_slot_same(word, &slot));
	CHECK(slot != ZR_SLOT_HOLE); /* written zeros are no hole */
	CHECK(zr_slot_kind(slot) == ZR_SLOT_KIND_SAME);
	CHECK(zr_slot_form(slot) != ZR_SLOT_FORM_OBJECT);
	CHECK(zr_slot_word(slot) == word);
	CHECK(zr_slot_bytes(slot) == 0);
	CHECK(zr_slot_is_sound(slot));
	CHECK((slot >> 2 & 7) == 0); /* no mark is set */
}

static void test_words_at_edges(void)
{
	static const uint64_t edges[] = { 0, UINT64_C(1) << 31, UINT64_C(1) << 32,
					  UINT64_C(1) << 55, UINT64_C(1) << 63 };
	unsigned int i;
	int off;

	for (i = 0; i < ZR_ARRAY_SIZE(edges); ++i) {
		for (off = -2; off <= 2; ++off) {
			check_word(edges[i] + (uint64_t)(int64_t)off);
			check_word(-(edges[i] + (uint64_t)(int64_t)off));
		}
	}
}

static void test_words_that_repeat(void)
{
	uint64_t byte, half;

	for (byte = 0; byte < 256; ++byte)
		check_word(byte * UINT64_C(0x0101010101010101));
	for (half = 0; half < 1u << 16; ++half)
		check_word(half * UINT64_C(0x0001000100010001));
	check_word(UINT64_C(0xdeadbeefdeadbeef));
	check_word(UINT64_C(0x80000000) << 32 | UINT64_C(0x80000000));
	check_word(UINT64_C(0xdeadbeefdeadbeee));
}

/* Random words of every length, so that each bit is the highest one now and then. */
static void test_words_of_every_length(void)
{
	struct rng rng = rng_init("test-slot");
	unsigned int i;

	for (i = 0; i < 1000000; ++i) {
		const uint64_t word = rng_next(&rng) >> i % 64;

		check_word(word);
		check_word(~word);
		check_word(word << 32 | word >> 32);
	}
}

static void check_object(zr_position position, uint32_t n_bytes, unsigned int codec)
{
	const zr_slot slot = zr_slot_object(position, n_bytes, codec);

	CHECK(zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT);
	CHECK(zr_slot_position(slot) == position);
	CHECK(zr_slot_bytes(slot) == n_bytes);
	CHECK(zr_slot_codec(slot) == codec);
	CHECK(zr_slot_is_sound(slot));
	CHECK((slot >> 2 & 7) == 0);
}

static void test_objects_come_back(void)
{
	struct rng rng = rng_init("test-slot");
	unsigned int codec;
	uint32_t n_bytes;

	for (n_bytes = 1; n_bytes <= ZR_PAGE_SIZE; ++n_bytes) {
		for (codec = 0; codec < 8; ++codec) {
			check_object(1, n_bytes, codec);
			check_object(ZR_POSITION_MAX, n_bytes, codec);
			check_object(1 + rng_below(&rng, ZR_POSITION_MAX), n_bytes, codec);
		}
	}
}

static void test_fill_objects_come_back(void)
{
	static const zr_position positions[] = { 1, 2, 1u << 20, ZR_POSITION_MAX - 1,
						 ZR_POSITION_MAX };
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(positions); ++i) {
		const zr_slot slot = zr_slot_same_object(positions[i]);

		CHECK(zr_slot_kind(slot) == ZR_SLOT_KIND_SAME);
		CHECK(zr_slot_form(slot) == ZR_SLOT_FORM_OBJECT);
		CHECK(zr_slot_position(slot) == positions[i]);
		CHECK(zr_slot_bytes(slot) == ZR_SLOT_FILL_SIZE);
		CHECK(zr_slot_is_sound(slot));
	}
}

/* The same object elsewhere: whatever else the slot says stays, but no change is pending then. */
static void check_moved(zr_slot slot, zr_position position)
{
	const zr_slot moved = zr_slot_moved(slot, position);

	CHECK(zr_slot_position(moved) == position);
	CHECK(zr_slot_bytes(moved) == zr_slot_bytes(slot));
	CHECK(zr_slot_kind(moved) == zr_slot_kind(slot));
	CHECK((moved >> 5 & 7) == (slot >> 5 & 7)); /* codec, or form */
	CHECK((moved >> 2 & 3) == (slot >> 2 & 3)); /* idle, incompressible */
	CHECK(!(moved & ZR_SLOT_PENDING));
	CHECK(zr_slot_is_sound(moved));
	CHECK(zr_slot_moved(moved, zr_slot_position(slot)) == (slot & ~ZR_SLOT_PENDING));
}

static void test_moved_slots_say_the_same(void)
{
	static const zr_position edges[] = { 1, 2, ZR_POSITION_MAX / 2, ZR_POSITION_MAX };
	struct rng rng = rng_init("test-slot");
	unsigned int i, j;

	for (i = 0; i < 100000; ++i) {
		const zr_position from = 1 + rng_below(&rng, ZR_POSITION_MAX);
		const zr_slot marks = rng_below(&rng, 8) << 2;

		for (j = 0; j < ZR_ARRAY_SIZE(edges); ++j) {
			check_moved(zr_slot_object(from,
						   1 + (uint32_t)rng_below(&rng, ZR_PAGE_SIZE),
						   (unsigned int)rng_below(&rng, 8)) |
					    marks,
				    edges[j]);
			check_moved(zr_slot_same_object(from), edges[j]);
		}
	}
}

/* The bit changes nothing of what the slot says. */
static void test_pending_is_a_mark_only(void)
{
	const zr_slot object = zr_slot_object(77, 1234, 5), fill = zr_slot_same_object(77);

	CHECK(ZR_SLOT_PENDING == 1u << 4);
	CHECK(!(object & ZR_SLOT_PENDING) && !(fill & ZR_SLOT_PENDING));
	CHECK(zr_slot_position(object | ZR_SLOT_PENDING) == 77);
	CHECK(zr_slot_bytes(object | ZR_SLOT_PENDING) == 1234);
	CHECK(zr_slot_codec(object | ZR_SLOT_PENDING) == 5);
	CHECK(zr_slot_position(fill | ZR_SLOT_PENDING) == 77);
	CHECK(zr_slot_is_sound(object | ZR_SLOT_PENDING));
	CHECK(!zr_slot_is_sound(ZR_SLOT_PENDING)); /* a hole has no marks */
}

/* Whether it is marked says nothing of what it is. */
static void test_idle_is_a_mark_only(void)
{
	const zr_slot object = zr_slot_object(77, 1234, 5), fill = zr_slot_same_object(77);
	zr_slot word;

	CHECK(ZR_SLOT_IDLE == 1u << 2 && ZR_SLOT_INCOMPRESSIBLE == 1u << 3);
	CHECK(!(object & (ZR_SLOT_IDLE | ZR_SLOT_INCOMPRESSIBLE)));
	CHECK(zr_slot_position(object | ZR_SLOT_IDLE) == 77);
	CHECK(zr_slot_bytes(object | ZR_SLOT_IDLE) == 1234);
	CHECK(zr_slot_codec(object | ZR_SLOT_IDLE) == 5);
	CHECK(zr_slot_is_sound(object | ZR_SLOT_IDLE | ZR_SLOT_INCOMPRESSIBLE | ZR_SLOT_PENDING));

	CHECK(zr_slot_is_still(object, object | ZR_SLOT_IDLE));
	CHECK(zr_slot_is_still(object | ZR_SLOT_IDLE, object));
	CHECK(!zr_slot_is_still(object, object | ZR_SLOT_PENDING));
	CHECK(!zr_slot_is_still(object, zr_slot_moved(object, 78)));
	CHECK(!zr_slot_is_still(ZR_SLOT_HOLE, object));

	/* Same-filled pages have no marks. */
	CHECK(zr_slot_same(0, &word) && zr_slot_is_sound(word));
	CHECK(!zr_slot_is_sound(word | ZR_SLOT_IDLE) && !zr_slot_is_sound(fill | ZR_SLOT_IDLE));
	CHECK(!zr_slot_is_sound(fill | ZR_SLOT_PENDING));
	CHECK(!zr_slot_is_sound(fill | ZR_SLOT_INCOMPRESSIBLE));
}

static void test_hole_is_zero_and_empty(void)
{
	CHECK(zr_slot_kind(ZR_SLOT_HOLE) == ZR_SLOT_KIND_HOLE);
	CHECK(zr_slot_bytes(ZR_SLOT_HOLE) == 0);
	CHECK(zr_slot_is_sound(ZR_SLOT_HOLE));
}

static void test_garbage_is_not_sound(void)
{
	const zr_slot object = zr_slot_object(7, 100, 0);
	const zr_slot fill = zr_slot_same_object(7);
	zr_slot form;

	CHECK(!zr_slot_is_sound(1u << 2));           /* a hole with a mark */
	CHECK(!zr_slot_is_sound(UINT64_C(7) << 20)); /* a hole with a position */
	CHECK(zr_slot_is_sound(zr_slot_written_back(1, 1, 0)));
	CHECK(!zr_slot_is_sound(ZR_SLOT_KIND_WRITTEN_BACK)); /* to nowhere */
	CHECK(!zr_slot_is_sound(zr_slot_written_back(1, 1, 0) | ZR_SLOT_IDLE));
	CHECK(!zr_slot_is_sound(zr_slot_written_back(1, 1, 0) | ZR_SLOT_PENDING));
	CHECK(zr_slot_is_sound(object | ZR_SLOT_UNUSED) && ZR_SLOT_UNUSED == UINT64_C(1) << 62);
	CHECK(zr_slot_position(object | ZR_SLOT_UNUSED) == 7);
	CHECK(!zr_slot_is_sound(zr_slot_written_back(1, 1, 0) | ZR_SLOT_UNUSED));
	CHECK(!zr_slot_is_sound(object | UINT64_C(1) << 63));
	CHECK(!zr_slot_is_sound(zr_slot_object(1, 100, 0) & ~(UINT64_C(1) << 20)));
	CHECK(!zr_slot_is_sound(fill & UINT64_C(0xff)));    /* no position */
	CHECK(!zr_slot_is_sound(fill | UINT64_C(1) << 63)); /* a position past the largest */
	for (form = 3; form < 8; ++form)
		CHECK(!zr_slot_is_sound(ZR_SLOT_KIND_SAME | form << 5 | 7u << 8));

	/* The three marks may stand on objects of pages, and on nothing else. */
	CHECK(zr_slot_is_sound(object | 7u << 2));
	CHECK(!zr_slot_is_sound(fill | 1u << 2) && !zr_slot_is_sound(fill | 1u << 3));
}

int main(void)
{
	RUN(test_words_at_edges);
	RUN(test_words_that_repeat);
	RUN(test_words_of_every_length);
	RUN(test_objects_come_back);
	RUN(test_fill_objects_come_back);
	RUN(test_moved_slots_say_the_same);
	RUN(test_pending_is_a_mark_only);
	RUN(test_idle_is_a_mark_only);
	RUN(test_hole_is_zero_and_empty);
	RUN(test_garbage_is_not_sound);
	return 0;
}

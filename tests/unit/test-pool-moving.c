/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Passes, with the test as the one that knows where all objects are: it moves what lies in what is
 * being emptied. How much memory a class may have afterwards follows from what is live in it.
 */

#include "pool-rig.h"
#include "page-slack.h"

#define N_OBJECTS 30000u

static struct object objects[N_OBJECTS];
static unsigned int n_objects;

static void add(uint32_t n_bytes, uint8_t value)
{
	CHECK(n_objects < N_OBJECTS);
	CHECK(object_alloc(&objects[n_objects], n_bytes, value) == 0);
	CHECK(!zr_pool_is_vacated(&pool, objects[n_objects].position));
	++n_objects;
}

/* Free about @n_of of @n_in, anywhere. */
static void thin_out(struct rng *rng, uint64_t n_of, uint64_t n_in)
{
	unsigned int i, n_kept = 0;

	for (i = 0; i < n_objects; ++i) {
		if (rng_below(rng, n_in) < n_of)
			object_free(&objects[i]);
		else
			objects[n_kept++] = objects[i];
	}
	n_objects = n_kept;
}

static bool is_to_move(const struct object *object)
{
	return zr_pool_is_vacated(&pool, object->position);
}

/* Return: false if there is no other cell for it. */
static bool object_move(struct object *object)
{
	zr_position position;
	int r;

	r = zr_pool_alloc_again(&pool, object->position, object->n_bytes, &position);
	CHECK(r == 0 || r == -ENOSPC);
	if (r < 0)
		return false;
	CHECK(!zr_pool_is_vacated(&pool, position));
	memcpy(zr_pool_at(&pool, position), zr_pool_at(&pool, object->position), object->n_bytes);
	zr_pool_free(&pool, object->position, object->n_bytes);
	object->position = position;
	return true;
}

/* Return: how many were moved. */
static uint64_t move_all(void)
{
	uint64_t n_moved = 0;
	unsigned int i;

	for (i = 0; i < n_objects; ++i) {
		if (!is_to_move(&objects[i]))
			continue;
		n_moved += object_move(&objects[i]);
	}
	return n_moved;
}

static uint64_t check_objects(void)
{
	unsigned int i;

	for (i = 0; i < n_objects; ++i)
		object_check(&objects[i]);
	return live_bytes();
}

/* What a class may have: its cells, what it keeps ahead, and what is less than a page; for each
 * span that ends early, the rest of a page, and for each other one, of a cell. */
static uint64_t class_most(const struct zr_class *class)
{
	uint64_t n_bytes = class->n_live * class->cell_bytes + atomic_load(&class->xahead_bytes) +
			   zr_system_page_bytes();
	uint32_t span_no;

	n_bytes += class->n_spans * (ZR_SPAN_BYTES % class->cell_bytes);
	for (span_no = class->gaps; span_no != ZR_SPAN_NONE;
	     span_no = pool.spans[span_no]->gap_next)
		n_bytes += zr_system_page_bytes();
	if (class == &pool.classes[ZR_POOL_PAGE_CLASS])
		n_bytes += pool_page_slack(&pool);
	return n_bytes;
}

static void check_packed(void)
{
	uint64_t bytes[ZR_POOL_CLASSES] = { 0 };
	unsigned int i;

	for (i = 0; i < atomic_load(&pool.superblock->n_spans); ++i) {
		if (pool.spans[i])
			bytes[pool.spans[i]->class_no] += pool.spans[i]->populated_bytes;
	}
	for (i = 0; i < ZR_POOL_CLASSES; ++i) {
		if (bytes[i] > class_most(&pool.classes[i]))
			fprintf(stderr, "# cells of %u: %" PRIu64 " live, %" PRIu64 " bytes\n",
				pool.classes[i].cell_bytes, pool.classes[i].n_live, bytes[i]);
		CHECK(bytes[i] <= class_most(&pool.classes[i]));
	}
}

static void end_all(void)
{
	objects_free(objects, n_objects);
	n_objects = 0;
	tear_down();
}

/* Trim, and a pass. Return: how many objects it moved. */
static uint64_t pass(void)
{
	const uint64_t before = zr_pool_usage(&pool).span_bytes;
	uint64_t n_bytes, n_moving;

	n_bytes = zr_pool_trim(&pool, 0);
	n_moving = zr_pool_vacate_begin(&pool);
	CHECK(move_all() == n_moving);
	check_objects();
	n_bytes += vacate_end();
	CHECK(zr_pool_usage(&pool).span_bytes == before - n_bytes);
	check_objects();
	return n_moving;
}

/* Many classes, some with a few spans and some with part of one. */
static void fill(struct rng *rng)
{
	static const uint32_t many[] = { 16, 1000, 1360, 2900, 3840, 4096 };
	unsigned int i;

	for (i = 0; n_objects < 20000; ++i)
		add(many[rng_below(rng, ZR_ARRAY_SIZE(many))], (uint8_t)(i * 3 + 1));
	for (; n_objects < N_OBJECTS; ++i)
		add(1 + (uint32_t)rng_below(rng, ZR_PAGE_SIZE), (uint8_t)(i * 3 + 1));
}

static void test_a_pass_gives_memory_back(void)
{
	struct rng rng = rng_init("test-pool-moving");
	unsigned int part;

	for (part = 1; part < 10; part += 4) {
		set_up(RIG_ARENA_BYTES);
		fill(&rng);
		thin_out(&rng, part, 10);
		CHECK(pass() > 0);
		check_packed();
		CHECK(pass() == 0); /* there is nothing more to gain */
		check_packed();
		end_all();
	}
}

/*
 * Full spans and the beginning of one more, of which so much is freed that one span goes, the one
 * that ends early among them, and another one in part: all in one pass.
 */
static void test_one_pass_is_enough(void)
{
	struct rng rng = rng_init("test-pool-moving");
	unsigned int i, part;

	for (part = 20; part < 80; part += 5) {
		set_up(RIG_ARENA_BYTES);
		for (i = 0; i < 3 * 1024 + 100; ++i) {
			add(1024, (uint8_t)i);
			atomic_store(&class_of(&objects[i])->xahead_bytes, ZR_POOL_AHEAD_MIN);
		}
		thin_out(&rng, part, 100);
		pass();
		check_packed();
		end_all();
	}
}

static void test_a_pass_keeps_what_is_ahead(void)
{
	struct rng rng = rng_init("test-pool-moving");
	struct zr_class *class;
	unsigned int i;

	set_up(RIG_ARENA_BYTES);
	for (i = 0; i < 1024; ++i)
		add(1024, (uint8_t)i);
	thin_out(&rng, 3, 4);
	class = class_of(&objects[0]);
	atomic_store(&class->xahead_bytes, 65536);
	zr_pool_trim(&pool, INT64_MAX);
	zr_pool_vacate_begin(&pool);
	move_all();
	vacate_end();
	CHECK(zr_pool_usage(&pool).reserve_bytes == 65536);
	CHECK(zr_pool_usage(&pool).wasted_bytes <= zr_system_page_bytes());
	check_packed();
	check_objects();
	end_all();
}

static void test_nothing_to_gain(void)
{
	unsigned int i;

	set_up(RIG_ARENA_BYTES);
	CHECK(zr_pool_vacate_begin(&pool) == 0);
	CHECK(vacate_end() == 0);

	for (i = 0; i < 2500; ++i)
		add(1024, (uint8_t)i);
	pass(); /* the last span may be populated whole */
	CHECK(zr_pool_vacate_begin(&pool) == 0);
	CHECK(vacate_end() == 0);

	/* Less than a page is free beyond what is kept. */
	object_free(&objects[--n_objects]);
	object_free(&objects[--n_objects]);
	CHECK(zr_pool_vacate_begin(&pool) == 0);
	CHECK(vacate_end() == 0);
	check_objects();
	end_all();
}

/* Whole pages are not moved. */
static void test_whole_pages_stay(void)
{
	struct rng rng = rng_init("test-pool-moving");
	unsigned int i;

	set_up(RIG_ARENA_BYTES);
	for (i = 0; i < 1000; ++i)
		add(ZR_PAGE_SIZE, (uint8_t)i);
	thin_out(&rng, 1, 2);
	CHECK(zr_pool_vacate_begin(&pool) == 0);
	for (i = 0; i < n_objects; ++i)
		CHECK(!is_to_move(&objects[i]));
	CHECK(vacate_end() == 0);
	end_all();
}

/* Nobody moved anything: what was shut is to be had again, every cell of it. */
static void test_victims_are_released(void)
{
	struct rng rng = rng_init("test-pool-moving");
	struct zr_class *class;
	uint64_t n_avail;
	unsigned int i;

	set_up(RIG_ARENA_BYTES);
	for (i = 0; i < 6000; ++i)
		add(1024, (uint8_t)i);
	thin_out(&rng, 1, 2);
	zr_pool_trim(&pool, 0);
	class = class_of(&objects[0]);
	n_avail = atomic_load(&class->xn_avail);
	CHECK(zr_pool_vacate_begin(&pool) > 0);
	CHECK(atomic_load(&class->xn_avail) < n_avail);
	check_objects();
	vacate_end();
	/* but for the end of one span, where nothing was */
	CHECK(atomic_load(&class->xn_avail) > n_avail - 1024);
	for (i = 0; i < n_objects; ++i)
		CHECK(!is_to_move(&objects[i]));
	check_objects();

	n_avail = atomic_load(&class->xn_avail);
	faults_n_own = 0;
	while (n_avail-- > 0)
		add(1024, 1);
	CHECK(faults_n_own == 0);
	end_all();
}

/* Of what is begun only a part is moved: the rest stays where it is. */
static void test_half_a_pass(void)
{
	struct rng rng = rng_init("test-pool-moving");
	unsigned int i;

	set_up(RIG_ARENA_BYTES);
	fill(&rng);
	thin_out(&rng, 1, 2);
	CHECK(zr_pool_vacate_begin(&pool) > 0);
	for (i = 0; i < n_objects / 2; ++i) {
		if (is_to_move(&objects[i]))
			CHECK(object_move(&objects[i]));
	}
	vacate_end();
	check_objects();
	pass();
	check_packed();
	end_all();
}

/* In the middle of a pass objects come and go, in what is being emptied and elsewhere. Nothing is
 * put into the former. There may not be a cell for everything then. */
static void test_others_go_on_meanwhile(void)
{
	struct rng rng = rng_init("test-pool-moving");
	unsigned int i, at, round;

	set_up(RIG_ARENA_BYTES);
	for (round = 0; round < 10; ++round) {
		while (n_objects < 20000)
			add(1 + (uint32_t)rng_below(&rng, 2000), (uint8_t)rng_next(&rng));
		thin_out(&rng, 1, 2);
		zr_pool_trim(&pool, 0);
		CHECK(zr_pool_vacate_begin(&pool) > 0);
		for (i = 0; i < 5000; ++i) {
			at = (unsigned int)rng_below(&rng, n_objects);
			if (i % 3 == 0) {
				object_free(&objects[at]);
				objects[at] = objects[--n_objects];
			} else if (is_to_move(&objects[at])) {
				(void)object_move(&objects[at]);
			} else if (i % 3 == 1 && n_objects < N_OBJECTS) {
				CHECK(object_alloc(&objects[n_objects], objects[at].n_bytes,
						   (uint8_t)i) == 0);
				CHECK(!is_to_move(&objects[n_objects]));
				++n_objects;
			}
		}
		check_objects();
		if (round % 2 == 0)
			move_all();
		vacate_end();
		check_objects();
	}
	pass();
	check_packed();
	end_all();
}

/* A class that must grow in the middle takes its cells back instead; others go on. */
static void test_growing_cancels(void)
{
	struct rng rng = rng_init("test-pool-moving");
	struct zr_class *class;
	unsigned int i, n_other = 0;

	set_up(RIG_ARENA_BYTES);
	for (i = 0; i < 10000; ++i)
		add(i % 2 ? 1024 : 512, (uint8_t)i);
	thin_out(&rng, 1, 2);
	zr_pool_trim(&pool, 0);
	CHECK(zr_pool_vacate_begin(&pool) > 0);
	class = &pool.classes[zr_pool_class_of(1024)];
	CHECK(class->n_victims > 0);

	faults_n_own = 0;
	for (i = atomic_load(&class->xn_avail); i > 0; --i)
		add(1024, 1);
	CHECK(object_alloc(&objects[n_objects++], 1024, 2) == 0);
	CHECK(atomic_load(&class->xn_avail) > 1000);
	CHECK(faults_n_own == 0); /* no memory was needed */
	for (i = 0; i < n_objects; ++i) {
		CHECK(objects[i].n_bytes == 512 || !is_to_move(&objects[i]));
		n_other += is_to_move(&objects[i]);
	}
	CHECK(n_other > 0);
	check_objects();
	move_all();
	vacate_end();
	check_objects();
	pass();
	check_packed();
	end_all();
}

/* The same where the class has not one cell left elsewhere, and what is being emptied is full by
 * then: it grows by memory. */
static void test_growing_past_what_was_cancelled(void)
{
	struct rng rng = rng_init("test-pool-moving");
	struct zr_class *class;

	set_up(RIG_ARENA_BYTES);
	while (n_objects < 5000)
		add(1024, (uint8_t)n_objects);
	thin_out(&rng, 1, 2);
	CHECK(zr_pool_vacate_begin(&pool) > 0);
	class = class_of(&objects[0]);
	while (n_objects < 12000) {
		CHECK(object_alloc(&objects[n_objects], 1024, (uint8_t)n_objects) == 0);
		++n_objects;
	}
	check_objects();
	CHECK(zr_pool_trim(&pool, INT64_MAX) == 0); /* not in the middle of a pass */
	vacate_end();
	CHECK(class->n_victims == 0);
	check_objects();
	end_all();
}

/* In a tended pool whoever is short of cells in the middle of a pass is not made to wait for memory
 * when there is some in what is being emptied. */
static void test_tended_pool_cancels_when_refilled(void)
{
	struct rng rng = rng_init("test-pool-moving");
	zr_position position;
	int r;

	set_up(RIG_ARENA_BYTES);
	while (n_objects < 5000)
		add(1024, (uint8_t)n_objects);
	thin_out(&rng, 1, 2);
	zr_pool_trim(&pool, 0);
	zr_pool_tend(&pool, true);
	CHECK(zr_pool_vacate_begin(&pool) > 0);
	while ((r = object_alloc(&objects[n_objects], 1024, 3)) == 0)
		++n_objects;
	CHECK(r == -EAGAIN);
	faults_n_own = 0;
	CHECK(zr_pool_refill(&pool) == 0);
	CHECK(faults_n_own == 0);
	CHECK(zr_pool_alloc(&pool, 1024, &position) == 0);
	zr_pool_free(&pool, position, 1024);
	vacate_end();
	zr_pool_tend(&pool, false);
	check_objects();
	end_all();
}

/* Objects in larger cells than they need go to one of their own class if they are moved. */
static void test_moving_gives_back_what_was_borrowed(void)
{
	struct object own[4];
	unsigned int i;

	set_up(RIG_ARENA_BYTES);
	while (n_objects < 2048)
		add(1024, (uint8_t)n_objects);
	zr_pool_trim(&pool, 0);
	/* Two full spans; of one most is freed, and three are put there that are smaller. */
	for (i = 0; i < 1000; ++i)
		object_free(&objects[i]);
	memmove(objects, objects + 1000, 1048 * sizeof(*objects));
	n_objects = 1048;
	faults_all = true;
	for (i = 0; i < 3; ++i)
		add(1000, (uint8_t)i);
	faults_all = false;
	CHECK(zr_pool_usage(&pool).borrowed_bytes == 3 * 16);
	CHECK(span_of(&objects[n_objects - 1]) == span_of(&objects[0]));

	for (i = 0; i < 4; ++i)
		CHECK(object_alloc(&own[i], 1000, (uint8_t)i) == 0);
	objects_free(own + 1, 3); /* so that there are cells of theirs */
	for (i = 0; i < 500; ++i)
		object_free(&objects[24 + i]);
	memmove(objects + 24, objects + 524, (n_objects - 524) * sizeof(*objects));
	n_objects -= 500;
	zr_pool_trim(&pool, 0);
	CHECK(zr_pool_vacate_begin(&pool) > 0);
	CHECK(is_to_move(&objects[n_objects - 1]));
	move_all();
	vacate_end();
	CHECK(zr_pool_usage(&pool).borrowed_bytes == 0);
	zr_pool_trim(&pool, 0);
	check_packed();
	check_objects();
	object_free(&own[0]);
	end_all();
}

int main(void)
{
	RUN(test_a_pass_gives_memory_back);
	RUN(test_one_pass_is_enough);
	RUN(test_a_pass_keeps_what_is_ahead);
	RUN(test_nothing_to_gain);
	RUN(test_whole_pages_stay);
	RUN(test_victims_are_released);
	RUN(test_half_a_pass);
	RUN(test_others_go_on_meanwhile);
	RUN(test_growing_cancels);
	RUN(test_growing_past_what_was_cancelled);
	RUN(test_tended_pool_cancels_when_refilled);
	RUN(test_moving_gives_back_what_was_borrowed);
	return 0;
}

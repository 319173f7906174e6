/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A worker that died is a pool dropped while its arena stays. What cannot be is said to the next
 * pool, or written into the arena; what is refused must leave all memory as it was.
 */

#include "pool-rig.h"

#include <sys/wait.h>

#define ARENA_SMALL (UINT64_C(64) << 20)
#define N_OBJECTS   4000u

static struct object objects[N_OBJECTS];

static void pool_drop(void)
{
	zr_pool_deinit(&pool);
	pool_open();
}

static int mark_all(const struct object *marked, unsigned int n_marked)
{
	unsigned int i;
	int r;

	for (i = 0; i < n_marked; ++i) {
		r = zr_pool_derive_mark(&pool, marked[i].position, marked[i].n_bytes);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Return: bytes of the cells of what was marked. */
static uint64_t derive(const struct object *marked, unsigned int n_marked)
{
	uint64_t n_bytes = 0;
	unsigned int i;

	CHECK(zr_pool_derive_begin(&pool) == 0);
	CHECK(mark_all(marked, n_marked) == 0);
	zr_pool_derive_end(&pool);
	for (i = 0; i < n_marked; ++i)
		n_bytes += zr_pool_cell_bytes(marked[i].n_bytes);
	return n_bytes;
}

static void fill(struct rng *rng)
{
	unsigned int i;

	for (i = 0; i < N_OBJECTS; ++i)
		CHECK(object_alloc(&objects[i], 1 + (uint32_t)rng_below(rng, ZR_PAGE_SIZE),
				   (uint8_t)rng_next(rng)) == 0);
	objects_shuffle(rng, objects, N_OBJECTS);
}

static uint64_t n_cells_bytes(const struct zr_class *class)
{
	return class->n_live * class->cell_bytes;
}

/* What is live is what was marked, class by class; what is available is what has memory. */
static void check_counts(unsigned int n_kept)
{
	uint64_t n_live[ZR_POOL_CLASSES] = { 0 };
	unsigned int i;

	for (i = 0; i < n_kept; ++i) {
		object_check(&objects[i]);
		CHECK(zr_span_bit(span_of(&objects[i])->live,
				  (uint32_t)(objects[i].position * ZR_CELL_UNIT % ZR_SPAN_BYTES /
					     class_of(&objects[i])->cell_bytes)));
		++n_live[span_of(&objects[i])->class_no];
	}
	for (i = 0; i < ZR_POOL_CLASSES; ++i)
		CHECK(pool.classes[i].n_live == n_live[i]);
	CHECK(zr_pool_usage(&pool).reserve_bytes == 0); /* nobody knows how fast it grows */
}

/* Part of what was there is known to the next pool; the rest is memory that goes back, or is there
 * to be given. */
static void check_derive(struct rng *rng, unsigned int n_kept)
{
	uint64_t n_avail_bytes = 0;
	unsigned int i;

	set_up(RIG_ARENA_BYTES);
	fill(rng);
	pool_drop();
	CHECK(derive(objects, n_kept) == live_bytes());
	check_counts(n_kept);

	/* All that is available can be had, without more memory. */
	for (i = 0; i < ZR_POOL_PAGE_CLASS; ++i) /* whole pages go without being moved */
		n_avail_bytes += atomic_load(&pool.classes[i].xn_avail) *
				 pool.classes[i].cell_bytes;
	CHECK(zr_pool_usage(&pool).wasted_bytes == n_avail_bytes);
	for (i = n_kept; i < N_OBJECTS; ++i)
		CHECK(object_alloc(&objects[i], 1 + (uint32_t)rng_below(rng, ZR_PAGE_SIZE),
				   (uint8_t)rng_next(rng)) == 0);
	live_bytes();
	objects_free(objects, N_OBJECTS);
	tear_down();
}

static void test_derivation_keeps_what_is_marked(void)
{
	static const unsigned int kept[] = { 0, 1, 50, 2000, 3999, 4000 };
	struct rng rng = rng_init("test-pool-derive");
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(kept); ++i)
		check_derive(&rng, kept[i]);
}

/* In the middle of a pass, and after one: what was being emptied is known by nobody then. */
static void test_derivation_forgets_a_pass(void)
{
	struct rng rng = rng_init("test-pool-derive");
	unsigned int i, n_kept = N_OBJECTS / 2;

	set_up(RIG_ARENA_BYTES);
	for (i = 0; i < N_OBJECTS; ++i)
		CHECK(object_alloc(&objects[i], 1024, (uint8_t)i) == 0);
	objects_shuffle(&rng, objects, N_OBJECTS);
	objects_free(objects + n_kept, N_OBJECTS - n_kept);
	zr_pool_trim(&pool, 0);
	CHECK(zr_pool_vacate_begin(&pool) > 0);
	pool_drop();
	CHECK(derive(objects, n_kept) == live_bytes());
	check_counts(n_kept);
	for (i = 0; i < n_kept; ++i)
		CHECK(!zr_pool_is_vacated(&pool, objects[i].position));
	objects_free(objects, n_kept);
	tear_down();
}

static void test_derivation_of_nothing(void)
{
	set_up(ARENA_SMALL);
	CHECK(derive(NULL, 0) == 0);
	CHECK(live_bytes() == 0);
	tear_down();
}

/* Objects in cells of larger classes lie there still. */
static void test_derivation_knows_what_was_borrowed(void)
{
	struct object page, small;

	set_up(ARENA_SMALL);
	CHECK(object_alloc(&page, ZR_PAGE_SIZE, 7) == 0);
	faults_all = true;
	CHECK(object_alloc(&small, 10, 8) == 0);
	faults_all = false;
	object_free(&page);
	pool_drop();
	CHECK(derive(&small, 1) == ZR_CELL_UNIT);
	CHECK(zr_pool_usage(&pool).borrowed_bytes == ZR_PAGE_SIZE - ZR_CELL_UNIT);
	CHECK(live_bytes() == ZR_CELL_UNIT);
	object_free(&small);
	CHECK(zr_pool_usage(&pool).borrowed_bytes == 0);
	tear_down();
}

/* Kernels before 5.14: an object is where its bytes are, even if its cell goes on past them. */
static void test_derivation_where_memory_was_written(void)
{
	struct object large, small;

	set_up(ARENA_SMALL);
	faults_errno = EINVAL;
	faults_all = true;
	CHECK(object_alloc(&large, 3000, 7) == 0);
	faults_errno = ENOMEM;
	if (ZR_PARANOID) { /* which touches all of a cell */
		object_free(&large);
		faults_all = false;
		tear_down();
		return;
	}
	CHECK(object_alloc(&small, 500, 8) == 0); /* borrowed: 3008..6016, of which 500 */
	CHECK(class_of(&small) == class_of(&large));
	faults_all = false;
	pool_drop();
	CHECK(zr_pool_derive_begin(&pool) == 0);
	CHECK(mark_all(&large, 1) == 0 && mark_all(&small, 1) == 0);
	zr_pool_derive_end(&pool);
	object_free(&large);
	object_free(&small);
	tear_down();
}

/* what cannot be */

static int mark(uint64_t offset, uint32_t n_bytes)
{
	return zr_pool_derive_mark(&pool, offset / ZR_CELL_UNIT, n_bytes);
}

static void test_marks_that_cannot_be(void)
{
	const uint64_t spans = zr_spans_offset(ARENA_SMALL);
	struct object object, gone;

	set_up(ARENA_SMALL);
	CHECK(object_alloc(&object, 1000, 1) == 0);
	CHECK(object_alloc(&gone, 500, 1) == 0);
	CHECK(object.position * ZR_CELL_UNIT == spans);
	object_free(&gone); /* and its span: which is free then */
	zr_pool_trim(&pool, 0);
	CHECK(pool.table[0] != 0 && pool.table[1] == 0);
	pool_drop();
	CHECK(zr_pool_derive_begin(&pool) == 0);

	CHECK(mark(0, 100) == -EINVAL);
	CHECK(mark(ZR_CELL_UNIT, 100) == -EINVAL);
	CHECK(mark(ZR_SPAN_TABLE, 16) == -EINVAL);
	CHECK(mark(spans - ZR_CELL_UNIT, 16) == -EINVAL);
	CHECK(mark(spans + ZR_CELL_UNIT, 1000) == -EINVAL); /* between cells */
	CHECK(mark(spans + 1007 / 16 * 16, 1000) == -EINVAL);
	CHECK(mark(spans + ZR_SPAN_BYTES / 1008 * 1008, 1000) == -EINVAL); /* what is left over */
	CHECK(mark(spans + ZR_SPAN_BYTES - ZR_CELL_UNIT, 16) == -EINVAL);
	CHECK(mark(spans + ZR_SPAN_BYTES, 500) == -EINVAL);     /* a span that is free */
	CHECK(mark(spans + 2 * ZR_SPAN_BYTES, 500) == -EINVAL); /* that never was */
	CHECK(mark(ARENA_SMALL, 4096) == -EINVAL);              /* past the end */
	CHECK(mark(ARENA_SMALL + ZR_SPAN_BYTES, 16) == -EINVAL);
	CHECK(zr_pool_derive_mark(&pool, ZR_POSITION_MAX, 16) == -EINVAL);
	CHECK(zr_pool_derive_mark(&pool, UINT64_MAX, 16) == -EINVAL);
	/* times 16 this is the object's offset, in 64 bits */
	CHECK(zr_pool_derive_mark(&pool, object.position | UINT64_C(1) << 60, 1000) == -EINVAL);

	CHECK(mark(spans, 1009) == -EINVAL); /* larger than the cell */
	CHECK(mark(spans, 4096) == -EINVAL);
	CHECK(mark(spans, 1000) == 0);
	CHECK(mark(spans, 1000) == -EINVAL); /* twice */
	CHECK(mark(spans, 995) == -EINVAL);
	CHECK(mark(spans, 16) == -EINVAL);
	zr_pool_derive_end(&pool);
	CHECK(live_bytes() == 1008);
	object_free(&object);
	tear_down();
}

/* A few objects of three classes, and the pool dropped. */
static void three_spans(void)
{
	static const uint32_t sizes[] = { 1000, 16, ZR_PAGE_SIZE };
	unsigned int i;

	set_up(ARENA_SMALL);
	for (i = 0; i < 30; ++i)
		CHECK(object_alloc(&objects[i], sizes[i % 3], (uint8_t)i) == 0);
	pool_drop();
}

/* It can be derived as it should be all the same. */
static void three_spans_end(void)
{
	pool_drop();
	CHECK(derive(objects, 30) == live_bytes());
	check_counts(30);
	objects_free(objects, 30);
	tear_down();
}

static void test_garbage_in_the_table(void)
{
	static const uint8_t garbage[] = { ZR_POOL_CLASSES + 1, 250, 255 };
	const uint64_t most = (ARENA_SMALL - zr_spans_offset(ARENA_SMALL)) / ZR_SPAN_BYTES;
	uint64_t memory, n_spans;
	unsigned int i, span_no;
	uint8_t good;

	three_spans();
	memory = zr_arena_memory(&arena);
	for (span_no = 0; span_no < 3; ++span_no) {
		for (i = 0; i < ZR_ARRAY_SIZE(garbage); ++i) {
			good = atomic_exchange(&pool.table[span_no], garbage[i]);
			CHECK(zr_pool_derive_begin(&pool) == -EINVAL);
			atomic_store(&pool.table[span_no], good);
			CHECK(zr_arena_memory(&arena) == memory);
			pool_drop();
		}
	}

	n_spans = atomic_exchange(&pool.superblock->n_spans, most + 1);
	CHECK(zr_pool_derive_begin(&pool) == -EINVAL);
	atomic_store(&pool.superblock->n_spans, UINT64_MAX);
	CHECK(zr_pool_derive_begin(&pool) == -EINVAL);
	atomic_store(&pool.superblock->n_spans, n_spans);
	CHECK(zr_arena_memory(&arena) == memory);
	three_spans_end();
}

/* Classes that are, but are not what the objects say. */
static void test_a_table_that_does_not_agree(void)
{
	uint64_t memory;
	unsigned int i;
	uint8_t good;

	three_spans();
	memory = zr_arena_memory(&arena);
	for (i = 0; i < ZR_POOL_CLASSES + 1; ++i) {
		good = atomic_exchange(&pool.table[0], (uint8_t)i);
		if (i != good) {
			CHECK(zr_pool_derive_begin(&pool) == 0);
			CHECK(mark_all(objects, 30) == -EINVAL);
			CHECK(zr_arena_memory(&arena) == memory);
		}
		atomic_store(&pool.table[0], good);
		pool_drop();
	}
	three_spans_end();
}

/* The memory of an object is absent: it would read as zeros. It is refused before anybody looks,
 * and nothing is punched. */
static void check_object_without_memory(const struct object *object, uint64_t offset)
{
	const uint32_t n_bytes = arena.grain_bytes;
	const uint64_t at = zr_align_down(object->position * ZR_CELL_UNIT + offset, n_bytes);
	static uint8_t page[ZR_SYSTEM_PAGE_MAX];
	uint64_t memory;

	memcpy(page, zr_arena_at(&arena, at), n_bytes);
	zr_arena_punch(&arena, at, n_bytes);
	memory = zr_arena_memory(&arena);
	CHECK(zr_pool_derive_begin(&pool) == 0);
	CHECK(zr_pool_derive_mark(&pool, object->position, object->n_bytes) == -EINVAL);
	CHECK(mark_all(objects, 30) == -EINVAL);
	CHECK(zr_arena_memory(&arena) == memory);
	CHECK(zr_arena_populate(&arena, at, n_bytes) == 0);
	memcpy(zr_arena_at(&arena, at), page, n_bytes);
	pool_drop();
}

static void test_an_object_without_memory(void)
{
	three_spans();
	check_object_without_memory(&objects[0], 0);
	check_object_without_memory(&objects[1], 0);
	check_object_without_memory(&objects[2], 0);
	check_object_without_memory(&objects[29], 0); /* a page in the middle of others */
	check_object_without_memory(&objects[12], 0); /* 4032..5040: in two pages, */
	check_object_without_memory(&objects[12], ZR_PAGE_SIZE);
	three_spans_end();
}

/* stray memory */

static void stray(uint64_t offset)
{
	CHECK(zr_arena_populate(&arena, offset, arena.grain_bytes) == 0);
}

/* Behind the end of a span, after a hole and right after the last page; in spans that are free, in
 * use by nobody, or never were; and where the table has not come to yet. */
static void test_stray_memory_goes_back(void)
{
	const uint64_t spans = zr_spans_offset(ARENA_SMALL);
	const uint32_t grain = zr_system_page_bytes();
	struct object object;

	three_spans();
	stray(spans + ZR_SPAN_BYTES / 2);
	stray(spans + ZR_SPAN_BYTES - grain);
	stray(spans + ZR_SPAN_BYTES + 2 * grain);
	stray(spans + 3 * ZR_SPAN_BYTES);
	stray(spans + 17 * ZR_SPAN_BYTES + 5 * grain);
	stray(ARENA_SMALL - grain);
	stray(ZR_SPAN_TABLE + grain);
	stray(spans - grain);
	three_spans_end(); /* which compares all memory with what is accounted for */

	/* A span with memory and no object, and one in the table without memory. */
	set_up(ARENA_SMALL);
	CHECK(object_alloc(&object, 777, 1) == 0);
	pool_drop();
	atomic_store(&pool.table[1], 5);
	atomic_store(&pool.superblock->n_spans, 2);
	CHECK(derive(NULL, 0) == 0);
	check_nothing_left();
	tear_down();
}

/* What is stray among whole pages is there to be given, and goes if nobody wants it. */
static void test_stray_pages_are_available(void)
{
	const uint32_t grain = zr_system_page_bytes();
	const uint32_t n_more = grain / ZR_PAGE_SIZE;
	struct object object;
	uint32_t n_avail;

	set_up(ARENA_SMALL);
	CHECK(object_alloc(&object, ZR_PAGE_SIZE, 1) == 0);
	n_avail = atomic_load(&class_of(&object)->xn_avail);
	stray(zr_spans_offset(ARENA_SMALL) + 13 * grain);
	pool_drop();
	CHECK(derive(&object, 1) == ZR_PAGE_SIZE);
	CHECK(live_bytes() == ZR_PAGE_SIZE);
	CHECK(n_cells_bytes(class_of(&object)) == ZR_PAGE_SIZE);
	CHECK(atomic_load(&class_of(&object)->xn_avail) == n_avail + n_more);
	/* But for those in one page of the system with the object. */
	CHECK(zr_pool_trim(&pool, INT64_MAX) ==
	      zr_align_down((n_avail + n_more) * ZR_PAGE_SIZE, grain));
	object_free(&object);
	tear_down();
}

/* Who dies with memory that is nobody's yet, before Linux 5.14, in cells of @n_bytes. */
static void die_of(uint32_t n_bytes)
{
	const pid_t child = fork();
	struct object more;
	int status;

	CHECK(child >= 0);
	if (child == 0) {
		faults_errno = EINVAL;
		faults_all = true;
		faults_fatal = true;
		while (object_alloc(&more, n_bytes, 7) == 0)
			;
		_exit(0); /* more than there can be */
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_memory_of_who_died_before_linux_5_14(void)
{
	static const uint32_t sizes[] = { ZR_PAGE_SIZE, 1000 };
	struct object object;
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(sizes); ++i) {
		set_up(ARENA_SMALL);
		CHECK(object_alloc(&object, sizes[i], 1) == 0);
		die_of(sizes[i]);
		pool_drop();
		CHECK(derive(&object, 1) > 0);
		CHECK(live_bytes() > 0); /* where all memory is somebody's */
		object_free(&object);
		tear_down();
	}
}

/* As many objects as a GiB of pages may have. */
static void test_many_objects(void)
{
	const unsigned int n_objects = 262144;
	struct rng rng = rng_init("test-pool-derive");
	struct object *many = calloc(n_objects, sizeof(*many));
	struct timespec began, ended;
	unsigned int i;

	CHECK(many);
	set_up(RIG_ARENA_BYTES);
	for (i = 0; i < n_objects; ++i)
		CHECK(object_alloc(&many[i], 1 + (uint32_t)rng_below(&rng, 1000), (uint8_t)i) == 0);
	objects_shuffle(&rng, many, n_objects);
	pool_drop();

	clock_gettime(CLOCK_MONOTONIC, &began);
	CHECK(zr_pool_derive_begin(&pool) == 0);
	CHECK(mark_all(many, n_objects) == 0);
	zr_pool_derive_end(&pool);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("# derived %u objects in %.1f ms\n", n_objects,
	       (double)(ended.tv_sec - began.tv_sec) * 1e3 +
		       (double)(ended.tv_nsec - began.tv_nsec) / 1e6);
	live_bytes();
	objects_free(many, n_objects);
	tear_down();
	free(many);
}

int main(void)
{
	RUN(test_derivation_keeps_what_is_marked);
	RUN(test_derivation_forgets_a_pass);
	RUN(test_derivation_of_nothing);
	RUN(test_derivation_knows_what_was_borrowed);
	RUN(test_derivation_where_memory_was_written);
	RUN(test_marks_that_cannot_be);
	RUN(test_garbage_in_the_table);
	RUN(test_a_table_that_does_not_agree);
	RUN(test_an_object_without_memory);
	RUN(test_stray_memory_goes_back);
	RUN(test_stray_pages_are_available);
	RUN(test_memory_of_who_died_before_linux_5_14);
	RUN(test_many_objects);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The write that a background change would lose
 *
 * One page, whose objects all have one length, in a class with two free cells: so each write goes
 * to the cell that the write before last was in, and after two writes the slot's word is the same
 * again. One thread writes and reads back what it wrote. The other copies the page as a background
 * change does: it notes the slot, takes its time, and publishes what it read before if the slot is
 * still what it was. Without the pending bit "still" and "again" look alike, and the writer finds
 * its page gone back to an older one. With it that never happens, however often the words were
 * alike.
 */

#include "rig.h"

#include <pthread.h>
#include <sched.h>

#include "pages-parts.h"

#define OBJECT_BYTES 100u

/* How long what is to be shown may take to come; it takes milliseconds where there is a core. */
#define SECONDS_MOST 120

static struct rig rig;
static struct zr_disk *disk;
static _Atomic bool stop;
static _Atomic uint64_t n_written; /* pages published, whether read back or not */
static _Atomic uint64_t n_writes, n_lost, n_alike, n_published;
static bool trust_the_word; /* leave the pending bit out */
static zr_slot taken[ZR_SPAN_BYTES / OBJECT_BYTES];
static unsigned int n_taken;

/* An object of a length that never changes, which says which write it is. */
static int object_new(uint64_t write_no, zr_slot *slotp)
{
	uint8_t bytes[OBJECT_BYTES] = { 0 };
	zr_position position;
	int r;

	memcpy(bytes, &write_no, sizeof(write_no));
	r = zr_pages_object_new(&disk->pages, bytes, sizeof(bytes), &position);
	if (r == 0)
		*slotp = zr_slot_object(position, sizeof(bytes), 0);
	return r;
}

static zr_slot slot_now(void)
{
	ZR_GUARD_SHARED(zr_pages_stripe(&disk->pages, 0));
	return zr_pages_slot(zr_slots_find(&disk->pages.slots, 0));
}

/* What is there. */
static uint64_t page_read(void)
{
	uint64_t write_no;
	zr_slot slot;

	ZR_GUARD_SHARED(zr_pages_stripe(&disk->pages, 0));
	slot = zr_pages_slot(zr_slots_find(&disk->pages.slots, 0));
	memcpy(&write_no, zr_pool_at(&disk->engine->pool, zr_slot_position(slot)),
	       sizeof(write_no));
	return write_no;
}

static void publish(zr_slot fresh)
{
	zr_slot stale;

	{
		ZR_GUARD_EXCLUSIVE(zr_pages_stripe(&disk->pages, 0));
		CHECK(zr_pages_publish_locked(&disk->pages, 0, fresh, ZR_LIMIT_HOLDS, &stale) == 0);
	}
	zr_pages_retire_slot(&disk->pages, stale);
}

static void *write_for_ever(void *context)
{
	uint64_t write_no = 1;
	zr_slot fresh = ZR_SLOT_HOLE;

	while (!atomic_load(&stop)) {
		if (object_new(write_no, &fresh) < 0)
			continue; /* the change has both cells for a moment */
		publish(fresh);
		atomic_fetch_add(&n_written, 1);
		sched_yield();
		if (page_read() != write_no)
			atomic_fetch_add(&n_lost, 1);
		write_no = atomic_fetch_add(&n_writes, 1) + 2;
	}
	return NULL;
}

/* Publish if the word is the same, whatever happened in between. */
static int end_by_word(zr_slot slot, zr_slot fresh)
{
	zr_slot stale;

	{
		ZR_GUARD_EXCLUSIVE(zr_pages_stripe(&disk->pages, 0));
		stale = zr_pages_slot(zr_slots_find(&disk->pages.slots, 0));
		if ((stale | ZR_SLOT_PENDING) != slot)
			return ZR_PAGE_E_AS_IT_WAS;
		CHECK(zr_pages_publish_locked(&disk->pages, 0, fresh, ZR_LIMIT_HOLDS, &stale) == 0);
	}
	zr_pages_retire_slot(&disk->pages, stale);
	return 0;
}

/* One change: note, read, take time, publish what was read. @n_more: so many writes come in
 * between, at least. */
static void change(uint64_t n_more)
{
	uint64_t write_no, until;
	zr_slot slot, fresh = ZR_SLOT_HOLE;
	int r;

	CHECK(zr_page_change_begin(&disk->pages, 0, &slot) == 0);
	write_no = page_read();
	if (slot_now() != slot)
		return;
	until = atomic_load(&n_written) + n_more;
	while (atomic_load(&n_written) < until)
		sched_yield();
	if (object_new(write_no, &fresh) < 0)
		return;

	r = trust_the_word ? end_by_word(slot, fresh)
			   : zr_page_change_end(&disk->pages, 0, slot, fresh);
	if (r == 0) {
		atomic_fetch_add(&n_published, 1);
		return;
	}
	/* Would the word alone have let it through? */
	if ((slot_now() | ZR_SLOT_PENDING) == slot)
		atomic_fetch_add(&n_alike, 1);
	zr_pages_retire_slot(&disk->pages, fresh);
}

/* Leave the class two cells to give: the page has a third. */
static void set_up(void)
{
	struct zr_class *class;
	zr_slot slot = ZR_SLOT_HOLE;

	rig_init(&rig);
	disk = rig_add(&rig, "one", ZR_PAGE_SIZE);
	class = &disk->engine->pool.classes[zr_pool_class_of(OBJECT_BYTES)];
	CHECK(object_new(0, &slot) == 0);
	publish(slot);

	/* Tended by nobody: it neither grows nor borrows beyond what it has. */
	zr_pool_tend(&disk->engine->pool, true);
	while (atomic_load(&class->xn_avail) > 2)
		CHECK(object_new(0, &taken[n_taken++]) == 0);
}

static void tear_down(void)
{
	while (n_taken > 0)
		zr_pages_retire_slot(&disk->pages, taken[--n_taken]);
	zr_pool_tend(&disk->engine->pool, false);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

static bool is_shown(void)
{
	return trust_the_word ? atomic_load(&n_lost) > 0
			      : atomic_load(&n_published) > 0 && atomic_load(&n_alike) > 0;
}

/* For that long, and until it has shown what it can show. */
static void run(bool by_word, unsigned int seconds)
{
	const time_t began = time(NULL);
	unsigned int i = 0;
	pthread_t writer;

	trust_the_word = by_word;
	atomic_store(&stop, false);
	n_writes = n_lost = n_alike = n_published = 0;
	CHECK(pthread_create(&writer, NULL, write_for_ever, NULL) == 0);
	while (time(NULL) < began + (time_t)seconds ||
	       (time(NULL) < began + SECONDS_MOST && !is_shown()))
		change(i++ % 4);
	atomic_store(&stop, true);
	CHECK(pthread_join(writer, NULL) == 0);
	printf("# %s the bit: %" PRIu64 " writes, %" PRIu64 " changes published, %" PRIu64
	       " refused though the word was the same, %" PRIu64 " writes lost\n",
	       by_word ? "without" : "with", n_writes, n_published, n_alike, n_lost);
}

static void test_without_the_bit_a_write_is_lost(void)
{
	run(true, 0);
	CHECK(n_lost > 0);
}

static void test_with_the_bit_none_is(void)
{
	run(false, (unsigned int)test_number("ZR_TEST_SECONDS", 5));
	CHECK(n_lost == 0);
	CHECK(n_published > 0 && n_alike > 0);
}

int main(void)
{
	set_up();
	RUN(test_without_the_bit_a_write_is_lost);
	RUN(test_with_the_bit_none_is);
	tear_down();
	return 0;
}

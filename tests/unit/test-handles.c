/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Handles: numbers that are never used again, what a death leaves of them, and who is in use.
 */

#include "daemon-rig.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "faults.h"
#include "node.h"

#define N_PLACES ((uint64_t)HANDLES_CHUNK * HANDLES_CHUNKS)

static struct daemon_rig d;
static struct zr_disk *disk;

static void set_up(void)
{
	daemon_init(&d);
	disk = rig_add(&d.rig, "disk0", MIB(1));
}

static void tear_down(void)
{
	zr_disk_unpin(d.rig.store, disk);
	daemon_deinit(&d);
}

/* A death; the pin of the disk dies with it. */
static void die(void)
{
	zr_disk_unpin(d.rig.store, disk);
	daemon_again(&d);
	disk = zr_store_find(d.rig.store, "disk0");
}

/* With a pin of its own. */
static int open_disk(struct zr_disk *of, enum handles_claimed how, uint64_t unique, uint64_t *fhp)
{
	struct zr_disk *pinned = zr_store_get(d.rig.store, of->id);
	int r;

	r = handles_open_disk(&d.handles, pinned, how, unique, (uint32_t)unique + 1, fhp);
	if (r < 0)
		zr_disk_unpin(d.rig.store, pinned);
	return r;
}

static uint64_t opened(uint64_t unique)
{
	uint64_t fh = 0;

	CHECK(open_disk(disk, HANDLES_AT_ONCE, unique, &fh) == 0);
	return fh;
}

/* A virtual file with a text of so many bytes. */
static int open_virtual(size_t n_text, uint64_t unique, bool trusted, uint64_t *fhp)
{
	struct handle wanted = { .node = NODE_STATS,
				 .text = malloc(n_text + 1),
				 .n_text = n_text,
				 .opened_by = unique,
				 .uid = 7 };
	int r;

	CHECK(wanted.text);
	memset(wanted.text, 't', n_text);
	r = handles_open_virtual(&d.handles, &wanted, trusted, fhp);
	if (r < 0)
		free(wanted.text);
	return r;
}

static struct handle_slot *slot_of(uint64_t fh)
{
	return (struct handle_slot *)((uint8_t *)d.shelf + SHELF_HANDLES) +
	       fh % (UINT64_C(1) << HANDLES_INDEX_BITS);
}

/* numbers */

static void test_numbers_are_never_used_again(void)
{
	uint64_t first, second;

	set_up();
	CHECK(handles_get(&d.handles, 0) == NULL);
	first = opened(1);
	CHECK(first != 0 && handles_get(&d.handles, first)->disk == disk);
	handles_close(&d.handles, first);
	CHECK(handles_get(&d.handles, first) == NULL);

	second = opened(2);
	CHECK(slot_of(first) == slot_of(second) && first != second);
	handles_close(&d.handles, first); /* a RELEASE that is served again */
	CHECK(handles_get(&d.handles, second) && handles_count(&d.handles, disk) == 1);
	handles_close(&d.handles, second);
	handles_close(&d.handles, second);
	CHECK(handles_count(&d.handles, disk) == 0);

	handles_close(&d.handles, 0);
	handles_close(&d.handles, UINT64_MAX);
	handles_close(&d.handles, N_PLACES - 1);
	CHECK(handles_get(&d.handles, UINT64_MAX) == NULL);
	tear_down();
}

static void test_the_table_grows(void)
{
	static uint64_t numbers[HANDLES_CHUNK * 5 + 1];
	struct zr_store_usage before, after;
	const unsigned int n = ZR_ARRAY_SIZE(numbers);
	unsigned int i;
	uint64_t fh;

	set_up();
	zr_store_usage(d.rig.store, &before);
	for (i = 0; i < n; ++i)
		numbers[i] = opened(1000 + i);
	zr_store_usage(d.rig.store, &after);
	CHECK(after.shelf_bytes == zr_system_whole(SHELF_HANDLES + 6 * HANDLES_CHUNK_BYTES));
	CHECK(after.shelf_bytes > before.shelf_bytes || zr_system_page_bytes() > ZR_PAGE_SIZE);
	rig_validate(d.rig.store);

	for (i = 0; i < n; ++i) {
		CHECK(handles_get(&d.handles, numbers[i])->opened_by == 1000 + i);
		CHECK(handles_find(&d.handles, 1000 + i, &fh) && fh == numbers[i]);
	}
	CHECK(!handles_find(&d.handles, 999, &fh));
	CHECK(handles_count(&d.handles, disk) == n);

	/* The lowest place that is free comes first. */
	handles_close(&d.handles, numbers[HANDLES_CHUNK * 3]);
	handles_close(&d.handles, numbers[7]);
	CHECK(slot_of(opened(1)) == slot_of(numbers[7]));
	CHECK(slot_of(opened(2)) == slot_of(numbers[HANDLES_CHUNK * 3]));
	tear_down();
}

static void test_there_is_a_most(void)
{
	uint64_t fh = 0, some = 0, i;

	set_up();
	for (i = 0; i < N_PLACES; ++i) {
		CHECK(open_disk(disk, HANDLES_AT_ONCE, i + 1, &fh) == 0);
		if (i == N_PLACES / 3)
			some = fh;
	}
	CHECK(open_disk(disk, HANDLES_AT_ONCE, i + 1, &fh) == -ENFILE);
	CHECK(open_virtual(1, i + 1, true, &fh) == -ENFILE);
	handles_close(&d.handles, some);
	CHECK(slot_of(opened(i + 2)) == slot_of(some));
	CHECK(open_disk(disk, HANDLES_AT_ONCE, i + 3, &fh) == -ENFILE);
	CHECK(handles_count(&d.handles, disk) == N_PLACES);
	die();
	CHECK(handles_count(&d.handles, disk) == N_PLACES);
	CHECK(handles_find(&d.handles, i + 2, &fh));
	tear_down();
}

static void test_refused_memory_opens_nothing(void)
{
	/* All that have memory from the start. */
	const uint64_t n_bytes = zr_system_whole(SHELF_HANDLES + HANDLES_CHUNK_BYTES);
	const unsigned int n = (unsigned int)(n_bytes - SHELF_HANDLES) / HANDLES_CHUNK_BYTES *
			       HANDLES_CHUNK;
	uint64_t fh = 0;
	unsigned int i;

	set_up();
	for (i = 0; i < n; ++i)
		(void)opened(10 + i);
	faults_all = true;
	CHECK(open_disk(disk, HANDLES_AT_ONCE, 1, &fh) == -ENOMEM && fh == 0);
	CHECK(open_virtual(10, 2, true, &fh) == -ENOMEM && fh == 0);
	CHECK(handles_count(&d.handles, disk) == n && d.handles.virtual_bytes == 0);
	faults_all = false;
	CHECK(open_disk(disk, HANDLES_AT_ONCE, 1, &fh) == 0);
	tear_down();
}

/* what a death leaves */

static void test_what_was_open_is_open(void)
{
	uint64_t fh[3], found = 0, later;

	set_up();
	fh[0] = opened(11);
	fh[1] = opened(12);
	CHECK(open_virtual(100, 13, true, &fh[2]) == 0);
	handles_close(&d.handles, fh[0]);
	die();

	CHECK(handles_get(&d.handles, fh[0]) == NULL);
	CHECK(handles_get(&d.handles, fh[1])->disk == disk);
	CHECK(handles_get(&d.handles, fh[1])->uid == 13);
	CHECK(handles_count(&d.handles, disk) == 1);
	CHECK(handles_find(&d.handles, 12, &found) && found == fh[1]);
	CHECK(!handles_find(&d.handles, 11, &found));
	CHECK(handles_claim(&d.handles, disk, 0) == -EBUSY);
	CHECK(handles_get(&d.handles, fh[2])->is_lost);

	later = opened(14);
	CHECK(slot_of(later) == slot_of(fh[0]));
	CHECK(later >> HANDLES_INDEX_BITS > fh[2] >> HANDLES_INDEX_BITS);
	handles_close(&d.handles, fh[0]);
	handles_close(&d.handles, fh[1]);
	handles_close(&d.handles, fh[2]);
	CHECK(handles_count(&d.handles, disk) == 1 && d.handles.virtual_bytes == 0);
	tear_down();
}

static void test_what_is_not_kept_is_closed(void)
{
	uint64_t fh;

	set_up();
	fh = opened(1);
	zr_disk_unpin(d.rig.store, disk);
	handles_deinit(&d.handles, false);
	rig_reattach(&d.rig);
	daemon_begin(&d);
	disk = zr_store_find(d.rig.store, "disk0");
	CHECK(handles_get(&d.handles, fh) == NULL && handles_count(&d.handles, disk) == 0);
	tear_down();
}

/* It went while it was open: who has it open finds a handle, and no disk. */
static void test_a_disk_that_is_gone(void)
{
	struct zr_disk *other;
	uint64_t fh = 0;

	set_up();
	other = rig_add(&d.rig, "other", MIB(1));
	CHECK(open_disk(other, HANDLES_AT_ONCE, 5, &fh) == 0);
	zr_store_remove(d.rig.store, other);
	zr_disk_unpin(d.rig.store, other);
	die();

	CHECK(handles_get(&d.handles, fh) && handles_get(&d.handles, fh)->disk == NULL);
	CHECK(node_is_disk(handles_get(&d.handles, fh)->node));
	CHECK(d.handles.virtual_bytes == 0);
	handles_close(&d.handles, fh);
	CHECK(handles_get(&d.handles, fh) == NULL && d.handles.virtual_bytes == 0);
	tear_down();
}

static void test_claims_die(void)
{
	set_up();
	CHECK(handles_claim(&d.handles, disk, 0) == 0);
	die();
	CHECK(handles_claim(&d.handles, disk, 0) == 0);
	handles_unclaim(&d.handles, disk);
	tear_down();
}

/* virtual files */

static struct handle rendered(size_t n_text)
{
	struct handle handle = { .text = malloc(n_text + 1), .n_text = n_text };

	CHECK(handle.text);
	memset(handle.text, 'r', n_text);
	return handle;
}

static void test_text_is_rendered_again(void)
{
	struct handle text;
	uint64_t fh = 0;

	set_up();
	CHECK(open_virtual(1000, 1, true, &fh) == 0);
	die();
	CHECK(handles_get(&d.handles, fh)->is_lost);
	CHECK(handles_get(&d.handles, fh)->text == NULL);
	CHECK(handles_get(&d.handles, fh)->n_text == 1000 && handles_get(&d.handles, fh)->uid == 7);

	text = rendered(2000);
	CHECK(handles_restore(&d.handles, fh, &text, true) == 0);
	CHECK(!handles_get(&d.handles, fh)->is_lost);
	CHECK(handles_get(&d.handles, fh)->text[1999] == 'r');
	text = rendered(3000); /* somebody was faster: it is freed */
	CHECK(handles_restore(&d.handles, fh, &text, true) == 0);
	CHECK(handles_get(&d.handles, fh)->n_text == 2000);

	/* The next generation knows where the new text ended. */
	die();
	CHECK(handles_get(&d.handles, fh)->n_text == 2000);
	handles_close(&d.handles, fh);
	text = rendered(10);
	CHECK(handles_restore(&d.handles, fh, &text, true) == -ESTALE);
	free(text.text);
	CHECK(d.handles.virtual_bytes == 0);
	tear_down();
}

static void test_streams_end_nowhere(void)
{
	struct handle wanted = { .node = NODE_STATS, .opened_by = 1 };
	uint64_t fh = 0;

	set_up();
	CHECK(stream_new(&wanted.stream, zr_attr_find("block_state")) == 0);
	CHECK(handles_open_virtual(&d.handles, &wanted, true, &fh) == 0);
	die();
	CHECK(handles_get(&d.handles, fh)->is_lost);
	CHECK(handles_get(&d.handles, fh)->stream == NULL);
	CHECK(handles_get(&d.handles, fh)->n_text == HANDLES_TEXT_UNKNOWN);
	tear_down();
}

/* What everybody may have open costs what it takes, before a death and after. */
static void test_texts_have_a_most(void)
{
	const size_t n_text = HANDLES_VIRTUAL_MAX / 4 / 2;
	struct handle text;
	uint64_t fh[3];

	set_up();
	CHECK(open_virtual(n_text - 1000, 1, false, &fh[0]) == 0);
	CHECK(open_virtual(n_text - 1000, 2, false, &fh[1]) == 0);
	CHECK(open_virtual(n_text, 3, false, &fh[2]) == -ENFILE);
	CHECK(open_virtual(n_text, 3, true, &fh[2]) == 0);
	die();
	text = rendered(n_text);
	CHECK(handles_restore(&d.handles, fh[0], &text, false) == 0);
	text = rendered(n_text);
	CHECK(handles_restore(&d.handles, fh[1], &text, false) == -ENFILE);
	CHECK(handles_get(&d.handles, fh[1])->is_lost);
	CHECK(handles_restore(&d.handles, fh[1], &text, true) == 0);
	handles_close(&d.handles, fh[0]);
	handles_close(&d.handles, fh[1]);
	handles_close(&d.handles, fh[2]);
	CHECK(d.handles.virtual_bytes == 0);
	tear_down();
}

/* claims */

static void test_in_use(void)
{
	uint64_t fh, own;

	set_up();
	own = opened(1);
	CHECK(handles_claim(&d.handles, disk, 0) == -EBUSY);
	CHECK(handles_claim(&d.handles, disk, 1) == 0);
	CHECK(handles_claim(&d.handles, disk, 1) == -EBUSY);
	CHECK(open_disk(disk, HANDLES_AT_ONCE, 2, &fh) == -EAGAIN);
	CHECK(open_disk(disk, HANDLES_CLAIMED, 3, &fh) == 0);
	handles_unclaim(&d.handles, disk);
	CHECK(handles_claim(&d.handles, disk, 1) == -EBUSY);
	handles_close(&d.handles, own);
	CHECK(handles_claim(&d.handles, disk, 1) == 0);
	handles_unclaim(&d.handles, disk);
	tear_down();
}

static void *open_waiting(void *context)
{
	uint64_t *fhp = context;

	CHECK(open_disk(disk, HANDLES_WAIT, 50, fhp) == 0);
	return NULL;
}

static void test_who_opens_waits_for_a_claim(void)
{
	pthread_t thread;
	uint64_t fh = 0;

	set_up();
	CHECK(handles_claim(&d.handles, disk, 0) == 0);
	CHECK(pthread_create(&thread, NULL, open_waiting, &fh) == 0);
	CHECK(handles_count(&d.handles, disk) == 0);
	handles_unclaim(&d.handles, disk);
	pthread_join(thread, NULL);
	CHECK(handles_get(&d.handles, fh)->opened_by == 50);
	tear_down();
}

/* many at once */

#define N_THREADS 4u
#define N_HELD    600u

/* Opens and closes at random; ends with none. */
static void *open_and_close(void *context)
{
	const uint64_t no = *(const uint64_t *)context;
	struct rng rng = { .state = no };
	uint64_t held[N_HELD] = { 0 }, found;
	unsigned int i;

	for (i = 0; i < 20000; ++i) {
		uint64_t *fhp = &held[rng_below(&rng, N_HELD)];
		const uint64_t unique = no << 32 | i;

		if (*fhp != 0) {
			CHECK(handles_get(&d.handles, *fhp)->fh == *fhp);
			handles_close(&d.handles, *fhp);
			*fhp = 0;
		} else if (rng_below(&rng, 4) == 0) {
			CHECK(open_virtual(3, unique, true, fhp) == 0);
		} else {
			CHECK(open_disk(disk, HANDLES_WAIT, unique, fhp) == 0);
		}
		if (i % 1000 == 0 && *fhp != 0)
			CHECK(handles_find(&d.handles, unique, &found) && found == *fhp);
	}
	for (i = 0; i < N_HELD; ++i)
		handles_close(&d.handles, held[i]);
	return NULL;
}

static void run_threads(void)
{
	static const uint64_t numbers[N_THREADS] = { 1, 2, 3, 4 };
	pthread_t threads[N_THREADS];
	unsigned int i;

	for (i = 0; i < N_THREADS; ++i)
		CHECK(pthread_create(&threads[i], NULL, open_and_close, (void *)&numbers[i]) == 0);
	for (i = 0; i < N_THREADS; ++i)
		pthread_join(threads[i], NULL);
}

static void test_threads(void)
{
	uint64_t i;

	set_up();
	run_threads();
	CHECK(handles_count(&d.handles, disk) == 0 && d.handles.virtual_bytes == 0);
	CHECK(d.handles.n_chunks > 1);
	for (i = 0; i < d.handles.n_chunks * HANDLES_CHUNK; ++i)
		CHECK(atomic_load(&slot_of(i)->node) == 0);
	tear_down();
}

/* A child opens and closes until it is killed; what it leaves are whole handles. */
static void check_left(void)
{
	uint64_t i, n_disk = 0, found;

	for (i = 0; i < d.handles.n_chunks * HANDLES_CHUNK; ++i) {
		const struct handle_slot *slot = slot_of(i);
		const struct handle *handle;

		if (atomic_load(&slot->node) == 0)
			continue;
		handle = handles_get(&d.handles, slot->fh);
		CHECK(handle && slot_of(slot->fh) == slot);
		CHECK(slot->fh >> HANDLES_INDEX_BITS < atomic_load(&d.shelf->next_serial));
		CHECK(handles_find(&d.handles, slot->opened_by, &found) && found == slot->fh);
		if (node_is_disk(handle->node)) {
			CHECK(handle->disk == disk && slot->uid == (uint32_t)slot->opened_by + 1);
			++n_disk;
		} else {
			CHECK(slot->uid == 7 && slot->n_text == 3 && handle->is_lost);
		}
	}
	CHECK(handles_count(&d.handles, disk) == n_disk);
}

static void test_kills(void)
{
	struct rng rng = rng_init("test-handles");
	struct timespec pause = { 0 };
	unsigned int i;
	uint64_t j;
	pid_t child;

	set_up();
	for (i = 0; i < 30; ++i) {
		child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			for (;;)
				run_threads();
		}
		pause.tv_nsec = (long)rng_below(&rng, 20000000);
		nanosleep(&pause, NULL);
		CHECK(kill(child, SIGKILL) == 0);
		CHECK(waitpid(child, NULL, 0) == child);

		die();
		check_left();
		for (j = 0; j < d.handles.n_chunks * HANDLES_CHUNK; ++j)
			handles_close(&d.handles, slot_of(j)->fh);
		CHECK(handles_count(&d.handles, disk) == 0 && d.handles.virtual_bytes == 0);
	}
	tear_down();
}

int main(void)
{
	RUN(test_numbers_are_never_used_again);
	RUN(test_the_table_grows);
	RUN(test_there_is_a_most);
	RUN(test_refused_memory_opens_nothing);
	RUN(test_what_was_open_is_open);
	RUN(test_what_is_not_kept_is_closed);
	RUN(test_a_disk_that_is_gone);
	RUN(test_claims_die);
	RUN(test_text_is_rendered_again);
	RUN(test_streams_end_nowhere);
	RUN(test_texts_have_a_most);
	RUN(test_in_use);
	RUN(test_who_opens_waits_for_a_claim);
	RUN(test_threads);
	RUN(test_kills);
	return 0;
}

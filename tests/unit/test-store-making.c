/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Making a disk takes as long as memory takes to come; nobody sees it before it is whole, and
 * nobody else has to wait for it.
 */

#include "rig.h"

#include <errno.h>
#include <pthread.h>

#include "faults.h"

#define N_THREADS 4u
#define N_NAMES   50u

static struct rig rig;

struct maker {
	struct rig rig;
	struct zr_disk_spec spec;
	struct zr_disk *disk;
	unsigned int n_made;
	int result;
};

static void spec_set(struct zr_disk_spec *spec, const char *name, uint64_t size_bytes)
{
	zr_disk_spec_init(spec, 0);
	snprintf(spec->attrs.name, sizeof(spec->attrs.name), "%s", name);
	spec->attrs.format = ZR_FORMAT_SWAP;
	spec->disksize_bytes = size_bytes;
}

static void maker_init(struct maker *maker)
{
	memset(maker, 0, sizeof(*maker));
	maker->rig.store = rig.store;
	CHECK(zr_ctx_new(&maker->rig.ctx) == 0);
}

static void add_and_remove(const char *name)
{
	struct zr_disk *disk = rig_add(&rig, name, 0);

	zr_store_remove(rig.store, disk);
	zr_disk_unpin(rig.store, disk);
}

static void *make_one(void *context)
{
	struct maker *maker = context;

	maker->result = zr_store_add(maker->rig.store, maker->rig.ctx, &maker->spec, &maker->disk);
	return NULL;
}

/* A disk that waits for the memory of its swap header: 300 ms of it, told by whoever brings it. */
static void making_begin(struct maker *maker, pthread_t *thread)
{
	struct zr_disk *x;

	rig_init(&rig);
	/* Entries that have memory: the disk asks for none of its own. */
	x = rig_add(&rig, "x", 0);
	add_and_remove("y");
	zr_store_remove(rig.store, x);
	zr_disk_unpin(rig.store, x);
	CHECK(zr_store_tend(rig.store) == 0);

	maker_init(maker);
	spec_set(&maker->spec, "a", MIB(1));
	faults_n_populated = 0;
	faults_delay_ms = 300;
	CHECK(pthread_create(thread, NULL, make_one, maker) == 0);
	while (atomic_load(&faults_n_populated) == 0)
		usleep(100);
}

static void making_end(struct maker *maker, pthread_t thread)
{
	faults_delay_ms = 0;
	CHECK(pthread_join(thread, NULL) == 0);
	maker->rig.ctx = zr_ctx_free(maker->rig.ctx);
	zr_store_untend(rig.store);
}

static void test_a_disk_is_seen_when_it_is_whole(void)
{
	struct maker maker;
	pthread_t thread;
	char bytes[10];

	making_begin(&maker, &thread);
	CHECK(!zr_store_find(rig.store, "a") && !zr_store_next(rig.store, 0));
	add_and_remove("b"); /* without waiting for the other */
	CHECK(maker.disk == NULL);
	making_end(&maker, thread);

	CHECK(maker.result == 0 && zr_disk_size(maker.disk) == MIB(1));
	CHECK(zr_store_find(rig.store, "a") == maker.disk);
	zr_disk_unpin(rig.store, maker.disk);
	disk_get(&rig, maker.disk, zr_system_page_bytes() - 10, bytes, sizeof(bytes));
	CHECK(memcmp(bytes, "SWAPSPACE2", sizeof(bytes)) == 0);
	zr_disk_unpin(rig.store, maker.disk);
	rig_deinit(&rig);
}

/* Another disk gets the name meanwhile, or is renamed to it. */
static void test_a_name_is_whose_disk_is_whole_first(void)
{
	struct maker maker;
	struct zr_disk *disk;
	pthread_t thread;
	unsigned int i;

	for (i = 0; i < 2; ++i) {
		making_begin(&maker, &thread);
		disk = rig_add(&rig, i == 0 ? "a" : "b", 0);
		CHECK(zr_store_rename(rig.store, disk, "a", NULL) == 0);
		making_end(&maker, thread);
		CHECK(maker.result == -EEXIST && maker.disk == NULL);
		CHECK(zr_store_find(rig.store, "a") == disk);
		zr_disk_unpin(rig.store, disk);
		CHECK(disk->next == NULL && zr_disk_size(disk) == 0);
		zr_disk_unpin(rig.store, disk);
		rig_reattach(&rig);
		rig_deinit(&rig); /* nothing of the other is left */
	}
}

static void test_the_next_id_is_known(void)
{
	struct zr_disk_spec spec;
	struct zr_disk *disk;
	uint64_t id;

	rig_init(&rig);
	id = zr_store_next_id(rig.store);
	disk = rig_add(&rig, "a", 0);
	CHECK(disk->id == id && zr_store_next_id(rig.store) > id);
	zr_disk_unpin(rig.store, disk);

	/* What fails may cost an id, and none comes twice. */
	id = zr_store_next_id(rig.store);
	spec_set(&spec, "b", ZR_PAGE_SIZE);
	CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == -EINVAL);
	CHECK(zr_store_next_id(rig.store) >= id && !zr_store_get(rig.store, id));
	rig_reattach(&rig);
	id = zr_store_next_id(rig.store);
	disk = rig_add(&rig, "b", 0);
	CHECK(disk->id == id);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* The entry's own memory is refused, or what comes into it. */
static void test_what_was_refused_leaves_nothing(void)
{
	struct zr_store_usage usage;
	struct zr_disk_spec spec;
	struct zr_disk *disk = NULL;
	unsigned int i;

	for (i = 1; i <= 3; ++i) {
		rig_init(&rig);
		spec_set(&spec, "a", MIB(1));
		faults_countdown = i;
		CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == -ENOMEM);
		CHECK(faults_countdown == 0);
		CHECK(disk == NULL && !zr_store_next(rig.store, 0));
		rig_validate(rig.store);
		zr_store_compact(rig.store);
		zr_store_usage(rig.store, &usage);
		CHECK(usage.span_bytes == 0);
		CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == 0);
		CHECK(disk->entry_no == 0);
		disk = zr_disk_unpin(rig.store, disk);
		rig_deinit(&rig);
	}
}

static void *make_many(void *context)
{
	struct maker *maker = context;
	char name[16];
	unsigned int i;
	int r;

	for (i = 0; i < N_NAMES; ++i) {
		snprintf(name, sizeof(name), "disk%u", i);
		spec_set(&maker->spec, name, i % 2 ? MIB(1) : 0);
		r = zr_store_add(rig.store, maker->rig.ctx, &maker->spec, &maker->disk);
		CHECK(r == 0 || r == -EEXIST);
		if (r == 0) {
			++maker->n_made;
			zr_disk_unpin(rig.store, maker->disk);
		}
	}
	return NULL;
}

static void test_of_several_one_makes_it(void)
{
	struct maker makers[N_THREADS];
	pthread_t threads[N_THREADS];
	struct zr_store_usage usage;
	unsigned int i, n_made = 0;

	rig_init(&rig);
	CHECK(zr_store_tend(rig.store) == 0);
	for (i = 0; i < N_THREADS; ++i) {
		maker_init(&makers[i]);
		CHECK(pthread_create(&threads[i], NULL, make_many, &makers[i]) == 0);
	}
	for (i = 0; i < N_THREADS; ++i) {
		CHECK(pthread_join(threads[i], NULL) == 0);
		makers[i].rig.ctx = zr_ctx_free(makers[i].rig.ctx);
		n_made += makers[i].n_made;
	}
	zr_store_untend(rig.store);
	CHECK(n_made == N_NAMES);
	zr_store_usage(rig.store, &usage);
	CHECK(usage.n_disks == N_NAMES);
	rig_reattach(&rig);
	rig_deinit(&rig);
}

int main(void)
{
	RUN(test_a_disk_is_seen_when_it_is_whole);
	RUN(test_a_name_is_whose_disk_is_whole_first);
	RUN(test_the_next_id_is_known);
	RUN(test_what_was_refused_leaves_nothing);
	RUN(test_of_several_one_makes_it);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Waiting for memory that is on its way: who writes faster than the kernel gives memory is slowed
 * down, not refused; and who brings the memory comes before those who wait for it.
 */

#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include "faults.h"
#include "sync.h"

#define N_WRITERS 2u

static struct rig rig;

struct writer {
	struct rig rig;
	struct zr_disk *disk;
	uint64_t first, end; /* bytes */
	uint64_t n_refused;
};

/* A MiB that does not compress. */
static void put_random(struct writer *writer, uint64_t offset)
{
	uint8_t *bytes = malloc(MIB(1));
	struct rng rng = { .state = offset };
	size_t n_written;
	int r;

	CHECK(bytes);
	bytes_random(&rng, bytes, MIB(1));
	r = zr_disk_write(writer->disk, writer->rig.ctx, offset, bytes, MIB(1), &n_written);
	CHECK(r == 0 || r == -ENOMEM);
	writer->n_refused += r != 0;
	free(bytes);
}

static void writer_init(struct writer *writer, struct zr_disk *disk)
{
	memset(writer, 0, sizeof(*writer));
	writer->rig.store = rig.store;
	writer->disk = disk;
	CHECK(zr_ctx_new(&writer->rig.ctx) == 0);
}

/* Each step of 256 KiB at most takes 300 ms, so that a MiB takes more than the second that one page
 * would be waited for. */
static void test_a_write_that_goes_on_is_not_refused(void)
{
	const int64_t began_ns = zr_monotonic_ns();
	struct writer writer;
	struct zr_disk *disk;

	rig_init(&rig);
	disk = rig_add(&rig, "a", 0);
	CHECK(zr_store_tend(rig.store) == 0);
	writer_init(&writer, disk);
	faults_delay_ms = 300;
	put_random(&writer, 0);
	faults_delay_ms = 0;
	CHECK(writer.n_refused == 0 && disk->entry->counters.failed_writes == 0);
	CHECK(zr_monotonic_ns() - began_ns > INT64_C(1100) * 1000 * 1000);
	writer.rig.ctx = zr_ctx_free(writer.rig.ctx);
	zr_disk_unpin(rig.store, disk);
	zr_store_untend(rig.store);
	rig_deinit(&rig);
}

/* A swap disk, and somebody who has just begun to bring memory. */
static struct zr_disk *swap_make(struct writer *writer)
{
	struct zr_disk_spec spec;
	struct zr_disk *disk;

	rig_init(&rig);
	zr_disk_spec_init(&spec, 0);
	strcpy(spec.attrs.name, "swap");
	spec.attrs.format = ZR_FORMAT_SWAP;
	spec.disksize_bytes = MIB(4);
	CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == 0);
	CHECK(zr_store_tend(rig.store) == 0);
	writer_init(writer, disk);
	return disk;
}

/* A MiB takes more than a second, as above. On a swap disk that is refused, soon; but for the first
 * second, when it goes on. */
static void test_who_swaps_is_not_kept_waiting(void)
{
	struct writer writer;
	struct zr_disk *disk = swap_make(&writer);
	int64_t took_ns;

	faults_delay_ms = 300;
	put_random(&writer, 0);
	CHECK(writer.n_refused == 0);
	while (zr_pool_is_new(&disk->engine->pool))
		usleep(10000);
	took_ns = zr_monotonic_ns();
	put_random(&writer, MIB(1));
	took_ns = zr_monotonic_ns() - took_ns;
	faults_delay_ms = 0;
	CHECK(writer.n_refused == 1 && disk->entry->counters.failed_writes == 1);
	CHECK(took_ns < INT64_C(300) * 1000 * 1000);
	writer.rig.ctx = zr_ctx_free(writer.rig.ctx);
	zr_disk_unpin(rig.store, disk);
	zr_store_untend(rig.store);
	rig_deinit(&rig);
}

static void *write_on(void *context)
{
	struct writer *writer = context;
	uint64_t offset;

	for (offset = writer->first; offset < writer->end; offset += MIB(1))
		put_random(writer, offset);
	return NULL;
}

/* As fast as two threads can. MIB_EACH: how much each. */
static void test_writing_at_full_speed_is_not_refused(void)
{
	const uint64_t n_bytes = MIB(test_number("MIB_EACH", 128));
	struct writer writers[N_WRITERS];
	pthread_t threads[N_WRITERS];
	struct zr_disk *disk;
	unsigned int i;

	CHECK(zr_store_new(&rig.store, MIB(65536)) == 0);
	CHECK(zr_ctx_new(&rig.ctx) == 0);
	disk = rig_add(&rig, "a", 0);
	CHECK(zr_store_tend(rig.store) == 0);
	for (i = 0; i < N_WRITERS; ++i) {
		writer_init(&writers[i], disk);
		writers[i].first = i * n_bytes;
		writers[i].end = (i + 1) * n_bytes;
		CHECK(pthread_create(&threads[i], NULL, write_on, &writers[i]) == 0);
	}
	for (i = 0; i < N_WRITERS; ++i) {
		CHECK(pthread_join(threads[i], NULL) == 0);
		CHECK(writers[i].n_refused == 0);
		writers[i].rig.ctx = zr_ctx_free(writers[i].rig.ctx);
	}
	CHECK(disk->entry->counters.failed_writes == 0);
	CHECK(zr_disk_orig_bytes(disk) == N_WRITERS * n_bytes);
	zr_disk_unpin(rig.store, disk);
	zr_store_untend(rig.store);
	rig_deinit(&rig);
}

/* who comes first */

static unsigned int n_real_time_threads(void)
{
	struct dirent *entry;
	unsigned int n = 0;
	DIR *dir;

	dir = opendir("/proc/self/task");
	CHECK(dir);
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.' &&
		     sched_getscheduler((pid_t)atoi(entry->d_name)) == SCHED_FIFO;
	closedir(dir);
	return n;
}

static bool is_permitted(void)
{
	const struct sched_param other = { .sched_priority = 0 }, param = { .sched_priority = 1 };

	if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &param) != 0)
		return false;
	CHECK(pthread_setschedparam(pthread_self(), SCHED_OTHER, &other) == 0);
	return true;
}

/* Also while the kernel refuses: with little left it finds none for others, for ever. */
static void test_who_brings_memory_comes_first(void)
{
	const unsigned int n_wanted = is_permitted();
	struct writer writer;
	struct zr_disk *disk;
	uint64_t offset;

	if (!n_wanted)
		printf("# no real-time priority to be had here\n");
	rig_init(&rig);
	disk = rig_add(&rig, "a", 0);
	writer_init(&writer, disk);
	CHECK(n_real_time_threads() == 0);
	CHECK(zr_store_tend(rig.store) == 0);
	while (n_real_time_threads() != n_wanted)
		usleep(1000);
	put_random(&writer, 0);
	CHECK(writer.n_refused == 0);

	faults_all = true;
	for (offset = MIB(1); writer.n_refused == 0; offset += MIB(1))
		put_random(&writer, offset);
	CHECK(n_real_time_threads() == n_wanted);
	faults_all = false;
	while (writer.n_refused > 0) {
		writer.n_refused = 0;
		put_random(&writer, offset);
	}
	CHECK(n_real_time_threads() == n_wanted);

	writer.rig.ctx = zr_ctx_free(writer.rig.ctx);
	zr_disk_unpin(rig.store, disk);
	zr_store_untend(rig.store);
	CHECK(n_real_time_threads() == 0);
	rig_deinit(&rig);
}

int main(void)
{
	RUN(test_a_write_that_goes_on_is_not_refused);
	RUN(test_who_swaps_is_not_kept_waiting);
	RUN(test_writing_at_full_speed_is_not_refused);
	RUN(test_who_brings_memory_comes_first);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Records: whenever a worker dies, each change happens once and is answered for what it did.
 *
 * A scenario is a change that somebody asks for. One child after another serves it: the first dies
 * at the n-th point that it passes (crash.h), the second, which is asked again unless the first had
 * replied, at the m-th, the third lives. Then the answer must be the one of an undisturbed run, and
 * so must the disks. This is done for all n, and for each of them for all m; with ZR_TEST_STRIDE for
 * one of so many n, one at least, and of so many m.
 */

#include "daemon-rig.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "attr.h"
#include "change.h"
#include "crash.h"
#include "faults.h"

/* Of this process, which serves without threads of its own. */
_Thread_local struct thread thread_self;

#define UNIQUE 42u
#define OTHER  99u

static struct fs fs;
static struct rig rig;
static struct zr_disk_spec defaults;

/* generations */

static void generation_begin(void)
{
	memset(&fs, 0, sizeof(fs));
	fs.ctx = rig.ctx;
	CHECK(shelf_get(&fs.shelf, rig.store) == 0);
	fs.store = rig.store;
	CHECK(handles_init(&fs.handles, rig.store, fs.shelf) == 0);
	records_init(&fs.records, fs.shelf);
	records_recover(&fs.records, rig.store, rig.ctx, &defaults.attrs);
}

/* What a death does not leave, but a test that goes on frees. */
static void generation_end(void)
{
	(void)pthread_mutex_trylock(&fs.records.lock); /* a lock dies with its process */
	pthread_mutex_unlock(&fs.records.lock);
	records_deinit(&fs.records);
	handles_deinit(&fs.handles, true);
}

static void generation_next(void)
{
	generation_end();
	rig_reattach(&rig);
	generation_begin();
}

static void set_up(void)
{
	rig_init(&rig);
	zr_disk_spec_init(&defaults, 0);
	generation_begin();
}

static void tear_down(void)
{
	generation_end();
	rig_deinit(&rig);
}

static unsigned int n_records(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < SHELF_RECORDS; ++i)
		n += atomic_load(&fs.shelf->records[i].state) != RECORD_FREE;
	return n;
}

/* disks */

static struct zr_disk *find(const char *name)
{
	struct zr_disk *disk = zr_store_find(rig.store, name);

	zr_disk_unpin(rig.store, disk); /* nobody else removes it */
	return disk;
}

static unsigned int n_disks(void)
{
	struct zr_store_usage usage;

	zr_store_usage(rig.store, &usage);
	return (unsigned int)usage.n_disks;
}

/* "a" and "b" have data, "empty" has no size. Their ids are 1, 2 and 3. */
#define A_BYTES UINT64_C(100000)

static void disks_make(void)
{
	static uint8_t bytes[A_BYTES];
	struct zr_disk *disk;

	memset(bytes, 'a', sizeof(bytes));
	disk = rig_add(&rig, "a", 0);
	disk_put(&rig, disk, 0, bytes, sizeof(bytes));
	CHECK(zr_disk_set_mem_limit(disk, MIB(1)) == 0);
	CHECK(zr_disk_set_owner(disk, 0640, 5, 6) == 0);
	zr_disk_unpin(rig.store, disk);
	memset(bytes, 'b', sizeof(bytes));
	disk = rig_add(&rig, "b", 0);
	disk_put(&rig, disk, 0, bytes, sizeof(bytes));
	zr_disk_unpin(rig.store, disk);
	zr_disk_unpin(rig.store, rig_add(&rig, "empty", 0));
}

static bool holds(const char *name, uint8_t value, uint64_t size_bytes)
{
	static uint8_t bytes[A_BYTES];
	struct zr_disk *disk = find(name);

	if (!disk || zr_disk_size(disk) != size_bytes)
		return false;
	disk_get(&rig, disk, 0, bytes, size_bytes);
	return bytes_are(bytes, value, size_bytes);
}

static bool a_is_there(void)
{
	return n_disks() == 3 && find("a")->id == 1 && holds("a", 'a', A_BYTES);
}

static void open_one(uint64_t disk_id)
{
	uint64_t fh;

	CHECK(handles_open_disk(&fs.handles, zr_store_get(rig.store, disk_id), HANDLES_WAIT, OTHER,
				0, &fh) == 0);
}

/* scenarios: serve the request as a daemon does, but for libfuse */

static int serve_make(struct op *op, const char *name)
{
	struct zr_disk_spec spec = defaults;
	struct zr_disk *disk = NULL;
	int r;

	snprintf(spec.attrs.name, sizeof(spec.attrs.name), "%s", name);
	spec.disksize_bytes = MIB(1);
	spec.attrs.format = ZR_FORMAT_SWAP;
	r = change_make(&fs, op, &spec, &disk);
	zr_disk_unpin(rig.store, disk);
	return r;
}

static int make(struct op *op)
{
	return serve_make(op, "new");
}

static bool is_made(void)
{
	return n_disks() == 4 && zr_disk_size(find("new")) == MIB(1) &&
	       zr_disk_orig_bytes(find("new")) == zr_system_page_bytes(); /* the header */
}

static int make_taken(struct op *op)
{
	return serve_make(op, "a");
}

static int serve_on(const char *name, int gone, struct op *op,
		    int (*change)(struct op *op, struct zr_disk *disk))
{
	struct zr_disk *disk = zr_store_find(rig.store, name);
	int r;

	if (!disk)
		return gone;
	r = change(op, disk);
	zr_disk_unpin(rig.store, disk);
	return r;
}

static int change_remove_it(struct op *op, struct zr_disk *disk)
{
	return change_remove(&fs, op, disk, "a");
}

static int remove_a(struct op *op)
{
	return serve_on("a", -ENOENT, op, change_remove_it);
}

static bool a_is_gone(void)
{
	return n_disks() == 2 && !find("a") && holds("b", 'b', A_BYTES);
}

static int rename_to_c(struct op *op, struct zr_disk *disk)
{
	return change_rename(&fs, op, disk, "c", true);
}

static int rename_a(struct op *op)
{
	return serve_on("a", -ENOENT, op, rename_to_c);
}

static bool a_is_c(void)
{
	return n_disks() == 3 && !find("a") && find("c")->id == 1 && holds("c", 'a', A_BYTES);
}

static int rename_to_b(struct op *op, struct zr_disk *disk)
{
	return change_rename(&fs, op, disk, "b", false);
}

static int rename_over(struct op *op)
{
	return serve_on("a", -ENOENT, op, rename_to_b);
}

static bool a_is_b(void)
{
	return n_disks() == 2 && !find("a") && find("b")->id == 1 && holds("b", 'a', A_BYTES);
}

static int rename_to_b_if_free(struct op *op, struct zr_disk *disk)
{
	return change_rename(&fs, op, disk, "b", true);
}

static int rename_refused(struct op *op)
{
	return serve_on("a", -ENOENT, op, rename_to_b_if_free);
}

static int serve_truncate(struct op *op, struct zr_disk *disk, uint64_t size_bytes,
			  unsigned int n_own)
{
	int r;

	r = handles_claim(&fs.handles, disk, n_own);
	if (r < 0)
		return r;
	r = change_truncate(&fs, op, disk, size_bytes, n_own, 0);
	handles_unclaim(&fs.handles, disk);
	return r;
}

static int change_shrink(struct op *op, struct zr_disk *disk)
{
	return serve_truncate(op, disk, 5000, 0);
}

static int shrink(struct op *op)
{
	return serve_on("a", -ENOENT, op, change_shrink);
}

/* What lies past the size in the last page is zero. */
static bool a_is_short(void)
{
	uint8_t bytes[8192];
	struct zr_disk *disk = find("a");

	if (!holds("a", 'a', 5000) || zr_disk_orig_bytes(disk) != sizeof(bytes))
		return false;
	CHECK(zr_disk_extend(disk, sizeof(bytes)) == 0);
	disk_get(&rig, disk, 0, bytes, sizeof(bytes));
	return n_disks() == 3 && bytes_are(bytes + 5000, 0, sizeof(bytes) - 5000);
}

static int change_drop(struct op *op, struct zr_disk *disk)
{
	return serve_truncate(op, disk, 0, 1);
}

static void open_a(void)
{
	open_one(1);
}

static int drop(struct op *op)
{
	return serve_on("a", -ENOENT, op, change_drop);
}

static bool a_is_empty(void)
{
	struct zr_attrs attrs;

	zr_disk_attrs(find("a"), &attrs);
	return n_disks() == 3 && holds("a", 0, 0) && zr_disk_orig_bytes(find("a")) == 0 &&
	       attrs.mem_limit_bytes == MIB(1);
}

static int serve_attr(struct op *op, const char *disk_name, const char *name, const char *text)
{
	struct zr_attr_target target = { .store = rig.store,
					 .ctx = rig.ctx,
					 .defaults = &defaults.attrs,
					 .disk = zr_store_find(rig.store, disk_name) };
	int r;

	op->text = text;
	r = change_attr(&fs, op, zr_attr_find(name), &target);
	zr_disk_unpin(rig.store, target.disk);
	return r;
}

static int disksize(struct op *op)
{
	return serve_attr(op, "empty", "disksize", "1000000");
}

static bool empty_has_a_size(void)
{
	return n_disks() == 3 && zr_disk_size(find("empty")) == 245 * ZR_PAGE_SIZE;
}

/* It has just that size already: somebody else's. */
static void size_is_set(void)
{
	CHECK(zr_disk_set_disksize(find("empty"), rig.ctx, 1000000) == 0);
}

static int disksize_bad(struct op *op)
{
	return serve_attr(op, "empty", "disksize", "1000000 of them");
}

static bool empty_is_empty(void)
{
	return n_disks() == 3 && zr_disk_size(find("empty")) == 0;
}

static int reset(struct op *op)
{
	return serve_attr(op, "a", "reset", "1");
}

static bool a_is_reset(void)
{
	struct zr_attrs attrs;

	zr_disk_attrs(find("a"), &attrs);
	return n_disks() == 3 && holds("a", 0, 0) && zr_disk_orig_bytes(find("a")) == 0 &&
	       attrs.mem_limit_bytes == 0 && attrs.mode == 0640 && attrs.uid == 5;
}

static int set_limit(struct op *op)
{
	return serve_attr(op, "a", "mem_limit", "2M");
}

static bool limit_is_set(void)
{
	struct zr_attrs attrs;

	zr_disk_attrs(find("a"), &attrs);
	return attrs.mem_limit_bytes == MIB(2) && a_is_there();
}

static int set_codec(struct op *op)
{
	return serve_attr(op, "empty", "comp_algorithm", "zstd");
}

static bool codec_is_set(void)
{
	struct zr_attrs attrs;

	zr_disk_attrs(find("empty"), &attrs);
	return attrs.codecs[0].algorithm == ZR_ALGORITHM_ZSTD && empty_is_empty();
}

static int set_codec_late(struct op *op)
{
	return serve_attr(op, "a", "comp_algorithm", "zstd");
}

static const struct scenario {
	const char *name;
	void (*before)(void); /* NULL: nothing */
	int (*serve)(struct op *op);
	int answer;
	bool (*is_done)(void);
} scenarios[] = {
	{ "make", NULL, make, 0, is_made },
	{ "make what is there", NULL, make_taken, -EEXIST, a_is_there },
	{ "remove", NULL, remove_a, 0, a_is_gone },
	{ "remove what is in use", open_a, remove_a, -EBUSY, a_is_there },
	{ "rename", NULL, rename_a, 0, a_is_c },
	{ "rename over", NULL, rename_over, 0, a_is_b },
	{ "rename to a name that is taken", NULL, rename_refused, -EEXIST, a_is_there },
	{ "shrink", NULL, shrink, 0, a_is_short },
	{ "shrink what is in use", open_a, shrink, -EBUSY, a_is_there },
	{ "truncate as its owner", open_a, drop, 0, a_is_empty },
	{ "disksize", NULL, disksize, 0, empty_has_a_size },
	{ "disksize that is set", size_is_set, disksize, -EBUSY, empty_has_a_size },
	{ "disksize that is none", NULL, disksize_bad, -EINVAL, empty_is_empty },
	{ "reset", NULL, reset, 0, a_is_reset },
	{ "reset what is in use", open_a, reset, -EBUSY, a_is_there },
	{ "mem_limit", NULL, set_limit, 0, limit_is_set },
	{ "comp_algorithm", NULL, set_codec, 0, codec_is_set },
	{ "comp_algorithm too late", NULL, set_codec_late, -EBUSY, a_is_there },
};

/* deaths */

/* What the kernel knows: shared by all processes. */
struct asker {
	bool replied;
	int answer;
	unsigned int n_served;
	unsigned int n_points; /* that children passed, or died at */
};

static struct asker *asker;

/* Serve the request as a generation, asked for the first time or again. */
static void serve(const struct scenario *scenario, bool is_resent)
{
	struct op op = { .unique = UNIQUE, .is_resent = is_resent };
	int r;

	if (asker->replied) {
		records_forget_rest(&fs.records);
		return;
	}
	if (is_resent)
		op.record = records_find(&fs.records, UNIQUE);
	records_forget_rest(&fs.records);

	if (op.record && atomic_load(&op.record->state) == RECORD_ANSWERED)
		r = -op.record->error;
	else
		r = scenario->serve(&op);
	asker->answer = r;
	asker->replied = true;
	records_end(&fs.records, op.record);
}

static void check_done(const struct scenario *scenario)
{
	const bool is_done = scenario->is_done();

	if (asker->answer != scenario->answer || !is_done)
		fprintf(stderr, "%s: answered %d\n", scenario->name, asker->answer);
	CHECK(asker->replied && asker->answer == scenario->answer);
	CHECK(is_done);
	CHECK(n_records() == 0 && fs.records.n_former == 0);
	CHECK(handles_count(&fs.handles, find("empty")) == 0);
	rig_validate(rig.store);
}

#if ZR_DEBUG_LEVEL >= 1

static unsigned int n_points_left;

static void on_point(const char *name)
{
	++asker->n_points;
	if (--n_points_left == 0)
		kill(getpid(), SIGKILL);
}

/* Die at the @n_points-th point. */
static _Noreturn void child_main(const struct scenario *scenario, int fd, bool is_resent,
				 unsigned int n_points)
{
	n_points_left = n_points;
	zr_crash_hook = on_point;
	CHECK(zr_store_attach(&rig.store, fd) == 0);
	generation_begin();
	serve(scenario, is_resent);
	_exit(0);
}

/* Return: did it live? */
static bool child_serves(const struct scenario *scenario, int fd, bool is_resent,
			 unsigned int n_points)
{
	pid_t child;
	int status;

	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		child_main(scenario, fd, is_resent, n_points);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
	return WIFEXITED(status);
}

/* Return: did the second one die? */
static bool try_deaths(const struct scenario *scenario, unsigned int first, unsigned int second,
		       bool *first_livesp)
{
	bool lives = true;
	int fd;

	set_up();
	disks_make();
	if (scenario->before)
		scenario->before();
	memset(asker, 0, sizeof(*asker));
	generation_end();
	fd = fcntl(zr_store_fd(rig.store), F_DUPFD_CLOEXEC, 0);
	CHECK(fd >= 0);
	rig.store = zr_store_free(rig.store);

	*first_livesp = child_serves(scenario, fd, false, first);
	if (!*first_livesp && second > 0)
		lives = child_serves(scenario, fd, true, second);

	CHECK(zr_store_attach(&rig.store, fd) == 0);
	generation_begin();
	serve(scenario, true);
	check_done(scenario);
	tear_down();
	return !lives;
}

/* Return: with how many deaths of the second child, one of @stride, and without. */
static unsigned int deaths_with_first(const struct scenario *scenario, unsigned int first,
				      unsigned int second, unsigned int stride)
{
	unsigned int n_deaths = 1;
	bool first_lives;

	(void)try_deaths(scenario, first, 0, &first_lives);
	CHECK(!first_lives);
	for (; try_deaths(scenario, first, second, &first_lives); second += stride)
		++n_deaths;
	return n_deaths;
}

static void test_each_change_at_each_instant(void)
{
	/* Where each death takes long: one of so many, others the next time. */
	const unsigned int stride = (unsigned int)test_number("ZR_TEST_STRIDE", 1);
	struct rng rng = rng_init("test-records");
	unsigned int i, first;

	for (i = 0; i < ZR_ARRAY_SIZE(scenarios); ++i) {
		unsigned int n_deaths = 0, n_points, start;
		bool lives;

		/* Refused after 200 ms, before anything is begun. */
		if (scenarios[i].before == open_a && scenarios[i].answer == -EBUSY)
			continue;
		(void)try_deaths(&scenarios[i], ~0u, 0, &lives);
		n_points = asker->n_points;
		CHECK(lives && n_points > 0);
		start = (unsigned int)zr_min(stride, n_points);
		for (first = 1 + (unsigned int)rng_below(&rng, start); first <= n_points;
		     first += stride)
			n_deaths += deaths_with_first(&scenarios[i], first,
						      1 + (unsigned int)rng_below(&rng, start),
						      stride);
		printf("# %s: %u deaths\n", scenarios[i].name, n_deaths);
	}
}

#else

static void test_each_change_at_each_instant(void)
{
	puts("# points are not compiled in");
}

#endif

static void test_each_change(void)
{
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(scenarios); ++i) {
		memset(asker, 0, sizeof(*asker));
		set_up();
		disks_make();
		if (scenarios[i].before)
			scenarios[i].before();
		serve(&scenarios[i], false);
		check_done(&scenarios[i]);
		tear_down();
	}
}

/* what a former generation left */

static struct record *begin(uint32_t what, uint64_t unique)
{
	const struct record wanted = { .op = what, .unique = unique };

	records_lock(&fs.records);
	return records_begin(&fs.records, &wanted);
}

/* The answer is kept for who asked, and is not what the directory says by then. */
static void test_an_answer_outlives_its_effect(void)
{
	struct op op = { .unique = UNIQUE };
	struct record *record;

	set_up();
	disks_make();
	CHECK(remove_a(&op) == 0);
	generation_next(); /* not replied */
	zr_disk_unpin(rig.store, rig_add(&rig, "a", 0));
	CHECK(records_find(&fs.records, OTHER) == NULL);
	record = records_find(&fs.records, UNIQUE);
	CHECK(record && atomic_load(&record->state) == RECORD_ANSWERED && record->error == 0);
	CHECK(records_find(&fs.records, UNIQUE) == NULL); /* it is asked for once */
	records_forget_rest(&fs.records);
	CHECK(n_records() == 1);
	records_end(&fs.records, record);
	CHECK(n_records() == 0 && find("a"));
	tear_down();
}

static void test_refusals_are_answers(void)
{
	struct record *record;

	set_up();
	records_answer(&fs.records, begin(RECORD_MAKE, UNIQUE), ENOSPC);
	generation_next();
	record = records_find(&fs.records, UNIQUE);
	CHECK(record && record->error == ENOSPC);
	records_end(&fs.records, record);
	tear_down();
}

static void test_what_nobody_asks_for_is_forgotten(void)
{
	set_up();
	records_answer(&fs.records, begin(RECORD_MAKE, 1), 0);
	records_answer(&fs.records, begin(RECORD_REMOVE, 2), 0);
	(void)begin(RECORD_SET, 3);
	generation_end();
	rig_reattach(&rig);
	generation_begin();
	CHECK(n_records() == 3);
	records_forget_rest(&fs.records);
	CHECK(n_records() == 0);
	records_forget_rest(&fs.records);
	records_lock(&fs.records);
	records_unlock(&fs.records);
	tear_down();
}

/* A change waits until what was begun before it, in a former generation, is over. */

static atomic_bool was_free_then, has_ended;
static atomic_int later_thread;

static void *change_later(void *context)
{
	const struct record *former = context;

	atomic_store(&later_thread, gettid());
	records_lock(&fs.records);
	atomic_store(&was_free_then, atomic_load(&former->state) == RECORD_FREE);
	records_unlock(&fs.records);
	atomic_store(&has_ended, true);
	return NULL;
}

/* Does the thread wait for something? */
static bool sleeps(int thread)
{
	char path[64], text[256] = "";
	const char *end;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", thread);
	file = fopen(path, "re");
	if (!file)
		return false;
	(void)!fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	end = strrchr(text, ')');
	return end && end[1] == ' ' && end[2] == 'S';
}

static void test_what_was_begun_comes_first(void)
{
	struct record *record;
	pthread_t thread;

	set_up();
	(void)begin(RECORD_SET, UNIQUE);
	generation_next();
	record = records_find(&fs.records, UNIQUE);
	CHECK(record && atomic_load(&record->state) == RECORD_BEGUN);
	records_forget_rest(&fs.records);
	atomic_store(&was_free_then, false);
	atomic_store(&has_ended, false);
	atomic_store(&later_thread, 0);
	CHECK(pthread_create(&thread, NULL, change_later, record) == 0);
	while (!atomic_load(&has_ended) && !sleeps(atomic_load(&later_thread)))
		sched_yield();
	CHECK(!atomic_load(&has_ended));
	records_resume(&fs.records, record);
	records_answer(&fs.records, record, 0);
	records_end(&fs.records, record);
	pthread_join(thread, NULL);
	CHECK(atomic_load(&was_free_then));
	tear_down();
}

/* Generation after generation leaves all that it can, and there is room for the next. */

#define N_THREADS 7u

static void test_there_is_always_a_record(void)
{
	unsigned int i, j;

	set_up();
	for (i = 0; i < 200; ++i) {
		if (i % 3 == 2) { /* dies before all is read */
			CHECK(n_records() == N_THREADS);
		} else {
			records_forget_rest(&fs.records);
			for (j = 0; j < N_THREADS; ++j)
				records_answer(&fs.records, begin(RECORD_MAKE, 1000 * i + j), 0);
		}
		CHECK(n_records() == N_THREADS);
		generation_next();
	}
	tear_down();
}

/* There is no memory for the zeros in the last page: nothing changed, and that is the answer. */
static void test_recovery_that_fails(void)
{
	const struct record wanted = {
		.op = RECORD_TRUNCATE, .unique = UNIQUE, .disk_id = 1, .size_bytes = 5000
	};
	static zr_position taken[256];
	struct record *record;
	struct zr_disk *disk;
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int n_taken;

	set_up();
	disk = rig_add(&rig, "a", 0);
	zr_fill_page(page, 'x');
	disk_put(&rig, disk, 0, page, sizeof(page));
	disk_put(&rig, disk, 4096, page, sizeof(page));
	disk_put(&rig, disk, 8192, page, sizeof(page));
	zr_disk_unpin(rig.store, disk);
	records_lock(&fs.records);
	(void)records_begin(&fs.records, &wanted);
	generation_end();
	rig_reattach(&rig);
	n_taken = faults_drain(&find("a")->engine->pool, taken, ZR_ARRAY_SIZE(taken));
	faults_all = true;
	generation_begin();
	faults_all = false;
	faults_undrain(&find("a")->engine->pool, taken, n_taken);
	record = records_find(&fs.records, UNIQUE);
	CHECK(record && atomic_load(&record->state) == RECORD_ANSWERED);
	CHECK(record->error == ENOMEM && zr_disk_size(find("a")) == 3 * ZR_PAGE_SIZE);
	records_end(&fs.records, record);
	tear_down();
}

int main(void)
{
	asker = mmap(NULL, sizeof(*asker), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	CHECK(asker != MAP_FAILED);

	RUN(test_each_change);
	RUN(test_an_answer_outlives_its_effect);
	RUN(test_refusals_are_answers);
	RUN(test_what_nobody_asks_for_is_forgotten);
	RUN(test_what_was_begun_comes_first);
	RUN(test_there_is_always_a_record);
	RUN(test_recovery_that_fails);
	RUN(test_each_change_at_each_instant);
	return 0;
}

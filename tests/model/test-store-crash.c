/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A worker dies at each of the named instants of the engine (crash.h), and the next one must find
 * every page as it was or as it was to be, and all memory accounted for.
 *
 * A child attaches to the store, makes changes at random, and kills itself when it passes a point
 * for the n-th time; other children do the same to what that left, so that a death in the middle of
 * clearing up after a death is survived, too. What is about to be done is noted beforehand in
 * memory that is shared with the parent: for each unit (a page, or a sector of a page) the stamp
 * that is there and the one on its way; and of changes to a disk as a whole, which a user of the
 * engine would repeat after a death, the call. Whoever comes next repeats it, and what comes of
 * that must be what one call would have made.
 *
 * The argument is the directory of the engine's source: a point that is in no table is a fault.
 */

#include "batch.h"
#include "clean.h"
#include "policy.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "crash-points.h"
#include "crash.h"
#include "unit/fake-backing.h"

#if ZR_DEBUG_LEVEL >= 1

static const char *const points[] = {
	"aged",       "ages-trim", "allocate",  "backing",    "backing-gone", "clean",
	"cleaned",    "compress",  "derive",    "derived",    "flip-after",   "flip-before",
	"format",     "grow",      "link",      "made",       "make",         "move",
	"provide",    "publish",   "published", "punch-leaf", "removed",      "rename-over",
	"reset",      "retire",    "settle",    "shelf",      "shrink",       "truncate",
	"write-back", "written",
};

#define N_POINTS     ZR_ARRAY_SIZE(points)
#define N_OPERATIONS 3000u
#define N_TEMPORARY  4u
#define SHELF_PAGES  256u
#define WRITE_UNITS  16u

/* Two leaves and a half of pages, some pages of sectors. */
#define N_AREAS   2u
#define UNITS_MAX 1300u

static const struct {
	const char *name;
	uint32_t unit_bytes;
	unsigned int n_units;
} areas[N_AREAS] = { { "pages", ZR_PAGE_SIZE, UNITS_MAX }, { "sectors", 512, 1100 } };

enum kind { NOTHING, ADD, REMOVE, RENAME, RESET, TRUNCATE, DISKSIZE };

/* A call that whoever comes next repeats. */
struct intent {
	_Atomic enum kind kind; /* stored last */
	uint64_t id, replaced_id;
	uint64_t size_bytes;
	char name[16];
};

struct unit {
	_Atomic uint64_t done, begun; /* stamps; 0: zeros or a hole */
};

/* What outlives a child, outside the store. */
static struct notes {
	bool reached[N_POINTS];
	struct intent intent;
	_Atomic unsigned int shelf_pages;
	_Atomic int64_t clock_ns; /* by which pages age */
	struct {
		_Atomic uint64_t size_done, size_begun; /* in units */
		struct unit units[UNITS_MAX];
	} areas[N_AREAS];
} * notes;

static struct rig rig;
static struct rng rng;

/* dying */

static unsigned int dying_at, n_passes_left;

static void die(const char *name)
{
	if (strcmp(name, points[dying_at]) != 0 || --n_passes_left > 0)
		return;
	notes->reached[dying_at] = true;
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* units */

static void begin(struct unit *units, unsigned int n_units, const uint64_t *stamps)
{
	unsigned int i;

	for (i = 0; i < n_units; ++i)
		atomic_store(&units[i].begun, stamps ? stamps[i] : 0);
}

static void end(struct unit *units, unsigned int n_units)
{
	unsigned int i;

	for (i = 0; i < n_units; ++i)
		atomic_store(&units[i].done, atomic_load(&units[i].begun));
}

static struct zr_disk *area_disk(unsigned int area)
{
	struct zr_disk *disk = zr_store_find(rig.store, areas[area].name);

	CHECK(disk);
	return disk;
}

static void write_units(unsigned int area, struct zr_disk *disk)
{
	const uint32_t unit_bytes = areas[area].unit_bytes;
	const unsigned int n = 1 + (unsigned int)rng_below(&rng, WRITE_UNITS);
	const unsigned int at = (unsigned int)rng_below(&rng, areas[area].n_units - n + 1);
	const uint64_t size = notes->areas[area].size_done;
	static uint8_t bytes[WRITE_UNITS * ZR_PAGE_SIZE];
	uint64_t stamps[WRITE_UNITS];
	unsigned int i;

	for (i = 0; i < n; ++i) {
		stamps[i] = rng_next(&rng);
		stamp_make(bytes + i * unit_bytes, unit_bytes, stamps[i]);
	}
	begin(&notes->areas[area].units[at], n, stamps);
	notes->areas[area].size_begun = zr_max(size, at + n);
	disk_put(&rig, disk, (uint64_t)at * unit_bytes, bytes, (size_t)n * unit_bytes);
	notes->areas[area].size_done = notes->areas[area].size_begun;
	end(&notes->areas[area].units[at], n);
}

static void punch_units(unsigned int area, struct zr_disk *disk)
{
	const unsigned int at = (unsigned int)rng_below(&rng, areas[area].n_units);
	const unsigned int n = 1 +
			       (unsigned int)rng_below(&rng, zr_min(areas[area].n_units - at, 600));
	struct unit *units = &notes->areas[area].units[at];

	begin(units, n, NULL);
	CHECK(zr_disk_punch(disk, rig.ctx, (uint64_t)at * areas[area].unit_bytes,
			    (uint64_t)n * areas[area].unit_bytes) == 0);
	end(units, n);
}

/* calls that are repeated */

static void swap_spec(struct zr_disk_spec *spec)
{
	rig_spec_init(spec);
	snprintf(spec->attrs.name, sizeof(spec->attrs.name), "%s", notes->intent.name);
	spec->attrs.format = ZR_FORMAT_SWAP;
	spec->disksize_bytes = notes->intent.size_bytes;
}

/* What a reset makes of a disk. */
static struct zr_attrs defaults(void)
{
	struct zr_disk_spec spec;

	rig_spec_init(&spec);
	spec.attrs.mem_limit_bytes = MIB(123);
	spec.attrs.codecs[0].algorithm = ZR_ALGORITHM_ZSTD;
	return spec.attrs;
}

static void check_formatted(struct zr_disk *disk)
{
	struct zr_attrs attrs;
	char bytes[10];

	CHECK(zr_disk_size(disk) == notes->intent.size_bytes);
	zr_disk_attrs(disk, &attrs);
	if (attrs.format != ZR_FORMAT_SWAP || zr_disk_size(disk) == 0)
		return;
	disk_get(&rig, disk, zr_system_page_bytes() - 10, bytes, sizeof(bytes));
	CHECK(memcmp(bytes, "SWAPSPACE2", sizeof(bytes)) == 0);
}

static void do_add(void)
{
	struct zr_disk *disk = zr_store_get(rig.store, notes->intent.id);
	struct zr_disk_spec spec;

	if (!disk) {
		CHECK(!zr_store_find(rig.store, notes->intent.name));
		notes->intent.id = zr_store_next_id(rig.store);
		swap_spec(&spec);
		CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == 0);
	}
	CHECK(disk->id == notes->intent.id && strcmp(disk->name, notes->intent.name) == 0);
	check_formatted(disk);
	zr_disk_unpin(rig.store, disk);
}

static void do_remove(void)
{
	struct zr_disk *disk = zr_store_get(rig.store, notes->intent.id);

	if (disk)
		zr_store_remove(rig.store, disk);
	zr_disk_unpin(rig.store, disk);
	CHECK(!zr_store_get(rig.store, notes->intent.id));
}

static void do_rename(struct zr_disk *disk)
{
	struct zr_disk *replaced = zr_store_get(rig.store, notes->intent.replaced_id);

	CHECK(zr_store_rename(rig.store, disk, notes->intent.name, replaced) == 0);
	zr_disk_unpin(rig.store, replaced);
	CHECK(strcmp(disk->name, notes->intent.name) == 0);
	CHECK(!zr_store_get(rig.store, notes->intent.replaced_id));
}

static void do_reset(struct zr_disk *disk)
{
	struct zr_attrs wanted = defaults(), attrs;

	CHECK(zr_disk_reset(disk, &wanted) == 0);
	CHECK(zr_disk_size(disk) == 0 && zr_disk_orig_bytes(disk) == 0);
	zr_disk_attrs(disk, &attrs);
	memcpy(wanted.name, attrs.name, sizeof(wanted.name));
	wanted.uid = attrs.uid;
	CHECK(memcmp(&attrs, &wanted, sizeof(attrs)) == 0);
}

static void do_disksize(struct zr_disk *disk)
{
	int r;

	r = zr_disk_set_disksize(disk, rig.ctx, notes->intent.size_bytes);
	CHECK(r == 0 || (r == -EBUSY && zr_disk_size(disk) == notes->intent.size_bytes));
	check_formatted(disk);
}

/* The units of an area that are cut off are noted each time: they may have been looked at since. */
static void do_truncate(struct zr_disk *disk)
{
	unsigned int area, n_units = 0;

	for (area = 0; area < N_AREAS && strcmp(disk->name, areas[area].name) != 0; ++area)
		;
	if (area < N_AREAS) {
		n_units = (unsigned int)(notes->intent.size_bytes / areas[area].unit_bytes);
		begin(&notes->areas[area].units[n_units], areas[area].n_units - n_units, NULL);
		notes->areas[area].size_begun = n_units;
	}
	CHECK(zr_disk_truncate(disk, rig.ctx, notes->intent.size_bytes) == 0);
	CHECK(zr_disk_size(disk) == notes->intent.size_bytes);
	if (area < N_AREAS) {
		notes->areas[area].size_done = n_units;
		end(&notes->areas[area].units[n_units], areas[area].n_units - n_units);
	}
}

/* For the first time or again. */
static void do_intent(void)
{
	struct intent *intent = &notes->intent;
	struct zr_disk *disk;

	if (intent->kind == NOTHING)
		return;
	if (intent->kind == ADD) {
		do_add();
	} else if (intent->kind == REMOVE) {
		do_remove();
	} else {
		disk = zr_store_get(rig.store, intent->id);
		CHECK(disk);
		if (intent->kind == RENAME)
			do_rename(disk);
		else if (intent->kind == RESET)
			do_reset(disk);
		else if (intent->kind == DISKSIZE)
			do_disksize(disk);
		else
			do_truncate(disk);
		zr_disk_unpin(rig.store, disk);
	}
	intent->kind = NOTHING;
}

static void truncate_area(unsigned int area, struct zr_disk *disk)
{
	notes->intent.id = disk->id;
	notes->intent.size_bytes = rng_below(&rng, areas[area].n_units + 1) *
				   areas[area].unit_bytes;
	notes->intent.kind = TRUNCATE;
	do_intent();
}

static void write_temporary(struct zr_disk *disk)
{
	uint8_t page[ZR_PAGE_SIZE];

	stamp_make(page, sizeof(page), rng_next(&rng));
	disk_put(&rig, disk, (100 + rng_below(&rng, 1000)) * ZR_PAGE_SIZE, page, sizeof(page));
}

/* Disks that come, are written, sized, renamed over each other, reset and go. */
static void change_temporary(void)
{
	struct intent *intent = &notes->intent;
	struct zr_disk *disk, *other;

	snprintf(intent->name, sizeof(intent->name), "t%u",
		 (unsigned int)rng_below(&rng, N_TEMPORARY));
	intent->id = intent->replaced_id = UINT64_MAX;
	intent->size_bytes = rng_below(&rng, 2) ? MIB(1) : 0;
	disk = zr_store_find(rig.store, intent->name);
	if (!disk) {
		intent->id = zr_store_next_id(rig.store);
		intent->kind = ADD;
		do_intent();
		return;
	}

	write_temporary(disk);
	CHECK(zr_disk_set_owner(disk, 0600, (uint32_t)rng_below(&rng, 100), 0) == 0);
	intent->id = disk->id;
	switch (rng_below(&rng, 6)) {
	case 0:
		intent->kind = REMOVE;
		break;
	case 1:
		intent->kind = RESET;
		break;
	case 2:
		CHECK(zr_disk_truncate(disk, rig.ctx, 0) == 0);
		intent->size_bytes = MIB(1);
		intent->kind = DISKSIZE;
		break;
	case 3:
		/* Whole pages: of one that was cut, and grew again, half would be zeros. */
		intent->size_bytes = zr_align_down(rng_below(&rng, MIB(4)), ZR_PAGE_SIZE);
		intent->kind = TRUNCATE;
		break;
	default:
		snprintf(intent->name, sizeof(intent->name), "t%u",
			 (unsigned int)rng_below(&rng, N_TEMPORARY));
		other = zr_store_find(rig.store, intent->name);
		if (other && other != disk)
			intent->replaced_id = other->id;
		zr_disk_unpin(rig.store, other);
		intent->kind = RENAME;
		break;
	}
	zr_disk_unpin(rig.store, disk);
	do_intent();
}

/* what a death left */

/* Is what is there what was, or what was to be? From now on it is what it is. */
static void check_unit(unsigned int area, struct zr_disk *disk, unsigned int i, bool is_past)
{
	const uint32_t unit_bytes = areas[area].unit_bytes;
	struct unit *unit = &notes->areas[area].units[i];
	uint64_t now = is_past ? 0 : unit->done;
	uint8_t bytes[ZR_PAGE_SIZE];

	disk_get(&rig, disk, (uint64_t)i * unit_bytes, bytes, unit_bytes);
	if (!is_past && !stamp_is(bytes, unit_bytes, now))
		now = unit->begun;
	CHECK(stamp_is(bytes, unit_bytes, now));
	unit->done = unit->begun = now;
}

static uint64_t check_size(unsigned int area, struct zr_disk *disk)
{
	const uint64_t done = notes->areas[area].size_done, begun = notes->areas[area].size_begun;
	const uint64_t size = zr_disk_size(disk) / areas[area].unit_bytes;

	CHECK(zr_disk_size(disk) % areas[area].unit_bytes == 0);
	CHECK(size == done || size == begun || (size > done && size < begun));
	notes->areas[area].size_done = notes->areas[area].size_begun = size;
	return size;
}

/* What lies past the size must be gone, also when the size grows over it again. */
static void check_area(unsigned int area)
{
	struct zr_disk *disk = area_disk(area);
	const uint64_t size = check_size(area, disk);
	unsigned int i;

	CHECK(zr_disk_extend(disk, (uint64_t)areas[area].n_units * areas[area].unit_bytes) == 0);
	notes->areas[area].size_done = notes->areas[area].size_begun = areas[area].n_units;
	for (i = 0; i < areas[area].n_units; ++i)
		check_unit(area, disk, i, i >= size);
	zr_disk_unpin(rig.store, disk);
}

/* The same for what alone is in doubt, by a child that comes after one that died. */
static void resolve_area(unsigned int area)
{
	struct zr_disk *disk = area_disk(area);
	const uint64_t size = check_size(area, disk);
	unsigned int i;

	for (i = 0; i < areas[area].n_units; ++i) {
		struct unit *unit = &notes->areas[area].units[i];

		if (i >= size)
			unit->done = unit->begun = 0;
		else if (unit->done != unit->begun)
			check_unit(area, disk, i, false);
	}
	zr_disk_unpin(rig.store, disk);
}

/* the child */

/* The page stays what it is, so nothing is noted. */
static void recompress(struct zr_disk *disk)
{
	const unsigned int priority = 1 + (unsigned int)rng_below(&rng, ZR_RECOMP_MAX);
	const uint64_t page_no = rng_below(&rng, 100);
	unsigned int i;
	int r;

	for (i = 0; i < WRITE_UNITS; ++i) {
		r = zr_disk_recompress(disk, rig.ctx, page_no + i, priority, 0);
		CHECK(r == 0 || r == ZR_PAGE_E_AS_IT_WAS);
	}
}

/* Nor is it then: the page is the same wherever it is. */
static void write_back(struct zr_disk *disk)
{
	static const struct zr_batch_filter any;
	static struct zr_batch *batch;
	uint64_t n_written = 0, page_no = rng_below(&rng, UNITS_MAX - 100);
	unsigned int i;

	CHECK(batch || zr_batch_new(&batch) == 0);
	zr_batch_begin(batch, disk, &any);
	for (i = 0; i < 100; ++i, ++page_no)
		(void)zr_batch_add(batch, page_no);
	i = (unsigned int)-zr_batch_flush(batch, &n_written);
	CHECK(i == 0 || i == EINVAL); /* it has no size */
}

static int change_ages(struct zr_attrs *attrs, void *context)
{
	attrs->idle_age_s = rng_below(&rng, 4) ? 3 : 0;
	attrs->recompress_age_s = rng_below(&rng, 4) ? 0 : 3;
	return 0;
}

/* Pages grow older, some are recompressed for it, and ages are given up now and then. */
static void age(struct zr_disk *disk)
{
	static struct zr_policy *policy;
	static struct zr_batch *batch;
	uint8_t page[ZR_PAGE_SIZE];
	struct zr_moment moment;
	unsigned int i;
	uint64_t at;

	CHECK(batch || zr_batch_new(&batch) == 0);
	CHECK(policy || zr_policy_new(&policy, NULL, batch) == 0);
	CHECK(zr_disk_change_attrs(disk, false, change_ages, NULL) == 0);
	/* All of it is in use: then no age is above 0. */
	if (rng_below(&rng, 2)) {
		for (at = 0; at + sizeof(page) <= zr_disk_size(disk); at += sizeof(page))
			disk_get(&rig, disk, at, page, sizeof(page));
	}
	for (i = 0; i < 20; ++i) {
		atomic_fetch_add(&notes->clock_ns, INT64_C(1000000000));
		moment = (struct zr_moment){ notes->clock_ns, notes->clock_ns };
		(void)zr_policy_step(policy, disk, &moment);
	}
}

static void clean_file(void)
{
	static struct zr_cleaner *cleaner;
	struct zr_backing *backing = zr_store_backing_use(rig.store, 0);
	uint64_t n_blocks;

	CHECK(cleaner || zr_cleaner_new(&cleaner) == 0);
	CHECK(zr_clean(rig.store, cleaner, backing, false, NULL, &n_blocks) == 0);
	zr_store_backing_unuse(backing);
}

/* With zones that are less than full. */
static void fill_and_clean(unsigned int area, struct zr_disk *disk)
{
	unsigned int i;

	for (i = 0; i < 4; ++i)
		write_back(disk);
	write_units(area, disk);
	punch_units(area, disk);
	clean_file();
}

/* Records that no disk names, those that were left behind among them. */
static void change_backings(void)
{
	const struct zr_backing_record wanted = fake_record();
	uint64_t id;
	unsigned int i;

	for (i = 0; i < ZR_BACKINGS_MAX; ++i) {
		const struct zr_backing_record *record = zr_store_backing_at(rig.store, i);

		if (record)
			(void)zr_store_backing_remove(rig.store, record->id);
	}
	CHECK(zr_store_backing_add(rig.store, 1, &wanted, &fake_io, &id) == 0);
}

static void grow_shelf(void)
{
	const unsigned int n_pages = notes->shelf_pages;
	uint8_t *shelf;

	if (n_pages == SHELF_PAGES)
		return;
	shelf = zr_store_shelf(rig.store, (uint64_t)(n_pages + 1) * ZR_PAGE_SIZE);
	CHECK(shelf && bytes_are(shelf + (size_t)n_pages * ZR_PAGE_SIZE, 0, ZR_PAGE_SIZE));
	memset(shelf + (size_t)n_pages * ZR_PAGE_SIZE, 0x5a, ZR_PAGE_SIZE);
	notes->shelf_pages = n_pages + 1;
}

static void change_something(void)
{
	const unsigned int area = (unsigned int)rng_below(&rng, N_AREAS);
	struct zr_disk *disk = area_disk(area);
	const unsigned int roll = (unsigned int)rng_below(&rng, 100);

	if (roll < 60)
		write_units(area, disk);
	else if (roll < 75)
		punch_units(area, disk);
	else if (roll < 78)
		truncate_area(area, disk);
	else if (roll < 80)
		recompress(disk);
	else if (roll < 82)
		write_back(disk);
	else if (roll < 83 && rng_below(&rng, 2))
		age(disk);
	else if (roll < 83 && rng_below(&rng, 2))
		change_backings();
	else if (roll < 83)
		fill_and_clean(area, disk);
	else if (roll < 84)
		zr_store_compact(rig.store);
	else if (roll < 87)
		grow_shelf();
	else
		change_temporary();
	zr_disk_unpin(rig.store, disk);
}

static _Noreturn void child_run(int fd, unsigned int point, unsigned int n_passes)
{
	unsigned int i;

	dying_at = point;
	n_passes_left = n_passes;
	zr_crash_hook = die;
	rig_attach_backed(&rig, fd, false);
	for (i = 0; i < N_AREAS; ++i)
		resolve_area(i);
	do_intent();
	for (i = 0; i < N_OPERATIONS; ++i)
		change_something();
	_exit(0); /* it is not passed that often */
}

/* the parent */

/* Nobody noted what is there, but it must be whole. */
static void check_temporary(void)
{
	struct zr_disk *disk;
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t at;
	char name[16];
	unsigned int i;

	for (i = 0; i < N_TEMPORARY; ++i) {
		snprintf(name, sizeof(name), "t%u", i);
		disk = zr_store_find(rig.store, name);
		if (!disk)
			continue;
		for (at = 100 * ZR_PAGE_SIZE; at + ZR_PAGE_SIZE <= zr_disk_size(disk);
		     at += ZR_PAGE_SIZE) {
			disk_get(&rig, disk, at, page, sizeof(page));
			CHECK(stamp_is_cut(page, sizeof(page)));
		}
		zr_disk_unpin(rig.store, disk);
	}
}

/* Attach, look at everything, let go. What was not finished is repeated, or left to the next. */
static void check_store(int fd)
{
	const uint64_t n_bytes = (uint64_t)notes->shelf_pages * ZR_PAGE_SIZE;
	unsigned int i;

	rig_attach_backed(&rig, fcntl(fd, F_DUPFD_CLOEXEC, 0), false);
	rig_validate(rig.store);
	/* One page more may have been counted and not noted. */
	CHECK(zr_store_shelf_bytes(rig.store) - n_bytes <= zr_system_page_bytes());
	CHECK(bytes_are(zr_store_shelf(rig.store, n_bytes), 0x5a, n_bytes));
	for (i = 0; i < N_AREAS; ++i)
		check_area(i);
	check_temporary();
	if (rng_below(&rng, 2))
		do_intent();
	rig_validate(rig.store);
	rig.store = zr_store_free(rig.store);
}

/* Return: did it die there? */
static bool child_dies(int fd, unsigned int point, unsigned int n_passes)
{
	pid_t child;
	int status;

	fflush(stdout);
	(void)rng_next(&rng);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		child_run(fcntl(fd, F_DUPFD_CLOEXEC, 0), point, n_passes);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : status == 0);
	return WIFSIGNALED(status);
}

static int store_make(void)
{
	const struct zr_backing_record wanted = fake_record();
	unsigned int i;
	uint64_t id;
	int fd;

	memset(notes->areas, 0, sizeof(notes->areas));
	notes->intent.kind = NOTHING;
	notes->shelf_pages = 0;
	CHECK(zr_store_new(&rig.store, RIG_STORE_BYTES) == 0);
	CHECK(zr_store_backing_add(rig.store, 0, &wanted, &fake_io, &id) == 0);
	for (i = 0; i < N_AREAS; ++i)
		zr_disk_unpin(rig.store, rig_add_backed(&rig, areas[i].name, 0, id));
	fd = fcntl(zr_store_fd(rig.store), F_DUPFD_CLOEXEC, 0);
	CHECK(fd >= 0);
	rig.store = zr_store_free(rig.store);
	return fd;
}

/* At the n-th passing alone, and then where others died before: anywhere, and there. */
static unsigned int die_at(unsigned int point)
{
	static const unsigned int passes[] = { 1, 2, 3, 5, 20, 100 };
	unsigned int i, n_deaths = 0;
	int fd;

	fd = store_make();
	for (i = 0; i < ZR_ARRAY_SIZE(passes); ++i) {
		n_deaths += child_dies(fd, point, passes[i]);
		check_store(fd);
		n_deaths += child_dies(fd, (unsigned int)rng_below(&rng, N_POINTS),
				       1 + (unsigned int)rng_below(&rng, 30));
		n_deaths += child_dies(fd, point, passes[i]);
		n_deaths += child_dies(fd, point, 1);
		check_store(fd);
	}

	rig_attach_backed(&rig, fd, false);
	rig_empty(&rig); /* which finds what was leaked */
	rig.store = zr_store_free(rig.store);
	return n_deaths;
}

static void test_a_death_at_each_point_is_survived(void)
{
	/* Where each death takes long, one point of so many. */
	const unsigned int stride = (unsigned int)test_number("ZR_TEST_STRIDE", 1);
	unsigned int i, n_deaths = 0;

	rng = rng_init("test-store-crash");
	CHECK(zr_ctx_new(&rig.ctx) == 0);
	notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	CHECK(notes != MAP_FAILED);
	fake_init(MIB(16));
	for (i = (unsigned int)rng_below(&rng, stride); i < N_POINTS; i += stride) {
		n_deaths += die_at(i);
		if (!notes->reached[i])
			fprintf(stderr, "nobody passed the point %s\n", points[i]);
		CHECK(notes->reached[i]);
	}
	printf("# %u deaths\n", n_deaths);
	munmap(notes, sizeof(*notes));
	fake_deinit();
	rig.ctx = zr_ctx_free(rig.ctx);
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	points_check(points, N_POINTS, argv[1]);
	printf("ok test_the_table_knows_every_point\n");
	RUN(test_a_death_at_each_point_is_survived);
	return 0;
}

#else

#define SKIPPED 77

int main(void)
{
	printf("# a build without debug_level has no points to die at\n");
	return SKIPPED;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * To attach, a test duplicates the descriptor, frees the store (which is what a death leaves: the
 * memfd) and gives the duplicate to zr_store_attach(). Damage is written to the descriptor, where
 * layout.h says things are.
 */

#include "rig.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "faults.h"

#define ENTRY_OFFSET(entry_no) (ZR_DIRECTORY_START + (entry_no) * (uint64_t)ZR_ENTRY_BYTES)

static struct rig rig;

static struct zr_disk_spec spec_of(const char *name)
{
	struct zr_disk_spec spec;

	zr_disk_spec_init(&spec, 0);
	snprintf(spec.attrs.name, sizeof(spec.attrs.name), "%s", name);
	return spec;
}

static int add(const char *name, struct zr_disk **diskp)
{
	const struct zr_disk_spec spec = spec_of(name);

	return zr_store_add(rig.store, rig.ctx, &spec, diskp);
}

static void put_text(struct zr_disk *disk, const char *text)
{
	disk_put(&rig, disk, 0, text, strlen(text) + 1);
}

/* Is there a disk of that name, and does it begin with that? Unpins what it finds. */
static bool has(const char *name, const char *text)
{
	struct zr_disk *disk = zr_store_find(rig.store, name);
	char bytes[64];
	size_t n_read = 0;

	if (!disk)
		return false;
	CHECK(strcmp(disk->name, name) == 0);
	CHECK(zr_disk_read(disk, rig.ctx, 0, bytes, sizeof(bytes), &n_read) == 0);
	zr_disk_unpin(rig.store, disk);
	return n_read == strlen(text) + 1 && memcmp(bytes, text, n_read) == 0;
}

static void test_new_store_is_empty(void)
{
	struct zr_store_usage usage;

	rig_init(&rig);
	zr_store_usage(rig.store, &usage);
	CHECK(usage.memory_bytes == zr_system_whole(ZR_DIRECTORY_START));
	CHECK(usage.n_disks == 0 && usage.span_bytes == 0 && usage.reserve_bytes == 0);
	CHECK(zr_store_find(rig.store, "disk0") == NULL);
	CHECK(zr_store_next(rig.store, 0) == NULL);
	CHECK(zr_store_get(rig.store, 0) == NULL && zr_store_get(rig.store, 1) == NULL);
	rig_reattach(&rig);
	rig_deinit(&rig);
}

static void test_add_find_remove(void)
{
	struct zr_disk *a, *b, *found;

	rig_init(&rig);
	CHECK(add("a", &a) == 0 && add("b", &b) == 0);
	CHECK(a->id != b->id);
	found = zr_store_find(rig.store, "a");
	CHECK(found == a);
	zr_disk_unpin(rig.store, found);
	found = zr_store_get(rig.store, b->id);
	CHECK(found == b);
	zr_disk_unpin(rig.store, found);
	found = NULL;
	CHECK(add("a", &found) == -EEXIST);
	CHECK(found == NULL);

	zr_store_remove(rig.store, a);
	zr_store_remove(rig.store, a); /* two may try */
	CHECK(zr_store_find(rig.store, "a") == NULL);
	CHECK(zr_store_get(rig.store, a->id) == NULL);
	CHECK(add("a", &found) == 0);
	CHECK(found->id > b->id); /* ids are never used again */
	zr_disk_unpin(rig.store, found);
	zr_disk_unpin(rig.store, a);
	zr_disk_unpin(rig.store, b);
	rig_deinit(&rig);
}

static void test_next_goes_by_id(void)
{
	static const char *const names[] = { "z", "m", "a" };
	struct zr_disk *disk, *next;
	uint64_t last = 0;
	unsigned int i, n = 0;

	rig_init(&rig);
	for (i = 0; i < 3; ++i) {
		CHECK(add(names[i], &disk) == 0);
		zr_disk_unpin(rig.store, disk);
	}
	for (disk = zr_store_next(rig.store, 0); disk; disk = next) {
		CHECK(strcmp(disk->name, names[n++]) == 0 && disk->id > last);
		last = disk->id;
		next = zr_store_next(rig.store, last);
		zr_disk_unpin(rig.store, disk);
	}
	CHECK(n == 3);
	rig_deinit(&rig);
}

/* A removed disk goes with its last pin: not its pages, not its place before. */
static void test_pins_keep_a_removed_disk(void)
{
	struct zr_store_usage usage;
	struct zr_disk *disk, *other;
	char bytes[4];

	rig_init(&rig);
	CHECK(add("a", &disk) == 0);
	put_text(disk, "abc");
	zr_store_remove(rig.store, disk);
	CHECK(add("a", &other) == 0);
	CHECK(other->entry != disk->entry);
	put_text(other, "xyz");
	disk_get(&rig, disk, 0, bytes, 4);
	CHECK(memcmp(bytes, "abc", 4) == 0);

	zr_disk_unpin(rig.store, disk);
	zr_disk_unpin(rig.store, other);
	rig_validate(rig.store);
	CHECK(add("b", &disk) == 0); /* the place is free again */
	zr_store_usage(rig.store, &usage);
	CHECK(usage.n_disks == 2);
	CHECK(disk->entry_no == 0);
	zr_disk_unpin(rig.store, disk);
	CHECK(has("a", "xyz"));
	rig_deinit(&rig);
}

static void test_names(void)
{
	static const char *const bad[] = { "",  ".x",   ".",    "..",      "a/b",
					   "/", "a\nb", "\x7f", "hot_add", "hot_remove" };
	char longest[ZR_NAME_MAX + 2];
	struct zr_disk_spec spec;
	struct zr_disk *disk = NULL;
	unsigned int i;

	rig_init(&rig);
	for (i = 0; i < ZR_ARRAY_SIZE(bad); ++i)
		CHECK(add(bad[i], &disk) == -EINVAL);
	CHECK(disk == NULL);

	memset(longest, 'n', sizeof(longest));
	longest[ZR_NAME_MAX] = 0;
	CHECK(add(longest, &disk) == 0);
	CHECK(strcmp(disk->name, longest) == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(bad); ++i)
		CHECK(zr_store_rename(rig.store, disk, bad[i], NULL) == -EINVAL);
	longest[ZR_NAME_MAX] = 'n';
	longest[ZR_NAME_MAX + 1] = 0;
	CHECK(zr_store_rename(rig.store, disk, longest, NULL) == -EINVAL);
	zr_disk_unpin(rig.store, disk);

	spec = spec_of("x");
	memset(spec.attrs.name, 'x', sizeof(spec.attrs.name)); /* has no end */
	CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == -EINVAL);
	spec = spec_of("Übung 7");
	CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == 0);
	zr_disk_unpin(rig.store, disk);
	rig_reattach(&rig); /* what got in can be attached */
	rig_deinit(&rig);
}

static void test_bad_attributes_do_not_get_in(void)
{
	struct zr_disk_spec spec = spec_of("x");
	struct zr_disk *disk;

	rig_init(&rig);
	spec.attrs.codecs[0].algorithm = 99;
	CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == -EINVAL);
	spec = spec_of("x");
	spec.disksize_bytes = ZR_DISK_SIZE_MAX + ZR_PAGE_SIZE;
	CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == -EFBIG);
	spec = spec_of("x");
	spec.attrs.swap_priority = -2;
	CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == -EINVAL);
	spec = spec_of("x");
	spec.disksize_bytes = ZR_PAGE_SIZE;
	spec.attrs.format = ZR_FORMAT_SWAP;
	CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == -EINVAL);
	CHECK(zr_store_find(rig.store, "x") == NULL); /* no half-made disk */
	rig_deinit(&rig);
}

static void test_there_is_a_most_of_disks(void)
{
	struct zr_disk *disk, *first = NULL;
	char name[16];
	unsigned int i;

	rig_init(&rig);
	for (i = 0; i < ZR_DISKS_MAX; ++i) {
		snprintf(name, sizeof(name), "disk%u", i);
		CHECK(add(name, &disk) == 0);
		if (i == 0)
			first = disk;
		else
			zr_disk_unpin(rig.store, disk);
	}
	CHECK(add("one-more", &disk) == -ENOSPC);
	rig_validate(rig.store);
	zr_store_remove(rig.store, first);
	CHECK(add("one-more", &disk) == -ENOSPC); /* its place is still pinned */
	zr_disk_unpin(rig.store, first);
	CHECK(add("one-more", &disk) == 0);
	zr_disk_unpin(rig.store, disk);
	rig_reattach(&rig);
	CHECK(add("and-more", &disk) == -ENOSPC);
	rig_deinit(&rig);
}

static void test_rename(void)
{
	struct zr_disk *a, *b;

	rig_init(&rig);
	CHECK(add("a", &a) == 0 && add("b", &b) == 0);
	put_text(a, "first");
	put_text(b, "second");
	CHECK(zr_store_rename(rig.store, a, "a", NULL) == 0);
	CHECK(zr_store_rename(rig.store, a, "b", NULL) == -EEXIST);
	CHECK(zr_store_rename(rig.store, a, "b", a) == -EEXIST); /* not the one that is meant */
	CHECK(has("a", "first") && has("b", "second"));
	CHECK(zr_store_rename(rig.store, a, "c", b) == 0); /* b has another name: it stays */
	CHECK(has("b", "second"));
	CHECK(!has("a", "first") && has("c", "first"));

	CHECK(zr_store_rename(rig.store, a, "b", b) == 0); /* over another */
	CHECK(has("b", "first") && zr_store_find(rig.store, "c") == NULL);
	CHECK(b->removed);
	zr_disk_unpin(rig.store, b);
	zr_disk_unpin(rig.store, a);
	rig_reattach(&rig);
	CHECK(has("b", "first"));
	rig_deinit(&rig);
}

/* Entry and superblock are refused in turn; a place that was used before needs no memory. */
static void test_refused_memory_adds_nothing(void)
{
	struct zr_store *store = NULL;
	struct zr_disk *disk = NULL;

	faults_countdown = 1;
	CHECK(zr_store_new(&store, RIG_STORE_BYTES) == -ENOMEM);
	CHECK(store == NULL);

	rig_init(&rig);
	rig_fill_page(&rig);
	faults_countdown = 1;
	CHECK(add("a", &disk) == -ENOMEM);
	CHECK(disk == NULL && zr_store_find(rig.store, "a") == NULL);
	rig_validate(rig.store);
	CHECK(add("a", &disk) == 0);
	zr_store_remove(rig.store, disk);
	zr_disk_unpin(rig.store, disk);
	faults_countdown = 1;
	CHECK(add("a", &disk) == 0);
	CHECK(faults_countdown == 1);
	faults_countdown = 0;
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* attaching */

static void test_attach_reads_everything_back(void)
{
	static uint8_t shadow[3][300 * ZR_PAGE_SIZE + 77], bytes[sizeof(shadow[0])];
	struct rng rng = rng_init("test-store");
	struct zr_attrs before, after;
	struct zr_disk *disk;
	char name[16];
	unsigned int i;
	size_t at;

	rig_init(&rig);
	for (i = 0; i < 3; ++i) {
		for (at = 0; at + ZR_PAGE_SIZE < sizeof(bytes); at += ZR_PAGE_SIZE)
			page_random(&rng, shadow[i] + at);
		snprintf(name, sizeof(name), "disk%u", i);
		CHECK(add(name, &disk) == 0);
		CHECK(zr_disk_set_mem_limit(disk, MIB(10 + i)) == 0);
		disk_put(&rig, disk, MIB(i), shadow[i], sizeof(bytes));
		zr_disk_attrs(disk, &before);
		zr_disk_unpin(rig.store, disk);
	}
	rig_reattach(&rig);
	for (i = 0; i < 3; ++i) {
		snprintf(name, sizeof(name), "disk%u", i);
		disk = zr_store_find(rig.store, name);
		CHECK(disk && zr_disk_size(disk) == MIB(i) + sizeof(bytes));
		disk_get(&rig, disk, MIB(i), bytes, sizeof(bytes));
		CHECK(memcmp(bytes, shadow[i], sizeof(bytes)) == 0);
		CHECK(disk->entry->counters.num_writes == 301);
		zr_disk_attrs(disk, &after);
		zr_disk_unpin(rig.store, disk);
	}
	CHECK(memcmp(&before, &after, sizeof(before)) == 0);
	rig_deinit(&rig);
}

static void test_figures_are_derived(void)
{
	struct zr_disk_figures before, after;
	struct rng rng = rng_init("test-store");
	uint8_t page[ZR_PAGE_SIZE];
	struct zr_disk *disk;
	unsigned int i;

	rig_init(&rig);
	CHECK(add("disk0", &disk) == 0);
	for (i = 0; i < 200; ++i) {
		page_random(&rng, page);
		disk_put(&rig, disk, rng_below(&rng, 1000) * ZR_PAGE_SIZE, page, sizeof(page));
	}
	zr_disk_figures(disk, &before);
	zr_disk_unpin(rig.store, disk);
	rig_reattach(&rig);
	disk = zr_store_find(rig.store, "disk0");
	zr_disk_figures(disk, &after);
	/* How fast the pool grows, and so what it keeps in reserve, is not known any more. */
	CHECK(after.max_bytes >= before.max_bytes &&
	      (after.total_bytes >= before.total_bytes || zr_system_page_bytes() > ZR_PAGE_SIZE));
	after.total_bytes = before.total_bytes;
	after.max_bytes = before.max_bytes;
	CHECK(memcmp(&before, &after, sizeof(before)) == 0);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* Free the store and give its descriptor, for damage. */
static int let_go(void)
{
	int fd = fcntl(zr_store_fd(rig.store), F_DUPFD_CLOEXEC, 0);

	CHECK(fd >= 0);
	rig.store = zr_store_free(rig.store);
	return fd;
}

static void refused(int fd, int error)
{
	struct zr_store *store = NULL;

	CHECK(zr_store_attach(&store, fd) == error);
	CHECK(store == NULL);
	CHECK(fcntl(fd, F_GETFD) >= 0); /* still the caller's */
}

static void poke(int fd, uint64_t offset, uint64_t value, size_t n_bytes)
{
	CHECK(pwrite(fd, &value, n_bytes, (off_t)offset) == (ssize_t)n_bytes);
}

static uint64_t peek(int fd, uint64_t offset, size_t n_bytes)
{
	uint64_t value = 0;

	CHECK(pread(fd, &value, n_bytes, (off_t)offset) == (ssize_t)n_bytes);
	return value;
}

/* With another value there attaching is refused; with the old one again it works. */
static void refused_with(int fd, uint64_t offset, size_t n_bytes, uint64_t value, int error)
{
	const uint64_t good = peek(fd, offset, n_bytes);

	CHECK(good != value);
	poke(fd, offset, value, n_bytes);
	refused(fd, error);
	poke(fd, offset, good, n_bytes);
}

/* A disk with one page of one byte and a raw one, let go. */
static int a_store(void)
{
	struct rng rng = rng_init("test-store");
	uint8_t page[ZR_PAGE_SIZE];
	struct zr_disk *disk;

	rig_init(&rig);
	CHECK(add("disk0", &disk) == 0);
	bytes_random(&rng, page, sizeof(page));
	disk_put(&rig, disk, ZR_PAGE_SIZE, page, sizeof(page));
	put_text(disk, "here");
	CHECK(zr_disk_truncate(disk, rig.ctx, 5) == 0);
	zr_disk_unpin(rig.store, disk);
	return let_go();
}

static void attach(int fd)
{
	CHECK(zr_store_attach(&rig.store, fd) == 0);
	rig_validate(rig.store);
}

static void test_damaged_superblock(void)
{
	const int fd = a_store();

	refused_with(fd, offsetof(struct zr_superblock, magic), 8, ZR_MAGIC + 1, -EINVAL);
	refused_with(fd, offsetof(struct zr_superblock, layout_version), 4, ZR_LAYOUT_VERSION + 1,
		     -EPROTONOSUPPORT);
	refused_with(fd, offsetof(struct zr_superblock, page_bytes), 4, 16384, -EPROTONOSUPPORT);
	refused_with(fd, offsetof(struct zr_superblock, span_bytes), 8, 65536, -EPROTONOSUPPORT);
	refused_with(fd, offsetof(struct zr_superblock, store_bytes), 8, RIG_STORE_BYTES / 2,
		     -EUCLEAN);
	refused_with(fd, offsetof(struct zr_superblock, n_entries), 8, ZR_DISKS_MAX + 1, -EUCLEAN);
	refused_with(fd, offsetof(struct zr_superblock, next_id), 8, 1, -EUCLEAN);
	attach(fd);
	CHECK(has("disk0", "here"));
	rig_deinit(&rig);
}

static void test_damaged_entry(void)
{
	const int fd = a_store();
	const uint64_t entry = ENTRY_OFFSET(0);
	const uint64_t attrs = entry + offsetof(struct zr_entry, attrs) +
			       (peek(fd, entry + offsetof(struct zr_entry, valid), 8) & 1) *
				       sizeof(struct zr_attrs);

	refused_with(fd, entry + offsetof(struct zr_entry, size_bytes), 8, ZR_DISK_SIZE_MAX + 1,
		     -EUCLEAN);
	refused_with(fd, attrs + offsetof(struct zr_attrs, name), 1, 0, -EUCLEAN);
	refused_with(fd, attrs + offsetof(struct zr_attrs, name), 1, '.', -EUCLEAN);
	refused_with(fd, attrs + offsetof(struct zr_attrs, codecs), 4, 77, -EUCLEAN);
	refused_with(fd, attrs + offsetof(struct zr_attrs, codecs[3]), 4, 77, -EUCLEAN);
	refused_with(fd, attrs + offsetof(struct zr_attrs, label) + ZR_LABEL_MAX, 1, 1, -EUCLEAN);
	refused_with(fd, attrs + offsetof(struct zr_attrs, swap_priority), 4, 32768, -EUCLEAN);
	refused_with(fd, attrs + offsetof(struct zr_attrs, swap_priority), 4, UINT32_MAX - 1,
		     -EUCLEAN);
	refused_with(fd, attrs + offsetof(struct zr_attrs, idle_age_s), 4, ZR_AGE_S_MAX + 1,
		     -EUCLEAN);
	refused_with(fd, attrs + offsetof(struct zr_attrs, compact_at), 4, 101, -EUCLEAN);
	attach(fd);
	CHECK(has("disk0", "here"));
	rig_deinit(&rig);
}

static void test_damaged_tree(void)
{
	static const uint64_t garbage[] = { 1,
					    255,
					    4095,
					    ZR_POSITION_MAX,
					    UINT64_MAX,
					    UINT64_C(1) << 63,
					    RIG_STORE_BYTES / ZR_CELL_UNIT };
	const int fd = a_store();
	const uint64_t root = ENTRY_OFFSET(0) + offsetof(struct zr_entry, root);
	const uint64_t ages = ENTRY_OFFSET(0) + offsetof(struct zr_entry, ages_root);
	uint64_t at = root, next;
	unsigned int level, i;

	for (level = 0; level < 4; ++level) {
		for (i = 0; i < ZR_ARRAY_SIZE(garbage); ++i)
			refused_with(fd, at, 8, garbage[i], -EUCLEAN);
		/* a loop: the node as its own child */
		next = peek(fd, at, 8) * ZR_CELL_UNIT;
		refused_with(fd, next, 8, next / ZR_CELL_UNIT, -EUCLEAN);
		/* and as one of the tree of ages */
		refused_with(fd, ages, 8, next / ZR_CELL_UNIT, -EUCLEAN);
		at = next;
	}
	for (i = 0; i < ZR_ARRAY_SIZE(garbage); ++i)
		refused_with(fd, ages, 8, garbage[i], -EUCLEAN);
	attach(fd);
	CHECK(has("disk0", "here"));
	rig_deinit(&rig);
}

/* Two slots with one object, slots beyond objects of others, kinds that are none. */
static void test_damaged_slots(void)
{
	const int fd = a_store();
	uint64_t leaf = ENTRY_OFFSET(0) + offsetof(struct zr_entry, root), slot;
	unsigned int level;

	for (level = 0; level < 4; ++level)
		leaf = peek(fd, leaf, 8) * ZR_CELL_UNIT;
	slot = peek(fd, leaf, 8);
	CHECK(zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT);

	refused_with(fd, leaf + 8, 8, slot, -EUCLEAN);
	refused_with(fd, leaf + 511 * 8, 8, slot, -EUCLEAN);
	refused_with(fd, leaf, 8, slot + (UINT64_C(1) << 20), -EUCLEAN);
	refused_with(fd, leaf, 8, slot | 1, -EUCLEAN);
	refused_with(fd, leaf, 8, slot | UINT64_C(1) << 63, -EUCLEAN);
	refused_with(fd, leaf, 8, zr_slot_object(leaf / ZR_CELL_UNIT, 4096, 0), -EUCLEAN);
	attach(fd);
	CHECK(has("disk0", "here"));
	rig_deinit(&rig);
}

/* The table says which class a span is of: others than the objects in it, none, or one there is
 * not. */
static void test_damaged_span_table(void)
{
	const int fd = a_store();
	const uint64_t n_spans = peek(fd, offsetof(struct zr_superblock, n_spans), 8);
	uint64_t span_no, class_no;

	CHECK(n_spans >= 2);
	for (span_no = 0; span_no < n_spans; ++span_no) {
		const uint64_t good = peek(fd, ZR_SPAN_TABLE + span_no, 1);

		if (good == 0)
			continue; /* it is free: it could be of any */
		for (class_no = 0; class_no < 256; class_no += 15) {
			if (class_no != good)
				refused_with(fd, ZR_SPAN_TABLE + span_no, 1, class_no, -EUCLEAN);
		}
	}
	refused_with(fd, offsetof(struct zr_superblock, n_spans), 8, 0, -EUCLEAN);
	refused_with(fd, offsetof(struct zr_superblock, n_spans), 8, RIG_STORE_BYTES >> 20,
		     -EUCLEAN);
	refused_with(fd, offsetof(struct zr_superblock, n_spans), 8, UINT64_MAX, -EUCLEAN);
	attach(fd);
	CHECK(has("disk0", "here"));
	rig_deinit(&rig);
}

/* The memory of an object is not there: it would read as zeros. What is there must stay. */
static void test_missing_memory(void)
{
	const int fd = a_store();
	uint64_t leaf = ENTRY_OFFSET(0) + offsetof(struct zr_entry, root), at;
	const ssize_t n_bytes = (ssize_t)zr_system_page_bytes();
	static uint8_t page[ZR_SYSTEM_PAGE_MAX];
	unsigned int level;
	struct stat before, after;

	for (level = 0; level < 4; ++level)
		leaf = peek(fd, leaf, 8) * ZR_CELL_UNIT;
	at = zr_align_down(zr_slot_position(peek(fd, leaf, 8)) * ZR_CELL_UNIT, (uint64_t)n_bytes);
	CHECK(pread(fd, page, n_bytes, (off_t)at) == n_bytes);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, n_bytes) == 0);
	CHECK(fstat(fd, &before) == 0);
	refused(fd, -EUCLEAN);
	CHECK(fstat(fd, &after) == 0);
	CHECK(before.st_blocks == after.st_blocks);
	CHECK(pwrite(fd, page, n_bytes, (off_t)at) == n_bytes);
	attach(fd);
	CHECK(has("disk0", "here"));
	rig_deinit(&rig);
}

static void test_what_is_no_store(void)
{
	int fd;

	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	refused(fd, -EINVAL);
	close(fd);
	fd = memfd_create("test", MFD_CLOEXEC);
	CHECK(fd >= 0);
	refused(fd, -EINVAL);
	CHECK(ftruncate(fd, 4096) == 0);
	refused(fd, -EINVAL);
	CHECK(ftruncate(fd, (off_t)RIG_STORE_BYTES) == 0);
	refused(fd, -EINVAL);
	close(fd);
}

/* A store cut short: its superblock says it was longer. */
static void test_cut_store(void)
{
	int fd;

	CHECK(zr_store_new(&rig.store, 2 * RIG_STORE_BYTES) == 0);
	fd = let_go();
	CHECK(ftruncate(fd, (off_t)RIG_STORE_BYTES) == 0);
	refused(fd, -EUCLEAN);
	CHECK(ftruncate(fd, 4096) == 0);
	refused(fd, -EINVAL);
	close(fd);
}

/* what a death leaves half done */

static void test_rename_over_is_finished(void)
{
	struct zr_disk *a, *b;

	rig_init(&rig);
	CHECK(add("a", &a) == 0 && add("b", &b) == 0);
	put_text(a, "first");
	put_text(b, "second");
	CHECK(zr_disk_set_name(a, "b", b->id) == 0); /* and no more: b is not removed */
	zr_disk_unpin(rig.store, a);
	zr_disk_unpin(rig.store, b);
	rig_reattach(&rig);
	CHECK(has("b", "first") && zr_store_find(rig.store, "a") == NULL);
	a = zr_store_next(rig.store, 0);
	CHECK(zr_store_next(rig.store, a->id) == NULL);
	zr_disk_unpin(rig.store, a);
	rig_deinit(&rig);
}

/* The size is set, the pages past it are there still, and the end of the last page is not zero. */
static void test_truncate_is_finished(void)
{
	static uint8_t bytes[MIB(5)];
	struct zr_disk *disk;
	int fd;

	rig_init(&rig);
	CHECK(add("a", &disk) == 0);
	memset(bytes, 0x99, sizeof(bytes));
	disk_put(&rig, disk, 0, bytes, sizeof(bytes));
	zr_disk_unpin(rig.store, disk);
	fd = let_go();
	poke(fd, ENTRY_OFFSET(0) + offsetof(struct zr_entry, size_bytes), 5000, 8);
	attach(fd);

	disk = zr_store_find(rig.store, "a");
	CHECK(zr_disk_orig_bytes(disk) == 8192);
	CHECK(zr_disk_truncate(disk, rig.ctx, sizeof(bytes)) == 0);
	disk_get(&rig, disk, 0, bytes, sizeof(bytes));
	CHECK(bytes_are(bytes, 0x99, 5000));
	CHECK(bytes_are(bytes + 5000, 0, sizeof(bytes) - 5000));
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* The same on a disk at its limit, where the last page must grow from a word to an object. */
static void test_a_disk_at_its_limit_can_be_attached(void)
{
	struct zr_disk *disk;
	uint8_t bytes[5000];
	size_t n_written;
	int fd;

	rig_init(&rig);
	CHECK(add("a", &disk) == 0);
	memset(bytes, 0x99, sizeof(bytes));
	disk_put(&rig, disk, 0, bytes, 4096);
	CHECK(zr_disk_set_mem_limit(disk, 1) == 0);
	zr_disk_unpin(rig.store, disk);
	fd = let_go();
	poke(fd, ENTRY_OFFSET(0) + offsetof(struct zr_entry, size_bytes), 1000, 8);
	attach(fd);

	disk = zr_store_find(rig.store, "a");
	CHECK(zr_disk_extend(disk, sizeof(bytes)) == 0);
	disk_get(&rig, disk, 0, bytes, sizeof(bytes));
	CHECK(bytes_are(bytes, 0x99, 1000) && bytes_are(bytes + 1000, 0, 4000));
	bytes[4096] = 1;
	CHECK(zr_disk_write(disk, rig.ctx, 4096, bytes, 1000, &n_written) == -ENOSPC);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* Memory given to an entry that was not counted yet, and to spans that nothing refers to. */
static void test_stray_memory_goes_back(void)
{
	const int fd = a_store();

	poke(fd, ENTRY_OFFSET(1), 0, 8);
	poke(fd, ENTRY_OFFSET(1000), 1, 8);
	poke(fd, zr_spans_offset(RIG_STORE_BYTES) + 100 * ZR_SPAN_BYTES, 1, 8);
	poke(fd, ZR_SPAN_TABLE + ZR_PAGE_SIZE, 1, 8);
	poke(fd, RIG_STORE_BYTES - 8, 1, 8);
	attach(fd); /* which compares all memory with what is accounted for */
	CHECK(has("disk0", "here"));
	rig_deinit(&rig);
}

/* A removed disk whose pages were not freed yet. */
static void test_removal_is_finished(void)
{
	struct zr_store_usage usage;
	const int fd = a_store();

	poke(fd, ENTRY_OFFSET(0) + offsetof(struct zr_entry, id), 0, 8);
	attach(fd);
	zr_store_usage(rig.store, &usage);
	CHECK(usage.n_disks == 0 && usage.span_bytes == 0);
	rig_deinit(&rig);
}

/* A GiB of pages. */
static void test_attaching_takes_no_time(void)
{
	const uint64_t n_pages = test_number("PAGES", 262144);
	uint8_t page[ZR_PAGE_SIZE] = { 0 };
	struct timespec began, ended;
	struct rng rng = rng_init("test-store");
	struct zr_disk *disk;
	uint64_t page_no;
	int fd;

	rig_init(&rig);
	CHECK(add("disk0", &disk) == 0);
	for (page_no = 0; page_no < n_pages; ++page_no) {
		bytes_random(&rng, page, 8 * (1 + rng_below(&rng, 40)));
		disk_put(&rig, disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
	}
	zr_disk_unpin(rig.store, disk);
	fd = let_go();
	clock_gettime(CLOCK_MONOTONIC, &began);
	CHECK(zr_store_attach(&rig.store, fd) == 0);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("# attached %" PRIu64 " pages in %.1f ms\n", n_pages,
	       (double)(ended.tv_sec - began.tv_sec) * 1e3 +
		       (double)(ended.tv_nsec - began.tv_nsec) / 1e6);
	rig_deinit(&rig);
}

/* Another worker's store is packed as one's own, and that it was is remembered. */
static void test_compaction_after_attaching(void)
{
	struct zr_store_usage before, after;
	struct rng rng = rng_init("test-store");
	uint8_t page[ZR_PAGE_SIZE];
	struct zr_disk *disk;
	uint64_t page_no;

	rig_init(&rig);
	CHECK(add("disk0", &disk) == 0);
	for (page_no = 0; page_no < 4000; ++page_no) {
		stamp_make(page, sizeof(page), page_no << 8 | 1);
		disk_put(&rig, disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
	}
	for (page_no = 0; page_no < 4000; ++page_no) {
		if (rng_below(&rng, 2))
			CHECK(zr_disk_punch(disk, rig.ctx, page_no * ZR_PAGE_SIZE, ZR_PAGE_SIZE) ==
			      0);
	}
	zr_disk_unpin(rig.store, disk);
	rig_reattach(&rig);
	zr_store_usage(rig.store, &before);
	CHECK(before.pages_compacted == 0);
	CHECK(zr_store_compact(rig.store) > 0);
	rig_validate(rig.store);
	zr_store_usage(rig.store, &after);
	CHECK(after.span_bytes < before.span_bytes * 2 / 3 && after.pages_compacted > 0);
	rig_reattach(&rig);
	zr_store_usage(rig.store, &before);
	CHECK(before.pages_compacted == after.pages_compacted);
	rig_deinit(&rig);
}

int main(void)
{
	RUN(test_new_store_is_empty);
	RUN(test_add_find_remove);
	RUN(test_next_goes_by_id);
	RUN(test_pins_keep_a_removed_disk);
	RUN(test_names);
	RUN(test_bad_attributes_do_not_get_in);
	RUN(test_there_is_a_most_of_disks);
	RUN(test_rename);
	RUN(test_refused_memory_adds_nothing);
	RUN(test_attach_reads_everything_back);
	RUN(test_figures_are_derived);
	RUN(test_damaged_superblock);
	RUN(test_damaged_entry);
	RUN(test_damaged_tree);
	RUN(test_damaged_slots);
	RUN(test_damaged_span_table);
	RUN(test_missing_memory);
	RUN(test_what_is_no_store);
	RUN(test_cut_store);
	RUN(test_rename_over_is_finished);
	RUN(test_truncate_is_finished);
	RUN(test_a_disk_at_its_limit_can_be_attached);
	RUN(test_stray_memory_goes_back);
	RUN(test_removal_is_finished);
	RUN(test_attaching_takes_no_time);
	RUN(test_compaction_after_attaching);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Anything written to anything below .control/, in any order
 *
 * An input is text; each line is one step:
 *
 *   +LINE          hot_add
 *   -NAME          hot_remove
 *   @NAME          the disk that what follows is about
 *   =N B           write page N: as many bytes as N says repeat, the rest is of one byte B
 *   ~N             discard page N and the eight after it
 *   !NAME VALUE    attribute of the daemon
 *   NAME VALUE     attribute of the disk; backing_dev /fake is a file, and no other
 *
 * Whatever they are, each is refused with an errno or done; what can be read afterwards is text in
 * lines; the store is sound, and empty once its disks are removed. It is kept from one input to the
 * next, and what a pool keeps looks like a leak to libFuzzer: ASAN_OPTIONS=detect_leaks=0. Whether
 * all of it is freed is looked at where the corpus is replayed.
 */

#include "unit/fake-backing.h"

#include <errno.h>

#include "attr.h"
#include "batch.h"
#include "compact.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);
void fuzz_tear_down(void);

#define DISKS_MAX 4u
#define PAGE_MAX  4096u /* of those written: a leaf or some */

static struct rig rig;
static struct zr_disk_spec defaults;
static struct zr_attr_target target;

static uint64_t file_id;
static struct zr_batch *the_batch;

static void check_errno(int r)
{
	CHECK(r <= 0 && r > -4096);
}

/* Return: the id of the file, or -ENOENT. */
static int file_find(const char *path, uint64_t *idp)
{
	if (*path && strcmp(path, "/fake") != 0)
		return -ENOENT;
	*idp = *path ? file_id : 0;
	return 0;
}

static int back(void *context, struct zr_disk *disk, const char *path, struct zr_stop stop)
{
	uint64_t id = 0;
	int r;

	r = file_find(path, &id);
	return r < 0 ? r : zr_store_back(rig.store, disk, id);
}

static struct zr_batch *take_batch(void *context, struct zr_stop stop)
{
	return the_batch;
}

static void give_batch(void *context, struct zr_batch *batch)
{
	CHECK(batch == the_batch);
}

/* What it can do for a disk; for the daemon it can do nothing. */
static const struct zr_attr_daemon daemon_part = { .back = back,
						   .take_batch = take_batch,
						   .give_batch = give_batch };

/* Text of whole lines. */
static void check_text(const char *text, int n_text)
{
	if (n_text < 0) {
		check_errno(n_text);
		return;
	}
	CHECK(n_text == 0 || text[n_text - 1] == '\n');
	CHECK(memchr(text, 0, (size_t)n_text) == NULL);
}

static void show(const struct zr_attr *attr)
{
	static char text[ZR_ATTR_TEXT_MAX];
	uint64_t cursor = 0;
	int n_text;

	if (attr->show)
		check_text(text, attr->show(&target, text, sizeof(text)));
	while (attr->stream) {
		n_text = attr->stream(&target, &cursor, text, sizeof(text));
		check_text(text, n_text);
		if (n_text <= 0)
			break;
	}
}

/* A few of those there are, others from input to input: all of them take half a millisecond. */
static void show_some(unsigned int daemon_flag, size_t seed)
{
	const struct zr_attr *attr;
	unsigned int i;

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if ((attr->flags & ZR_ATTR_DAEMON) == daemon_flag && (i + seed) % 16 == 0)
			show(attr);
	}
}

static void choose(const char *name)
{
	target.disk = zr_disk_unpin(rig.store, target.disk);
	target.disk = zr_store_find(rig.store, name);
}

static size_t count_disks(void)
{
	struct zr_store_usage usage;

	zr_store_usage(rig.store, &usage);
	return usage.n_disks;
}

static void add(const char *line)
{
	struct zr_disk_spec spec = defaults;
	char why[ZR_ATTR_WHY_MAX];
	struct zr_disk *disk = NULL;
	int r;

	r = zr_attr_parse_line(&spec, line, why);
	CHECK(r == 0 || (memchr(why, 0, sizeof(why)) && why[0]));
	if (r < 0 || count_disks() >= DISKS_MAX)
		return;

	if (file_find(spec.backing_dev, &spec.attrs.backing_id) < 0)
		return;
	r = zr_store_add(rig.store, rig.ctx, &spec, &disk);
	check_errno(r);
	if (r == 0) {
		choose(spec.attrs.name);
		CHECK(target.disk == disk);
	}
	zr_disk_unpin(rig.store, disk);
}

static void remove_named(const char *name)
{
	struct zr_disk *disk = zr_store_find(rig.store, name);

	if (disk)
		zr_store_remove(rig.store, disk);
	zr_disk_unpin(rig.store, disk);
}

static void write_page(const char *words)
{
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int page_no = 0, byte = 0, i;
	size_t n_written;

	if (!target.disk || sscanf(words, "%4u %3u", &page_no, &byte) < 1)
		return;
	for (i = 0; i < sizeof(page); ++i)
		page[i] = (uint8_t)(i < page_no ? i * i * 2654435761u >> 13 : byte);
	check_errno(zr_disk_write(target.disk, rig.ctx, (uint64_t)(page_no % PAGE_MAX) << 12, page,
				  sizeof(page), &n_written));
}

static void discard(const char *word)
{
	unsigned int page_no;

	if (target.disk && sscanf(word, "%4u", &page_no) == 1)
		check_errno(zr_disk_punch(target.disk, rig.ctx, (uint64_t)page_no << 12, 9 << 12));
}

static void set(char *line, unsigned int daemon_flag)
{
	char *value = strchr(line, ' ');
	const struct zr_attr *attr;

	if (value)
		*value++ = 0;
	attr = daemon_flag ? zr_attr_find_daemon(line) : zr_attr_find(line);
	if (!attr || !attr->apply || (!target.disk && !daemon_flag))
		return;
	target.daemon = daemon_flag ? NULL : &daemon_part;
	check_errno(attr->apply(&target, value ? value : ""));
	show(attr);
	target.daemon = NULL;
}

static void step(char *line)
{
	switch (*line) {
	case '+':
		add(line + 1);
		break;
	case '-':
		remove_named(line + 1);
		break;
	case '@':
		choose(line + 1);
		break;
	case '=':
		write_page(line + 1);
		break;
	case '~':
		discard(line + 1);
		break;
	case '!':
		set(line + 1, ZR_ATTR_DAEMON);
		break;
	default:
		set(line, 0);
	}
}

static void check_and_clear(size_t seed)
{
	struct zr_disk *disk, *next;

	show_some(ZR_ATTR_DAEMON, seed);
	for (disk = zr_store_next(rig.store, 0); disk; disk = next) {
		target.disk = disk;
		show_some(0, seed);
		next = zr_store_next(rig.store, disk->id);
		zr_store_remove(rig.store, disk);
		zr_disk_unpin(rig.store, disk);
	}
	target.disk = NULL;
	zr_store_set_mem_limit(rig.store, 0);
	if (seed % 16 == 0)
		zr_store_validate(rig.store);
	CHECK(count_disks() == 0);
}

/* For the driver: what is kept from one input to the next. */
void fuzz_tear_down(void)
{
	the_batch = zr_batch_free(the_batch);
	rig_deinit(&rig);
	fake_deinit();
}

static void prepare(void)
{
	struct zr_backing_record record;

	fake_init(MIB(4));
	record = fake_record();
	rig_init(&rig);
	CHECK(zr_ctx_let_wait(rig.ctx) == 0 && zr_batch_new(&the_batch) == 0);
	CHECK(zr_store_backing_add(rig.store, 0, &record, &fake_io, &file_id) == 0);
	zr_disk_spec_init(&defaults, UINT64_C(1) << 30);
	target = (struct zr_attr_target){
		.store = rig.store, .ctx = rig.ctx, .defaults = &defaults.attrs, .n_threads = 2
	};
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
	char text[ZR_ATTR_VALUE_MAX + 1], *line, *rest = text;
	size_t seed = n_bytes, i;

	if (n_bytes >= sizeof(text))
		return -1;
	if (!rig.store)
		prepare();
	/* As the daemon does, text ends at a NUL. */
	memcpy(text, bytes, n_bytes);
	text[n_bytes] = 0;

	add("disk0 disksize=1M");
	while ((line = strsep(&rest, "\n")))
		step(line);
	target.disk = zr_disk_unpin(rig.store, target.disk);
	for (i = 0; i < n_bytes; ++i)
		seed = seed * 31 + bytes[i];
	check_and_clear(seed);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What changes names, sizes and handles, over and over, on names that are nobody else's: so each
 * answer is known. A request that is served twice says EEXIST, ENOENT, ENODEV or EBUSY to a caller
 * who did nothing for it.
 *
 * contend: two threads take and give back names that they share. Whoever made a name has it alone
 * until it is removed: one that was made or removed twice has two owners.
 */

#include "load.h"
#include "page.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test.h"

#define NAME_BYTES   64u
#define N_OPEN       8u
#define N_CONTENDERS 2u
#define DATA_PAGES   16u
#define LISTING      32768u
#define TEXT_BYTES   262144u

/* A call that may wait for the daemon. Its value: the result, or -errno. */
#define ASK(no, call)                            \
	({                                       \
		load_asks((no), #call, n_steps); \
		const long r_ = (call);          \
		const int error_ = errno;        \
		load_has(no);                    \
		r_ < 0 ? -error_ : (int)r_;      \
	})

static int point; /* the top of the mount */
static const char *prefix;
static uint64_t seed;
static _Atomic uint64_t n_steps;
static struct rng rng; /* of the only thread, unless they contend */
static char a[NAME_BYTES], b[NAME_BYTES], c[NAME_BYTES], kept[NAME_BYTES];
static uint8_t *bytes;
static uint32_t round_no;

static void expect(int got, int wanted, const char *what, const char *name)
{
	if (got != wanted && !(wanted == 0 && got > 0))
		load_fail("%s %s: %s, and not: %s (after %llu steps)", what, name,
			  got < 0 ? strerror(-got) : "done",
			  wanted < 0 ? strerror(-wanted) : "done", (unsigned long long)n_steps);
}

static void name_make(char name[NAME_BYTES], const char *end)
{
	snprintf(name, NAME_BYTES, "%s-%s", prefix, end);
}

/* requests whose answer is known */

static int must_open(const char *name, int flags)
{
	const int file = ASK(0, openat(point, name, flags | O_CLOEXEC, 0600));

	expect(file, 0,
	       flags & O_CREAT   ? "create"
	       : flags & O_TRUNC ? "open O_TRUNC"
				 : "open",
	       name);
	return file;
}

static void must_be_gone(const char *name)
{
	expect(ASK(0, openat(point, name, O_RDONLY | O_CLOEXEC)), -ENOENT, "open", name);
}

static void must_unlink(const char *name)
{
	expect(ASK(0, unlinkat(point, name, 0)), 0, "unlink", name);
	expect(ASK(0, unlinkat(point, name, 0)), -ENOENT, "unlink again", name);
	must_be_gone(name);
}

static void must_measure(const char *name, off_t wanted)
{
	struct stat stat = { 0 };

	expect(ASK(0, fstatat(point, name, &stat, 0)), 0, "stat", name);
	if (stat.st_size != wanted)
		load_fail("%s: %lld bytes, and not %lld", name, (long long)stat.st_size,
			  (long long)wanted);
}

static void must_truncate(const char *name, off_t size)
{
	char path[NAME_BYTES + 32];

	/* truncateat(2) does not exist */
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", point, name);
	expect(ASK(0, truncate(path, size)), 0, "truncate", name);
	must_measure(name, size);
}

/* One write of a control file of the mount. Return: 0, or -errno. */
static int control(unsigned int no, const char *directory, const char *file_name, const char *text)
{
	char path[2 * NAME_BYTES + 16];
	int file, r;

	snprintf(path, sizeof(path), ".control/%s%s%s", directory, *directory ? "/" : "",
		 file_name);
	file = ASK(no, openat(point, path, O_WRONLY | O_CLOEXEC));
	if (file < 0)
		return file;
	r = ASK(no, write(file, text, strlen(text)));
	(void)ASK(no, close(file));
	return r < 0 ? r : 0;
}

static void must_control(const char *directory, const char *file_name, const char *text, int wanted)
{
	expect(control(0, directory, file_name, text), wanted, file_name, text);
}

/* contents: a round for each file that is written */

static struct page_name name_of(unsigned int page)
{
	return (struct page_name){ .key = (uint8_t)prefix[0], .no = page };
}

static uint32_t write_pages(int file, const char *name, unsigned int n_pages)
{
	const uint32_t round = ++round_no;
	unsigned int i;

	for (i = 0; i < n_pages; ++i)
		page_make(bytes + i * PAGE_BYTES, name_of(i), round);
	expect(ASK(0, pwrite(file, bytes, n_pages * PAGE_BYTES, 0)), (int)(n_pages * PAGE_BYTES),
	       "write", name);
	return round;
}

static void check_page(const char *name, unsigned int page, uint32_t round)
{
	const char *wrong;

	wrong = page_check(bytes + page * PAGE_BYTES, name_of(page), round, round, round == 0,
			   NULL);
	if (wrong)
		load_fail("%s: page %u %s", name, page, wrong);
}

static void read_pages(const char *name, unsigned int n_pages, uint32_t round)
{
	const int file = must_open(name, O_RDONLY);
	unsigned int i;

	expect(ASK(0, pread(file, bytes, DATA_PAGES * PAGE_BYTES, 0)), (int)(n_pages * PAGE_BYTES),
	       "read", name);
	for (i = 0; i < n_pages; ++i)
		check_page(name, i, round);
	expect(ASK(0, close(file)), 0, "close", name);
}

static uint32_t make_file(const char *name)
{
	const int file = must_open(name, O_RDWR | O_CREAT | O_EXCL);
	const uint32_t round = write_pages(file, name, 2);

	expect(ASK(0, close(file)), 0, "close", name);
	return round;
}

/* the steps: each leaves none of its names */

static void step_create(void)
{
	int file = must_open(a, O_RDWR | O_CREAT | O_EXCL);

	expect(ASK(0, openat(point, a, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)), -EEXIST,
	       "create again", a);
	must_measure(a, 0);
	expect(ASK(0, close(file)), 0, "close", a);
	must_unlink(a);
}

static void step_mknod(void)
{
	expect(ASK(0, mknodat(point, b, S_IFREG | 0600, 0)), 0, "mknod", b);
	expect(ASK(0, mknodat(point, b, S_IFREG | 0600, 0)), -EEXIST, "mknod again", b);
	must_truncate(b, 65536);
	must_unlink(b);
}

static void step_rename(void)
{
	uint32_t round = make_file(a);

	expect(ASK(0, renameat(point, a, point, b)), 0, "rename", a);
	expect(ASK(0, renameat(point, a, point, b)), -ENOENT, "rename again", a);
	must_be_gone(a);
	read_pages(b, 2, round);

	round = make_file(c);
	expect(ASK(0, syscall(SYS_renameat2, point, c, point, b, RENAME_NOREPLACE)), -EEXIST,
	       "rename without replacing", c);
	expect(ASK(0, renameat(point, c, point, b)), 0, "rename over", b);
	must_be_gone(c);
	read_pages(b, 2, round);
	must_unlink(b);
}

static void step_size(void)
{
	const off_t cut = PAGE_BYTES + 904;
	int file = must_open(c, O_RDWR | O_CREAT | O_EXCL);
	uint32_t round = write_pages(file, c, DATA_PAGES);
	unsigned int i;

	expect(ASK(0, ftruncate(file, 1048576)), 0, "ftruncate", c);
	must_measure(c, 1048576);
	expect(ASK(0, close(file)), 0, "close", c);

	must_truncate(c, cut);
	must_truncate(c, DATA_PAGES * PAGE_BYTES);
	file = must_open(c, O_RDONLY);
	expect(ASK(0, pread(file, bytes, DATA_PAGES * PAGE_BYTES, 0)), DATA_PAGES * PAGE_BYTES,
	       "read", c);
	expect(ASK(0, close(file)), 0, "close", c);
	check_page(c, 0, round);
	for (i = (unsigned int)cut; i < DATA_PAGES * PAGE_BYTES; ++i)
		if (bytes[i])
			load_fail("%s: byte %u was cut off, and is %u", c, i, bytes[i]);

	file = must_open(c, O_RDWR | O_TRUNC);
	must_measure(c, 0);
	round = write_pages(file, c, 3);
	expect(ASK(0, close(file)), 0, "close", c);
	must_measure(c, 3 * PAGE_BYTES);
	read_pages(c, 3, round);
	must_unlink(c);
}

static void step_hot(void)
{
	char line[NAME_BYTES + 64];
	uint32_t round;
	int file;

	snprintf(line, sizeof(line), "%s disksize=1M mem_limit=512K\n", a);
	must_control("", "hot_add", line, 0);
	must_control("", "hot_add", line, -EEXIST);
	must_measure(a, 1048576);
	must_control(a, "disksize", "2M\n", -EBUSY);
	file = must_open(a, O_RDWR);
	round = write_pages(file, a, 2);
	expect(ASK(0, close(file)), 0, "close", a);
	must_truncate(a, 2 * PAGE_BYTES);
	read_pages(a, 2, round);

	must_control(a, "reset", "1\n", 0);
	must_measure(a, 0);
	must_control(a, "disksize", "2M\n", 0);
	must_measure(a, 2097152);
	must_control("", "hot_remove", a, 0);
	must_control("", "hot_remove", a, -ENODEV);
	must_be_gone(a);
}

/* A name that stays is listed once, whatever else comes and goes. */
static void must_be_listed(const char *name)
{
	struct dirent64 *entry;
	unsigned int n_found = 0;
	int directory, n, at;

	directory = must_open(".", O_RDONLY | O_DIRECTORY);
	while ((n = ASK(0, getdents64(directory, bytes, LISTING))) > 0)
		for (at = 0; at < n; at += entry->d_reclen) {
			entry = (struct dirent64 *)(bytes + at);
			n_found += strcmp(entry->d_name, name) == 0;
		}
	expect(n, 0, "list", ".");
	expect(ASK(0, close(directory)), 0, "close", ".");
	if (n_found != 1)
		load_fail("%s is listed %u times", name, n_found);
}

static void step_open(void)
{
	int files[N_OPEN], file;
	unsigned int i;

	for (i = 0; i < N_OPEN; ++i)
		files[i] = must_open(kept, rng_below(&rng, 2) ? O_RDONLY : O_RDWR);
	for (i = 0; i < N_OPEN; ++i) {
		expect(ASK(0, pread(files[i], bytes, PAGE_BYTES, PAGE_BYTES)), PAGE_BYTES, "read",
		       kept);
		check_page(kept, 0, 0);
		expect(ASK(0, close(files[i])), 0, "close", kept);
	}
	must_be_listed(kept);

	file = must_open(".stats", O_RDONLY);
	expect(ASK(0, pread(file, bytes, TEXT_BYTES, 0)), 0, "read", ".stats");
	expect(ASK(0, close(file)), 0, "close", ".stats");
}

static void run(unsigned int no)
{
	static void (*const steps[])(void) = { step_create, step_mknod, step_rename,
					       step_size,   step_hot,   step_open };
	const int file = must_open(kept, O_RDWR | O_CREAT | O_EXCL);

	expect(ASK(0, ftruncate(file, 2 * PAGE_BYTES)), 0, "ftruncate", kept);
	expect(ASK(0, close(file)), 0, "close", kept);
	while (load_goes_on()) {
		memset(bytes, 0, DATA_PAGES * PAGE_BYTES);
		steps[rng_below(&rng, sizeof(steps) / sizeof(steps[0]))]();
		atomic_fetch_add(&n_steps, 1);
	}
	must_unlink(kept);
}

/* contending */

static int take_create(unsigned int no, const char *name, const char *own)
{
	const int file = ASK(no, openat(point, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));

	return file < 0 ? file : ASK(no, close(file));
}

static int take_mknod(unsigned int no, const char *name, const char *own)
{
	return ASK(no, mknodat(point, name, S_IFREG | 0600, 0));
}

static int give_unlink(unsigned int no, const char *name, const char *own)
{
	return ASK(no, unlinkat(point, name, 0));
}

static int take_rename(unsigned int no, const char *name, const char *own)
{
	return ASK(no, syscall(SYS_renameat2, point, own, point, name, RENAME_NOREPLACE));
}

static int give_rename(unsigned int no, const char *name, const char *own)
{
	return ASK(no, renameat(point, name, point, own));
}

static int take_hot(unsigned int no, const char *name, const char *own)
{
	return control(no, "", "hot_add", name);
}

static int give_hot(unsigned int no, const char *name, const char *own)
{
	return control(no, "", "hot_remove", name);
}

static struct shared {
	const char *what;
	int (*take)(unsigned int no, const char *name, const char *own);
	int (*give)(unsigned int no, const char *name, const char *own);
	_Atomic unsigned int n_owners;
} shared[] = {
	{ "create", take_create, give_unlink },
	{ "mknod", take_mknod, give_unlink },
	{ "rename", take_rename, give_rename },
	{ "hot_add", take_hot, give_hot },
};

static void contend(unsigned int no)
{
	struct rng chance = { .state = seed + no };
	char own[NAME_BYTES], name[NAME_BYTES];
	int r;

	snprintf(own, sizeof(own), "%s-own%u", prefix, no);
	expect(ASK(no, mknodat(point, own, S_IFREG | 0600, 0)), 0, "mknod", own);
	while (load_goes_on()) {
		struct shared *what =
			&shared[rng_below(&chance, sizeof(shared) / sizeof(shared[0]))];

		name_make(name, what->what);
		r = what->take(no, name, own);
		atomic_fetch_add(&n_steps, 1);
		if (r == -EEXIST)
			continue;
		expect(r, 0, what->what, name);
		if (atomic_fetch_add(&what->n_owners, 1) != 0)
			load_fail("%s: %s was taken by two", name, what->what);
		expect(ASK(no, faccessat(point, name, F_OK, 0)), 0, "access", name);
		if (atomic_fetch_sub(&what->n_owners, 1) != 1)
			load_fail("%s: %s was given back by two", name, what->what);
		expect(what->give(no, name, own), 0, "give back", name);
	}
	expect(ASK(no, unlinkat(point, own, 0)), 0, "unlink", own);
}

int main(int argc, char **argv)
{
	if (argc < 3 || argc > 4 || (argc == 4 && strcmp(argv[3], "contend") != 0))
		load_fail("usage: names MOUNTPOINT PREFIX [contend]");
	load_init();
	rng = rng_init("names");
	seed = rng.state;
	prefix = argv[2];
	name_make(a, "a");
	name_make(b, "b");
	name_make(c, "c");
	name_make(kept, "kept");
	bytes = load_buffer(TEXT_BYTES);
	point = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (point < 0)
		load_fail("%s: %s", argv[1], strerror(errno));

	if (argc == 4)
		load_run(N_CONTENDERS, contend);
	else
		load_run(1, run);
	printf("%llu steps\n", (unsigned long long)n_steps);
	return EXIT_SUCCESS;
}

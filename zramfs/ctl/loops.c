/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "loops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "say.h"
#include "swaps.h"
#include "sysfile.h"

#define SYS_BLOCK     "/sys/block"
#define DELETED       " (deleted)"
#define DEVICE_PREFIX "/dev/loop"

/* /sys/block/loop0 */
#define SYS_MAX 64u

/* A line of mountinfo. */
struct mounted {
	dev_t number;
	char *point;
	char *source; /* empty where the number says all */
};

/* What may lie on a device, read once for all of them. */
struct tops {
	struct mounted *mounted;
	size_t n_mounted;
	struct swap_area *areas;
	size_t n_areas;
};

static int by_number(const void *a, const void *b)
{
	const struct loop_user *one = a, *other = b;

	return minor(one->number) < minor(other->number)
		       ? -1
		       : minor(one->number) > minor(other->number);
}

/* mountinfo */

/* "36 35 98:0 / /point rw,noatime master:1 - ext4 /dev/source rw" */
static bool mounted_parse(struct mounted *mounted, const char *line)
{
	const char *right = strstr(line, " - ");
	unsigned int device_major, device_minor;
	char type[16] = "", *point = NULL, *source = NULL;

	if (!right ||
	    sscanf(line, "%*d %*d %u:%u %*s %ms", &device_major, &device_minor, &point) != 3) {
		free(point);
		return false;
	}
	/* btrfs mounts under a device number of its own, and so its source must tell. That of most
	 * others is free text. */
	if (sscanf(right, " - %15s %ms", type, &source) != 2 || strcmp(type, "btrfs") != 0) {
		free(source);
		source = say_text("%s", "");
	}
	sysfile_unescape(point);
	sysfile_unescape(source);
	*mounted = (struct mounted){ makedev(device_major, device_minor), point, source };
	return true;
}

static int mounted_read(struct tops *tops)
{
	struct mounted mounted, *more;
	char *line = NULL;
	size_t n_line = 0;
	FILE *file;

	file = fopen("/proc/self/mountinfo", "re");
	if (!file)
		return -errno;
	while (getline(&line, &n_line, file) > 0) {
		if (!mounted_parse(&mounted, line))
			continue;
		more = reallocarray(tops->mounted, tops->n_mounted + 1, sizeof(*more));
		if (!more)
			say_no_memory();
		tops->mounted = more;
		tops->mounted[tops->n_mounted++] = mounted;
	}
	free(line);
	fclose(file);
	return 0;
}

static void tops_free(struct tops *tops)
{
	size_t i;

	for (i = 0; i < tops->n_mounted; ++i) {
		free(tops->mounted[i].point);
		free(tops->mounted[i].source);
	}
	free(tops->mounted);
	swaps_free(tops->areas, tops->n_areas);
}

static int tops_read(struct tops *tops)
{
	int r;

	*tops = (struct tops){ 0 };
	r = mounted_read(tops);
	if (r == 0)
		r = swaps_read(&tops->areas, &tops->n_areas);
	if (r < 0)
		tops_free(tops);
	return r;
}

/* what lies on a device */

static void top_set(struct loop_user *loop, enum loop_top top, const char *device,
		    const char *on_top)
{
	if (top <= loop->top)
		return;
	free(loop->on_top);
	loop->top = top;
	loop->on_top = say_text("%s", on_top);
	snprintf(loop->top_device, sizeof(loop->top_device), "%s", device);
}

/* Device mapper by the name that people know it by. */
static void holder_set(struct loop_user *loop, const char *device, const char *holder)
{
	char name[NAME_MAX + 1], path[NAME_MAX + 16];

	if (sysfile_read(name, sizeof(name), SYS_BLOCK "/%s/dm/name", holder) > 0)
		snprintf(path, sizeof(path), "/dev/mapper/%s", name);
	else
		snprintf(path, sizeof(path), "/dev/%s", holder);
	top_set(loop, LOOP_TOP_HOLDER, device, path);
}

static void holders_look(struct loop_user *loop, const char *device, const char *sys)
{
	char path[2 * SYS_MAX + 16];
	struct dirent *entry;
	DIR *directory;

	snprintf(path, sizeof(path), "%s/holders", sys);
	directory = opendir(path);
	while (directory && (entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] != '.')
			holder_set(loop, device, entry->d_name);
	}
	if (directory)
		closedir(directory);
}

static void device_look(struct loop_user *loop, const char *device, dev_t number, const char *sys,
			const struct tops *tops)
{
	size_t i;

	for (i = 0; i < tops->n_mounted; ++i) {
		if (tops->mounted[i].number == number ||
		    strcmp(tops->mounted[i].source, device) == 0)
			top_set(loop, LOOP_TOP_MOUNT, device, tops->mounted[i].point);
	}
	if (swaps_find(tops->areas, tops->n_areas, number))
		top_set(loop, LOOP_TOP_SWAP, device, "[SWAP]");
	holders_look(loop, device, sys);
}

static bool number_read(const char *sys, dev_t *numberp)
{
	unsigned int device_major, device_minor;
	char text[32];

	if (sysfile_read(text, sizeof(text), "%s/dev", sys) < 0 ||
	    sscanf(text, "%u:%u", &device_major, &device_minor) != 2)
		return false;
	*numberp = makedev(device_major, device_minor);
	return true;
}

static void partition_look(struct loop_user *loop, const char *sys, const char *name,
			   const struct tops *tops)
{
	char own[2 * SYS_MAX], device[LOOP_DEVICE_MAX];
	int64_t partition;
	dev_t number;

	snprintf(own, sizeof(own), "%s/%.24s", sys, name);
	snprintf(device, sizeof(device), "/dev/%.24s", name);
	if (sysfile_number(&partition, "%s/partition", own) < 0 || !number_read(own, &number))
		return;
	top_set(loop, LOOP_TOP_PARTITION, device, device);
	device_look(loop, device, number, own, tops);
}

static void tops_look(struct loop_user *loop, const char *sys, const struct tops *tops)
{
	const char *name = strrchr(sys, '/') + 1;
	struct dirent *entry;
	DIR *directory;

	device_look(loop, loop->device, loop->number, sys, tops);
	directory = opendir(sys);
	while (directory && (entry = readdir(directory)) != NULL) {
		if (strncmp(entry->d_name, name, strlen(name)) == 0)
			partition_look(loop, sys, entry->d_name, tops);
	}
	if (directory)
		closedir(directory);
}

/* a device */

static int64_t number_or(int64_t otherwise, const char *sys, const char *what)
{
	int64_t number;

	return sysfile_number(&number, "%s/%s", sys, what) == 0 ? number : otherwise;
}

/* "none [mq-deadline] kyber": what stands in brackets. */
static void scheduler_read(char *scheduler, size_t n_scheduler, const char *sys)
{
	char text[256];
	const char *begin;

	scheduler[0] = 0;
	if (sysfile_read(text, sizeof(text), "%s/queue/scheduler", sys) < 0)
		return;
	begin = strchr(text, '[');
	begin = begin ? begin + 1 : text;
	snprintf(scheduler, n_scheduler, "%.*s", (int)strcspn(begin, "] "), begin);
}

static void queue_read(struct loop_queue *queue, const char *sys)
{
	char cache[32];

	queue->sector_bytes = number_or(-1, sys, "queue/logical_block_size");
	queue->discard_max_bytes = number_or(-1, sys, "queue/discard_max_bytes");
	queue->n_requests = number_or(-1, sys, "queue/nr_requests");
	queue->read_ahead_kib = number_or(-1, sys, "queue/read_ahead_kb");
	queue->rotational = number_or(-1, sys, "queue/rotational");
	queue->write_back = -1;
	if (sysfile_read(cache, sizeof(cache), "%s/queue/write_cache", sys) >= 0)
		queue->write_back = strcmp(cache, "write back") == 0;
	scheduler_read(queue->scheduler, sizeof(queue->scheduler), sys);
}

/* A name may end so, too. */
static void deleted_strip(char *path)
{
	const size_t n = strlen(path), n_suffix = strlen(DELETED);

	if (n > n_suffix && strcmp(path + n - n_suffix, DELETED) == 0 && access(path, F_OK) < 0)
		path[n - n_suffix] = 0;
}

static int loop_look(struct loop_user *loop, const char *name, const struct tops *tops)
{
	char sys[SYS_MAX], backing[PATH_MAX];

	*loop = (struct loop_user){ 0 };
	snprintf(sys, sizeof(sys), SYS_BLOCK "/%.24s", name);
	snprintf(loop->device, sizeof(loop->device), "/dev/%.24s", name);
	if (sysfile_read(backing, sizeof(backing), "%s/loop/backing_file", sys) <= 0 ||
	    !number_read(sys, &loop->number))
		return -ENODEV;

	deleted_strip(backing);
	loop->backing = say_text("%s", backing);
	loop->file = loop_file_find(loop->device);
	loop->direct_io = number_or(0, sys, "loop/dio") == 1;
	loop->read_only = number_or(0, sys, "ro") == 1;
	loop->detaching = number_or(0, sys, "loop/autoclear") == 1;
	loop->is_cut = number_or(0, sys, "loop/offset") > 0 ||
		       number_or(0, sys, "loop/sizelimit") > 0;
	queue_read(&loop->queue, sys);
	tops_look(loop, sys, tops);
	return 0;
}

bool loop_device_is(const char *path)
{
	const size_t n = strlen(DEVICE_PREFIX);

	return strncmp(path, DEVICE_PREFIX, n) == 0 && path[n] &&
	       strspn(path + n, "0123456789") == strlen(path + n) && strlen(path) < LOOP_DEVICE_MAX;
}

int loop_read(const char *device, struct loop_user *loop)
{
	const char *name = strrchr(device, '/');
	struct loop_user found;
	struct tops tops;
	int r;

	r = tops_read(&tops);
	if (r < 0)
		return r;
	r = loop_look(&found, name ? name + 1 : device, &tops);
	tops_free(&tops);
	if (r == 0)
		*loop = found;
	return r;
}

static void loops_add(struct loop_user **loopsp, size_t *n_loopsp, const char *name,
		      const struct tops *tops)
{
	struct loop_user loop, *more;

	if (strncmp(name, "loop", 4) != 0 || loop_look(&loop, name, tops) < 0)
		return;
	more = reallocarray(*loopsp, *n_loopsp + 1, sizeof(*more));
	if (!more)
		say_no_memory();
	more[(*n_loopsp)++] = loop;
	*loopsp = more;
}

int loops_read(struct loop_user **loopsp, size_t *n_loopsp)
{
	struct loop_user *loops = NULL;
	size_t n_loops = 0;
	struct dirent *entry;
	struct tops tops;
	DIR *directory;
	int r;

	r = tops_read(&tops);
	if (r < 0)
		return r;

	/* Without sysfs, or without the module, nothing is attached. */
	directory = opendir(SYS_BLOCK);
	while (directory && (entry = readdir(directory)) != NULL)
		loops_add(&loops, &n_loops, entry->d_name, &tops);
	if (directory)
		closedir(directory);
	tops_free(&tops);

	if (n_loops > 0)
		qsort(loops, n_loops, sizeof(*loops), by_number);
	*loopsp = loops;
	*n_loopsp = n_loops;
	return 0;
}

void loop_clear(struct loop_user *loop)
{
	free(loop->backing);
	free(loop->on_top);
	*loop = (struct loop_user){ 0 };
}

void loops_free(struct loop_user *loops, size_t n_loops)
{
	size_t i;

	for (i = 0; i < n_loops; ++i)
		loop_clear(&loops[i]);
	free(loops);
}

/* whose it is */

const char *loop_disk(const struct loop_user *loop)
{
	const char *slash = strrchr(loop->backing, '/');

	return slash ? slash + 1 : loop->backing;
}

static bool is_below(const char *path, const struct mount *mount)
{
	const char *slash = strrchr(path, '/');
	const size_t n = slash ? (size_t)(slash - path) : 0;

	return strlen(mount->path) == n && strncmp(path, mount->path, n) == 0;
}

static bool is_of(const struct loop_user *loop, const struct mount *mount)
{
	return loop->file.device != 0 ? loop->file.device == mount->device
				      : is_below(loop->backing, mount);
}

bool loop_is_on(const struct loop_user *loop, const struct mount *mount, const char *disk)
{
	return is_of(loop, mount) && strcmp(loop_disk(loop), disk) == 0;
}

int loops_read_on(const struct loop_file *file, const struct mount *mount, const char *disk,
		  struct loop_user **loopsp, size_t *n_loopsp)
{
	size_t n_loops, n_kept = 0, i;
	struct loop_user *loops;
	int r;

	r = loops_read(&loops, &n_loops);
	if (r < 0)
		return r;
	for (i = 0; i < n_loops; ++i) {
		if (loops[i].file.device != 0 ? loop_file_same(&loops[i].file, file)
					      : loop_is_on(&loops[i], mount, disk))
			loops[n_kept++] = loops[i];
		else
			loop_clear(&loops[i]);
	}
	*loopsp = loops;
	*n_loopsp = n_kept;
	return 0;
}

const struct mount *loop_mount(const struct loop_user *loop, const struct mount *mounts,
			       size_t n_mounts)
{
	size_t i;

	for (i = 0; i < n_mounts; ++i) {
		if (is_of(loop, &mounts[i]))
			return &mounts[i];
	}
	return NULL;
}

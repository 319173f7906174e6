/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "loop-change.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "ask.h"
#include "base.h"
#include "below.h"
#include "openers.h"
#include "say.h"
#include "sync.h"
#include "sysfile.h"

#define LOOP_CONTROL "/dev/loop-control"

/* Others take the device that was free a moment ago; with as many of them as this it is no longer
 * chance. */
#define ATTACH_TRIES_MAX 256u

/* How long a lock is waited for without a word. */
#define LOCK_QUIET_S 1

/* How long the kernel may take to let go, and a program that only had a look (udev does). */
#define DETACH_WAIT_NS INT64_C(3000000000)
#define DETACH_STEP_NS 5000000

static const char *sys_name(const char *device)
{
	return strrchr(device, '/') + 1;
}

static void alarm_note(int number)
{
	(void)number;
}

/* So that what waits for ever is left now and then. */
static void alarm_set(long seconds)
{
	const struct itimerval each = { { seconds, 0 }, { seconds, 0 } };
	struct sigaction action = { .sa_handler = alarm_note };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &each, NULL);
}

static int lock_wait(int fd, const char *disk)
{
	bool is_said = false;
	int r;

	alarm_set(LOCK_QUIET_S);
	for (;;) {
		r = flock(fd, LOCK_EX) < 0 ? -errno : 0;
		if (r != -EINTR)
			break;
		if (!is_said)
			say_error("%s: somebody has locked its file; waiting", disk);
		is_said = true;
	}
	alarm_set(0);
	return r;
}

int loop_lock(const struct mount *mount, const char *disk)
{
	int fd, r;

	fd = ask_open(mount, disk, O_RDONLY);
	if (fd < 0)
		return fd;
	r = lock_wait(fd, disk);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

int loop_lock_named(const struct name *name)
{
	const struct mount mount = name_mount(name);
	const int lock = loop_lock(&mount, name->disk);

	if (lock < 0)
		say_error("%s: %s", name->path, say_reason(-lock));
	return lock;
}

int loops_read_locked(const struct name *name, int lock, struct loop_file *file,
		      struct loop_user **loopsp, size_t *n_loopsp)
{
	const struct mount mount = name_mount(name);
	int r;

	r = loop_file_of(lock, file);
	if (r == 0)
		r = loops_read_on(file, &mount, name->disk, loopsp, n_loopsp);
	if (r < 0)
		say_error("cannot read which loop devices there are: %s", strerror(-r));
	return r;
}

/* the device */

static int say_in_use(const struct loop_user *loop, int error)
{
	char *who;

	if (error != EBUSY) {
		say_error("%s: %s%s", loop->device, strerror(error),
			  error == EACCES || error == EPERM
				  ? "; detaching is for root and the group of that file"
				  : "");
		return -error;
	}
	/* Mounted where this process cannot see it, as in a container; or mkfs is at work. */
	who = openers_text(loop->number);
	say_error("%s: in use, by %s: not detached", loop->device, who);
	free(who);
	return -EBUSY;
}

/* Its path alone, where it cannot be asked: its daemon may be dead. */
static bool is_backed_by(const char *device, const char *backing)
{
	const size_t n = strlen(backing);
	char now[PATH_MAX];

	return sysfile_read(now, sizeof(now), "/sys/block/%s/loop/backing_file", sys_name(device)) >
		       0 &&
	       strncmp(now, backing, n) == 0 && (now[n] == 0 || strcmp(now + n, " (deleted)") == 0);
}

static int hold_check(int fd, const struct loop_user *loop)
{
	struct loop_file now;
	int r;

	r = loop_file_ask(fd, &now);
	if (r == -ENXIO)
		return -ENODEV;
	if (r == 0 && loop->file.device != 0)
		return loop_file_same(&now, &loop->file) ? 0 : -ESTALE;
	return is_backed_by(loop->device, loop->backing) ? 0 : -ESTALE;
}

int loop_hold(const struct loop_user *loop, int flags)
{
	int fd, r;

	fd = open(loop->device, flags | O_CLOEXEC);
	if (fd < 0)
		return say_in_use(loop, errno);
	r = hold_check(fd, loop);
	if (r == -ESTALE)
		say_error("%s: it is on another file than %s by now, and left alone", loop->device,
			  loop->backing);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* settings */

static void setting_write(const char *device, const char *setting, const char *value,
			  const char *consequence)
{
	const int r = sysfile_write(value, "/sys/block/%s/queue/%s", sys_name(device), setting);

	if (r < 0)
		say_error("%s: cannot set %s to \"%s\": %s; %s", device, setting, value,
			  strerror(-r), consequence);
}

static void settings_make(const char *device, bool read_only)
{
	char bytes[16];

	snprintf(bytes, sizeof(bytes), "%u", LOOP_DISCARD_MAX_BYTES);
	setting_write(device, "discard_max_bytes", bytes, "a large discard may hold up writers");
	/* The kernel's own for reading. */
	if (!read_only)
		setting_write(device, "write_cache", "write through",
			      "flushes, which do nothing here, take time");
}

/* As the kernel has them for a device that nobody has changed. */
static void settings_undo(const struct loop_user *loop)
{
	const char *name = sys_name(loop->device);
	int64_t most, unit;
	char bytes[32];
	int r;

	if (sysfile_number(&most, "/sys/block/%s/queue/discard_max_hw_bytes", name) == 0 &&
	    sysfile_number(&unit, "/sys/block/%s/queue/discard_granularity", name) == 0 &&
	    most > 0 && unit > 0) {
		snprintf(bytes, sizeof(bytes), "%" PRId64, most - most % unit);
		(void)sysfile_write(bytes, "/sys/block/%s/queue/discard_max_bytes", name);
	}
	r = sysfile_write("write back", "/sys/block/%s/queue/write_cache", name);
	if (r < 0 && !loop->read_only)
		say_error("%s: cannot set write_cache back: %s; before it is used for another "
			  "file: echo \"write back\" >/sys/block/%s/queue/write_cache, as root",
			  loop->device, strerror(-r), name);
}

/* attaching */

static int size_check(const char *disk, uint64_t size_bytes)
{
	const uint64_t rest_bytes = size_bytes % LOOP_SECTOR_BYTES;

	if (size_bytes == 0) {
		say_error("%s: it has no size; to give it one: zramfsctl resize %s 1G", disk, disk);
		return -EINVAL;
	}
	if (size_bytes < LOOP_SECTOR_BYTES) {
		say_error("%s: %" PRIu64 " bytes are less than a sector of %u", disk, size_bytes,
			  LOOP_SECTOR_BYTES);
		return -EINVAL;
	}
	if (rest_bytes > 0)
		say_error("%s: its last %" PRIu64 " bytes are no whole sector of %u, and cannot be "
			  "reached through the device",
			  disk, rest_bytes, LOOP_SECTOR_BYTES);
	return 0;
}

static int file_open(const struct name *name, bool read_only)
{
	const struct mount mount = name_mount(name);
	struct stat st;
	int fd, r;

	fd = below_open(&mount, name->disk, read_only ? O_RDONLY : O_RDWR);
	if (fd < 0) {
		r = fd;
		say_error("%s: %s%s", name->path, say_reason(-r),
			  r == -EACCES && !read_only ? "; to attach it for reading: --read-only"
						     : "");
		return r;
	}
	if (fstat(fd, &st) < 0) {
		r = -errno;
		say_error("%s: %s", name->path, strerror(-r));
	} else {
		r = size_check(name->disk, (uint64_t)st.st_size);
	}
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static int say_control(int r)
{
	if (r == -EACCES || r == -EPERM)
		say_error("%s: %s; attaching is for root and the group of that file", LOOP_CONTROL,
			  strerror(-r));
	else if (r == -ENOENT || r == -ENODEV)
		say_error("%s: not there; load the module: modprobe loop (in a container, pass the "
			  "device in)",
			  LOOP_CONTROL);
	else
		say_error("%s: %s", LOOP_CONTROL, strerror(-r));
	return r;
}

/* A device that is free now. */
static int device_find(char device[LOOP_DEVICE_MAX])
{
	int control, number, r;

	control = open(LOOP_CONTROL, O_RDWR | O_CLOEXEC);
	if (control < 0)
		return say_control(-errno);
	number = ioctl(control, LOOP_CTL_GET_FREE);
	r = number < 0 ? -errno : 0;
	close(control);
	if (r < 0)
		return say_control(r);
	snprintf(device, LOOP_DEVICE_MAX, "/dev/loop%d", number);
	return 0;
}

/* Return: a descriptor of the device, which is on the file now; -EBUSY, unsaid: somebody else's. */
static int configure(const char *device, int fd, const struct name *name, bool read_only)
{
	struct loop_config config = { .fd = (uint32_t)fd, .block_size = LOOP_SECTOR_BYTES };
	int loop, r;

	loop = open(device, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (loop < 0) {
		r = -errno;
		say_error("%s: %s%s", device, strerror(-r),
			  r == -ENOENT ? "; in a container, pass loop devices in" : "");
		return r;
	}

	config.info.lo_flags = LO_FLAGS_DIRECT_IO | (read_only ? LO_FLAGS_READ_ONLY : 0);
	snprintf((char *)config.info.lo_file_name, sizeof(config.info.lo_file_name), "%s",
		 name->path);
	if (ioctl(loop, LOOP_CONFIGURE, &config) == 0)
		return loop;

	r = -errno;
	close(loop);
	if (r == -ENOTTY || r == -EINVAL)
		say_error("%s: %s: %s; it needs Linux 5.8", device, name->path, strerror(-r));
	else if (r != -EBUSY)
		say_error("%s: %s: %s", device, name->path, strerror(-r));
	return r;
}

static int attach_somewhere(int fd, const struct name *name, const struct loop_wish *wish,
			    char device[LOOP_DEVICE_MAX])
{
	unsigned int n_tries;
	int r;

	if (wish->device) {
		snprintf(device, LOOP_DEVICE_MAX, "%s", wish->device);
		r = configure(device, fd, name, wish->read_only);
		if (r == -EBUSY)
			say_error("%s: in use; without --device a free one is taken", device);
		return r;
	}

	for (n_tries = 0; n_tries < ATTACH_TRIES_MAX; ++n_tries) {
		r = device_find(device);
		if (r == 0)
			r = configure(device, fd, name, wish->read_only);
		if (r != -EBUSY)
			return r;
	}
	say_error("%s: no free loop device: others take each before it can be used", name->disk);
	return -EBUSY;
}

/* It is the disk's, with direct I/O: the kernel leaves that off, unsaid, where it cannot be. */
static int attached_check(int loop, int fd, const char *device, const struct name *name)
{
	struct loop_file is_on, file;
	struct loop_info64 info;

	if (ioctl(loop, LOOP_GET_STATUS64, &info) < 0) {
		const int error = errno;

		say_error("%s: %s", device, strerror(error));
		return -error;
	}
	if (loop_file_ask(loop, &is_on) < 0 || loop_file_of(fd, &file) < 0 ||
	    !loop_file_same(&is_on, &file)) {
		say_error("%s: it is on another file than %s", device, name->path);
		return -ESTALE;
	}
	if (!(info.lo_flags & LO_FLAGS_DIRECT_IO)) {
		say_error("%s: the kernel refuses direct I/O on %s, and without it every page "
			  "would be kept twice",
			  device, name->path);
		return -EOPNOTSUPP;
	}
	return 0;
}

int loop_attach(const struct name *name, const struct loop_wish *wish, char device[LOOP_DEVICE_MAX])
{
	char found[LOOP_DEVICE_MAX];
	int fd, loop, r;

	fd = file_open(name, wish->read_only);
	if (fd < 0)
		return fd;
	loop = attach_somewhere(fd, name, wish, found);
	if (loop < 0) {
		close(fd);
		return loop;
	}

	r = attached_check(loop, fd, found, name);
	if (r < 0)
		(void)ioctl(loop, LOOP_CLR_FD);
	else
		settings_make(found, wish->read_only);
	close(loop);
	close(fd);
	if (r == 0)
		memcpy(device, found, sizeof(found));
	return r;
}

/* detaching */

static int wait_detached(const struct loop_user *loop)
{
	const struct timespec step = { .tv_nsec = DETACH_STEP_NS };
	const int64_t deadline = zr_monotonic_ns() + DETACH_WAIT_NS;
	char *who;

	while (is_backed_by(loop->device, loop->backing)) {
		if (zr_monotonic_ns() < deadline) {
			nanosleep(&step, NULL);
			continue;
		}
		who = openers_text(loop->number);
		say_error("%s: still open, by %s; it goes when that closes it", loop->device, who);
		free(who);
		return -EINPROGRESS;
	}
	return 0;
}

int loop_detach(const struct loop_user *loop)
{
	int fd, r = 0;

	/* Exclusive: fails while anything is mounted from it or swaps to it, in any namespace, and
	 * keeps them off until it is done. */
	fd = loop_hold(loop, O_RDONLY | O_EXCL);
	if (fd < 0)
		return fd == -ENODEV ? 0 : fd;

	settings_undo(loop);
	if (ioctl(fd, LOOP_CLR_FD) < 0 && errno != ENXIO)
		r = say_in_use(loop, errno);
	close(fd);
	return r < 0 ? r : wait_detached(loop);
}

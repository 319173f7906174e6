/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "safety.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cgroup.h"
#include "hurry.h"
#include "log.h"
#include "system.h"

/* Linux 5.6 */
#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

#define OOM_SCORE_ADJ "/proc/self/oom_score_adj"
#define OOM_NEVER     "-1000"

/* What other programs and scripts know us by: what is executed by its descriptor has none. */
#define COMM "zramfs"

/* A process called so outlives the end of all processes at shutdown, if it is root's. Workers are
 * called so when they are executed. */
#define SURVIVES '@'

/* Buffers, stacks and codecs of the threads, tables, and what is kept ahead. */
#define OWN_BYTES (UINT64_C(48) << 20)

/* Of offsets: a span for each class. */
#define SPANS_BYTES (UINT64_C(256) << 20)

enum measure {
	MEMORY,
	STORE,
	BUFFERS,
	FUTURE,
	NOSWAP,
	REALTIME,
	IO_FLUSHER,
	OOM,
	DUMPS,
	CGROUP,
	OFFSETS,
	RESEND,
	TRANSPORT,
	N_MEASURES,
};

static const char *const names[N_MEASURES] = {
	[MEMORY] = "memory",         [STORE] = "store",       [BUFFERS] = "buffers",
	[FUTURE] = "future",         [NOSWAP] = "noswap",     [REALTIME] = "realtime",
	[IO_FLUSHER] = "io_flusher", [OOM] = "oom_score_adj", [DUMPS] = "dumps",
	[CGROUP] = "cgroup",         [OFFSETS] = "offsets",   [RESEND] = "resend",
	[TRANSPORT] = "transport",
};

enum state {
	NOT_ASKED = 0,
	GRANTED,
	REFUSED,
	SANITIZER, /* refused by us, and nobody's concern */
};

#define TEXT_MAX 320u

struct result {
	enum state state;
	char text[TEXT_MAX]; /* what is missing, and the remedy */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* protected by lock */
static struct result results[N_MEASURES];

static struct zr_store *the_store; /* constant once threads run */

static void grant(enum measure measure)
{
	pthread_mutex_lock(&lock);
	results[measure].state = GRANTED;
	pthread_mutex_unlock(&lock);
}

__attribute__((format(printf, 2, 3))) static void refuse(enum measure measure, const char *format,
							 ...)
{
	va_list args;

	pthread_mutex_lock(&lock);
	results[measure].state = REFUSED;
	va_start(args, format);
	vsnprintf(results[measure].text, TEXT_MAX, format, args);
	va_end(args);
	pthread_mutex_unlock(&lock);
}

static void pass_over(enum measure measure)
{
	refuse(measure, "under a sanitizer");
	pthread_mutex_lock(&lock);
	results[measure].state = SANITIZER;
	pthread_mutex_unlock(&lock);
}

/* root's privileges */

/* Its root has all capabilities, and none that counts here. */
static bool is_in_user_namespace(void)
{
	uint32_t inside, outside, n = UINT32_MAX;
	FILE *map = fopen("/proc/self/uid_map", "re");

	if (!map)
		return false;
	if (fscanf(map, "%" SCNu32 " %" SCNu32 " %" SCNu32, &inside, &outside, &n) != 3)
		n = UINT32_MAX;
	fclose(map);
	return n != UINT32_MAX;
}

/* @capability: its name without "CAP_". */
static void refuse_privilege(enum measure measure, const char *capability)
{
	if (geteuid() == 0 && is_in_user_namespace())
		refuse(measure, "root of a user namespace is an ordinary user: run zramfs as root "
				"outside of it");
	else if (geteuid() == 0)
		refuse(measure,
		       "root without CAP_%s: docker run --cap-add %s, or CapabilityBoundingSet= "
		       "of the service",
		       capability, capability);
	else
		refuse(measure, "an ordinary user may not: run zramfs as root");
}

static void io_flusher_become(void)
{
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0)
		grant(IO_FLUSHER);
	else if (errno == EINVAL)
		refuse(IO_FLUSHER, "this kernel has none: Linux 5.6 or later");
	else
		refuse_privilege(IO_FLUSHER, "SYS_RESOURCE");
}

static bool oom_is_never(int fd)
{
	char text[16];
	ssize_t n;

	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	return strcmp(text, OOM_NEVER "\n") == 0;
}

static void oom_score_lower(void)
{
	int fd;

	fd = open(OOM_SCORE_ADJ, O_RDWR | O_CLOEXEC);
	/* Whoever started us may have seen to it. */
	if (fd >= 0 && (oom_is_never(fd) || write(fd, OOM_NEVER, strlen(OOM_NEVER)) > 0))
		grant(OOM);
	else
		refuse_privilege(OOM, "SYS_RESOURCE");
	if (fd >= 0)
		close(fd);
}

/* May a thread be? The store's own asks for itself, when there is something to do. */
static void realtime_ask(void)
{
	/* The keeper may have seen to it that we are. */
	const bool stays = in_hurry();

	if (hurry(0, true) < 0)
		refuse_privilege(REALTIME, "SYS_NICE");
	else
		grant(REALTIME);
	if (!stays)
		(void)hurry(0, false);
}

/* Where the name behind the last slash stays: pidof(8) goes by that. A keeper that was called by its
 * bare name, and ends at shutdown, is replaced by its worker. */
static void name_mark(char *name)
{
	if (geteuid() == 0 && name && name[0] && strchr(name + 1, '/'))
		name[0] = SURVIVES;
}

void safety_begin(char **argv)
{
	static const struct rlimit none = { 0, 0 };

	io_flusher_become();
	realtime_ask();
	oom_score_lower();
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_NAME, COMM, 0, 0, 0);
	name_mark(argv[0]);
}

/* locked memory */

/* Does RLIMIT_MEMLOCK not bind us? A lock of more than it allows tells, of a range where nothing is
 * and nothing can be. */
static bool is_limitless(void)
{
	const uint32_t page_bytes = zr_system_page_bytes();
	struct rlimit limit;
	size_t n_bytes;
	bool allowed;
	void *range;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return true;
	n_bytes = zr_align_up(limit.rlim_cur, page_bytes) + page_bytes;
	range = mmap(NULL, n_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (range == MAP_FAILED)
		return false;
	allowed = mlock2(range, n_bytes, MLOCK_ONFAULT) == 0;
	munmap(range, n_bytes);
	return allowed;
}

static void refuse_lock(enum measure measure)
{
	struct rlimit limit = { 0, 0 };

	(void)getrlimit(RLIMIT_MEMLOCK, &limit);
	refuse(measure,
	       "cannot be locked, RLIMIT_MEMLOCK is %" PRIu64 " KiB: ulimit -l unlimited before "
	       "zramfs starts, or LimitMEMLOCK=infinity in its service, or run it as root",
	       (uint64_t)limit.rlim_cur / 1024);
}

/* @flags of mlockall(2). */
static void lock_all(enum measure measure, int flags)
{
	if (ZR_SANITIZED)
		pass_over(measure);
	else if (!is_limitless())
		refuse_lock(measure);
	else if (mlockall(flags) < 0)
		refuse(measure, "cannot be locked (%s)", strerror(errno));
	else
		grant(measure);
}

void safety_lock_present(void)
{
	lock_all(MEMORY, MCL_CURRENT);
	/* Files of /proc that are ours are root's from now on. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
		grant(DUMPS);
	else
		refuse(DUMPS, "%s", strerror(errno));
}

/* Locks end with their process, and are not there again before the next one has mapped it all. */
static void noswap_look(const struct zr_store *store)
{
	unsigned int version = 0, patch = 0;
	struct utsname name;

	if (!zr_store_is_swappable(store))
		grant(NOSWAP);
	else if (uname(&name) == 0 && sscanf(name.release, "%u.%u", &version, &patch) == 2 &&
		 (version < 6 || (version == 6 && patch < 4)))
		refuse(NOSWAP, "this kernel may swap out what the disks hold while one worker "
			       "follows another: Linux 6.4 or later");
	else
		refuse_privilege(NOSWAP, "SYS_ADMIN");
}

void safety_lock_store(struct zr_store *store)
{
	int r;

	the_store = store;
	r = zr_store_lock(store);
	if (r == 0)
		grant(STORE);
	else if (is_limitless())
		refuse(STORE, "cannot be locked (%s)", strerror(-r));
	else
		refuse_lock(STORE);

	noswap_look(store);

	/* What came with the mapping. Whole it must not be locked, or the store would be full; and
	 * what is locked whole already stays populated. */
	if (!ZR_SANITIZED && is_limitless())
		(void)mlockall(MCL_CURRENT | MCL_ONFAULT);
	lock_all(FUTURE, MCL_FUTURE);
}

void safety_lock_future(void)
{
	lock_all(FUTURE, MCL_FUTURE);
}

void safety_buffer_refused(size_t n_bytes)
{
	if (is_limitless())
		refuse(BUFFERS, "%zu bytes cannot be locked", n_bytes);
	else
		refuse_lock(BUFFERS);
}

/* the kernel, and its limits */

void safety_resend(bool can)
{
	if (can)
		grant(RESEND);
	else
		refuse(RESEND, "this kernel does not send requests again that a killed worker had "
			       "in hand: Linux 6.9 or later");
}

void safety_transport(uint64_t n_bytes)
{
	refuse(TRANSPORT,
	       "io_uring, with buffers of %" PRIu64
	       " MiB, and a worker that dies takes the disks with it: set transport = classic",
	       n_bytes >> 20);
}

/* The most that the disks may come to take. */
static uint64_t most_of_disks(void)
{
	const uint64_t limit_bytes = zr_store_mem_limit(the_store);
	struct zr_disk *disk, *next;
	uint64_t most_bytes = 0;
	struct zr_attrs attrs;

	for (disk = zr_store_next(the_store, 0); disk; disk = next) {
		uint64_t bytes = zr_disk_size(disk);

		zr_disk_attrs(disk, &attrs);
		if (attrs.mem_limit_bytes > 0)
			bytes = zr_min(bytes, attrs.mem_limit_bytes);
		/* 1023 disks of 256 TiB are less than 2^58. */
		most_bytes += bytes;
		next = zr_store_next(the_store, disk->id);
		zr_disk_unpin(the_store, disk);
	}
	return limit_bytes > 0 ? zr_min(most_bytes, limit_bytes) : most_bytes;
}

/* Anew each time: limits change. */
static void cgroup_look(void)
{
	const uint64_t limit_bytes = cgroup_memory_limit();
	uint64_t most_bytes;

	if (!the_store)
		return;
	most_bytes = most_of_disks();
	if (limit_bytes == CGROUP_NO_LIMIT || most_bytes + OWN_BYTES <= limit_bytes) {
		grant(CGROUP);
		return;
	}
	refuse(CGROUP,
	       "its memory limit is %" PRIu64 " MiB, and the disks may take %" PRIu64
	       " MiB and the daemon %" PRIu64 ": raise it by MemoryMax= of the service or docker "
	       "run --memory, or set mem_limit below it",
	       limit_bytes >> 20, most_bytes >> 20, OWN_BYTES >> 20);
}

/* What is kept ahead, and the last span of each class, are not full: an eighth, and as many spans. */
static void offsets_look(void)
{
	uint64_t room_bytes, most_bytes;

	if (!the_store)
		return;
	room_bytes = zr_store_reach(the_store);
	most_bytes = most_of_disks();
	if (room_bytes == UINT64_MAX || most_bytes + most_bytes / 8 + SPANS_BYTES <= room_bytes) {
		grant(OFFSETS);
		return;
	}
	refuse(OFFSETS,
	       "the address space has room for %" PRIu64 " MiB, and the disks may take %" PRIu64
	       " MiB, so that writes may be refused: set mem_limit below it, or raise RLIMIT_AS "
	       "(ulimit -v unlimited), or run a zramfs of 64 bits",
	       room_bytes >> 20, most_bytes >> 20);
}

/* telling */

static void results_copy(struct result copy[N_MEASURES])
{
	cgroup_look();
	offsets_look();
	pthread_mutex_lock(&lock);
	if (results[BUFFERS].state == NOT_ASKED && results[STORE].state != NOT_ASKED)
		results[BUFFERS].state = GRANTED;
	memcpy(copy, results, sizeof(results));
	pthread_mutex_unlock(&lock);
}

/* All that have the same remedy, in one line. */
static void say_with(const struct result copy[N_MEASURES], unsigned int first)
{
	char which[128];
	unsigned int i;
	size_t n = 0;

	for (i = first; i < N_MEASURES; ++i) {
		if (copy[i].state == REFUSED && strcmp(copy[i].text, copy[first].text) == 0)
			n += (size_t)snprintf(which + n, sizeof(which) - n, "%s%s",
					      i == first ? "" : ", ", names[i]);
	}
	log_line("not safe for swap: %s: %s", which, copy[first].text);
}

static bool was_said(const struct result copy[N_MEASURES], unsigned int measure)
{
	unsigned int i;

	for (i = 0; i < measure; ++i) {
		if (copy[i].state == REFUSED && strcmp(copy[i].text, copy[measure].text) == 0)
			return true;
	}
	return false;
}

void safety_say(bool is_first)
{
	struct result copy[N_MEASURES];
	unsigned int i;

	if (!is_first)
		return;
	results_copy(copy);
	for (i = 0; i < N_MEASURES; ++i) {
		if (copy[i].state == REFUSED && !was_said(copy, i))
			say_with(copy, i);
	}
}

int safety_print(char *text, size_t n_text)
{
	struct result copy[N_MEASURES];
	unsigned int i;
	size_t n = 0;

	results_copy(copy);
	for (i = 0; i < N_MEASURES && n < n_text; ++i) {
		if (copy[i].state == GRANTED)
			n += (size_t)snprintf(text + n, n_text - n, "%s ok\n", names[i]);
		else if (copy[i].state != NOT_ASKED)
			n += (size_t)snprintf(text + n, n_text - n, "%s refused %s\n", names[i],
					      copy[i].text);
	}
	return (int)zr_min(n, n_text);
}

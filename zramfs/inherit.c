/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "inherit.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "entries.h"
#include "hello.h"
#include "log.h"
#include "mount.h"
#include "sync.h"

/* More wires than a keeper ever has. */
#define WIRES_MAX 16u

/* For a killed process to be gone, with all that it has locked. */
#define GONE_MS 20000

#define FUSE_MAJOR 10
#define FUSE_MINOR 229

struct wire {
	pid_t pid;
	int fd; /* -1: it was taken */
};

struct heir {
	struct inherited *to;
	struct service *service;
	const char *resolved;
	uint32_t numbers[SERVICE_WIRE];
	struct wire wires[WIRES_MAX];
	unsigned int n_wires, n_found;
	struct shelf *shelf; /* mapped; NULL: not yet */
};

__attribute__((format(printf, 2, 3))) static enum inherit refuse(const struct heir *heir,
								 const char *format, ...)
{
	char why[LOG_REASON_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	log_line("%s: cannot take over what the service manager holds: %s", heir->resolved, why);
	return INHERIT_REFUSED;
}

/* sorting */

static void drop(struct heir *heir, enum service_slot slot, uint32_t number, int fd)
{
	char name[NOTIFY_NAME_MAX];

	close(fd);
	service_name(name, slot, number);
	service_drop(heir->service, name);
}

/* Two of a kind: the later one is good where there can be another, and was to be the only one. */
static enum inherit sort_twice(struct heir *heir, enum service_slot slot, uint32_t number, int fd)
{
	char name[NOTIFY_NAME_MAX];
	int *there = &heir->to->fds[slot];

	service_name(name, slot, number);
	if (service_is_same(*there, fd)) {
		close(fd);
		return INHERIT_MOUNT;
	}
	if (number == heir->numbers[slot] || slot == SERVICE_FUSE || slot == SERVICE_STORE ||
	    slot == SERVICE_ENTRIES)
		return refuse(heir, "%s is there twice, and they differ", name);
	if (number < heir->numbers[slot]) {
		drop(heir, slot, number, fd);
		return INHERIT_MOUNT;
	}
	drop(heir, slot, heir->numbers[slot], *there);
	*there = fd;
	heir->numbers[slot] = number;
	return INHERIT_MOUNT;
}

static enum inherit sort_one(struct heir *heir, const struct notify_given *given)
{
	static const char sample[] = "zramfs-sample";
	uint32_t number = 0;
	const enum service_slot slot = service_slot_of(given->name, &number);

	if (slot == SERVICE_END || (slot == SERVICE_WIRE && heir->n_wires == WIRES_MAX)) {
		if (strcmp(given->name, sample) != 0)
			log_line("%s: the service manager holds %s, which is of no use",
				 heir->resolved,
				 given->name[0] ? given->name : "something without a name");
		close(given->fd);
		if (given->name[0])
			service_drop(heir->service, given->name);
		return INHERIT_MOUNT;
	}
	++heir->n_found;
	if (slot == SERVICE_WIRE) {
		heir->wires[heir->n_wires++] = (struct wire){ .pid = (pid_t)number,
							      .fd = given->fd };
		return INHERIT_MOUNT;
	}
	if (heir->to->fds[slot] >= 0)
		return sort_twice(heir, slot, number, given->fd);
	heir->to->fds[slot] = given->fd;
	heir->numbers[slot] = number;
	return INHERIT_MOUNT;
}

/* looking */

/* What the kernel says of this path in its table of mounts. */
enum there {
	THERE_NOTHING,   /* that mount is nowhere, nor is another one of ours here */
	THERE_ELSEWHERE, /* it is at another path */
	THERE_ANOTHER,   /* one of ours is here, and not that one */
	THERE_IT,
};

/* Blanks and such are octal. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; ++to) {
		if (text[0] == '\\' && text[1] && text[2] && text[3]) {
			*to = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
			text += 4;
		} else {
			*to = *text++;
		}
	}
	*to = 0;
}

/* @device: 0: any. @elsewhere: where it is, if it is not here. */
static enum there look(const char *resolved, dev_t device, char elsewhere[PATH_MAX])
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	enum there there = THERE_NOTHING;
	unsigned int major_no, minor_no;
	char *line = NULL, point[PATH_MAX];
	size_t n_line = 0;

	while (file && getline(&line, &n_line, file) > 0) {
		if (sscanf(line, "%*s %*s %u:%u %*s %4095s", &major_no, &minor_no, point) != 3)
			continue;
		unescape(point);
		if (device != 0 && makedev(major_no, minor_no) == device) {
			if (strcmp(point, resolved) == 0)
				there = THERE_IT;
			else if (there < THERE_ANOTHER)
				there = THERE_ELSEWHERE;
			if (there == THERE_ELSEWHERE)
				snprintf(elsewhere, PATH_MAX, "%s", point);
		} else if (strcmp(point, resolved) == 0 && strstr(line, " - fuse.zramfs ") &&
			   there < THERE_ANOTHER) {
			there = THERE_ANOTHER;
		}
	}
	if (file)
		fclose(file);
	free(line);
	return there;
}

static bool is_fuse(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
	       st.st_rdev == makedev(FUSE_MAJOR, FUSE_MINOR);
}

/* A mount that has ended says so. */
static bool is_connected(int fd)
{
	struct pollfd wanted = { .fd = fd, .events = POLLIN };

	return poll(&wanted, 1, 0) < 1 || !(wanted.revents & POLLERR);
}

/* Which mount it is connected to, where the kernel tells; else 0. */
static unsigned int connection_of(int fd)
{
	unsigned int number = 0;
	char path[64], line[128];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "fuse_connection: %u", &number) == 1)
			break;
	}
	if (file)
		fclose(file);
	return number;
}

static bool is_store(int fd)
{
	uint64_t magic = 0;
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_size >= (off_t)(ZR_SHELF_START + SHELF_HANDLES) &&
	       pread(fd, &magic, sizeof(magic), 0) == sizeof(magic) && magic == ZR_MAGIC;
}

static bool is_file(int fd, bool may_be_device)
{
	struct stat st;

	return fstat(fd, &st) == 0 &&
	       (S_ISREG(st.st_mode) || (may_be_device && S_ISBLK(st.st_mode)));
}

static bool are_entries(int fd)
{
	struct entries_head *head = is_file(fd, false) ? entries_look(fd) : NULL;
	bool are;

	if (!head)
		return false;
	are = head->version == ENTRIES_VERSION;
	munmap(head, sizeof(*head));
	return are;
}

static bool is_wire(int fd)
{
	struct sockaddr_storage address;
	socklen_t n = sizeof(address);
	int type = 0;

	if (getsockname(fd, (struct sockaddr *)&address, &n) < 0 || address.ss_family != AF_UNIX)
		return false;
	n = sizeof(type);
	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_SEQPACKET;
}

/* What everything else is about. */
static enum inherit check_mount(struct heir *heir)
{
	const int fuse = heir->to->fds[SERVICE_FUSE], store = heir->to->fds[SERVICE_STORE];
	char elsewhere[PATH_MAX];
	enum there there;
	dev_t device;

	if (fuse < 0 && look(heir->resolved, 0, elsewhere) == THERE_NOTHING)
		return INHERIT_NOTHING;
	if (fuse < 0)
		return refuse(heir, "zramfs-fuse is missing");
	if (!is_fuse(fuse))
		return refuse(heir, "zramfs-fuse is not /dev/fuse");
	if (!is_connected(fuse))
		return INHERIT_NOTHING;
	if (store < 0)
		return refuse(heir, "zramfs-store is missing");
	if (!is_store(store))
		return refuse(heir, "zramfs-store is no store of zramfs");
	heir->shelf = shelf_map(store);
	if (!heir->shelf)
		return refuse(heir, "zramfs-store: %s", strerror(errno));
	if (atomic_load(&heir->shelf->version) != SHELF_VERSION)
		return refuse(heir, "zramfs-store is of version %u, and this program knows %u",
			      (unsigned int)atomic_load(&heir->shelf->version), SHELF_VERSION);

	device = (dev_t)atomic_load(&heir->shelf->mount_device);
	there = look(heir->resolved, device, elsewhere);
	if (there == THERE_ELSEWHERE)
		return refuse(heir, "it is of the mount at %.128s", elsewhere);
	if (there == THERE_ANOTHER)
		return refuse(heir, "zramfs-store is of another mount");
	if (connection_of(fuse) != 0 && connection_of(fuse) != minor(device))
		return refuse(heir, "zramfs-fuse is of another mount");
	return INHERIT_MOUNT;
}

static enum inherit check_rest(struct heir *heir)
{
	const int *fds = heir->to->fds;
	unsigned int i;

	if (fds[SERVICE_CONFIG] < 0)
		return refuse(heir, "zramfs-config is missing");
	if (!is_file(fds[SERVICE_CONFIG], false))
		return refuse(heir, "zramfs-config is no file");
	if (fds[SERVICE_PROGRAM] >= 0 && !is_file(fds[SERVICE_PROGRAM], false))
		return refuse(heir, "zramfs-program is no file");
	if (fds[SERVICE_ENTRIES] < 0 && hello_uses_uring(&heir->shelf->init))
		return refuse(heir, "zramfs-entries is missing");
	if (fds[SERVICE_ENTRIES] >= 0 && !are_entries(fds[SERVICE_ENTRIES]))
		return refuse(heir, "zramfs-entries are none that this program knows");
	for (i = SERVICE_BACKING; i < SERVICE_WIRE; ++i) {
		if (fds[i] >= 0 && !is_file(fds[i], true))
			return refuse(heir, "zramfs-backing%d is neither file nor block device",
				      (int)(i - SERVICE_BACKING));
	}
	for (i = 0; i < heir->n_wires; ++i) {
		if (!is_wire(heir->wires[i].fd))
			return refuse(heir, "zramfs-wire-%d is no wire", (int)heir->wires[i].pid);
	}
	return INHERIT_MOUNT;
}

/* who is there */

/* Somebody has the other end. */
static bool is_alive(const struct wire *wire)
{
	struct pollfd wanted = { .fd = wire->fd };

	return poll(&wanted, 1, 0) == 0;
}

/* Whoever has the other end is the process that the wire is called after, for as long as it is
 * there. */
static void kill_behind(const struct wire *wire)
{
	const int process = (int)syscall(SYS_pidfd_open, wire->pid, 0);

	if (is_alive(wire)) {
		if (process < 0 || syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0) < 0)
			(void)kill(wire->pid, SIGKILL);
	}
	if (process >= 0)
		close(process);
}

/* Return: are all gone? */
static bool kill_all(struct heir *heir)
{
	const int64_t until_ns = zr_monotonic_ns() + GONE_MS * INT64_C(1000000);
	unsigned int i;

	for (i = 0; i < heir->n_wires; ++i)
		kill_behind(&heir->wires[i]);
	for (i = 0; i < heir->n_wires; ++i) {
		while (is_alive(&heir->wires[i])) {
			if (zr_monotonic_ns() > until_ns)
				return false;
			poll(NULL, 0, 1);
		}
	}
	return true;
}

/* The one that serves, and nobody else. */
static enum inherit who_serves(struct heir *heir)
{
	const pid_t server = shelf_claimed_by(heir->to->fds[SERVICE_STORE]);
	unsigned int i;

	for (i = 0; server != 0 && i < heir->n_wires; ++i) {
		struct wire *wire = &heir->wires[i];

		if (wire->pid != server || !is_alive(wire))
			continue;
		heir->to->worker = server;
		heir->to->wire = wire->fd;
		wire->fd = -1;
		service_found(heir->service, SERVICE_WIRE, heir->to->wire, (uint32_t)server);
		return INHERIT_MOUNT;
	}
	if (server != 0)
		return refuse(heir, "process %d serves it, and zramfs-wire-%d is missing",
			      (int)server, (int)server);
	if (!kill_all(heir))
		return refuse(heir, "a process that was to serve next does not end");
	return INHERIT_MOUNT;
}

/* closing */

static void wires_drop(struct heir *heir)
{
	unsigned int i;

	for (i = 0; i < heir->n_wires; ++i) {
		if (heir->wires[i].fd >= 0)
			drop(heir, SERVICE_WIRE, (uint32_t)heir->wires[i].pid, heir->wires[i].fd);
	}
}

/* What is left of a mount that nobody has. */
static void all_drop(struct heir *heir)
{
	const dev_t device = heir->shelf ? (dev_t)atomic_load(&heir->shelf->mount_device) : 0;
	enum service_slot slot;

	if (device != 0 && mount_identity(heir->resolved) == device)
		(void)mount_detach(heir->resolved, device, true);
	wires_drop(heir);
	for (slot = SERVICE_FUSE; slot < SERVICE_WIRE; ++slot) {
		if (heir->to->fds[slot] >= 0)
			drop(heir, slot, heir->numbers[slot], heir->to->fds[slot]);
		heir->to->fds[slot] = -1;
	}
}

/* The kernel was never answered: whoever asked for the mount was not told that it is there. */
static bool was_ready(const struct heir *heir)
{
	return atomic_load(&heir->shelf->generation) != 0 &&
	       atomic_load(&heir->shelf->init.n_reply) != 0;
}

static enum inherit take(struct heir *heir)
{
	enum inherit found = check_mount(heir);

	if (found == INHERIT_NOTHING && is_store(heir->to->fds[SERVICE_STORE]))
		heir->shelf = shelf_map(heir->to->fds[SERVICE_STORE]);
	if (found == INHERIT_MOUNT)
		found = check_rest(heir);
	if (found == INHERIT_MOUNT && !was_ready(heir))
		found = kill_all(heir) ? INHERIT_NOTHING
				       : refuse(heir, "a process that was to serve does not end");
	if (found == INHERIT_MOUNT)
		found = who_serves(heir);
	return found;
}

void inherit_clear(const char *resolved)
{
	char elsewhere[PATH_MAX];

	if (look(resolved, 0, elsewhere) != THERE_ANOTHER || !mount_is_dead(resolved))
		return;
	log_line("%s: the mount of a daemon that died is taken away, and its disks are lost",
		 resolved);
	(void)mount_detach(resolved, 0, true);
}

enum inherit inherit_take(struct inherited *inherited, struct service *service,
			  const struct notify_given given[], size_t n_given, const char *resolved)
{
	struct heir heir = { .to = inherited, .service = service, .resolved = resolved };
	enum inherit found = INHERIT_MOUNT;
	enum service_slot slot;
	size_t i;

	*inherited = (struct inherited){ .wire = -1 };
	for (slot = SERVICE_FUSE; slot < SERVICE_WIRE; ++slot)
		inherited->fds[slot] = -1;
	for (i = 0; found == INHERIT_MOUNT && i < n_given; ++i)
		found = sort_one(&heir, &given[i]);
	if (heir.n_found == 0)
		return INHERIT_NOTHING;
	if (found == INHERIT_MOUNT)
		found = take(&heir);
	if (found == INHERIT_NOTHING)
		all_drop(&heir);
	if (found == INHERIT_MOUNT) {
		wires_drop(&heir);
		for (slot = SERVICE_FUSE; slot < SERVICE_WIRE; ++slot) {
			if (inherited->fds[slot] >= 0)
				service_found(service, slot, inherited->fds[slot],
					      heir.numbers[slot]);
		}
	}
	if (heir.shelf)
		snprintf(inherited->fuse_options, sizeof(inherited->fuse_options), "%.*s",
			 (int)SHELF_OPTIONS_MAX, heir.shelf->fuse_options);
	if (heir.shelf)
		munmap(heir.shelf, SHELF_HANDLES);
	return found;
}

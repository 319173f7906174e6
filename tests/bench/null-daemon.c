/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A FUSE daemon that does nothing: one file, "null", which reads as whatever is in the buffer and
 * forgets what is written. What it takes is the kernel's way there and back; no daemon of this kind
 * is faster. A thread for each core waits on /dev/fuse; libfuse mounts and answers what is rare,
 * reads and writes are answered here. Stays in the foreground until it is unmounted.
 *
 * usage: null-daemon [-s BYTES] [-t THREADS] MOUNTPOINT
 */

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base.h"
#include "sync.h"
#include "tool.h"

#define FILE_NAME     "null"
#define FILE_NODE     2
#define REQUEST_BYTES (1u << 20)
#define HEADER_BYTES  ZR_PAGE_SIZE /* more than what comes before the data of a write */
#define BUFFER_BYTES  (REQUEST_BYTES + HEADER_BYTES)
#define N_THREADS_MAX 64
#define N_BACKGROUND  1024 /* 12 otherwise, and all of a loop device's are in the background */
#define TIMEOUT_S     3600.0

struct null_daemon {
	struct fuse_session *session;
	int fd;
	uint64_t size_bytes;
};

static struct null_daemon null_daemon = { .size_bytes = UINT64_C(1) << 30 };

static void must(bool is_well, const char *what)
{
	if (is_well)
		return;
	tool_error("%s: %s", what, strerror(errno));
	exit(TOOL_EXIT_FAILED);
}

/* what libfuse asks */

static bool stat_of(fuse_ino_t node, struct stat *st)
{
	*st = (struct stat){ .st_ino = node, .st_nlink = 1, .st_blksize = ZR_PAGE_SIZE };
	if (node == FUSE_ROOT_ID)
		st->st_mode = S_IFDIR | 0755;
	else
		st->st_mode = S_IFREG | 0600;
	if (node == FILE_NODE) {
		st->st_size = (off_t)null_daemon.size_bytes;
		st->st_blocks = (blkcnt_t)(null_daemon.size_bytes / 512);
	}
	return node == FUSE_ROOT_ID || node == FILE_NODE;
}

static void op_init(void *context, struct fuse_conn_info *connection)
{
	connection->max_write = REQUEST_BYTES;
	connection->max_background = N_BACKGROUND;
	connection->congestion_threshold = N_BACKGROUND * 3 / 4;
}

static void op_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {
		.ino = FILE_NODE,
		.attr_timeout = TIMEOUT_S,
		.entry_timeout = TIMEOUT_S,
	};

	if (parent != FUSE_ROOT_ID || strcmp(name, FILE_NAME) != 0) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	stat_of(FILE_NODE, &entry.attr);
	fuse_reply_entry(request, &entry);
}

static void op_getattr(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file)
{
	struct stat st;

	if (stat_of(node, &st))
		fuse_reply_attr(request, &st, TIMEOUT_S);
	else
		fuse_reply_err(request, ENOENT);
}

static void op_statfs(fuse_req_t request, fuse_ino_t node)
{
	const struct statvfs st = { .f_bsize = ZR_PAGE_SIZE, .f_frsize = ZR_PAGE_SIZE };

	fuse_reply_statfs(request, &st);
}

static void op_fsync(fuse_req_t request, fuse_ino_t node, int is_data, struct fuse_file_info *file)
{
	fuse_reply_err(request, 0);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.statfs = op_statfs,
	.fsync = op_fsync,
};

/* what is answered here */

static void answer(uint64_t unique, const void *bytes, uint32_t n_bytes)
{
	struct fuse_out_header header = { .len = (uint32_t)sizeof(header) + n_bytes,
					  .unique = unique };
	const struct iovec parts[] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = (void *)bytes, .iov_len = n_bytes },
	};

	(void)!writev(null_daemon.fd, parts, 2); /* who asked may have gone */
}

/* Here, because libfuse 3.14 cannot say that writes may go side by side. */
static void answer_open(const struct fuse_in_header *header)
{
	const struct fuse_open_out out = {
		.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES,
	};

	answer(header->unique, &out, sizeof(out));
}

static void answer_read(const struct fuse_in_header *header, uint8_t *buffer)
{
	const struct fuse_read_in *in = (const void *)(header + 1);
	const uint64_t left = null_daemon.size_bytes - zr_min(in->offset, null_daemon.size_bytes);

	answer(header->unique, buffer + HEADER_BYTES, (uint32_t)zr_min(in->size, left));
}

static void answer_write(const struct fuse_in_header *header)
{
	const struct fuse_write_in *in = (const void *)(header + 1);
	const struct fuse_write_out out = { .size = in->size };

	answer(header->unique, &out, sizeof(out));
}

static void serve(uint8_t *buffer, size_t n_bytes)
{
	const struct fuse_buf rare = { .mem = buffer, .size = n_bytes };
	const struct fuse_in_header *header = (const void *)buffer;

	if (header->opcode == FUSE_READ)
		answer_read(header, buffer);
	else if (header->opcode == FUSE_WRITE)
		answer_write(header);
	else if (header->opcode == FUSE_OPEN)
		answer_open(header);
	else
		fuse_session_process_buf(null_daemon.session, &rare);
}

static void *serve_all(void *context)
{
	uint8_t *buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ssize_t n_bytes;

	must(buffer != MAP_FAILED, "a buffer");
	for (;;) {
		n_bytes = read(null_daemon.fd, buffer, BUFFER_BYTES);
		if (n_bytes > 0)
			serve(buffer, (size_t)n_bytes);
		else if (errno == ENODEV)
			return NULL; /* unmounted */
		else
			/* ENOENT: whoever asked was killed meanwhile. */
			must(errno == EINTR || errno == EAGAIN || errno == ENOENT, "/dev/fuse");
	}
}

static void mount_at(const char *point)
{
	char *words[] = { (char *)"null-daemon", (char *)"-o", (char *)"fsname=null-daemon" };
	struct fuse_args args = FUSE_ARGS_INIT(3, words);

	null_daemon.session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!null_daemon.session || fuse_session_mount(null_daemon.session, point) < 0)
		exit(TOOL_EXIT_FAILED); /* libfuse has said why */
	null_daemon.fd = fuse_session_fd(null_daemon.session);
}

int main(int argc, char **argv)
{
	long i, n_threads = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[N_THREADS_MAX];
	int option;

	while ((option = getopt(argc, argv, "s:t:")) >= 0) {
		if (option == 's')
			null_daemon.size_bytes = strtoull(optarg, NULL, 10);
		else if (option == 't')
			n_threads = strtol(optarg, NULL, 10);
		else
			n_threads = 0;
	}
	if (optind + 1 != argc || n_threads <= 0) {
		tool_error("usage: null-daemon [-s BYTES] [-t THREADS] MOUNTPOINT");
		return TOOL_EXIT_USAGE;
	}
	if (n_threads > N_THREADS_MAX)
		n_threads = N_THREADS_MAX;
	mount_at(argv[optind]);
	for (i = 0; i < n_threads; ++i)
		zr_must(pthread_create(&threads[i], NULL, serve_all, NULL));
	for (i = 0; i < n_threads; ++i)
		zr_must(pthread_join(threads[i], NULL));
	fuse_session_unmount(null_daemon.session);
	fuse_session_destroy(null_daemon.session);
	return 0;
}

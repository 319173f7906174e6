/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A filesystem that does nothing, over io_uring: what the transport costs by itself
 *
 *   null-uring MOUNTPOINT SIZE      in the foreground, until it is unmounted
 *
 * One file, "null", of SIZE bytes: reads are answered with what lies in the buffer, writes with
 * their length. DEPTH in the environment: requests for each processor.
 */

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "cpus.h"
#include "rings.h"

#define NODE_NULL 2u

struct lane {
	pthread_t thread;
	unsigned int i;
};

struct null {
	struct fuse_session *session;
	struct rings *rings;
	uint64_t size;
	struct lane lanes[RINGS_MAX];
};

static struct null null;

static _Noreturn void fail(const char *what, int error)
{
	fprintf(stderr, "null-uring: %s: %s\n", what, strerror(error));
	exit(EXIT_FAILURE);
}

/* names */

static struct stat stat_of(uint64_t node)
{
	if (node == FUSE_ROOT_ID)
		return (struct stat){ .st_ino = node, .st_mode = S_IFDIR | 0755, .st_nlink = 2 };
	return (struct stat){ .st_ino = node,
			      .st_mode = S_IFREG | 0600,
			      .st_nlink = 1,
			      .st_size = (off_t)null.size };
}

static void null_init(void *userdata, struct fuse_conn_info *conn)
{
	conn->want &= ~(unsigned int)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				      FUSE_CAP_SPLICE_MOVE);
	conn->max_write = ENTRIES_PAYLOAD_BYTES;
	conn->max_background = 1024;
}

static void null_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .ino = NODE_NULL,
					  .attr = stat_of(NODE_NULL),
					  .attr_timeout = 1000,
					  .entry_timeout = 1000 };

	if (strcmp(name, "null") != 0)
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_entry(req, &entry);
}

static void null_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	const struct stat st = stat_of(node);

	fuse_reply_attr(req, &st, 1000);
}

static void null_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void null_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

static void null_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t offset, off_t n_bytes,
			   struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops ops = {
	.init = null_init,
	.lookup = null_lookup,
	.getattr = null_getattr,
	.open = null_open,
	.fsync = null_fsync,
	.fallocate = null_fallocate,
};

/* answers */

/* FUSE_INIT is the one that is changed: io_uring is what we want. */
static ssize_t answer(int fd, struct iovec *parts, int n_parts, void *userdata)
{
	struct fuse_init_out *out = n_parts > 1 ? parts[1].iov_base : NULL;

	if (!null.rings) {
		if (out && parts[1].iov_len >= sizeof(*out)) {
			out->flags |= UINT32_C(1) << 30;
			out->flags2 |= (uint32_t)(URING_INIT_FLAG >> 32);
		}
		return writev(fd, parts, n_parts);
	}
	if (rings_answer(null.rings, parts, (unsigned int)n_parts))
		return ((struct fuse_out_header *)parts[0].iov_base)->len;
	return writev(fd, parts, n_parts);
}

static ssize_t receive(int fd, void *bytes, size_t n_bytes, void *userdata)
{
	return read(fd, bytes, n_bytes);
}

static bool serve(void *context, const struct ring_request *from)
{
	const struct fuse_in_header *in = (const void *)from->request;
	const struct fuse_read_in *read_in = (const void *)(in + 1);
	const struct fuse_write_in *write_in = (const void *)(in + 1);
	const struct fuse_buf buffer = { .mem = (void *)from->request, .size = from->n_request };
	struct fuse_write_out written = { 0 };
	struct fuse_out_header out = { .len = sizeof(out), .unique = in->unique };
	struct iovec parts[2] = { { &out, sizeof(out) } };

	switch (in->opcode) {
	case FUSE_READ:
		parts[1] = (struct iovec){ from->payload, read_in->size };
		break;
	case FUSE_WRITE:
		written.size = write_in->size;
		parts[1] = (struct iovec){ &written, sizeof(written) };
		break;
	default:
		fuse_session_process_buf(null.session, &buffer);
		return true;
	}
	out.len += (uint32_t)parts[1].iov_len;
	return rings_answer(null.rings, parts, 2);
}

static void *lane_main(void *context)
{
	const struct lane *lane = context;

	rings_run(null.rings, lane->i);
	return NULL;
}

/* the whole */

static int entries(void)
{
	const char *depth = getenv("DEPTH");
	struct entries_plan plan;
	cpu_set_t possible, online;
	int r;

	r = cpus_read(CPUS_POSSIBLE, &possible);
	if (r == 0)
		r = cpus_read(CPUS_ONLINE, &online);
	if (r == 0)
		r = entries_plan(&plan, &possible, &online,
				 depth ? (unsigned int)strtoul(depth, NULL, 10) : 32,
				 ENTRIES_PAYLOAD_BYTES);
	return r == 0 ? entries_make(&plan, &online) : r;
}

static void rings_begin(int fd)
{
	const struct rings_use use = { .serve = serve };
	struct rings *rings;
	unsigned int i;
	int r;

	r = entries();
	if (r >= 0)
		r = rings_new(&rings, r, fd);
	if (r < 0)
		fail("rings", -r);
	rings_serve_by(rings, &use);
	null.rings = rings;
	for (i = 0; i < rings_count(rings); ++i) {
		null.lanes[i].i = i;
		if (pthread_create(&null.lanes[i].thread, NULL, lane_main, &null.lanes[i]) != 0)
			fail("pthread_create", EAGAIN);
	}
}

int main(int argc, char **argv)
{
	static const struct fuse_custom_io io = { .writev = answer, .read = receive };
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_buf buffer = { 0 };
	unsigned int i;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: null-uring MOUNTPOINT SIZE\n");
		return EXIT_FAILURE;
	}
	null.size = strtoull(argv[2], NULL, 10);
	fuse_opt_add_arg(&args, "null-uring");
	null.session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!null.session || fuse_session_mount(null.session, argv[1]) < 0)
		return EXIT_FAILURE;
	fd = fuse_session_fd(null.session);
	if (fuse_session_custom_io(null.session, &io, fd) < 0)
		fail("libfuse", EINVAL);

	/* The first request is FUSE_INIT; all others that come this way want no answer. */
	while (!fuse_session_exited(null.session) &&
	       fuse_session_receive_buf(null.session, &buffer) > 0) {
		fuse_session_process_buf(null.session, &buffer);
		if (!null.rings)
			rings_begin(fd);
	}
	rings_end(null.rings);
	for (i = 0; i < rings_count(null.rings); ++i)
		pthread_join(null.lanes[i].thread, NULL);
	null.rings = rings_free(null.rings);
	fuse_session_unmount(null.session);
	fuse_session_destroy(null.session);
	free(buffer.mem);
	return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A filesystem of one file, which is as bad as it is told to be.
 *
 *     onefile DIRECTORY MIB
 *
 * DIRECTORY/file is in memory, MIB large at most, and empty. What is written to DIRECTORY/control is
 * a word for reads or writes of it from then on:
 *
 *     reads=go      writes=go       as well as can be; what was held is answered
 *     reads=hold    writes=hold     not answered until they go
 *     reads=slow    writes=slow     answered 20 ms later
 *     reads=short                   half of what was asked for, in blocks of 4 KiB
 *     reads=torn                    100 bytes of it
 *     reads=N       writes=N        fail with errno N
 *
 * Of a short write the kernel makes EIO. What is read from there: "READS WRITES HELD", answered and waiting. It ends when it is unmounted,
 * and what it holds is answered then.
 */

#define FUSE_USE_VERSION 314

#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

#define BLOCK_BYTES 4096u
#define SLOW_NS     INT64_C(20000000)
#define NEVER_NS    INT64_MAX
#define HELD_MAX    4096u

enum {
	NODE_FILE = FUSE_ROOT_ID + 1,
	NODE_CONTROL,
};

enum manner {
	MANNER_GO = 0, /* and positive: that errno */
	MANNER_HOLD = -1,
	MANNER_SLOW = -2,
	MANNER_SHORT = -3,
	MANNER_TORN = -4,
};

struct request {
	fuse_req_t req;
	bool is_write;
	size_t n_bytes;
	uint64_t offset;
	int64_t due_ns;
	uint8_t *bytes; /* of a write */
};

static uint8_t *file;
static uint64_t size_max, size;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
/* protected by lock */
static int manners[2]; /* of reads, of writes */
static uint64_t n_answered[2];
static struct request held[HELD_MAX];
static unsigned int n_held;

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* answers */

/* Of @n_bytes, as many as that manner gives. */
static size_t n_given(int manner, size_t n_bytes)
{
	if (manner == MANNER_TORN)
		return n_bytes < 100 ? n_bytes : 100;
	if (manner != MANNER_SHORT || n_bytes <= BLOCK_BYTES)
		return n_bytes;
	return n_bytes / 2 / BLOCK_BYTES * BLOCK_BYTES;
}

static void answer_read(const struct request *request, int manner)
{
	size_t n = 0;

	if (request->offset < size)
		n = size - request->offset < request->n_bytes ? size - request->offset
							      : request->n_bytes;
	fuse_reply_buf(request->req, (const char *)file + request->offset, n_given(manner, n));
}

static void answer_write(const struct request *request)
{
	const size_t n = request->n_bytes;

	if (request->offset + n > size_max) {
		fuse_reply_err(request->req, ENOSPC);
		return;
	}
	memcpy(file + request->offset, request->bytes, n);
	if (request->offset + n > size)
		size = request->offset + n;
	fuse_reply_write(request->req, n);
}

/* The lock is held. */
static void answer(const struct request *request)
{
	const int manner = manners[request->is_write];

	++n_answered[request->is_write];
	if (manner > 0)
		fuse_reply_err(request->req, manner);
	else if (request->is_write)
		answer_write(request);
	else
		answer_read(request, manner);
	free(request->bytes);
}

static void take(struct request request)
{
	int manner;

	pthread_mutex_lock(&lock);
	manner = manners[request.is_write];
	if (manner != MANNER_HOLD && manner != MANNER_SLOW) {
		answer(&request);
	} else {
		CHECK(n_held < HELD_MAX);
		request.due_ns = manner == MANNER_SLOW ? now_ns() + SLOW_NS : NEVER_NS;
		held[n_held++] = request;
		pthread_cond_signal(&changed);
	}
	pthread_mutex_unlock(&lock);
}

/* Those that are due. Return: when the next one is. The lock is held. */
static int64_t answer_due(int64_t now)
{
	int64_t next = NEVER_NS;
	unsigned int i, n = 0;

	for (i = 0; i < n_held; ++i) {
		if (held[i].due_ns <= now || manners[held[i].is_write] >= 0) {
			answer(&held[i]);
			continue;
		}
		next = held[i].due_ns < next ? held[i].due_ns : next;
		held[n++] = held[i];
	}
	n_held = n;
	return next;
}

static void *wait_for_due(void *unused)
{
	struct timespec until;
	int64_t next;

	pthread_mutex_lock(&lock);
	for (;;) {
		next = answer_due(now_ns());
		until = (struct timespec){ next / 1000000000, next % 1000000000 };
		if (next == NEVER_NS)
			pthread_cond_wait(&changed, &lock);
		else
			(void)pthread_cond_timedwait(&changed, &lock, &until);
	}
	return NULL;
}

/* what it is told */

static int manner_parse(const char *word)
{
	static const char *const words[] = { "go", "hold", "slow", "short", "torn" };
	unsigned int i;

	for (i = 0; i < sizeof(words) / sizeof(*words); ++i)
		if (strcmp(word, words[i]) == 0)
			return -(int)i;
	return atoi(word);
}

static void told(const char *text)
{
	char whom[16], word[16];

	CHECK(sscanf(text, "%15[a-z]=%15s", whom, word) == 2);
	pthread_mutex_lock(&lock);
	manners[strcmp(whom, "writes") == 0] = manner_parse(word);
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

static void say(fuse_req_t req, off_t offset)
{
	char text[80];
	int n;

	pthread_mutex_lock(&lock);
	n = snprintf(text, sizeof(text), "%llu %llu %u\n", (unsigned long long)n_answered[0],
		     (unsigned long long)n_answered[1], n_held);
	pthread_mutex_unlock(&lock);
	fuse_reply_buf(req, text, offset == 0 ? (size_t)n : 0);
}

/* FUSE */

static struct stat stat_of(fuse_ino_t node)
{
	struct stat st = { .st_ino = node, .st_nlink = 1, .st_mode = S_IFREG | 0600 };

	if (node == FUSE_ROOT_ID)
		st.st_mode = S_IFDIR | 0700;
	if (node == NODE_FILE)
		st.st_size = (off_t)size;
	return st;
}

static void op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	const struct stat st = stat_of(node);

	fuse_reply_attr(req, &st, 0);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .ino = strcmp(name, "file") == 0 ? NODE_FILE
									   : NODE_CONTROL };

	if (entry.ino == NODE_CONTROL && strcmp(name, "control") != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	entry.attr = stat_of(entry.ino);
	fuse_reply_entry(req, &entry);
}

static void op_setattr(fuse_req_t req, fuse_ino_t node, struct stat *st, int what,
		       struct fuse_file_info *fi)
{
	if (node == NODE_FILE && what & FUSE_SET_ATTR_SIZE) {
		if ((uint64_t)st->st_size > size_max) {
			fuse_reply_err(req, ENOSPC);
			return;
		}
		memset(file + st->st_size, 0, size_max - (uint64_t)st->st_size);
		size = (uint64_t)st->st_size;
	}
	op_getattr(req, node, fi);
}

static void op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	fi->direct_io = node == NODE_CONTROL;
	fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t node, size_t n_bytes, off_t offset,
		    struct fuse_file_info *fi)
{
	if (node == NODE_CONTROL)
		say(req, offset);
	else
		take((struct request){
			.req = req, .n_bytes = n_bytes, .offset = (uint64_t)offset });
}

static void op_write(fuse_req_t req, fuse_ino_t node, const char *bytes, size_t n_bytes,
		     off_t offset, struct fuse_file_info *fi)
{
	struct request request = {
		.req = req, .is_write = true, .n_bytes = n_bytes, .offset = (uint64_t)offset
	};

	if (node == NODE_CONTROL) {
		char text[80] = "";

		memcpy(text, bytes, n_bytes < sizeof(text) ? n_bytes : sizeof(text) - 1);
		told(text);
		fuse_reply_write(req, n_bytes);
		return;
	}
	request.bytes = malloc(n_bytes);
	CHECK(request.bytes);
	memcpy(request.bytes, bytes, n_bytes);
	take(request);
}

static void op_init(void *context, struct fuse_conn_info *conn)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, wait_for_due, NULL) == 0);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.open = op_open,
	.read = op_read,
	.write = op_write,
};

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_session *session;
	pthread_condattr_t attr;

	if (argc != 3) {
		fprintf(stderr, "usage: onefile DIRECTORY MIB\n");
		return 1;
	}
	size_max = (uint64_t)atoi(argv[2]) << 20;
	file = mmap(NULL, size_max, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(file != MAP_FAILED);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attr);

	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	CHECK(session && fuse_session_mount(session, argv[1]) == 0);
	(void)fuse_session_loop(session);
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	return 0;
}

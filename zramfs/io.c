/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"
#include "crash.h"
#include "crew.h"
#include "fs.h"
#include "log.h"
#include "rings.h"
#include "vfile.h"

/* Of a request: 8 pages are 50 us to write. */
#define SHORT_BYTES (32u << 10)

/* A request that drops much, handed over. */
struct punch {
	struct job job;
	struct io *io;
	_Atomic bool is_taken; /* from when it is posted until it runs */
	struct zr_disk *disk;  /* open, until it is answered */
	uint64_t unique, node;
	uint64_t offset, n_bytes;
	int mode;
};

/* What the thread that drops is given to wait with. */
struct ctx_change {
	struct job job;
	struct zr_ctx *ctx; /* the new one, then the one it had */
	sem_t is_done;
};

struct bad_page {
	struct job job;
	struct io *io;
	_Atomic int64_t next_ns; /* when it may be said again */
	_Atomic uint64_t disk_id;
};

struct io {
	struct fs *fs;
	int fd;
	struct buffer memory; /* this */
	struct jobs punches;  /* one thread */
	struct crew *crew;    /* of large requests */
	struct waiters waiters;
	pthread_mutex_t letting;
	/* protected by letting */
	struct ctx_change ctx_change;
	bool punches_wait;
	pthread_mutex_t suspect; /* held by the waiter that does what may have killed a worker */
	struct bad_page bad_page;
	struct punch punch_of[ZR_DISKS_MAX]; /* by number of the disk's entry */
};

/* One request, where it was read. */
struct call {
	struct io *io;
	const struct fuse_in_header *header;
	const void *arguments;
	size_t n_arguments; /* bytes, with what is to be written */
	struct zr_disk *disk;
};

int io_answer(struct io *io, uint64_t unique, int error, const void *bytes, size_t n_bytes)
{
	struct fuse_out_header header = { .len = (uint32_t)(sizeof(header) + n_bytes),
					  .error = -error,
					  .unique = unique };
	const struct iovec parts[] = { { .iov_base = &header, .iov_len = sizeof(header) },
				       { .iov_base = (void *)bytes, .iov_len = n_bytes } };

	return answer_send(io->fs->rings, io->fd, parts, n_bytes > 0 ? 2 : 1) < 0 ? -errno : 0;
}

/* Nobody may want the answer any more: then the kernel says ENOENT, and that is all right. */
static void answer(const struct call *call, int error, const void *bytes, size_t n_bytes)
{
	(void)io_answer(call->io, call->header->unique, error, bytes, n_bytes);
}

static int64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* pages that do not decode */

static void bad_page_run(struct job *job)
{
	struct bad_page *bad = (struct bad_page *)job;
	struct fs *fs = bad->io->fs;
	struct zr_disk *disk = zr_store_get(fs->store, atomic_load(&bad->disk_id));
	struct zr_attrs attrs;

	if (!disk)
		return;
	zr_disk_attrs(disk, &attrs);
	log_line("disk %s: a page does not decode, who asked for it got an I/O error; see "
		 "UndecodablePages in .stats",
		 attrs.name);
	zr_disk_unpin(fs->store, disk);
}

/* Said by a job, and once a second at most. */
static void bad_page_say(struct io *io, const struct zr_disk *disk)
{
	struct bad_page *bad = &io->bad_page;
	const int64_t now = now_ns(CLOCK_MONOTONIC_COARSE);
	int64_t next = atomic_load(&bad->next_ns);

	if (now < next || !atomic_compare_exchange_strong(&bad->next_ns, &next, now + 1000000000))
		return;
	atomic_store(&bad->disk_id, disk->id);
	jobs_post(&io->fs->names, &bad->job);
}

/* Answer with an error. One that would have to wait was given to nobody who may: there is nobody. */
static void disk_failed(struct io *io, const struct zr_disk *disk, uint64_t unique, int r)
{
	/* What a backing file does not give is said by who asked it (backings.h). */
	if (r == -EIO && atomic_load(&disk->entry->counters.undecodable_pages) > 0)
		bad_page_say(io, disk);
	(void)io_answer(io, unique, r == -EINPROGRESS ? EIO : -r, NULL, 0);
}

/* reading and writing */

/* A request on a disk was served, since @begin_ns, and is about to be answered: once it is, the
 * disk may go. */
static void served(struct zr_latency *latency, int64_t begin_ns)
{
	zr_latency_add(latency, (uint64_t)(now_ns(CLOCK_MONOTONIC) - begin_ns));
}

#if ZR_DEBUG_LEVEL >= 1
#define POISON_OFFSET 0x7a000u

/* A request that kills its worker each time, for tests. */
static void maybe_poison(struct zr_disk *disk, uint64_t offset)
{
	struct zr_attrs attrs;

	if (offset != POISON_OFFSET)
		return;
	zr_disk_attrs(disk, &attrs);
	if (strcmp(attrs.name, "poison") == 0)
		ZR_CRASH("poison");
}
#else
static void maybe_poison(struct zr_disk *disk, uint64_t offset)
{
}
#endif

static struct waited request_of(const struct call *call, uint64_t offset, uint32_t n_bytes,
				const void *bytes)
{
	return (struct waited){ .disk = call->disk,
				.unique = call->header->unique,
				.node = call->header->nodeid,
				.opcode = call->header->opcode,
				.n_bytes = n_bytes,
				.offset = offset,
				.begin_ns = now_ns(CLOCK_MONOTONIC),
				.bytes = (uint8_t *)bytes };
}

/* Return: is it somebody else's from now on? */
static bool hand_over(struct io *io, const struct waited *request, int r)
{
	return r == -EINPROGRESS && waiters_post(&io->waiters, request, thread_self.stays);
}

static void read_answer(struct io *io, const struct waited *request, int r, size_t n_read)
{
	served(&request->disk->entry->read_latency, request->begin_ns);
	if (r < 0)
		disk_failed(io, request->disk, request->unique, r);
	else
		(void)io_answer(io, request->unique, 0, request->bytes, n_read);
}

static void serve_read(const struct call *call)
{
	const struct fuse_read_in *in = call->arguments;
	const struct waited request = request_of(call, in->offset, in->size, thread_self.reply);
	size_t n_read = 0;
	int r;

	if (in->size > thread_self.n_reply) { /* more than was agreed at INIT */
		answer(call, EIO, NULL, 0);
		return;
	}

	maybe_poison(call->disk, in->offset);
	r = crew_read(call->io->crew, call->disk, in->offset, request.bytes, in->size, &n_read);
	if (!hand_over(call->io, &request, r))
		read_answer(call->io, &request, r, n_read);
}

/* @size: of the disk, before. A file that grew may have grown by less. But a buffered loop device
 * takes a short write for a whole one, and a direct one gets EIO for it: what lies within the disk is
 * written whole or refused with its own errno, whatever pages were done. */
static void write_answer(struct io *io, const struct waited *request, uint64_t size, int r,
			 size_t n_written)
{
	const struct fuse_write_out out = { .size = (uint32_t)n_written };

	served(&request->disk->entry->write_latency, request->begin_ns);
	if (r < 0 && (n_written == 0 || request->offset + request->n_bytes <= size))
		disk_failed(io, request->disk, request->unique, r);
	else
		(void)io_answer(io, request->unique, 0, &out, sizeof(out));
}

static void serve_write(const struct call *call)
{
	const struct fuse_write_in *in = call->arguments;
	const struct waited request = request_of(call, in->offset, in->size, in + 1);
	const uint64_t size = zr_disk_size(call->disk);
	size_t n_written;
	int r;

	if (in->size > call->n_arguments - sizeof(*in)) {
		answer(call, EIO, NULL, 0);
		return;
	}

	r = crew_write(call->io->crew, call->disk, in->offset, request.bytes, in->size, &n_written);
	if (!hand_over(call->io, &request, r))
		write_answer(call->io, &request, size, r, n_written);
}

/* Once a request is answered the disk may go, and its file. */
static void ctx_let_go(void)
{
	if (thread_self.ctx->window)
		zr_window_close(thread_self.ctx->window);
}

static void waited_do(struct io *io, const struct waited *request)
{
	const uint64_t size = zr_disk_size(request->disk);
	size_t n_done = 0;
	int r;

	if (request->opcode == FUSE_READ) {
		r = zr_disk_read(request->disk, thread_self.ctx, request->offset, request->bytes,
				 request->n_bytes, &n_done);
		ctx_let_go();
		read_answer(io, request, r, n_done);
	} else {
		r = zr_disk_write(request->disk, thread_self.ctx, request->offset, request->bytes,
				  request->n_bytes, &n_done);
		ctx_let_go();
		write_answer(io, request, size, r, n_done);
	}
}

/* Of suspects a waiter has one in hand at a time, as have those that read requests: they do not wait
 * for each other, since who reads waits for room here. */
static void waited_serve(void *context, const struct waited *request)
{
	struct io *io = context;
	const uint64_t unique = request->unique & ~SHELF_RESENT;
	const bool alone = unique != request->unique && shelf_is_suspect(io->fs->shelf, unique);

	if (alone) {
		/* What waits here did not kill anybody. */
		thread_leave_seat();
		pthread_mutex_lock(&io->suspect);
		thread_take_seat(unique, request->node, request->opcode);
	}
	waited_do(io, request);
	if (alone)
		pthread_mutex_unlock(&io->suspect);
}

/* dropping */

/* Only what is really done is accepted: 0 for a mode that is ignored would be silent corruption. */
static int disk_fallocate(struct zr_disk *disk, int mode, uint64_t offset, uint64_t n_bytes)
{
	int r = 0;

	switch (mode) {
	case 0: /* promises nothing but the size */
		return zr_disk_extend(disk, offset + n_bytes);
	case FALLOC_FL_KEEP_SIZE:
		return 0;
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		return zr_disk_punch(disk, thread_self.ctx, offset, n_bytes);
	case FALLOC_FL_ZERO_RANGE:
		r = zr_disk_extend(disk, offset + n_bytes);
		return r < 0 ? r : zr_disk_punch(disk, thread_self.ctx, offset, n_bytes);
	default:
		return -EOPNOTSUPP;
	}
}

static void fallocate_answer(struct io *io, const struct zr_disk *disk, uint64_t unique, int r)
{
	if (r < 0)
		disk_failed(io, disk, unique, r);
	else
		(void)io_answer(io, unique, 0, NULL, 0);
}

static void punch_run(struct job *job)
{
	struct punch *posted = (struct punch *)job;
	const struct punch punch = *posted;
	int r;

	/* Before it is answered: then the next one of this disk may come. */
	atomic_store(&posted->is_taken, false);
	thread_take_seat(punch.unique & ~SHELF_RESENT, punch.node, FUSE_FALLOCATE);
	r = disk_fallocate(punch.disk, punch.mode, punch.offset, punch.n_bytes);
	ctx_let_go();
	fallocate_answer(punch.io, punch.disk, punch.unique, r);
	thread_leave_seat();
}

/* The kernel holds the inode's lock until a FALLOCATE is answered, so that the disk's place is free.
 * Return: false if it is not. */
static bool punch_post(const struct call *call, const struct fuse_fallocate_in *in)
{
	struct punch *punch = &call->io->punch_of[call->disk->entry_no];

	if (atomic_exchange(&punch->is_taken, true))
		return false;
	punch->disk = call->disk;
	punch->unique = call->header->unique;
	punch->node = call->header->nodeid;
	punch->offset = in->offset;
	punch->n_bytes = in->length;
	punch->mode = (int)in->mode;
	return jobs_post(&call->io->punches, &punch->job);
}

static bool drops_much(const struct fuse_fallocate_in *in)
{
	return in->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) &&
	       in->length > PUNCH_MIN_BYTES;
}

static void serve_fallocate(const struct call *call)
{
	const struct fuse_fallocate_in *in = call->arguments;
	int r;

	if ((int64_t)in->offset < 0 || (int64_t)in->length <= 0) {
		answer(call, EINVAL, NULL, 0);
		return;
	}
	if (drops_much(in) && punch_post(call, in))
		return;
	r = disk_fallocate(call->disk, (int)in->mode, in->offset, in->length);
	if (r != -EINPROGRESS || !punch_post(call, in))
		fallocate_answer(call->io, call->disk, call->header->unique, r);
}

/* all else */

static void serve_lseek(const struct call *call)
{
	const struct fuse_lseek_in *in = call->arguments;
	struct fuse_lseek_out out = { 0 };
	int r = -EINVAL;

	if ((int64_t)in->offset >= 0 && in->whence == SEEK_DATA)
		r = zr_disk_seek_data(call->disk, in->offset, &out.offset);
	else if ((int64_t)in->offset >= 0 && in->whence == SEEK_HOLE)
		r = zr_disk_seek_hole(call->disk, in->offset, &out.offset);

	if (r < 0)
		answer(call, -r, NULL, 0);
	else
		answer(call, 0, &out, sizeof(out));
}

/* Nothing here is persistent. Not ENOSYS: the kernel would never ask again, not even a version that
 * has something to write. */
static void serve_sync(const struct call *call)
{
	answer(call, 0, NULL, 0);
}

/* which request is served where */

struct served {
	uint32_t opcode;
	size_t n_arguments; /* bytes, which begin with the handle */
	void (*serve)(const struct call *call);
};

static const struct served *served_find(uint32_t opcode)
{
	static const struct served table[] = {
		{ FUSE_READ, sizeof(struct fuse_read_in), serve_read },
		{ FUSE_WRITE, sizeof(struct fuse_write_in), serve_write },
		{ FUSE_FALLOCATE, sizeof(struct fuse_fallocate_in), serve_fallocate },
		{ FUSE_LSEEK, sizeof(struct fuse_lseek_in), serve_lseek },
		{ FUSE_FSYNC, sizeof(struct fuse_fsync_in), serve_sync },
		{ FUSE_FLUSH, sizeof(struct fuse_flush_in), serve_sync },
	};
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(table); ++i) {
		if (table[i].opcode == opcode)
			return &table[i];
	}
	return NULL;
}

bool io_is_served(uint64_t node, uint32_t opcode)
{
	return node_is_disk(node) && served_find(opcode);
}

bool io_is_short(const uint8_t *request, size_t n_request)
{
	const struct fuse_in_header *header = (const struct fuse_in_header *)request;
	const struct fuse_read_in *in = (const void *)(header + 1);

	if (!node_is_disk(header->nodeid))
		return false;
	if (header->opcode == FUSE_WRITE)
		return n_request <= sizeof(*header) + sizeof(struct fuse_write_in) + SHORT_BYTES;
	return header->opcode == FUSE_READ && n_request >= sizeof(*header) + sizeof(*in) &&
	       in->size <= SHORT_BYTES;
}

/* The disk that the request has open. Return: 0, -EBADF, -ESTALE. */
static int disk_of(struct fs *fs, const struct fuse_in_header *header, uint64_t fh,
		   struct zr_disk **diskp)
{
	const struct handle *handle = handles_get(&fs->handles, fh);

	if (!handle || handle->node != header->nodeid)
		return -EBADF;
	if (!handle->disk)
		return -ESTALE;
	*diskp = handle->disk;
	return 0;
}

bool io_serve(struct io *io, const uint8_t *request, size_t n_request)
{
	const struct fuse_in_header *header = (const struct fuse_in_header *)request;
	const struct served *served_by = served_find(header->opcode);
	struct call call = { .io = io,
			     .header = header,
			     .arguments = header + 1,
			     .n_arguments = n_request - sizeof(*header) };
	int r = -EIO;

	if (!served_by || !node_is_disk(header->nodeid))
		return false;

	if (call.n_arguments >= served_by->n_arguments)
		r = disk_of(io->fs, header, *(const uint64_t *)call.arguments, &call.disk);
	if (r < 0)
		answer(&call, -r, NULL, 0);
	else
		served_by->serve(&call);
	return true;
}

/* letting wait */

/* By the thread that drops, between two jobs. */
static void ctx_change_run(struct job *job)
{
	struct ctx_change *change = (struct ctx_change *)job;
	struct zr_ctx *before = thread_self.ctx;

	thread_self.ctx = change->ctx;
	change->ctx = before;
	sem_post(&change->is_done);
}

/* It gets another context, made here: it must not ask for memory itself. */
static int punches_let_wait(struct io *io)
{
	struct ctx_change *change = &io->ctx_change;
	int r;

	r = zr_ctx_new(&change->ctx);
	if (r < 0)
		return r;
	r = zr_ctx_let_wait(change->ctx);
	if (r == 0) {
		jobs_post(&io->punches, &change->job);
		while (sem_wait(&change->is_done) < 0)
			;
		io->punches_wait = true;
	}
	change->ctx = zr_ctx_free(change->ctx);
	return r;
}

int io_let_wait(struct io *io)
{
	const struct entries_head *entries = io->fs->rings ? rings_entries(io->fs->rings) : NULL;
	int r;

	r = waiters_start(&io->waiters, entries ? entries->n_entries : FS_MAX_BACKGROUND,
			  entries ? entries->n_payload : THREAD_REPLY_BYTES);
	if (r < 0)
		return r;
	pthread_mutex_lock(&io->letting);
	r = io->punches_wait ? 0 : punches_let_wait(io);
	pthread_mutex_unlock(&io->letting);
	return r;
}

/* its own thread */

int io_new(struct io **iop, struct fs *fs, int fd)
{
	struct buffer memory = { 0 };
	struct io *io;
	unsigned int i;
	int r;

	r = buffer_make(&memory, sizeof(*io));
	if (r < 0)
		return r;
	io = (struct io *)memory.bytes;
	io->memory = memory;
	io->fs = fs;
	io->fd = fd;
	io->bad_page.job = (struct job){ .run = bad_page_run, .is_kept = true };
	io->bad_page.io = io;
	for (i = 0; i < ZR_DISKS_MAX; ++i) {
		io->punch_of[i].job = (struct job){ .run = punch_run, .is_kept = true };
		io->punch_of[i].io = io;
	}

	io->ctx_change.job = (struct job){ .run = ctx_change_run, .is_kept = true };
	sem_init(&io->ctx_change.is_done, 0, 0);
	pthread_mutex_init(&io->letting, NULL);
	pthread_mutex_init(&io->suspect, NULL);
	waiters_init(&io->waiters, &fs->shelf->seats[SHELF_SEATS - IO_SEATS], waited_serve, io);
	/* What is dropped may be all of a large disk: no hang. */
	jobs_init(&io->punches, &fs->shelf->seats[SHELF_SEATS - 1], true);
	r = jobs_start(&io->punches, "zramfs-punch", 1, true);
	if (r < 0) {
		buffer_free(&memory);
		return r;
	}
	r = crew_new(&io->crew, fs->shelf, fs->n_threads);
	if (r < 0) {
		io_free(io);
		return r;
	}
	*iop = io;
	return 0;
}

struct io *io_free(struct io *io)
{
	struct buffer memory;

	if (!io)
		return NULL;
	jobs_stop(&io->punches);
	waiters_stop(&io->waiters);
	io->crew = crew_free(io->crew);
	pthread_mutex_destroy(&io->suspect);
	pthread_mutex_destroy(&io->letting);
	sem_destroy(&io->ctx_change.is_done);
	memory = io->memory;
	buffer_free(&memory);
	return NULL;
}

void io_calm(struct io *io)
{
	jobs_calm(&io->punches);
	waiters_calm(&io->waiters);
	crew_calm(io->crew);
}

void io_lock(struct io *io)
{
	buffer_lock(&io->memory);
	jobs_lock(&io->punches);
	crew_lock(io->crew);
}

void io_post(struct io *io, struct job *job)
{
	jobs_post(&io->punches, job);
}

bool io_is_idle(struct io *io)
{
	return jobs_are_idle(&io->punches) && waiters_are_idle(&io->waiters);
}

bool io_has(struct io *io, uint64_t unique)
{
	return waiters_have(&io->waiters, unique);
}

/* virtual files, for libfuse */

void io_read(fuse_req_t req, fuse_ino_t ino, size_t n_bytes, off_t offset,
	     struct fuse_file_info *fi)
{
	vfile_read(req, ino, n_bytes, offset, fi);
}

void io_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t n_bytes, off_t offset,
	      struct fuse_file_info *fi)
{
	vfile_write(req, ino, bytes, n_bytes, offset, fi);
}

void io_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t n_bytes,
		  struct fuse_file_info *fi)
{
	fuse_reply_err(req, EINVAL);
}

void io_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	fuse_reply_err(req, EINVAL);
}

void io_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

void io_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

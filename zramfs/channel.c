/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "crash.h"
#include "fs.h"
#include "heap.h"
#include "held.h"
#include "hello.h"
#include "hurry.h"
#include "intake.h"
#include "io.h"
#include "lanes.h"
#include "log.h"
#include "order.h"
#include "records.h"
#include "safety.h"

/* The largest request is a write: what was agreed at INIT, and its headers. The largest reply is a
 * read's, whose request is no longer than headers: so one buffer is enough for both. */
#define REQUEST_HEAD_BYTES 4096u
#define REQUEST_BYTES      (REQUEST_HEAD_BYTES + THREAD_REPLY_BYTES)

/* enum fuse_notify_code, Linux 6.9 */
#define NOTIFY_RESEND 7

/* Wakes a thread that waits for a request. */
#define WAKE_SIGNAL SIGUSR1
#define WAKE_NS     1000000

#if defined(__SANITIZE_THREAD__)
char order_of_requests;
#endif

struct serving {
	struct channel *channel;
	pthread_t thread;
	struct thread_room room;
	struct intake intake;
	struct buffer request;
	_Atomic bool has_ended;
};

struct channel_job {
	struct job job; /* kept */
	struct channel *channel;
};

struct channel {
	/* constant */
	struct fuse_session *session;
	struct fs *fs;
	struct shelf *shelf;
	struct io *io;
	int fd;
	int ended; /* eventfd */
	unsigned int n_threads;

	struct gate arrivals;
	_Atomic unsigned int n_running;
	_Atomic bool stopping;
	_Atomic bool is_gone; /* the mount */

	pthread_mutex_t gate;
	pthread_cond_t opened;
	/* protected by gate */
	bool is_open;

	/* Held while what may have killed a worker is served again. */
	pthread_mutex_t suspect;

	/* While the kernel sends again, it is read and looked for with this held. */
	pthread_mutex_t resent;
	_Atomic bool is_resending; /* changed with it held */

	struct rings *rings; /* NULL: none */
	struct lanes lanes;

	struct held held;
	struct channel_job serve_held, say_poison;
	_Atomic uint64_t poison_node; /* the last one that was answered */
	_Atomic uint32_t poison_opcode;
	struct serving serving[CHANNEL_THREADS_MAX];
};

/* custom I/O of libfuse */

static ssize_t channel_writev(int fd, struct iovec *parts, int n_parts, void *userdata)
{
	const struct fs *fs = userdata;

	return hello_writev(fs->rings, fd, parts, n_parts);
}

/* libfuse wants to have it, and is never asked to read. */
static ssize_t channel_read(int fd, void *bytes, size_t n_bytes, void *userdata)
{
	return read(fd, bytes, n_bytes);
}

const struct fuse_custom_io channel_io = { .writev = channel_writev, .read = channel_read };

/* reading */

static const struct fuse_in_header *header_of(const uint8_t *request)
{
	return (const struct fuse_in_header *)request;
}

/* What the kernel sends without regard to the order of all else, and never again. */
static bool is_out_of_order(const uint8_t *request)
{
	const uint32_t opcode = header_of(request)->opcode;

	return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT;
}

/* The calling thread has @request in hand. */
static void request_taken(struct channel *channel, const uint8_t *request, bool may_have_record)
{
	const uint64_t unique = header_of(request)->unique;

	thread_self.unique = unique & ~SHELF_RESENT;
	thread_self.is_resent = unique & SHELF_RESENT;
	thread_self.record = NULL;
	if (thread_self.is_resent && may_have_record)
		thread_self.record = records_find(&channel->fs->records, thread_self.unique);
}

/* What a read of @n bytes came to. Return: bytes, or -errno. */
static ssize_t request_check(const uint8_t *request, ssize_t n)
{
	order_request();
	if (n < 0)
		return n;
	/* Whole, always; else it could not be answered. */
	if ((size_t)n < sizeof(struct fuse_in_header) || header_of(request)->len != (size_t)n)
		return -EPROTO;
	return n;
}

static void resent_all_read(struct channel *channel)
{
	records_forget_rest(&channel->fs->records);
	atomic_store(&channel->is_resending, false);
}

static ssize_t read_resent_locked(struct serving *serving)
{
	struct channel *channel = serving->channel;
	uint8_t *request = serving->request.bytes;
	ssize_t n;

	n = request_check(request, intake_try(&serving->intake, request, REQUEST_BYTES));
	if (n == -EAGAIN)
		resent_all_read(channel);
	if (n < 0)
		return n;

	request_taken(channel, request, true);
	if (!thread_self.is_resent && !is_out_of_order(request))
		resent_all_read(channel);
	return n;
}

/* The next request, taken. Return: bytes, or -errno. */
static ssize_t request_next(struct serving *serving)
{
	struct channel *channel = serving->channel;
	uint8_t *request = serving->request.bytes;
	ssize_t n = -EAGAIN;

	if (atomic_load(&channel->is_resending)) {
		pthread_mutex_lock(&channel->resent);
		if (atomic_load(&channel->is_resending))
			n = read_resent_locked(serving);
		pthread_mutex_unlock(&channel->resent);
		return n;
	}

	n = request_check(request, intake_read(&serving->intake, request, REQUEST_BYTES));
	if (n >= 0)
		request_taken(channel, request, false);
	return n;
}

/* poison */

static const char *name_of_opcode(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_READ:
		return "a read";
	case FUSE_WRITE:
		return "a write";
	case FUSE_FALLOCATE:
		return "a discard";
	default:
		return "a request";
	}
}

static void poison_run(struct job *job)
{
	struct channel *channel = ((struct channel_job *)job)->channel;
	const char *what = name_of_opcode(atomic_load(&channel->poison_opcode));
	struct zr_store *store = channel->fs->store;
	struct zr_disk *disk = zr_store_get(store,
					    node_disk_id(atomic_load(&channel->poison_node)));
	struct zr_attrs attrs = { .name = "" };

	if (disk)
		zr_disk_attrs(disk, &attrs);
	log_line("%s%s%s%s of which two workers died in a row was answered with an I/O error",
		 disk ? "disk " : "", attrs.name, disk ? ": " : "", what);
	zr_disk_unpin(store, disk);
}

static bool is_poison(struct channel *channel, const uint8_t *request)
{
	const struct fuse_in_header *header = header_of(request);

	if (!thread_self.is_resent || !shelf_take_poison(channel->shelf, thread_self.unique))
		return false;
	atomic_fetch_add(&channel->shelf->poisoned_requests, 1);
	atomic_store(&channel->poison_node, header->nodeid);
	atomic_store(&channel->poison_opcode, header->opcode);
	jobs_post(&channel->fs->names, &channel->say_poison.job);
	return true;
}

/* serving */

static bool is_seated_io(const struct shelf *shelf, uint64_t unique)
{
	const struct seat *seat;

	for (seat = shelf->seats; seat < shelf->seats + SHELF_SEATS; ++seat) {
		if (atomic_load(&seat->unique) == unique)
			return io_is_served(atomic_load(&seat->node), atomic_load(&seat->opcode));
	}
	return false;
}

/* An interruption of what io.h serves is dropped: libfuse would keep it for a request that it never
 * comes to know. */
static bool interrupts_io(struct channel *channel, const uint8_t *request, size_t n_request)
{
	const struct fuse_interrupt_in *in = (const void *)(header_of(request) + 1);
	uint64_t node, unique;
	uint32_t opcode;

	if (n_request < sizeof(struct fuse_in_header) + sizeof(*in))
		return false;
	if (channel->rings && rings_find(channel->rings, in->unique, &node, &opcode))
		return io_is_served(node, opcode);
	/* What is handed over goes from one seat to another, by way of a queue. */
	unique = in->unique & ~SHELF_RESENT;
	return is_seated_io(channel->shelf, unique) || io_has(channel->io, unique) ||
	       is_seated_io(channel->shelf, unique);
}

static void serve_by_libfuse(struct channel *channel, const uint8_t *request, size_t n_request)
{
	const struct fuse_buf buffer = { .mem = (void *)request, .size = n_request };
	const uint32_t opcode = header_of(request)->opcode;

	if (opcode == FUSE_INIT) {
		hello_serve(&channel->shelf->init, channel->session, channel->fd, request,
			    n_request);
		if (channel->rings)
			lanes_begin(&channel->lanes);
	} else if (opcode != FUSE_INTERRUPT || !interrupts_io(channel, request, n_request)) {
		fuse_session_process_buf(channel->session, &buffer);
	}
}

/* Serve what the calling thread has taken. */
static void request_serve(struct channel *channel, const uint8_t *request, size_t n_request)
{
	const struct fuse_in_header *header = header_of(request);
	const bool alone = thread_self.is_resent &&
			   shelf_is_suspect(channel->shelf, thread_self.unique);

	if (alone)
		pthread_mutex_lock(&channel->suspect);
	thread_take_seat(thread_self.unique, header->nodeid, header->opcode);
	ZR_CRASH("read");
	if (is_poison(channel, request))
		(void)io_answer(channel->io, header->unique, EIO, NULL, 0);
	else if (!io_serve(channel->io, request, n_request))
		serve_by_libfuse(channel, request, n_request);
	thread_leave_seat();
	if (alone)
		pthread_mutex_unlock(&channel->suspect);

	records_end(&channel->fs->records, ZR_STEAL(thread_self.record));
}

/* holding */

static bool changes_disks(const uint8_t *request)
{
	const struct fuse_in_header *header = header_of(request);
	const struct fuse_open_in *open_in = (const void *)(header + 1);

	switch (header->opcode) {
	case FUSE_WRITE:
	case FUSE_FALLOCATE:
	case FUSE_SETATTR:
	case FUSE_CREATE:
	case FUSE_MKNOD:
	case FUSE_UNLINK:
	case FUSE_RENAME:
	case FUSE_RENAME2:
		return true;
	case FUSE_OPEN:
		return open_in->flags & O_TRUNC;
	default:
		return false;
	}
}

static void held_run(struct job *job)
{
	struct channel *channel = ((struct channel_job *)job)->channel;
	const uint8_t *request;
	size_t n_request;

	while ((request = held_take(&channel->held, &n_request)))
		request_serve(channel, request, n_request);
}

void channel_allow_changes(struct channel *channel)
{
	if (!held_end(&channel->held))
		return;
	jobs_allow(&channel->fs->changes);
	jobs_allow(&channel->fs->work);
	if (channel->rings)
		rings_retry(channel->rings);
	io_post(channel->io, &channel->serve_held.job);
}

void channel_calm(struct channel *channel)
{
	unsigned int i;

	for (i = 0; i < channel->n_threads; ++i)
		hurry_end(channel->serving[i].thread);
	lanes_calm(&channel->lanes);
	io_calm(channel->io);
}

/* threads */

/* Unmounted, or cut. */
static bool is_end(int error)
{
	return error == -ENODEV || error == -ECONNABORTED || error == -ENOTCONN || error == -EPERM;
}

/* There will be no more requests. Who waits for leave to change disks need not, any more. */
static void mount_is_gone(struct channel *channel)
{
	atomic_store(&channel->is_gone, true);
	/* Nothing comes again any more. */
	resent_all_read(channel);
	channel_allow_changes(channel);
	if (channel->rings)
		rings_end(channel->rings);
}

/* Return: false when there will be no more requests. */
static bool serve_one(struct serving *serving)
{
	struct channel *channel = serving->channel;
	const uint8_t *request = serving->request.bytes;
	const ssize_t n = request_next(serving);

	if (n == -EINTR || n == -EAGAIN || n == -ENOENT) /* it was interrupted before it was read */
		return true;
	if (n < 0 && !is_end((int)n)) {
		/* Not the end of the mount, but of what can be done here: the next one goes on. */
		log_line("cannot read requests: %s", strerror((int)-n));
		abort();
	}
	if (n < 0) {
		mount_is_gone(channel);
		return false;
	}
	if (!io_is_short(request, (size_t)n))
		intake_leave_post(&serving->intake);
	if (!changes_disks(request) || !held_put(&channel->held, request, (size_t)n))
		request_serve(channel, request, (size_t)n);
	return true;
}

static void wait_begin(struct channel *channel)
{
	pthread_mutex_lock(&channel->gate);
	while (!channel->is_open)
		pthread_cond_wait(&channel->opened, &channel->gate);
	pthread_mutex_unlock(&channel->gate);
}

static void on_wake(int signal)
{
}

static void wakes_take(void)
{
	sigset_t wanted;

	sigemptyset(&wanted);
	sigaddset(&wanted, WAKE_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &wanted, NULL);
}

static void thread_ended(void *context)
{
	struct channel *channel = context;
	const uint64_t one = 1;

	if (atomic_fetch_sub(&channel->n_running, 1) == 1 && atomic_load(&channel->is_gone) &&
	    write(channel->ended, &one, sizeof(one)) < 0)
		abort(); /* an eventfd takes a 1 */
}

/* What came by a ring. */
static bool ring_serve(void *context, const struct ring_request *from)
{
	struct channel *channel = context;

	order_request();
	if (changes_disks(from->request) && atomic_load(&channel->held.is_on))
		return false;
	thread_self.reply = from->payload;
	thread_self.n_reply = from->n_payload;
	thread_self.unique = header_of(from->request)->unique;
	thread_self.is_resent = from->is_left;
	thread_self.stays = true;
	thread_self.record = from->found;
	request_serve(channel, from->request, from->n_request);
	return true;
}

static void serving_main(void *context)
{
	struct serving *serving = context;
	struct channel *channel = serving->channel;

	thread_self.seat = &channel->shelf->seats[serving - channel->serving];
	thread_self.reply = serving->request.bytes + REQUEST_HEAD_BYTES;
	thread_self.n_reply = THREAD_REPLY_BYTES;
	wakes_take();
	wait_begin(channel);
	/* What comes again is read first: changes wait until all of it was. */
	while ((!atomic_load(&channel->stopping) || atomic_load(&channel->is_resending)) &&
	       serve_one(serving))
		;

	atomic_store(&serving->has_ended, true);
	thread_ended(channel);
}

static const struct thread_kind serving_kind = { .name = "zramfs-serve",
						 .n_heap = HEAP_BYTES,
						 .moves_pages = true };

static int serving_start(struct channel *channel, struct serving *serving)
{
	int r;

	serving->channel = channel;
	r = intake_open(&serving->intake, &channel->arrivals,
			(uint32_t)(serving - channel->serving) + 1);
	if (r < 0)
		return r;
	r = buffer_make(&serving->request, REQUEST_BYTES);
	if (r == 0)
		r = thread_start(&serving->thread, &serving->room, &serving_kind, serving_main,
				 serving);
	if (r < 0) {
		buffer_free(&serving->request);
		intake_close(&serving->intake);
	}
	return r;
}

/* Who may lock little locks what is needed most. */
static void memory_lock(struct channel *channel)
{
	unsigned int i;

	for (i = 0; i < channel->n_threads; ++i)
		buffer_lock(&channel->serving[i].request);
	for (i = 0; i < channel->n_threads; ++i)
		buffer_lock(&channel->serving[i].room.stack);
	if (channel->rings && entries_lock(rings_entries(channel->rings)) < 0)
		safety_buffer_refused(rings_entries(channel->rings)->n_bytes);
	lanes_lock(&channel->lanes);
	io_lock(channel->io);
	held_lock(&channel->held);
}

/* making and ending */

/* Interrupts a thread that reads, and nothing else: reading goes on by itself when it is over. */
static int wake_handle(void)
{
	struct sigaction action = { .sa_handler = on_wake };

	return sigaction(WAKE_SIGNAL, &action, NULL) < 0 ? -errno : 0;
}

static int threads_start(struct channel *channel, unsigned int n_threads)
{
	int r = 0;

	while (r == 0 && channel->n_threads < n_threads) {
		atomic_fetch_add(&channel->n_running, 1);
		r = serving_start(channel, &channel->serving[channel->n_threads]);
		if (r == 0)
			++channel->n_threads;
		else
			atomic_fetch_sub(&channel->n_running, 1);
	}
	return r;
}

static int lanes_make(struct channel *channel)
{
	const struct rings_use use = { .context = channel, .serve = ring_serve };

	if (!channel->rings)
		return 0;
	rings_serve_by(channel->rings, &use);
	atomic_fetch_add(&channel->n_running, rings_count(channel->rings));
	return lanes_start(&channel->lanes, channel->rings,
			   channel->shelf->seats + channel->n_threads, thread_ended, channel);
}

static int parts_make(struct channel *channel, unsigned int n_threads)
{
	int r;

	channel->ended = eventfd(0, EFD_CLOEXEC);
	r = channel->ended < 0 ? -errno : wake_handle();
	if (r == 0)
		r = io_new(&channel->io, channel->fs, channel->fd);
	if (r == 0)
		r = threads_start(channel, n_threads);
	return r == 0 ? lanes_make(channel) : r;
}

static struct channel_job channel_job(struct channel *channel, void (*run)(struct job *job))
{
	return (struct channel_job){ .job = { .run = run, .is_kept = true }, .channel = channel };
}

unsigned int channel_threads(unsigned int n_wanted, const struct rings *rings)
{
	const long n_cores = sysconf(_SC_NPROCESSORS_ONLN);

	/* What does not come by a ring is little. */
	if (rings)
		return 1;
	/* Two at the least: one may be in a long discard. */
	if (n_wanted == 0)
		n_wanted = (unsigned int)(n_cores > 2 ? n_cores : 2);
	return n_wanted < CHANNEL_THREADS_MAX ? n_wanted : CHANNEL_THREADS_MAX;
}

int channel_new(struct channel **channelp, struct fuse_session *session, int fd, struct fs *fs,
		unsigned int n_threads)
{
	struct channel *channel;
	int r;

	channel = calloc(1, sizeof(*channel));
	if (!channel)
		return -ENOMEM;
	r = held_init(&channel->held, n_threads - 1);
	if (r < 0) {
		free(channel);
		return r;
	}
	channel->session = session;
	channel->fs = fs;
	channel->shelf = fs->shelf;
	channel->rings = fs->rings;
	channel->fd = fd;
	gate_init(&channel->arrivals, fd, &fs->shelf->poll_us, fs->shelf->seats, n_threads);
	channel->serve_held = channel_job(channel, held_run);
	channel->say_poison = channel_job(channel, poison_run);
	pthread_mutex_init(&channel->gate, NULL);
	pthread_cond_init(&channel->opened, NULL);
	pthread_mutex_init(&channel->resent, NULL);
	pthread_mutex_init(&channel->suspect, NULL);

	r = parts_make(channel, n_threads);
	if (r < 0) {
		channel_free(channel);
		return r;
	}
	jobs_hold(&fs->changes);
	jobs_hold(&fs->work);
	memory_lock(channel);
	*channelp = channel;
	return 0;
}

int channel_replay_init(struct channel *channel)
{
	return hello_replay(&channel->shelf->init, channel->session);
}

int channel_wait_rings(struct channel *channel)
{
	struct pollfd ended = { .fd = channel->ended, .events = POLLIN };
	int r;

	if (!channel->rings)
		return 0;
	if (!hello_offers_uring(&channel->shelf->init))
		return -EOPNOTSUPP;
	do {
		r = rings_have_begun(channel->rings);
	} while (r == -EAGAIN && poll(&ended, 1, 1) == 0);
	return r;
}

bool channel_can_resend(const struct channel *channel)
{
	return hello_can_resend(&channel->shelf->init);
}

int channel_resend(struct channel *channel)
{
	const struct fuse_out_header notice = { .len = sizeof(notice), .error = NOTIFY_RESEND };

	if (write(channel->fd, &notice, sizeof(notice)) < 0)
		return -errno;
	atomic_store(&channel->is_resending, true);
	return 0;
}

int channel_let_wait(struct channel *channel)
{
	int r;

	r = io_let_wait(channel->io);
	return r < 0 ? r : fs_let_wait(channel->fs);
}

static void gate_open(struct channel *channel)
{
	pthread_mutex_lock(&channel->gate);
	channel->is_open = true;
	pthread_cond_broadcast(&channel->opened);
	pthread_mutex_unlock(&channel->gate);
}

static void *record_find(void *context, uint64_t unique)
{
	struct channel *channel = context;

	return records_find(&channel->fs->records, unique);
}

/* What was left is known before anything new is read. */
static void lanes_go_on(struct channel *channel)
{
	rings_inherit(channel->rings, record_find, channel);
	lanes_begin(&channel->lanes);
}

void channel_begin(struct channel *channel)
{
	/* Of the first generation they begin when the kernel was told what it asked. */
	if (channel->rings && atomic_load(&channel->shelf->init.n_reply) > 0)
		lanes_go_on(channel);
	/* Where nothing comes again, nobody will ask how it ended. */
	if (!atomic_load(&channel->is_resending))
		records_forget_rest(&channel->fs->records);
	gate_open(channel);
}

static bool has_stopped(struct channel *channel)
{
	unsigned int i;

	for (i = 0; i < channel->n_threads; ++i) {
		if (!atomic_load(&channel->serving[i].has_ended))
			pthread_kill(channel->serving[i].thread, WAKE_SIGNAL);
	}
	if (channel->rings && !rings_park(channel->rings, NODE_STATS))
		return false;
	return atomic_load(&channel->n_running) == 0 && io_is_idle(channel->io);
}

bool channel_stop(struct channel *channel, unsigned int timeout_ms)
{
	const struct timespec pause = { .tv_nsec = WAKE_NS };
	unsigned int n_ms;

	atomic_store(&channel->stopping, true);
	gate_open(channel);
	channel_allow_changes(channel); /* what was read is served */

	/* A thread may be about to read when the signal comes: it comes again. */
	for (n_ms = 0; !has_stopped(channel); ++n_ms) {
		if (n_ms == timeout_ms)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

bool channel_has_left(struct channel *channel)
{
	return !channel->rings || rings_park(channel->rings, NODE_STATS);
}

int channel_ended(const struct channel *channel)
{
	return channel->ended;
}

struct channel *channel_free(struct channel *channel)
{
	unsigned int i;

	if (!channel)
		return NULL;
	pthread_mutex_lock(&channel->gate);
	if (!channel->is_open)
		atomic_store(&channel->stopping, true);
	pthread_mutex_unlock(&channel->gate);
	gate_open(channel);

	for (i = 0; i < channel->n_threads; ++i) {
		thread_join(channel->serving[i].thread, &channel->serving[i].room);
		buffer_free(&channel->serving[i].request);
		intake_close(&channel->serving[i].intake);
	}
	lanes_join(&channel->lanes);
	channel->io = io_free(channel->io);
	held_deinit(&channel->held);
	gate_deinit(&channel->arrivals);
	pthread_mutex_destroy(&channel->resent);
	pthread_cond_destroy(&channel->opened);
	pthread_mutex_destroy(&channel->gate);
	if (channel->ended >= 0)
		close(channel->ended);
	free(channel);
	return NULL;
}

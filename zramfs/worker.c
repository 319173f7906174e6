/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "crash.h"
#include "crashes.h"
#include "fs.h"
#include "heap.h"
#include "hurry.h"
#include "log.h"
#include "mount.h"
#include "reload.h"
#include "rings.h"
#include "safety.h"
#include "seal.h"
#include "sync.h"
#include "transport.h"
#include "launch.h"
#include "wire.h"
#include "wish.h"
#include "worker-parts.h"

/* A second signal within this time ends the mount though a disk is in use. */
#define FORCE_WINDOW_S 5

/* How long requests may take to end once the mount is gone, or a successor is there. */
#define DRAIN_MS 2000

/* How long short jobs are waited for then that a successor would be asked for again. */
#define JOBS_MS 200

_Static_assert(ZR_THREADS_MAX <= CHANNEL_THREADS_MAX, "what can be asked for can be started");

/* What cannot go on is told to the keeper, who knows whether it matters. */
__attribute__((format(printf, 3, 4))) static int refuse(struct worker *worker, int error,
							const char *format, ...)
{
	struct wire_message message = { .kind = WIRE_REFUSED, .error = -error };
	va_list args;

	va_start(args, format);
	vsnprintf(message.text, sizeof(message.text), format, args);
	va_end(args);
	if (worker->wire < 0)
		log_line("%s", message.text);
	else
		(void)wire_send(worker->wire, &message, -1);
	return error;
}

/* asked to end */

/* The name of a disk that somebody has open. Return: false if none is. */
static bool disk_in_use(struct worker *worker, char name[ZR_NAME_MAX + 1])
{
	struct zr_disk *disk, *next;
	struct zr_attrs attrs;
	bool found = false;

	for (disk = zr_store_next(worker->store, 0); disk; disk = next) {
		next = NULL;
		if (handles_count(&worker->fs.handles, disk) > 0) {
			zr_disk_attrs(disk, &attrs);
			memcpy(name, attrs.name, sizeof(attrs.name));
			found = true;
		} else {
			next = zr_store_next(worker->store, disk->id);
		}
		zr_disk_unpin(worker->store, disk);
	}
	return found;
}

static void say_in_use(const char *name)
{
	log_line("disk %s is in use: not ending; swapoff, unmount or losetup -d first, or send the "
		 "signal again within %d s to end and lose it",
		 name, FORCE_WINDOW_S);
}

static const char *why_not_unmounted(int error)
{
	if (error == -ESTALE)
		return "it is no longer there, or something else is mounted over it";
	if (error == -EBUSY)
		return "refused; is it busy, and is fusermount3 what it should be?";
	return strerror(-error);
}

/* Take the mount away, unless a disk is in use and @force is not said. Return: is it to end? */
static bool end_mount(struct worker *worker, bool force)
{
	char name[ZR_NAME_MAX + 1];
	int r;

	if (!force && disk_in_use(worker, name)) {
		say_in_use(name);
		return false;
	}

	r = mount_detach(worker->options->mountpoint,
			 (dev_t)atomic_load(&worker->shelf->mount_device), force);
	/* Somebody stands in a directory, or has just opened a disk: only the first may be left. */
	if (r == -EBUSY && !disk_in_use(worker, name))
		r = mount_detach(worker->options->mountpoint,
				 (dev_t)atomic_load(&worker->shelf->mount_device), true);
	if (r == -EBUSY && disk_in_use(worker, name))
		say_in_use(name);
	else if (r < 0)
		log_line("%s: cannot unmount: %s; %s", worker->options->mountpoint,
			 why_not_unmounted(r),
			 force ? "ending all the same"
			       : "send the signal again to end all the same");
	return r == 0 || force;
}

static bool terminate(struct worker *worker)
{
	struct timespec now;
	bool again;

	clock_gettime(CLOCK_MONOTONIC, &now);
	again = worker->asked_at != 0 && now.tv_sec - worker->asked_at <= FORCE_WINDOW_S;
	worker->asked_at = now.tv_sec;
	return end_mount(worker, again);
}

static void reload(struct worker *worker)
{
	const struct wire_message message = { .kind = WIRE_CONFIG };
	struct wire_message reloaded = { .kind = WIRE_RELOADED };
	int fd;

	fd = reload_run(&worker->reload, worker->store, &worker->fs);
	reloaded.error = fd < 0 ? EINVAL : 0;
	if (fd < 0 && worker->wire >= 0)
		(void)wire_send(worker->wire, &reloaded, -1);
	if (fd < 0)
		return;
	/* Generations to come have what was read last. */
	if (worker->wire >= 0) {
		(void)wire_send(worker->wire, &message, fd);
		(void)wire_send(worker->wire, &reloaded, -1);
	}
	close(worker->config_fd);
	worker->config_fd = fd;
}

/* Return: is the worker to end? */
static bool signal_handle(struct worker *worker)
{
	struct signalfd_siginfo info;

	if (read(worker->signals, &info, sizeof(info)) != sizeof(info))
		return false;
	if (info.ssi_signo != SIGHUP)
		return terminate(worker);
	reload(worker);
	return false;
}

/* succession */

/* A keeper that cannot start must not be started for ever. */
#define RENEW_NS INT64_C(1000000000)

/* Return: the end of a wire to a new keeper, or -errno. */
static int keeper_start(struct worker *worker)
{
	char *rest[OPTIONS_REST_MAX];
	struct launch launch = { .mode = "--keeper",
				 .rest = rest,
				 .fds = { [LAUNCH_FUSE] = worker->fuse_fd,
					  [LAUNCH_STORE] = worker->store_fd,
					  [LAUNCH_CONFIG] = worker->config_fd,
					  [LAUNCH_BINARY] = LAUNCH_BINARY,
					  [LAUNCH_ENTRIES] = worker->entries_fd } };
	unsigned int i;
	int ends[2], r;

	options_rest(worker->options, rest);
	r = wire_pair(ends);
	if (r < 0)
		return r;
	launch.fds[LAUNCH_WIRE] = ends[1];
	for (i = 0; i < ZR_BACKINGS_MAX; ++i)
		launch.fds[LAUNCH_BACKING + i] = worker->tiering.backings.files[i].fd;
	r = launch_orphan(&launch);
	close(ends[1]);
	if (r < 0)
		close(ends[0]);
	return r < 0 ? r : ends[0];
}

static void wire_leave(struct worker *worker)
{
	pthread_mutex_lock(&worker->wire_lock);
	if (worker->wire >= 0)
		close(worker->wire);
	worker->wire = -1;
	pthread_mutex_unlock(&worker->wire_lock);
}

/* The keeper died. Another one cannot be told of our end by the system, so it replaces us. One that
 * cannot be had now is tried again with the next look. */
static void keeper_renew(struct worker *worker)
{
	int r;

	if (zr_monotonic_ns() - worker->renewed_ns < RENEW_NS) {
		wire_leave(worker);
		return;
	}

	/* A file that is opened meanwhile goes to the one or to the other. */
	pthread_mutex_lock(&worker->wire_lock);
	if (worker->wire >= 0)
		close(worker->wire);
	r = keeper_start(worker);
	worker->renewed_ns = zr_monotonic_ns();
	worker->wire = r >= 0 ? r : -1;
	pthread_mutex_unlock(&worker->wire_lock);
	if (!worker->is_unkept && r >= 0)
		log_line("%s: the keeper died; another one is started",
			 worker->options->mountpoint);
	else if (!worker->is_unkept)
		log_line("%s: the keeper died, and no other can be started: %s; if this process "
			 "dies, too, the disks are lost",
			 worker->options->mountpoint, strerror(-r));
	worker->is_unkept = true;
}

/* Answer what was read, and go. What takes long is left to the successor, who is asked for it
 * again, where the kernel does that. */
static _Noreturn void drain(struct worker *worker)
{
	struct pollfd wire = { .fd = worker->wire, .events = POLLIN };
	const bool can_resend = worker->fs.rings || channel_can_resend(worker->channel);
	const struct seat *seat = wish_seat(&worker->wish);
	unsigned int i;

	/* Who is not asked again must be answered, however long it takes. */
	while (!channel_stop(worker->channel, DRAIN_MS) &&
	       !(can_resend && channel_has_left(worker->channel)))
		;
	wish_tell(&worker->wish, 0, NULL);
	for (i = 0; seat && i < DRAIN_MS && atomic_load(&seat->unique) != 0; ++i)
		poll(NULL, 0, 1);

	if (!can_resend)
		fs_drain(&worker->fs);
	for (i = 0; can_resend && i < JOBS_MS && !fs_is_idle(&worker->fs); ++i)
		poll(NULL, 0, 1);

	/* Who told us to may be gone, and the successor with it: somebody must have what we have. */
	if (poll(&wire, 1, 0) == 1 && wire.revents & (POLLHUP | POLLERR)) {
		worker->renewed_ns = 0;
		keeper_renew(worker);
	}
	if (worker->fs.rings) {
		rings_freeze(worker->fs.rings);
		atomic_store(&rings_entries(worker->fs.rings)->is_live, 0);
	}
	/* A keeper that is not our parent does not learn what we exit with. */
	(void)wire_say(worker->wire, WIRE_DRAINED);
	_exit(WORKER_EXIT_DRAINED);
}

/* Return: is the worker to end? */
static bool wire_handle(struct worker *worker)
{
	struct wire_message message;
	int fd, r;

	r = wire_receive(worker->wire, &message, &fd);
	if (r == -EPIPE)
		keeper_renew(worker);
	if (r < 0)
		return false;
	worker->is_unkept = false;
	if (fd >= 0)
		close(fd);

	switch (message.kind) {
	case WIRE_RELOAD:
		reload(worker);
		return false;
	case WIRE_TERMINATE:
		return terminate(worker);
	case WIRE_DRAIN:
		/* Rings are left with the help of a file that the kernel knows. */
		if (!worker->fs.rings ||
		    mount_hold(worker->options->mountpoint,
			       (dev_t)atomic_load(&worker->shelf->mount_device)) >= 0)
			drain(worker);
		(void)refuse(worker, -ESTALE, "the mount is not to be found where it was");
		return false;
	case WIRE_TELL:
		worker_files_tell(worker);
		return false;
	case WIRE_UPGRADED:
		wish_tell(&worker->wish, message.error, message.text);
		return false;
	default:
		return false;
	}
}

/* serving */

/* Until the mount is gone, whoever took it away. */
static void wait_end(struct worker *worker)
{
	for (;;) {
		struct pollfd wanted[] = {
			{ .fd = channel_ended(worker->channel), .events = POLLIN },
			{ .fd = worker->signals, .events = POLLIN },
			{ .fd = worker->wire, .events = POLLIN },
			{ .fd = worker->tiering.backings.news, .events = POLLIN },
		};

		/* Alone, it looks for a keeper once a second; without one it was started so. */
		const bool is_alone = worker->wire < 0 && worker->signals < 0;
		const bool looks = is_alone || worker->is_telling ||
				   backings_are_there(&worker->tiering.backings);

		if (poll(wanted, ZR_ARRAY_SIZE(wanted), looks ? 1000 : -1) < 0 && errno != EINTR)
			return;
		if (wanted[0].revents)
			return;
		worker_files_look(worker);
		if (is_alone)
			keeper_renew(worker);
		if (wanted[1].revents && signal_handle(worker))
			return;
		if (wanted[2].revents && wire_handle(worker))
			return;
	}
}

/* Wait for the kernel's first question. Return: false if the mount went before it. */
static bool wait_ready(struct worker *worker)
{
	struct pollfd wanted[] = {
		{ .fd = worker->fs.ready, .events = POLLIN },
		{ .fd = channel_ended(worker->channel), .events = POLLIN },
	};

	while (poll(wanted, ZR_ARRAY_SIZE(wanted), -1) < 0 && errno == EINTR)
		;
	/* libfuse may find then that it cannot go on, and the kernel is told so. Whoever would ask
	 * the mount instead needs a child for that, and a fork makes all pages fault once more. */
	while (wanted[0].revents && atomic_load(&worker->shelf->init.n_reply) == 0 &&
	       !fuse_session_exited(worker->session))
		poll(NULL, 0, 1);
	return wanted[0].revents && !fuse_session_exited(worker->session);
}

static int wait_rings(struct worker *worker)
{
	const int r = channel_wait_rings(worker->channel);

	if (r == -EOPNOTSUPP)
		return refuse(worker, r, "transport io_uring: %s", TRANSPORT_NOT_OFFERED);
	return r < 0 ? refuse(worker, r, "transport io_uring: %s", strerror(-r)) : 0;
}

/* Map the store, and lock what will be of it. */
static int store_map(struct worker *worker)
{
	int r;

	r = zr_store_map(&worker->store, worker->store_fd);
	if (r < 0)
		return refuse(worker, r, "cannot take the store over: %s", strerror(-r));
	safety_lock_store(worker->store);
	return 0;
}

/* What loading takes for each MiB of the store, and where there is little of it. */
#define LOAD_BYTES_A_MIB 512u
#define LOAD_BYTES_MIN   (256u << 10)

/* Loading a store wants memory that there may be none of when it is time. */
static void heap_provide(struct worker *worker)
{
	struct stat st;

	if (fstat(worker->store_fd, &st) == 0)
		heap_warm(LOAD_BYTES_MIN + (size_t)(st.st_blocks / 2048) * LOAD_BYTES_A_MIB);
}

static int rings_make(struct worker *worker)
{
	int r;

	worker->daemon.transport = "classic";
	worker->daemon.uring_depth = worker->config->daemon.uring_depth;
	if (worker->entries_fd < 0)
		return 0;
	r = rings_new(&worker->fs.rings, worker->entries_fd, worker->fuse_fd);
	if (r < 0)
		return refuse(worker, r, "transport io_uring: %s", strerror(-r));
	worker->daemon.transport = "io_uring";
	worker->daemon.uring_depth = rings_entries(worker->fs.rings)->depth;
	safety_transport(rings_entries(worker->fs.rings)->n_bytes);
	return 0;
}

/* All that can be there before the store is ours: who takes over when there is no memory must not
 * need any, since that comes from swapping out, which waits for us. */
static int assemble(struct worker *worker)
{
	unsigned int n_threads;
	int r;

	r = store_map(worker);
	if (r == 0)
		r = rings_make(worker);
	if (r < 0)
		return r;
	r = shelf_get(&worker->shelf, worker->store);
	if (r < 0)
		return refuse(worker, r, "cannot take the store over: %s", strerror(-r));
	r = worker_files_make(worker);
	if (r < 0)
		return refuse(worker, r, "backing files: %s", strerror(-r));
	worker->session = start_session(worker->options, &fs_ops, &worker->fs);
	if (!worker->session)
		return refuse(worker, -EINVAL, "-o: refused");

	n_threads = channel_threads(worker->config->daemon.n_threads, worker->fs.rings);
	r = fuse_session_custom_io(worker->session, &channel_io, worker->fuse_fd);
	if (r == 0)
		r = fs_init(&worker->fs, worker->store, worker->shelf, &worker->config->defaults,
			    n_threads + (worker->fs.rings ? rings_count(worker->fs.rings) : 0));
	if (r == 0)
		r = channel_new(&worker->channel, worker->session, worker->fuse_fd, &worker->fs,
				n_threads);
	if (r == 0)
		r = fs_start(&worker->fs);
	if (r == 0)
		/* The threads of rings cannot make way for it. */
		r = zr_store_tend_later(worker->store, !worker->fs.rings);
	worker->tiering.channel = worker->channel;
	if (r == 0)
		r = tiering_provide(&worker->tiering);
	if (r < 0)
		return refuse(worker, r, "cannot start: %s", strerror(-r));
	worker->fs.daemon = &worker->daemon;
	worker->fs.tiering = &worker->tiering;
	/* While another serves still: who cannot follow says so before it matters. */
	if (channel_replay_init(worker->channel) == -EPROTO)
		return refuse(worker, -EPROTO,
			      "this program, or its libfuse, would answer the "
			      "kernel otherwise");
	safety_lock_future();
	zr_store_follow(worker->store);
	heap_provide(worker);
	return 0;
}

/* The store is ours. */
static int load(struct worker *worker, int fault)
{
	int r;

	r = shelf_claim(worker->store_fd);
	if (r < 0)
		return refuse(worker, r, "process %d serves it",
			      (int)shelf_claimed_by(worker->store_fd));
	worker->n_poison = shelf_take_over(worker->shelf, fault != 0);
	ZR_CRASH("start");
	/* What came since it was looked at. */
	r = backings_attach(&worker->tiering.backings, true);
	if (r == 0)
		r = zr_store_load(worker->store);
	if (r == 0)
		r = zr_store_tend(worker->store);
	if (r == 0)
		r = fs_load(&worker->fs);
	return r < 0 ? refuse(worker, r, "cannot take the store over: %s", strerror(-r)) : 0;
}

static void say_ready(struct worker *worker)
{
	const struct wire_message ready = { .kind = WIRE_READY,
					    .value = worker->n_poison,
					    .error = !channel_can_resend(worker->channel),
					    .more = 1 };

	(void)wire_send(worker->wire, &ready, -1);
}

/* What the kernel was told, and what it was not. */
static int take_up(struct worker *worker)
{
	int r;

	r = worker->generation > 1 && !worker->fs.rings && channel_can_resend(worker->channel)
		    ? channel_resend(worker->channel)
		    : 0;
	if (r < 0 && r != -ENODEV)
		return refuse(worker, r, "the kernel does not send requests again: %s",
			      strerror(-r));
	atomic_store(&worker->shelf->generation, worker->generation);
	atomic_store(&worker->shelf->worker_pid, (uint64_t)getpid());
	if (worker->fs.rings)
		atomic_store(&rings_entries(worker->fs.rings)->is_live, 1);

	/* Whoever sees that this generation serves may kill it at once: the keeper knows before. Of
	 * the first one the kernel must have been told first. */
	if (worker->generation > 1)
		say_ready(worker);
	channel_begin(worker->channel);
	return 0;
}

static int serve_begin(struct worker *worker, int fault)
{
	char reason[LOG_REASON_BYTES];
	int r;

	r = load(worker, fault);
	if (r < 0)
		return r;
	r = take_up(worker);
	if (r < 0)
		return r;

	/* Asking waits for the kernel's answer to ours, which may be no. */
	if (worker->generation > 1)
		return 0;
	if (!wait_ready(worker)) {
		log_fuse_reason(reason, "the kernel ended it");
		return refuse(worker, -ENOTCONN, "%s: the mount ended before it was ready: %s",
			      worker->options->mountpoint, reason);
	}
	r = wait_rings(worker);
	if (r == 0 && worker->wire >= 0)
		say_ready(worker);
	return r;
}

/* To bring a large store back from where it was swapped out is no hang. */
static bool note_progress(void *context)
{
	struct worker *worker = context;

	const struct timespec rest = { .tv_nsec = 10000 };

	atomic_fetch_add(&worker->shelf->seats[SHELF_SEATS - 1].n_done, 1);
	tiering_comes(&worker->tiering);
	nanosleep(&rest, NULL); /* others may want to serve */
	return false;
}

/* Reads are served; all else once nothing of the store can be swapped out. From then on a successor
 * may take the memory that it wants: what is swapped out makes room for it. */
static void serve_all(struct worker *worker)
{
	const struct zr_stop progress = { .is_wanted = note_progress, .context = worker };

	(void)zr_store_populate(worker->store, &progress, NULL);
	if (tiering_begin(&worker->tiering) < 0)
		log_line("no memory to write pages back with; what is on a backing file cannot be "
			 "read");
	channel_allow_changes(worker->channel);
	if (worker->wire >= 0)
		(void)wire_say(worker->wire, WIRE_PREPARED);
	channel_calm(worker->channel);
	fs_calm(&worker->fs);
	(void)hurry(0, false);
}

static void say_safety(struct worker *worker)
{
	/* The command has returned: what there is to say goes elsewhere. */
	if (worker->wire >= 0 && !worker->options->foreground)
		detach_leave();
	log_never_block();
	safety_resend(channel_can_resend(worker->channel));
	safety_say(worker->generation == 1);
}

/* taking apart */

static void worker_end(struct worker *worker, int status)
{
	struct pollfd ended = { .fd = channel_ended(worker->channel), .events = POLLIN };

	/* A connection that was cut or refused leaves its mount behind, and threads that wait for a
	 * request. Only a dead one may go: the next daemon's may be there already. */
	if (mount_is_dead(worker->options->mountpoint))
		(void)mount_detach(worker->options->mountpoint, 0, true);

	/* What somebody still holds open keeps a detached mount, and a thread that reads from it,
	 * alive: the end of the process is theirs. */
	if (poll(&ended, 1, DRAIN_MS) != 1) {
		tiering_deinit(&worker->tiering, true);
		_exit(status);
	}

	worker->channel = channel_free(worker->channel);
	fs_deinit(&worker->fs);
	tiering_deinit(&worker->tiering, true);
	worker->fs.rings = rings_free(worker->fs.rings);
	fuse_session_destroy(worker->session);
	zr_store_free(worker->store);
	reload_deinit(&worker->reload);
}

/* with a keeper */

/* Wait to be told. Return: false if nobody will. */
static bool told(struct worker *worker, struct wire_message *message)
{
	struct pollfd wanted = { .fd = worker->wire, .events = POLLIN };
	int fd, r;

	do {
		(void)poll(&wanted, 1, -1);
		r = wire_receive(worker->wire, message, &fd);
		if (r == 0 && message->kind == WIRE_BACKED)
			worker_files_take(worker, message, fd);
		else if (r == 0 && fd >= 0)
			close(fd);
	} while (r == -EAGAIN || (r == 0 && message->kind == WIRE_BACKED));
	return r == 0;
}

/* Until it is to serve. Beside one that serves still, what is there of the store is mapped. */
static int stand_by(struct worker *worker, struct wire_message *message)
{
	if (wire_say(worker->wire, WIRE_STANDBY) < 0)
		return -EPIPE;
	while (told(worker, message)) {
		if (message->kind == WIRE_SERVE)
			return 0;
		if (message->kind == WIRE_FOLLOW) {
			(void)hurry(0, true);
			zr_store_follow(worker->store);
			heap_provide(worker);
			(void)tiering_provide(&worker->tiering);
			(void)hurry(0, false); /* SERVE has its own */
		}
		if (message->kind != WIRE_PREPARE)
			continue;
		(void)zr_store_populate(worker->store, NULL, NULL);
		(void)wire_say(worker->wire, WIRE_PREPARED);
	}
	return -EPIPE;
}

static int worker_init(struct worker *worker, const struct options *options)
{
	heap_begin();
	worker->options = options;
	worker->signals = -1;
	pthread_mutex_init(&worker->wire_lock, NULL);
	worker_daemon_init(worker);
	if (seal_init() < 0)
		return -ENOSYS;
	crashes_begin();
	log_catch_fuse(options->debug);
	worker->config = start_config_again(options, worker->config_fd);
	return worker->config ? reload_init(&worker->reload, options->config_path, worker->config)
			      : -EINVAL;
}

int worker_run(const struct options *options)
{
	static struct worker worker = { .fuse_fd = LAUNCH_FUSE,
					.store_fd = LAUNCH_STORE,
					.config_fd = LAUNCH_CONFIG,
					.wire = LAUNCH_WIRE };
	struct wire_message message;
	unsigned int i;

	worker.entries_fd = launch_found(LAUNCH_ENTRIES);
	for (i = 0; i < ZR_BACKINGS_MAX; ++i)
		worker.backing_fds[i] = launch_found(LAUNCH_BACKING + i);
	if (worker_init(&worker, options) < 0) {
		(void)refuse(&worker, -EINVAL, "cannot read what the configuration was");
		return EXIT_FAILURE;
	}
	safety_lock_present();
	if (assemble(&worker) < 0 || stand_by(&worker, &message) < 0)
		return EXIT_FAILURE;

	(void)hurry(0, true);
	worker.generation = message.value;
	wish_tell(&worker.wish, 0, message.text);
	if (serve_begin(&worker, message.error) < 0)
		return EXIT_FAILURE;
	serve_all(&worker);
	say_safety(&worker);
	wait_end(&worker);
	worker_end(&worker, EXIT_SUCCESS);
	return EXIT_SUCCESS;
}

/* without one */

static int signals_take(struct worker *worker)
{
	sigset_t wanted;

	/* A terminal that goes away must not take live swap with it: its SIGHUP reads the
	 * configuration again, like any other. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGHUP);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	if (sigprocmask(SIG_BLOCK, &wanted, NULL) < 0)
		return -errno;
	worker->signals = signalfd(-1, &wanted, SFD_CLOEXEC);
	return worker->signals < 0 ? -errno : 0;
}

int worker_run_alone(const struct options *options, const struct start *start,
		     struct config *config, struct detach *detach)
{
	static struct worker worker;

	worker.fuse_fd = start->fuse_fd;
	worker.store_fd = start->store_fd;
	worker.config_fd = start->config_fd;
	worker.entries_fd = start->entries_fd;
	memcpy(worker.backing_fds, start->backing_fds, sizeof(worker.backing_fds));
	worker.wire = -1;
	worker.generation = 1;
	config_free(config);
	safety_lock_present();
	if (worker_init(&worker, options) < 0 || signals_take(&worker) < 0 ||
	    assemble(&worker) < 0 || serve_begin(&worker, 0) < 0) {
		(void)mount_detach(options->mountpoint, 0, true);
		return EXIT_FAILURE;
	}
	serve_all(&worker);

	/* Whoever was waiting for the command has given up on it. */
	if (detach_ready(detach) < 0) {
		(void)end_mount(&worker, true);
	} else {
		say_safety(&worker);
		wait_end(&worker);
	}
	worker_end(&worker, EXIT_SUCCESS);
	return EXIT_SUCCESS;
}

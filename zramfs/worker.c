/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "worker.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "fs.h"
#include "log.h"
#include "mount.h"
#include "reload.h"

/* A second signal within this time ends the mount though a disk is in use. */
#define FORCE_WINDOW_S 5

/* How long requests may take to end once the mount is gone. */
#define DRAIN_MS 2000

/* Spans own their offsets whole, but one of each class has memory in part; and what discards leave
 * of spans of whole pages may be little. */
#define OFFSETS_PER_MEMORY 4
#define OFFSETS_MORE       (UINT64_C(1) << 30)

_Static_assert(ZR_THREADS_MAX <= CHANNEL_THREADS_MAX, "what can be asked for can be started");

struct worker {
	const struct worker_options *options;
	char resolved[PATH_MAX];
	dev_t identity; /* of our mount */
	struct detach detach;
	struct zr_store *store;
	struct fuse_session *session;
	struct fs fs;
	struct channel channel;
	struct reload reload;
	int signals;     /* signalfd */
	time_t asked_at; /* when a signal was refused last; 0: never */
};

/* disks */

static uint64_t offsets_wanted(void)
{
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return 0;
	return ((uint64_t)info.totalram + info.totalswap) * info.mem_unit * OFFSETS_PER_MEMORY +
	       OFFSETS_MORE;
}

static int disk_add(struct zr_store *store, struct zr_ctx *ctx, const struct zr_disk_spec *spec)
{
	struct zr_disk *disk = NULL;
	int r;

	r = zr_store_add(store, ctx, spec, &disk);
	if (r < 0)
		log_line("disk %s: cannot make it: %s", spec->attrs.name, strerror(-r));
	zr_disk_unpin(store, disk);
	return r;
}

static int store_make(struct worker *worker, const struct config *config)
{
	ZR_CLEANUP(zr_ctx_freep) struct zr_ctx *ctx = NULL;
	size_t i;
	int r;

	r = zr_ctx_new(&ctx);
	if (r == 0)
		r = zr_store_new(&worker->store, offsets_wanted());
	if (r < 0) {
		log_line("cannot make the store: %s", strerror(-r));
		return r;
	}

	zr_store_set_mem_limit(worker->store, config->daemon.mem_limit_bytes);
	for (i = 0; r == 0 && i < config->n_disks; ++i)
		r = disk_add(worker->store, ctx, &config->disks[i].spec);
	return r;
}

/* session and mount */

static int args_make(const struct worker_options *options, struct fuse_args *args)
{
	/* Statistics are for everyone on a mount of root's; a user's mount is that user's. */
	const char *base = geteuid() == 0
				   ? "fsname=zramfs,subtype=zramfs,default_permissions,allow_other"
				   : "fsname=zramfs,subtype=zramfs,default_permissions";
	int r;

	r = fuse_opt_add_arg(args, "zramfs");
	if (r == 0 && options->debug)
		r = fuse_opt_add_arg(args, "-d");
	if (r == 0)
		r = fuse_opt_add_arg(args, "-o");
	if (r == 0)
		r = fuse_opt_add_arg(args, base);
	if (r == 0 && options->fuse_options) {
		r = fuse_opt_add_arg(args, "-o");
		if (r == 0)
			r = fuse_opt_add_arg(args, options->fuse_options);
	}
	return r < 0 ? -ENOMEM : 0;
}

static int session_make(struct worker *worker)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char message[MOUNT_MESSAGE_MAX], reason[LOG_REASON_BYTES];
	int r;

	r = args_make(worker->options, &args);
	if (r == 0)
		worker->session = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), &worker->fs);
	fuse_opt_free_args(&args);
	if (!worker->session) {
		log_fuse_reason(reason, "refused");
		log_line("-o %s: %s",
			 worker->options->fuse_options ? worker->options->fuse_options : "",
			 reason);
		return -EINVAL;
	}

	r = mount_attach(worker->session, worker->resolved, message, sizeof(message));
	if (r < 0)
		log_line("%s", message);
	return r;
}

static unsigned int threads_wanted(const struct config *config)
{
	const long n_cores = sysconf(_SC_NPROCESSORS_ONLN);

	/* Two at the least: one may be in a long discard. */
	if (config->daemon.n_threads > 0)
		return config->daemon.n_threads;
	return (unsigned int)zr_min(zr_max((uint64_t)(n_cores > 0 ? n_cores : 1), 2),
				    CHANNEL_THREADS_MAX);
}

/* signals */

static int signals_take(struct worker *worker)
{
	sigset_t wanted;

	signal(SIGPIPE, SIG_IGN);

	/* A terminal that goes away must not take live swap with it: its SIGHUP reads the
	 * configuration again, like any other. */
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGHUP);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	if (sigprocmask(SIG_BLOCK, &wanted, NULL) < 0)
		return -errno;
	worker->signals = signalfd(-1, &wanted, SFD_CLOEXEC);
	return worker->signals < 0 ? -errno : 0;
}

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

	r = mount_detach(worker->resolved, worker->identity, force);
	/* Somebody stands in a directory, or has just opened a disk: only the first may be left. */
	if (r == -EBUSY && !disk_in_use(worker, name))
		r = mount_detach(worker->resolved, worker->identity, true);
	if (r == -EBUSY && disk_in_use(worker, name))
		say_in_use(name);
	else if (r < 0)
		log_line("%s: cannot unmount: %s; %s", worker->resolved, why_not_unmounted(r),
			 force ? "ending all the same"
			       : "send the signal again to end all the same");
	return r == 0 || force;
}

/* Return: is the worker to end? */
static bool signal_handle(struct worker *worker)
{
	struct signalfd_siginfo info;
	struct timespec now;
	bool again;

	if (read(worker->signals, &info, sizeof(info)) != sizeof(info))
		return false;
	if (info.ssi_signo == SIGHUP) {
		reload_run(&worker->reload, worker->store, &worker->fs);
		return false;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	again = worker->asked_at != 0 && now.tv_sec - worker->asked_at <= FORCE_WINDOW_S;
	worker->asked_at = now.tv_sec;
	return end_mount(worker, again);
}

static bool is_readable(int fd, int timeout_ms)
{
	struct pollfd wanted = { .fd = fd, .events = POLLIN };

	return poll(&wanted, 1, timeout_ms) == 1;
}

/* Wait for the kernel's first question. Return: false if the mount went before it. */
static bool wait_ready(struct worker *worker)
{
	struct pollfd wanted[] = { { .fd = worker->fs.ready, .events = POLLIN },
				   { .fd = worker->channel.ended, .events = POLLIN } };

	while (poll(wanted, ZR_ARRAY_SIZE(wanted), -1) < 0 && errno == EINTR)
		;
	return wanted[0].revents != 0;
}

/* Until the mount is gone, whoever took it away. */
static void wait_end(struct worker *worker)
{
	struct pollfd wanted[] = { { .fd = worker->channel.ended, .events = POLLIN },
				   { .fd = worker->signals, .events = POLLIN } };

	for (;;) {
		if (poll(wanted, ZR_ARRAY_SIZE(wanted), -1) < 0 && errno != EINTR)
			return;
		if (wanted[0].revents)
			return;
		if (wanted[1].revents && signal_handle(worker))
			return;
	}
}

/* taking apart */

static void worker_end(struct worker *worker, int status)
{
	/* A connection that was cut or refused leaves its mount behind, and threads that wait for a
	 * request. Only a dead one may go: the next daemon's may be there already. */
	if (mount_is_dead(worker->resolved))
		(void)mount_detach(worker->resolved, 0, true);

	/* What somebody still holds open keeps a detached mount, and a thread that reads from it,
	 * alive: the end of the process is theirs. */
	if (!is_readable(worker->channel.ended, DRAIN_MS))
		_exit(status);

	channel_join(&worker->channel);
	fs_deinit(&worker->fs);
	fuse_session_unmount(worker->session); /* unmounted already: frees what it remembers */
	fuse_session_destroy(worker->session);
	zr_store_free(worker->store);
	reload_deinit(&worker->reload);
	close(worker->signals);
}

static int worker_start(struct worker *worker, const struct config *config)
{
	int r;

	r = store_make(worker, config);
	if (r < 0)
		return r;
	r = session_make(worker);
	if (r < 0)
		return r;

	r = zr_store_tend(worker->store);
	if (r == 0)
		r = fs_init(&worker->fs, worker->store, &config->defaults, threads_wanted(config));
	if (r == 0)
		r = channel_start(&worker->channel, worker->session, threads_wanted(config));
	if (r < 0) {
		log_line("cannot start: %s", strerror(-r));
		(void)mount_detach(worker->resolved, 0, true);
	}
	return r;
}

int worker_run(const struct worker_options *options, struct config *config)
{
	static struct worker worker;
	char message[MOUNT_MESSAGE_MAX], reason[LOG_REASON_BYTES];
	int r;

	worker.options = options;
	r = reload_init(&worker.reload, options->config_path, config);
	if (r < 0) {
		log_line("%s: %s", options->config_path, strerror(-r));
		return EXIT_FAILURE;
	}
	log_catch_fuse(options->debug);
	if (mount_check(options->mountpoint, worker.resolved, message, sizeof(message)) < 0) {
		log_line("%s", message);
		return EXIT_FAILURE;
	}

	if (detach_begin(&worker.detach, options->foreground) < 0 || signals_take(&worker) < 0) {
		log_line("cannot start: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	if (worker_start(&worker, config) < 0)
		return EXIT_FAILURE;
	/* Asking waits for the kernel's answer to ours, which may be no. */
	if (wait_ready(&worker))
		worker.identity = mount_identity(worker.resolved);
	if (worker.identity == 0) {
		log_fuse_reason(reason, "the kernel ended it");
		log_line("%s: the mount ended before it was ready: %s", worker.resolved, reason);
		worker_end(&worker, EXIT_FAILURE);
		return EXIT_FAILURE;
	}

	/* Whoever was waiting for the command has given up on it. */
	if (detach_ready(&worker.detach) < 0)
		(void)end_mount(&worker, true);
	else
		wait_end(&worker);
	worker_end(&worker, EXIT_SUCCESS);
	return EXIT_SUCCESS;
}

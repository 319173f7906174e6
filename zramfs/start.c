/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "backings.h"
#include "fs.h"
#include "log.h"
#include "mount.h"
#include "seal.h"
#include "shelf.h"
#include "transport.h"

/* Spans own their offsets whole, but one of each class has memory in part; and what discards leave
 * of spans of whole pages may be little. */
#define OFFSETS_PER_MEMORY 4
#define OFFSETS_MORE       (UINT64_C(1) << 30)

/* configuration */

static uint64_t ram_bytes(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 ? 0 : (uint64_t)info.totalram * info.mem_unit;
}

/* More than is loaded. */
#define COPY_BYTES_MAX (2u << 20)

static int copy_all(int from, int to)
{
	char bytes[4096];
	size_t n_copied = 0;
	ssize_t n;

	while ((n = read(from, bytes, sizeof(bytes))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		n_copied += (size_t)n;
		if (n_copied > COPY_BYTES_MAX)
			return -EFBIG;
		if (write(to, bytes, (size_t)n) != n)
			return -ENOSPC;
	}
	return 0;
}

int start_copy(const char *path)
{
	const int to = memfd_create("zramfs-config", MFD_CLOEXEC);
	int from, r;

	if (to < 0)
		return -errno;
	if (!path)
		return to;

	from = open(path, O_RDONLY | O_CLOEXEC);
	r = from < 0 ? -errno : copy_all(from, to);
	if (from >= 0)
		close(from);
	if (r < 0) {
		close(to);
		return r;
	}
	return to;
}

/* All that the file has. Not read through the descriptor's offset, which others share. */
static int text_read(int fd, char **textp, size_t *n_textp)
{
	struct stat st;
	char *text;

	if (fstat(fd, &st) < 0)
		return -errno;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	if (pread(fd, text, (size_t)st.st_size, 0) != st.st_size) {
		free(text);
		return -EIO;
	}
	*textp = text;
	*n_textp = (size_t)st.st_size;
	return 0;
}

static int text_load(struct config **configp, int fd, const char *path, char *message,
		     size_t n_message)
{
	char *text = NULL;
	size_t n_text = 0;
	FILE *file;
	int r;

	r = text_read(fd, &text, &n_text);
	file = r == 0 ? fmemopen(text, n_text, "r") : NULL;
	if (r == 0 && !file)
		r = -errno;
	if (r < 0)
		snprintf(message, n_message, "%s: %s", path, strerror(-r));
	else
		r = config_load_stream(configp, file, path, ram_bytes(), geteuid(), getegid(),
				       message, n_message);
	if (file)
		fclose(file);
	free(text);
	return r;
}

static struct config *config_of(const struct options *options, int fd)
{
	const char *path = options->config_path;
	char message[CONFIG_MESSAGE_MAX];
	struct config *config = NULL;
	int r;

	if (path) {
		r = text_load(&config, fd, path, message, sizeof(message));
	} else {
		r = config_default(&config, ram_bytes(), geteuid(), getegid());
		snprintf(message, sizeof(message), "no configuration: %s", strerror(-r));
	}
	if (r < 0)
		log_line("%s", message);
	return config;
}

/* What is wrong with a file that cannot be opened, or has no end, loading says better than copying.
 */
static bool config_is_sound(const char *path)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;
	char message[CONFIG_MESSAGE_MAX];

	if (!path || config_load(&config, path, ram_bytes(), geteuid(), getegid(), message,
				 sizeof(message)) == 0)
		return true;
	log_line("%s", message);
	return false;
}

struct config *start_config(const struct options *options, int *fdp)
{
	struct config *config;
	size_t i;
	int fd;

	if (!config_is_sound(options->config_path))
		return NULL;
	fd = start_copy(options->config_path);
	if (fd < 0) {
		log_line("%s: cannot copy it: %s",
			 options->config_path ? options->config_path : "no configuration",
			 strerror(-fd));
		return NULL;
	}
	config = config_of(options, fd);
	for (i = 0; config && i < config->warnings.n_lines; ++i)
		log_line("%s: %s", options->config_path, config->warnings.lines[i]);
	if (config)
		*fdp = fd;
	else
		close(fd);
	return config;
}

struct config *start_config_again(const struct options *options, int fd)
{
	return config_of(options, fd);
}

/* store */

static uint64_t offsets_wanted(void)
{
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return 0;
	return ((uint64_t)info.totalram + info.totalswap) * info.mem_unit * OFFSETS_PER_MEMORY +
	       OFFSETS_MORE;
}

static int disk_add(struct backings *backings, struct zr_ctx *ctx, const struct zr_disk_spec *spec)
{
	struct zr_disk_spec held = *spec;
	struct zr_disk *disk = NULL;
	int r;

	r = backings_hold(backings, &held, (struct zr_stop){ 0 });
	if (r < 0)
		return r;
	r = zr_store_add(backings->store, ctx, &held, &disk);
	backings_release(backings, &held);
	if (r < 0)
		log_line("disk %s: cannot make it: %s", spec->attrs.name, strerror(-r));
	zr_disk_unpin(backings->store, disk);
	return r;
}

static int store_fill(struct backings *backings, const struct config *config)
{
	struct zr_store *store = backings->store;
	ZR_CLEANUP(zr_ctx_freep) struct zr_ctx *ctx = NULL;
	struct shelf *shelf;
	size_t i;
	int r;

	r = zr_ctx_new(&ctx);
	if (r == 0)
		r = shelf_get(&shelf, store);
	if (r < 0) {
		log_line("cannot make the store: %s", strerror(-r));
		return r;
	}

	atomic_store(&shelf->watchdog_s, config->daemon.watchdog_s);
	atomic_store(&shelf->poll_us, config->daemon.poll_us);
	atomic_store(&shelf->policy_cpu, config->daemon.policy_cpu);
	zr_store_set_mem_limit(store, config->daemon.mem_limit_bytes);
	for (i = 0; r == 0 && i < config->n_disks; ++i)
		r = disk_add(backings, ctx, &config->disks[i].spec);
	return r;
}

/* The same, with the backing files, which stay open for who serves. */
static int files_fill(struct start *start, struct zr_store *store, const struct options *options,
		      const struct config *config)
{
	struct backings backings;
	unsigned int i;
	int r;

	r = seal_init();
	if (r == 0)
		r = backings_init(&backings, store);
	if (r < 0) {
		log_line("cannot make the store: %s", strerror(-r));
		return r;
	}
	backings.mountpoint = options->mountpoint;
	r = store_fill(&backings, config);
	if (r < 0)
		backings_close(&backings);
	for (i = 0; i < ZR_BACKINGS_MAX; ++i) {
		start->backing_fds[i] = backings.files[i].fd;
		backings.files[i].fd = -1;
	}
	backings_deinit(&backings);
	return r;
}

static int store_make(struct start *start, const struct options *options,
		      const struct config *config)
{
	ZR_CLEANUP(zr_store_freep) struct zr_store *store = NULL;
	int r;

	r = zr_store_new(&store, offsets_wanted());
	if (r < 0) {
		log_line("cannot make the store: %s", strerror(-r));
		return r;
	}
	r = files_fill(start, store, options, config);
	if (r < 0)
		return r;

	start->store_fd = fcntl(zr_store_fd(store), F_DUPFD_CLOEXEC, 3);
	return start->store_fd < 0 ? -errno : 0;
}

/* session and mount */

static int args_make(const struct options *options, struct fuse_args *args)
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

struct fuse_session *start_session(const struct options *options,
				   const struct fuse_lowlevel_ops *ops, void *userdata)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_session *session = NULL;
	char reason[LOG_REASON_BYTES];

	if (options->fuse_options && strlen(options->fuse_options) > SHELF_OPTIONS_MAX) {
		log_line("-o: longer than %u bytes", SHELF_OPTIONS_MAX);
		return NULL;
	}
	if (args_make(options, &args) == 0)
		session = fuse_session_new(&args, ops, sizeof(*ops), userdata);
	fuse_opt_free_args(&args);
	if (!session) {
		log_fuse_reason(reason, "refused");
		log_line("-o %s: %s", options->fuse_options ? options->fuse_options : "", reason);
	}
	return session;
}

/* The session is for its options alone, and stays: who serves has one of its own. */
static int mount_make(struct start *start, const struct options *options)
{
	char message[MOUNT_MESSAGE_MAX];
	int r;

	start->session = start_session(options, &fs_ops, NULL);
	if (!start->session)
		return -EINVAL;
	r = mount_attach(start->session, options->mountpoint, message, sizeof(message));
	if (r < 0) {
		log_line("%s", message);
		return r;
	}
	start->fuse_fd = fuse_session_fd(start->session);
	/* Before anybody can mount something over it. */
	return shelf_note_mount(start->store_fd, (uint64_t)mount_identity(options->mountpoint),
				options->fuse_options);
}

/* Nobody will serve: what was opened is nobody's. */
static void files_close(struct start *start)
{
	ZR_CLEANUP(zr_store_freep) struct zr_store *store = NULL;
	struct backings backings;
	unsigned int i;

	if (zr_store_map(&store, fcntl(start->store_fd, F_DUPFD_CLOEXEC, 3)) < 0 ||
	    backings_init(&backings, store) < 0)
		return;
	for (i = 0; i < ZR_BACKINGS_MAX; ++i)
		backings_take(&backings, i, start->backing_fds[i]);
	backings_close(&backings);
	backings_deinit(&backings);
}

int start_make(struct start *start, const struct options *options, const struct config *config)
{
	int r;

	r = transport_make(&config->daemon, &start->entries_fd);
	if (r == 0)
		r = store_make(start, options, config);
	if (r < 0)
		return r;
	r = mount_make(start, options);
	if (r < 0)
		files_close(start);
	if (r < 0)
		close(start->store_fd);
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "backings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backing-file.h"
#include "log.h"

int backings_init(struct backings *backings, struct zr_store *store)
{
	unsigned int i;

	*backings = (struct backings){ .store = store };
	for (i = 0; i < ZR_BACKINGS_MAX; ++i)
		backings->files[i].fd = -1;
	backings->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (backings->news < 0)
		return -errno;
	return -pthread_mutex_init(&backings->lock, NULL);
}

void backings_deinit(struct backings *backings)
{
	unsigned int i;

	for (i = 0; i < ZR_BACKINGS_MAX; ++i) {
		if (backings->files[i].fd >= 0)
			close(backings->files[i].fd);
		backings->files[i].fd = -1;
	}
	close(backings->news);
	pthread_mutex_destroy(&backings->lock);
}

bool backings_are_there(const struct backings *backings)
{
	unsigned int i;

	for (i = 0; i < ZR_BACKINGS_MAX; ++i) {
		if (zr_store_backing_at(backings->store, i))
			return true;
	}
	return false;
}

bool backings_are_idle(struct backings *backings)
{
	const struct zr_backing_record *record;
	bool is_idle = false;
	unsigned int i;

	/* Somebody opens one: then there will be time later. */
	if (pthread_mutex_trylock(&backings->lock) != 0)
		return false;
	for (i = 0; i < ZR_BACKINGS_MAX && !is_idle; ++i) {
		record = zr_store_backing_at(backings->store, i);
		is_idle = record ? zr_store_backing_is_idle(backings->store,
							    atomic_load(&record->id))
				 : backings->files[i].fd >= 0;
	}
	pthread_mutex_unlock(&backings->lock);
	return is_idle;
}

/* of a former generation */

void backings_take(struct backings *backings, unsigned int index, int fd)
{
	struct backings_file *file;

	if (index >= ZR_BACKINGS_MAX) {
		close(fd);
		return;
	}
	file = &backings->files[index];
	if (file->fd >= 0)
		close(file->fd);
	file->fd = fd;
	file->id = 0;
}

static int file_attach(struct backings *backings, unsigned int index,
		       const struct zr_backing_record *record, bool is_last)
{
	struct backings_file *file = &backings->files[index];
	char why[BACKING_WHY_MAX];
	const struct zr_backing_io *io = NULL;
	int r;

	r = file->fd < 0 ? -EBADF : backing_file_verify(file->fd, record, why);
	/* Another serves, and what one look found need not be so when it does not any more. */
	if (r == -ESTALE && !is_last)
		return 0;
	if (r == 0) {
		backing_io_init(&file->io, file->fd, record, backings->news);
		io = &file->io.io;
	} else if (file->fd < 0) {
		log_line("backing_dev %s: nobody has it open any more; what was on it is lost",
			 record->path);
	} else {
		log_line("backing_dev %s; what was on it is lost", why);
	}
	file->id = atomic_load(&record->id);
	return zr_store_backing_attach(backings->store, index, io);
}

int backings_attach(struct backings *backings, bool is_last)
{
	const struct zr_backing_record *record;
	unsigned int i;
	int r = 0;

	for (i = 0; r == 0 && i < ZR_BACKINGS_MAX; ++i) {
		record = zr_store_backing_at(backings->store, i);
		/* What was looked at while another served need not be read when nobody does. */
		if (record && backings->files[i].id != atomic_load(&record->id) &&
		    (is_last || backings->files[i].fd >= 0))
			r = file_attach(backings, i, record, is_last);
		if (!record && backings->files[i].fd >= 0)
			(void)!eventfd_write(backings->news, 1); /* whoever looks closes it */
	}
	return r;
}

/* closing and opening. The lock is held */

static void pass(struct backings *backings, unsigned int index, int fd)
{
	if (backings->pass)
		backings->pass(backings->context, index, fd);
}

bool backings_pass_all(struct backings *backings)
{
	unsigned int i;

	if (pthread_mutex_trylock(&backings->lock) != 0)
		return false;
	for (i = 0; i < ZR_BACKINGS_MAX; ++i)
		pass(backings, i, backings->files[i].fd);
	pthread_mutex_unlock(&backings->lock);
	return true;
}

/* Its record went, and then who removed that died. */
static void file_finish_closing(struct backings *backings, unsigned int index)
{
	const struct zr_backing_record *removed = zr_store_backing_removed(backings->store, index);
	struct backings_file *file = &backings->files[index];

	if (file->fd < 0 || !removed)
		return;
	backing_file_close(file->fd, removed);
	file->fd = -1;
	pass(backings, index, -1);
}

static void file_close_locked(struct backings *backings, unsigned int index)
{
	const struct zr_backing_record *there = zr_store_backing_at(backings->store, index);
	struct backings_file *file = &backings->files[index];
	struct zr_backing_record record;

	if (!there)
		file_finish_closing(backings, index);
	if (!there || file->n_held > 0)
		return;
	record = *there;
	if (zr_store_backing_remove(backings->store, atomic_load(&record.id)) < 0)
		return;
	if (file->fd >= 0)
		backing_file_close(file->fd, &record);
	file->fd = -1;
	file->id = 0;
	pass(backings, index, -1);
	explicit_bzero(&record, sizeof(record));
}

static void sweep_locked(struct backings *backings)
{
	unsigned int i;

	for (i = 0; i < ZR_BACKINGS_MAX; ++i)
		file_close_locked(backings, i);
}

static bool is_for_swap(const struct zr_attrs *attrs)
{
	return attrs->format == ZR_FORMAT_SWAP;
}

/* Of a device nothing is allocated by whom it was opened for. */
static bool is_fit_for_swap(const struct zr_backing_record *record)
{
	return record->flags & ZR_BACKING_FIXED &&
	       record->flags & (ZR_BACKING_WRITTEN | ZR_BACKING_DEVICE);
}

/* Whether what the disk writes is to be encrypted: of what is not said, swap alone minds. */
static bool is_key_good(const struct zr_attrs *attrs, bool is_sealed)
{
	if (attrs->backing_key == ZR_BACKING_KEY_DEFAULT)
		return is_sealed || !is_for_swap(attrs);
	return is_sealed == (attrs->backing_key == ZR_BACKING_KEY_RANDOM);
}

/* What was opened for one disk, is it good for another? */
static int share_check(const struct zr_backing_record *record, const struct zr_attrs *attrs)
{
	const bool is_sealed = record->flags & ZR_BACKING_SEALED;
	const char *why = NULL;

	if (is_for_swap(attrs) && !is_fit_for_swap(record))
		why = "was not written whole, as swap wants it; open it for that disk first, or "
		      "give it a file of its own";
	else if (!is_key_good(attrs, is_sealed))
		why = is_sealed ? "has a key already, and backing_key = none"
				: "has no key, and backing_key = random, as it is for swap";
	else if (attrs->backing_size_bytes > record->size_bytes)
		why = "is smaller than backing_size, and in use";
	if (!why)
		return 0;
	log_line("backing_dev %s: it is shared with another disk, and %s", record->path, why);
	return -EINVAL;
}

/* The index of a file that is open under that name. Return: -ENOENT. */
static int find(const struct backings *backings, const char *path)
{
	const struct zr_backing_record *record;
	int i;

	for (i = 0; i < (int)ZR_BACKINGS_MAX; ++i) {
		record = zr_store_backing_at(backings->store, (unsigned int)i);
		if (record && strcmp(record->path, path) == 0)
			return i;
	}
	return -ENOENT;
}

static int unused(const struct backings *backings)
{
	int i;

	for (i = 0; i < (int)ZR_BACKINGS_MAX; ++i) {
		if (!zr_store_backing_at(backings->store, (unsigned int)i))
			return i;
	}
	return -ENOSPC;
}

/* The record comes first: whoever stands by can look at it when the descriptor comes. */
static int file_add(struct backings *backings, unsigned int index, struct backing_file *opened)
{
	struct backings_file *file = &backings->files[index];
	int r;

	backings_take(backings, index, opened->fd);
	backing_io_init(&file->io, opened->fd, &opened->record, backings->news);
	r = zr_store_backing_add(backings->store, index, &opened->record, &file->io.io, &file->id);
	if (r < 0) {
		log_line("backing_dev %s: cannot use it: %s", opened->record.path, strerror(-r));
		file->fd = -1;
		backing_file_close(opened->fd, &opened->record);
	} else {
		file->io.record = zr_store_backing_at(backings->store, index);
		pass(backings, index, opened->fd);
		/* From now on somebody looks whether any disk names it. */
		(void)!eventfd_write(backings->news, 1);
	}
	explicit_bzero(&opened->record, sizeof(opened->record));
	return r;
}

static int file_open(struct backings *backings, const struct zr_disk_spec *spec,
		     struct zr_stop stop)
{
	const struct backing_file_wish wish = { .path = spec->backing_dev,
						.size_bytes = spec->attrs.backing_size_bytes,
						.is_preallocated =
							spec->attrs.backing_preallocate != 0,
						.is_swap = is_for_swap(&spec->attrs),
						.key = (enum zr_backing_key)spec->attrs.backing_key,
						.mount_device = backings->mount_device,
						.mountpoint = backings->mountpoint,
						.stop = &stop };
	char why[BACKING_WHY_MAX];
	struct backing_file opened;
	const int index = unused(backings);
	int r;

	if (index < 0) {
		log_line("backing_dev %s: there are %u backing files already, which is the most",
			 spec->backing_dev, ZR_BACKINGS_MAX);
		return index;
	}
	r = backing_file_open(&wish, &opened, why);
	if (r < 0) {
		log_line("backing_dev %s", why);
		return r;
	}
	if (!opened.is_direct)
		log_line("backing_dev %s: its filesystem knows no direct I/O: what is written goes "
			 "through the page cache",
			 spec->backing_dev);
	r = file_add(backings, (unsigned int)index, &opened);
	return r < 0 ? r : index;
}

int backings_hold(struct backings *backings, struct zr_disk_spec *spec, struct zr_stop stop)
{
	int index, r = 0;

	spec->attrs.backing_id = 0;
	if (spec->backing_dev[0] == 0)
		return 0;

	pthread_mutex_lock(&backings->lock);
	/* What one that died left half open or half closed is not to be shared. */
	sweep_locked(backings);
	index = find(backings, spec->backing_dev);
	if (index >= 0)
		r = share_check(zr_store_backing_at(backings->store, (unsigned int)index),
				&spec->attrs);
	else
		r = index = file_open(backings, spec, stop);
	if (r >= 0) {
		spec->attrs.backing_id = backings->files[index].id;
		++backings->files[index].n_held;
	}
	pthread_mutex_unlock(&backings->lock);
	return r < 0 ? r : 0;
}

/* closing */

void backings_sweep(struct backings *backings)
{
	pthread_mutex_lock(&backings->lock);
	sweep_locked(backings);
	pthread_mutex_unlock(&backings->lock);
}

void backings_release(struct backings *backings, const struct zr_disk_spec *spec)
{
	unsigned int i;

	if (spec->attrs.backing_id == 0)
		return;
	pthread_mutex_lock(&backings->lock);
	for (i = 0; i < ZR_BACKINGS_MAX; ++i) {
		if (backings->files[i].id == spec->attrs.backing_id)
			--backings->files[i].n_held;
	}
	sweep_locked(backings);
	pthread_mutex_unlock(&backings->lock);
}

void backings_close(struct backings *backings)
{
	const struct zr_backing_record *record;
	unsigned int i;

	for (i = 0; i < ZR_BACKINGS_MAX; ++i) {
		record = zr_store_backing_at(backings->store, i);
		if (!record)
			file_finish_closing(backings, i);
		if (!record || backings->files[i].fd < 0)
			continue;
		backing_file_close(backings->files[i].fd, record);
		backings->files[i].fd = -1;
	}
}

/* errors */

static void error_say(const char *path, const struct backing_io_error *error)
{
	static const char *const what[] = { [BACKING_IO_READ] = "cannot be read",
					    [BACKING_IO_WRITE] = "cannot be written",
					    [BACKING_IO_PUNCH] = "cannot be punched" };

	if (error->kind == BACKING_IO_OPEN)
		log_line("backing_dev %s: what is there is not what was written (page %" PRIu64
			 " of disk number %" PRIu64 "): somebody else writes to it, or it was cut; "
			 "who asks for such a page gets an I/O error; see FailedBackingReads in "
			 ".stats",
			 path, error->owner.page_no, error->owner.disk_id);
	else
		log_line("backing_dev %s: %s at %" PRIu64 ": %s; pages that are in memory stay "
			 "there; see FailedBackingReads and FailedBackingWrites in .stats",
			 path, what[error->kind], error->offset, strerror(error->error));
}

void backings_say_errors(struct backings *backings)
{
	const struct zr_backing_record *record;
	struct backing_io_error error;
	uint64_t n;
	unsigned int i;

	if (read(backings->news, &n, sizeof(n)) == sizeof(n))
		backings->is_unsaid = true;
	/* Somebody opens or closes one: then there will be time later. */
	if (!backings->is_unsaid || pthread_mutex_trylock(&backings->lock) != 0)
		return;
	backings->is_unsaid = false;
	for (i = 0; i < ZR_BACKINGS_MAX; ++i) {
		record = zr_store_backing_at(backings->store, i);
		if (record && backings->files[i].id != 0 &&
		    backing_io_take_error(&backings->files[i].io, &error))
			error_say(record->path, &error);
	}
	pthread_mutex_unlock(&backings->lock);
}

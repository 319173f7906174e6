/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "backing-io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "blocks.h"
#include "check.h"
#include "seal.h"

enum error_state {
	ERROR_NONE,
	ERROR_BEING_KEPT,
	ERROR_KEPT,
	ERROR_TAKEN,
};

/* the first error */

static void error_keep(struct backing_io *backing, const struct backing_io_error *error)
{
	int none = ERROR_NONE;

	if (!atomic_compare_exchange_strong(&backing->xerror_state, &none, ERROR_BEING_KEPT))
		return;
	backing->first_error = *error;
	atomic_store(&backing->xerror_state, ERROR_KEPT);
}

bool backing_io_take_error(struct backing_io *backing, struct backing_io_error *errorp)
{
	int kept = ERROR_KEPT;

	if (!atomic_compare_exchange_strong(&backing->xerror_state, &kept, ERROR_TAKEN))
		return false;
	*errorp = backing->first_error;
	return true;
}

static int error_of_request(struct backing_io *backing, enum backing_io_kind kind, uint64_t offset,
			    int r)
{
	if (r < 0)
		error_keep(backing, &(struct backing_io_error){
					    .kind = kind, .error = -r, .offset = offset });
	return r;
}

static int io_read(void *context, uint64_t offset, void *bytes, size_t n_bytes)
{
	struct backing_io *backing = context;

	return error_of_request(backing, BACKING_IO_READ, offset,
				blocks_read(backing->fd, backing->is_direct, offset, bytes,
					    n_bytes));
}

static int io_write(void *context, uint64_t offset, const void *bytes, size_t n_bytes)
{
	struct backing_io *backing = context;

	ZR_ASSERT(offset + n_bytes <= backing->record->size_bytes);
	return error_of_request(backing, BACKING_IO_WRITE, offset,
				blocks_write(backing->fd, backing->is_direct, offset, bytes,
					     n_bytes));
}

/* punching */

static int punch_once(struct backing_io *backing, uint64_t offset, uint64_t n_bytes)
{
	uint64_t range[2] = { offset, n_bytes };
	int r;

	if (backing->record->flags & ZR_BACKING_DEVICE)
		r = ioctl(backing->fd, BLKDISCARD, range);
	else
		r = fallocate(backing->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      (off_t)offset, (off_t)n_bytes);
	return r < 0 ? -errno : 0;
}

static int io_punch(void *context, uint64_t offset, uint64_t n_bytes)
{
	struct backing_io *backing = context;
	int r;

	if (atomic_load(&backing->xcannot_punch))
		return -EOPNOTSUPP;
	do
		r = punch_once(backing, offset, n_bytes);
	while (r == -EINTR);
	if (r == -EOPNOTSUPP || r == -ENOTTY || r == -ENOSYS) {
		atomic_store(&backing->xcannot_punch, true);
		return -EOPNOTSUPP;
	}
	return error_of_request(backing, BACKING_IO_PUNCH, offset, r);
}

/* seals */

static void io_seal(void *context, const struct zr_frame_owner *owner, uint64_t sequence,
		    const void *object, uint32_t n_object, void *frame)
{
	const struct backing_io *backing = context;

	seal_make(backing->record, owner, sequence, object, n_object, frame);
}

static int io_open(void *context, const struct zr_frame_owner *owner, const void *frame,
		   uint32_t n_object, void *object)
{
	struct backing_io *backing = context;
	int r;

	r = seal_open(backing->record, owner, frame, n_object, object);
	if (r < 0)
		error_keep(backing, &(struct backing_io_error){ .kind = BACKING_IO_OPEN,
								.error = -r,
								.owner = *owner });
	return r;
}

void backing_io_init(struct backing_io *backing, int fd, const struct zr_backing_record *record)
{
	*backing = (struct backing_io){
		.io = { .context = backing,
			.read = io_read,
			.write = io_write,
			.punch = record->flags & ZR_BACKING_FIXED ? NULL : io_punch,
			.seal = io_seal,
			.open = io_open },
		.record = record,
		.fd = fd,
		.is_direct = blocks_are_direct(fd),
	};
}

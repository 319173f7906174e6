/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "change.h"

#include <errno.h>
#include <string.h>

#include "size.h"

/* The row that may be written once. */
#define ATTR_DISKSIZE "disksize"

/* Somebody who takes a name between two tries this often means it. */
#define RENAME_TRIES 16u

/* A disk that was claimed, once more under the lock: it may have gone before it was claimed; and
 * what a former generation made for somebody is opened without asking whether it is claimed. */
static int look_again(struct fs *fs, struct zr_disk *disk, unsigned int n_own)
{
	if (zr_disk_is_removed(disk))
		return -ESTALE;
	return handles_count(&fs->handles, disk) > n_own ? -EBUSY : 0;
}

/* Claim @disk and take the lock. */
static int change_enter(struct fs *fs, struct zr_disk *disk)
{
	int r;

	r = handles_claim(&fs->handles, disk, 0);
	if (r < 0)
		return r;

	records_lock(&fs->records);
	r = look_again(fs, disk, 0);
	if (r < 0) {
		records_unlock(&fs->records);
		handles_unclaim(&fs->handles, disk);
	}
	return r;
}

static bool is_taken(struct fs *fs, const char *name)
{
	struct zr_disk *disk = zr_store_find(fs->store, name);

	zr_disk_unpin(fs->store, disk);
	return disk != NULL;
}

/* Is that what @disk is called? It may have been renamed while it was waited for. */
static bool has_name(struct fs *fs, const struct zr_disk *disk, const char *name)
{
	struct zr_disk *there = zr_store_find(fs->store, name);

	zr_disk_unpin(fs->store, there);
	return there == disk;
}

int change_make(struct fs *fs, struct op *op, const struct zr_disk_spec *spec,
		struct zr_disk **diskp)
{
	struct record wanted = { .op = RECORD_MAKE, .unique = op->unique };
	int r;

	records_lock(&fs->records);
	/* No record of a refusal: who did not want a new disk goes on to open this one. */
	if (is_taken(fs, spec->attrs.name)) {
		records_unlock(&fs->records);
		return -EEXIST;
	}

	wanted.disk_id = zr_store_next_id(fs->store);
	op->record = records_begin(&fs->records, &wanted);
	r = zr_store_add(fs->store, fs->ctx, spec, diskp);
	records_answer(&fs->records, op->record, -r);
	return r;
}

int change_remove(struct fs *fs, struct op *op, struct zr_disk *disk, const char *name)
{
	const struct record wanted = { .op = RECORD_REMOVE,
				       .unique = op->unique,
				       .disk_id = disk->id };
	int r;

	/* A swap device must not vanish. */
	r = change_enter(fs, disk);
	if (r < 0)
		return r == -ESTALE ? -ENOENT : r;

	if (has_name(fs, disk, name)) {
		op->record = records_begin(&fs->records, &wanted);
		zr_store_remove(fs->store, disk);
		records_answer(&fs->records, op->record, 0);
	} else {
		records_unlock(&fs->records);
		r = -ENOENT;
	}
	handles_unclaim(&fs->handles, disk);
	return r;
}

int change_withdraw(struct fs *fs, struct zr_disk *disk)
{
	const int r = change_enter(fs, disk);

	if (r < 0)
		return r;
	zr_store_remove(fs->store, disk);
	records_unlock(&fs->records);
	handles_unclaim(&fs->handles, disk);
	return 0;
}

static int rename_apply(struct fs *fs, struct op *op, struct zr_disk *disk,
			struct zr_disk *replaced, const char *name)
{
	struct record wanted = { .op = RECORD_RENAME,
				 .unique = op->unique,
				 .disk_id = disk->id,
				 .other_id = replaced ? replaced->id : 0 };
	int r;

	_Static_assert(sizeof(wanted.name) > ZR_NAME_MAX, "a name fits a record");
	memcpy(wanted.name, name, strlen(name));
	op->record = records_begin(&fs->records, &wanted);
	r = zr_store_rename(fs->store, disk, name, replaced);
	records_answer(&fs->records, op->record, -r);
	return r;
}

/* @replaced may be NULL. Return: also -EAGAIN if another has the name by now. */
static int rename_try(struct fs *fs, struct op *op, struct zr_disk *disk, struct zr_disk *replaced,
		      const char *name)
{
	struct zr_disk *there;
	int r = 0;

	if (replaced)
		r = change_enter(fs, replaced);
	else
		records_lock(&fs->records);
	if (r < 0)
		return r == -ESTALE ? -EAGAIN : r;

	there = zr_store_find(fs->store, name);
	zr_disk_unpin(fs->store, there);
	if (there == replaced) {
		r = rename_apply(fs, op, disk, replaced, name);
	} else {
		records_unlock(&fs->records);
		r = -EAGAIN;
	}
	if (replaced)
		handles_unclaim(&fs->handles, replaced);
	return r;
}

int change_rename(struct fs *fs, struct op *op, struct zr_disk *disk, const char *name,
		  bool no_replace)
{
	unsigned int n_tries = 0;
	struct zr_disk *replaced;
	int r;

	do {
		replaced = zr_store_find(fs->store, name);
		if (replaced == disk)
			r = 0;
		else if (replaced && no_replace)
			r = -EEXIST;
		else
			r = rename_try(fs, op, disk, replaced, name);
		zr_disk_unpin(fs->store, replaced);
	} while (r == -EAGAIN && ++n_tries < RENAME_TRIES);
	return r == -EAGAIN ? -EEXIST : r;
}

int change_truncate(struct fs *fs, struct op *op, struct zr_disk *disk, uint64_t size_bytes,
		    unsigned int n_own, uint64_t fh)
{
	const struct record wanted = { .op = RECORD_TRUNCATE,
				       .unique = op->unique,
				       .disk_id = disk->id,
				       .size_bytes = size_bytes,
				       .fh = fh };
	int r;

	records_lock(&fs->records);
	r = look_again(fs, disk, n_own);
	if (r < 0 || size_bytes >= zr_disk_size(disk)) {
		records_unlock(&fs->records);
		return r < 0 ? r : zr_disk_extend(disk, size_bytes);
	}

	op->record = records_begin(&fs->records, &wanted);
	r = zr_disk_truncate(disk, fs->ctx, size_bytes);
	records_answer(&fs->records, op->record, -r);
	return r;
}

/* attributes */

/* What the record of a control write says. The caller has the lock. */
static void attr_record(const struct op *op, const struct zr_attr *attr, struct zr_disk *disk,
			struct record *wanted)
{
	uint64_t size_bytes;

	*wanted = (struct record){ .op = RECORD_SET,
				   .unique = op->unique,
				   .disk_id = disk ? disk->id : 0 };
	if (attr->when == ZR_WHEN_UNUSED)
		wanted->op = RECORD_RESET;
	/* What will be refused is refused the second time, too. */
	if (strcmp(attr->name, ATTR_DISKSIZE) != 0 || zr_disk_size(disk) != 0 ||
	    zr_size_parse(op->text, 0, &size_bytes) < 0 || size_bytes == 0 ||
	    size_bytes > ZR_DISK_SIZE_MAX)
		return;
	wanted->op = RECORD_DISKSIZE;
	wanted->size_bytes = zr_align_up(size_bytes, ZR_PAGE_SIZE);
}

static int attr_apply(struct fs *fs, struct op *op, const struct zr_attr *attr,
		      const struct zr_attr_target *target)
{
	int r;

	r = attr->apply(target, op->text);
	records_answer(&fs->records, op->record, -r);
	return r;
}

int change_attr(struct fs *fs, struct op *op, const struct zr_attr *attr,
		const struct zr_attr_target *target)
{
	const bool is_claimed = target->disk && attr->when == ZR_WHEN_UNUSED;
	struct record wanted;
	int r = 0;

	if (attr->flags & ZR_ATTR_LONG)
		return attr->apply(target, op->text);
	if (op->record) {
		records_resume(&fs->records, op->record);
		return attr_apply(fs, op, attr, target);
	}

	if (is_claimed)
		r = change_enter(fs, target->disk);
	else
		records_lock(&fs->records);
	if (r < 0)
		return r;

	attr_record(op, attr, target->disk, &wanted);
	op->record = records_begin(&fs->records, &wanted);
	r = attr_apply(fs, op, attr, target);
	if (is_claimed)
		handles_unclaim(&fs->handles, target->disk);
	return r;
}

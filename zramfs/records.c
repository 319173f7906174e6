/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "records.h"

#include <string.h>

#include "crash.h"

void records_init(struct records *records, struct shelf *shelf)
{
	memset(records, 0, sizeof(*records));
	records->shelf = shelf;
	pthread_mutex_init(&records->lock, NULL);
	pthread_mutex_init(&records->list, NULL);
	pthread_cond_init(&records->settled, NULL);
}

void records_deinit(struct records *records)
{
	pthread_cond_destroy(&records->settled);
	pthread_mutex_destroy(&records->list);
	pthread_mutex_destroy(&records->lock);
}

static void answered(struct record *record, int error)
{
	record->error = error;
	atomic_store(&record->state, RECORD_ANSWERED);
}

/* what a former generation left */

static bool has_name(struct zr_disk *disk, const char *name)
{
	struct zr_attrs attrs;

	zr_disk_attrs(disk, &attrs);
	return strcmp(attrs.name, name) == 0;
}

/* Did it happen, as far as the directory shows? @disk is NULL if it is not there. */
static bool has_happened(const struct record *record, struct zr_disk *disk)
{
	switch (record->op) {
	case RECORD_MAKE:
		return disk != NULL;
	case RECORD_REMOVE:
		return disk == NULL;
	case RECORD_RENAME: /* loading has seen to the one that had the name */
		return disk && has_name(disk, record->name);
	case RECORD_DISKSIZE:
		/* It had none, and others may have written past it since. */
		return disk && zr_disk_size(disk) >= record->size_bytes;
	default:
		return false;
	}
}

/* Return: what it comes to, 0 or an errno. */
static int do_again(const struct record *record, struct zr_disk *disk, struct zr_ctx *ctx,
		    const struct zr_attrs *defaults)
{
	if (record->op == RECORD_RESET)
		return -zr_disk_reset(disk, defaults);
	/* It only ever shrinks: what is smaller by now was shrunk. */
	if (zr_disk_size(disk) > record->size_bytes)
		return -zr_disk_truncate(disk, ctx, record->size_bytes);
	return 0;
}

static void begun_recover(struct record *record, struct zr_store *store, struct zr_ctx *ctx,
			  const struct zr_attrs *defaults)
{
	struct zr_disk *disk = zr_store_get(store, record->disk_id);

	if (disk && (record->op == RECORD_RESET || record->op == RECORD_TRUNCATE))
		answered(record, do_again(record, disk, ctx, defaults));
	else if (has_happened(record, disk))
		answered(record, 0);
	else if (record->op != RECORD_SET)
		atomic_store(&record->state, RECORD_FREE);
	zr_disk_unpin(store, disk);
}

void records_recover(struct records *records, struct zr_store *store, struct zr_ctx *ctx,
		     const struct zr_attrs *defaults)
{
	unsigned int i;

	for (i = 0; i < SHELF_RECORDS; ++i) {
		struct record *record = &records->shelf->records[i];

		if (atomic_load(&record->state) == RECORD_BEGUN)
			begun_recover(record, store, ctx, defaults);
		if (atomic_load(&record->state) == RECORD_FREE)
			continue;
		records->whose[i] = RECORDS_FORMER;
		++records->n_former;
	}
}

/* @n records of former generations are there no more. */
static void former_gone(struct records *records, unsigned int n)
{
	pthread_mutex_lock(&records->lock);
	records->n_former -= n;
	if (records->n_former == 0)
		pthread_cond_broadcast(&records->settled);
	pthread_mutex_unlock(&records->lock);
}

struct record *records_find(struct records *records, uint64_t unique)
{
	struct record *found = NULL;
	unsigned int i;

	if (atomic_load(&records->n_former) == 0)
		return NULL;

	pthread_mutex_lock(&records->list);
	for (i = 0; !found && i < SHELF_RECORDS; ++i) {
		struct record *record = &records->shelf->records[i];

		if (records->whose[i] == RECORDS_FORMER && record->unique == unique) {
			records->whose[i] = RECORDS_ASKED;
			found = record;
		}
	}
	pthread_mutex_unlock(&records->list);
	return found;
}

void records_forget_rest(struct records *records)
{
	unsigned int i, n = 0;

	if (atomic_load(&records->n_former) == 0)
		return;

	pthread_mutex_lock(&records->list);
	for (i = 0; i < SHELF_RECORDS; ++i) {
		if (records->whose[i] != RECORDS_FORMER)
			continue;
		atomic_store(&records->shelf->records[i].state, RECORD_FREE);
		records->whose[i] = RECORDS_NOBODYS;
		++n;
	}
	pthread_mutex_unlock(&records->list);
	if (n > 0)
		former_gone(records, n);
}

/* changes */

void records_lock(struct records *records)
{
	pthread_mutex_lock(&records->lock);
	while (records->n_former > 0)
		pthread_cond_wait(&records->settled, &records->lock);
}

void records_lock_now(struct records *records)
{
	pthread_mutex_lock(&records->lock);
}

void records_unlock(struct records *records)
{
	pthread_mutex_unlock(&records->lock);
}

/* A thread has one at a time, and those of former generations are gone: one is free. */
static struct record *record_take(struct records *records)
{
	unsigned int i = 0;

	pthread_mutex_lock(&records->list);
	while (records->whose[i] != RECORDS_NOBODYS) {
		++i;
		ZR_ASSERT(i < SHELF_RECORDS);
	}
	records->whose[i] = RECORDS_OURS;
	pthread_mutex_unlock(&records->list);
	return &records->shelf->records[i];
}

struct record *records_begin(struct records *records, const struct record *wanted)
{
	struct record *record = record_take(records);

	*record = *wanted;
	atomic_store(&record->state, RECORD_BEGUN);
	ZR_CRASH("effect");
	return record;
}

void records_resume(struct records *records, struct record *record)
{
	/* Not records_lock(), which waits for this one: nobody else has it for long. */
	pthread_mutex_lock(&records->lock);
	ZR_ASSERT(atomic_load(&record->state) == RECORD_BEGUN);
	ZR_CRASH("effect");
}

void records_answer(struct records *records, struct record *record, int error)
{
	ZR_CRASH("effected");
	answered(record, error);
	pthread_mutex_unlock(&records->lock);
	ZR_CRASH("answer");
}

void records_end(struct records *records, struct record *record)
{
	bool was_former;
	size_t i;

	if (!record)
		return;

	ZR_CRASH("replied");
	i = (size_t)(record - records->shelf->records);
	pthread_mutex_lock(&records->list);
	was_former = records->whose[i] == RECORDS_ASKED;
	atomic_store(&record->state, RECORD_FREE);
	records->whose[i] = RECORDS_NOBODYS;
	pthread_mutex_unlock(&records->list);
	if (was_former)
		former_gone(records, 1);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "shelf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store.h"

/* What a disk store of this run has at the least: serial 0 is no handle's. */
static void shelf_init_new(struct shelf *shelf)
{
	atomic_store(&shelf->next_serial, 1);
	atomic_store(&shelf->version, SHELF_VERSION);
}

int shelf_get(struct shelf **shelfp, struct zr_store *store)
{
	struct shelf *shelf = zr_store_shelf(store, SHELF_HANDLES);
	uint32_t version;

	if (!shelf)
		return -ENOMEM;
	version = atomic_load(&shelf->version);
	if (version == 0)
		shelf_init_new(shelf);
	else if (version != SHELF_VERSION)
		return -EPROTONOSUPPORT;
	*shelfp = shelf;
	return 0;
}

struct shelf *shelf_map(int store_fd)
{
	void *shelf = mmap(NULL, SHELF_HANDLES, PROT_READ, MAP_SHARED, store_fd, ZR_SHELF_START);

	return shelf == MAP_FAILED ? NULL : shelf;
}

static int note(int store_fd, size_t at, const void *what, size_t n)
{
	return pwrite(store_fd, what, n, (off_t)(ZR_SHELF_START + at)) == (ssize_t)n ? 0 : -EIO;
}

int shelf_note_mount(int store_fd, uint64_t mount_device, const char *fuse_options)
{
	int r = 0;

	if (fuse_options && strlen(fuse_options) > SHELF_OPTIONS_MAX)
		return -E2BIG;
	if (fuse_options)
		r = note(store_fd, offsetof(struct shelf, fuse_options), fuse_options,
			 strlen(fuse_options) + 1);
	return r < 0 ? r
		     : note(store_fd, offsetof(struct shelf, mount_device), &mount_device,
			    sizeof(mount_device));
}

int shelf_claim(int store_fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(store_fd, F_SETLK, &lock) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : 0;
}

pid_t shelf_claimed_by(int store_fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(store_fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return 0;
	return lock.l_pid;
}

static bool is_listed(const uint64_t *list, uint64_t unique)
{
	unsigned int i;

	for (i = 0; i < SHELF_SUSPECTS; ++i)
		if (list[i] == unique)
			return true;

	return false;
}

/* Return: 1 if it is new. */
static unsigned int poison_add(struct shelf *shelf, uint64_t unique)
{
	unsigned int i;

	for (i = 0; i < SHELF_SUSPECTS; ++i) {
		if (atomic_load(&shelf->poison[i]) == unique)
			return 0;
		if (atomic_load(&shelf->poison[i]) == 0) {
			atomic_store(&shelf->poison[i], unique);
			return 1;
		}
	}
	/* Of askers who were killed, and will not ask again: none of these is waited for. */
	atomic_store(&shelf->poison[unique % SHELF_SUSPECTS], unique);
	return 1;
}

/* Requests in hand: there is room for one of each seat. */
static unsigned int in_hand(const struct shelf *shelf, uint64_t uniques[SHELF_SUSPECTS])
{
	unsigned int i, n = 0;

	memset(uniques, 0, SHELF_SUSPECTS * sizeof(*uniques));
	for (i = 0; i < SHELF_SEATS && n < SHELF_SUSPECTS; ++i)
		if (atomic_load(&shelf->seats[i].unique) != 0)
			uniques[n++] = atomic_load(&shelf->seats[i].unique);
	return n;
}

unsigned int shelf_take_over(struct shelf *shelf, bool was_fault)
{
	uint64_t uniques[SHELF_SUSPECTS];
	unsigned int i, n, n_poison = 0;

	if (was_fault) {
		n = in_hand(shelf, uniques);
		for (i = 0; i < n; ++i)
			if (is_listed(shelf->suspects, uniques[i]))
				n_poison += poison_add(shelf, uniques[i]);
		memcpy(shelf->suspects, uniques, sizeof(shelf->suspects));
	}

	for (i = 0; i < SHELF_SEATS; ++i) {
		atomic_store(&shelf->seats[i].unique, 0);
		atomic_store(&shelf->seats[i].is_long, 0);
	}
	return n_poison;
}

bool shelf_is_suspect(const struct shelf *shelf, uint64_t unique)
{
	return unique != 0 && is_listed(shelf->suspects, unique);
}

bool shelf_take_poison(struct shelf *shelf, uint64_t unique)
{
	unsigned int i;

	for (i = 0; i < SHELF_SUSPECTS; ++i) {
		if (unique != 0 &&
		    atomic_load_explicit(&shelf->poison[i], memory_order_relaxed) == unique) {
			atomic_store(&shelf->poison[i], 0);
			return true;
		}
	}
	return false;
}

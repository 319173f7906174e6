/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "entries.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"

#define NAME "zramfs-entries"

/* Of an entry, before its payload. */
#define HEAD_BYTES 4096u

/* Linux 4.17 */
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* Where nothing lies that systems place at random: neither programs nor libraries. The first that
 * is to be had. */
static const uint64_t addresses[] = {
#if defined(__SANITIZE_THREAD__)
	UINT64_C(0x7e9000000000),
#elif UINTPTR_MAX > UINT32_MAX
	UINT64_C(0x200000000000),
	UINT64_C(0x2000000000),
#endif
	UINT64_C(0x20000000),
};

_Static_assert(sizeof(struct uring_head) + sizeof(struct fuse_in_header) + URING_OP_BYTES <=
		       HEAD_BYTES,
	       "a request has room behind what the kernel has");

static size_t slots_bytes(unsigned int n_entries)
{
	return zr_align_up(sizeof(struct entries_head) + n_entries * sizeof(struct entry_slot),
			   HEAD_BYTES);
}

int entries_plan(struct entries_plan *plan, const cpu_set_t *possible, const cpu_set_t *online,
		 unsigned int depth, size_t n_payload)
{
	unsigned int i;

	*plan = (struct entries_plan){ .n_queues = (unsigned int)CPU_COUNT(possible),
				       .depth = depth,
				       .n_payload = n_payload };
	if (plan->n_queues == 0 || depth == 0 || depth > ENTRIES_DEPTH_MAX ||
	    n_payload % HEAD_BYTES != 0)
		return -ERANGE;
	for (i = 0; i < plan->n_queues; ++i)
		plan->n_online += CPU_ISSET(i, online) != 0;
	plan->n_entries = plan->n_online * depth + (plan->n_queues - plan->n_online);
	plan->n_bytes = slots_bytes(plan->n_entries) +
			(uint64_t)plan->n_entries * (HEAD_BYTES + n_payload);
	return plan->n_bytes > SIZE_MAX / 2 ? -ERANGE : 0;
}

static void *map_at(uint64_t address, int fd, uint64_t n_bytes, int flags)
{
	void *memory;

	memory = mmap((void *)(uintptr_t)address, n_bytes, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_FIXED_NOREPLACE | flags, fd, 0);
	/* An older kernel takes the address for a wish. */
	if (memory != MAP_FAILED && memory != (void *)(uintptr_t)address) {
		munmap(memory, n_bytes);
		errno = EEXIST;
		return MAP_FAILED;
	}
	return memory;
}

static void slots_init(struct entries_head *head, const struct entries_plan *plan,
		       const cpu_set_t *online)
{
	unsigned int queue, n, i = 0;

	for (queue = 0; queue < plan->n_queues; ++queue) {
		for (n = CPU_ISSET(queue, online) ? plan->depth : 1; n > 0; --n)
			head->slots[i++].queue = queue;
	}
}

static int head_init(int fd, const struct entries_plan *plan, const cpu_set_t *online)
{
	struct entries_head *head = MAP_FAILED;
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(addresses) && head == MAP_FAILED; ++i)
		head = map_at(addresses[i], fd, plan->n_bytes, 0);
	if (head == MAP_FAILED)
		return -errno;
	head->n_entries = plan->n_entries;
	head->n_queues = plan->n_queues;
	head->depth = plan->depth;
	head->n_payload = (uint32_t)plan->n_payload;
	head->address = (uintptr_t)head;
	head->n_bytes = plan->n_bytes;
	slots_init(head, plan, online);
	head->version = ENTRIES_VERSION;
	munmap(head, plan->n_bytes);
	return 0;
}

int entries_make(const struct entries_plan *plan, const cpu_set_t *online)
{
	int fd, r;

	fd = memfd_create(NAME, MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = ftruncate(fd, (off_t)plan->n_bytes) < 0 ? -errno : head_init(fd, plan, online);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

struct entries_head *entries_look(int fd)
{
	struct entries_head *head;
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(*head))
		return NULL;
	head = mmap(NULL, sizeof(*head), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return head == MAP_FAILED ? NULL : head;
}

int entries_map(struct entries_head **headp, int fd)
{
	struct entries_head *look = entries_look(fd), *head;
	uint64_t address, n_bytes;

	if (!look)
		return -EINVAL;
	address = look->version == ENTRIES_VERSION ? look->address : 0;
	n_bytes = look->n_bytes;
	munmap(look, sizeof(*look));
	if (address == 0)
		return -EPROTONOSUPPORT;

	head = map_at(address, fd, n_bytes, MAP_POPULATE);
	if (head == MAP_FAILED)
		return -errno;
	/* A child has nothing to do with what is under way. */
	(void)madvise(head, n_bytes, MADV_DONTFORK);
	(void)madvise(head, n_bytes, MADV_DONTDUMP);
	*headp = head;
	return 0;
}

struct entries_head *entries_unmap(struct entries_head *head)
{
	if (head)
		munmap(head, head->n_bytes);
	return NULL;
}

int entries_lock(struct entries_head *head)
{
	return mlock(head, head->n_bytes) < 0 ? -errno : 0;
}

static uint8_t *entry_at(struct entries_head *head, unsigned int i)
{
	return (uint8_t *)head + slots_bytes(head->n_entries) +
	       (size_t)i * (HEAD_BYTES + head->n_payload);
}

struct uring_head *entry_head(struct entries_head *head, unsigned int i)
{
	return (struct uring_head *)entry_at(head, i);
}

uint8_t *entry_payload(struct entries_head *head, unsigned int i)
{
	return entry_at(head, i) + HEAD_BYTES;
}

size_t entry_request(struct entries_head *head, unsigned int i, const uint8_t **requestp)
{
	const struct uring_head *from = entry_head(head, i);
	const size_t n_payload = from->entry.n_payload;
	struct fuse_in_header in;
	size_t n_arguments;
	uint8_t *to;

	memcpy(&in, from->in_out, sizeof(in));
	if (n_payload > head->n_payload || in.len < sizeof(in) + n_payload)
		return 0;
	n_arguments = in.len - sizeof(in) - n_payload;
	if (n_arguments > URING_OP_BYTES || n_arguments % 8 != 0)
		return 0;

	to = entry_payload(head, i) - n_arguments - sizeof(in);
	memcpy(to, &in, sizeof(in));
	memcpy(to + sizeof(in), from->op_in, n_arguments);
	*requestp = to;
	return in.len;
}

int entry_answer(struct entries_head *head, unsigned int i, const struct iovec *parts,
		 unsigned int n_parts)
{
	struct uring_head *to = entry_head(head, i);
	uint8_t *payload = entry_payload(head, i);
	size_t n_payload = 0;
	unsigned int k;

	for (k = 1; k < n_parts; ++k)
		n_payload += parts[k].iov_len;
	if (parts[0].iov_len != sizeof(struct fuse_out_header) || n_payload > head->n_payload)
		return -EMSGSIZE;

	memcpy(to->in_out, parts[0].iov_base, sizeof(struct fuse_out_header));
	to->entry.n_payload = (uint32_t)n_payload;
	for (k = 1; k < n_parts; ++k) {
		if (parts[k].iov_len > 0 && parts[k].iov_base != payload)
			memmove(payload, parts[k].iov_base, parts[k].iov_len);
		payload += parts[k].iov_len;
	}
	return 0;
}

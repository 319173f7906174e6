/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "hello.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <string.h>

#include "answer.h"
#include "base.h"
#include "uring-abi.h"

/* In flags and flags2 of FUSE_INIT. */
#define INIT_HAS_FLAGS2 (UINT32_C(1) << 30)
#define INIT_HAS_RESEND (UINT64_C(1) << 39) /* Linux 6.9 */

struct init_reply {
	struct fuse_out_header header;
	struct fuse_init_out out;
};

struct init_request {
	struct fuse_in_header header;
	struct fuse_init_in in;
};

/* What the calling thread has libfuse do. */
static _Thread_local struct {
	struct shelf_init *init; /* NULL: nothing about this */
	bool is_replay;
	bool was_same;
} now;

/* The bytes of a reply, one after another. Return: how many; 0 if they are too many. */
static uint32_t joined(uint8_t reply[SHELF_INIT_BYTES], const struct iovec *parts, int n_parts)
{
	uint32_t n_bytes = 0;
	int i;

	for (i = 0; i < n_parts; ++i) {
		if (parts[i].iov_len > SHELF_INIT_BYTES - n_bytes)
			return 0;
		memcpy(reply + n_bytes, parts[i].iov_base, parts[i].iov_len);
		n_bytes += (uint32_t)parts[i].iov_len;
	}
	return n_bytes;
}

static void reply_keep(struct shelf_init *init, const uint8_t *reply, uint32_t n_reply)
{
	memcpy(init->reply, reply, n_reply);
	atomic_store(&init->n_reply, n_reply); /* last: then it is whole */
}

/* What binds the kernel, and us. A library of another version calls itself otherwise, and may want
 * more: it was offered no more than the first one took. */
static bool is_same_reply(const struct shelf_init *init, const uint8_t *reply, uint32_t n_reply)
{
	struct init_reply said = { 0 }, kept = { 0 };

	memcpy(&said, reply, zr_min(n_reply, sizeof(said)));
	memcpy(&kept, init->reply, zr_min(atomic_load(&init->n_reply), sizeof(kept)));
	return said.out.major == kept.out.major && said.out.max_write == kept.out.max_write &&
	       said.out.max_pages == kept.out.max_pages &&
	       said.out.time_gran == kept.out.time_gran &&
	       (said.out.flags & kept.out.flags) == kept.out.flags &&
	       (said.out.flags2 & kept.out.flags2) == kept.out.flags2;
}

static uint64_t flags_offered(const struct shelf_init *init)
{
	struct fuse_init_in in = { 0 };
	uint64_t flags;

	if (atomic_load(&init->n_request) < sizeof(struct fuse_in_header) + sizeof(in))
		return 0;
	memcpy(&in, init->request + sizeof(struct fuse_in_header), sizeof(in));
	flags = in.flags;
	if (in.flags & INIT_HAS_FLAGS2)
		flags |= (uint64_t)in.flags2 << 32;
	return flags;
}

static void uring_accept(uint8_t *reply, uint32_t n_reply)
{
	struct init_reply said;

	if (n_reply < sizeof(said))
		return;
	memcpy(&said, reply, sizeof(said));
	said.out.flags |= INIT_HAS_FLAGS2;
	said.out.flags2 |= (uint32_t)(URING_INIT_FLAG >> 32);
	memcpy(reply, &said, sizeof(said));
}

ssize_t hello_writev(struct rings *rings, int fd, const struct iovec *parts, int n_parts)
{
	const struct fuse_out_header *header = parts[0].iov_base;
	uint8_t reply[SHELF_INIT_BYTES];
	const struct iovec changed = { reply, header->len };
	uint32_t n_reply;

	if (!now.init)
		return answer_send(rings, fd, parts, n_parts);

	n_reply = header->error == 0 ? joined(reply, parts, n_parts) : 0;
	if (rings && hello_offers_uring(now.init))
		uring_accept(reply, n_reply);
	/* Before the kernel knows it. Who died in between had nothing to compare with, either. */
	if (n_reply > 0 && atomic_load(&now.init->n_reply) == 0)
		reply_keep(now.init, reply, n_reply);
	if (!now.is_replay)
		return n_reply > 0 ? answer_send(NULL, fd, &changed, 1)
				   : answer_send(NULL, fd, parts, n_parts);
	now.was_same = n_reply > 0 && is_same_reply(now.init, reply, n_reply);
	return header->len;
}

static void let_libfuse(struct shelf_init *init, struct fuse_session *session,
			const uint8_t *request, size_t n_request, bool is_replay)
{
	const struct fuse_buf buffer = { .mem = (void *)request, .size = n_request };

	now.init = init;
	now.is_replay = is_replay;
	now.was_same = false;
	fuse_session_process_buf(session, &buffer);
	now.init = NULL;
}

/* The worker that read it died before it answered. */
static void answer_again(struct shelf_init *init, int fd, uint64_t unique)
{
	uint8_t reply[SHELF_INIT_BYTES];
	struct iovec part = { .iov_base = reply, .iov_len = atomic_load(&init->n_reply) };
	struct fuse_out_header header;

	memcpy(reply, init->reply, part.iov_len);
	memcpy(&header, reply, sizeof(header));
	header.unique = unique;
	memcpy(reply, &header, sizeof(header));
	(void)writev(fd, &part, 1); /* nobody to tell */
}

void hello_serve(struct shelf_init *init, struct fuse_session *session, int fd,
		 const uint8_t *request, size_t n_request)
{
	const struct fuse_in_header *header = (const struct fuse_in_header *)request;

	if (atomic_load(&init->n_reply) > 0) {
		answer_again(init, fd, header->unique);
		return;
	}
	if (n_request <= SHELF_INIT_BYTES) {
		memcpy(init->request, request, n_request);
		atomic_store(&init->n_request, (uint32_t)n_request);
	}
	let_libfuse(init, session, request, n_request, false);
}

/* Offer no more than was taken: another version of libfuse would take more. */
static void offer_reduce(const struct shelf_init *init, uint8_t *request, uint32_t n_request)
{
	struct init_request offer;
	struct init_reply kept;

	if (n_request < sizeof(offer) || atomic_load(&init->n_reply) < sizeof(kept))
		return;
	memcpy(&offer, request, sizeof(offer));
	memcpy(&kept, init->reply, sizeof(kept));
	offer.in.flags &= kept.out.flags | INIT_HAS_FLAGS2;
	offer.in.flags2 &= kept.out.flags2;
	memcpy(request, &offer, sizeof(offer));
}

int hello_replay(struct shelf_init *init, struct fuse_session *session)
{
	const uint32_t n_request = atomic_load(&init->n_request);
	uint8_t request[SHELF_INIT_BYTES];

	if (n_request == 0)
		return -ENOENT;
	memcpy(request, init->request, n_request);
	offer_reduce(init, request, n_request);
	let_libfuse(init, session, request, n_request, true);
	return now.was_same ? 0 : -EPROTO;
}

bool hello_can_resend(const struct shelf_init *init)
{
	return flags_offered(init) & INIT_HAS_RESEND;
}

bool hello_offers_uring(const struct shelf_init *init)
{
	return flags_offered(init) & URING_INIT_FLAG;
}

bool hello_uses_uring(const struct shelf_init *init)
{
	struct init_reply said = { 0 };

	memcpy(&said, init->reply, zr_min(atomic_load(&init->n_reply), sizeof(said)));
	return said.out.flags2 & (uint32_t)(URING_INIT_FLAG >> 32);
}

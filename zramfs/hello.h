#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Hello: what the kernel asks first, and what it is told
 *
 * FUSE_INIT comes once in the life of a mount. The first generation keeps it and its answer in the
 * shelf; the next ones tell libfuse the same and keep the answer to themselves, which must be what
 * it was: the kernel goes by it.
 *
 * Ownership: the shelf's.
 * Locking:   none: it comes before all others.
 * Errors:    -ENOENT where it never came, -EPROTO where the answer would be another.
 * Cost:      none.
 */

#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "shelf.h"

struct rings;

/* Serve a FUSE_INIT that was read from @fd. */
void hello_serve(struct shelf_init *init, struct fuse_session *session, int fd,
		 const uint8_t *request, size_t n_request);

/* Tell libfuse what was asked. */
int hello_replay(struct shelf_init *init, struct fuse_session *session);

/* Did the kernel say that requests can come over io_uring? */
bool hello_offers_uring(const struct shelf_init *init);

/* And was it told that they do? */
bool hello_uses_uring(const struct shelf_init *init);

/* Did the kernel say that it can send requests again? */
bool hello_can_resend(const struct shelf_init *init);

/* For whatever libfuse answers, with anything: as answer_send(). Where there are rings the kernel is
 * told so, which libfuse does not know of. */
ssize_t hello_writev(struct rings *rings, int fd, const struct iovec *parts, int n_parts);

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "answer.h"

#include <linux/fuse.h>

#include "order.h"
#include "rings.h"

ssize_t answer_send(struct rings *rings, int fd, const struct iovec *parts, int n_parts)
{
	/* The rest may be the kernel's as soon as it is known to be an answer. */
	const ssize_t n_bytes = ((const struct fuse_out_header *)parts[0].iov_base)->len;

	order_reply();
	if (rings && rings_answer(rings, parts, (unsigned int)n_parts))
		return n_bytes;
	return writev(fd, parts, n_parts);
}

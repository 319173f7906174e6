#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Uring ABI: what the kernel and we lay out for FUSE over io_uring
 *
 * Linux 6.14 and later; headers of systems are older. An entry is two pieces of our memory, a head
 * and a payload, which the kernel keeps the addresses of from when it is registered. A request is
 * its header in in_out, the first of its arguments in op_in, the rest in the payload; an answer is
 * its header in in_out and all else in the payload.
 *
 * Ownership: none.
 * Locking:   none.
 * Errors:    none.
 * Cost:      none.
 */

#include <stdint.h>

/* Of FUSE_INIT, in flags and flags2 together: offered by the kernel, and taken. */
#define URING_INIT_FLAG (UINT64_C(1) << 41)

#define URING_IN_OUT_BYTES 128u
#define URING_OP_BYTES     128u

enum uring_command_no {
	URING_REGISTER = 1, /* here is an entry */
	URING_COMMIT = 2,   /* here is an answer; another request, please */
};

struct uring_entry_head {
	uint64_t flags;
	uint64_t commit_id; /* to be said when it is answered */
	uint32_t n_payload;
	uint32_t unused;
	uint64_t reserved;
};

struct uring_head {
	uint8_t in_out[URING_IN_OUT_BYTES];
	uint8_t op_in[URING_OP_BYTES];
	struct uring_entry_head entry;
};

/* In the second half of the submission. */
struct uring_command {
	uint64_t flags;
	uint64_t commit_id;
	uint16_t queue;
	uint8_t unused[6];
};

_Static_assert(sizeof(struct uring_entry_head) == 32, "as the kernel has it");
_Static_assert(sizeof(struct uring_head) == 288, "as the kernel has it");
_Static_assert(sizeof(struct uring_command) == 24, "as the kernel has it");

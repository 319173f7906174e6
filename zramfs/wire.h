#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Wire: what keeper and worker tell each other
 *
 * Whole messages over a pair of sockets, some with a descriptor. The other end may be another
 * version of this program: kinds stay what they are, and the size of a message too.
 *
 *   worker to keeper                               keeper to worker
 *     STANDBY   all is there; waits                  PREPARE  map the store; another still serves
 *     PREPARED  the store is mapped and locked;      SERVE    begin; of a fault: error is a signal
 *               who serves: has all it needs
 *     READY     serves                               RELOAD   read the configuration again
 *     REFUSED   cannot: error, text                  TERMINATE end, unless a disk is in use
 *     CONFIG    fd: what was read last               DRAIN    finish what is in hand, and exit
 *     UPGRADE   fd: a binary                         UPGRADED  it went as error and text say
 *     BACKING   fd: a backing file, of the index     FOLLOW   the store has grown
 *               that value is; none: it went         BACKED   fd, value: as BACKING
 *     RELOADED  the configuration was read;          TELL     say what you have: CONFIG, BACKING,
 *               error: it was not taken over                  TOLD
 *     TOLD      that was all
 *     DRAINED   all that it has read is answered; it exits
 *
 * Ownership: a descriptor that came with a message is the receiver's.
 * Locking:   one thread each end reads; any may send.
 * Errors:    -EPIPE when the other end is gone, -EAGAIN when nothing is there, -EPROTO.
 * Cost:      a system call.
 */

#include <stdint.h>
#include <sys/socket.h>

enum wire_kind {
	WIRE_STANDBY = 1,
	WIRE_PREPARED = 2,
	WIRE_READY = 3,
	WIRE_REFUSED = 4,
	WIRE_CONFIG = 5,
	WIRE_UPGRADE = 6,
	WIRE_BACKING = 7,
	WIRE_RELOADED = 8,
	WIRE_TOLD = 9,
	WIRE_DRAINED = 10,
	WIRE_PREPARE = 16,
	WIRE_SERVE = 17,
	WIRE_RELOAD = 18,
	WIRE_TERMINATE = 19,
	WIRE_DRAIN = 20,
	WIRE_UPGRADED = 21,
	WIRE_FOLLOW = 22,
	WIRE_BACKED = 23,
	WIRE_TELL = 24,
};

#define WIRE_TEXT_MAX 240u

struct wire_message {
	uint32_t kind; /* enum wire_kind */
	int32_t error; /* 0, an errno, or a signal */
	uint64_t
		value; /* SERVE: the number of the generation; READY: of requests found to be poison;
			  BACKING, BACKED: an index */
	char text[WIRE_TEXT_MAX];
	uint32_t version; /* of what both ends keep in the store: SHELF_VERSION */
	uint32_t more;    /* READY: PREPARED will follow */
};

/* Two ends, closed on exec. */
int wire_pair(int ends[2]);

/* Never waits: an end that does not read is as good as gone. @fd: -1 for none. */
int wire_send(int end, const struct wire_message *message, int fd);

/* Short for a message without more. */
int wire_say(int end, enum wire_kind kind);

/* Room for a descriptor that goes with a message. */
union wire_rights {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/* To a message over any such socket. */
void wire_attach(struct msghdr *header, union wire_rights *rights, int fd);

/* *fdp is -1 if none came. Return: 0; -EAGAIN, -EPIPE, -EPROTO. */
int wire_receive(int end, struct wire_message *message, int *fdp);

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "wire.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "shelf.h"

_Static_assert(sizeof(struct wire_message) == 264, "the other end may be of another version");

int wire_pair(int ends[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0;
}

void wire_attach(struct msghdr *header, union wire_rights *control, int fd)
{
	struct cmsghdr *cmsg;

	memset(control, 0, sizeof(*control));
	header->msg_control = control->bytes;
	header->msg_controllen = sizeof(control->bytes);
	cmsg = CMSG_FIRSTHDR(header);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
}

int wire_send(int end, const struct wire_message *message, int fd)
{
	struct wire_message sent = *message;
	struct iovec iov = { &sent, sizeof(sent) };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };
	union wire_rights control;
	ssize_t n;

	sent.version = SHELF_VERSION;
	if (fd >= 0)
		wire_attach(&header, &control, fd);
	do
		n = sendmsg(end, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int wire_say(int end, enum wire_kind kind)
{
	const struct wire_message message = { .kind = kind };

	return wire_send(end, &message, -1);
}

/* Return: the descriptor that came, or -1. No more than one fits. */
static int detach_fd(struct msghdr *header)
{
	const struct cmsghdr *cmsg = CMSG_FIRSTHDR(header);
	int fd = -1;

	if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS &&
	    cmsg->cmsg_len == CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

int wire_receive(int end, struct wire_message *message, int *fdp)
{
	struct wire_message received;
	struct iovec iov = { &received, sizeof(received) };
	union wire_rights control;
	struct msghdr header = { .msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes) };
	ssize_t n;
	int fd;

	/* One that died without having read all says so first, and once; what it sent is still there. */
	do
		n = recvmsg(end, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n == 0)
		return -EPIPE;
	if (n < 0)
		return -EAGAIN; /* nothing there, or no memory to receive it now */

	fd = detach_fd(&header);
	if (n != sizeof(received)) {
		if (fd >= 0)
			close(fd);
		return -EPROTO;
	}
	received.text[WIRE_TEXT_MAX - 1] = 0;
	*message = received;
	*fdp = fd;
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "channel.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Return: false when there will be no more requests. */
static bool serve_one(struct fuse_session *session, struct fuse_buf *request)
{
	int r;

	r = fuse_session_receive_buf(session, request);
	if (r == -EINTR || r == -EAGAIN)
		return true;
	if (r <= 0) /* 0: unmounted */
		return false;

	fuse_session_process_buf(session, request);
	return true;
}

static void channel_main(void *context)
{
	struct channel *channel = context;
	struct fuse_buf request = { 0 };
	const uint64_t one = 1;

	while (!fuse_session_exited(channel->session) && serve_one(channel->session, &request))
		;

	free(request.mem);
	if (atomic_fetch_sub(&channel->n_serving, 1) == 1 &&
	    write(channel->ended, &one, sizeof(one)) < 0)
		abort(); /* an eventfd takes a 1 */
}

int channel_start(struct channel *channel, struct fuse_session *session, unsigned int n_threads)
{
	int r;

	channel->session = session;
	channel->ended = eventfd(0, EFD_CLOEXEC);
	if (channel->ended < 0)
		return -errno;

	atomic_init(&channel->n_serving, n_threads);
	for (channel->n_threads = 0; channel->n_threads < n_threads; ++channel->n_threads) {
		r = thread_start(&channel->threads[channel->n_threads], "zramfs-serve",
				 channel_main, channel);
		if (r < 0)
			return r; /* the caller ends the process: the others block in read */
	}
	return 0;
}

void channel_join(struct channel *channel)
{
	unsigned int i;

	for (i = 0; i < channel->n_threads; ++i)
		pthread_join(channel->threads[i], NULL);
	close(channel->ended);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "stream.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct stream {
	const struct zr_attr *attr; /* constant */
	pthread_mutex_t lock;
	/* protected by lock */
	uint64_t cursor; /* the attribute's */
	uint64_t offset; /* of the text, where it goes on */
	size_t n_rest;   /* text that was made and not yet asked for */
	char rest[STREAM_ROOM];
};

int stream_new(struct stream **streamp, const struct zr_attr *attr)
{
	struct stream *stream;

	stream = calloc(1, sizeof(*stream));
	if (!stream)
		return -ENOMEM;
	stream->attr = attr;
	pthread_mutex_init(&stream->lock, NULL);
	*streamp = stream;
	return 0;
}

struct stream *stream_free(struct stream *stream)
{
	if (!stream)
		return NULL;
	pthread_mutex_destroy(&stream->lock);
	free(stream);
	return NULL;
}

static void begin_locked(struct stream *stream)
{
	stream->cursor = 0;
	stream->offset = 0;
	stream->n_rest = 0;
}

/* Lines, until there are @n_bytes or all. With STREAM_ROOM more there is always room for one. */
static ssize_t make_locked(struct stream *stream, const struct zr_attr_target *target, char *bytes,
			   size_t n_bytes)
{
	size_t n_made = stream->n_rest;
	int r = 1;

	memcpy(bytes, stream->rest, stream->n_rest);
	while (r > 0 && n_made < n_bytes) {
		r = stream->attr->stream(target, &stream->cursor, bytes + n_made,
					 n_bytes + STREAM_ROOM - n_made);
		if (r > 0)
			n_made += (size_t)r;
	}
	/* An error is said by the read that finds nothing before it. */
	return r < 0 && n_made == 0 ? r : (ssize_t)n_made;
}

static ssize_t read_locked(struct stream *stream, const struct zr_attr_target *target, char *bytes,
			   size_t n_bytes)
{
	ssize_t n_made;
	size_t n_read;

	n_made = make_locked(stream, target, bytes, n_bytes);
	if (n_made < 0)
		return n_made;

	n_read = zr_min((size_t)n_made, n_bytes);
	stream->n_rest = (size_t)n_made - n_read;
	memcpy(stream->rest, bytes + n_read, stream->n_rest);
	stream->offset += n_read;
	return (ssize_t)n_read;
}

ssize_t stream_read(struct stream *stream, const struct zr_attr_target *target, uint64_t offset,
		    char *bytes, size_t n_bytes)
{
	ssize_t r = -EINVAL;

	pthread_mutex_lock(&stream->lock);
	if (offset == 0)
		begin_locked(stream);
	if (offset == stream->offset)
		r = read_locked(stream, target, bytes, n_bytes);
	pthread_mutex_unlock(&stream->lock);
	return r;
}

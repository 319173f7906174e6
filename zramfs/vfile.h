#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Vfile: the text of virtual files
 *
 * Text is rendered whole when a file is opened, so that what is read in pieces is one moment's. A
 * control write is one write(2) at offset 0 whose errno is the answer; a trailing newline is
 * ignored; it is done as a job.
 *
 * Ownership: the text is its handle's.
 * Locking:   none here.
 * Errors:    the kernel's for the attribute, -EINVAL for a write in pieces.
 * Cost:      rendering allocates.
 */

#include "fs.h"

/* Render what opening @node shows. Return: 0 or -errno; *textp is to be freed. */
int vfile_render(struct fs *fs, uint64_t node, char **textp, size_t *n_textp);

/* May @node be opened like that? Return: 0, -EACCES or -ENOENT. */
int vfile_permit(struct fs *fs, uint64_t node, int open_flags);

/* Permission bits; 0 for no such node. */
unsigned int vfile_mode(uint64_t node);

/* Answer a read from what was rendered. */
void vfile_read(fuse_req_t req, const struct handle *handle, size_t n_bytes, off_t offset);

/* Answer a control write, later. @open_flags: what is appended comes with an offset, which then
 * means nothing, as in sysfs. */
void vfile_write(fuse_req_t req, uint64_t node, const char *bytes, size_t n_bytes, off_t offset,
		 int open_flags);

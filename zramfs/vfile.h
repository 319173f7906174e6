#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Vfile: the text of virtual files
 *
 * Text is rendered whole when a file is opened, so that what is read in pieces is one moment's;
 * only what is too long for that is made while it is read (stream.h). Text dies with its worker: it
 * is rendered again for who reads from the beginning, and ends where it ended; in between there is
 * nothing to go on with. A control write is one
 * write(2) at offset 0 whose errno is the answer; a trailing newline is ignored; it is done as a
 * job, and what may take long can be interrupted. Of two writes to one file the second waits in the
 * kernel, which locks the inode, and there nothing interrupts it; as with sysfs.
 *
 * Ownership: the text is its handle's.
 * Locking:   none here.
 * Errors:    the kernel's for the attribute, -EINVAL for a write in pieces; -ESTALE for going on
 *            with text that is gone.
 * Cost:      rendering allocates.
 */

#include "request.h"

/* Does opening @node like that take long, for what is to be shown? */
bool vfile_opens_long(uint64_t node, int open_flags);

/* Open the virtual file that @op asks for: may it be, and what will it show? Return: 0, -EACCES,
 * -ENOENT, or an errno of the attribute. */
int vfile_open(struct fs *fs, struct op *op, uint64_t *fhp);

/* Answer a read, from what was rendered, or later. */
void vfile_read(fuse_req_t req, uint64_t node, size_t n_bytes, off_t offset,
		const struct fuse_file_info *fi);

/* Answer a control write, later. With O_APPEND the offset means nothing, as in sysfs. */
void vfile_write(fuse_req_t req, uint64_t node, const char *bytes, size_t n_bytes, off_t offset,
		 const struct fuse_file_info *fi);

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "backing-mark.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backing.h"
#include "blocks.h"

_Static_assert(BACKING_MARK_BYTES == ZR_BLOCK_BYTES, "the engine leaves the first block alone");

int backing_mark_read(int fd, struct backing_mark *mark)
{
	int r;

	r = blocks_read(fd, blocks_are_direct(fd), 0, mark, sizeof(*mark));
	if (r == 0 && mark->version != BACKING_MARK_VERSION)
		memset(&mark->version, 0, sizeof(*mark) - sizeof(mark->text));
	return r;
}

bool backing_mark_is_ours(const struct backing_mark *mark)
{
	return memcmp(mark->text, ZR_BACKING_TITLE, strlen(ZR_BACKING_TITLE)) == 0;
}

void backing_mark_make(struct backing_mark *mark, const struct zr_backing_record *record,
		       uint32_t flags, uint64_t written_bytes)
{
	*mark = (struct backing_mark){ .version = BACKING_MARK_VERSION,
				       .flags = flags,
				       .inode = record->inode,
				       .size_bytes = record->size_bytes,
				       .written_bytes = written_bytes };
	memcpy(mark->nonce, record->nonce, sizeof(mark->nonce));
	snprintf(mark->text, sizeof(mark->text),
		 ZR_BACKING_TITLE
		 "%u\n"
		 "Pages of RAM disks are here while zramfs runs; afterwards it is nobody's.\n"
		 "%" PRIu64 " bytes, %s. There is nothing to mount.\n",
		 BACKING_MARK_VERSION, record->size_bytes,
		 flags & BACKING_MARK_IN_USE ? "in use" : "free");
}

int backing_mark_write(int fd, const struct backing_mark *mark)
{
	return blocks_write(fd, blocks_are_direct(fd), 0, mark, sizeof(*mark));
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "look.h"

#include <errno.h>

/* Leaves looked for in one go, of which most may be absent: the shape is held meanwhile. */
#define WINDOW_LEAVES UINT64_C(65536)

int zr_look_find_locked(struct zr_look *look)
{
	struct zr_disk *disk = look->disk;
	uint64_t n_leaves, end;

	zr_assert_held(ZR_RANK_DISK);

	if (disk->removed)
		return -ESTALE;
	if (zr_disk_size(disk) == 0)
		return -EINVAL;

	n_leaves = zr_align_up(zr_disk_size(disk), ZR_LEAF_SLOTS * ZR_PAGE_SIZE) >>
		   (ZR_LEAF_SHIFT + ZR_PAGE_SHIFT);
	if (look->leaf_no >= n_leaves)
		return 0;

	end = zr_min(n_leaves, look->leaf_no + WINDOW_LEAVES);
	look->there = zr_slots_next_leaf(&disk->pages.slots, look->leaf_no, end, &look->leaf_no);
	if (!look->there)
		look->leaf_no = end;
	return 1;
}

int zr_look_on(struct zr_look *look)
{
	int r;

	ZR_GUARD_SHARED(&look->disk->shape);

	r = zr_look_find_locked(look);
	if (r <= 0 || !look->there)
		return r;
	look->there = zr_pages_copy_leaf(&look->disk->pages, look->leaf_no, look->slots);
	look->first = look->leaf_no++ << ZR_LEAF_SHIFT;
	return 1;
}

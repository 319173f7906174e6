/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * lzo and lzo-rle
 *
 * The kernel's lzo-rle is lzo1x-1 with an escape for runs of zeros that liblzo2 does not have, and
 * whose bytes nobody outside the kernel sees. Both names are lzo1x-1 here, so that what is written
 * for zram finds its algorithm.
 */

#include "codec.h"

#include <errno.h>
#include <lzo/lzo1x.h>
#include <pthread.h>

#include "check.h"

_Static_assert(ZR_PAGE_SIZE + ZR_PAGE_SIZE / 16 + 67 <= ZR_CODEC_BOUND, "the bound holds for lzo");

static pthread_once_t lzo_once = PTHREAD_ONCE_INIT;
static int lzo_init_result = LZO_E_ERROR;

static void lzo_init_once(void)
{
	lzo_init_result = lzo_init();
}

static size_t lzo_workspace_bytes(void)
{
	return LZO1X_1_MEM_COMPRESS;
}

/* The library checks how it was compiled against how we were. The memory it clears by itself. */
static int lzo_setup(void *workspace)
{
	if (pthread_once(&lzo_once, lzo_init_once) || lzo_init_result != LZO_E_OK)
		return -EIO;

	return 0;
}

static int lzo_compress(void *workspace, int32_t level, const void *page, void *dst, size_t limit,
			size_t *n_dstp)
{
	lzo_uint n = 0;
	int r;

	r = lzo1x_1_compress(page, ZR_PAGE_SIZE, dst, &n, workspace);
	if (r != LZO_E_OK || n > limit)
		return ZR_CODEC_E_NO_GAIN;

	*n_dstp = n;
	return 0;
}

static int lzo_decompress(void *workspace, const void *src, size_t n_src, void *page)
{
	lzo_uint n = ZR_PAGE_SIZE;
	int r;

	/* LZO's own codes are small negative numbers; forwarded they would read as errnos. */
	r = lzo1x_decompress_safe(src, n_src, page, &n, NULL);
	if (r != LZO_E_OK || n != ZR_PAGE_SIZE)
		return -EIO;

	return 0;
}

const struct zr_codec zr_codec_lzo = {
	.name = "lzo",
	.workspace_bytes = lzo_workspace_bytes,
	.setup = lzo_setup,
	.compress = lzo_compress,
	.decompress = lzo_decompress,
};

const struct zr_codec zr_codec_lzo_rle = {
	.name = "lzo-rle",
	.workspace_bytes = lzo_workspace_bytes,
	.setup = lzo_setup,
	.compress = lzo_compress,
	.decompress = lzo_decompress,
};

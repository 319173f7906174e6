/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "sweep.h"

#include <errno.h>

#include "look.h"

#define BAND_BYTES_STRICT 64u
#define BAND_BYTES        256u
#define BANDS_MAX         (ZR_PAGE_SIZE / BAND_BYTES_STRICT)

struct sweep {
	struct zr_disk *disk;
	const struct zr_sweep_filter *filter;
	const struct zr_stop *stop;
	int64_t asked_ns;
	uint32_t band_bytes;
	bool in_band[BANDS_MAX]; /* there is an object of the filter's */
};

bool zr_sweep_takes(const struct zr_sweep_filter *filter, zr_slot slot)
{
	const uint32_t n_bytes = zr_slot_bytes(slot);
	unsigned int types;

	if (zr_slot_kind(slot) != ZR_SLOT_KIND_OBJECT || n_bytes < filter->min_bytes)
		return false;
	if (filter->codecs_mask != 0 && !(filter->codecs_mask >> zr_slot_codec(slot) & 1))
		return false;

	types = slot & ZR_SLOT_INCOMPRESSIBLE ? ZR_SWEEP_INCOMPRESSIBLE : ZR_SWEEP_COMPRESSIBLE;
	if (slot & ZR_SLOT_IDLE)
		types |= ZR_SWEEP_IDLE;
	if (n_bytes == ZR_PAGE_SIZE)
		types |= ZR_SWEEP_HUGE;
	return (filter->types & ~types) == 0;
}

static unsigned int band_of(const struct sweep *sweep, zr_slot slot)
{
	return (zr_slot_bytes(slot) - 1) / sweep->band_bytes;
}

static bool is_stopped(struct sweep *sweep)
{
	return zr_stop_is_wanted_at(sweep->stop, zr_monotonic_ns(), &sweep->asked_ns);
}

/* Which bands have anything? */
static int find_bands(struct sweep *sweep)
{
	struct zr_look look = { .disk = sweep->disk };
	unsigned int i;
	int r;

	while ((r = zr_look_on(&look)) > 0) {
		if (is_stopped(sweep))
			return -EINTR;
		for (i = 0; look.there && i < ZR_LEAF_SLOTS; ++i) {
			if (zr_sweep_takes(sweep->filter, look.slots[i]))
				sweep->in_band[band_of(sweep, look.slots[i])] = true;
		}
	}
	return r;
}

/* Return: 1 if the visitor ended it, 0, or negative. */
static int visit_leaf(struct sweep *sweep, const struct zr_look *look, unsigned int band,
		      zr_sweep_visit *visit, void *context)
{
	unsigned int i;
	int r = 0;

	for (i = 0; r == 0 && i < ZR_LEAF_SLOTS; ++i) {
		const zr_slot slot = look->slots[i];

		if (!zr_sweep_takes(sweep->filter, slot) || band_of(sweep, slot) != band)
			continue;
		r = is_stopped(sweep) ? -EINTR : visit(context, look->first + i, slot);
	}
	return r;
}

static int visit_band(struct sweep *sweep, unsigned int band, zr_sweep_visit *visit, void *context)
{
	struct zr_look look = { .disk = sweep->disk };
	int r;

	while ((r = zr_look_on(&look)) > 0) {
		if (is_stopped(sweep))
			return -EINTR;
		r = look.there ? visit_leaf(sweep, &look, band, visit, context) : 0;
		if (r != 0)
			return r;
	}
	return r;
}

int zr_sweep(struct zr_disk *disk, const struct zr_sweep_filter *filter, bool strict,
	     const struct zr_stop *stop, zr_sweep_visit *visit, void *context)
{
	struct sweep sweep = { .disk = disk,
			       .filter = filter,
			       .stop = stop,
			       .band_bytes = strict ? BAND_BYTES_STRICT : BAND_BYTES };
	unsigned int band;
	int r;

	r = find_bands(&sweep);
	for (band = BANDS_MAX; r == 0 && band > 0; --band) {
		if (sweep.in_band[band - 1])
			r = visit_band(&sweep, band - 1, visit, context);
	}
	return r < 0 ? r : 0;
}

#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What tests of the daemon's parts share: a store with a shelf, and generations of it. A death
 * leaves what lies in the store and nothing else.
 */

#include "rig.h"

#include "handles.h"
#include "shelf.h"

struct daemon_rig {
	struct rig rig;
	struct shelf *shelf;
	struct handles handles;
};

static inline void daemon_begin(struct daemon_rig *d)
{
	CHECK(shelf_get(&d->shelf, d->rig.store) == 0);
	CHECK(handles_init(&d->handles, d->rig.store, d->shelf) == 0);
}

static inline void daemon_init(struct daemon_rig *d)
{
	rig_init(&d->rig);
	daemon_begin(d);
}

/* Death, and the next generation. */
static inline void daemon_again(struct daemon_rig *d)
{
	handles_deinit(&d->handles, true);
	rig_reattach(&d->rig);
	daemon_begin(d);
}

static inline void daemon_deinit(struct daemon_rig *d)
{
	handles_deinit(&d->handles, false);
	rig_deinit(&d->rig);
}

#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Loading: a configuration on its way
 *
 * What the files that give sections their meaning share.
 *
 * Ownership: the sections are the loading's, the configuration is handed over.
 * Locking:   none; one thread.
 * Errors:    as config.h.
 * Cost:      a few KiB, once.
 */

#include "config.h"
#include "sections.h"

struct loading {
	struct config *config;
	struct sections sections;
	struct naming ignored;  /* what means nothing here */
	struct naming not_made; /* disks */
};

/* compcache: values in KiB. Into what a section or the top of the file is to be. */
int compcache_apply(struct loading *loading, struct zr_disk_spec *spec,
		    const struct section *section);

/* num_devices, 0 if it is not said. *recordp is where it is said. */
int compcache_disks(const struct loading *loading, unsigned int *n_disksp,
		    const struct record **recordp);

/* zram-generator: what a section zram<N> is before its keys say anything. @spec: the defaults. */
void generator_defaults(const struct loading *loading, struct zr_disk_spec *spec);

enum {
	GENERATOR_E_NOT_MADE = 1, /* the disk is not to be; loading->not_made has the reason */
};

/* What keys of zram-generator say of a disk. */
int generator_apply(struct loading *loading, struct zr_disk_spec *spec,
		    const struct section *section);

/* What means nothing here: every record that is passed over. */
void ignored_take(struct loading *loading, const struct section *section);

#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Aliases: keys of other programs
 *
 * What systemd's zram-generator and compcache call things. Each has a row: whose it is, where it
 * may stand, and the key of ours whose place it takes.
 *
 * Ownership: static.
 * Locking:   none.
 * Errors:    none.
 * Cost:      a look-up walks a few rows.
 */

#include <stdbool.h>

enum alias_dialect {
	ALIAS_GENERATOR, /* zram-generator.conf(5) */
	ALIAS_COMPCACHE, /* parameters of its modules, options of rzscontrol */
};

enum alias_place {
	ALIAS_TOP = 1,      /* before any section */
	ALIAS_DAEMON = 2,   /* [zramfs] */
	ALIAS_DEFAULTS = 4, /* [defaults] */
	ALIAS_DISK = 8,
};

struct alias {
	const char *key;
	enum alias_dialect dialect;
	unsigned int places; /* enum alias_place */
	const char *means; /* what two keys that say the same have in common; NULL: nothing here */
};

/* The row at *indexp or behind that may stand in one of these places, NULL past the end. *indexp
 * is the next one's then. */
const struct alias *alias_next(unsigned int places, unsigned int *indexp);

/* NULL if none of the name may stand there. */
const struct alias *alias_find(unsigned int places, const char *key);

/* Is this a section that zram-generator reads: zram and a number? */
bool alias_is_generator_section(const char *name);

#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Attributes: the one table
 *
 * Every attribute of a disk is one row: its name, what it is for, whether it is a key of the
 * configuration, a file under .control/<disk>/, or both, and how its text is read and written.
 *
 * Ownership: rows are static.
 * Locking:   parse touches the caller's spec alone; show and apply lock the disk for themselves.
 * Errors:    those of the kernel's zram: -EINVAL, -EBUSY, ... ; nothing changed on any of them.
 * Cost:      a look-up walks a few dozen rows; not for the path of a disk request.
 */

#include "base.h"
#include "layout.h"

struct zr_disk;
struct zr_ctx;

/* A disk that does not exist yet. */
struct zr_disk_spec {
	uint64_t ram_bytes; /* what a percentage is of; 0: percentages are refused */
	uint64_t disksize_bytes;
	struct zr_attrs attrs; /* the name is the caller's to set */
};

enum zr_attr_flags {
	ZR_ATTR_CONFIG = 1,  /* a key of a disk's section */
	ZR_ATTR_CONTROL = 2, /* a file under .control/<disk>/ */
	ZR_ATTR_UNUSED = 4,  /* writing it is refused while the disk is in use */
};

/* Longest text of an attribute's control file. */
#define ZR_ATTR_TEXT_MAX 4096u

struct zr_attr {
	const char *name;
	unsigned int flags;
	unsigned int mode;   /* of the control file: the kernel's */
	const char *unit;    /* NULL: none */
	const char *when;    /* when it may change, for people */
	const char *allowed; /* what a message says is allowed */
	const char *help;    /* one line */

	/* Text of the configuration into a spec. Return: 0, -EINVAL, -ERANGE. */
	int (*parse)(struct zr_disk_spec *spec, const char *text);
	/* What parse would take for what the spec says. Empty: nothing to say, and the key may be
	 * left out; parse takes that too where print can give it. NULL for what is no key. */
	void (*print)(const struct zr_disk_spec *spec, char *text, size_t n_text);
	/* Text written to the control file, without its newline. @defaults: what reset goes back
	 * to. Return: 0 or -errno. NULL: no writing. */
	int (*apply)(struct zr_disk *disk, struct zr_ctx *ctx, const struct zr_attrs *defaults,
		     const char *text);
	/* Text of the control file, newline included; n_text bytes at most. Return: its length or
	 * -errno. NULL: no reading. */
	int (*show)(struct zr_disk *disk, char *text, size_t n_text);
};

/* NULL past the end. */
const struct zr_attr *zr_attr_at(unsigned int index);

/* NULL if there is none of that name. */
const struct zr_attr *zr_attr_find(const char *name);

/* What a disk is that nobody configured: size 0, lz4, no limit, 0600. The owner is the caller's to
 * set. */
void zr_disk_spec_init(struct zr_disk_spec *spec, uint64_t ram_bytes);

/* Is this a name for a disk? Return: 0, or -EINVAL; *whyp then says what is wrong with it. */
int zr_disk_name_check(const char *name, const char **whyp);

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "attr.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "attr-parts.h"

static const struct zr_attr *const tables[] = { zr_attrs_set,    zr_attrs_kernel, zr_attrs_ours,
						zr_attrs_daemon, zr_attrs_back,   zr_attrs_policy };

/* Rows that a table may come to have: what an index means does not change when one grows. */
#define TABLE_ROWS 40u

_Static_assert(ZR_ARRAY_SIZE(tables) * TABLE_ROWS == ZR_ATTR_INDEX_MAX, "every row has an index");

static unsigned int table_rows(const struct zr_attr *table)
{
	unsigned int n = 0;

	while (table[n].name)
		++n;
	ZR_ASSERT(n <= TABLE_ROWS);
	return n;
}

const struct zr_attr *zr_attr_at(unsigned int index)
{
	if (index >= ZR_ATTR_INDEX_MAX ||
	    index % TABLE_ROWS >= table_rows(tables[index / TABLE_ROWS]))
		return NULL;
	return &tables[index / TABLE_ROWS][index % TABLE_ROWS];
}

const struct zr_attr *zr_attr_next(unsigned int *indexp)
{
	for (; *indexp < ZR_ATTR_INDEX_MAX; *indexp += TABLE_ROWS - *indexp % TABLE_ROWS) {
		if (zr_attr_at(*indexp))
			return zr_attr_at(*indexp);
	}
	return NULL;
}

static const struct zr_attr *find(const char *name, unsigned int daemon_flag)
{
	const struct zr_attr *attr;
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(tables); ++i) {
		for (attr = tables[i]; attr->name; ++attr) {
			if ((attr->flags & ZR_ATTR_DAEMON) == daemon_flag &&
			    strcmp(attr->name, name) == 0)
				return attr;
		}
	}
	return NULL;
}

const struct zr_attr *zr_attr_find(const char *name)
{
	return find(name, 0);
}

const struct zr_attr *zr_attr_find_daemon(const char *name)
{
	return find(name, ZR_ATTR_DAEMON);
}

const char *zr_attr_when_text(enum zr_attr_when when)
{
	switch (when) {
	case ZR_WHEN_ALWAYS:
		return "at any time";
	case ZR_WHEN_EMPTY:
		return "while the disk has no size";
	case ZR_WHEN_UNUSED:
		return "while the disk is not in use";
	case ZR_WHEN_START:
		return "when the daemon starts";
	case ZR_WHEN_NEVER:
	default:
		return "it is read";
	}
}

void zr_attr_say(struct zr_attr_lines *lines, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	lines->at += (size_t)vsnprintf(lines->text + lines->at, lines->n_text - lines->at, format,
				       args);
	va_end(args);
	ZR_ASSERT(lines->at < lines->n_text);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "attributes.h"

#include "attr.h"

static void explain_one(FILE *out, const struct zr_attr *attr)
{
	fprintf(out, "  %s (%s%s%s)\n", attr->name, attr->type, attr->unit ? ", " : "",
		attr->unit ? attr->unit : "");
	fprintf(out, "      %s\n", attr->help);
	if (!attr->allowed)
		return;
	fprintf(out, "      allowed: %s\n", attr->allowed);
	if (attr->when != ZR_WHEN_ALWAYS)
		fprintf(out, "      when: %s\n", zr_attr_when_text(attr->when));
}

static bool is_set(const struct zr_attr *attr)
{
	return attr->apply || attr->flags & ZR_ATTR_CONFIG;
}

static void explain_those(FILE *out, const char *heading, unsigned int daemon_flag, bool set)
{
	const struct zr_attr *attr;
	unsigned int i;

	fprintf(out, "\n%s\n", heading);
	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if ((attr->flags & ZR_ATTR_DAEMON) == daemon_flag && is_set(attr) == set)
			explain_one(out, attr);
	}
}

void attributes_explain_config(FILE *out)
{
	const struct zr_attr *attr;
	unsigned int i;

	fputs("\nAttributes of a disk that is to be made:\n", out);
	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if (!(attr->flags & ZR_ATTR_DAEMON) && attr->flags & ZR_ATTR_CONFIG)
			fprintf(out, "  %-16s  %s\n", attr->name, attr->help);
	}
	fputs("What is allowed for each: zramfsctl help set\n", out);
}

void attributes_explain(FILE *out)
{
	explain_those(out, "Attributes of a disk that are set:", 0, true);
	explain_those(out, "Attributes of a disk that are read:", 0, false);
	explain_those(out, "Attributes of the daemon that are set:", ZR_ATTR_DAEMON, true);
	explain_those(out, "Attributes of the daemon that are read:", ZR_ATTR_DAEMON, false);
}

void attributes_list(FILE *out)
{
	const struct zr_attr *attr;
	unsigned int i;

	for (i = 0; (attr = zr_attr_next(&i)); ++i)
		fprintf(out, "%s %s%s%s%s\n", attr->flags & ZR_ATTR_DAEMON ? "daemon" : "disk",
			attr->name, attr->flags & ZR_ATTR_CONFIG ? " config" : "",
			attr->show || attr->stream ? " read" : "", attr->apply ? " write" : "");
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "view.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <json.h>

#include "ask.h"
#include "base.h"
#include "say.h"

#define SCHEMA 1

/* Where a member goes: its name is that of the member of the struct. */
struct field {
	const char *name;
	size_t offset;
};

#define FIELD(type, member)                     \
	{                                       \
#member, offsetof(type, member) \
	}
#define DISK(member)    FIELD(struct view_disk, member)
#define TOTAL(member)   FIELD(struct view_total, member)
#define LATENCY(member) FIELD(struct view_latency, member)

static const struct field disk_numbers[] = {
	DISK(disksize),       DISK(mem_limit),    DISK(orig_data_size), DISK(compr_data_size),
	DISK(mem_used_total), DISK(mem_used_max), DISK(same_pages),     DISK(zero_pages),
	DISK(huge_pages),     DISK(tables),       DISK(fragmentation),  DISK(num_reads),
	DISK(num_writes),     DISK(failed_reads), DISK(failed_writes),  DISK(bd_count),
	DISK(backing_used),
};

static const struct field disk_texts[] = {
	DISK(comp_algorithm),
	DISK(algorithm_params),
	DISK(format),
	DISK(backing_dev),
};

static const struct field disk_latencies[] = {
	DISK(read_latency),
	DISK(write_latency),
};

static const struct field latency_numbers[] = {
	LATENCY(count),  LATENCY(sum_ns), LATENCY(p50_ns),
	LATENCY(p90_ns), LATENCY(p99_ns), LATENCY(max_ns),
};

static const struct field total_numbers[] = {
	TOTAL(mem_limit),       TOTAL(orig_data_size),    TOTAL(compr_data_size),
	TOTAL(mem_used_total),  TOTAL(store_memory),      TOTAL(reserve),
	TOTAL(pages_compacted), TOTAL(poisoned_requests),
};

static void *at(void *base, const struct field *field)
{
	return (char *)base + field->offset;
}

static uint64_t number_of(struct json_object *object, const char *name)
{
	struct json_object *member;

	if (!json_object_object_get_ex(object, name, &member) ||
	    !json_object_is_type(member, json_type_int))
		return VIEW_UNKNOWN;
	return json_object_get_uint64(member);
}

static char *text_of(struct json_object *object, const char *name)
{
	struct json_object *member;

	if (!json_object_object_get_ex(object, name, &member) ||
	    !json_object_is_type(member, json_type_string))
		return NULL;
	return say_text("%s", json_object_get_string(member));
}

static void numbers_take(struct json_object *object, const struct field *fields, size_t n_fields,
			 void *into)
{
	size_t i;

	for (i = 0; i < n_fields; ++i)
		*(uint64_t *)at(into, &fields[i]) = number_of(object, fields[i].name);
}

/* names */

/* JSON has characters and a name has bytes: a byte that is no part of a character is told as the
 * character of its number. Are these the bytes that were told so? */
static bool is_told_as(const char *bytes, const char *told)
{
	for (; *told && *bytes; ++told, ++bytes) {
		const unsigned char lead = (unsigned char)told[0];
		const unsigned char next = (unsigned char)told[1];

		if ((lead == 0xc2 || lead == 0xc3) && bytes[1] != told[1] &&
		    (unsigned char)*bytes == ((lead & 3) << 6 | (next & 0x3f)))
			++told;
		else if (*bytes != *told)
			return false;
	}
	return *told == *bytes;
}

/* The names of the mount's files; those that are a disk's already are slashes. */
struct names {
	char *text;
	size_t n_text;
	bool is_read;
};

static void names_clear(struct names *names)
{
	free(names->text);
}

/* Bytes of the file that is told by this name; the name itself where there is no other. Where
 * several are told the same, the disks and the files come in one order, so that each gets its own.
 */
static char *name_restore(const struct mount *mount, struct names *names, char *told)
{
	size_t i;

	if (!strpbrk(told, "\xc2\xc3"))
		return told;

	if (!names->is_read && ask_names(mount, &names->text, &names->n_text) < 0)
		names->n_text = 0;
	names->is_read = true;
	for (i = 0; i < names->n_text; i += strlen(names->text + i) + 1) {
		if (!is_told_as(names->text + i, told))
			continue;
		free(told);
		told = say_text("%s", names->text + i);
		/* Other bytes, so that the names behind it are where they were. */
		memset(names->text + i, '/', strlen(told));
		break;
	}
	return told;
}

/* reading */

static void disk_take(const struct mount *mount, struct names *names, struct json_object *object,
		      struct view_disk *disk)
{
	struct json_object *member;
	size_t i;

	*disk = (struct view_disk){ .name = text_of(object, "name") };
	disk->name = disk->name ? name_restore(mount, names, disk->name) : say_text("?");
	disk->path = say_text("%s%s%s", mount->path, strcmp(mount->path, "/") == 0 ? "" : "/",
			      disk->name);
	numbers_take(object, disk_numbers, ZR_ARRAY_SIZE(disk_numbers), disk);
	for (i = 0; i < ZR_ARRAY_SIZE(disk_texts); ++i)
		*(char **)at(disk, &disk_texts[i]) = text_of(object, disk_texts[i].name);
	for (i = 0; i < ZR_ARRAY_SIZE(disk_latencies); ++i) {
		member = NULL;
		json_object_object_get_ex(object, disk_latencies[i].name, &member);
		numbers_take(member, latency_numbers, ZR_ARRAY_SIZE(latency_numbers),
			     at(disk, &disk_latencies[i]));
	}
}

static void view_take(const struct mount *mount, struct json_object *root, struct view *view)
{
	ZR_CLEANUP(names_clear) struct names names = { 0 };
	struct json_object *disks = NULL, *total = NULL;
	size_t i;

	*view = (struct view){ .version = text_of(root, "version"),
			       .time_ns = number_of(root, "time_ns") };
	json_object_object_get_ex(root, "total", &total);
	numbers_take(total, total_numbers, ZR_ARRAY_SIZE(total_numbers), &view->total);

	json_object_object_get_ex(root, "disks", &disks);
	if (!json_object_is_type(disks, json_type_array))
		return;
	view->n_disks = json_object_array_length(disks);
	view->disks = calloc(view->n_disks + 1, sizeof(*view->disks));
	if (!view->disks)
		say_no_memory();
	for (i = 0; i < view->n_disks; ++i)
		disk_take(mount, &names, json_object_array_get_idx(disks, i), &view->disks[i]);
}

static int view_parse(const struct mount *mount, const char *text, size_t n_text,
		      struct view *viewp, char why[VIEW_WHY_MAX])
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *root;
	uint64_t schema;

	if (!tokener)
		say_no_memory();
	root = json_tokener_parse_ex(tokener, text, (int)n_text);
	json_tokener_free(tokener);

	schema = number_of(root, "schema");
	if (schema == SCHEMA) {
		view_take(mount, root, viewp);
	} else if (schema == VIEW_UNKNOWN) {
		snprintf(why, VIEW_WHY_MAX, ".stats.json cannot be read");
	} else {
		snprintf(why, VIEW_WHY_MAX,
			 ".stats.json has schema %llu, and this zramfsctl reads %d: use the one "
			 "that came with the daemon",
			 (unsigned long long)schema, SCHEMA);
	}
	json_object_put(root);
	return schema == SCHEMA ? 0 : -EPROTO;
}

int view_read(const struct mount *mount, struct view *viewp, char why[VIEW_WHY_MAX])
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	size_t n_text;
	int r;

	r = ask_file(mount, ".stats.json", &text, &n_text);
	if (r == 0)
		return view_parse(mount, text, n_text, viewp, why);
	snprintf(why, VIEW_WHY_MAX, "%s",
		 r == -ENOENT ? "its daemon is older than zramfsctl: it has no .stats.json"
			      : say_reason(-r));
	return r;
}

void view_disk_clear(struct view_disk *disk)
{
	size_t i;

	free(disk->name);
	free(disk->path);
	for (i = 0; i < ZR_ARRAY_SIZE(disk_texts); ++i)
		free(*(char **)at(disk, &disk_texts[i]));
}

void view_clear(struct view *view)
{
	size_t i;

	for (i = 0; i < view->n_disks; ++i)
		view_disk_clear(&view->disks[i]);
	free(view->disks);
	free(view->version);
	*view = (struct view){ 0 };
}

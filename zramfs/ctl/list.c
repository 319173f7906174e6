/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl list: the disks there are, in columns
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <libsmartcols.h>

#include "columns.h"
#include "mounts.h"
#include "name.h"
#include "nearest.h"
#include "say.h"
#include "text.h"
#include "verb.h"

#define DEFAULT_COLUMNS "NAME,ALGORITHM,DISKSIZE,DATA,COMPR,TOTAL,RATIO,LIMIT,MOUNTPOINT"

/* Each column may be named more than once. */
#define COLUMNS_MAX 64u

enum {
	OPTION_OUTPUT_ALL = 256,
	OPTION_RAW,
};

static const struct option options[] = {
	{ "bytes", no_argument, NULL, 'b' },
	{ "json", no_argument, NULL, 'J' },
	{ "noheadings", no_argument, NULL, 'n' },
	{ "output", required_argument, NULL, 'o' },
	{ "output-all", no_argument, NULL, OPTION_OUTPUT_ALL },
	{ "raw", no_argument, NULL, OPTION_RAW },
	{ NULL, 0, NULL, 0 },
};

struct list {
	bool bytes, json, noheadings, raw;
	bool is_usual; /* nobody said which columns */
	const struct column *columns[COLUMNS_MAX];
	size_t n_columns;

	/* What it is restricted to; none: everything. */
	struct name *names;
	size_t n_names;

	struct mount *mounts;
	size_t n_mounts;
	struct loop_user *loops;
	size_t n_loops;
	struct libscols_table *table;
	size_t n_rows;
};

/* which columns */

static int column_refuse(const char *name, size_t n_name)
{
	ZR_CLEANUP(zr_freep) char *word = say_text("%.*s", (int)n_name, name);
	ZR_CLEANUP(zr_freep) char *hint = NULL;
	struct nearest nearest;
	char *at;
	size_t i;

	for (at = word; *at; ++at) {
		if (*at >= 'a' && *at <= 'z')
			*at = (char)(*at - 'a' + 'A');
	}
	nearest_init(&nearest, word);
	for (i = 0; column_at(i); ++i)
		nearest_offer(&nearest, column_at(i)->name);
	hint = nearest_hint(&nearest);
	return verb_misused(&verb_list, "%.*s: no such column%s", (int)n_name, name, hint);
}

/* Return: 0, or VERB_MISUSED after saying what is wrong. */
static int columns_add(struct list *list, const char *names)
{
	size_t n;

	for (;; names += n + 1) {
		n = strcspn(names, ",");
		if (list->n_columns == COLUMNS_MAX)
			return verb_misused(&verb_list, "too many columns; allowed: %u",
					    COLUMNS_MAX);
		list->columns[list->n_columns] = column_find(names, n);
		if (!list->columns[list->n_columns])
			return column_refuse(names, n);
		++list->n_columns;
		if (names[n] == 0)
			return 0;
	}
}

/* LIST instead of the default, +LIST after it. */
static int columns_set(struct list *list, const char *names)
{
	int r = 0;

	list->n_columns = 0;
	if (*names == '+')
		r = columns_add(list, DEFAULT_COLUMNS);
	return r == 0 ? columns_add(list, names + (*names == '+')) : r;
}

static void columns_set_all(struct list *list)
{
	for (list->n_columns = 0; column_at(list->n_columns); ++list->n_columns)
		list->columns[list->n_columns] = column_at(list->n_columns);
}

static int options_take(struct list *list, int argc, char **argv)
{
	int option, r = 0;

	r = columns_set(list, DEFAULT_COLUMNS);
	list->is_usual = true;
	while (r == 0 && (option = verb_option(&verb_list, argc, argv)) != -1) {
		switch (option) {
		case 'b':
			list->bytes = true;
			break;
		case 'J':
			list->json = true;
			break;
		case 'n':
			list->noheadings = true;
			break;
		case 'o':
			r = columns_set(list, optarg);
			list->is_usual = false;
			break;
		case OPTION_OUTPUT_ALL:
			columns_set_all(list);
			list->is_usual = false;
			break;
		case OPTION_RAW:
			list->raw = true;
			break;
		default:
			return VERB_MISUSED;
		}
	}
	if (r == 0 && list->json && list->raw)
		return verb_misused(&verb_list, "--json and --raw exclude each other");
	return r;
}

/* which disks */

static int names_take(struct list *list, char **words, size_t n_words)
{
	int status = VERB_DONE;
	size_t i;

	list->names = calloc(n_words + 1, sizeof(*list->names));
	if (!list->names)
		say_no_memory();
	for (i = 0; i < n_words; ++i) {
		if (name_find_any(words[i], &list->names[list->n_names]) == 0)
			++list->n_names;
		else
			status = VERB_FAILED;
	}
	return status;
}

/* the table */

/* JSON is characters, and a name is bytes: one that is no part of a character is told as the
 * character of its number, as .stats.json does. */
static char *json_text(const char *bytes)
{
	char *text = malloc(2 * strlen(bytes) + 1), *to = text;
	size_t n;

	if (!text)
		say_no_memory();
	for (; *bytes; bytes += n) {
		n = zr_text_character(bytes);
		if (n > 0) {
			to = mempcpy(to, bytes, n);
			continue;
		}
		*to++ = (char)(0xc0 | (unsigned char)*bytes >> 6);
		*to++ = (char)(0x80 | (*bytes & 0x3f));
		n = 1;
	}
	*to = 0;
	return text;
}

static void cell_set(const struct list *list, struct libscols_line *line, size_t i,
		     const struct row *row)
{
	const struct column *column = list->columns[i];
	char *text = column_text(column, row, list->bytes || list->json), *plain;

	if (text && list->json && column->kind == COLUMN_TEXT) {
		plain = text;
		text = json_text(plain);
		free(plain);
	}
	if (!text && !list->json && column->kind != COLUMN_TEXT)
		text = say_text("-");
	if (text && scols_line_refer_data(line, i, text) < 0)
		say_no_memory();
}

static void row_add(struct list *list, const struct row *row)
{
	struct libscols_line *line = scols_table_new_line(list->table, NULL);
	size_t i;

	if (!line)
		say_no_memory();
	for (i = 0; i < list->n_columns; ++i)
		cell_set(list, line, i, row);
	++list->n_rows;
}

static void column_new(struct list *list, const struct column *column)
{
	const bool is_text = column->kind == COLUMN_TEXT;
	struct libscols_column *made;

	made = scols_table_new_column(list->table, column->name, 0, is_text ? 0 : SCOLS_FL_RIGHT);
	if (!made)
		say_no_memory();
	scols_column_set_json_type(made, is_text ? SCOLS_JSON_STRING : SCOLS_JSON_NUMBER);
}

static void table_new(struct list *list)
{
	size_t i;

	list->table = scols_new_table();
	if (!list->table)
		say_no_memory();
	scols_table_enable_raw(list->table, list->raw);
	scols_table_enable_json(list->table, list->json);
	scols_table_enable_noheadings(list->table, list->noheadings);
	scols_table_set_name(list->table, "disks");
	/* Nothing is cut off: a name that is not whole is none. */
	scols_table_set_termforce(list->table, SCOLS_TERMFORCE_NEVER);
	for (i = 0; i < list->n_columns; ++i)
		column_new(list, list->columns[i]);
}

/* room */

/* Characters that a line has; 0: no end. */
static size_t line_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;

	if (columns && atoi(columns) > 0)
		return (size_t)atoi(columns);
	if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		return size.ws_col;
	return 0;
}

/* Characters of the longest line. */
static size_t table_width(const struct list *list)
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	size_t width = 0, n = 0;
	const char *at;

	if (scols_print_table_to_string(list->table, &text) < 0)
		say_no_memory();
	for (at = text; *at; ++at) {
		/* What continues a character does not count, nor does what pads the last column. */
		if (*at == '\n')
			n = 0;
		else if ((*at & 0xc0) != 0x80)
			++n;
		if (*at != ' ')
			width = zr_max(width, n);
	}
	return width;
}

/* Where the usual columns have no room, those go that one can do without. */
static void table_narrow(struct list *list)
{
	static const char *const can_go[] = { "ALGORITHM", "COMPR", "DISKSIZE" };
	const size_t room = line_width();
	size_t i, j;

	if (!list->is_usual || list->raw || list->json || room == 0)
		return;
	for (i = 0; i < ZR_ARRAY_SIZE(can_go) && table_width(list) > room; ++i) {
		for (j = 0; j < list->n_columns; ++j) {
			if (strcmp(list->columns[j]->name, can_go[i]) == 0)
				scols_column_set_flags(scols_table_get_column(list->table, j),
						       SCOLS_FL_HIDDEN);
		}
	}
}

/* Return: VERB_FAILED if the mount cannot be asked, which is said. */
static int mount_add(struct list *list, const struct mount *mount)
{
	const size_t n_own = mounts_n_own(list->mounts, list->n_mounts);
	char why[VIEW_WHY_MAX];
	struct view view;
	size_t i;

	if (view_read(mount, &view, why) < 0) {
		say_error("%s: %s", mount->path, why);
		return VERB_FAILED;
	}
	for (i = 0; i < view.n_disks; ++i) {
		const struct row row = { .mount = mount,
					 .view = &view,
					 .disk = &view.disks[i],
					 .loops = list->loops,
					 .n_loops = list->n_loops,
					 .is_path = n_own > 1 || mount->is_foreign };

		if (names_want(list->names, list->n_names, mount->path, view.disks[i].name))
			row_add(list, &row);
	}
	view_clear(&view);
	return VERB_DONE;
}

static int list_print(struct list *list)
{
	if (list->n_rows > 0) {
		table_narrow(list);
		return scols_print_table(list->table) < 0 ? VERB_FAILED : VERB_DONE;
	}
	/* The library prints nothing then. */
	if (list->json)
		puts("{\n   \"disks\": []\n}");
	return VERB_DONE;
}

static int mounts_list(struct list *list)
{
	int status = VERB_DONE, r;
	size_t i;

	r = mounts_read(&list->mounts, &list->n_mounts);
	if (r < 0) {
		say_error("mounts: %s", strerror(-r));
		return VERB_FAILED;
	}
	/* Without them, what lies on the disks is not known. */
	if (loops_read(&list->loops, &list->n_loops) < 0)
		list->n_loops = 0;

	table_new(list);
	for (i = 0; i < list->n_mounts; ++i) {
		if ((list->n_names > 0 || !list->mounts[i].is_foreign) &&
		    names_want(list->names, list->n_names, list->mounts[i].path, NULL) &&
		    mount_add(list, &list->mounts[i]) != VERB_DONE)
			status = VERB_FAILED;
	}
	if (list_print(list) != VERB_DONE)
		status = VERB_FAILED;
	return status;
}

static void list_clear(struct list *list)
{
	size_t i;

	scols_unref_table(list->table);
	loops_free(list->loops, list->n_loops);
	mounts_free(list->mounts, list->n_mounts);
	for (i = 0; i < list->n_names; ++i)
		name_free(&list->names[i]);
	free(list->names);
}

static int list_run(int argc, char **argv)
{
	ZR_CLEANUP(list_clear) struct list list = { 0 };
	int status, r;

	r = options_take(&list, argc, argv);
	if (r != 0)
		return r;
	status = names_take(&list, argv + optind, (size_t)(argc - optind));
	/* None of those that were wanted is there. */
	if (status != VERB_DONE && list.n_names == 0)
		return status;
	r = mounts_list(&list);
	return r == VERB_DONE ? status : r;
}

const struct verb verb_list = {
	.name = "list",
	.arguments = "[NAME...]",
	.help = "show the disks of all mounts, or these; what is done without a verb",
	.text = "  -b, --bytes          sizes in bytes, times in nanoseconds\n"
		"  -J, --json           as JSON; numbers in bytes, pages and nanoseconds\n"
		"  -n, --noheadings     no headings\n"
		"  -o, --output=LIST    these columns; +LIST: after the usual ones\n"
		"      --output-all     all columns\n"
		"      --raw            words with single blanks between; a blank in one is "
		"\\x20\n",
	.explain = columns_explain,
	.short_options = "bJno:",
	.options = options,
	.run = list_run,
};

#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What tests of the configuration share: text that is loaded as if it was a file. What a message
 * says is allowed is the attribute table's and is not compared; where it points, what it quotes and
 * that it is one line is.
 */

#include "test.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "base.h"
#include "config.h"

#define RAM (UINT64_C(1) << 30)
#define UID 1234u
#define GID 5678u

#define TEXT(text) (text), sizeof(text) - 1

static char directory[256]; /* of the test's own */
static char path[300];      /* of what is loaded */
static char message[CONFIG_MESSAGE_MAX];
static uint64_t ram = RAM;

/* Later files are called @name. */
static inline void file_name(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", directory, name);
}

static inline void rig_begin(const char *name)
{
	const char *temporary = getenv("TMPDIR");

	snprintf(directory, sizeof(directory), "%s/test-config-XXXXXX",
		 temporary ? temporary : "/tmp");
	CHECK(mkdtemp(directory));
	file_name(name);
}

static inline void rig_end(void)
{
	unlink(path);
	CHECK(rmdir(directory) == 0);
}

static inline void file_write(const char *bytes, size_t n_bytes)
{
	FILE *file = fopen(path, "w");

	CHECK(file);
	CHECK(fwrite(bytes, 1, n_bytes, file) == n_bytes);
	CHECK(fclose(file) == 0);
}

/* As the file that path names, which need not be there. */
static inline int load_bytes(struct config **configp, const char *bytes, size_t n_bytes)
{
	FILE *file = fmemopen((void *)bytes, n_bytes, "r");
	int r;

	CHECK(file);
	memset(message, 'x', sizeof(message));
	message[0] = '\0';
	r = config_load_stream(configp, file, path, ram, UID, GID, message, sizeof(message));
	CHECK(fclose(file) == 0);
	return r;
}

static inline struct config *load(const char *text)
{
	struct config *config = NULL;
	int r = load_bytes(&config, text, strlen(text));

	if (r < 0)
		fprintf(stderr, "%s\n", message);
	CHECK(r == 0);
	CHECK(message[0] == '\0');
	return config;
}

/* One line that starts with the path, whatever went wrong. */
static inline void message_check(void)
{
	CHECK(memchr(message, '\0', sizeof(message)));
	CHECK(!strpbrk(message, "\n\r\t\x1b"));
	CHECK(strncmp(message, path, strlen(path)) == 0);
	CHECK(message[strlen(path)] == ':');
}

/* @line: 0 where no line is to blame. */
static inline void refused_bytes(const char *bytes, size_t n_bytes, unsigned int line,
				 const char *quoted)
{
	struct config *config = (struct config *)&config;
	char where[32] = ": ";

	if (line > 0)
		snprintf(where, sizeof(where), ":%u: ", line);

	CHECK(load_bytes(&config, bytes, n_bytes) == -EINVAL);
	CHECK(config == (struct config *)&config);
	message_check();
	if (strncmp(message + strlen(path), where, strlen(where)) != 0 ||
	    !strstr(message, quoted) || !strstr(message, "allowed: ")) {
		fprintf(stderr, "%s\nwant line %u and: %s\n", message, line, quoted);
		abort();
	}
}

static inline void refused(const char *text, unsigned int line, const char *quoted)
{
	refused_bytes(text, strlen(text), line, quoted);
}

static inline bool spec_same(const struct zr_disk_spec *a, const struct zr_disk_spec *b)
{
	return a->disksize_bytes == b->disksize_bytes &&
	       strcmp(a->attrs.name, b->attrs.name) == 0 &&
	       a->attrs.mem_limit_bytes == b->attrs.mem_limit_bytes &&
	       a->attrs.mode == b->attrs.mode && a->attrs.uid == b->attrs.uid &&
	       a->attrs.gid == b->attrs.gid && a->attrs.format == b->attrs.format &&
	       a->attrs.swap_priority == b->attrs.swap_priority &&
	       memcmp(a->attrs.codecs, b->attrs.codecs, sizeof(a->attrs.codecs)) == 0 &&
	       strcmp(a->attrs.label, b->attrs.label) == 0 &&
	       memcmp(a->attrs.uuid, b->attrs.uuid, sizeof(a->attrs.uuid)) == 0;
}

static inline bool config_same(const struct config *a, const struct config *b)
{
	size_t i;

	if (a->daemon.n_threads != b->daemon.n_threads ||
	    a->daemon.mem_limit_bytes != b->daemon.mem_limit_bytes || a->n_disks != b->n_disks ||
	    !spec_same(&a->defaults, &b->defaults))
		return false;

	for (i = 0; i < a->n_disks; ++i)
		if (!spec_same(&a->disks[i].spec, &b->disks[i].spec))
			return false;

	return true;
}

/* What is printed of a size is bytes. */
static inline void sizes_check(const char *text, const char *key)
{
	const char *at = text;

	while ((at = strstr(at, key))) {
		at += strlen(key);
		CHECK(at[strspn(at, "0123456789")] == '\n');
	}
}

/* What is printed is in keys of ours without a computed value, and loads to the same. */
static inline void check_round_trip(const struct config *config)
{
	ZR_CLEANUP(config_freep) struct config *again = NULL;
	ZR_CLEANUP(zr_freep) char *text = NULL;
	size_t n_text;
	FILE *file = open_memstream(&text, &n_text);

	CHECK(file);
	config_print(config, file);
	CHECK(fclose(file) == 0);
	sizes_check(text, "\ndisksize = ");
	sizes_check(text, "\nmem_limit = ");

	if (load_bytes(&again, text, n_text) < 0 || !config_same(config, again)) {
		fprintf(stderr, "%s\n%s\n", text, message);
		abort();
	}
}

/* Does a key, or another program's for the same, say the attribute? */
static inline bool is_said(const struct config_disk *disk, const char *name)
{
	const struct zr_attr *attr;
	unsigned int i;

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if (attr == zr_attr_find(name))
			return config_says(&disk->said, i);
	}
	CHECK(!"an attribute");
	return false;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Any bytes as a configuration: they load, and then print to what loads to the same; or they are
 * refused in one line that says what is allowed. Both as a file of ours and as zram-generator's.
 */

#include "test.h"

#include "config.h"

#define RAM (UINT64_C(8013220) * 1024)

/* Longest line that the log takes, less a path. */
#define WARNING_MAX 400u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* What terminals obey, and what would make two lines of one. */
static bool is_one_line(const char *text)
{
	for (; *text; ++text)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;

	return true;
}

static void refusal_check(int r, const char *message, const char *path)
{
	CHECK(r < 0);
	CHECK(is_one_line(message));
	CHECK(strncmp(message, path, strlen(path)) == 0 && message[strlen(path)] == ':');
	CHECK(strstr(message, "allowed: ") || strstr(message, strerror(-r)));
}

static struct config *load(const void *bytes, size_t n_bytes, const char *path)
{
	char message[CONFIG_MESSAGE_MAX] = "";
	struct config *config = NULL;
	FILE *file = fmemopen((void *)bytes, n_bytes, "r");
	size_t i;
	int r;

	CHECK(file);
	r = config_load_stream(&config, file, path, RAM, 1, 2, message, sizeof(message));
	fclose(file);
	if (r < 0) {
		CHECK(!config);
		refusal_check(r, message, path);
		return NULL;
	}

	CHECK(r == 0 && message[0] == '\0');
	for (i = 0; i < config->warnings.n_lines; ++i)
		CHECK(is_one_line(config->warnings.lines[i]) &&
		      strlen(config->warnings.lines[i]) < WARNING_MAX);
	return config;
}

static void print(const struct config *config, char **textp, size_t *n_textp)
{
	FILE *file = open_memstream(textp, n_textp);

	CHECK(file);
	config_print(config, file);
	CHECK(fclose(file) == 0);
}

static void check_round_trip(const struct config *config)
{
	char *text = NULL, *again = NULL;
	size_t n_text, n_again;
	struct config *reloaded;

	print(config, &text, &n_text);
	reloaded = load(text, n_text, "zram.ini");
	CHECK(reloaded);
	CHECK(reloaded->n_disks == config->n_disks);
	print(reloaded, &again, &n_again);
	CHECK(n_again == n_text && memcmp(again, text, n_text) == 0);

	config_free(reloaded);
	free(again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
	static const char *const paths[] = { "zram.ini", "/etc/systemd/zram-generator.conf" };
	unsigned int i;

	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); ++i) {
		struct config *config = load(bytes, n_bytes, paths[i]);

		if (config)
			check_round_trip(config);
		config_free(config);
	}
	return 0;
}

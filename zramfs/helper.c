/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "helper.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "config.h"
#include "log.h"
#include "mount.h"
#include "start.h"

#define NAME   "mount.fuse.zramfs"
#define PREFIX "mount."

/* MOUNTPOINT, -c FILE, -o OPTIONS, and what was typed. */
#define WORDS_MORE 6

/* What mount(8) documents for helpers. */
#define LETTERS "+:fnsvo:t:N:"

/* mount(8)'s exit status where the mount failed. */
#define EXIT_MOUNT 32

struct helper {
	char **argv; /* what to go on with */
	int argc;
	const char *source, *mountpoint;
	const char *config; /* the option */
	char *fuse_options;
	bool is_fake, is_sloppy, is_verbose;
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool is_helper(const char *path)
{
	return strncmp(base_name(path), PREFIX, strlen(PREFIX)) == 0;
}

int helper_is_meant(int argc, char **argv)
{
	return is_helper(argv[0]) || (argc >= 3 && argv[1][0] != '-' && argv[2][0] != '-');
}

/* options */

/* For mount(8), libmount, mount.fuse3 and systemd; and what the kernel does anyway. A "=" ends those
 * that have a value, a "-" those that are many. */
static const char *const not_ours[] = {
	"defaults",   "auto",          "noauto",   "user",    "nouser",  "users",    "nousers",
	"owner",      "noowner",       "group",    "nogroup", "_netdev", "nofail",   "relatime",
	"norelatime", "nostrictatime", "loud",     "mand",    "nomand",  "iversion", "noiversion",
	"user=",      "comment=",      "uhelper=", "helper=", "x-",      "X-",
};

/* libfuse's; the rest is refused by it, or, where mount(8) is sloppy, left out. */
static const char *const fuse_knows[] = {
	"rw",
	"ro",
	"suid",
	"nosuid",
	"dev",
	"nodev",
	"exec",
	"noexec",
	"async",
	"sync",
	"atime",
	"noatime",
	"nodiratime",
	"diratime",
	"dirsync",
	"allow_other",
	"allow_root",
	"auto_unmount",
	"debug",
	"max_read=",
	"fsname=",
	"subtype=",
	"default_permissions",
};

static bool is_among(const char *option, size_t n_option, const char *const *known, size_t n_known)
{
	size_t i;

	for (i = 0; i < n_known; ++i) {
		const size_t n = strlen(known[i]);
		const bool is_prefix = strchr("=-", known[i][n - 1]) != NULL;

		if (is_prefix ? n_option >= n && strncmp(option, known[i], n) == 0
			      : n_option == n && strncmp(option, known[i], n) == 0)
			return true;
	}
	return false;
}

static void option_add(struct helper *helper, const char *option, size_t n_option)
{
	char *joined;

	if (asprintf(&joined, "%s%s%.*s", helper->fuse_options ? helper->fuse_options : "",
		     helper->fuse_options ? "," : "", (int)n_option, option) < 0)
		abort();
	free(helper->fuse_options);
	helper->fuse_options = joined;
}

/* To the comma that ends it, which one behind a backslash does not. */
static size_t option_length(const char *option)
{
	size_t n = 0;

	while (option[n] && option[n] != ',')
		n += option[n] == '\\' && option[n + 1] ? 2 : 1;
	return n;
}

static int option_take(struct helper *helper, const char *option, size_t n)
{
	static const char config[] = "config=";

	if (n == 0 || is_among(option, n, not_ours, ZR_ARRAY_SIZE(not_ours)))
		return 0;
	if (n == strlen("remount") && strncmp(option, "remount", n) == 0) {
		log_line("%s: -o remount: not supported; what can change does by kill -HUP, and "
			 "else: umount it first",
			 helper->mountpoint);
		return -1;
	}
	if (strncmp(option, config, strlen(config)) == 0) {
		helper->config = strndup(option + strlen(config), n - strlen(config));
		return helper->config ? 0 : -1;
	}
	if (helper->is_sloppy && !is_among(option, n, fuse_knows, ZR_ARRAY_SIZE(fuse_knows))) {
		log_line("%s: -o %.*s: not known, and left out", helper->mountpoint, (int)n,
			 option);
		return 0;
	}
	option_add(helper, option, n);
	return 0;
}

static int options_take(struct helper *helper, const char *options)
{
	size_t n;

	for (;; options += n + 1) {
		n = option_length(options);
		if (option_take(helper, options, n) < 0)
			return -1;
		if (options[n] == 0)
			return 0;
	}
}

/* what is meant */

/* The source says what the mount is of: its configuration, or by a word that there is none. It is
 * shown as that, and mount -a finds by it that it is there. */
static int source_take(struct helper *helper)
{
	const bool is_file = strcmp(helper->source, "none") != 0 &&
			     strcmp(helper->source, "zramfs") != 0;
	char *name, *to;
	const char *from;

	if (is_file && helper->config) {
		log_line("%s: the configuration is said twice: %s and -o config=%s; with the "
			 "latter the source is none",
			 helper->mountpoint, helper->source, helper->config);
		return -1;
	}
	if (is_file)
		helper->config = helper->source;

	name = malloc(2 * strlen(helper->source) + sizeof("fsname="));
	if (!name)
		return -1;
	to = stpcpy(name, "fsname=");
	for (from = helper->source; *from; *to++ = *from++) {
		if (*from == ',' || *from == '\\')
			*to++ = '\\';
	}
	*to = 0;
	option_add(helper, name, strlen(name));
	free(name);
	return 0;
}

static void word_add(struct helper *helper, const char *word)
{
	helper->argv[helper->argc++] = (char *)word;
}

/* mount(8) types options of its own, with letters that mean something else to us. */
static int helper_parse(struct helper *helper, int argc, char **argv)
{
	int option;

	/* What is sloppy is known before the options are looked at. */
	opterr = 0;
	while ((option = getopt(argc, argv, LETTERS)) != -1)
		helper->is_sloppy |= option == 's';
	optind = 0;
	while ((option = getopt(argc, argv, LETTERS)) != -1) {
		switch (option) {
		case 'f':
			helper->is_fake = true;
			break;
		case 'n': /* there is no mtab any more */
			break;
		case 's':
			break;
		case 'v':
			helper->is_verbose = true;
			break;
		case 'o':
			if (options_take(helper, optarg) < 0)
				return -1;
			break;
		case 't':
			if (strcmp(optarg, "fuse.zramfs") == 0 || strcmp(optarg, "zramfs") == 0)
				break;
			log_line("-t %s: this helper mounts fuse.zramfs", optarg);
			return -1;
		case 'N':
			log_line("-N %s: not supported; nsenter --mount=%s mount ...", optarg,
				 optarg);
			return -1;
		default:
			log_line("-%c: %s", optopt,
				 option == ':' ? "needs an argument" : "unknown option");
			return -1;
		}
	}
	if (optind != argc) {
		log_line("%s: one source and one mountpoint are needed, and nothing else",
			 argv[optind]);
		return -1;
	}
	return 0;
}

/* All other words are as they are always. */
static int words_parse(struct helper *helper, int argc, char **argv)
{
	int i;

	for (i = 0; i < argc; ++i) {
		if (strcmp(argv[i], "-o") == 0 && i + 1 < argc) {
			if (options_take(helper, argv[++i]) < 0)
				return -1;
		} else if (strncmp(argv[i], "-o", 2) == 0 && argv[i][2]) {
			if (options_take(helper, argv[i] + 2) < 0)
				return -1;
		} else {
			word_add(helper, argv[i]);
		}
	}
	return 0;
}

/* All but the mount. */
static int fake(const struct helper *helper)
{
	const struct options options = { .mountpoint = helper->mountpoint,
					 .config_path = helper->config };
	char resolved[PATH_MAX], message[MOUNT_MESSAGE_MAX];
	struct config *config;
	int fd;

	config = start_config(&options, &fd);
	if (!config)
		return EXIT_MOUNT;
	config_free(config);
	if (mount_check(helper->mountpoint, resolved, message, sizeof(message)) < 0) {
		log_line("%s", message);
		return EXIT_MOUNT;
	}
	return EXIT_SUCCESS;
}

static int helper_usage(void)
{
	fputs("Usage: " NAME " SOURCE MOUNTPOINT [-fnsv] [-o OPT[,OPT]...] [-t fuse.zramfs]\n"
	      "As mount(8) calls it. SOURCE is a configuration, or none. For more see zramfs(8).\n",
	      stdout);
	return EXIT_SUCCESS;
}

int helper_take(int *argcp, char ***argvp)
{
	const bool is_mount = is_helper((*argvp)[0]);
	struct helper helper = { 0 };
	int r;

	if (is_mount && *argcp >= 2 &&
	    (strcmp((*argvp)[1], "-h") == 0 || strcmp((*argvp)[1], "--help") == 0))
		return helper_usage();
	if (*argcp < 3) {
		log_line("a source and a mountpoint are needed; see %s --help", NAME);
		return EXIT_FAILURE;
	}
	helper.argv = calloc((size_t)*argcp + WORDS_MORE, sizeof(*helper.argv));
	if (!helper.argv)
		return EXIT_FAILURE;
	helper.source = (*argvp)[1];
	helper.mountpoint = (*argvp)[2];
	word_add(&helper, (*argvp)[0]);

	r = is_mount ? helper_parse(&helper, *argcp - 2, *argvp + 2)
		     : words_parse(&helper, *argcp - 3, *argvp + 3);
	if (r == 0)
		r = source_take(&helper);
	if (r < 0)
		return EXIT_FAILURE;
	if (helper.is_fake)
		return fake(&helper);
	if (helper.config) {
		word_add(&helper, "-c");
		word_add(&helper, helper.config);
	}
	word_add(&helper, "-o");
	word_add(&helper, helper.fuse_options);
	word_add(&helper, "--");
	word_add(&helper, helper.mountpoint);
	if (helper.is_verbose)
		printf("%s on %s type fuse.zramfs (%s)\n", helper.source, helper.mountpoint,
		       helper.fuse_options);
	fflush(stdout);
	optind = 0; /* main() reads words anew */
	*argcp = helper.argc;
	*argvp = helper.argv;
	return -1;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "config.h"
#include "log.h"
#include "worker.h"

static const char usage[] =
	"Usage: zramfs MOUNTPOINT [-c FILE] [OPTION]...\n"
	"       zramfs --check-config FILE\n"
	"Files under MOUNTPOINT are RAM disks whose pages are kept compressed.\n"
	"\n"
	"  -c, --config=FILE        disks to make, one for each section of FILE;\n"
	"                             without it one disk, zram0, of 25 % of RAM\n"
	"  -f, --foreground         stay in the foreground\n"
	"  -o OPT[,OPT]...          options of FUSE: see mount.fuse3(8)\n"
	"  -d, --debug              print every request; stay in the foreground\n"
	"      --check-config=FILE  say what FILE means, or what is wrong with it\n"
	"  -V, --version            print the version\n"
	"  -h, --help               print this help\n"
	"\n"
	"To read FILE again: kill -HUP the process.\n"
	"To undo a mount: umount MOUNTPOINT, or fusermount3 -u MOUNTPOINT as a user.\n"
	"Statistics: cat MOUNTPOINT/.stats\n";

enum {
	OPTION_CHECK_CONFIG = 256,
};

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "foreground", no_argument, NULL, 'f' },
	{ "debug", no_argument, NULL, 'd' },
	{ "check-config", required_argument, NULL, OPTION_CHECK_CONFIG },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct arguments {
	struct worker_options options;
	const char *check_path; /* NULL: not asked for */
	char *fuse_options;     /* all -o, joined */
};

static uint64_t ram_bytes(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 ? 0 : (uint64_t)info.totalram * info.mem_unit;
}

/* Return: the configuration, or NULL after saying what is wrong. What is to be warned of is said.
 */
static struct config *config_get(const char *path)
{
	char message[CONFIG_MESSAGE_MAX];
	struct config *config = NULL;
	size_t i;
	int r;

	if (!path) {
		r = config_default(&config, ram_bytes(), geteuid(), getegid());
		snprintf(message, sizeof(message), "no configuration: %s", strerror(-r));
	} else {
		r = config_load(&config, path, ram_bytes(), geteuid(), getegid(), message,
				sizeof(message));
	}
	if (r < 0)
		log_line("%s", message);
	for (i = 0; config && i < config->warnings.n_lines; ++i)
		log_line("%s: %s", path, config->warnings.lines[i]);
	return config;
}

static int config_check(const char *path)
{
	struct config *config = config_get(path);

	if (!config)
		return EXIT_FAILURE;
	config_print(config, stdout);
	config_free(config);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		log_line("standard output: cannot write");
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

static void fuse_options_add(struct arguments *arguments, const char *more)
{
	char *joined;

	if (asprintf(&joined, "%s%s%s", arguments->fuse_options ? arguments->fuse_options : "",
		     arguments->fuse_options ? "," : "", more) < 0)
		abort();
	free(arguments->fuse_options);
	arguments->fuse_options = joined;
}

/* Name the option as it was typed: a short one may be one of several in its word. */
static void option_refuse(int option, char **argv)
{
	const char *what = option == ':' ? "needs an argument" : "unknown option";

	if (optopt > 0 && optopt < 256)
		log_line("-%c: %s; see zramfs --help", optopt, what);
	else
		log_line("%s: %s; see zramfs --help", argv[optind - 1], what);
}

/* Return: -1 to go on, or what to exit with. */
static int arguments_parse(struct arguments *arguments, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, ":c:fo:dVh", long_options, NULL)) != -1) {
		switch (option) {
		case 'c':
			arguments->options.config_path = optarg;
			break;
		case 'f':
			arguments->options.foreground = true;
			break;
		case 'o':
			fuse_options_add(arguments, optarg);
			break;
		case 'd':
			arguments->options.debug = arguments->options.foreground = true;
			break;
		case OPTION_CHECK_CONFIG:
			arguments->check_path = optarg;
			break;
		case 'V':
			puts("zramfs " ZRAMFS_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			option_refuse(option, argv);
			return EXIT_FAILURE;
		}
	}
	return -1;
}

/* With 0, 1 or 2 closed the store or /dev/fuse would become standard output. */
static void standard_descriptors_open(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct arguments arguments = { 0 };
	struct config *config = NULL;
	int status;

	standard_descriptors_open();
	status = arguments_parse(&arguments, argc, argv);
	if (status >= 0)
		goto out;
	status = EXIT_FAILURE;

	if (arguments.check_path && optind == argc) {
		status = config_check(arguments.check_path);
		goto out;
	}
	if (optind + 1 != argc || arguments.check_path) {
		log_line(optind >= argc ? "a mountpoint is needed; see zramfs --help"
					: "one mountpoint is needed, and nothing else; see zramfs "
					  "--help");
		goto out;
	}

	config = config_get(arguments.options.config_path);
	if (config) {
		arguments.options.mountpoint = argv[optind];
		arguments.options.fuse_options = arguments.fuse_options;
		status = worker_run(&arguments.options, config);
	}
out:
	free(arguments.fuse_options);
	return status;
}

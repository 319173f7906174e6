/* SPDX-License-Identifier: GPL-2.0-or-later */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "config.h"
#include "detach.h"
#include "helper.h"
#include "keeper.h"
#include "inherit.h"
#include "log.h"
#include "mount.h"
#include "safety.h"
#include "launch.h"
#include "start.h"
#include "worker.h"

static const char usage[] =
	"Usage: zramfs MOUNTPOINT [-c FILE] [OPTION]...\n"
	"       zramfs --check-config FILE\n"
	"       mount -t fuse.zramfs FILE|none MOUNTPOINT\n"
	"Files under MOUNTPOINT are RAM disks whose pages are kept compressed.\n"
	"\n"
	"  -c, --config=FILE        disks to make, one for each section of FILE;\n"
	"                             without it one disk, zram0, of 25 % of RAM\n"
	"  -f, --foreground         stay in the foreground\n"
	"  -o OPT[,OPT]...          options of FUSE: see mount.fuse3(8)\n"
	"  -d, --debug              print every request; stay in the foreground\n"
	"      --check-config=FILE  say what FILE means, or what is wrong with it\n"
	"      --service            in the foreground, for a service manager that holds\n"
	"                             descriptors: SIGTERM does not end the mount\n"
	"      --no-keeper          one process, for debugging: a kill ends it all\n"
	"  -V, --version            print the version\n"
	"  -h, --help               print this help\n"
	"\n"
	"To read FILE again: kill -HUP the process. To upgrade: zramfsctl upgrade.\n"
	"To undo a mount: umount MOUNTPOINT, or fusermount3 -u MOUNTPOINT as a user.\n"
	"Statistics: cat MOUNTPOINT/.stats\n";

enum {
	OPTION_CHECK_CONFIG = 256,
	OPTION_NO_KEEPER,
	OPTION_SERVICE,
};

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "foreground", no_argument, NULL, 'f' },
	{ "debug", no_argument, NULL, 'd' },
	{ "check-config", required_argument, NULL, OPTION_CHECK_CONFIG },
	{ "no-keeper", no_argument, NULL, OPTION_NO_KEEPER },
	{ "service", no_argument, NULL, OPTION_SERVICE },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct arguments {
	struct options options;
	const char *check_path; /* NULL: not asked for */
	char *fuse_options;     /* all -o, joined */
};

static int config_check(const char *path)
{
	const struct options options = { .config_path = path };
	struct config *config;
	int fd;

	config = start_config(&options, &fd);
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
		case OPTION_NO_KEEPER:
			arguments->options.no_keeper = true;
			break;
		case OPTION_SERVICE:
			arguments->options.service = arguments->options.foreground = true;
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

/* The terminal was left: what is to be said goes elsewhere. */
static bool standard_error_is_null(void)
{
	struct stat null, st;

	return fstat(STDERR_FILENO, &st) == 0 && stat("/dev/null", &null) == 0 &&
	       S_ISCHR(st.st_mode) && st.st_rdev == null.st_rdev;
}

/* Descriptors that whoever started us forgot, such as a lock's, stay open no longer than that: all
 * but those of @kept, in rising order; -1: none. */
static void inherited_close(const int kept[], size_t n_kept)
{
	unsigned int from = STDERR_FILENO + 1;
	size_t i;

	for (i = 0; i < n_kept; ++i) {
		if (kept[i] < 0)
			continue;
		if ((unsigned int)kept[i] > from)
			(void)syscall(SYS_close_range, from, (unsigned int)kept[i] - 1, 0);
		from = (unsigned int)kept[i] + 1;
	}
	(void)syscall(SYS_close_range, from, ~0U, 0);
}

/* All but the text of the configuration, and who is to be told. */
static void all_close(int config, int socket)
{
	const int kept[] = { config < socket ? config : socket, config < socket ? socket : config };

	inherited_close(kept, 2);
}

/* All but what was given, and who is to be told. */
static void others_close(size_t n_given, int socket)
{
	int kept[NOTIFY_GIVEN_MAX + 1];
	size_t i;

	for (i = 0; i < n_given; ++i)
		kept[i] = STDERR_FILENO + 1 + (int)i;
	kept[n_given] = socket;
	inherited_close(kept, n_given + 1);
}

/* What comes before the keeper or the worker takes them waits for that. */
static void signals_block(void)
{
	sigset_t wanted;

	signal(SIGCHLD, SIG_DFL); /* ignored, as it may be inherited, nobody could be waited for */
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGHUP);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGUSR2);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
}

/* Where the configuration is, wherever one stands. What is no file, such as a pipe, stays what it is
 * called. */
static void config_resolve(struct options *options, char path[PATH_MAX])
{
	if (options->config_path && realpath(options->config_path, path))
		options->config_path = path;
}

/* Start what was asked for. Return: what to exit with. */
static int run(struct options *options, struct service *service, char **argv)
{
	char resolved[PATH_MAX], path[PATH_MAX], message[MOUNT_MESSAGE_MAX];
	static struct start start; /* its session stays */
	ZR_CLEANUP(config_freep) struct config *config = NULL;
	struct detach detach;

	config = start_config(options, &start.config_fd);
	if (!config)
		return EXIT_FAILURE;
	all_close(start.config_fd, service->notify.socket);
	signals_block();
	log_catch_fuse(options->debug);
	if (mount_check(options->mountpoint, resolved, message, sizeof(message)) < 0) {
		log_line("%s", message);
		return EXIT_FAILURE;
	}
	options->mountpoint = resolved;
	config_resolve(options, path);

	if (detach_begin(&detach, options->foreground) < 0) {
		log_line("cannot start: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	safety_begin(argv);
	if (start_make(&start, options, config) < 0)
		return EXIT_FAILURE;
	if (options->no_keeper)
		return worker_run_alone(options, &start, ZR_STEAL(config), &detach);
	config = config_free(config);
	return keeper_run(options, &start, &detach, service);
}

/* The kernel was answered by them, and whoever follows must say the same. */
static void fuse_options_stay(struct options *options, const char *before)
{
	const char *now = options->fuse_options ? options->fuse_options : "";

	if (strcmp(now, before) != 0)
		log_line("-o %s: changes when it is mounted anew; as before", now);
	options->fuse_options = before[0] ? before : NULL;
}

/* Go on with what a service manager held, if it did; else start. */
static int run_service(struct options *options, char **argv)
{
	char resolved[PATH_MAX], path[PATH_MAX], message[MOUNT_MESSAGE_MAX];
	static struct notify_given given[NOTIFY_GIVEN_MAX];
	static struct service service;
	static struct inherited inherited; /* its options stay */
	enum inherit found = INHERIT_NOTHING;
	size_t n_given = 0;

	/* Before anything is opened, which could be taken for one of them. */
	if (options->service) {
		signals_block();
		n_given = notify_given(given, NOTIFY_GIVEN_MAX);
	}
	if (options->foreground)
		service_begin(&service, options->service);
	else
		service_none(&service);
	notify_forget_environment();
	if (!options->service)
		return run(options, &service, argv);

	/* There may be nobody who serves, and who reads what is said may be swapped out to us. */
	if (n_given > 0) {
		others_close(n_given, service.notify.socket);
		log_never_block();
	}
	if (mount_where(options->mountpoint, resolved, message, sizeof(message)) < 0) {
		log_line("%s", message);
		return EXIT_FAILURE;
	}
	if (n_given > 0)
		found = inherit_take(&inherited, &service, given, n_given, resolved);
	if (found == INHERIT_REFUSED)
		return EXIT_FAILURE;
	if (found == INHERIT_NOTHING) {
		/* Who else has a file open has its locks. */
		service_settle(&service);
		inherit_clear(resolved);
		return run(options, &service, argv);
	}
	options->mountpoint = resolved;
	config_resolve(options, path);
	fuse_options_stay(options, inherited.fuse_options);
	safety_begin(argv);
	return keeper_run_found(options, &service, &inherited);
}

/* Was this process executed by another of ours? Return: its mode, or NULL. */
static const char *mode_of(int argc, char **argv)
{
	if (argc < 3 || (strcmp(argv[1], "--worker") != 0 && strcmp(argv[1], "--keeper") != 0))
		return NULL;
	return argv[1];
}

/* One that was executed by another: with the words of options_rest() behind its mode. */
static int run_launched(const char *mode, int argc, char **argv)
{
	struct arguments arguments = { 0 };
	struct stat st;
	int fd, status;

	if (fstat(LAUNCH_WIRE, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		log_line("%s: only zramfs itself starts such a process", mode);
		return EXIT_FAILURE;
	}
	if (arguments_parse(&arguments, argc - 1, argv + 1) >= 0 || optind + 1 != argc - 1)
		return EXIT_FAILURE;
	for (fd = LAUNCH_FUSE; fd < LAUNCH_END; ++fd)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	arguments.options.mountpoint = argv[optind + 1];
	arguments.options.fuse_options = arguments.fuse_options;
	if (standard_error_is_null())
		log_to_syslog();
	safety_begin(argv);
	status = strcmp(mode, "--worker") == 0 ? worker_run(&arguments.options)
					       : keeper_run_again(&arguments.options);
	free(arguments.fuse_options);
	return status;
}

int main(int argc, char **argv)
{
	const char *mode = mode_of(argc, argv);
	struct arguments arguments = { 0 };
	int status;

	standard_descriptors_open();
	if (mode) {
		launch_look();
		return run_launched(mode, argc, argv);
	}
	status = helper_is_meant(argc, argv) ? helper_take(&argc, &argv) : -1;
	if (status < 0)
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

	if (arguments.options.service && arguments.options.no_keeper) {
		log_line("--service and --no-keeper: one process has nobody to leave its mount to");
		goto out;
	}
	arguments.options.mountpoint = argv[optind];
	arguments.options.fuse_options = arguments.fuse_options;
	status = run_service(&arguments.options, argv);
out:
	free(arguments.fuse_options);
	return status;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base.h"
#include "wire.h"

#define NAME "@zramfs"

/* What was typed, and the mode. */
#define ARGUMENTS_MAX 64u

extern char **environ;

static bool was_given[LAUNCH_END];

/* Above all fixed numbers first, so that no move overwrites what is still to be moved. */
static int fds_place(const struct launch *launch)
{
	int moved[LAUNCH_END], fd;

	for (fd = LAUNCH_FUSE; fd < LAUNCH_END; ++fd) {
		moved[fd] = -1;
		if (launch->fds[fd] < 0)
			continue;
		moved[fd] = fcntl(launch->fds[fd], F_DUPFD_CLOEXEC, LAUNCH_END);
		if (moved[fd] < 0)
			return -errno;
	}
	/* The program closes itself on its execution, and is opened again by who wants it. */
	for (fd = LAUNCH_FUSE; fd < LAUNCH_END; ++fd) {
		if (moved[fd] < 0)
			close(fd);
		else if (dup2(moved[fd], fd) < 0)
			return -errno;
	}
	return syscall(SYS_close_range, LAUNCH_END, ~0U, 0) < 0 && errno != ENOSYS ? -errno : 0;
}

/* Signals are the keeper's: who types Ctrl-C, or ends all processes of a name, means the mount. They
 * stay ignored across the execution, so there is no moment when one of them kills. A keeper takes
 * them by blocking them, whatever they would do. */
static void signals_leave(void)
{
	static const int ignored[] = { SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGUSR2 };
	sigset_t none;
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(ignored); ++i)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void execute(const struct launch *launch)
{
	struct wire_message refused = { .kind = WIRE_REFUSED };
	char *arguments[ARGUMENTS_MAX + 3] = { (char *)NAME, (char *)launch->mode };
	unsigned int i;
	int r;

	for (i = 0; i < ARGUMENTS_MAX && launch->rest[i]; ++i)
		arguments[i + 2] = launch->rest[i];

	signals_leave();
	r = fds_place(launch);
	if (r == 0) {
		syscall(SYS_execveat, LAUNCH_BINARY, "", arguments, environ, AT_EMPTY_PATH);
		r = -errno;
	}
	refused.error = -r;
	snprintf(refused.text, sizeof(refused.text), "cannot execute it: %s", strerror(-r));
	(void)wire_send(LAUNCH_WIRE, &refused, -1);
	_exit(EXIT_FAILURE);
}

void launch_look(void)
{
	int fd;

	for (fd = LAUNCH_FUSE; fd < LAUNCH_END; ++fd)
		was_given[fd] = fcntl(fd, F_GETFD) >= 0;
}

void launch_back(struct launch *launch, const int fds[ZR_BACKINGS_MAX])
{
	unsigned int i;

	for (i = 0; i < ZR_BACKINGS_MAX; ++i)
		launch->fds[LAUNCH_BACKING + i] = fds[i];
}

int launch_found(enum launch_fd fd)
{
	return was_given[fd] ? (int)fd : -1;
}

pid_t launch_run(const struct launch *launch)
{
	const pid_t child = fork();

	if (child == 0)
		execute(launch);
	return child < 0 ? -errno : child;
}

int launch_orphan(const struct launch *launch)
{
	const pid_t child = fork();
	int status;

	if (child < 0)
		return -errno;
	if (child == 0)
		_exit(launch_run(launch) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EAGAIN;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "detach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

/* Wait until the child is ready or dead, and exit as it would have. */
static _Noreturn void parent_wait(int from_child, pid_t child)
{
	int status = 0;
	char ready;
	ssize_t n;

	do
		n = read(from_child, &ready, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(EXIT_SUCCESS);

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		log_line("the daemon died of signal %d before it was ready", WTERMSIG(status));
	_exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EXIT_FAILURE);
}

int detach_begin(struct detach *detach, bool foreground)
{
	int ends[2];
	pid_t child;

	detach->to_parent = -1;
	if (foreground)
		return 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	fflush(NULL);
	child = fork();
	if (child < 0)
		return -errno;
	if (child > 0) {
		close(ends[1]);
		parent_wait(ends[0], child);
	}

	close(ends[0]);
	detach->to_parent = ends[1];
	setsid();
	return 0;
}

void detach_leave(void)
{
	int null;

	log_to_syslog();
	if (chdir("/") < 0)
		log_line("cannot leave the working directory");
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		close(null); /* above 2: main() made sure that those are open */
	}
}

int detach_ready(struct detach *detach)
{
	int r = 0;

	if (detach->to_parent < 0)
		return 0;

	detach_leave();
	if (write(detach->to_parent, "r", 1) < 0)
		r = -errno;
	close(detach->to_parent);
	detach->to_parent = -1;
	return r;
}

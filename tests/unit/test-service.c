/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What a service manager is told, word for word, and what it is to hold: in order, whatever it reads
 * when; and what a process finds that was started with descriptors.
 */

#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "test.h"

/* In the working directory of the test. */
#define ADDRESS "test-service.socket"

#define TEXT_MAX 600u

static int manager = -1;
static struct service service;

static void set_up(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char path[600];

	(void)unlink(ADDRESS);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(manager >= 0);
	strcpy(address.sun_path, ADDRESS);
	CHECK(bind(manager, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(getcwd(path, sizeof(path) - sizeof(ADDRESS)));
	strcat(path, "/" ADDRESS);
	/* A long one cannot be bound to by its absolute name. */
	CHECK(setenv("NOTIFY_SOCKET", path, 1) == 0);
	service_begin(&service, true);
	CHECK(unsetenv("NOTIFY_SOCKET") == 0);
	if (!service_is_there(&service)) {
		printf("skipped: the working directory has too long a name\n");
		exit(77);
	}
}

static void tear_down(void)
{
	notify_end(&service.notify);
	close(manager);
	(void)unlink(ADDRESS);
}

/* The next message. Return: the descriptor that came with it; -1: none did. */
static int hear(char text[TEXT_MAX])
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { text, TEXT_MAX - 1 };
	struct msghdr header = { .msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control) };
	const ssize_t n = recvmsg(manager, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd = -1;

	text[n > 0 ? n : 0] = 0;
	if (n > 0 && CMSG_FIRSTHDR(&header))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(fd));
	return fd;
}

static void check_heard(const char *wanted, bool has_fd)
{
	char text[TEXT_MAX];
	const int fd = hear(text);

	if (strcmp(text, wanted) != 0)
		fprintf(stderr, "wanted %s, heard %s\n", wanted, text);
	CHECK(strcmp(text, wanted) == 0 && (fd >= 0) == has_fd);
	if (fd >= 0)
		close(fd);
}

static void check_silence(void)
{
	char text[TEXT_MAX];

	CHECK(hear(text) == -1 && text[0] == 0);
}

static void test_names_are_found_again(void)
{
	enum service_slot slot;
	char name[NOTIFY_NAME_MAX];
	static const char *const others[] = { "",
					      "fuse",
					      "zramfs-fuse",
					      "zramfs-fuse-",
					      "zramfs-fuse-0",
					      "zramfs-fuse-1x",
					      "zramfs-fuse--1",
					      "zramfs-fuse-99999999999",
					      "zramfs-backing8-1",
					      "zramfs-backing-1",
					      "zramfs-sample",
					      "zramfs-wire" };
	uint32_t number = 0;
	size_t i;

	for (slot = SERVICE_FUSE; slot <= SERVICE_WIRE; ++slot) {
		service_name(name, slot, 4000000000u);
		CHECK(service_slot_of(name, &number) == slot && number == 4000000000u);
		CHECK(!strchr(name, ':'));
	}
	for (i = 0; i < sizeof(others) / sizeof(others[0]); ++i)
		CHECK(service_slot_of(others[i], &number) == SERVICE_END);
}

static void test_what_is_new_comes_before_what_was_goes(void)
{
	set_up();
	service_keep(&service, SERVICE_FUSE, STDIN_FILENO);
	service_keep(&service, SERVICE_CONFIG, STDOUT_FILENO);
	CHECK(service_sync(&service));
	check_heard("FDSTORE=1\nFDPOLL=0\nFDNAME=zramfs-fuse-1\n", true);
	check_heard("FDSTORE=1\nFDPOLL=0\nFDNAME=zramfs-config-2\n", true);
	CHECK(service_sync(&service));
	check_silence();

	service_keep(&service, SERVICE_CONFIG, STDERR_FILENO);
	CHECK(service_sync(&service));
	check_heard("FDSTORE=1\nFDPOLL=0\nFDNAME=zramfs-config-3\n", true);
	check_heard("FDSTOREREMOVE=1\nFDNAME=zramfs-config-2\n", false);

	/* Twice in between is once. */
	service_keep(&service, SERVICE_CONFIG, STDOUT_FILENO);
	service_keep(&service, SERVICE_CONFIG, STDIN_FILENO);
	CHECK(service_sync(&service));
	check_heard("FDSTORE=1\nFDPOLL=0\nFDNAME=zramfs-config-5\n", true);
	check_heard("FDSTOREREMOVE=1\nFDNAME=zramfs-config-3\n", false);

	service_keep(&service, SERVICE_CONFIG, -1);
	CHECK(service_sync(&service));
	check_heard("FDSTOREREMOVE=1\nFDNAME=zramfs-config-5\n", false);
	check_silence();
	tear_down();
}

static void test_wires_are_told_apart_by_who_has_them(void)
{
	const int ends[] = { STDIN_FILENO, STDOUT_FILENO, -1 };
	const pid_t first[] = { 100, 200, 0 }, moved[] = { 200, 0, 0 }, other[] = { 200, 300, 400 };

	set_up();
	service_keep_wires(&service, first, ends, 3);
	CHECK(service_sync(&service));
	/* Which of the places each has is nobody's concern. */
	check_heard("FDSTORE=1\nFDPOLL=0\nFDNAME=zramfs-wire-200\n", true);
	check_heard("FDSTORE=1\nFDPOLL=0\nFDNAME=zramfs-wire-100\n", true);
	service_keep_wires(&service, moved, ends, 3);
	CHECK(service_sync(&service));
	check_heard("FDSTOREREMOVE=1\nFDNAME=zramfs-wire-100\n", false);
	/* The end of one is the number of another's before. */
	service_keep_wires(&service, other, ends, 3);
	CHECK(service_sync(&service));
	check_heard("FDSTORE=1\nFDPOLL=0\nFDNAME=zramfs-wire-300\n", true);
	check_silence();
	tear_down();
}

static void test_what_was_found_is_held(void)
{
	set_up();
	service_found(&service, SERVICE_PROGRAM, STDIN_FILENO, 17);
	service_drop(&service, "unheard-of");
	CHECK(service_sync(&service));
	check_heard("FDSTOREREMOVE=1\nFDNAME=unheard-of\n", false);
	check_silence();
	service_keep(&service, SERVICE_PROGRAM, STDOUT_FILENO);
	CHECK(service_sync(&service));
	check_heard("FDSTORE=1\nFDPOLL=0\nFDNAME=zramfs-program-18\n", true);
	check_heard("FDSTOREREMOVE=1\nFDNAME=zramfs-program-17\n", false);
	service_end(&service);
	check_heard("FDSTOREREMOVE=1\nFDNAME=zramfs-program-18\n", false);
	check_heard("BARRIER=1", true);
	tear_down();
}

/* More messages than the socket takes. */
static void test_who_does_not_read_is_told_later(void)
{
	char wanted[TEXT_MAX];
	unsigned int i, n_told = 0;

	set_up();
	for (i = 0; i < 20000 && notify_send(&service.notify, "X=1", -1) == 0; ++i)
		++n_told;
	if (n_told == 20000) {
		tear_down();
		return; /* this system has a queue without an end */
	}
	service_keep(&service, SERVICE_FUSE, STDIN_FILENO);
	service_keep(&service, SERVICE_STORE, STDIN_FILENO);
	CHECK(!service_sync(&service) && service.wait_ms > 0);
	service_say(&service, "READY=1");
	service_prove(&service);
	CHECK(service_wanted(&service) == -1 && service.proof == SERVICE_UNKNOWN);
	for (i = 0; i < n_told; ++i)
		check_heard("X=1", false);
	check_silence();

	CHECK(service_sync(&service) && service.wait_ms == 0);
	for (i = SERVICE_FUSE; i <= SERVICE_STORE; ++i) {
		char name[NOTIFY_NAME_MAX];

		service_name(name, (enum service_slot)i, i + 1);
		snprintf(wanted, sizeof(wanted), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s\n", name);
		check_heard(wanted, true);
	}
	service_say(&service, "READY=1");
	service_say(&service, "READY=1");
	check_heard("READY=1", false);
	check_silence();
	tear_down();
}

static void prove(bool holds)
{
	char text[TEXT_MAX];
	int sample, barrier;

	service_prove(&service);
	CHECK(service_wanted(&service) >= 0);
	service_hear(&service);
	CHECK(service.proof == SERVICE_UNKNOWN);
	sample = hear(text);
	CHECK(sample >= 0 && strcmp(text, "FDSTORE=1\nFDPOLL=0\nFDNAME=zramfs-sample\n") == 0);
	barrier = hear(text);
	CHECK(barrier >= 0 && strcmp(text, "BARRIER=1") == 0);
	if (!holds)
		close(sample);
	close(barrier);
	service_hear(&service);
	CHECK(service.proof == (holds ? SERVICE_HOLDS : SERVICE_HOLDS_NOTHING));
	CHECK(service_wanted(&service) == -1);
	if (holds)
		close(sample);
	CHECK(service_sync(&service));
	if (holds)
		check_heard("FDSTOREREMOVE=1\nFDNAME=zramfs-sample\n", false);
	check_silence();
}

static void test_whether_it_holds_anything(void)
{
	set_up();
	prove(true);
	prove(false);
	prove(true);
	/* There is nobody any more. */
	close(manager);
	service_prove(&service);
	CHECK(service.proof == SERVICE_HOLDS_NOTHING);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	tear_down();
}

static void test_nobody_is_told_without_a_socket(void)
{
	CHECK(unsetenv("NOTIFY_SOCKET") == 0);
	service_begin(&service, true);
	CHECK(!service_is_there(&service) && !service_may_hold(&service));
	service_keep(&service, SERVICE_FUSE, STDIN_FILENO);
	CHECK(service_sync(&service) && service.wait_ms == 0);
	service_prove(&service);
	CHECK(service_wanted(&service) == -1);
	service_end(&service);
}

static void test_an_abstract_address(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char name[64], text[TEXT_MAX];
	int n;

	n = snprintf(name, sizeof(name), "@zramfs-test-%d", (int)getpid());
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(address.sun_path, name, (size_t)n);
	address.sun_path[0] = 0;
	CHECK(bind(manager, (struct sockaddr *)&address,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n)) == 0);
	CHECK(setenv("NOTIFY_SOCKET", name, 1) == 0);
	service_begin(&service, false);
	CHECK(service_is_there(&service) && !service_may_hold(&service));
	service_say(&service, "STATUS=said");
	CHECK(hear(text) == -1 && strcmp(text, "STATUS=said") == 0);
	notify_forget_environment();
	CHECK(!getenv("NOTIFY_SOCKET"));
	service_end(&service);
	check_silence(); /* nothing is held, so nothing is to go */
	close(manager);
}

static void given_is(const char *pid, const char *n, const char *names)
{
	CHECK(setenv("LISTEN_PID", pid, 1) == 0 && setenv("LISTEN_FDS", n, 1) == 0);
	if (names)
		CHECK(setenv("LISTEN_FDNAMES", names, 1) == 0);
	else
		CHECK(unsetenv("LISTEN_FDNAMES") == 0);
}

static void test_what_was_given(void)
{
	struct notify_given given[2];
	char self[16];
	int i;

	for (i = 3; i < 7; ++i)
		CHECK(dup2(STDIN_FILENO, i) == i);
	snprintf(self, sizeof(self), "%d", (int)getpid());

	given_is("1", "2", "a:b");
	CHECK(notify_given(given, 2) == 0);
	given_is(self, "two", "a:b");
	CHECK(notify_given(given, 2) == 0);
	given_is(self, "-1", "a:b");
	CHECK(notify_given(given, 2) == 0);

	given_is(self, "2", "zramfs-fuse-1:b");
	CHECK(notify_given(given, 2) == 2);
	CHECK(given[0].fd == 3 && strcmp(given[0].name, "zramfs-fuse-1") == 0);
	CHECK(given[1].fd == 4 && strcmp(given[1].name, "b") == 0);
	CHECK(fcntl(3, F_GETFD) == FD_CLOEXEC && fcntl(5, F_GETFD) == 0);

	/* Fewer names than descriptors; more descriptors than there is room for, or than there are. */
	given_is(self, "2", "a");
	CHECK(notify_given(given, 2) == 2 && given[1].name[0] == 0);
	given_is(self, "2", NULL);
	CHECK(notify_given(given, 2) == 2 && given[0].name[0] == 0);
	given_is(self, "3", "a:b:c");
	CHECK(notify_given(given, 2) == 2 && fcntl(5, F_GETFD) < 0);
	CHECK(fcntl(6, F_GETFD) == 0);
	given_is(self, "99999", "a");
	CHECK(notify_given(given, 2) == 2);
	notify_forget_environment();
	CHECK(notify_given(given, 2) == 0);
	for (i = 3; i < 7; ++i)
		close(i);
}

int main(void)
{
	RUN(test_what_was_given);
	RUN(test_names_are_found_again);
	RUN(test_what_is_new_comes_before_what_was_goes);
	RUN(test_wires_are_told_apart_by_who_has_them);
	RUN(test_what_was_found_is_held);
	RUN(test_who_does_not_read_is_told_later);
	RUN(test_whether_it_holds_anything);
	RUN(test_nobody_is_told_without_a_socket);
	RUN(test_an_abstract_address);
	return 0;
}

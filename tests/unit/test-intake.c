/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Threads that wait for requests, on a socket that gives one message to each read and wakes one
 * sleeper for each, as /dev/fuse does: every message is read once, whether threads look, park or
 * sleep; nobody waits for who is stuck; the post is left when it is to be; an end reaches all; who
 * is idle costs nothing. Reading is wrapped, to be counted, and to fail as of a mount that is gone.
 */

#include "intake.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base.h"
#include "shelf.h"
#include "sync.h"
#include "test.h"

#define N_SERVERS    4u
#define MESSAGES_MAX 20000u
#define POLL_US      200u
#define LONG_US      2000000u

enum kind { SHORT, LONG, STUCK };

struct message {
	uint32_t no;
	enum kind kind;
};

enum looking { NEVER, ALWAYS, BY_TRIAL };

struct server {
	struct intake intake;
	pthread_t thread;
	_Atomic bool has_ended;
};

static int ends[2]; /* what is read, what is written */
static struct gate gate;
static _Atomic uint32_t poll_us;
static struct seat seats[N_SERVERS];
static struct server servers[N_SERVERS];

static _Atomic bool stopping, is_gone, is_released;
static _Atomic bool seen[MESSAGES_MAX];
static _Atomic uint32_t n_seen, n_stuck, who_is_stuck;
static uint32_t n_sent;
static _Atomic unsigned int n_tries;

ssize_t __real_read(int fd, void *bytes, size_t n_bytes);
ssize_t __wrap_read(int fd, void *bytes, size_t n_bytes);

ssize_t __wrap_read(int fd, void *bytes, size_t n_bytes)
{
	const ssize_t n = atomic_load(&is_gone) ? 0 : __real_read(fd, bytes, n_bytes);

	atomic_fetch_add(&n_tries, 1);
	if (n != 0)
		return n;
	errno = ENODEV;
	return -1;
}

static void pause_ms(unsigned int ms)
{
	usleep(ms * 1000);
}

/* the gate, without threads */

static void on_wake(int signal)
{
}

static void look_as(enum looking looking)
{
	atomic_store(&poll_us, looking == NEVER ? 0 : POLL_US);
	if (looking == ALWAYS) {
		atomic_store(&gate.trial.xend_ns, INT64_MAX); /* for ever */
		atomic_store(&gate.trial.xlooks, true);
	}
}

static void set_up(enum looking looking)
{
	struct sigaction action = { .sa_handler = on_wake };
	unsigned int i;

	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	gate_init(&gate, ends[0], &poll_us, seats, N_SERVERS);
	look_as(looking);
	for (i = 0; i < N_SERVERS; ++i)
		CHECK(intake_open(&servers[i].intake, &gate, i + 1) == 0);
	CHECK(fcntl(ends[0], F_GETFL) & O_NONBLOCK);
	for (i = 0; i < MESSAGES_MAX; ++i)
		atomic_store(&seen[i], false);
	n_sent = 0;
	n_seen = n_stuck = who_is_stuck = 0;
	stopping = is_gone = is_released = false;
}

static void tear_down(void)
{
	unsigned int i;

	for (i = 0; i < N_SERVERS; ++i)
		intake_close(&servers[i].intake);
	gate_deinit(&gate);
	close(ends[0]);
	close(ends[1]);
}

static void send_one(enum kind kind)
{
	const struct message message = { .no = n_sent, .kind = kind };

	CHECK(n_sent < MESSAGES_MAX);
	++n_sent;
	CHECK(send(ends[1], &message, sizeof(message), 0) == sizeof(message));
}

/* threads that serve */

static void serve(struct server *server, const struct message *message)
{
	if (message->kind == LONG) {
		intake_leave_post(&server->intake);
		usleep(100);
	}
	if (message->kind == STUCK) {
		atomic_store(&who_is_stuck, server->intake.number);
		atomic_fetch_add(&n_stuck, 1);
		while (!atomic_load(&is_released))
			pause_ms(1);
	}
	CHECK(message->no < MESSAGES_MAX && !atomic_exchange(&seen[message->no], true));
	atomic_fetch_add(&seats[server->intake.number - 1].n_done, 1);
	atomic_fetch_add(&n_seen, 1);
}

static void *serve_all(void *context)
{
	struct server *server = context;
	struct message message;
	ssize_t n;

	while (!atomic_load(&stopping)) {
		n = intake_read(&server->intake, &message, sizeof(message));
		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n == -ENODEV)
			break;
		CHECK(n == sizeof(message));
		serve(server, &message);
	}
	atomic_store(&server->has_ended, true);
	return NULL;
}

static void servers_start(void)
{
	unsigned int i;

	for (i = 0; i < N_SERVERS; ++i) {
		atomic_store(&servers[i].has_ended, false);
		CHECK(pthread_create(&servers[i].thread, NULL, serve_all, &servers[i]) == 0);
	}
}

static void servers_join(void)
{
	unsigned int i;

	for (i = 0; i < N_SERVERS; ++i)
		CHECK(pthread_join(servers[i].thread, NULL) == 0);
}

static unsigned int n_ended(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < N_SERVERS; ++i)
		n += atomic_load(&servers[i].has_ended);
	return n;
}

/* As channel_stop() does. */
static void servers_stop(void)
{
	unsigned int i;

	atomic_store(&stopping, true);
	while (n_ended() < N_SERVERS) {
		for (i = 0; i < N_SERVERS; ++i) {
			if (!atomic_load(&servers[i].has_ended))
				pthread_kill(servers[i].thread, SIGUSR1);
		}
		pause_ms(1);
	}
	servers_join();
}

static void wait_until_seen(uint32_t n)
{
	while (atomic_load(&n_seen) < n)
		sched_yield();
}

/* One looks, and the others are parked. */
static void wait_until_parked(void)
{
	atomic_store(&poll_us, LONG_US);
	do { /* who sleeps is woken, and parks then */
		send_one(SHORT);
		wait_until_seen(n_sent);
		pause_ms(1);
	} while (atomic_load(&gate.n_parked) != N_SERVERS - 1 || atomic_load(&gate.post) == 0);
	atomic_store(&poll_us, POLL_US); /* from the next time on */
}

/* one thread */

static ssize_t read_now(unsigned int server, struct message *message)
{
	return intake_read(&servers[server].intake, message, sizeof(*message));
}

static void *send_later(void *context)
{
	pause_ms(20);
	send_one(SHORT);
	return NULL;
}

/* Have a server find a message by looking. */
static void take_post(unsigned int server)
{
	struct message message;
	pthread_t thread;

	look_as(ALWAYS);
	atomic_store(&poll_us, LONG_US);
	while (atomic_load(&gate.post) != server + 1) {
		CHECK(pthread_create(&thread, NULL, send_later, NULL) == 0);
		while (read_now(server, &message) < 0)
			;
		CHECK(pthread_join(thread, NULL) == 0);
	}
}

static void test_the_post_is_left_when_requests_wait(void)
{
	struct message message;

	set_up(ALWAYS);
	take_post(0);
	send_one(SHORT);
	send_one(SHORT);
	CHECK(read_now(0, &message) == sizeof(message) && message.no == n_sent - 2);
	CHECK(atomic_load(&gate.post) == 0);
	CHECK(read_now(0, &message) == sizeof(message) && message.no == n_sent - 1);
	CHECK(intake_try(&servers[0].intake, &message, sizeof(message)) == -EAGAIN);
	tear_down();
}

static void test_the_post_is_left_by_who_has_it(void)
{
	set_up(ALWAYS);
	take_post(1);
	intake_leave_post(&servers[0].intake);
	CHECK(atomic_load(&gate.post) == 2);
	intake_leave_post(&servers[1].intake);
	CHECK(atomic_load(&gate.post) == 0);
	intake_leave_post(&servers[1].intake);
	CHECK(atomic_load(&gate.post) == 0);
	tear_down();
}

static void *read_one(void *context)
{
	struct message message;
	ssize_t *n = context;

	do
		*n = read_now(0, &message);
	while (*n == -EAGAIN);
	return NULL;
}

static void test_the_post_is_left_by_who_sleeps(void)
{
	pthread_t thread;
	ssize_t n;

	set_up(ALWAYS);
	take_post(0);
	atomic_store(&poll_us, 1000);
	CHECK(pthread_create(&thread, NULL, read_one, &n) == 0);
	while (atomic_load(&gate.post) != 0)
		pause_ms(1);
	send_one(SHORT);
	CHECK(pthread_join(thread, NULL) == 0 && n == sizeof(struct message));
	tear_down();
}

static void test_who_leaves_the_post_wakes_who_is_parked(void)
{
	static const uint32_t hour = 360000; /* as long as that many would wait */
	pthread_t thread;
	ssize_t n;

	set_up(ALWAYS);
	take_post(1);
	atomic_store(&gate.n_parked, hour);
	CHECK(pthread_create(&thread, NULL, read_one, &n) == 0);
	while (atomic_load(&gate.n_parked) == hour)
		pause_ms(1);
	pause_ms(20);
	intake_leave_post(&servers[1].intake);
	while (atomic_load(&gate.n_parked) != hour)
		pause_ms(1);
	send_one(SHORT);
	CHECK(pthread_join(thread, NULL) == 0 && n == sizeof(struct message));
	tear_down();
}

static void test_the_post_is_left_at_the_end(void)
{
	struct message message;
	pthread_t thread;
	ssize_t n;

	set_up(ALWAYS);
	take_post(0);
	CHECK(pthread_create(&thread, NULL, read_one, &n) == 0);
	pause_ms(20); /* it looks */
	atomic_store(&is_gone, true);
	CHECK(pthread_join(thread, NULL) == 0 && n == -ENODEV);
	CHECK(atomic_load(&gate.post) == 0);
	CHECK(read_now(0, &message) == -ENODEV && read_now(1, &message) == -ENODEV);
	tear_down();
}

static void test_who_is_not_to_look_sleeps_at_once(void)
{
	pthread_t thread;
	ssize_t n;

	set_up(ALWAYS);
	look_as(NEVER);
	atomic_store(&n_tries, 0);
	CHECK(pthread_create(&thread, NULL, read_one, &n) == 0);
	while (atomic_load(&n_tries) == 0)
		pause_ms(1);
	pause_ms(50);
	CHECK(atomic_load(&n_tries) == 1 && atomic_load(&gate.post) == 0);
	send_one(SHORT);
	CHECK(pthread_join(thread, NULL) == 0 && n == sizeof(struct message));
	CHECK(atomic_load(&n_tries) == 2 && atomic_load(&gate.post) == 0);
	tear_down();
}

static _Atomic bool has_read;

static void *read_one_and_say(void *context)
{
	struct message message;

	*(ssize_t *)context = read_now(0, &message);
	atomic_store(&has_read, true);
	return NULL;
}

/* One that comes before the thread waits is not seen; so they come until one is. */
static ssize_t read_interrupted(void)
{
	pthread_t thread;
	ssize_t n;

	atomic_store(&has_read, false);
	CHECK(pthread_create(&thread, NULL, read_one_and_say, &n) == 0);
	while (!atomic_load(&has_read)) {
		pthread_kill(thread, SIGUSR1);
		pause_ms(1);
	}
	CHECK(pthread_join(thread, NULL) == 0);
	return n;
}

static void test_signals(void)
{
	set_up(NEVER);
	CHECK(read_interrupted() == -EINTR);
	look_as(ALWAYS);
	CHECK(read_interrupted() == -EINTR);
	atomic_store(&gate.post, 2); /* and it parks */
	CHECK(read_interrupted() == -EAGAIN);
	CHECK(atomic_load(&gate.n_parked) == 0 && atomic_load(&gate.post) == 2);
	tear_down();
}

/* several threads */

/* One at a time and many at once, with pauses in which some sleep, and all do. */
static void send_many(struct rng *rng, uint32_t n_messages, bool interrupt)
{
	while (n_messages > 0) {
		const uint32_t n = 1 + (uint32_t)rng_below(rng, zr_min(n_messages, 30));
		const bool one_by_one = rng_below(rng, 2);
		uint32_t i;

		for (i = 0; i < n; ++i) {
			send_one(rng_below(rng, 4) ? SHORT : LONG);
			if (one_by_one)
				wait_until_seen(n_sent);
		}
		n_messages -= n;
		if (rng_below(rng, 3) == 0)
			usleep((unsigned int)rng_below(rng, 500));
		if (interrupt)
			pthread_kill(servers[rng_below(rng, N_SERVERS)].thread, SIGUSR1);
		if (rng_below(rng, 10) == 0)
			wait_until_seen(n_sent);
	}
	wait_until_seen(n_sent);
	CHECK(atomic_load(&n_seen) == n_sent);
}

static void check_once_each(const char *name, enum looking looking, bool interrupt)
{
	struct rng rng = rng_init(name);

	set_up(looking);
	servers_start();
	send_many(&rng, 1500, interrupt);
	servers_stop();
	CHECK(atomic_load(&n_seen) == n_sent);
	tear_down();
}

static void test_each_is_read_once(void)
{
	check_once_each("never", NEVER, false);
	check_once_each("always", ALWAYS, false);
	check_once_each("by trial", BY_TRIAL, false);
}

static void test_each_is_read_once_though_signals_come(void)
{
	check_once_each("never, signals", NEVER, true);
	check_once_each("always, signals", ALWAYS, true);
	check_once_each("by trial, signals", BY_TRIAL, true);
}

static void test_poll_us_may_change(void)
{
	struct rng rng = rng_init("changes");
	unsigned int i;

	set_up(ALWAYS);
	servers_start();
	for (i = 0; i < 40; ++i) {
		atomic_store(&poll_us, i % 2 ? 0 : POLL_US * (i % 5));
		send_many(&rng, 50, false);
	}
	servers_stop();
	tear_down();
}

/* Who has the post does not come back. The others go round a few times before there is anything. */
static void test_nobody_waits_for_who_is_stuck(void)
{
	unsigned int i;

	set_up(ALWAYS);
	servers_start();
	do { /* one that is parked may be the one who finds it */
		atomic_store(&is_released, true);
		wait_until_parked();
		atomic_store(&is_released, false);
		atomic_store(&n_stuck, 0);
		send_one(STUCK);
		while (atomic_load(&n_stuck) == 0)
			pause_ms(1);
	} while (atomic_load(&gate.post) != atomic_load(&who_is_stuck));

	pause_ms(150);
	CHECK(atomic_load(&gate.post) == atomic_load(&who_is_stuck));
	for (i = 0; i < 20 || atomic_load(&gate.post) == atomic_load(&who_is_stuck); ++i) {
		send_one(SHORT);
		wait_until_seen(n_sent - 1);
	}
	atomic_store(&is_released, true);
	wait_until_seen(n_sent);
	servers_stop();
	tear_down();
}

/* All but one are stuck, one after another. */
static void test_the_last_thread_serves(void)
{
	unsigned int i;

	set_up(ALWAYS);
	servers_start();
	wait_until_parked();
	for (i = 1; i < N_SERVERS; ++i) {
		send_one(STUCK);
		while (atomic_load(&n_stuck) < i)
			pause_ms(1);
	}
	for (i = 0; i < 20; ++i) {
		send_one(i % 2 ? SHORT : LONG);
		wait_until_seen(n_sent - (N_SERVERS - 1));
	}
	atomic_store(&is_released, true);
	wait_until_seen(n_sent);
	servers_stop();
	tear_down();
}

static void test_the_end_reaches_who_looks_and_who_is_parked(void)
{
	set_up(ALWAYS);
	servers_start();
	wait_until_parked();
	atomic_store(&is_gone, true);
	CHECK(shutdown(ends[1], SHUT_RDWR) == 0); /* wakes who sleeps, and nobody else */
	servers_join();
	tear_down();
}

static void test_the_end_reaches_who_is_parked_behind_who_is_stuck(void)
{
	set_up(ALWAYS);
	servers_start();
	wait_until_parked();
	send_one(STUCK);
	while (atomic_load(&n_stuck) == 0)
		pause_ms(1);
	pause_ms(50);
	atomic_store(&is_gone, true);
	CHECK(shutdown(ends[1], SHUT_RDWR) == 0);
	while (n_ended() < N_SERVERS - 1)
		pause_ms(1);
	atomic_store(&is_released, true);
	servers_join();
	tear_down();
}

static void test_the_end_reaches_who_sleeps(void)
{
	set_up(NEVER);
	servers_start();
	pause_ms(50);
	atomic_store(&is_gone, true);
	CHECK(shutdown(ends[1], SHUT_RDWR) == 0);
	servers_join();
	tear_down();
}

static void test_who_is_parked_can_be_stopped(void)
{
	set_up(ALWAYS);
	servers_start();
	wait_until_parked();
	servers_stop();
	tear_down();
}

static int64_t cpu_ns(void)
{
	struct rusage usage;

	CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
	return ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
	       ((int64_t)usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static void test_who_is_idle_costs_nothing(void)
{
	static const enum looking all[] = { NEVER, ALWAYS, BY_TRIAL };
	struct rng rng = rng_init("idle");
	unsigned int i, before;
	int64_t begin_ns;

	for (i = 0; i < ZR_ARRAY_SIZE(all); ++i) {
		set_up(all[i]);
		servers_start();
		send_many(&rng, 300, false);
		/* Each may look once more, and sleeps then. */
		do {
			before = atomic_load(&n_tries);
			pause_ms(100);
		} while (atomic_load(&n_tries) != before || atomic_load(&gate.post) != 0 ||
			 atomic_load(&gate.n_parked) != 0);
		begin_ns = cpu_ns();
		pause_ms(300);
		CHECK(cpu_ns() - begin_ns < 100 * INT64_C(1000000));
		send_many(&rng, 100, false);
		servers_stop();
		tear_down();
	}
}

/* other processes */

/* The next generation stands by: it has the same descriptor, and wakings are not lost on it. */
static void test_who_stands_by_takes_nothing(void)
{
	static const enum looking all[] = { NEVER, ALWAYS, BY_TRIAL };
	struct intake spare[N_SERVERS];
	struct rng rng = rng_init("spare");
	struct gate next;
	unsigned int i, n;

	for (n = 0; n < ZR_ARRAY_SIZE(all); ++n) {
		set_up(all[n]);
		gate_init(&next, ends[0], &poll_us, seats, N_SERVERS);
		for (i = 0; i < N_SERVERS; ++i) /* once behind all, once before one */
			CHECK(intake_open(&spare[i], &next, i + 1) == 0);
		intake_close(&servers[0].intake);
		CHECK(intake_open(&servers[0].intake, &gate, 1) == 0);
		servers_start();
		send_many(&rng, 200, false);
		servers_stop();
		for (i = 0; i < N_SERVERS; ++i)
			intake_close(&spare[i]);
		gate_deinit(&next);
		tear_down();
	}
}

static void test_after_a_kill_the_next_one_reads_all(void)
{
	struct rng rng = rng_init("kill");
	struct message message;
	struct intake intake;
	struct gate before;
	unsigned int i;
	int status;
	pid_t child;

	set_up(ALWAYS);
	for (i = 0; i < 20; ++i) {
		child = fork();
		CHECK(child >= 0);
		if (child == 0) { /* as far as it comes; and it ends with us */
			close(ends[1]);
			gate_init(&before, ends[0], &poll_us, seats, N_SERVERS);
			CHECK(intake_open(&intake, &before, 1) == 0);
			while (intake_read(&intake, &message, sizeof(message)) != -ENODEV)
				;
			_exit(0);
		}
		usleep((unsigned int)rng_below(&rng, 3000));
		CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
		CHECK(fcntl(ends[0], F_GETFL) & O_NONBLOCK);
	}
	servers_start();
	send_many(&rng, 200, false);
	servers_stop();
	tear_down();
}

int main(void)
{
	RUN(test_after_a_kill_the_next_one_reads_all);
	RUN(test_the_post_is_left_when_requests_wait);
	RUN(test_the_post_is_left_by_who_has_it);
	RUN(test_the_post_is_left_by_who_sleeps);
	RUN(test_who_leaves_the_post_wakes_who_is_parked);
	RUN(test_the_post_is_left_at_the_end);
	RUN(test_who_is_not_to_look_sleeps_at_once);
	RUN(test_signals);
	RUN(test_each_is_read_once);
	RUN(test_each_is_read_once_though_signals_come);
	RUN(test_poll_us_may_change);
	RUN(test_nobody_waits_for_who_is_stuck);
	RUN(test_the_last_thread_serves);
	RUN(test_the_end_reaches_who_looks_and_who_is_parked);
	RUN(test_the_end_reaches_who_is_parked_behind_who_is_stuck);
	RUN(test_the_end_reaches_who_sleeps);
	RUN(test_who_is_parked_can_be_stopped);
	RUN(test_who_is_idle_costs_nothing);
	RUN(test_who_stands_by_takes_nothing);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What is suspected of having killed a worker, and what is poison; and what keeper and worker tell
 * each other.
 */

#include "rig.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "shelf.h"
#include "wire.h"

static struct rig rig;
static struct shelf *shelf;

static void set_up(void)
{
	rig_init(&rig);
	CHECK(shelf_get(&shelf, rig.store) == 0);
}

static void tear_down(void)
{
	rig_deinit(&rig);
}

static void take(unsigned int seat, uint64_t unique)
{
	atomic_store(&shelf->seats[seat].unique, unique);
}

static bool all_seats_are_empty(void)
{
	unsigned int i;

	for (i = 0; i < SHELF_SEATS; ++i)
		if (atomic_load(&shelf->seats[i].unique) != 0)
			return false;

	return true;
}

static void test_a_shelf_is_found_again(void)
{
	struct shelf *mapped;

	set_up();
	CHECK(atomic_load(&shelf->version) == SHELF_VERSION);
	CHECK(atomic_load(&shelf->next_serial) == 1);
	atomic_store(&shelf->next_serial, 77);
	rig_reattach(&rig);
	CHECK(shelf_get(&shelf, rig.store) == 0);
	CHECK(atomic_load(&shelf->next_serial) == 77);
	mapped = shelf_map(zr_store_fd(rig.store));
	CHECK(mapped && mapped != shelf && atomic_load(&mapped->next_serial) == 77);
	tear_down();
}

static void test_another_version_is_refused(void)
{
	set_up();
	atomic_store(&shelf->version, SHELF_VERSION + 1);
	CHECK(shelf_get(&shelf, rig.store) == -EPROTONOSUPPORT);
	tear_down();
}

static void test_a_kill_from_outside_makes_nobody_suspect(void)
{
	unsigned int i;

	set_up();
	for (i = 0; i < 5; ++i) {
		take(3, 42);
		shelf_take_over(shelf, false);
		CHECK(all_seats_are_empty());
		CHECK(!shelf_take_poison(shelf, 42));
	}
	tear_down();
}

static void test_in_hand_at_two_faults_is_poison(void)
{
	set_up();
	take(0, 42);
	take(5, 43);
	CHECK(shelf_take_over(shelf, true) == 0);
	CHECK(!shelf_take_poison(shelf, 42) && !shelf_take_poison(shelf, 43));
	take(7, 42);
	take(8, 44);
	/* A kill in between is no fault, and no excuse. */
	shelf_take_over(shelf, false);
	take(7, 42);
	take(8, 44);
	CHECK(shelf_take_over(shelf, true) == 1);
	CHECK(!shelf_take_poison(shelf, 43) && !shelf_take_poison(shelf, 44));
	CHECK(!shelf_take_poison(shelf, 0));
	CHECK(shelf_take_poison(shelf, 42));
	CHECK(!shelf_take_poison(shelf, 42));
	tear_down();
}

static void test_a_fault_without_it_acquits(void)
{
	set_up();
	take(0, 42);
	shelf_take_over(shelf, true);
	take(0, 50);
	shelf_take_over(shelf, true);
	take(0, 42);
	shelf_take_over(shelf, true);
	CHECK(!shelf_take_poison(shelf, 42));
	tear_down();
}

static void test_all_seats_are_suspected(void)
{
	unsigned int i, round;

	set_up();
	for (round = 0; round < 2; ++round) {
		for (i = 0; i < SHELF_SEATS; ++i)
			take(i, 1000 + i);
		shelf_take_over(shelf, true);
	}
	for (i = 0; i < SHELF_SEATS; ++i)
		CHECK(shelf_take_poison(shelf, 1000 + i));
	tear_down();
}

/* wire */

static void test_messages_arrive_whole(void)
{
	struct wire_message sent = { .kind = WIRE_SERVE, .error = -7, .value = UINT64_MAX }, got;
	int ends[2], fd, file;

	CHECK(wire_pair(ends) == 0);
	CHECK(wire_receive(ends[1], &got, &fd) == -EAGAIN);
	memset(sent.text, 'x', sizeof(sent.text));
	file = memfd_create("test", 0);
	CHECK(file >= 0 && wire_send(ends[0], &sent, file) == 0);
	CHECK(wire_say(ends[0], WIRE_DRAIN) == 0);

	CHECK(wire_receive(ends[1], &got, &fd) == 0);
	CHECK(got.kind == WIRE_SERVE && got.error == -7 && got.value == UINT64_MAX);
	CHECK(strlen(got.text) == WIRE_TEXT_MAX - 1 && got.version == SHELF_VERSION);
	CHECK(fd > ends[1] && fd != file && ftruncate(fd, 5) == 0 && lseek(file, 0, SEEK_END) == 5);
	CHECK(close(fd) == 0);
	CHECK(wire_receive(ends[1], &got, &fd) == 0 && got.kind == WIRE_DRAIN && fd == -1);

	CHECK(close(file) == 0 && close(ends[0]) == 0);
	CHECK(wire_receive(ends[1], &got, &fd) == -EPIPE);
	CHECK(wire_say(ends[1], WIRE_READY) == -EPIPE);
	CHECK(close(ends[1]) == 0);
}

static void test_what_is_no_message_is_refused(void)
{
	struct wire_message got;
	int ends[2], fd = 99;

	CHECK(wire_pair(ends) == 0);
	CHECK(send(ends[0], "short", 5, 0) == 5);
	CHECK(wire_receive(ends[1], &got, &fd) == -EPROTO && fd == 99);
	CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

/* Who does not read must not hold up who speaks. */
static void test_sending_never_waits(void)
{
	int ends[2], r = 0;
	unsigned int n;

	CHECK(wire_pair(ends) == 0);
	for (n = 0; r == 0 && n < 100000; ++n)
		r = wire_say(ends[0], WIRE_RELOAD);
	CHECK(r == -EAGAIN);
	CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

int main(void)
{
	RUN(test_a_shelf_is_found_again);
	RUN(test_another_version_is_refused);
	RUN(test_a_kill_from_outside_makes_nobody_suspect);
	RUN(test_in_hand_at_two_faults_is_poison);
	RUN(test_a_fault_without_it_acquits);
	RUN(test_all_seats_are_suspected);
	RUN(test_messages_arrive_whole);
	RUN(test_what_is_no_message_is_refused);
	RUN(test_sending_never_waits);
	return 0;
}

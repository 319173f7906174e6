/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Whether a lock is held is asked of another thread, with trylock. That a wrong order of locks is
 * caught is shown by a child that takes them so and must die of the assertion.
 */

#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "stripes.h"

#define N_LOCKS (ZR_STRIPE_GROUPS * ZR_STRIPES_PER_LEAF)

static struct zr_stripes stripes;

struct question {
	struct zr_rwlock *lock;
	bool shared;
	bool free;
};

static void *ask(void *context)
{
	struct question *question = context;
	pthread_rwlock_t *impl = &question->lock->impl;

	question->free = (question->shared ? pthread_rwlock_tryrdlock(impl)
					   : pthread_rwlock_trywrlock(impl)) == 0;
	if (question->free)
		CHECK(pthread_rwlock_unlock(impl) == 0);
	return NULL;
}

static bool is_free(struct zr_rwlock *lock, bool shared)
{
	struct question question = { .lock = lock, .shared = shared };
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, ask, &question) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	return question.free;
}

static void test_neighbours_do_not_wait(void)
{
	uint64_t page_no, other;

	for (page_no = 0; page_no < 1024; page_no += 8) {
		for (other = 1; other < 8; ++other)
			CHECK(zr_stripe_of(&stripes, 1, page_no) !=
			      zr_stripe_of(&stripes, 1, page_no + other));
	}
}

/* Locks of every leaf lie within the table, and leaves spread over it. */
static void test_leaves_spread(void)
{
	unsigned int used[ZR_STRIPE_GROUPS] = { 0 }, group;
	uint64_t leaf_no, disk_id;

	for (disk_id = 1; disk_id <= 4; ++disk_id) {
		for (leaf_no = 0; leaf_no < 1024; ++leaf_no) {
			const struct zr_rwlock *lock;

			lock = zr_stripe_of(&stripes, disk_id, leaf_no * 512);
			CHECK(lock >= stripes.locks && lock < stripes.locks + N_LOCKS);
			++used[(lock - stripes.locks) / ZR_STRIPES_PER_LEAF];
		}
	}
	for (group = 0; group < ZR_STRIPE_GROUPS; ++group)
		CHECK(used[group] > 0 && used[group] < 4096 / ZR_STRIPE_GROUPS * 3);
}

static void test_leaf_holds_all_its_pages(void)
{
	unsigned int i, n_held = 0;
	uint64_t page_no;

	zr_stripes_lock_leaf(&stripes, 3, 77);
	for (page_no = 77 * 512; page_no < 78 * 512; page_no += 63)
		CHECK(!is_free(zr_stripe_of(&stripes, 3, page_no), true));
	for (i = 0; i < N_LOCKS; ++i)
		n_held += !is_free(&stripes.locks[i], true);
	CHECK(n_held == ZR_STRIPES_PER_LEAF);
	zr_stripes_unlock_leaf(&stripes, 3, 77);
	for (i = 0; i < N_LOCKS; ++i)
		CHECK(is_free(&stripes.locks[i], false));
}

static void test_all_holds_all(void)
{
	unsigned int i;

	zr_stripes_lock_all(&stripes);
	for (i = 0; i < N_LOCKS; ++i)
		CHECK(!is_free(&stripes.locks[i], true));
	zr_stripes_unlock_all(&stripes);
	for (i = 0; i < N_LOCKS; ++i)
		CHECK(is_free(&stripes.locks[i], false));
}

static void test_readers_share(void)
{
	struct zr_rwlock *lock = zr_stripe_of(&stripes, 1, 5);

	{
		ZR_GUARD_SHARED(lock);
		CHECK(is_free(lock, true));
		CHECK(!is_free(lock, false));
	}
	{
		ZR_GUARD_EXCLUSIVE(lock);
		CHECK(!is_free(lock, true));
	}
	CHECK(is_free(lock, false));
}

/* Whoever takes several takes them in rising order, so these end. The sum shows that they exclude.
 */
static unsigned int sum;

static void *take_turns(void *context)
{
	struct rng rng = { .state = (uint64_t)(uintptr_t)context };
	unsigned int i;

	for (i = 0; i < 3000; ++i) {
		const uint64_t leaf_no = rng_below(&rng, 4);

		if (i % 16 == 0) {
			zr_stripes_lock_all(&stripes);
			++sum;
			zr_stripes_unlock_all(&stripes);
		} else {
			zr_stripes_lock_leaf(&stripes, 1, leaf_no);
			zr_stripes_unlock_leaf(&stripes, 1, leaf_no);
		}
	}
	return NULL;
}

static void test_turns_are_taken(void)
{
	pthread_t threads[4];
	uintptr_t i;

	sum = 0;
	for (i = 0; i < 4; ++i)
		CHECK(pthread_create(&threads[i], NULL, take_turns, (void *)(i + 1)) == 0);
	for (i = 0; i < 4; ++i)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(sum == 4 * ((3000 + 15) / 16));
}

/* ranks */

static struct zr_mutex low, high, same, pass, grow;
static struct zr_rwlock shape;

static void in_order(void)
{
	zr_assert_none_held();
	ZR_GUARD_SHARED(&shape);
	ZR_GUARD(&pass);
	ZR_GUARD_SHARED(zr_stripe_of(&stripes, 1, 1));
	ZR_GUARD(&low);
	ZR_GUARD(&grow);
	ZR_GUARD(&high);
	zr_assert_held(ZR_RANK_DISK);
	zr_assert_held(ZR_RANK_COMPACT);
	zr_assert_held(ZR_RANK_STRIPE);
	zr_assert_held(ZR_RANK_TREE);
	zr_assert_held(ZR_RANK_GROW);
	zr_assert_held(ZR_RANK_CLASS);
}

/* Who serves a page must not begin a step of a pass; who has a class must not get it memory. */
static void pass_within_a_page(void)
{
	ZR_GUARD_SHARED(zr_stripe_of(&stripes, 1, 1));
	ZR_GUARD(&pass);
}

static void memory_within_a_class(void)
{
	ZR_GUARD(&high);
	ZR_GUARD(&grow);
}

static void waiting_with_a_lock(void)
{
	ZR_GUARD_SHARED(&shape);
	zr_assert_none_held();
}

static void upwards(void)
{
	ZR_GUARD(&high);
	ZR_GUARD(&low);
}

static void two_of_a_rank(void)
{
	ZR_GUARD(&low);
	ZR_GUARD(&same);
}

static void two_stripes(void)
{
	ZR_GUARD_SHARED(zr_stripe_of(&stripes, 1, 1));
	ZR_GUARD_SHARED(zr_stripe_of(&stripes, 1, 2));
}

static void leaf_within_a_page(void)
{
	ZR_GUARD_EXCLUSIVE(zr_stripe_of(&stripes, 1, 1));
	zr_stripes_lock_leaf(&stripes, 2, 9);
}

static void not_held(void)
{
	zr_assert_held(ZR_RANK_STRIPE);
}

static void shape_within_a_page(void)
{
	ZR_GUARD_SHARED(zr_stripe_of(&stripes, 1, 1));
	ZR_GUARD_SHARED(&shape);
}

/* Return: did a child that ran @locks die of an assertion? */
static bool is_fatal(void (*locks)(void))
{
	const pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (child == 0) {
		/* what it says of itself is not this test's to say */
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
		locks();
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return false;
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	return true;
}

static void test_wrong_orders_are_caught(void)
{
	zr_mutex_init(&low, ZR_RANK_TREE);
	zr_mutex_init(&same, ZR_RANK_TREE);
	zr_mutex_init(&high, ZR_RANK_CLASS);
	zr_mutex_init(&pass, ZR_RANK_COMPACT);
	zr_mutex_init(&grow, ZR_RANK_GROW);
	zr_rwlock_init(&shape, ZR_RANK_DISK);

	CHECK(!is_fatal(in_order));
	if (ZR_DEBUG_LEVEL >= 1) {
		CHECK(is_fatal(upwards));
		CHECK(is_fatal(two_of_a_rank));
		CHECK(is_fatal(two_stripes));
		CHECK(is_fatal(leaf_within_a_page));
		CHECK(is_fatal(not_held));
		CHECK(is_fatal(shape_within_a_page));
		CHECK(is_fatal(pass_within_a_page));
		CHECK(is_fatal(memory_within_a_class));
		CHECK(is_fatal(waiting_with_a_lock));
	}

	zr_mutex_deinit(&low);
	zr_mutex_deinit(&same);
	zr_mutex_deinit(&high);
	zr_mutex_deinit(&pass);
	zr_mutex_deinit(&grow);
	zr_rwlock_deinit(&shape);
}

int main(void)
{
	zr_stripes_init(&stripes);
	RUN(test_neighbours_do_not_wait);
	RUN(test_leaves_spread);
	RUN(test_leaf_holds_all_its_pages);
	RUN(test_all_holds_all);
	RUN(test_readers_share);
	RUN(test_turns_are_taken);
	RUN(test_wrong_orders_are_caught);
	zr_stripes_deinit(&stripes);
	return 0;
}

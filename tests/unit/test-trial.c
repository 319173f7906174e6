/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Whether looking for requests helps is found out by trying, with a clock that is made up: who is
 * idle never looks, what helps is kept and doubted less and less often, what does not help is tried
 * now and then, and when times change it is tried at once.
 */

#include "trial.h"

#include "base.h"
#include "test.h"

#define IDLE   10u
#define BUSY   1000u
#define N_LONG 3000u

/* What is served in a step, with looking and without. */
struct load {
	uint64_t n_look, n_sleep;
};

static struct trial trial;
static int64_t now_ns;
static uint64_t n_served;

static void set_up(void)
{
	trial_init(&trial);
	now_ns = INT64_C(1000000000000);
	n_served = 1000000;
	trial_note(&trial, now_ns, n_served);
	CHECK(!trial_looks(&trial) && trial.stage == TRIAL_IDLE);
}

static void tear_down(void)
{
	trial_deinit(&trial);
}

/* A step goes by, and is noted. */
static void step(const struct load *load)
{
	n_served += trial_looks(&trial) ? load->n_look : load->n_sleep;
	now_ns = atomic_load(&trial.xend_ns);
	CHECK(trial_is_due(&trial, now_ns) && !trial_is_due(&trial, now_ns - 1));
	trial_note(&trial, now_ns, n_served);
	CHECK(!trial_is_due(&trial, now_ns));
}

/* Until something is decided. Return: in how many steps. */
static unsigned int decide(const struct load *load)
{
	unsigned int n = 0;

	do {
		step(load);
		CHECK(++n < 10);
	} while (trial.stage != TRIAL_HOLD);
	return n;
}

/* Until it is doubted. Return: after how many steps. */
static unsigned int hold(const struct load *load)
{
	const bool answer = trial_looks(&trial);
	unsigned int n = 0;

	CHECK(trial.stage == TRIAL_HOLD);
	while (trial.stage == TRIAL_HOLD) {
		CHECK(trial_looks(&trial) == answer);
		step(load);
		CHECK(++n < N_LONG);
	}
	CHECK(trial.stage == TRIAL_SETTLE && trial_looks(&trial));
	return n;
}

static void test_who_is_idle_never_looks(void)
{
	static const struct load loads[] = { { 0, 0 }, { 1, 1 }, { IDLE, IDLE } };
	unsigned int i, n;

	for (i = 0; i < ZR_ARRAY_SIZE(loads); ++i) {
		set_up();
		for (n = 0; n < N_LONG; ++n) {
			step(&loads[i]);
			CHECK(!trial_looks(&trial) && trial.stage == TRIAL_IDLE);
		}
		tear_down();
	}
}

static void test_what_helps_is_kept_for_longer_each_time(void)
{
	static const struct load load = { .n_look = 2 * BUSY, .n_sleep = BUSY };
	unsigned int i, n, n_before = 0, n_held = 0, n_tried = 0;

	set_up();
	for (i = 0; i < 20; ++i) {
		n_tried += decide(&load);
		CHECK(trial_looks(&trial));
		n = hold(&load);
		CHECK(n > n_before || (n == n_before && i > 3));
		n_before = n;
		n_held += n;
	}
	/* In the end hardly anything is lost by trying; but it is not taken for granted either. */
	CHECK(n_held > 20 * n_tried && n_before < N_LONG / 2);
	tear_down();
}

static void test_what_does_not_help_is_tried_again(void)
{
	static const struct load loads[] = { { BUSY, BUSY }, { BUSY / 2, BUSY } };
	unsigned int i, n, n_looking, n_trials;

	for (i = 0; i < ZR_ARRAY_SIZE(loads); ++i) {
		set_up();
		n_looking = n_trials = 0;
		for (n = 0; n < N_LONG; ++n) {
			const enum trial_stage before = trial.stage;

			step(&loads[i]);
			n_looking += trial_looks(&trial);
			n_trials += before == TRIAL_SLEEP;
			if (trial.stage == TRIAL_HOLD)
				CHECK(!trial_looks(&trial));
		}
		CHECK(n_trials >= N_LONG / 100 && n_looking < N_LONG / 10);
		tear_down();
	}
}

/* A twentieth more is the least that counts. */
static void test_hardly_better_is_no_better(void)
{
	static const struct load hardly = { .n_look = BUSY + BUSY / 25, .n_sleep = BUSY };
	static const struct load better = { .n_look = BUSY + BUSY / 15, .n_sleep = BUSY };

	set_up();
	decide(&hardly);
	CHECK(!trial_looks(&trial));
	tear_down();
	set_up();
	decide(&better);
	CHECK(trial_looks(&trial));
	tear_down();
}

static void test_another_answer_is_found_at_the_next_trial(void)
{
	static const struct load helps = { .n_look = BUSY * 3 / 2, .n_sleep = BUSY };
	static const struct load harms = { .n_look = BUSY, .n_sleep = BUSY * 3 / 2 };
	unsigned int i, n_first;

	set_up();
	decide(&helps);
	n_first = hold(&helps);
	for (i = 0; i < 4; ++i) {
		decide(&helps);
		hold(&helps);
	}
	decide(&helps);
	CHECK(hold(&harms) > n_first);
	decide(&harms);
	CHECK(!trial_looks(&trial));
	CHECK(hold(&helps) <= n_first); /* news is doubted soon */
	decide(&helps);
	CHECK(trial_looks(&trial));
	tear_down();
}

static void test_when_much_changes_it_is_tried_at_once(void)
{
	static const struct load usual = { .n_look = 2 * BUSY, .n_sleep = BUSY };
	static const struct load similar = { .n_look = 3 * BUSY, .n_sleep = 2 * BUSY };
	static const struct load more = { .n_look = 6 * BUSY, .n_sleep = 3 * BUSY };
	static const struct load less = { .n_look = BUSY / 2, .n_sleep = BUSY / 3 };
	const struct load *changed[] = { &more, &less };
	unsigned int i, n_usual = 0;

	for (i = 0; i < ZR_ARRAY_SIZE(changed); ++i) {
		set_up();
		decide(&usual);
		hold(&usual);
		decide(&usual);
		n_usual = hold(&usual);
		decide(&usual);
		step(&similar);
		CHECK(trial.stage == TRIAL_HOLD);
		step(changed[i]);
		CHECK(trial.stage == TRIAL_SETTLE && trial_looks(&trial));
		decide(changed[i]);
		CHECK(trial_looks(&trial));
		CHECK(hold(changed[i]) <= n_usual); /* all is new */
		tear_down();
	}
}

static void test_who_becomes_idle_stops_at_once(void)
{
	static const struct load busy = { .n_look = 2 * BUSY, .n_sleep = BUSY };
	static const struct load idle = { IDLE, IDLE };
	unsigned int n_steps, i;

	/* In each stage. */
	for (n_steps = 1; n_steps < 20; ++n_steps) {
		set_up();
		for (i = 0; i < n_steps; ++i)
			step(&busy);
		step(&idle);
		CHECK(!trial_looks(&trial) && trial.stage == TRIAL_IDLE);
		decide(&busy);
		CHECK(trial_looks(&trial));
		tear_down();
	}
}

/* Nobody waited for a request meanwhile, or for nothing else. */
static void test_a_long_gap_is_no_step(void)
{
	static const struct load busy = { .n_look = 2 * BUSY, .n_sleep = BUSY };
	unsigned int n_steps, i;

	for (n_steps = 1; n_steps < 20; ++n_steps) {
		set_up();
		for (i = 0; i < n_steps; ++i)
			step(&busy);
		now_ns += INT64_C(3600) * 1000000000;
		n_served += i % 2 ? 1 : 1000000000;
		trial_note(&trial, now_ns, n_served);
		CHECK(!trial_looks(&trial) && trial.stage == TRIAL_IDLE);
		decide(&busy);
		CHECK(trial_looks(&trial));
		tear_down();
	}
}

static void test_before_its_end_a_step_is_not_noted(void)
{
	static const struct load busy = { .n_look = 2 * BUSY, .n_sleep = BUSY };
	int64_t end_ns;

	set_up();
	step(&busy);
	CHECK(trial.stage == TRIAL_SETTLE);
	end_ns = atomic_load(&trial.xend_ns);
	trial_note(&trial, end_ns - 1, n_served + 1);
	CHECK(trial.stage == TRIAL_SETTLE && atomic_load(&trial.xend_ns) == end_ns);
	tear_down();
}

/* Whoever counted was put off between counting and noting. */
static void test_a_count_that_comes_too_late(void)
{
	static const struct load busy = { .n_look = BUSY, .n_sleep = BUSY };

	set_up();
	decide(&busy);
	CHECK(!trial_looks(&trial));
	trial_note(&trial, atomic_load(&trial.xend_ns), n_served - 1);
	CHECK(!trial_looks(&trial) && trial.stage == TRIAL_IDLE);
	tear_down();
}

/* threads that all note */

#define N_THREADS 4u

static _Atomic int64_t shared_ns;
static _Atomic uint64_t shared_served;

static void *note_often(void *context)
{
	unsigned int i;

	for (i = 0; i < 20000; ++i) {
		const int64_t at_ns = atomic_fetch_add(&shared_ns, 10000) + 10000;
		const uint64_t n = atomic_fetch_add(&shared_served, trial_looks(&trial) ? 20 : 10);

		if (trial_is_due(&trial, at_ns))
			trial_note(&trial, at_ns, n);
	}
	return NULL;
}

static void test_threads_at_once(void)
{
	pthread_t threads[N_THREADS];
	unsigned int i;

	set_up();
	atomic_store(&shared_ns, now_ns);
	atomic_store(&shared_served, n_served);
	for (i = 0; i < N_THREADS; ++i)
		CHECK(pthread_create(&threads[i], NULL, note_often, NULL) == 0);
	for (i = 0; i < N_THREADS; ++i)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(pthread_mutex_trylock(&trial.lock) == 0 && pthread_mutex_unlock(&trial.lock) == 0);
	CHECK(atomic_load(&trial.xend_ns) > now_ns && trial.n_begin > n_served);
	tear_down();
}

int main(void)
{
	RUN(test_who_is_idle_never_looks);
	RUN(test_what_helps_is_kept_for_longer_each_time);
	RUN(test_what_does_not_help_is_tried_again);
	RUN(test_hardly_better_is_no_better);
	RUN(test_another_answer_is_found_at_the_next_trial);
	RUN(test_when_much_changes_it_is_tried_at_once);
	RUN(test_who_becomes_idle_stops_at_once);
	RUN(test_a_long_gap_is_no_step);
	RUN(test_before_its_end_a_step_is_not_noted);
	RUN(test_a_count_that_comes_too_late);
	RUN(test_threads_at_once);
	return 0;
}

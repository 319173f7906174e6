/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "trial.h"

#include "base.h"

#define STEP_NS INT64_C(20000000)

#define HOLD_MIN    8u
#define HOLD_MAX    256u
#define HOLD_NO_MAX 32u

/* In a step: a thousand a second. Fewer are not worth up to a core of looking. */
#define SERVED_MIN 20u

void trial_init(struct trial *trial)
{
	*trial = (struct trial){ .n_hold = HOLD_MIN };
	pthread_mutex_init(&trial->lock, NULL);
}

void trial_deinit(struct trial *trial)
{
	pthread_mutex_destroy(&trial->lock);
}

static void stage_begin(struct trial *trial, enum trial_stage stage, bool looks)
{
	trial->stage = stage;
	atomic_store(&trial->xlooks, looks);
}

static void decide(struct trial *trial, uint64_t sleep_rate)
{
	const bool answer = trial->look_rate > sleep_rate + sleep_rate / 20;

	trial->n_hold = answer == trial->last_answer
				? (unsigned int)zr_min(trial->n_hold * 2,
						       answer ? HOLD_MAX : HOLD_NO_MAX)
				: HOLD_MIN;
	trial->last_answer = answer;
	trial->n_left = trial->n_hold;
	trial->hold_rate = answer ? trial->look_rate : sleep_rate;
	stage_begin(trial, TRIAL_HOLD, answer);
}

static bool has_changed(const struct trial *trial, uint64_t rate)
{
	return rate > 2 * trial->hold_rate || 2 * rate < trial->hold_rate;
}

static void step_end(struct trial *trial, uint64_t n_served, int64_t took_ns)
{
	const uint64_t rate = n_served * 1000000000 / (uint64_t)took_ns;

	if (n_served < SERVED_MIN) {
		trial->n_hold = HOLD_MIN;
		stage_begin(trial, TRIAL_IDLE, false);
		return;
	}
	switch (trial->stage) {
	case TRIAL_IDLE:
		stage_begin(trial, TRIAL_SETTLE, true);
		break;
	case TRIAL_SETTLE:
		stage_begin(trial, TRIAL_LOOK, true);
		break;
	case TRIAL_LOOK:
		trial->look_rate = rate;
		stage_begin(trial, TRIAL_SLEEP, false);
		break;
	case TRIAL_SLEEP:
		decide(trial, rate);
		break;
	case TRIAL_HOLD:
		if (has_changed(trial, rate))
			trial->n_hold = HOLD_MIN;
		if (--trial->n_left == 0 || has_changed(trial, rate))
			stage_begin(trial, TRIAL_SETTLE, true);
		break;
	}
}

void trial_note(struct trial *trial, int64_t now_ns, uint64_t n_served)
{
	if (pthread_mutex_trylock(&trial->lock) != 0)
		return; /* another thread is about it */
	if (trial_is_due(trial, now_ns)) {
		/* What began long ago is about other times. Who counted may have been late: what it
		 * counted then is less than what was known before. */
		if (now_ns - trial->begin_ns < 4 * STEP_NS && n_served >= trial->n_begin)
			step_end(trial, n_served - trial->n_begin, now_ns - trial->begin_ns);
		else
			stage_begin(trial, TRIAL_IDLE, false);
		trial->begin_ns = now_ns;
		trial->n_begin = n_served;
		atomic_store(&trial->xend_ns, now_ns + STEP_NS);
	}
	pthread_mutex_unlock(&trial->lock);
}

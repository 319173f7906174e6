/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "lanes.h"

#include "heap.h"
#include "hurry.h"
#include "shelf.h"

static const struct thread_kind lane_kind = { .name = "zramfs-ring",
					      .n_heap = HEAP_BYTES,
					      .moves_pages = true };

static bool wait_begin(struct lanes *lanes)
{
	bool is_wanted;

	pthread_mutex_lock(&lanes->gate);
	while (!lanes->is_open)
		pthread_cond_wait(&lanes->opened, &lanes->gate);
	is_wanted = !lanes->is_unwanted;
	pthread_mutex_unlock(&lanes->gate);
	return is_wanted;
}

static void lane_main(void *context)
{
	struct lane *lane = context;
	struct lanes *lanes = lane->lanes;
	const unsigned int i = (unsigned int)(lane - lanes->lane);

	thread_self.seat = &lanes->seats[i];
	if (wait_begin(lanes))
		rings_run(lanes->rings, i);
	lanes->ended(lanes->context);
}

int lanes_start(struct lanes *lanes, struct rings *rings, struct seat *seats,
		void (*ended)(void *context), void *context)
{
	int r = 0;

	*lanes = (struct lanes){
		.rings = rings, .seats = seats, .ended = ended, .context = context
	};
	pthread_mutex_init(&lanes->gate, NULL);
	pthread_cond_init(&lanes->opened, NULL);
	while (r == 0 && lanes->n_lanes < rings_count(rings)) {
		struct lane *lane = &lanes->lane[lanes->n_lanes];

		lane->lanes = lanes;
		r = thread_start(&lane->thread, &lane->room, &lane_kind, lane_main, lane);
		if (r == 0)
			++lanes->n_lanes;
	}
	return r;
}

void lanes_lock(struct lanes *lanes)
{
	unsigned int i;

	for (i = 0; i < lanes->n_lanes; ++i)
		buffer_lock(&lanes->lane[i].room.stack);
}

void lanes_calm(struct lanes *lanes)
{
	unsigned int i;

	for (i = 0; i < lanes->n_lanes; ++i)
		hurry_end(lanes->lane[i].thread);
}

static void gate_open(struct lanes *lanes, bool is_unwanted)
{
	pthread_mutex_lock(&lanes->gate);
	if (!lanes->is_open) {
		lanes->is_open = true;
		lanes->is_unwanted = is_unwanted;
		pthread_cond_broadcast(&lanes->opened);
	}
	pthread_mutex_unlock(&lanes->gate);
}

void lanes_begin(struct lanes *lanes)
{
	gate_open(lanes, false);
}

void lanes_join(struct lanes *lanes)
{
	unsigned int i;

	if (!lanes->rings)
		return;
	gate_open(lanes, true);
	for (i = 0; i < lanes->n_lanes; ++i)
		thread_join(lanes->lane[i].thread, &lanes->lane[i].room);
	pthread_cond_destroy(&lanes->opened);
	pthread_mutex_destroy(&lanes->gate);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "crew.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "heap.h"
#include "hurry.h"
#include "shelf.h"
#include "sync.h"
#include "thread.h"

/* A MiB has sixteen parts: more hands than seven hardly shorten it, as its copies are by one. */
#define CREW_MAX   7u
#define PART_BYTES (UINT64_C(16) << 10)

/* From here on a second thread is worth waking: 0.2 ms of work. */
#define READ_MIN_BYTES  (512u << 10)
#define WRITE_MIN_BYTES (128u << 10)

/* How long who waits for the last part looks before it sleeps: a part takes as long. */
#define LOOK_NS 20000

/* A MiB is 2 ms. What takes longer waits for memory, and how long it may is said of a request: what
 * is left then is done by one, which is refused when its time is over. */
#define TOGETHER_NS 20000000

struct offer {
	/* constant */
	struct zr_disk *disk;
	uint64_t offset;
	uint8_t *bytes;
	size_t n_bytes;
	bool is_write;
	unsigned int n_parts;
	int64_t end_ns; /* nobody begins with a part later */

	_Atomic unsigned int next_part; /* all below it are somebody's */
	_Atomic unsigned int n_inside;  /* of the crew; changed with the lock held */
	/* protected by the crew's lock */
	struct offer *next;
	size_t n_done; /* bytes, up to the first part that was not done whole */
	int error;     /* of that part */
};

struct crew {
	/* constant */
	struct shelf *shelf;
	unsigned int n_serving, n_cores, n_threads;
	pthread_t threads[CREW_MAX];
	struct thread_room rooms[CREW_MAX];

	pthread_mutex_t lock;
	pthread_cond_t offered, left;
	/* protected by lock */
	struct offer *first;
	unsigned int n_idle;
	bool stopping;
};

/* parts */

static size_t do_bytes(const struct offer *offer, size_t at, size_t n_bytes, int *errorp)
{
	uint8_t *bytes = offer->bytes + at;
	size_t n_done = 0;

	*errorp = offer->is_write ? zr_disk_write(offer->disk, thread_self.ctx, offer->offset + at,
						  bytes, n_bytes, &n_done)
				  : zr_disk_read(offer->disk, thread_self.ctx, offer->offset + at,
						 bytes, n_bytes, &n_done);
	return n_done;
}

/* Parts end where a multiple of their size does, so that no page has two. */
static size_t part_begin(const struct offer *offer, unsigned int part)
{
	const uint64_t first = offer->offset / PART_BYTES;

	return part == 0 ? 0 : (size_t)((first + part) * PART_BYTES - offer->offset);
}

/* What lies behind it need not be done any more: each part might wait in vain for itself. */
static void part_failed(struct crew *crew, struct offer *offer, size_t n_done, int error)
{
	atomic_store(&offer->next_part, offer->n_parts);
	pthread_mutex_lock(&crew->lock);
	if (n_done < offer->n_done) {
		offer->n_done = n_done;
		offer->error = error;
	}
	pthread_mutex_unlock(&crew->lock);
}

static bool has_parts(struct offer *offer)
{
	return atomic_load(&offer->next_part) < offer->n_parts && zr_monotonic_ns() < offer->end_ns;
}

/* Do parts until there are none left. */
static void parts_do(struct crew *crew, struct offer *offer)
{
	size_t begin, end, n_done;
	unsigned int part;
	int error;

	while (has_parts(offer) &&
	       (part = atomic_fetch_add(&offer->next_part, 1)) < offer->n_parts) {
		begin = part_begin(offer, part);
		end = part + 1 < offer->n_parts ? part_begin(offer, part + 1) : offer->n_bytes;
		n_done = do_bytes(offer, begin, end - begin, &error);
		if (error < 0 || n_done < end - begin)
			part_failed(crew, offer, begin + n_done, error);
	}
}

/* the crew */

static struct offer *offer_find_locked(struct crew *crew)
{
	struct offer *offer = crew->first;

	while (offer && !has_parts(offer))
		offer = offer->next;
	return offer;
}

static void crew_main(void *context)
{
	struct crew *crew = context;
	struct offer *offer;

	pthread_mutex_lock(&crew->lock);
	while (!crew->stopping) {
		offer = offer_find_locked(crew);
		if (!offer) {
			++crew->n_idle;
			pthread_cond_wait(&crew->offered, &crew->lock);
			--crew->n_idle;
			continue;
		}
		atomic_fetch_add(&offer->n_inside, 1);
		pthread_mutex_unlock(&crew->lock);
		parts_do(crew, offer);
		pthread_mutex_lock(&crew->lock);
		if (atomic_fetch_sub(&offer->n_inside, 1) == 1)
			pthread_cond_broadcast(&crew->left);
	}
	pthread_mutex_unlock(&crew->lock);
}

/* offering */

/* How many of the crew have a core to themselves. */
static unsigned int hands_wanted_locked(const struct crew *crew, unsigned int n_parts)
{
	unsigned int n_busy = crew->n_threads - crew->n_idle, i;

	for (i = 0; i < crew->n_serving; ++i)
		n_busy += atomic_load_explicit(&crew->shelf->seats[i].unique,
					       memory_order_relaxed) != 0;
	if (n_busy >= crew->n_cores)
		return 0;
	return (unsigned int)zr_min(zr_min(crew->n_cores - n_busy, crew->n_idle), n_parts - 1);
}

/* Return: false if nobody is there for it. */
static bool offer_begin(struct crew *crew, struct offer *offer)
{
	unsigned int n_hands, i;

	pthread_mutex_lock(&crew->lock);
	n_hands = hands_wanted_locked(crew, offer->n_parts);
	if (n_hands > 0) {
		offer->next = crew->first;
		crew->first = offer;
	}
	for (i = 0; i < n_hands; ++i)
		pthread_cond_signal(&crew->offered);
	pthread_mutex_unlock(&crew->lock);
	return n_hands > 0;
}

/* Nobody has it any more when this returns. */
static void offer_end(struct crew *crew, struct offer *offer)
{
	const int64_t look_end_ns = zr_monotonic_ns() + LOOK_NS;
	struct offer **link = &crew->first;

	while (atomic_load(&offer->n_inside) > 0 && zr_monotonic_ns() < look_end_ns)
		;
	pthread_mutex_lock(&crew->lock);
	while (*link != offer)
		link = &(*link)->next;
	*link = offer->next;
	while (atomic_load(&offer->n_inside) > 0)
		pthread_cond_wait(&crew->left, &crew->lock);
	pthread_mutex_unlock(&crew->lock);
}

/* Growing is left to one: what lies past the end must not be there before what lies below it. */
static bool is_worth_it(const struct crew *crew, const struct offer *offer)
{
	const size_t n_min = offer->is_write ? WRITE_MIN_BYTES : READ_MIN_BYTES;
	const uint64_t size = zr_disk_size(offer->disk);

	return crew->n_threads > 0 && offer->n_bytes >= n_min && offer->offset <= size &&
	       offer->n_bytes <= size - offer->offset;
}

/* What all have left, if all that they took was done. */
static void rest_do(struct offer *offer)
{
	const unsigned int part = atomic_load(&offer->next_part);
	size_t begin;

	if (part >= offer->n_parts)
		return;
	begin = part_begin(offer, part);
	offer->n_done = begin + do_bytes(offer, begin, offer->n_bytes - begin, &offer->error);
}

static void parts_make(struct offer *offer)
{
	const uint64_t end = offer->offset + offer->n_bytes;

	offer->n_parts =
		(unsigned int)((end + PART_BYTES - 1) / PART_BYTES - offer->offset / PART_BYTES);
	offer->n_done = offer->n_bytes;
	offer->end_ns = zr_monotonic_ns() + TOGETHER_NS;
}

static int request_do(struct crew *crew, struct offer *offer, size_t *n_donep)
{
	bool is_offered = is_worth_it(crew, offer);

	if (is_offered) {
		parts_make(offer);
		is_offered = offer_begin(crew, offer);
	}
	if (is_offered) {
		parts_do(crew, offer);
		offer_end(crew, offer);
		rest_do(offer);
	} else {
		offer->n_done = do_bytes(offer, 0, offer->n_bytes, &offer->error);
	}
	*n_donep = offer->n_done;
	return offer->error;
}

int crew_read(struct crew *crew, struct zr_disk *disk, uint64_t offset, void *bytes, size_t n_bytes,
	      size_t *n_readp)
{
	struct offer offer = { .disk = disk, .offset = offset, .bytes = bytes, .n_bytes = n_bytes };

	return request_do(crew, &offer, n_readp);
}

int crew_write(struct crew *crew, struct zr_disk *disk, uint64_t offset, const void *bytes,
	       size_t n_bytes, size_t *n_writtenp)
{
	struct offer offer = { .disk = disk,
			       .offset = offset,
			       .bytes = (uint8_t *)bytes, /* read alone */
			       .n_bytes = n_bytes,
			       .is_write = true };

	return request_do(crew, &offer, n_writtenp);
}

/* making and ending */

static const struct thread_kind crew_kind = { .name = "zramfs-crew",
					      .n_heap = HEAP_JOB_BYTES,
					      .moves_pages = true };

int crew_new(struct crew **crewp, struct shelf *shelf, unsigned int n_serving)
{
	const long n_cores = sysconf(_SC_NPROCESSORS_ONLN);
	const unsigned int n_wanted =
		(unsigned int)zr_min(zr_min(n_serving, (uint64_t)(n_cores > 0 ? n_cores : 1)) - 1,
				     CREW_MAX);
	struct crew *crew;
	int r = 0;

	crew = calloc(1, sizeof(*crew));
	if (!crew)
		return -ENOMEM;
	crew->shelf = shelf;
	crew->n_serving = n_serving;
	crew->n_cores = (unsigned int)(n_cores > 0 ? n_cores : 1);
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->offered, NULL);
	pthread_cond_init(&crew->left, NULL);

	while (r == 0 && crew->n_threads < n_wanted) {
		r = thread_start(&crew->threads[crew->n_threads], &crew->rooms[crew->n_threads],
				 &crew_kind, crew_main, crew);
		crew->n_threads += r == 0;
	}
	if (r < 0) {
		crew_free(crew);
		return r;
	}
	*crewp = crew;
	return 0;
}

struct crew *crew_free(struct crew *crew)
{
	unsigned int i;

	if (!crew)
		return NULL;
	pthread_mutex_lock(&crew->lock);
	crew->stopping = true;
	pthread_cond_broadcast(&crew->offered);
	pthread_mutex_unlock(&crew->lock);
	for (i = 0; i < crew->n_threads; ++i)
		thread_join(crew->threads[i], &crew->rooms[i]);
	pthread_cond_destroy(&crew->left);
	pthread_cond_destroy(&crew->offered);
	pthread_mutex_destroy(&crew->lock);
	free(crew);
	return NULL;
}

void crew_lock(struct crew *crew)
{
	unsigned int i;

	for (i = 0; i < crew->n_threads; ++i)
		buffer_lock(&crew->rooms[i].stack);
}

void crew_calm(struct crew *crew)
{
	unsigned int i;

	for (i = 0; i < crew->n_threads; ++i)
		hurry_end(crew->threads[i]);
}

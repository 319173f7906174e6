/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Entries: how much memory they take, the same address for each generation, requests that lie in one
 * piece, and answers where the kernel looks for them. And lists of processors.
 */

#include <errno.h>
#include <linux/fuse.h>
#include <sys/uio.h>

#include "cpus.h"
#include "entries.h"
#include "test.h"

#define PAYLOAD (64u << 10)

static cpu_set_t set_of(const char *list)
{
	cpu_set_t set;

	CHECK(cpus_parse(list, &set) == 0);
	return set;
}

static void test_lists(void)
{
	static const char *const wrong[] = { "",     "\n", "a",  "1-", "-1",  "3-1",
					     "1,,2", "1,", " 1", "1 ", "0x1", "1;2" };
	cpu_set_t set = set_of("0-3,8\n");
	unsigned int i;

	CHECK(CPU_COUNT(&set) == 5 && CPU_ISSET(3, &set) && CPU_ISSET(8, &set));
	set = set_of("0");
	CHECK(CPU_COUNT(&set) == 1 && CPU_ISSET(0, &set));
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); ++i)
		CHECK(cpus_parse(wrong[i], &set) == -EINVAL);
	CHECK(cpus_parse("0-1024", &set) == -ERANGE);
	CHECK(cpus_read("/not/there", &set) == -ENOENT);
	CHECK(cpus_read(CPUS_ONLINE, &set) == 0 && CPU_COUNT(&set) > 0);
}

/* One entry is enough for a processor that is not there. */
static void test_plan(void)
{
	const cpu_set_t possible = set_of("0-15"), online = set_of("0-3");
	struct entries_plan plan;

	CHECK(entries_plan(&plan, &possible, &online, 32, PAYLOAD) == 0);
	CHECK(plan.n_queues == 16 && plan.n_online == 4);
	CHECK(plan.n_entries == 4 * 32 + 12);
	CHECK(plan.n_bytes >= (uint64_t)plan.n_entries * (PAYLOAD + 4096));
	CHECK(plan.n_bytes <= (uint64_t)plan.n_entries * (PAYLOAD + 4096) + 4096);
	CHECK(entries_plan(&plan, &possible, &online, 0, PAYLOAD) == -ERANGE);
	CHECK(entries_plan(&plan, &possible, &online, ENTRIES_DEPTH_MAX + 1, PAYLOAD) == -ERANGE);
	CHECK(entries_plan(&plan, &possible, &online, 1, 1000) == -ERANGE);
}

static struct entries_head *made(int *fdp)
{
	const cpu_set_t possible = set_of("0-3"), online = set_of("0-1");
	struct entries_head *head;
	struct entries_plan plan;

	CHECK(entries_plan(&plan, &possible, &online, 2, PAYLOAD) == 0);
	*fdp = entries_make(&plan, &online);
	CHECK(*fdp >= 0 && entries_map(&head, *fdp) == 0);
	CHECK(head->n_bytes == plan.n_bytes && head->n_entries == 6 && head->depth == 2);
	return head;
}

static void test_queues(void)
{
	static const uint32_t wanted[] = { 0, 0, 1, 1, 2, 3 };
	struct entries_head *head, *look;
	unsigned int i;
	int fd;

	head = made(&fd);
	for (i = 0; i < head->n_entries; ++i) {
		CHECK(head->slots[i].queue == wanted[i] && head->slots[i].state == ENTRY_NEW);
		CHECK(entry_payload(head, i) + PAYLOAD <= (uint8_t *)head + head->n_bytes);
		CHECK((uintptr_t)entry_payload(head, i) % 4096 == 0);
	}
	look = entries_look(fd);
	CHECK(look && look != head && !atomic_load(&look->is_live));
	atomic_store(&head->is_live, 1);
	CHECK(atomic_load(&look->is_live));
	entries_unmap(head);
	close(fd);
}

/* What one generation has left lies where the next one finds it; nowhere else will do. */
static void test_the_same_address(void)
{
	struct entries_head *first, *second;
	int fd;

	first = made(&fd);
	memset(entry_payload(first, 5), 7, PAYLOAD);
	CHECK(entries_map(&second, fd) == -EEXIST);
	entries_unmap(first);
	CHECK(entries_map(&second, fd) == 0 && second == first);
	CHECK(entry_payload(second, 5)[PAYLOAD - 1] == 7);
	second->version = ENTRIES_VERSION + 1;
	entries_unmap(second);
	CHECK(entries_map(&second, fd) == -EPROTONOSUPPORT);
	close(fd);
}

/* As the kernel lays one out. */
static void put(struct entries_head *head, unsigned int i, uint32_t len, const void *arguments,
		size_t n_arguments, size_t n_payload)
{
	const struct fuse_in_header in = { .len = len, .opcode = FUSE_WRITE, .unique = 42 };
	struct uring_head *to = entry_head(head, i);

	memcpy(to->in_out, &in, sizeof(in));
	memcpy(to->op_in, arguments, n_arguments);
	to->entry.n_payload = (uint32_t)n_payload;
}

static void test_requests(void)
{
	const struct fuse_write_in write_in = { .offset = 4096, .size = 100 };
	const struct fuse_in_header *in;
	struct entries_head *head;
	const uint8_t *request;
	int fd;

	head = made(&fd);
	memset(entry_payload(head, 3), 'x', 100);
	put(head, 3, sizeof(*in) + sizeof(write_in) + 100, &write_in, sizeof(write_in), 100);
	CHECK(entry_request(head, 3, &request) == sizeof(*in) + sizeof(write_in) + 100);
	in = (const struct fuse_in_header *)request;
	CHECK(in->unique == 42 && memcmp(in + 1, &write_in, sizeof(write_in)) == 0);
	CHECK(request + sizeof(*in) + sizeof(write_in) == entry_payload(head, 3));
	CHECK(entry_payload(head, 3)[99] == 'x');

	/* without arguments, and with the most of them */
	put(head, 3, sizeof(*in) + 6, "", 0, 6);
	CHECK(entry_request(head, 3, &request) == sizeof(*in) + 6);
	CHECK(request + sizeof(*in) == entry_payload(head, 3));
	put(head, 3, sizeof(*in) + URING_OP_BYTES, "", 0, 0);
	CHECK(entry_request(head, 3, &request) == sizeof(*in) + URING_OP_BYTES);

	/* what is none */
	put(head, 3, sizeof(*in) + URING_OP_BYTES + 8, "", 0, 0);
	CHECK(entry_request(head, 3, &request) == 0);
	put(head, 3, sizeof(*in) + 99, "", 0, 100);
	CHECK(entry_request(head, 3, &request) == 0);
	put(head, 3, UINT32_MAX, "", 0, PAYLOAD + 1);
	CHECK(entry_request(head, 3, &request) == 0);
	put(head, 3, 0, "", 0, 0);
	CHECK(entry_request(head, 3, &request) == 0);
	entries_unmap(head);
	close(fd);
}

static void test_answers(void)
{
	struct fuse_out_header out = { .len = 0, .error = -5, .unique = 42 };
	struct iovec parts[3] = { { &out, sizeof(out) },
				  { (void *)"abc", 3 },
				  { (void *)"defg", 4 } };
	struct entries_head *head;
	struct uring_head *at;
	uint8_t *payload;
	int fd;

	head = made(&fd);
	at = entry_head(head, 1);
	payload = entry_payload(head, 1);
	at->entry.commit_id = 77;
	CHECK(entry_answer(head, 1, parts, 3) == 0);
	CHECK(memcmp(at->in_out, &out, sizeof(out)) == 0 && at->entry.n_payload == 7);
	CHECK(memcmp(payload, "abcdefg", 7) == 0 && at->entry.commit_id == 77);
	CHECK(entry_answer(head, 1, parts, 1) == 0 && at->entry.n_payload == 0);

	/* what lies there already stays */
	memset(payload, 'r', PAYLOAD);
	parts[1] = (struct iovec){ payload, PAYLOAD };
	CHECK(entry_answer(head, 1, parts, 2) == 0 && at->entry.n_payload == PAYLOAD);
	CHECK(payload[PAYLOAD - 1] == 'r');
	CHECK(entry_answer(head, 1, parts, 3) == -EMSGSIZE && at->entry.n_payload == PAYLOAD);
	entries_unmap(head);
	close(fd);
}

int main(void)
{
	RUN(test_lists);
	RUN(test_plan);
	RUN(test_queues);
	RUN(test_the_same_address);
	RUN(test_requests);
	RUN(test_answers);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What is done for a disk by itself: when, and what it is doing
 */

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "attr-parts.h"
#include "budget.h"
#include "policy.h"
#include "size.h"

#define SECOND_NS INT64_C(1000000000)

/* values */

static int number_parse(const char *text, uint32_t max, uint32_t *numberp)
{
	uint64_t number;
	int r;

	r = zr_attr_parse_number(text, 10, max, &number);
	if (r == 0)
		*numberp = (uint32_t)number;
	return r;
}

/* What is set is followed by somebody, who is there before it is. */
static int change(const struct zr_attr_target *target,
		  int (*parse)(struct zr_disk_spec *spec, const char *text), const char *text)
{
	const struct zr_attr_daemon *daemon = target->daemon;
	struct zr_disk_spec spec = { 0 };
	int r;

	if (parse(&spec, text) < 0)
		return -EINVAL;
	r = daemon && daemon->follow_policies && zr_policy_is_on(&spec.attrs)
		    ? daemon->follow_policies(daemon->context)
		    : 0;
	return r < 0 ? r : zr_attr_change(target, false, parse, text);
}

ZR_ATTR_NUMBER(idle_age, idle_age_s, PRIu32,
	       number_parse(text, ZR_AGE_S_MAX, &spec->attrs.idle_age_s), change)
ZR_ATTR_NUMBER(recompress_age, recompress_age_s, PRIu32,
	       number_parse(text, ZR_AGE_S_MAX, &spec->attrs.recompress_age_s), change)
ZR_ATTR_NUMBER(writeback_age, writeback_age_s, PRIu32,
	       number_parse(text, ZR_AGE_S_MAX, &spec->attrs.writeback_age_s), change)
ZR_ATTR_NUMBER(writeback_daily, writeback_daily_bytes, PRIu64,
	       zr_size_parse(text, spec->ram_bytes, &spec->attrs.writeback_daily_bytes), change)
ZR_ATTR_NUMBER(compact_at, compact_at, PRIu32, number_parse(text, 100, &spec->attrs.compact_at),
	       change)

/* policy */

static const char *const done[] = {
	[ZR_DEED_NONE] = "nothing yet",        [ZR_DEED_LOOK] = "looked at ages",
	[ZR_DEED_RECOMPRESS] = "recompressed", [ZR_DEED_WRITE_BACK] = "wrote back",
	[ZR_DEED_COMPACT] = "compacted",
};

static const char *const to_do[] = {
	[ZR_DEED_NONE] = "nothing",          [ZR_DEED_LOOK] = "look at ages",
	[ZR_DEED_RECOMPRESS] = "recompress", [ZR_DEED_WRITE_BACK] = "write back",
	[ZR_DEED_COMPACT] = "compact",
};

static const char *const reasons[] = {
	[ZR_DELAY_NONE] = "it is under way",
	[ZR_DELAY_TIME] = "nothing is due before",
	[ZR_DELAY_BUSY] = "the disk is busy, and memory is not short",
	[ZR_DELAY_RATE] = "it is being found out whether the disk is busy",
	[ZR_DELAY_CPU] = "policy_cpu is spent",
	[ZR_DELAY_OFF] = "policy_cpu is 0",
	[ZR_DELAY_BUDGET] = "writeback_daily is spent",
	[ZR_DELAY_LIMIT] = "writeback_limit is used up",
	[ZR_DELAY_FILE] = "the backing file refused",
	[ZR_DELAY_MEMORY] = "there is no memory to compress into",
};

static int64_t seconds_between(int64_t from_ns, int64_t to_ns)
{
	return to_ns <= from_ns ? 0 : (to_ns - from_ns + SECOND_NS / 2) / SECOND_NS;
}

/* Objects by their age, as they were when they were looked at. */
static void say_ages(struct zr_attr_lines *lines, const struct zr_disk *disk,
		     const struct zr_attrs *attrs, int64_t now)
{
	const int64_t seen_ns = atomic_load(&disk->entry->ages_seen_ns);
	unsigned int i;

	zr_attr_say(lines, "ages          looked at every %" PRId64 " s",
		    zr_policy_interval_ns(attrs) / SECOND_NS);
	if (seen_ns == 0) {
		zr_attr_say(lines, ", never yet\n");
		return;
	}
	zr_attr_say(lines, ", last %" PRId64 " s ago\n", seconds_between(seen_ns, now));
	zr_attr_say(lines, "objects       %" PRIu64 " in use",
		    atomic_load(&disk->plan.xin_bucket[0]));
	for (i = 1; i < ZR_AGE_BUCKETS; ++i) {
		const uint64_t n = atomic_load(&disk->plan.xin_bucket[i]);

		if (n > 0)
			zr_attr_say(lines, ", %" PRIu64 " from %u s", n, ZR_AGE_UNIT_S << (i - 1));
	}
	zr_attr_say(lines, "\n");
}

static void say_wanted(struct zr_attr_lines *lines, struct zr_disk *disk,
		       const struct zr_attrs *attrs)
{
	struct zr_disk_backing backing;

	if (attrs->idle_age_s != 0)
		zr_attr_say(lines, "idle          from %" PRIu32 " s\n", attrs->idle_age_s);
	if (attrs->recompress_age_s != 0)
		zr_attr_say(lines, "recompress    from %" PRIu32 " s, %" PRIu64 " pages so far%s\n",
			    attrs->recompress_age_s,
			    atomic_load(&disk->entry->counters.policy_recompressions),
			    attrs->recomp_priorities == 0 ? "; there is no recomp_algorithm" : "");
	if (attrs->writeback_age_s != 0)
		zr_attr_say(lines, "write back    from %" PRIu32 " s, %" PRIu64 " pages so far%s\n",
			    attrs->writeback_age_s,
			    atomic_load(&disk->entry->counters.policy_writes),
			    zr_disk_backing(disk, &backing) ? "" : "; there is no backing_dev");
	if (attrs->compact_at != 0)
		zr_attr_say(lines, "compact       at %" PRIu32 " %% of free cells\n",
			    attrs->compact_at);
	if (attrs->writeback_daily_bytes != 0)
		zr_attr_say(lines, "today         %" PRIu64 " of %" PRIu64 " bytes written\n",
			    zr_budget_used(disk->entry, zr_boot_ns()),
			    attrs->writeback_daily_bytes);
}

static void say_moment(struct zr_attr_lines *lines, const struct zr_plan *plan)
{
	const int32_t pressure = atomic_load(&plan->xpressure);
	const int64_t rate = atomic_load(&plan->xrate);

	zr_attr_say(lines, "memory        %s",
		    atomic_load(&plan->xis_short) ? "short" : "not short");
	if (pressure >= 0)
		zr_attr_say(lines, ", pressure %" PRId32 ".%02" PRId32 " %%", pressure / 100,
			    pressure % 100);
	zr_attr_say(lines, "\n");
	if (rate >= 0)
		zr_attr_say(lines, "disk          %" PRId64 " pages a second\n", rate);
}

static void say_plan(struct zr_attr_lines *lines, const struct zr_plan *plan, int64_t now)
{
	const uint32_t last = atomic_load(&plan->xlast), next = atomic_load(&plan->xnext);
	const int64_t next_ns = atomic_load(&plan->xnext_ns);
	const uint32_t delay = atomic_load(&plan->xdelay);
	const int file_error = atomic_load(&plan->xfile_error);

	zr_attr_say(lines, "last          %s", done[last]);
	if (last == ZR_DEED_RECOMPRESS || last == ZR_DEED_WRITE_BACK)
		zr_attr_say(lines, " %" PRIu64 " pages", atomic_load(&plan->xlast_pages));
	if (last != ZR_DEED_NONE)
		zr_attr_say(lines, ", %" PRId64 " s ago",
			    seconds_between(atomic_load(&plan->xlast_ns), now));
	zr_attr_say(lines, "\nnext          %s", to_do[next]);
	if (delay != ZR_DELAY_NONE && delay != ZR_DELAY_OFF && next_ns != ZR_POLICY_NEVER)
		zr_attr_say(lines, " in %" PRId64 " s", seconds_between(now, next_ns));
	zr_attr_say(lines, "\nwhy           %s", reasons[delay]);
	if (delay == ZR_DELAY_FILE && file_error != 0)
		zr_attr_say(lines, ": error %d", -file_error);
	zr_attr_say(lines, "\n");
}

static int policy_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	struct zr_attr_lines lines = { text, n_text, 0 };
	struct zr_disk *disk = target->disk;
	const int64_t now = zr_monotonic_ns();
	struct zr_attrs attrs;

	zr_disk_attrs(disk, &attrs);
	if (!zr_policy_is_on(&attrs)) {
		zr_attr_say(&lines, "off\n");
		return (int)lines.at;
	}
	if (zr_policy_interval_ns(&attrs) != 0)
		say_ages(&lines, disk, &attrs, now);
	say_wanted(&lines, disk, &attrs);
	if (zr_disk_size(disk) == 0) {
		zr_attr_say(&lines, "next          nothing\nwhy           the disk has no size\n");
		return (int)lines.at;
	}
	say_moment(&lines, &disk->plan);
	say_plan(&lines, &disk->plan, now);
	return (int)lines.at;
}

#define ROW_KEY(name_, type_, unit_, allowed_, help_)                                            \
	{                                                                                        \
		.name = #name_, .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL, .mode = 0644,         \
		.when = ZR_WHEN_ALWAYS, .type = type_, .unit = unit_, .allowed = allowed_,       \
		.help = help_, .since = "0.1.0", .parse = name_##_parse, .print = name_##_print, \
		.apply = name_##_apply, .show = name_##_show                                     \
	}

#define AGE_ALLOWED "0 for never, or up to 131070 seconds"

const struct zr_attr zr_attrs_policy[] = {
	ROW_KEY(idle_age, "number", "seconds", AGE_ALLOWED,
		"objects not used for so long get the idle mark"),
	ROW_KEY(recompress_age, "number", "seconds", AGE_ALLOWED,
		"objects not used for so long are recompressed with each recomp_algorithm"),
	ROW_KEY(writeback_age, "number", "seconds", AGE_ALLOWED,
		"objects not used for so long go to the backing file"),
	ROW_KEY(writeback_daily, "size", "bytes", "0 for any number, or " ZR_SIZE_ALLOWED,
		"bytes a day that writeback_age and spill_above may write to the file"),
	ROW_KEY(compact_at, "number", "percent",
		"0 for what is done for all disks anyway, or up to "
		"100",
		"percent of the memory of all disks that free cells may be before it is compacted"),
	{ .name = "policy",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "table",
	  .help = "what was done last for the disk by itself, what comes next, and why not before",
	  .since = "0.1.0",
	  .show = policy_show },
	{ .name = NULL },
};

_Static_assert(ZR_AGE_S_MAX == 131070, "the message of ages says 131070");

/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "frame.h"

#include <inttypes.h>
#include <string.h>

#include "base.h"
#include "human.h"
#include "say.h"
#include "text.h"

#define NAME_WIDTH_MIN 8u
#define NAME_WIDTH_MAX 40u
#define BAR_WIDTH_MIN  6u
#define BAR_WIDTH_MAX  40u

/* From here on a bar is yellow, and red. */
#define BAR_WARM_PERCENT 75u
#define BAR_HOT_PERCENT  90u

/* Columns of figures, each with the blank before it. By what goes first where there is no room. */
enum {
	WIDTH_SIZE = 8, /* DATA, COMPR */
	WIDTH_RATIO = 6,
	WIDTH_MEMORY = 13, /* MEM/LIMIT */
	WIDTH_RATE = 8,    /* READ/s, WRITE/s */
	WIDTH_TIME = 6,    /* R-P99, W-P99 */
};

/* What has room. */
struct layout {
	unsigned int name, bar; /* characters; a bar of 0 is none */
	bool has_times, has_compr, has_data, has_rates;
};

/* What is shown in a row. */
struct figures {
	const char *name;
	uint64_t data, compr, memory, limit;
	double reads_s, writes_s; /* MiB/s; below 0: not known */
	uint64_t read_p99_ns, write_p99_ns;
};

/* figures */

/* Counters that were reset meanwhile did not move. */
static double rate(uint64_t before_pages, uint64_t now_pages, uint64_t before_ns, uint64_t now_ns)
{
	if (before_pages == VIEW_UNKNOWN || now_pages == VIEW_UNKNOWN || now_ns <= before_ns)
		return -1;
	if (now_pages < before_pages)
		return 0;
	return (double)(now_pages - before_pages) * 4096 / (1 << 20) * 1e9 /
	       (double)(now_ns - before_ns);
}

static void figures_of(const struct sample_mount *mount, const struct view_disk *disk,
		       const struct sample_mount *earlier, bool is_path, struct figures *figures)
{
	const struct view_disk *then = earlier ? sample_disk_find(earlier, disk->name) : NULL;

	*figures = (struct figures){ .name = is_path ? disk->path : disk->name,
				     .data = disk->orig_data_size,
				     .compr = disk->compr_data_size,
				     .memory = disk->mem_used_total,
				     .limit = disk->mem_limit,
				     .reads_s = -1,
				     .writes_s = -1,
				     .read_p99_ns = disk->read_latency.count == 0
							    ? VIEW_UNKNOWN
							    : disk->read_latency.p99_ns,
				     .write_p99_ns = disk->write_latency.count == 0
							     ? VIEW_UNKNOWN
							     : disk->write_latency.p99_ns };
	if (!then)
		return;
	figures->reads_s = rate(then->num_reads, disk->num_reads, earlier->view.time_ns,
				mount->view.time_ns);
	figures->writes_s = rate(then->num_writes, disk->num_writes, earlier->view.time_ns,
				 mount->view.time_ns);
}

/* What is not known adds nothing. */
static void add(uint64_t *sum, uint64_t more)
{
	if (more != VIEW_UNKNOWN)
		*sum += more;
}

static void total_add(struct figures *total, const struct figures *figures)
{
	add(&total->data, figures->data);
	add(&total->compr, figures->compr);
	add(&total->memory, figures->memory);
	if (figures->reads_s >= 0)
		total->reads_s = (total->reads_s < 0 ? 0 : total->reads_s) + figures->reads_s;
	if (figures->writes_s >= 0)
		total->writes_s = (total->writes_s < 0 ? 0 : total->writes_s) + figures->writes_s;
}

/* where things stand */

static unsigned int figures_width(const struct layout *layout)
{
	return (layout->has_data ? WIDTH_SIZE : 0) + (layout->has_compr ? WIDTH_SIZE : 0) +
	       WIDTH_RATIO + WIDTH_MEMORY + (layout->has_rates ? 2 * WIDTH_RATE : 0) +
	       (layout->has_times ? 2 * WIDTH_TIME : 0);
}

/* Characters, not bytes: what continues one does not count. */
static unsigned int characters(const char *text)
{
	unsigned int n = 0;

	for (; *text; ++text)
		n += (*text & 0xc0) != 0x80;
	return n;
}

static unsigned int name_width(const struct sample *sample)
{
	unsigned int width = NAME_WIDTH_MIN;
	size_t i, j;

	for (i = 0; i < sample->n_mounts; ++i) {
		for (j = 0; j < sample->mounts[i].view.n_disks; ++j) {
			const struct view_disk *disk = &sample->mounts[i].view.disks[j];

			width = (unsigned int)zr_max(width,
						     characters(sample->n_mounts > 1 ? disk->path
										     : disk->name));
		}
	}
	return (unsigned int)zr_min(width, NAME_WIDTH_MAX);
}

static void layout_make(const struct frame *frame, const struct sample *sample,
			struct layout *layout)
{
	bool *const may_go[] = { &layout->has_times, &layout->has_compr, &layout->has_data,
				 &layout->has_rates };
	unsigned int used, i;

	*layout = (struct layout){ .name = NAME_WIDTH_MIN,
				   .has_times = true,
				   .has_compr = true,
				   .has_data = true,
				   .has_rates = true };
	for (i = 0; i < ZR_ARRAY_SIZE(may_go); ++i) {
		if (layout->name + figures_width(layout) <= frame->width)
			break;
		*may_go[i] = false;
	}

	/* What is left goes to names, as long as a bar has room, and then to the bar. */
	used = layout->name + figures_width(layout);
	if (frame->width > used + BAR_WIDTH_MIN + 3)
		layout->name += (unsigned int)zr_min(name_width(sample) - layout->name,
						     frame->width - used - BAR_WIDTH_MIN - 3);
	used = layout->name + figures_width(layout) + 3;
	if (frame->width >= used + BAR_WIDTH_MIN)
		layout->bar = (unsigned int)zr_min(frame->width - used, BAR_WIDTH_MAX);
}

/* printing */

/* Exactly that many characters: what does not fit loses its beginning, since the end of a path says
 * more. What could move the cursor is not shown. */
static void name_print(FILE *out, const char *name, unsigned int width)
{
	ZR_CLEANUP(zr_freep) char *safe = zr_text_clean(say_text("%s", name), "");
	unsigned int n = characters(safe);
	const char *at = safe;

	if (n > width) {
		for (; n > width - 1; --n) {
			do
				++at;
			while ((*at & 0xc0) == 0x80);
		}
		fputc('<', out);
		++n;
	}
	fputs(at, out);
	for (; n < width; ++n)
		fputc(' ', out);
}

static void size_print(FILE *out, uint64_t n_bytes, int width)
{
	char text[HUMAN_MAX];

	fprintf(out, "%*s", width, n_bytes == VIEW_UNKNOWN ? "-" : human_size(text, n_bytes));
}

static void time_print(FILE *out, uint64_t ns)
{
	char text[HUMAN_MAX];

	fprintf(out, "%*s", WIDTH_TIME, ns == VIEW_UNKNOWN ? "-" : human_time(text, ns));
}

static void rate_print(FILE *out, double mib_s)
{
	if (mib_s < 0)
		fprintf(out, "%*s", WIDTH_RATE, "-");
	else
		fprintf(out, "%*.*f", WIDTH_RATE, mib_s < 99.95 ? 1 : 0, mib_s);
}

static void ratio_print(FILE *out, const struct figures *figures)
{
	if (figures->memory == 0 || figures->memory == VIEW_UNKNOWN ||
	    figures->data == VIEW_UNKNOWN || figures->data == 0)
		fprintf(out, "%*s", WIDTH_RATIO, "-");
	else
		fprintf(out, "%*.2f", WIDTH_RATIO, (double)figures->data / (double)figures->memory);
}

static void memory_print(FILE *out, const struct figures *figures)
{
	char memory[HUMAN_MAX] = "-", limit[HUMAN_MAX] = "-", both[2 * HUMAN_MAX + 1];

	if (figures->memory != VIEW_UNKNOWN)
		human_size(memory, figures->memory);
	if (figures->limit != VIEW_UNKNOWN && figures->limit > 0)
		human_size(limit, figures->limit);
	snprintf(both, sizeof(both), "%s/%s", memory, limit);
	fprintf(out, "%*s", WIDTH_MEMORY, both);
}

static void bar_print(FILE *out, const struct frame *frame, const struct layout *layout,
		      const struct figures *figures)
{
	const bool has_limit = figures->limit > 0 && figures->limit != VIEW_UNKNOWN;
	const double part = !has_limit || figures->memory == VIEW_UNKNOWN
				    ? 0
				    : (double)figures->memory / (double)figures->limit;
	/* A daemon may say anything: what is more than all is all. */
	const unsigned int full = (unsigned int)((part < 1 ? part : 1) * layout->bar + 0.5);
	const char *colour = part * 100 < BAR_WARM_PERCENT  ? "\033[32m"
			     : part * 100 < BAR_HOT_PERCENT ? "\033[33m"
							    : "\033[31m";
	unsigned int i;

	if (layout->bar == 0)
		return;
	if (!has_limit) {
		fprintf(out, "%*s", (int)layout->bar + 3, "");
		return;
	}
	fprintf(out, " [%s", frame->is_coloured ? colour : "");
	for (i = 0; i < layout->bar; ++i)
		fputc(i < full ? '#' : ' ', out);
	fprintf(out, "%s]", frame->is_coloured ? "\033[0m" : "");
}

/* What stood there goes first: behind a line that is full there is no place to erase from. */
static void line_begin(FILE *out, const struct frame *frame)
{
	if (frame->is_terminal)
		fputs("\033[K", out);
}

static void figures_print(FILE *out, const struct frame *frame, const struct layout *layout,
			  const struct figures *figures)
{
	line_begin(out, frame);
	name_print(out, figures->name, layout->name);
	if (layout->has_data)
		size_print(out, figures->data, WIDTH_SIZE);
	if (layout->has_compr)
		size_print(out, figures->compr, WIDTH_SIZE);
	ratio_print(out, figures);
	memory_print(out, figures);
	bar_print(out, frame, layout, figures);
	if (layout->has_rates) {
		rate_print(out, figures->reads_s);
		rate_print(out, figures->writes_s);
	}
	if (layout->has_times) {
		time_print(out, figures->read_p99_ns);
		time_print(out, figures->write_p99_ns);
	}
	fputc('\n', out);
}

static void heading_print(FILE *out, const struct frame *frame, const struct layout *layout)
{
	line_begin(out, frame);
	if (frame->is_coloured)
		fputs("\033[7m", out);
	name_print(out, "NAME", layout->name);
	if (layout->has_data)
		fprintf(out, "%*s", WIDTH_SIZE, "DATA");
	if (layout->has_compr)
		fprintf(out, "%*s", WIDTH_SIZE, "COMPR");
	fprintf(out, "%*s%*s", WIDTH_RATIO, "RATIO", WIDTH_MEMORY, "MEM/LIMIT");
	if (layout->bar > 0)
		fprintf(out, "%*s", (int)layout->bar + 3, "");
	if (layout->has_rates)
		fprintf(out, "%*s%*s", WIDTH_RATE, "R MiB/s", WIDTH_RATE, "W MiB/s");
	if (layout->has_times)
		fprintf(out, "%*s%*s", WIDTH_TIME, "R p99", WIDTH_TIME, "W p99");
	if (frame->is_coloured)
		fputs("\033[0m", out);
	fputc('\n', out);
}

/* Text of any length, as much of it as fits. */
static void text_print(FILE *out, const struct frame *frame, const char *text)
{
	ZR_CLEANUP(zr_freep) char *line = zr_text_clean(say_text("%s", text), "");
	unsigned int n = 0;
	char *at;

	for (at = line; *at; ++at) {
		n += (*at & 0xc0) != 0x80;
		if (n > frame->width)
			break;
	}
	*at = 0;
	line_begin(out, frame);
	name_print(out, line, characters(line));
	fputc('\n', out);
}

static size_t n_silent(const struct sample *sample)
{
	size_t n = 0, i;

	for (i = 0; i < sample->n_mounts; ++i)
		n += sample->mounts[i].why[0] != 0;
	return n;
}

static void disks_print(FILE *out, const struct frame *frame, const struct layout *layout,
			const struct sample *sample, const struct sample *before,
			struct figures *total)
{
	/* Besides these: the heading, what is left out, the total, the line below. */
	const size_t n_others = 4 + n_silent(sample);
	const size_t n_lines = frame->height == 0         ? SIZE_MAX
			       : frame->height > n_others ? frame->height - n_others
							  : 1;
	size_t n_shown = 0, n_all = 0, i, j;
	struct figures figures;

	for (i = 0; i < sample->n_mounts; ++i) {
		const struct sample_mount *mount = &sample->mounts[i];
		const struct sample_mount *earlier =
			before ? sample_mount_find(before, mount->mount.device) : NULL;

		for (j = 0; j < mount->view.n_disks; ++j, ++n_all) {
			figures_of(mount, &mount->view.disks[j], earlier, sample->n_mounts > 1,
				   &figures);
			total_add(total, &figures);
			if (n_shown < n_lines) {
				figures_print(out, frame, layout, &figures);
				++n_shown;
			}
		}
	}
	if (n_shown < n_all) {
		ZR_CLEANUP(zr_freep) char *more = say_text("and %zu more", n_all - n_shown);

		text_print(out, frame, more);
	}
}

/* The limit of the daemons, if all have one. */
static uint64_t total_limit(const struct sample *sample)
{
	uint64_t limit = 0;
	size_t i;

	for (i = 0; i < sample->n_mounts; ++i) {
		const uint64_t own = sample->mounts[i].view.total.mem_limit;

		if (sample->mounts[i].why[0] || own == 0 || own == VIEW_UNKNOWN)
			return 0;
		limit += own;
	}
	return limit;
}

void frame_print(const struct frame *frame, const struct sample *sample,
		 const struct sample *before, FILE *out)
{
	struct figures total = { .name = "total",
				 .limit = total_limit(sample),
				 .reads_s = -1,
				 .writes_s = -1,
				 .read_p99_ns = VIEW_UNKNOWN,
				 .write_p99_ns = VIEW_UNKNOWN };
	struct layout layout;
	size_t i;

	layout_make(frame, sample, &layout);
	heading_print(out, frame, &layout);
	disks_print(out, frame, &layout, sample, before, &total);
	figures_print(out, frame, &layout, &total);
	for (i = 0; i < sample->n_mounts; ++i) {
		ZR_CLEANUP(zr_freep) char *line = NULL;

		if (sample->mounts[i].why[0] == 0)
			continue;
		line = say_text("%s: %s", sample->mounts[i].mount.path, sample->mounts[i].why);
		text_print(out, frame, line);
	}
}

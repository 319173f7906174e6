/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl top: what disks do now
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base.h"
#include "frame.h"
#include "say.h"
#include "verb.h"

#define PLAIN_WIDTH   80u
#define DELAY_MAX_S   86400.0
#define DELAY_MIN_S   0.05
#define TERMINAL_ON   "\033[?1049h\033[?25l" /* the other screen, and no cursor */
#define TERMINAL_OFF  "\033[?25h\033[?1049l"
#define TERMINAL_HOME "\033[H"
#define TERMINAL_REST "\033[J" /* clears what is below */

static const struct option options[] = {
	{ "count", required_argument, NULL, 'c' },
	{ "delay", required_argument, NULL, 'd' },
	{ NULL, 0, NULL, 0 },
};

struct top {
	double delay_s;
	unsigned long n_frames; /* 0: for ever */
	struct name *names;
	size_t n_names;
	struct sample now, before; /* before the second look there is none before */
	bool is_terminal;
	bool is_keyboard; /* there is something to read */
	bool is_changed;  /* the terminal is to be put back */
	struct termios saved;
	sigset_t waiting; /* signals that are blocked while it waits: those from before */
};

static volatile sig_atomic_t end_wanted, stop_wanted, size_changed;

static void on_signal(int signal_number)
{
	if (signal_number == SIGWINCH)
		size_changed = 1;
	else if (signal_number == SIGTSTP)
		stop_wanted = 1;
	else
		end_wanted = 1;
}

/* They come while it waits, and at no other time. Without a terminal those of a terminal are what
 * they always are. */
static void signals_take(struct top *top)
{
	static const int taken[] = { SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP };
	struct sigaction action = { .sa_handler = on_signal };
	const size_t n_taken = top->is_terminal ? ZR_ARRAY_SIZE(taken) : 3;
	sigset_t blocked;
	size_t i;

	sigemptyset(&blocked);
	for (i = 0; i < n_taken; ++i) {
		sigaction(taken[i], &action, NULL);
		sigaddset(&blocked, taken[i]);
	}
	sigprocmask(SIG_BLOCK, &blocked, &top->waiting);
}

/* the terminal */

static void terminal_begin(struct top *top)
{
	struct termios wanted;

	if (!top->is_terminal)
		return;
	top->is_keyboard = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &top->saved) == 0;
	top->is_changed = top->is_keyboard;
	if (top->is_keyboard) {
		wanted = top->saved;
		wanted.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		wanted.c_cc[VMIN] = 1;
		wanted.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSANOW, &wanted);
	}
	fputs(TERMINAL_ON, stdout);
}

static void terminal_end(const struct top *top)
{
	if (!top->is_terminal)
		return;
	fputs(TERMINAL_OFF, stdout);
	fflush(stdout);
	if (top->is_changed)
		tcsetattr(STDIN_FILENO, TCSANOW, &top->saved);
}

/* Ctrl-Z: the shell gets the terminal as it was. */
static void terminal_stop(struct top *top)
{
	stop_wanted = 0;
	terminal_end(top);
	raise(SIGSTOP);
	terminal_begin(top);
	size_changed = 1;
}

static void size_get(const struct top *top, struct frame *frame)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;

	*frame = (struct frame){ .width = PLAIN_WIDTH, .is_terminal = top->is_terminal };
	if (top->is_terminal) {
		frame->is_coloured = !getenv("NO_COLOR");
		frame->height = 24;
		if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
			frame->width = size.ws_col;
			frame->height = size.ws_row;
		}
	} else if (columns && atoi(columns) > 0) {
		frame->width = (unsigned int)atoi(columns);
	}
}

/* Whole, so that nothing flickers. */
static int top_draw(const struct top *top)
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	struct frame frame;
	size_t n_text;
	FILE *out;

	size_get(top, &frame);
	out = open_memstream(&text, &n_text);
	if (!out)
		say_no_memory();
	if (top->is_terminal)
		fputs(TERMINAL_HOME, out);
	frame_print(&frame, &top->now, top->before.mounts ? &top->before : NULL, out);
	fputs(top->is_terminal ? "q: end" TERMINAL_REST : "\n", out);
	if (fclose(out) != 0)
		say_no_memory();
	fwrite(text, 1, n_text, stdout);
	/* say_end() says what is wrong. */
	return fflush(stdout) != 0 ? -EPIPE : 0;
}

static int top_look(struct top *top)
{
	sample_clear(&top->before);
	top->before = top->now;
	top->now = (struct sample){ 0 };
	return sample_take(top->names, top->n_names, &top->now);
}

/* waiting */

enum awaited {
	AWAITED_TIME,
	AWAITED_CHANGE, /* of the terminal */
	AWAITED_END,
};

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool is_end_typed(struct top *top)
{
	char key;
	ssize_t n;

	n = read(STDIN_FILENO, &key, 1);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		top->is_keyboard = false;
	return n == 1 && (key == 'q' || key == 'Q');
}

static enum awaited top_wait(struct top *top, double deadline_s)
{
	for (;;) {
		const double left_s = deadline_s - now_s();
		struct pollfd keyboard = { .fd = top->is_keyboard ? STDIN_FILENO : -1,
					   .events = POLLIN };
		struct timespec left = { .tv_sec = (time_t)left_s };

		if (left_s <= 0)
			return AWAITED_TIME;
		left.tv_nsec = (long)((left_s - (double)left.tv_sec) * 1e9);
		if (ppoll(&keyboard, 1, &left, &top->waiting) > 0 && is_end_typed(top))
			return AWAITED_END;
		if (end_wanted)
			return AWAITED_END;
		if (stop_wanted)
			terminal_stop(top);
		if (size_changed) {
			size_changed = 0;
			return AWAITED_CHANGE;
		}
	}
}

static int top_watch(struct top *top)
{
	double looked_s = now_s();
	unsigned long n_looks = 0;
	int r;

	/* A terminal shows at once what there is; rates come later. */
	r = top_look(top);
	if (r == 0 && top->is_terminal)
		r = top_draw(top);
	while (r == 0 && (top->n_frames == 0 || n_looks < top->n_frames)) {
		const enum awaited awaited = top_wait(top, looked_s + top->delay_s);

		if (awaited == AWAITED_END)
			break;
		if (awaited == AWAITED_TIME) {
			r = top_look(top);
			++n_looks;
			/* What was missed, while a mount did not answer, is missed. */
			looked_s += top->delay_s;
			if (looked_s + top->delay_s < now_s())
				looked_s = now_s();
		}
		if (r == 0)
			r = top_draw(top);
	}
	return r;
}

/* arguments */

static int delay_take(struct top *top, const char *text)
{
	char *end;

	errno = 0;
	top->delay_s = strtod(text, &end);
	if (end == text || *end || errno || !(top->delay_s >= DELAY_MIN_S) ||
	    top->delay_s > DELAY_MAX_S)
		return verb_misused(&verb_top, "--delay %s: allowed: 0.05 to 86400 seconds", text);
	return VERB_DONE;
}

static int count_take(struct top *top, const char *text)
{
	char *end;

	errno = 0;
	top->n_frames = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || top->n_frames == 0)
		return verb_misused(&verb_top, "--count %s: allowed: a number above 0", text);
	return VERB_DONE;
}

static int arguments_take(struct top *top, int argc, char **argv)
{
	int option, r = VERB_DONE;

	while (r == VERB_DONE && (option = verb_option(&verb_top, argc, argv)) != -1) {
		switch (option) {
		case 'c':
			r = count_take(top, optarg);
			break;
		case 'd':
			r = delay_take(top, optarg);
			break;
		default:
			return VERB_MISUSED;
		}
	}
	if (r != VERB_DONE)
		return r;

	top->names = calloc((size_t)(argc - optind) + 1, sizeof(*top->names));
	if (!top->names)
		say_no_memory();
	for (; optind < argc; ++optind) {
		if (name_find_any(argv[optind], &top->names[top->n_names]) < 0)
			return VERB_FAILED;
		++top->n_names;
	}
	return VERB_DONE;
}

static void top_clear(struct top *top)
{
	size_t i;

	for (i = 0; i < top->n_names; ++i)
		name_free(&top->names[i]);
	free(top->names);
	sample_clear(&top->now);
	sample_clear(&top->before);
}

static int top_run(int argc, char **argv)
{
	ZR_CLEANUP(top_clear) struct top top = { .delay_s = 1 };
	int r;

	r = arguments_take(&top, argc, argv);
	if (r != VERB_DONE)
		return r;
	top.is_terminal = isatty(STDOUT_FILENO);
	signals_take(&top);
	terminal_begin(&top);
	r = top_watch(&top);
	terminal_end(&top);
	if (r < 0 && r != -EPIPE)
		say_error("top: %s", say_reason(-r));
	return r < 0 ? VERB_FAILED : VERB_DONE;
}

const struct verb verb_top = {
	.name = "top",
	.arguments = "[NAME...]",
	.help = "watch disks: rates, ratio, and memory against its limit",
	.text = "  -d, --delay=SECONDS  time between two looks; 1\n"
		"  -c, --count=N        end after N looks\n"
		"\n"
		"q ends it. Where the output is no terminal it is plain text, a block for each\n"
		"look. R and W are reads and writes; p99 is the time within which 99 of 100 are\n"
		"done.\n",
	.short_options = "c:d:",
	.options = options,
	.run = top_run,
};

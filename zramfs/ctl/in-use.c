/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "in-use.h"

#include "loops.h"
#include "say.h"

static char *loop_text(const struct loop_user *loop, const struct name *name)
{
	if (loop->top == LOOP_TOP_MOUNT)
		return say_text("in use: %s is attached to it, and mounted; first: umount %s",
				loop->device, loop->on_top);
	return say_text("in use: %s is attached to it%s%s; first: zramfsctl detach %s",
			loop->device, loop->on_top ? ", and used as " : "",
			loop->on_top ? loop->on_top : "", name->path);
}

char *in_use_text(const struct name *name)
{
	const struct mount mount = name_mount(name);
	struct loop_user *loops = NULL;
	size_t n_loops = 0, i;
	char *text = NULL;

	if (loops_read(&loops, &n_loops) < 0)
		n_loops = 0;
	for (i = 0; i < n_loops && !text; ++i) {
		if (loop_is_on(&loops[i], &mount, name->disk))
			text = loop_text(&loops[i], name);
	}
	loops_free(loops, n_loops);
	return text ? text : say_text("in use: somebody has %s open", name->path);
}

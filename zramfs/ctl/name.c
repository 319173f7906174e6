/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "name.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "ask.h"
#include "loops.h"
#include "mounts.h"
#include "say.h"
#include "spec.h"

#define DAEMON "zramfs"

struct mount_list {
	struct mount *mounts;
	size_t n;
};

static void mount_list_clear(struct mount_list *list)
{
	mounts_free(list->mounts, list->n);
}

/* Return: 0, or -errno after saying that there are none. */
static int mount_list_read(struct mount_list *list)
{
	int r;

	r = mounts_read(&list->mounts, &list->n);
	if (r < 0) {
		say_error("mounts: %s", strerror(-r));
		return r;
	}
	if (list->n == 0) {
		say_error("no zramfs is mounted");
		return -ENOENT;
	}
	return 0;
}

static void name_set(struct name *name, const struct mount *mount, const char *disk)
{
	const char *slash = strcmp(mount->path, "/") == 0 ? "" : "/";

	*name = (struct name){ .mount = say_text("%s", mount->path), .device = mount->device };
	if (disk) {
		name->disk = say_text("%s", disk);
		name->path = say_text("%s%s%s", mount->path, slash, disk);
	} else {
		name->path = say_text("%s", mount->path);
	}
}

static const struct mount *mount_of(const struct mount_list *list, dev_t device)
{
	size_t i;

	for (i = 0; i < list->n; ++i) {
		if (list->mounts[i].device == device)
			return &list->mounts[i];
	}
	return NULL;
}

static bool is_root_of(const struct stat *st, const struct mount *mount)
{
	struct stat root;

	return S_ISDIR(st->st_mode) && stat(mount->path, &root) == 0 && root.st_dev == st->st_dev &&
	       root.st_ino == st->st_ino;
}

/* The mount whose root this path is; NULL if it is something else. */
static const struct mount *mount_at(const struct mount_list *list, const char *path)
{
	const struct mount *mount;
	struct stat st;

	if (stat(path, &st) < 0)
		return NULL;
	mount = mount_of(list, st.st_dev);
	return mount && is_root_of(&st, mount) ? mount : NULL;
}

/* Splits at the last slash; "/x" lies in "/". */
static void path_split(const char *path, char **directoryp, const char **lastp)
{
	const char *slash = strrchr(path, '/');

	*directoryp = say_text("%.*s", slash == path ? 1 : (int)(slash - path), path);
	*lastp = slash + 1;
}

/* /dev/loop0 */
static int find_loop(const char *path, const struct mount_list *list, struct name *namep)
{
	const struct mount *mount;
	struct loop_user loop;
	int r;

	r = loop_read(path, &loop);
	if (r < 0) {
		say_error("%s: no disk is attached to it", path);
		return r;
	}
	mount = loop_mount(&loop, list->mounts, list->n);
	if (mount) {
		name_set(namep, mount, loop_disk(&loop));
	} else {
		say_error("%s: it is on %s, which is no disk of zramfs", path, loop.backing);
		r = -ENOENT;
	}
	loop_clear(&loop);
	return r;
}

/* A path, with all links followed. */
static int find_resolved(const char *text, const char *path, const struct mount_list *list,
			 struct name *namep)
{
	ZR_CLEANUP(zr_freep) char *directory = NULL;
	const struct mount *mount;
	const char *last;
	struct stat st;

	if (stat(path, &st) < 0) {
		const int error = errno;

		say_error("%s: %s", text, say_reason(error));
		return -error;
	}
	if (S_ISBLK(st.st_mode))
		return find_loop(path, list, namep);

	mount = mount_of(list, st.st_dev);
	if (mount && is_root_of(&st, mount)) {
		name_set(namep, mount, NULL);
		return 0;
	}
	path_split(path, &directory, &last);
	if (mount && S_ISREG(st.st_mode) && *last != '.' && mount_at(list, directory)) {
		name_set(namep, mount, last);
		return 0;
	}
	say_error("%s: not a disk of zramfs", text);
	return -ENOENT;
}

static int find_path(const char *text, const struct mount_list *list, struct name *namep)
{
	ZR_CLEANUP(zr_freep) char *path = NULL;

	path = realpath(text, NULL);
	if (!path) {
		const int error = errno;

		say_error("%s: %s", text, error == ENOENT ? "no such disk" : say_reason(error));
		return -error;
	}
	return find_resolved(text, path, list, namep);
}

bool name_mount_has(const struct mount *mount, const char *disk)
{
	/* Every disk has that file. */
	ZR_CLEANUP(zr_freep) char *path = say_text(".control/%s/initstate", disk);
	ZR_CLEANUP(zr_freep) char *text = NULL;
	size_t n_text;

	return ask_file(mount, path, &text, &n_text) == 0;
}

/* Adds ", MOUNT/DISK" to the choices. */
static void choices_add(char **choicesp, const char *mount, const char *last)
{
	char *more = say_text("%s%s%s%s%s", *choicesp ? *choicesp : "", *choicesp ? " or " : "",
			      mount, last ? "/" : "", last ? last : "");

	free(*choicesp);
	*choicesp = more;
}

static int find_bare(const char *text, const struct mount_list *list, bool is_daemon,
		     struct name *namep)
{
	ZR_CLEANUP(zr_freep) char *choices = NULL;
	const struct mount *found = NULL, *foreign = NULL;
	const char *why;
	size_t n_found = 0, i;

	if (!is_daemon && zr_disk_name_check(text, &why) < 0) {
		say_error("%s: no such disk: %s", text, why);
		return -ENOENT;
	}
	for (i = 0; i < list->n; ++i) {
		if (list->mounts[i].is_foreign) {
			foreign = &list->mounts[i];
			continue;
		}
		if (!is_daemon && !name_mount_has(&list->mounts[i], text))
			continue;
		found = &list->mounts[i];
		choices_add(&choices, found->path, is_daemon ? NULL : text);
		++n_found;
	}
	if (n_found == 1) {
		name_set(namep, found, is_daemon ? NULL : text);
		return 0;
	}
	if (n_found == 0 && foreign)
		say_error("%s: no such disk, but mounts of other users were left out: those are "
			  "named by a path, as %s%s%s",
			  text, foreign->path, is_daemon ? "" : "/", is_daemon ? "" : text);
	else if (n_found == 0)
		say_error("%s: no such disk", text);
	else
		say_error("%s: there are %zu of that name; say which: %s", text, n_found, choices);
	return n_found == 0 ? -ENOENT : -ENOTUNIQ;
}

int name_find_any(const char *text, struct name *namep)
{
	ZR_CLEANUP(mount_list_clear) struct mount_list list = { 0 };
	int r;

	r = mount_list_read(&list);
	if (r < 0)
		return r;
	if (strchr(text, '/'))
		return find_path(text, &list, namep);
	return find_bare(text, &list, strcmp(text, DAEMON) == 0, namep);
}

int name_find(const char *text, struct name *namep)
{
	int r;

	r = name_find_any(text, namep);
	if (r < 0)
		return r;
	if (!namep->disk) {
		say_error("%s: the name of a disk is needed", text);
		name_free(namep);
		return -EISDIR;
	}
	return 0;
}

/* a disk to be made */

static int mount_choose(const struct mount_list *list, const char *wanted,
			const struct mount **mountp)
{
	ZR_CLEANUP(zr_freep) char *choices = NULL;
	size_t n_found = 0, i;

	if (wanted) {
		*mountp = mount_at(list, wanted);
		if (!*mountp)
			say_error("%s: not a zramfs mount", wanted);
		return *mountp ? 0 : -ENOENT;
	}
	for (i = 0; i < list->n; ++i) {
		if (list->mounts[i].is_foreign)
			continue;
		*mountp = &list->mounts[i];
		choices_add(&choices, list->mounts[i].path, NULL);
		++n_found;
	}
	if (n_found == 1)
		return 0;
	if (n_found == 0)
		say_error("no zramfs is mounted but by other users; say which: --mount %s",
			  list->mounts[0].path);
	else
		say_error("there are %zu mounts; say which: --mount %s", n_found, choices);
	return n_found == 0 ? -ENOENT : -ENOTUNIQ;
}

int name_new(const char *text, const char *mount, struct name *namep)
{
	ZR_CLEANUP(mount_list_clear) struct mount_list list = { 0 };
	ZR_CLEANUP(zr_freep) char *directory = NULL;
	const struct mount *chosen;
	const char *last = text, *why;
	int r;

	if (text && strchr(text, '/')) {
		path_split(text, &directory, &last);
		mount = directory;
	}
	if (last && zr_disk_name_check(last, &why) < 0) {
		say_error("%s: %s", text, why);
		return -EINVAL;
	}
	r = mount_list_read(&list);
	if (r == 0)
		r = mount_choose(&list, mount, &chosen);
	if (r == 0)
		name_set(namep, chosen, last);
	return r;
}

/* mounts */

/* As the kernel says its path, so that one whose daemon is dead or hangs can be named, too. */
static bool find_mount(const char *text, struct name *namep)
{
	ZR_CLEANUP(mount_list_clear) struct mount_list list = { 0 };
	size_t i;

	if (mounts_read(&list.mounts, &list.n) < 0)
		return false;
	for (i = 0; i < list.n; ++i) {
		if (strcmp(list.mounts[i].path, text) == 0) {
			name_set(namep, &list.mounts[i], NULL);
			return true;
		}
	}
	return false;
}

static int mount_named(const char *text, struct mount **mountsp)
{
	struct name name;
	int r;

	r = find_mount(text, &name) ? 0 : name_find_any(text, &name);
	if (r < 0)
		return r;
	if (name.disk) {
		say_error("%s: a disk; the path of a mount is needed", text);
		name_free(&name);
		return -ENOTDIR;
	}
	*mountsp = calloc(1, sizeof(**mountsp));
	if (!*mountsp)
		say_no_memory();
	(*mountsp)->device = name.device;
	(*mountsp)->path = ZR_STEAL(name.mount);
	name_free(&name);
	return 0;
}

int name_mounts(const char *text, struct mount **mountsp, size_t *n_mountsp)
{
	struct mount_list list;
	size_t n_own;
	int r;

	*n_mountsp = 1;
	if (text)
		return mount_named(text, mountsp);
	r = mount_list_read(&list);
	if (r < 0)
		return r;
	n_own = mounts_n_own(list.mounts, list.n);
	if (n_own == 0) {
		say_error("no zramfs is mounted but by other users; say which: %s",
			  list.mounts[0].path);
		mount_list_clear(&list);
		return -ENOENT;
	}
	for (*n_mountsp = n_own; n_own < list.n; ++n_own)
		free(list.mounts[n_own].path);
	*mountsp = list.mounts;
	return 0;
}

bool names_want(const struct name *names, size_t n_names, const char *mount, const char *disk)
{
	size_t i;

	for (i = 0; i < n_names; ++i) {
		if (strcmp(names[i].mount, mount) == 0 &&
		    (!disk || !names[i].disk || strcmp(names[i].disk, disk) == 0))
			return true;
	}
	return n_names == 0;
}

void name_free(struct name *name)
{
	free(name->mount);
	free(name->disk);
	free(name->path);
	*name = (struct name){ 0 };
}

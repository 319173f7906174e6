/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "reload.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "change.h"
#include "log.h"
#include "start.h"
#include "tiering.h"

/* It is set last: most of what else is set can be only before it. */
#define KEY_DISKSIZE "disksize"

/* An absence is no wish: a random one was given. */
#define KEY_UUID "uuid"

/* Longest text of a value. */
#define VALUE_MAX 256u

/* Room for the names of all keys of a disk. */
#define NAMES_MAX 256u

/* One run, from the new configuration to what was done. */
struct run {
	struct fs *fs;
	struct zr_store *store;
	const struct config *config; /* the new one */
	const struct config *before;
	struct naming done;
	size_t n_added;
	struct zr_disk **added; /* pinned */
};

int reload_init(struct reload *reload, const char *path, struct config *config)
{
	char directory[PATH_MAX];
	bool relative;

	*reload = (struct reload){ .config = config, .started = config->daemon };
	if (!path)
		return 0;

	relative = path[0] != '/';
	if (relative && !getcwd(directory, sizeof(directory)))
		return -errno;
	if (asprintf(&reload->path, "%s%s%s", relative ? directory : "", relative ? "/" : "",
		     path) < 0) {
		reload->path = NULL;
		return -ENOMEM;
	}
	return 0;
}

void reload_deinit(struct reload *reload)
{
	free(reload->path);
	config_free(reload->config);
	*reload = (struct reload){ 0 };
}

/* disks that are new */

static void withdraw(struct run *run, struct zr_disk *disk)
{
	struct zr_attrs attrs;

	zr_disk_attrs(disk, &attrs);
	if (change_withdraw(run->fs, disk) == -EBUSY)
		log_line("disk %s: in use already, so it stays", attrs.name);
}

static void added_deinit(struct run *run, bool remove)
{
	size_t i;

	for (i = 0; i < run->n_added; ++i) {
		if (remove)
			withdraw(run, run->added[i]);
		zr_disk_unpin(run->store, run->added[i]);
	}
	free(run->added);
}

static bool disk_exists(struct zr_store *store, const char *name)
{
	struct zr_disk *disk = zr_store_find(store, name);

	zr_disk_unpin(store, disk);
	return disk != NULL;
}

static int disk_add(struct run *run, const struct zr_disk_spec *spec, struct zr_disk **diskp)
{
	struct zr_disk_spec held = *spec;
	int r;

	r = tiering_hold(run->fs->tiering, &held, (struct zr_stop){ 0 });
	if (r < 0)
		return r;
	records_lock(&run->fs->records);
	r = zr_store_add(run->store, run->fs->ctx, &held, diskp);
	records_unlock(&run->fs->records);
	tiering_release(run->fs->tiering, &held);
	return r;
}

/* All of them or, after an error, none. */
static int disks_add(struct run *run)
{
	const struct config *config = run->config;
	size_t i;
	int r = 0;

	run->added = calloc(config->n_disks + 1, sizeof(struct zr_disk *));
	if (!run->added)
		return -ENOMEM;

	for (i = 0; r == 0 && i < config->n_disks; ++i) {
		const struct zr_disk_spec *spec = &config->disks[i].spec;

		/* What the file had before and is not there was removed by somebody. */
		if (disk_exists(run->store, spec->attrs.name) ||
		    config_find(run->before, spec->attrs.name))
			continue;
		r = disk_add(run, spec, &run->added[run->n_added]);
		if (r == 0)
			++run->n_added;
		else
			log_line("disk %s: cannot make it: %s", spec->attrs.name, strerror(-r));
	}
	if (r < 0)
		added_deinit(run, true);
	return r;
}

static bool is_added(const struct run *run, const struct zr_disk *disk)
{
	size_t i;

	for (i = 0; i < run->n_added; ++i)
		if (run->added[i] == disk)
			return true;

	return false;
}

/* disks that are there */

/* Does the file say it, or did it before? Else what somebody has set by hand stays. */
static bool is_said(const struct run *run, const struct config_disk *wanted,
		    const struct zr_attr *attr, unsigned int index)
{
	const struct config_disk *before = config_find(run->before, wanted->spec.attrs.name);

	if (config_says(&wanted->said, index))
		return true;
	/* Their absence is no wish. */
	if (strcmp(attr->name, KEY_DISKSIZE) == 0 || strcmp(attr->name, KEY_UUID) == 0)
		return false;
	return before && config_says(&before->said, index);
}

/* Does the configuration say another text than the disk's? */
static bool differs(const struct zr_attr *attr, const struct config_disk *wanted,
		    struct zr_disk *disk, char text[VALUE_MAX])
{
	struct zr_disk_spec there;
	char before[VALUE_MAX];

	zr_attr_spec_of(disk, &there);
	attr->print(&wanted->spec, text, VALUE_MAX);
	attr->print(&there, before, sizeof(before));
	return strcmp(text, before) != 0;
}

static void attr_apply(struct run *run, const struct zr_attr *attr, struct zr_disk *disk,
		       const char *name, const char *text)
{
	const struct zr_attr_target target = { .store = run->store,
					       .disk = disk,
					       .ctx = run->fs->ctx,
					       .defaults = &run->config->defaults.attrs,
					       .daemon = run->fs->daemon };
	int r = 0;

	/* What takes long locks for itself, and must not be waited for. */
	if (!(attr->flags & ZR_ATTR_LONG))
		records_lock(&run->fs->records);
	if (attr->flags & ZR_ATTR_ADDS)
		r = attr->apply(&target, "");
	if (r == 0)
		r = attr->apply(&target, text);
	if (!(attr->flags & ZR_ATTR_LONG))
		records_unlock(&run->fs->records);
	if (r == 0)
		naming_add(&run->done, 0, "%s of %s", attr->name, name);
	else if (r != -ESTALE)
		log_line("disk %s: %s = %s: %s; as it was", name, attr->name, text, strerror(-r));
}

static bool may_change(const struct zr_attr *attr, const struct zr_disk *disk)
{
	if (attr->when == ZR_WHEN_EMPTY)
		return zr_disk_size(disk) == 0;
	return attr->when == ZR_WHEN_ALWAYS;
}

/* The rows but disksize, or that alone. */
static void rows_apply(struct run *run, const struct config_disk *wanted, struct zr_disk *disk,
		       bool disksize, char refused[NAMES_MAX])
{
	const char *name = wanted->spec.attrs.name;
	const struct zr_attr *attr;
	char text[VALUE_MAX];
	unsigned int i;

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		const size_t n = strlen(refused);

		if (!attr->parse || (strcmp(attr->name, KEY_DISKSIZE) == 0) != disksize ||
		    !is_said(run, wanted, attr, i) || !differs(attr, wanted, disk, text))
			continue;

		if (may_change(attr, disk))
			attr_apply(run, attr, disk, name, text);
		else
			snprintf(refused + n, NAMES_MAX - n, "%s%s", n > 0 ? ", " : "", attr->name);
	}
}

static void disk_change(struct run *run, const struct config_disk *wanted)
{
	struct zr_disk *disk = zr_store_find(run->store, wanted->spec.attrs.name);
	char refused[NAMES_MAX] = "";

	if (disk && !is_added(run, disk)) {
		rows_apply(run, wanted, disk, false, refused);
		rows_apply(run, wanted, disk, true, refused);
		if (refused[0])
			log_line("disk %s: %s: cannot change while the disk has a size; as before",
				 wanted->spec.attrs.name, refused);
	}
	zr_disk_unpin(run->store, disk);
}

/* the daemon */

static void daemon_row_apply(struct run *run, const struct zr_attr *attr, const char *text)
{
	const struct zr_attr_target target = { .store = run->store,
					       .ctx = run->fs->ctx,
					       .daemon = run->fs->daemon };
	char before[VALUE_MAX];
	int r;

	r = attr->show(&target, before, sizeof(before));
	before[r > 0 ? r - 1 : 0] = '\0';
	if (strcmp(text, before) == 0)
		return;

	records_lock(&run->fs->records);
	r = attr->apply(&target, text);
	records_unlock(&run->fs->records);
	if (r == 0)
		naming_add(&run->done, 0, "%s of all disks", attr->name);
	else
		log_line("%s = %s: %s; as it was", attr->name, text, strerror(-r));
}

/* What changes with the next start is compared with how it is now. */
static void daemon_row_compare(const struct zr_attr *attr, const char *text,
			       const struct zr_daemon_spec *started)
{
	char now[VALUE_MAX];

	attr->print_daemon(started, now, sizeof(now));
	if (strcmp(text, now) != 0)
		log_line("%s: changes when it is mounted anew; as before", attr->name);
}

static void daemon_change(struct run *run, const struct zr_daemon_spec *started)
{
	const struct zr_attr *attr;
	char text[VALUE_MAX];
	unsigned int i;

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if (!attr->parse_daemon)
			continue;

		attr->print_daemon(&run->config->daemon, text, sizeof(text));
		if (attr->when != ZR_WHEN_ALWAYS)
			daemon_row_compare(attr, text, started);
		else if (config_says(&run->config->daemon_said, i) ||
			 config_says(&run->before->daemon_said, i))
			daemon_row_apply(run, attr, text);
	}
}

/* saying it */

static void say_warnings(const struct reload *reload, const struct config *config)
{
	size_t i;

	for (i = 0; i < config->warnings.n_lines; ++i)
		if (!warnings_have(&reload->config->warnings, config->warnings.lines[i]))
			log_line("%s: %s", reload->path, config->warnings.lines[i]);
}

static void say_naming(struct naming *naming, const char *intro)
{
	struct warnings lines = { 0 };

	if (naming_warn(naming, &lines, intro) == 0 && lines.n_lines > 0)
		log_line("%s", lines.lines[0]);
	warnings_deinit(&lines);
}

static void say_gone(const struct reload *reload, const struct run *run)
{
	struct naming gone = { 0 };
	size_t i;

	for (i = 0; i < reload->config->n_disks; ++i) {
		const char *name = reload->config->disks[i].spec.attrs.name;

		if (!config_find(run->config, name) && disk_exists(run->store, name))
			naming_add(&gone, 0, "%s", name);
	}
	say_naming(&gone, "disks no longer in the configuration stay as they are");
}

static void say_done(struct run *run)
{
	struct zr_attrs attrs;
	size_t i;

	for (i = 0; i < run->n_added; ++i) {
		zr_disk_attrs(run->added[i], &attrs);
		naming_add(&run->done, 0, "disk %s is new", attrs.name);
	}
	if (run->done.n == 0)
		naming_add(&run->done, 0, "nothing changed");
	say_naming(&run->done, "configuration read again");
}

/* the whole */

/* The daemon's standard input is empty, and would be a good configuration, of nothing. */
static bool is_device(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISCHR(st.st_mode);
}

/* What is wrong with it is said best by loading it from where it is. */
static bool is_sound(const struct reload *reload)
{
	const struct zr_disk_spec *before = &reload->config->defaults;
	ZR_CLEANUP(config_freep) struct config *config = NULL;
	char message[CONFIG_MESSAGE_MAX];

	if (config_load(&config, reload->path, before->ram_bytes, before->attrs.uid,
			before->attrs.gid, message, sizeof(message)) == 0)
		return true;
	log_line("%s", message);
	return false;
}

/* From a copy, in *fdp: what the next generation is given is what was read. */
static struct config *config_again(const struct reload *reload, int *fdp)
{
	const struct options options = { .config_path = reload->path };
	struct config *config;
	int fd;

	if (!is_sound(reload))
		return NULL;
	fd = start_copy(reload->path);
	if (fd < 0) {
		log_line("%s: cannot keep a copy of it: %s", reload->path, strerror(-fd));
		return NULL;
	}
	config = start_config_again(&options, fd);
	if (config)
		*fdp = fd;
	else
		close(fd);
	return config;
}

static void config_take(struct reload *reload, struct run *run, struct fs *fs)
{
	size_t i;

	daemon_change(run, &reload->started);
	for (i = 0; i < run->config->n_disks; ++i)
		disk_change(run, &run->config->disks[i]);
	fs_set_defaults(fs, &run->config->defaults);
	if (run->n_added > 0)
		fs_directory_changed(fs);

	say_warnings(reload, run->config);
	say_gone(reload, run);
	say_done(run);
}

int reload_run(struct reload *reload, struct zr_store *store, struct fs *fs)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;
	struct run run = { .fs = fs, .store = store, .before = reload->config };
	int fd = -1, r;

	if (!reload->path) {
		log_line("no configuration was named with -c: nothing to read again");
		return -1;
	}
	if (is_device(reload->path)) {
		log_line("%s is no file: nothing to read again", reload->path);
		return -1;
	}
	config = config_again(reload, &fd);
	if (!config) {
		log_line("configuration not read again: nothing changed");
		return -1;
	}

	run.config = config;
	r = disks_add(&run);
	if (r < 0) {
		log_line("configuration not read again: %s; nothing changed", strerror(-r));
		close(fd);
		return -1;
	}

	config_take(reload, &run, fs);
	if (tiering_provide(fs->tiering) < 0)
		log_line("no memory for who does what disks want done by themselves");
	added_deinit(&run, false);
	config_free(reload->config);
	reload->config = ZR_STEAL(config);
	return fd;
}

#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Service: what lies with a service manager, and what it was told
 *
 * A service manager holds descriptors for us (FDSTORE=1 of sd_notify(3)): with them the next keeper
 * goes on, and while it holds our end of a worker's wire, the worker does not miss a keeper. Each has
 * a name that is used once: zramfs-KIND-NUMBER, of a wire the worker's process. So what is new is
 * there before what was is taken away, and whoever is killed in between leaves both.
 *
 * Nothing is acknowledged. Whether anything is held is found out by having a pipe held and looking
 * whether it breaks, once the manager has read so far (BARRIER=1).
 *
 * Ownership: descriptors are the keeper's; the pipes its own.
 * Locking:   none; the keeper's one thread. It never waits, but for service_settle() and service_end().
 * Errors:    none: what the manager has no room for now it is told later, in order.
 * Cost:      a few messages when something changes. It allocates nothing.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "layout.h"
#include "notify.h"

enum service_slot {
	SERVICE_FUSE,                                     /* /dev/fuse */
	SERVICE_STORE,                                    /* the memfd */
	SERVICE_CONFIG,                                   /* the text of the configuration */
	SERVICE_PROGRAM,                                  /* of workers */
	SERVICE_ENTRIES,                                  /* for io_uring */
	SERVICE_BACKING,                                  /* backing files, by index */
	SERVICE_WIRE = SERVICE_BACKING + ZR_BACKINGS_MAX, /* to workers */
	SERVICE_WIRES = 4,
	SERVICE_END = SERVICE_WIRE + SERVICE_WIRES,
};

/* Numbers are not 0. */
struct service_kept {
	int fd;          /* -1: none */
	uint32_t number; /* of what is to be held */
	uint32_t held;   /* of what was sent; 0: nothing */
};

#define SERVICE_GOING 48u

enum service_proof {
	SERVICE_UNKNOWN = 0,
	SERVICE_HOLDS,
	SERVICE_HOLDS_NOTHING,
};

#define SERVICE_SAID_MAX 512u

struct service {
	struct notify notify;
	bool is_asked_for; /* --service: descriptors are to be held */
	uint32_t n_numbers;
	struct service_kept kept[SERVICE_END];
	/* names that are to go */
	char going[SERVICE_GOING][NOTIFY_NAME_MAX];
	unsigned int n_going;
	/* the pipes: what is held, and who has read so far; -1: none */
	int sample, barrier;
	enum service_proof proof;
	int wait_ms; /* until it is tried again; 0: there is nothing to be told */
	char said[SERVICE_SAID_MAX];
};

/* Nobody is to be told anything, nor holds anything. */
void service_none(struct service *service);

/* The manager of this process's environment. */
void service_begin(struct service *service, bool is_asked_for);

/* Is there somebody to be told? Somebody who is to hold descriptors? */
bool service_is_there(const struct service *service);
bool service_may_hold(const struct service *service);

/* "zramfs-KIND-NUMBER". */
void service_name(char name[NOTIFY_NAME_MAX], enum service_slot slot, uint32_t number);

/* Which slot a name is of, SERVICE_WIRE for any wire. Return: SERVICE_END for none of ours. */
enum service_slot service_slot_of(const char *name, uint32_t *numberp);

/* Are both the same open file? */
bool service_is_same(int a, int b);

/* @fd, -1: none, is to be held in place of what was. */
void service_keep(struct service *service, enum service_slot slot, int fd);

/* What was found under that number is held already. */
void service_found(struct service *service, enum service_slot slot, int fd, uint32_t number);

/* What is called so is to be held no more. */
void service_drop(struct service *service, const char *name);

/* The ends of these workers' wires are to be held, and no other; a pid of 0 is none's. */
void service_keep_wires(struct service *service, const pid_t pids[], const int ends[],
			unsigned int n);

/* Tell what is to be told. Return: was that all? */
bool service_sync(struct service *service);

/* Find out anew whether it holds anything, when all was told. */
void service_prove(struct service *service);

/* Readable once there is an answer; -1: nothing was asked. service_hear() takes it. */
int service_wanted(const struct service *service);
void service_hear(struct service *service);

/* Say it, once; later if it cannot be read now. */
void service_say(struct service *service, const char *text);

/* What was dropped is held no more: before what is to be opened that others may have open. Waits as
 * service_end() does; not where somebody else waits for this mount. */
void service_settle(struct service *service);

/* All ends: nothing is to be held any more. Waits until that is so, but not for ever. */
void service_end(struct service *service);

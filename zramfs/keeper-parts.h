#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Keeper parts: what the files of the keeper share
 *
 *   keeper.c    children, deaths, messages, looks, signals
 *   keeper-keeps.c   what workers to come are given
 *   keeper-service.c   what a service manager is told, and holds
 *   upgrade.c   a worker of another binary in place of the one that serves
 *
 * Ownership: as keeper.h.
 * Locking:   none; one thread.
 * Errors:    as keeper.h.
 * Cost:      as keeper.h.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "detach.h"
#include "entries.h"
#include "options.h"
#include "service.h"
#include "shelf.h"
#include "launch.h"
#include "wire.h"

#define KEEPER_TEXT_MAX 300u
#define KEEPER_LOOK_NS  INT64_C(1000000000)

enum child_state {
	CHILD_GONE,
	CHILD_STARTING,    /* is being executed */
	CHILD_STANDBY,     /* waits to be told */
	CHILD_PREPARING,   /* maps the store, beside who serves */
	CHILD_PREPARED,    /* could serve */
	CHILD_TAKING_OVER, /* was told to serve */
	CHILD_READY,       /* serves */
};

struct child {
	pid_t pid; /* 0: none */
	int end;   /* of the wire; -1: none */
	enum child_state state;
	bool is_foreign; /* not our child: its end is seen by its end of the wire */
	bool is_dead;    /* was waited for; what it said last is read */
	bool is_hung;    /* and was killed for it */
	bool is_drained; /* said that all it has read is answered */
	bool tells_all;  /* will say so when it */
	bool has_all;    /* serves changes, too, and has what memory it needs */
	unsigned int ticks;
	int64_t ready_ns;
	char why[WIRE_TEXT_MAX]; /* it refused */
};

#define CHILD_NONE         \
	((struct child){   \
		.end = -1, \
	})

struct upgrade {
	struct child candidate;
	int binary; /* of the candidate; -1: none is under way */
	int before; /* to go back to; -1: none */
	bool is_draining;
	bool is_asked; /* by the worker, who wants an answer */
	bool is_new;   /* the worker is of a new program, and did not serve yet */
	unsigned int ticks;
	char said[WIRE_TEXT_MAX]; /* how the last one ended */
};

/* What a service manager is told of, and what is to be done for its sake. */
struct attendance {
	bool was_ready;    /* and was said to be */
	bool is_found;     /* the mount is older than this keeper */
	bool is_telling;   /* the worker that was found is to say what it has */
	bool wants_reload; /* when the upgrade is over */
	bool is_reloading; /* a worker was told to */
	bool reload_failed;
	bool is_leaving, is_proving;
	int program; /* to upgrade to, after is_telling */
	int64_t told_until_ns, reload_until_ns, leave_until_ns;
	int64_t reload_usec; /* when it began; 0: it did not */
};

struct keeper {
	const char *resolved; /* where it is mounted */
	char binary_path[PATH_MAX];
	char *arguments[OPTIONS_REST_MAX]; /* for workers */
	int fuse_fd, store_fd, config_fd, binary, signals;
	int entries_fd;                   /* -1: requests come from /dev/fuse */
	int backing_fds[ZR_BACKINGS_MAX]; /* -1: there is none */
	struct entries_head *entries;     /* the same; NULL: the same */
	void *config_text;                /* mapped; NULL: it has none */
	size_t n_config;
	struct shelf *shelf;
	struct detach *detach; /* NULL once the first worker was ready */
	struct child worker, spare;
	uint64_t followed_bytes; /* how large the store was when the spare one was told last */
	struct upgrade upgrade;
	struct service *service;
	struct attendance attendance;
	uint64_t generation;        /* of the worker */
	uint64_t generation_before; /* the last one that served */
	int fault;                  /* signal that the last one died of; 0: none, or from outside */
	unsigned int n_failures;
	unsigned int n_spares_failed;
	bool spare_failed;
	bool cannot_resend;
	bool reload;              /* asked for, and nobody was told */
	bool terminate;           /* asked for while nobody served */
	int64_t told_ns;          /* when a worker was told to end last; 0: never */
	int64_t waiting_since_ns; /* 0: somebody serves */
	char death[KEEPER_TEXT_MAX];
	/* the watchdog */
	uint64_t n_done;
	unsigned int n_stuck;
};

int keeper_init(struct keeper *keeper, const struct options *options);
_Noreturn void keeper_loop(struct keeper *keeper);
void keeper_worker_died(struct keeper *keeper, int status);

/* Tell whoever serves what was asked for; who serves next, if nobody does now. */
void keeper_tell_asked(struct keeper *keeper);

int keeper_launch(struct keeper *keeper, struct child *child, int binary);
void keeper_serve(struct keeper *keeper);
void keeper_kill(const struct child *child);
void keeper_drop_spare(struct keeper *keeper);

/* Workers to come read the configuration when nobody serves, maybe: it must not be swapped out to one
 * of our own disks. Whatever this process maps is locked. */
void keeper_hold_config(struct keeper *keeper);

/* The worker has read another. Return: is it another, so that there is no spare one now? */
bool keeper_take_config(struct keeper *keeper, int fd);

/* The worker has opened a backing file, or closed it (@fd -1): who may follow gets it, too. */
void keeper_take_backing(struct keeper *keeper, uint64_t index, int fd);

/* Each turn of the loop: what has changed is told, and what is due is done. */
void keeper_attend(struct keeper *keeper);

/* All descriptors are to be held, at the beginning. */
void keeper_hold_all(struct keeper *keeper);

/* Leave the mount to the worker and the keeper to come. Return: false if nobody holds what it takes
 * to go on. */
bool keeper_leave(struct keeper *keeper);

/* The worker that was found begins to say what it has; has said all. */
void keeper_told_config(struct keeper *keeper);
void keeper_told_all(struct keeper *keeper);

/* A worker was told to read the configuration again; it has. */
void keeper_reload_begun(struct keeper *keeper);
void keeper_reload_done(struct keeper *keeper, int error);

/* Make a worker of @binary ready, which is the keeper's from now on; -1: of the program's own path
 * as it is now. @path: what it is called. @is_asked: the worker wants an answer. */
void upgrade_begin(struct keeper *keeper, int binary, const char *path, bool is_asked);
void upgrade_message(struct keeper *keeper, const struct wire_message *message, int fd);
void upgrade_candidate_died(struct keeper *keeper, int status);

/* The worker cannot finish, and goes on. */
void upgrade_refused(struct keeper *keeper, const struct wire_message *message);

/* The worker is gone. Return: was it told to finish, and is who was to follow there? */
bool upgrade_is_to_follow(struct keeper *keeper);

/* The worker has finished, or died of being told to: the candidate is the worker. */
void upgrade_take_over(struct keeper *keeper);

/* A worker serves: if it is of a new binary, that has gone well. */
void upgrade_done(struct keeper *keeper);

/* A worker of a new binary failed: the next one is of the binary before. */
void upgrade_go_back(struct keeper *keeper, const char *why);

/* Somebody serves, and nobody is about to. */
bool upgrade_is_over(const struct keeper *keeper);

/* If one is under way, it is not to be, but for one that the worker was told to make way for. */
void upgrade_give_up(struct keeper *keeper, const char *why);

/* Once a second: a candidate that does not come is given up. */
void upgrade_look(struct keeper *keeper);

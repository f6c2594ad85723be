/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that owns the sockets.
 *
 * The master reads the configuration, opens every listening socket, forks an
 * engine that carries the traffic, and watches it.  It never reads a byte from the
 * network and has one thread.  Listening sockets stay open in it as long as their
 * address is configured, so a backlog outlives engines and reloads.
 *
 * SIGHUP reloads: a file with an error changes nothing; else a second engine is
 * started beside the first, and the first is told to drain once the second says
 * that it serves.  SIGUSR1 reopens the log file.  SIGTERM and SIGINT drain, a
 * second one ends at once.  An engine that dies is started again, with back-off.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include "config/config.h"

struct engine_conns;
struct engine_service;
struct engine_setup;
struct mode_ops;

struct master_options {
	const char *file;		/* of the configuration */
	const enum config_log_level *log_level;	/* overrides the file's; NULL: the file decides */
	/* engine_run, handed down so that tests can put a small one in its place. */
	int (*engine)(const struct engine_setup *setup);
	/* By enum config_mode; NULL: no engine for it yet, and the file is refused. */
	const struct mode_ops *const *modes;
	const struct engine_conns *conns;	/* the engine's */
	const struct engine_service *aws;	/* or NULL: struct engine_setup */
};

/* Runs until told to end; the exit status: 0, or 1 where it could not start. */
int master_run(const struct master_options *options);

#endif

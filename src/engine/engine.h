/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that carries the traffic.
 *
 * The master forks it with everything it needs: a configuration, listening
 * sockets, a socket to talk to the master, shared memory for counters.  It
 * carries one configuration for life.  engine_run() is called in the child after
 * privileges were dropped, before any thread exists.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stddef.h>

struct config;
struct config_frontend;
struct config_listen;
struct mode_ops;
struct net_sockaddr;
struct stats;
struct worker;

/*
 * One listening socket.  TCP has one for each slot (SO_REUSEPORT); worker i takes
 * the slots s with s % workers == i.  vsock and Unix have slot 0 only, and the
 * owning worker hands accepted descriptors on.
 */
struct engine_listener {
	const struct config_frontend *frontend;
	const struct config_listen *listen;
	int fd;		/* borrowed; non-blocking, close-on-exec */
	unsigned slot;
};

/* One byte each on the control socket (SOCK_SEQPACKET). */
enum engine_message {
	ENGINE_READY = 'r',	/* engine to master: serving */
	ENGINE_DRAIN = 'd',	/* master to engine: stop accepting, end when idle or after grace */
	ENGINE_STOP = 's',	/* master to engine: end now */
	ENGINE_REOPEN = 'l',	/* master to engine, with a descriptor: the new log file */
};

/*
 * What becomes of an accepted descriptor.  Handed down, since the engine knows no room
 * above it; all of it runs on the worker's thread.
 */
struct engine_setup;
struct engine_conns {
	size_t size;		/* of one connection, from worker.conns */
	void *(*kit_new)(const struct engine_setup *setup); /* worker.kit */
	void (*kit_free)(void *kit);
	/* Something is ready, for who asked by worker.ready. */
	void (*event)(void *who, int events);
	/* Takes the descriptor. */
	void (*accepted)(struct worker *w, const struct engine_listener *l, int fd,
			 const struct net_sockaddr *peer);
	void (*drain_all)(struct worker *w);	/* the process drains: who is idle may end */
	void (*end_all)(struct worker *w);
	void (*free_dead)(struct worker *w);	/* a turn of the loop is over */
};

/*
 * A thread that serves all workers, and hears of its work by what it offers them; it
 * answers by worker_post().  Handed down as well.
 */
struct engine_service {
	/* 0 with *ret, which is NULL where the configuration has no work for it; or -errno. */
	int (*start)(const struct config *c, void **ret);
	/* The workers have ended, and ask nothing more: joins the thread, posts what is left. */
	void (*stop)(void *service);
	/* After that and after all mail was delivered: frees it. */
	void (*free)(void *service);
};

struct engine_setup {
	const struct config *config;
	const struct engine_listener *listeners;
	size_t n_listeners;
	unsigned n_workers;
	int control_fd;		/* end of file on it: the master died, end */
	struct stats *stats;	/* shared with the master and with other engines; may be NULL */
	const struct mode_ops *const *modes; /* by enum config_mode; NULL: no engine yet */
	const struct engine_conns *conns;
	const struct engine_service *aws;	/* or NULL */
};

/* Carries traffic until told to end; the exit status of the process. */
int engine_run(const struct engine_setup *setup);

#endif

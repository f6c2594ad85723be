/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of TCP servers on loopback that are used again.
 *
 * A TCP socket that has ended both ways, with all it sent acknowledged, is as good as a new
 * one after a connect(2) to AF_UNSPEC.  That spares the kernel to make one and to free
 * another, and worker.ready keeps what it knows of it.  The server sees the same packets,
 * each time from another port; only their sequence numbers begin where the last ones ended,
 * which is nobody's business on loopback.  There, too, an end is acknowledged by the time
 * that the next client comes.
 *
 * A short tunnel that ended well leaves its struct conn with the server's socket to its
 * worker's kit, where it rests until a client of a tunnel is accepted, who has both, or for
 * a second.  A client who dials another server, or none, closes it.  Who rested least is
 * taken first: its memory is in the processor's cache still.  Bulk leaves none: its options
 * and buffers must not meet the next server.
 */
#ifndef CONN_REUSE_H
#define CONN_REUSE_H

#include <stdbool.h>

struct conn;
struct worker;

enum {
	REUSE_MAX = 128,	/* that rest in one worker */
	REUSE_MS = 1000,	/* how long */
	REUSE_BYTES = 65536,	/* both ways together: more is bulk */
};

/* Of a connection that has ended well: c keeps the server's socket, or false: it is to be closed. */
bool reuse_keep(struct conn *c);
/* A dead one rests, or false: it keeps no socket, and its memory is free to go. */
bool reuse_rest(struct conn *c);
/* Who has rested least, all zero but for what it keeps; NULL: nobody rests. */
struct conn *reuse_wake(struct worker *w);
/* Dials c->target with what c keeps, as net_dial() would; -ESTALE where it keeps nothing that could. */
int reuse_dial(struct conn *c);
/* What c keeps is closed. */
void reuse_drop(struct conn *c);
/* Nobody rests from here on. */
void reuse_end(struct worker *w);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of one connection: accept, hello, route, dial, relay, end.
 *
 * One struct, one state, one way in (conn_ops.accepted) and one way out (conn_end)
 * with a named reason.  conn_enter() sets a state and its deadline.  A connection
 * belongs to one worker for life; it owns both descriptors and what is on its way
 * between them.  It is freed at the end of the loop's turn, never under a running
 * callback.
 *
 * A mode says what the first bytes mean (struct mode_ops) and then calls one of
 * conn_route(), conn_answer() or conn_end().
 */
#ifndef CONN_CONN_H
#define CONN_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include <ev.h>

#include "config/config.h"
#include "conn/pump.h"
#include "engine/limits.h"
#include "engine/timers.h"
#include "net/address.h"
#include "wire/host_name.h"

struct engine_conns;
struct engine_listener;
struct log_line;
struct reach;
struct worker;
struct conn;

enum conn_state {
#define CONN_STATE(id, name, timeout) CONN_##id,
#include "conn/conn_states.def"
#undef CONN_STATE
};

enum conn_blame { BLAME_NOBODY, BLAME_CLIENT, BLAME_SERVER, BLAME_PROXY };

enum conn_end {
#define CONN_END(id, label, blame, sentence) END_##id,
#include "conn/conn_end.def"
#undef CONN_END
	END_COUNT
};

const char *conn_end_label(enum conn_end end);
const char *conn_end_sentence(enum conn_end end);

/* A mode's functions; all run on the connection's worker. */
struct mode_ops {
	const char *name;
	/* Begins: either asks for the first bytes by returning true, or goes on by itself. */
	bool (*start)(struct conn *c);
	/* All bytes so far, at least one more than last time; eof: there will be no others. */
	void (*input)(struct conn *c, const unsigned char *bytes, size_t len, bool eof);
	/* How many first bytes there may be before input() must have decided. */
	size_t input_max;
	/* What a client hears that no rule lets in; NULL: nothing. */
	const void *(*refusal)(const struct conn *c, size_t *ret_len);
	size_t scratch_size;	/* of c->scratch, zeroed, which lives until conn_route() has chosen, or to the end */
	/* What the access line says beside what all do; NULL: nothing. */
	void (*log)(const struct conn *c, struct log_line *l);

	/*
	 * What follows is for modes that read and write by themselves, in the states EXCHANGE
	 * and HANDSHAKE; NULL for tunnels.  c->exchange is theirs.
	 */
	void (*io)(struct conn *c, bool client, int events);
	/*
	 * io() is told of edges: it goes on until EAGAIN, or a read that conn_is_drained() says took
	 * all, or calls conn_again().
	 */
	bool edges;
	/* Whom it dials it speaks to at once. */
	bool speaks;
	void (*connected)(struct conn *c);
	void (*dial_failed)(struct conn *c, enum conn_end why);
	void (*expired)(struct conn *c);
	/* In CONNECT and HANDSHAKE, after conn_heed_client(): the client has ended, or is gone. */
	void (*client_ended)(struct conn *c);
	/* The process drains: who waits for a next request may end now. */
	void (*drain)(struct conn *c);
	/* The connection ends: the last log line (conn_log() if nothing else), and c->exchange is freed. */
	void (*ended)(struct conn *c);
};

struct conn_side {
	int fd;		/* -1: none */
	bool is_server;
	bool tcp;
	bool listed, writes; /* in worker.ready; for room, too */
	bool muted;	/* listed, but not for what there is to read */
	bool ended;	/* READY_END was told */
	unsigned char generation; /* of fd: what was told of an earlier one is not of this */
	ev_io io;	/* for modes that wait for levels: conn_watch() */
};

/* The socket of a server that is over: reuse.h. */
struct conn_kept {
	int fd;		/* -1: none */
	bool v4, nagles; /* as pump.nagles */
};

struct conn {
	struct list node;		/* of worker.live, worker.dead or the kit's resting */
	struct worker *worker;
	const struct config_frontend *frontend;
	const struct engine_listener *listener;
	enum conn_state state;
	enum conn_end end;
	struct conn_side client, server;
	struct conn_kept kept;
	struct pump up, down;		/* client to server and back */
	struct deadline deadline;	/* of the state */
	struct deadline lifetime;
	void *scratch;			/* the mode's; see scratch_size */
	void *exchange;			/* the mode's, for life */
	struct net_peer peer;
	const struct config_enclave *enclave; /* whom the peer is vouched to be, or NULL */
	struct limits_enclave *limits;	/* bound its bandwidth; or NULL */
	struct deadline throttle;	/* until it is read again: without bandwidth, or while bulk is gathered */
	struct deadline redial;		/* in CONNECT: until a vsock target whose queue was full is tried again */
	/* for the log */
	const struct config_rule *rule;
	const struct address *target;
	struct reach *reach;		/* of a target that takes more than a connect(), else NULL */
	char *name;			/* what the client asked for; owned, or NULL */
	double started, routed, connected; /* ev_now() */
	double looked_up;		/* the same, between the last two; 0: no name was looked up */
	int error;			/* errno of what broke */
	uint64_t reused_at;		/* dialled with what was kept: what that turn of worker.ready tells is older */
	unsigned char tries;		/* connects so far, but for */
	bool redialled;			/* this one more */
	bool dialled_to_speak;		/* the server, with net_dial_to_speak(), and so whoever has its socket next */
	bool stalled;			/* in RELAY: the deadline is the stalled one */
	bool throttled[2];		/* by enum limit_direction: no bandwidth is left, do not read */
};

/* What the engine does with connections. */
extern const struct engine_conns conn_ops;

/* For modes: the name to log and route by (copied); the target of the rule is dialled or answered. */
void conn_set_name(struct conn *c, struct slice name);
/* The first rule that takes q decides; q's source fields are filled in here. */
void conn_route(struct conn *c, struct route_query *q);
/* Sends these few bytes, then ends without a RST that would destroy them. */
void conn_answer(struct conn *c, const void *bytes, size_t len, enum conn_end why);
/* For modes with an exchange of their own. */
void conn_exchange(struct conn *c);	/* enters EXCHANGE, without a deadline */
/* Where edges are told, only for whom there is no more than a 0. */
void conn_watch(struct conn *c, int client_events, int server_events);
/* A read from a side took n of at most size bytes: false where the next may find more, or the end. */
bool conn_is_drained(const struct conn *c, bool client, size_t n, size_t size);
/* In CONNECT or HANDSHAKE, and the last that is done there: asks for client_ended().  May end c. */
void conn_heed_client(struct conn *c);
/* It takes nothing any more. */
bool conn_client_left(const struct conn *c);
/* It has sent bytes that wait to be passed on. */
bool conn_has_input(const struct conn *c);
/* For those who stop before EAGAIN: io() is called again, in another turn. */
void conn_again(struct conn *c);
/* Before a second write to a server that was dialled to be spoken to. */
void conn_server_nodelay(struct conn *c);
void conn_deadline(struct conn *c, uint32_t ms);
/*
 * How much may be read now in this direction, at most size; throttled[] where that is less,
 * and all until there is some again.
 */
size_t conn_allowance(struct conn *c, enum limit_direction d, size_t size);
void conn_used(struct conn *c, enum limit_direction d, size_t n);
/*
 * Dials what rule leads to; then connected() or dial_failed(), which may be before this
 * returns.  From CONNECT the deadline that runs goes on, in connected() too.
 */
void conn_dial(struct conn *c, const struct config_rule *rule);
void conn_drop_server(struct conn *c);
/* From connected() and dial_failed(), for whom there are edges: one came to this side in CONNECT, where io() is not told. */
bool conn_had_edge(const struct conn *c, bool client);
/* For modes that dial by themselves: CONNECT and its deadline; dial_failed() hears of its end. */
void conn_connect(struct conn *c);
/* Takes the server's connected TCP descriptor; then connected(), before this returns. */
void conn_adopt(struct conn *c, int fd);
/* From connected(): io() is called, and dial_failed() where that takes longer than the connect. */
void conn_handshake(struct conn *c);
/* What a mode dials by itself, or asks in HANDSHAKE, has failed: dial_failed(), before this returns. */
void conn_dial_failed(struct conn *c, enum conn_end why);
/* From connected() or HANDSHAKE: a tunnel from here on, with what the pumps hold already. */
void conn_relay(struct conn *c);
/* All is said to the client: ends its side, and all when it has heard. */
void conn_finish(struct conn *c, enum conn_end why);
/* The access line of a connection; and of the lines of others the target's fields, and its error or NULL. */
void conn_log(const struct conn *c);
void conn_log_target(const struct conn *c, struct log_line *l);
const char *conn_error_text(const struct conn *c, enum conn_end why);

/* The only way out. */
void conn_end(struct conn *c, enum conn_end why);
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 between a client and the enclaves that its requests route to, as a
 * machine without descriptors: bytes in, bytes out, and what to do next.
 *
 * The caller owns the sockets.  It reads into http_exchange_room(), says so by
 * http_exchange_received(), asks http_exchange_step() until that says WAIT, and
 * writes http_exchange_output() to where it is for, with one writev().
 *
 *	request head -> ROUTE -> forward | answer | redirect -> bodies -> OVER -> next
 *
 * One request is under way at a time; what a client pipelines behind it waits in
 * the buffer.  Only heads are copied, into their rewritten form; a body goes out of the
 * buffer it was read into.  A side has no room while what it sent before is not
 * written, so memory is bounded by two buffers and two heads (64 KiB each at most)
 * and a slow reader slows its own sender.
 *
 * A response that breaks its framing ends everything (ABORT), and so does a
 * request that ends inside its body; neither is ever joined to another message.
 */
#ifndef CONN_HTTP_EXCHANGE_H
#define CONN_HTTP_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "wire/http_body.h"
#include "wire/http_forward.h"
#include "wire/http_head.h"

enum http_side {
	HTTP_CLIENT,
	HTTP_SERVER,
};

enum http_step {
	HTTP_STEP_WAIT,	  /* read, or write what there is to write */
	HTTP_STEP_ROUTE,  /* a request is there: forward, answer or redirect it */
	HTTP_STEP_RETRY,  /* the reused server had closed: dial again, the request is still there */
	HTTP_STEP_OVER,	  /* answered and written: log it, then http_exchange_next() */
	HTTP_STEP_TUNNEL, /* switched protocols; once.  All is passed on from here */
	HTTP_STEP_CLOSE,  /* nothing more to write: close the client, lingering */
	HTTP_STEP_ABORT,  /* close both at once; why() says for what */
};

enum http_stage {
	HTTP_STAGE_REQUEST,	/* reads a request head */
	HTTP_STAGE_ROUTE,	/* the caller decides */
	HTTP_STAGE_RESPONSE,	/* request under way, reads a response head */
	HTTP_STAGE_BODY,	/* response under way */
	HTTP_STAGE_OVER,
	HTTP_STAGE_TUNNEL,
	HTTP_STAGE_CLOSING,	/* writes what is left for the client */
	HTTP_STAGE_ABORTED,
};

enum { HTTP_SPARES = 16 };

/* Buffers that the exchanges of one thread hand to each other: a request takes two. */
struct http_spares {
	size_t size;		/* of each; 0 until the first comes */
	unsigned n;
	char *free[HTTP_SPARES];
};

void http_spares_trim(struct http_spares *s);

/* What one side sends: read, and on its way to the other. */
struct http_half {
	char *buf;		/* owned; NULL while it holds nothing */
	size_t size, first, len; /* room; the bytes held are buf[first, first + len) */
	size_t passed;		/* of them, those that may be written */
	char *head;		/* owned: written before them, or NULL */
	size_t head_len, head_sent;
	uint64_t total;		/* written in this exchange */
	bool eof;
};

struct http_exchange {
	struct http_half half[2];	/* by the side that sends */
	struct http_head request, response;
	struct http_body request_body, response_body;
	enum http_stage stage;
	size_t buffer_size;
	struct http_spares *spares;	/* the caller's, or NULL */
	bool request_done;		/* its last byte is read; it may still have to be written */
	bool reused;			/* the server has answered another request before */
	bool answered;			/* bytes of a response were read */
	bool response_done;		/* its last byte is read */
	bool keep_client, keep_server;
	bool tunnel_told;
	bool takes_connect;		/* the caller's: CONNECT is routed; else it is 405 */
	uint16_t status;		/* of the final response, 0: none yet */
	const char *why;		/* after ABORT or an answer of our own; or NULL */
};

/* Zeroes x.  buffer_size: what each side's buffer starts with, at least 1024. */
void http_exchange_init(struct http_exchange *x, size_t buffer_size);
void http_exchange_fini(struct http_exchange *x);

/* Where to read what side sends; NULL where nothing should be read now, or out of memory. */
char *http_exchange_room(struct http_exchange *x, enum http_side side, size_t *ret_size);
/* True where it is worth while to ask the loop when side can be read. */
bool http_exchange_reads(const struct http_exchange *x, enum http_side side);
/* There was nothing to read: an empty room is given back, so that who is idle costs no buffer. */
void http_exchange_unread(struct http_exchange *x, enum http_side side);
/*
 * n bytes were read into the room; 0: the side has ended.  A failed write to the
 * server counts as its end once what it had sent is read: it may have answered, or
 * the request may be tried again.  In a tunnel, pass an end on when its half is written.
 */
void http_exchange_received(struct http_exchange *x, enum http_side side, size_t n);

enum http_step http_exchange_step(struct http_exchange *x);

/* What is to be written to side: how many of iov are in use. */
int http_exchange_output(struct http_exchange *x, enum http_side to, struct iovec iov[2]);
/* There is something to write there. */
bool http_exchange_has_output(const struct http_exchange *x, enum http_side to);
/* What is to be written to the client now is the last that it hears. */
bool http_exchange_is_last(const struct http_exchange *x);
void http_exchange_sent(struct http_exchange *x, enum http_side to, size_t n);

/*
 * After ROUTE: the head, and the bytes that its spans point into, until one of the
 * three below is called.
 */
const struct http_head *http_exchange_request(const struct http_exchange *x, const char **ret_buf);

/*
 * True where the request may be sent a second time, to another server.  One that may
 * not should not be the first to find out that a kept connection has ended.
 */
bool http_exchange_is_repeatable(const struct http_exchange *x);

/*
 * After ROUTE of a CONNECT: its head is done with, and what came behind it is the tunnel's.
 * Valid until x is changed; answer() may still follow.
 */
struct slice http_exchange_connect(struct http_exchange *x);
/* Sends the request on.  reused: to a server that has answered before.  0 or -ENOMEM. */
int http_exchange_forward(struct http_exchange *x, const struct http_forward_request *f,
			  bool reused);
/*
 * Answers by ourselves and closes; also after forward, when the server cannot be
 * reached or is late, or before ROUTE for a head that is late (408).  ABORT follows where
 * a response had begun already.
 */
void http_exchange_answer(struct http_exchange *x, unsigned status);
/* The same, with X-Teeproxy-Reason; text is x->why too and must outlive x.  NULL: none. */
void http_exchange_explain(struct http_exchange *x, unsigned status, const char *text);
int http_exchange_redirect(struct http_exchange *x);

/* After OVER: the next request, or CLOSE. */
void http_exchange_next(struct http_exchange *x);
/* The server may take the next request; else its connection is to be closed. */
bool http_exchange_keeps_server(const struct http_exchange *x);
/* The client is told, with the next response, that its connection ends. */
void http_exchange_drain(struct http_exchange *x);

/* A head has begun and is not whole: what a timeout answers with 408. */
static inline bool http_exchange_in_head(const struct http_exchange *x)
{
	return x->stage == HTTP_STAGE_REQUEST && x->half[HTTP_CLIENT].len > 0;
}

#endif

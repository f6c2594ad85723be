/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request over HTTP and its answer: an attempt, signed or not.
 *
 * Done by libcurl, which is met in call.c alone, on the loop of the AWS thread.
 * Connections are kept and shared.  Names are looked up by net/resolve and handed to
 * libcurl, whose own resolver is never asked.  Nothing of the environment counts: no
 * proxies, no .netrc; no redirect is followed, since that would carry a token elsewhere.
 *
 * What libcurl allocates is wiped when it is freed: it copies secrets and headers.
 */
#ifndef AWS_CALL_H
#define AWS_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ev.h>

#include "aws/secret.h"
#include "base/ip.h"
#include "net/resolve.h"

struct calls;

enum {
	CALL_HEADERS_MAX = 4,
	CALL_ANSWER_HEAD_MAX = 65536,	/* bytes of an answer's headers */
	CALL_CONNECT_MS = 5000,		/* TCP and TLS, of an attempt */
	CALL_IDLE_CONNECTIONS_MAX = 64,	/* kept for the next request */
};

enum call_result {
	CALL_ANSWERED,
	CALL_NO_NAME,		/* the host's name has no address */
	CALL_UNREACHABLE,	/* no connection, or it was cut */
	CALL_UNTRUSTED,		/* no certificate that the roots vouch for */
	CALL_TIMED_OUT,
	CALL_BAD_ANSWER,	/* larger than allowed, or not HTTP */
	CALL_FAILED,		/* ours: out of memory */
};

struct call {
	/* The question; borrowed until done(), but for what is signed with: until call_start() returns. */
	const char *method;	/* "GET", "PUT", "POST" */
	const char *url;
	const char *headers[CALL_HEADERS_MAX];	/* "Name: value"; NULL where there are fewer */
	const char *body;	/* NULL: none */
	size_t body_len;
	const char *service, *region;		/* what it is signed for; NULL: not signed */
	const char *access_key_id, *secret;
	uint32_t timeout_ms;	/* of all: look-up, connection, answer */
	size_t answer_max;
	/* From the loop, never before call_start() has returned; may start it again, or free c. */
	void (*done)(struct call *c);
	/* The answer; the caller's, call_fini() frees it. */
	enum call_result result;
	uint16_t status;
	struct secret_buffer answer;
	char request_id[64];	/* x-amzn-requestid, or "" */
	char error_type[128];	/* x-amzn-errortype, or "" */
	char why[512];		/* what went wrong, unless ANSWERED */
	/* call.c's own. */
	struct calls *calls;
	void *easy, *headers_list, *resolve_list;
	char *resolved;		/* libcurl's form of the addresses */
	struct resolve_query query;
	ev_timer deadline;
	size_t head_len;
	bool too_large, active;
	uint16_t port;
	char host[256];
};

/* Once in a process, before threads: 0 or -errno. */
int calls_global_init(void);
void calls_global_fini(void);

/* ca_file: PEM, or NULL for the system's roots.  NULL: out of memory. */
struct calls *calls_new(struct ev_loop *loop, struct resolver *resolver, const char *ca_file);
/* No call is under way.  Takes NULL. */
void calls_free(struct calls *p);

/* Zeroes the answer; what is wrong with the question is answered like all else. */
void call_start(struct calls *p, struct call *c);
/* done() is not called.  Does nothing where c is not under way. */
void call_cancel(struct call *c);
void call_fini(struct call *c);

#endif

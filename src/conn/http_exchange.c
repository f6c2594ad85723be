/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each half holds bytes in the order they came: passed ones, which go out behind
 * the rewritten head, and then those that nobody has looked at.  A head is parsed
 * only when nothing is passed and no earlier head waits, so that it begins at
 * the half's first byte.
 */
#include <config.h>

#include "conn/http_exchange.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void http_exchange_init(struct http_exchange *x, size_t buffer_size)
{
	memset(x, 0, sizeof(*x));
	x->buffer_size = buffer_size;
	x->keep_client = true;
	http_head_init_request(&x->request, HTTP_HEAD_MAX);
}

static void half_drop_head(struct http_half *h)
{
	free(h->head);
	h->head = NULL;
	h->head_len = h->head_sent = 0;
}

void http_spares_trim(struct http_spares *s)
{
	while (s->n > 0)
		free(s->free[--s->n]);
	s->size = 0;
}

static char *take_buffer(struct http_exchange *x, char *old, size_t size)
{
	struct http_spares *s = x->spares;

	if (!old && s && s->n > 0 && s->size == size)
		return s->free[--s->n];
	return realloc(old, size);
}

static void half_drop_bytes(struct http_exchange *x, struct http_half *h)
{
	struct http_spares *s = x->spares;

	if (h->buf && s && s->n == 0)
		s->size = h->size;
	if (h->buf && s && s->n < HTTP_SPARES && s->size == h->size && h->size == x->buffer_size)
		s->free[s->n++] = h->buf;
	else
		free(h->buf);
	h->buf = NULL;
	h->size = h->first = h->len = h->passed = 0;
}

void http_exchange_fini(struct http_exchange *x)
{
	for (int i = 0; i < 2; i++) {
		half_drop_head(&x->half[i]);
		half_drop_bytes(x, &x->half[i]);
	}
}

static bool half_is_written(const struct http_half *h)
{
	return h->passed == 0 && h->head_sent == h->head_len;
}

static void half_consume(struct http_half *h, size_t n)
{
	h->first += n;
	h->len -= n;
	if (h->len == 0)
		h->first = 0;
}

/* --- reading --- */

bool http_exchange_reads(const struct http_exchange *x, enum http_side side)
{
	const struct http_half *h = &x->half[side];

	/* A response's head that is not written keeps the body behind it in the socket. */
	if (h->eof || h->passed > 0 || (side == HTTP_SERVER && h->head_sent < h->head_len))
		return false;
	switch (x->stage) {
	case HTTP_STAGE_REQUEST:
		return side == HTTP_CLIENT || x->keep_server; /* to see it close */
	case HTTP_STAGE_RESPONSE:
	case HTTP_STAGE_BODY:
		/* What comes behind the request waits in the socket, once there is some. */
		return side == HTTP_SERVER || !x->request_done || h->len == 0;
	case HTTP_STAGE_TUNNEL:
		return true;
	case HTTP_STAGE_ROUTE:
	case HTTP_STAGE_OVER:
	case HTTP_STAGE_CLOSING:
	case HTTP_STAGE_ABORTED:
		break;
	}
	return false;
}

char *http_exchange_room(struct http_exchange *x, enum http_side side, size_t *ret_size)
{
	struct http_half *h = &x->half[side];
	size_t size = h->size ? h->size : x->buffer_size;

	if (!http_exchange_reads(x, side))
		return NULL;
	if (h->first > 0) {
		memmove(h->buf, h->buf + h->first, h->len);
		h->first = 0;
	}
	/* Only a head fills its buffer without being passed; its parser bounds it. */
	if (h->len == size)
		size *= 2;
	if (!h->buf || size > h->size) {
		char *buf = take_buffer(x, h->buf, size);

		if (!buf)
			return NULL;
		h->buf = buf;
		h->size = size;
	}
	*ret_size = h->size - h->len;
	return h->buf + h->len;
}

void http_exchange_unread(struct http_exchange *x, enum http_side side)
{
	if (x->half[side].len == 0)
		half_drop_bytes(x, &x->half[side]);
}

void http_exchange_received(struct http_exchange *x, enum http_side side, size_t n)
{
	struct http_half *h = &x->half[side];

	h->len += n;
	h->eof |= n == 0;
	/* An idle server that speaks or ends is of no use for the next request. */
	if (side == HTTP_SERVER && x->stage == HTTP_STAGE_REQUEST)
		x->keep_server = false;
}

/* --- writing --- */

bool http_exchange_has_output(const struct http_exchange *x, enum http_side to)
{
	return !half_is_written(&x->half[to == HTTP_SERVER ? HTTP_CLIENT : HTTP_SERVER]) &&
	       x->stage != HTTP_STAGE_ABORTED && (to == HTTP_CLIENT || x->stage != HTTP_STAGE_CLOSING);
}

int http_exchange_output(struct http_exchange *x, enum http_side to, struct iovec iov[2])
{
	struct http_half *h = &x->half[to == HTTP_SERVER ? HTTP_CLIENT : HTTP_SERVER];
	int n = 0;

	if (!http_exchange_has_output(x, to))
		return 0;
	if (h->head_sent < h->head_len)
		iov[n++] = (struct iovec){ h->head + h->head_sent, h->head_len - h->head_sent };
	if (h->passed > 0)
		iov[n++] = (struct iovec){ h->buf + h->first, h->passed };
	return n;
}

bool http_exchange_is_last(const struct http_exchange *x)
{
	return x->stage == HTTP_STAGE_CLOSING ||
	       (x->stage == HTTP_STAGE_BODY && x->response_done && !x->keep_client);
}

void http_exchange_sent(struct http_exchange *x, enum http_side to, size_t n)
{
	struct http_half *h = &x->half[to == HTTP_SERVER ? HTTP_CLIENT : HTTP_SERVER];
	size_t head = h->head_len - h->head_sent < n ? h->head_len - h->head_sent : n;

	h->total += n;
	h->head_sent += head;
	n -= head;
	assert(n <= h->passed);
	h->passed -= n;
	half_consume(h, n);
	/* The request's head stays for a retry; an idle side keeps no buffer. */
	if (to == HTTP_CLIENT && h->head_sent == h->head_len)
		half_drop_head(h);
	if (h->len == 0)
		half_drop_bytes(x, h);
}

/* --- the ways out --- */

static enum http_step give_up(struct http_exchange *x, const char *why)
{
	x->stage = HTTP_STAGE_ABORTED;
	x->why = why;
	return HTTP_STEP_ABORT;
}

static void answer_bytes(struct http_exchange *x, char *bytes, size_t len, unsigned status)
{
	struct http_half *down = &x->half[HTTP_SERVER];

	half_drop_bytes(x, down);
	half_drop_head(down);
	down->head = bytes;
	down->head_len = len;
	x->status = (uint16_t)status;
	x->keep_client = x->keep_server = false;
	x->stage = HTTP_STAGE_CLOSING;
}

void http_exchange_answer(struct http_exchange *x, unsigned status)
{
	http_exchange_explain(x, status, NULL);
}

void http_exchange_explain(struct http_exchange *x, unsigned status, const char *text)
{
	bool to_head = x->stage != HTTP_STAGE_REQUEST && x->request.method == HTTP_METHOD_HEAD;
	struct slice reason = slice_of_string(text ? text : "");
	char *bytes;

	/* Half a response, or half an interim one, cannot be followed by another. */
	if (x->stage == HTTP_STAGE_BODY || x->stage == HTTP_STAGE_OVER ||
	    x->stage == HTTP_STAGE_TUNNEL || x->half[HTTP_SERVER].head_sent > 0) {
		give_up(x, "a response had begun");
		return;
	}
	bytes = malloc(http_answer_max(reason));
	if (!bytes) {
		give_up(x, "out of memory");
		return;
	}
	if (text)
		x->why = text;
	answer_bytes(x, bytes, http_answer_write(status, to_head, reason, bytes), status);
}

int http_exchange_redirect(struct http_exchange *x)
{
	char *bytes = malloc(http_redirect_max(&x->request));
	const char *buf;

	if (!bytes)
		return -ENOMEM;
	http_exchange_request(x, &buf);
	answer_bytes(x, bytes, http_redirect(&x->request, buf, bytes), 308);
	return 0;
}

static enum http_step refuse(struct http_exchange *x, unsigned status, const char *why)
{
	x->why = why;
	http_exchange_answer(x, status);
	return x->stage == HTTP_STAGE_ABORTED ? HTTP_STEP_ABORT : HTTP_STEP_WAIT;
}

/* --- the request --- */

const struct http_head *http_exchange_request(const struct http_exchange *x, const char **ret_buf)
{
	*ret_buf = x->half[HTTP_CLIENT].buf + x->half[HTTP_CLIENT].first;
	return &x->request;
}

static enum http_step read_request_head(struct http_exchange *x)
{
	struct http_half *up = &x->half[HTTP_CLIENT];

	if (up->len > 0) {
		switch (http_head_parse(&x->request, up->buf + up->first, up->len)) {
		case HTTP_HEAD_FOUND:
			if (x->request.method == HTTP_METHOD_CONNECT && !x->takes_connect)
				return refuse(x, 405, "CONNECT");
			x->stage = HTTP_STAGE_ROUTE;
			return HTTP_STEP_ROUTE;
		case HTTP_HEAD_BAD:
			return refuse(x, x->request.status, x->request.why);
		case HTTP_HEAD_MORE:
			break;
		}
	}
	if (!up->eof)
		return HTTP_STEP_WAIT;
	x->stage = HTTP_STAGE_CLOSING;
	return HTTP_STEP_CLOSE;
}

struct slice http_exchange_connect(struct http_exchange *x)
{
	struct http_half *up = &x->half[HTTP_CLIENT];

	assert(x->stage == HTTP_STAGE_ROUTE && x->request.method == HTTP_METHOD_CONNECT);
	half_consume(up, x->request.len);
	if (up->len == 0)
		half_drop_bytes(x, up);
	return slice_of(up->buf ? up->buf + up->first : "", up->len);
}

int http_exchange_forward(struct http_exchange *x, const struct http_forward_request *f, bool reused)
{
	struct http_half *up = &x->half[HTTP_CLIENT];
	char *out = malloc(http_forward_request_max(&x->request, f));
	const char *buf;

	assert(x->stage == HTTP_STAGE_ROUTE);
	if (!out)
		return -ENOMEM;
	http_exchange_request(x, &buf);
	half_drop_head(up);
	up->head = out;
	up->head_len = http_forward_request(&x->request, buf, f, out);
	half_consume(up, x->request.len);
	http_body_init(&x->request_body, x->request.framing, x->request.content_length);
	http_head_init_response(&x->response, HTTP_HEAD_MAX, x->request.method);
	/* What an earlier server still had is not an answer to this request. */
	half_drop_bytes(x, &x->half[HTTP_SERVER]);
	x->half[HTTP_SERVER].eof = false;
	x->request_done = false;
	x->reused = reused;
	x->answered = x->response_done = false;
	x->keep_client &= x->request.keep_alive && x->request.minor > 0;
	x->stage = HTTP_STAGE_RESPONSE;
	return 0;
}

/* False where the request is broken. */
static bool pass_request_body(struct http_exchange *x)
{
	struct http_half *up = &x->half[HTTP_CLIENT];
	const char *at = up->buf ? up->buf + up->first + up->passed : "";
	size_t used = 0;

	if (x->request_done)
		return true;
	switch (http_body_feed(&x->request_body, at, up->len - up->passed, &used)) {
	case HTTP_BODY_DONE:
		x->request_done = true;
		break;
	case HTTP_BODY_BAD:
		return false;
	case HTTP_BODY_MORE:
		break;
	}
	up->passed += used;
	return x->request_done || !up->eof;
}

/* --- the response --- */

/* RFC 9110, 9.2.2; a body is gone once it is sent. */
bool http_exchange_is_repeatable(const struct http_exchange *x)
{
	const struct http_head *r = &x->request;
	bool bodiless = r->framing == HTTP_FRAMING_NONE ||
			(r->framing == HTTP_FRAMING_LENGTH && r->content_length == 0);

	return bodiless && r->method != HTTP_METHOD_POST && r->method != HTTP_METHOD_PATCH &&
	       r->method != HTTP_METHOD_OTHER;
}

static enum http_step server_ended_early(struct http_exchange *x)
{
	if (!x->reused || x->answered || !http_exchange_is_repeatable(x))
		return refuse(x, 502, "the server closed without an answer");
	x->reused = false;
	x->half[HTTP_SERVER].eof = false;
	x->half[HTTP_CLIENT].head_sent = 0;
	return HTTP_STEP_RETRY;
}

static bool is_refused_response(const struct http_exchange *x)
{
	const struct http_head *r = &x->response;

	if (r->code == 101)
		return !x->request.wants_upgrade || !x->request_done;
	/* To 1.0 we spoke 1.0; chunks are not for its client. */
	return x->request.minor == 0 && r->framing == HTTP_FRAMING_CHUNKED;
}

/* Takes a whole response head: what the client hears of it, and what follows. */
static enum http_step take_response_head(struct http_exchange *x)
{
	struct http_half *down = &x->half[HTTP_SERVER];
	const struct http_head *r = &x->response;
	bool interim = r->code < 200 && r->code != 101;

	if (is_refused_response(x))
		return refuse(x, 502, "the response does not fit the request");
	/* A body that the server did not wait for may never end: do not read on behind it. */
	if (!interim)
		x->keep_client &= r->framing != HTTP_FRAMING_CLOSE && x->request_done;
	if (!interim || x->request.minor > 0) {
		down->head = malloc(http_forward_response_max(r));
		if (!down->head)
			return give_up(x, "out of memory");
		down->head_sent = 0;
		down->head_len = http_forward_response(r, down->buf + down->first, x->keep_client,
						       down->head);
	}
	half_consume(down, r->len);
	if (interim) {
		http_head_init_response(&x->response, HTTP_HEAD_MAX, x->request.method);
		return HTTP_STEP_WAIT;
	}
	x->status = r->code;
	if (r->code == 101) {
		x->stage = HTTP_STAGE_TUNNEL;
		return HTTP_STEP_WAIT;
	}
	x->keep_server = r->keep_alive && r->framing != HTTP_FRAMING_CLOSE && x->request.minor > 0;
	http_body_init(&x->response_body, r->framing, r->content_length);
	x->stage = HTTP_STAGE_BODY;
	return HTTP_STEP_WAIT;
}

static enum http_step read_response_head(struct http_exchange *x)
{
	struct http_half *down = &x->half[HTTP_SERVER];

	while (x->stage == HTTP_STAGE_RESPONSE && half_is_written(down) && down->len > 0) {
		enum http_step step;

		x->answered = true;
		switch (http_head_parse(&x->response, down->buf + down->first, down->len)) {
		case HTTP_HEAD_FOUND:
			step = take_response_head(x);
			if (step != HTTP_STEP_WAIT)
				return step;
			continue;
		case HTTP_HEAD_BAD:
			return refuse(x, 502, x->response.why);
		case HTTP_HEAD_MORE:
			break;
		}
		break;
	}
	if (x->stage == HTTP_STAGE_RESPONSE && down->eof && half_is_written(down))
		return server_ended_early(x);
	return HTTP_STEP_WAIT;
}

/* A client that has heard nothing of it can still be told. */
static enum http_step broken_response(struct http_exchange *x, const char *why)
{
	const struct http_half *down = &x->half[HTTP_SERVER];

	if (down->head_len == 0 || down->head_sent > 0)
		return give_up(x, why);
	x->stage = HTTP_STAGE_RESPONSE;
	return refuse(x, 502, why);
}

static enum http_step pass_response_body(struct http_exchange *x)
{
	struct http_half *down = &x->half[HTTP_SERVER];
	const char *at = down->buf ? down->buf + down->first + down->passed : "";
	size_t used = 0;
	enum http_body_result result =
		http_body_feed(&x->response_body, at, down->len - down->passed, &used);

	down->passed += used;
	if (result == HTTP_BODY_MORE && down->eof)
		result = http_body_end_of_stream(&x->response_body);
	if (result == HTTP_BODY_BAD)
		return broken_response(x, x->response_body.why ? x->response_body.why :
								 "the response ended inside its body");
	x->response_done = result == HTTP_BODY_DONE;
	if (result == HTTP_BODY_MORE || !half_is_written(down))
		return HTTP_STEP_WAIT;
	/* The answer is out.  A request that is not, or bytes nobody asked for, end a side. */
	x->keep_client &= x->request_done && half_is_written(&x->half[HTTP_CLIENT]);
	x->keep_server &= x->request_done && half_is_written(&x->half[HTTP_CLIENT]) &&
			  down->len == 0 && !down->eof;
	x->stage = HTTP_STAGE_OVER;
	return HTTP_STEP_OVER;
}

static enum http_step pass_tunnel(struct http_exchange *x)
{
	for (int i = 0; i < 2; i++)
		x->half[i].passed = x->half[i].len;
	if (x->tunnel_told)
		return HTTP_STEP_WAIT;
	x->tunnel_told = true;
	return HTTP_STEP_TUNNEL;
}

/* --- the turn --- */

static enum http_step exchange_run(struct http_exchange *x)
{
	enum http_step step;

	if (!pass_request_body(x))
		return x->request_body.why ? refuse(x, 400, x->request_body.why) :
					     give_up(x, "the client ended inside its body");
	if (x->stage == HTTP_STAGE_RESPONSE) {
		step = read_response_head(x);
		if (step != HTTP_STEP_WAIT)
			return step;
	}
	if (x->stage == HTTP_STAGE_BODY)
		return pass_response_body(x);
	return x->stage == HTTP_STAGE_TUNNEL ? pass_tunnel(x) : HTTP_STEP_WAIT;
}

enum http_step http_exchange_step(struct http_exchange *x)
{
	switch (x->stage) {
	case HTTP_STAGE_REQUEST:
		return read_request_head(x);
	case HTTP_STAGE_ROUTE:
		return HTTP_STEP_ROUTE;
	case HTTP_STAGE_RESPONSE:
	case HTTP_STAGE_BODY:
		return exchange_run(x);
	case HTTP_STAGE_OVER:
		return HTTP_STEP_OVER;
	case HTTP_STAGE_TUNNEL:
		return pass_tunnel(x);
	case HTTP_STAGE_CLOSING:
		return half_is_written(&x->half[HTTP_SERVER]) ? HTTP_STEP_CLOSE : HTTP_STEP_WAIT;
	case HTTP_STAGE_ABORTED:
		break;
	}
	return HTTP_STEP_ABORT;
}

void http_exchange_next(struct http_exchange *x)
{
	assert(x->stage == HTTP_STAGE_OVER);
	if (!x->keep_client) {
		x->stage = HTTP_STAGE_CLOSING;
		return;
	}
	half_drop_head(&x->half[HTTP_CLIENT]);
	half_drop_bytes(x, &x->half[HTTP_SERVER]);
	x->half[HTTP_CLIENT].total = x->half[HTTP_SERVER].total = 0;
	x->status = 0;
	x->why = NULL;
	x->stage = HTTP_STAGE_REQUEST;
	http_head_init_request(&x->request, HTTP_HEAD_MAX);
}

bool http_exchange_keeps_server(const struct http_exchange *x)
{
	return x->keep_server;
}

void http_exchange_drain(struct http_exchange *x)
{
	x->keep_client = false;
}

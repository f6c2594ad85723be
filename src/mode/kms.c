/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mode kms: requests of enclaves to AWS KMS, one after the other on a connection.
 *
 * aws/kms.c knows what a request means and which key it may use; the AWS thread asks.
 * This file has the connection: it reads until json_stream has a whole request, waits for
 * its answer with nothing being read meanwhile, and writes it.  So a connection has one
 * request under way, answers keep their order, and what a client sends ahead
 * waits in its own socket once our buffer, which is bounded, is full.
 *
 * Who the peer is decides the rule once, when it connects.  One access line is written for
 * each request, and one for a connection that ends without any.  Buffers that held requests
 * and answers are wiped when they are let go.
 */
#include <config.h>

#include "mode/mode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "aws/aws.h"
#include "aws/kms.h"
#include "engine/engine.h"
#include "engine/limits.h"
#include "engine/worker.h"
#include "log/log.h"
#include "route/rules.h"
#include "wire/json_stream.h"
#include "wire/json_writer.h"

enum {
	ROUNDS = 32,		/* of reads, requests and writes before others have their turn */
	DRAIN_IDLE_MS = 2000,	/* for the next request, while draining */
	CALL_GRACE_MS = 5000,	/* past timeout request: the AWS thread should long have answered */
	LOOK_MS = 1000,		/* from one look for a client that waits for AWS to the next */
	KEY_LOG_SIZE = 160,
};

/* What the deadline that stands is for. */
enum waiting {
	WAITING_NOTHING,
	WAITING_REQUEST,	/* all of it has this long: more bytes do not move it */
	WAITING_NEXT,		/* for the first byte of another request */
	WAITING_AWS,
	WAITING_WRITE,		/* for the client to take its answer */
};

struct kms {
	const struct config_rule *rule;
	struct json_stream *stream;	/* NULL, as in is, while nothing is there */
	char *in;
	size_t at, fed, len, size;	/* of in: the request begins, the stream has seen it, bytes, room */
	struct json_writer out;
	size_t sent;		/* of out */
	struct aws_call *call;	/* under way, or NULL */
	double asked;		/* when that was started */
	struct limits_enclave *limits;	/* that count the connection, or NULL */
	bool may_read, may_write;	/* not yet EAGAIN */
	bool eof, closing;	/* the client ended; nothing more is answered after this */
	bool open, served;	/* a request has begun; one was answered */
	enum waiting waiting;
	size_t marked;		/* sent, when the deadline was last moved */
	uint64_t bytes_up, bytes_down;
	/* of the request, for the log */
	double began;
	uint32_t operation;
	enum conn_end end;
	bool refused;		/* by policy: a warning */
	char key[KEY_LOG_SIZE];
	char request_id[64];
	char error[512];
	uint16_t status;
	uint8_t attempts;
	uint32_t queued_ms, aws_ms;
};

static const struct engine_shared *shared_of(const struct conn *c)
{
	return c->worker->shared;
}

/* --- the access line --- */

static void log_request(struct conn *c, enum conn_end why)
{
	struct kms *k = c->exchange;
	enum config_log_level level = k->refused ? LEVEL_WARNING : LEVEL_INFO;
	char text[NET_PEER_TEXT_SIZE];
	struct log_line l;

	k->open = false;
	if (!log_wants(level) || (!c->frontend->log && !k->refused))
		return;
	log_begin(&l, level, "request");
	log_field_string(&l, "frontend", c->frontend->name);
	log_field_string(&l, "source", net_peer_format(&c->peer, text));
	if (c->enclave)
		log_field_string(&l, "enclave", c->enclave->name);
	if (k->rule)
		log_field_string(&l, "rule", k->rule->place_text);
	if (k->operation)
		log_field_string(&l, "operation", kms_operation_name(k->operation));
	if (k->key[0])
		log_field_string(&l, "key", k->key);
	if (k->request_id[0])
		log_field_string(&l, "request_id", k->request_id);
	if (k->status)
		log_field_number(&l, "status", k->status);
	if (k->attempts || k->aws_ms) {
		log_field_number(&l, "attempts", k->attempts);
		log_field_number(&l, "queued_ms", k->queued_ms);
		log_field_number(&l, "aws_ms", k->aws_ms);
	}
	log_field_number(&l, "total_ms", (uint64_t)((ev_now(c->worker->loop) - k->began) * 1000));
	log_field_number(&l, "bytes_up", k->bytes_up);
	log_field_number(&l, "bytes_down", k->bytes_down);
	log_field_string(&l, "reason", conn_end_label(why));
	if (k->error[0])
		log_field_string(&l, "error", k->error);
	else if (c->error)
		log_field_string(&l, "error", strerror(c->error));
	log_end_batched(&l, &c->worker->log);
}

static void note_error(struct kms *k, enum conn_end why, const char *error)
{
	k->end = why;
	snprintf(k->error, sizeof(k->error), "%s", error);
}

/* The key that is used, or else the one that was asked for. */
static void note_key(struct kms *k, const struct config_kms_key *key, struct slice word)
{
	size_t n = word.len < sizeof(k->key) ? word.len : sizeof(k->key) - 1;

	if (key) {
		snprintf(k->key, sizeof(k->key), "%s", key->id);
	} else {
		memcpy(k->key, n > 0 ? word.ptr : "", n);
		k->key[n] = '\0';
	}
}

static void request_begins(struct conn *c)
{
	struct kms *k = c->exchange;

	if (k->open)
		return;
	k->open = true;
	k->began = ev_now(c->worker->loop);
	k->operation = 0;
	k->end = END_DONE;
	k->refused = false;
	k->key[0] = k->request_id[0] = k->error[0] = '\0';
	k->status = k->attempts = 0;
	k->queued_ms = k->aws_ms = 0;
	k->bytes_up = k->bytes_down = 0;
}

/* --- the buffer of requests --- */

static void in_free(struct kms *k)
{
	if (k->in)
		explicit_bzero(k->in, k->size);
	free(k->in);
	k->in = NULL;
	k->at = k->fed = k->len = k->size = 0;
}

/* Moves what is there into a buffer of this size, which may be the same one. */
static bool in_resize(struct kms *k, size_t size)
{
	size_t n = k->len - k->at;
	char *in = size == k->size ? k->in : malloc(size);

	if (!in)
		return false;
	if (n > 0)
		memmove(in, k->in + k->at, n);
	if (in == k->in) {
		explicit_bzero(in + n, k->len - n);
	} else if (k->in) {
		explicit_bzero(k->in, k->size);
		free(k->in);
	}
	k->in = in;
	k->size = size;
	k->fed -= k->at;
	k->len = n;
	k->at = 0;
	return true;
}

/* One byte more than a request may have, so that json_stream sees which is too large. */
static bool in_reserve(struct conn *c)
{
	struct kms *k = c->exchange;
	size_t most = (size_t)c->frontend->request_size + 1, size = k->size ? k->size : c->frontend->buffer_size;

	if (k->len < k->size)
		return true;
	if (k->in && k->at == 0)
		size *= 2;
	return in_resize(k, size < most ? size : most);
}

/* Up to here all is done with. */
static void in_drop(struct kms *k)
{
	explicit_bzero(k->in + k->at, k->fed - k->at);
	k->at = k->fed;
}

/* --- requests --- */

static void call_done(struct aws_call *call);

/* From here on the thread has it, until call_done(). */
static bool start_call(struct conn *c, const struct kms_request *r, const struct config_kms_key *key)
{
	struct kms *k = c->exchange;
	struct json_writer body = JSON_WRITER_INIT;
	struct aws_call *call = aws_call_new(c->worker);

	if (!call)
		return false;
	kms_request_body(r, k->rule->target.kms, key, &body);
	call->body = json_writer_take(&body, &call->body_len);
	if (!call->body) {
		aws_call_free(call);
		return false;
	}
	call->done = call_done;
	call->data = c;
	call->api = AWS_KMS;
	call->target = kms_operation_target(r->operation);
	call->region = key ? key->region : NULL;
	call->role = key ? key->role : NULL;
	call->enclave = c->enclave ? c->enclave->number : (unsigned)shared_of(c)->setup->config->n_enclaves;
	call->enclave_max = c->frontend->max_requests;
	call->timeout_ms = c->frontend->timeouts.request_ms;
	k->call = call;
	k->asked = ev_now(c->worker->loop);
	aws_call_start(shared_of(c)->aws, call);
	return true;
}

/* A whole request, in its place: leaves its answer in out, or a call under way. */
static void take_request(struct conn *c, char *text, size_t len)
{
	struct kms *k = c->exchange;
	const struct config_kms_key *key = NULL;
	struct kms_request r;
	const char *why;
	enum kms_result result = kms_request_read(text, len, &r, &k->out);

	k->operation = r.operation;
	k->bytes_up = len;
	if (result != KMS_OK) {
		note_error(k, END_REQUEST_REFUSED, result == KMS_NOT_JSON ? "not JSON" :
						   r.operation		    ? "invalid input" : "invalid request");
		k->closing = result == KMS_NOT_JSON;
		return;
	}
	result = kms_request_permit(&r, k->rule->target.kms, c->frontend->require_recipient, &key, &why, &k->out);
	note_key(k, key, r.key_id);
	if (result != KMS_OK) {
		note_error(k, END_REQUEST_REFUSED, why);
		k->refused = true;
	} else if (!kms_operation_target(r.operation)) {
		note_error(k, END_REQUEST_REFUSED, "no store is configured");
		kms_write_no_store(&r, &k->out);
	} else if (!start_call(c, &r, key)) {
		conn_end(c, END_NO_MEMORY);
	}
}

static void answer_call(struct conn *c, struct aws_call *call)
{
	struct kms *k = c->exchange;
	bool good = kms_write_answer(k->operation, call, &k->out);

	k->status = call->status;
	k->attempts = call->attempts;
	k->queued_ms = call->queued_ms;
	k->aws_ms = call->total_ms;
	snprintf(k->request_id, sizeof(k->request_id), "%s", call->request_id);
	if (good)
		return;
	/* AWS's message may repeat what the enclave sent: its code has to do for the log. */
	if (call->result != AWS_ANSWERED)
		note_error(k, call->result == AWS_TIMED_OUT ? END_ANSWER_TIMEOUT : END_AWS_ERROR, call->error_message);
	else
		note_error(k, END_AWS_ERROR, call->status == 200 ? "the answer cannot be read" : call->error_code);
}

static void not_json(struct conn *c)
{
	struct kms *k = c->exchange;
	struct json_stream_error e = json_stream_error(k->stream);
	char more[64];

	snprintf(more, sizeof(more), e.is_too_large ? ": more than %zu bytes" : ", at byte %zu", e.offset);
	kms_write_error(&k->out, "invalid request: ", slice_of_string(e.message), more);
	note_error(k, END_REQUEST_REFUSED, e.message);
	k->bytes_up = k->len - k->at;
	k->closing = true;
}

/* A request has begun and is not whole. */
static bool is_inside(const struct kms *k)
{
	return k->stream && json_stream_is_open(k->stream);
}

/* Who waits costs neither buffer nor parser, which a long request has made large. */
static void let_go(struct kms *k)
{
	in_free(k);
	json_stream_free(k->stream);
	k->stream = NULL;
}

/* Gives the stream what it has not seen, up to the end of a request; at the end, that there is no more. */
static void frame(struct conn *c)
{
	struct kms *k = c->exchange;
	struct json_object *value;
	enum json_stream_result r;
	size_t used = 0;

	if (!k->stream)
		k->stream = json_stream_new(c->frontend->request_size, JSON_STREAM_DEPTH);
	if (!k->stream) {
		conn_end(c, END_NO_MEMORY);
		return;
	}
	if (k->fed == k->len)
		r = json_stream_end(k->stream, &value);
	else
		r = json_stream_feed(k->stream, k->in + k->fed, k->len - k->fed, &used, &value);
	k->fed += used;
	if (r != JSON_STREAM_MORE || is_inside(k))
		request_begins(c);
	if (r == JSON_STREAM_FOUND) {
		json_stream_discard(value);
		take_request(c, k->in + k->at, k->fed - k->at);
	} else if (r == JSON_STREAM_BAD) {
		not_json(c);
	}
	if (c->state != CONN_EXCHANGE)
		return;
	if (r == JSON_STREAM_MORE && is_inside(k))
		return;
	in_drop(k);
	if (r == JSON_STREAM_BAD || k->at == k->len)
		let_go(k);
}

/* --- deadlines --- */

static void deadline_for(struct conn *c, enum waiting waiting, uint32_t ms)
{
	struct kms *k = c->exchange;

	k->waiting = waiting;
	k->marked = k->sent;
	conn_deadline(c, ms);
}

static void kms_deadline(struct conn *c)
{
	struct kms *k = c->exchange;
	const struct config_timeouts *t = &c->frontend->timeouts;

	if (k->out.len > 0) {
		if (k->waiting != WAITING_WRITE || k->sent != k->marked)
			deadline_for(c, WAITING_WRITE, t->stalled_ms);
	} else if (k->call) {
		if (k->waiting != WAITING_AWS)
			deadline_for(c, WAITING_AWS, LOOK_MS);
	} else if (!k->served || is_inside(k)) {
		if (k->waiting != WAITING_REQUEST)
			deadline_for(c, WAITING_REQUEST, t->hello_ms);
	} else if (k->waiting != WAITING_NEXT) {
		deadline_for(c, WAITING_NEXT, shared_of(c)->draining ? DRAIN_IDLE_MS : t->idle_ms);
	}
}

/* --- the turn --- */

static void kms_wait(struct conn *c, int events)
{
	conn_watch(c, events, 0);
	kms_deadline(c);
}

/* The answer is written: the next request may have its turn. */
static void answered(struct conn *c)
{
	struct kms *k = c->exchange;

	k->bytes_down = k->out.len;
	json_writer_fini(&k->out);
	k->sent = 0;
	k->served = true;
	k->waiting = WAITING_NOTHING;
	log_request(c, k->end);
	if (k->closing)
		conn_finish(c, k->end);
}

/* False where it is time to wait. */
static bool kms_write(struct conn *c)
{
	struct kms *k = c->exchange;
	ssize_t n;

	if (!k->may_write)
		return false;
	n = send(c->client.fd, k->out.ptr + k->sent, k->out.len - k->sent, MSG_NOSIGNAL);
	if (n == -1 && errno == EAGAIN) {
		k->may_write = false;
	} else if (n == -1 && errno != EINTR) {
		c->error = errno;
		k->bytes_down = k->sent;
		conn_end(c, END_CLIENT_ERROR);
	} else if (n > 0) {
		k->sent += (size_t)n;
		if (k->sent == k->out.len)
			answered(c);
	}
	return true;
}

static bool kms_read(struct conn *c)
{
	struct kms *k = c->exchange;
	size_t room;
	ssize_t n;

	if (!k->may_read)
		return false;
	if (!in_reserve(c)) {
		conn_end(c, END_NO_MEMORY);
		return true;
	}
	room = k->size - k->len;
	n = net_receive(c->client.fd, k->in + k->len, room);
	k->may_read = n == (ssize_t)room || (n == -1 && errno == EINTR);
	if (n > 0)
		k->len += (size_t)n;
	else if (n == 0)
		k->eof = true;
	if (k->len == k->at)
		in_free(k); /* who says nothing costs no buffer */
	if (n == -1 && errno != EAGAIN && errno != EINTR) {
		c->error = errno;
		conn_end(c, END_CLIENT_ERROR);
	}
	return true;
}

/* One thing that can be done now; false where it is time to wait, with what for. */
static bool kms_step(struct conn *c, int *ret_events)
{
	struct kms *k = c->exchange;

	*ret_events = 0;
	if (k->out.failed) {
		conn_end(c, END_NO_MEMORY);
		return true;
	}
	if (k->out.len > 0) {
		*ret_events = EV_WRITE;
		return kms_write(c);
	}
	if (k->call)
		return false;
	if (k->fed < k->len) {
		frame(c);
		return true;
	}
	if (!k->eof) {
		*ret_events = EV_READ;
		return kms_read(c);
	}
	/* A number may stand open, and a value cut short wants its answer. */
	if (is_inside(k)) {
		frame(c);
		return true;
	}
	conn_finish(c, k->served ? END_DONE : END_NO_HELLO);
	return true;
}

static void kms_run(struct conn *c)
{
	int rounds = 0, events;

	while (c->state == CONN_EXCHANGE) {
		if (rounds++ == ROUNDS) {
			kms_wait(c, EV_READ | EV_WRITE); /* writable, or what is read is there: soon again */
			return;
		}
		if (!kms_step(c, &events)) {
			kms_wait(c, events);
			return;
		}
	}
}

static void call_done(struct aws_call *call)
{
	struct conn *c = call->data;
	struct kms *k = c->exchange;

	k->call = NULL;
	answer_call(c, call);
	aws_call_free(call);
	kms_run(c);
}

/* --- the mode's table --- */

static void refuse(struct conn *c, const char *answer, enum conn_end why)
{
	conn_answer(c, answer, strlen(answer), why);
}

/* Counts it in with its enclave; false where that has its share. */
static bool admit(struct conn *c)
{
	struct kms *k = c->exchange;
	enum limit_kind kind;

	if (!c->enclave)
		return true;
	k->limits = &shared_of(c)->limits[c->enclave->number];
	if (limits_connect(k->limits, c->enclave, limits_now_ns(), &kind))
		return true;
	k->limits = NULL;
	if (kind == LIMIT_RATE)
		refuse(c, "{\"error\":\"connections of this enclave come too fast\"}", END_ENCLAVE_RATE);
	else
		refuse(c, "{\"error\":\"too many connections of this enclave\"}", END_ENCLAVE_CONNECTIONS);
	return false;
}

/* Who it is decides; false where no rule gives a key. */
static bool find_rule(struct conn *c)
{
	struct route_query q = { .from = c->peer.has_ip ? &c->peer.ip : NULL, .vouched = c->peer.has_cid, .cid = c->peer.cid };
	const struct config_frontend *f = c->frontend;
	struct kms *k = c->exchange;
	enum conn_end why = END_NO_ROUTE;
	size_t rule;

	if (route_match(f->table, c->worker->scratch, &q, &rule) == ROUTE_FOUND) {
		k->rule = &f->rules[rule];
		if (k->rule->target.kind == TARGET_KEY)
			return true;
		if (k->rule->target.kind == TARGET_DROP)
			why = END_DROPPED;
		else if (rule + 1 < f->n_rules)
			why = END_REJECTED;
	}
	k->refused = true;
	if (why == END_DROPPED)
		conn_end(c, why);
	else
		refuse(c, "{\"error\":\"access denied: no rule gives this peer a key\"}", why);
	return false;
}

static bool kms_start(struct conn *c)
{
	struct kms *k = calloc(1, sizeof(*k));

	c->exchange = k;
	if (!k) {
		conn_end(c, END_NO_MEMORY);
		return false;
	}
	k->began = ev_now(c->worker->loop);
	k->may_read = k->may_write = true;
	conn_exchange(c);
	if (admit(c) && find_rule(c))
		kms_run(c);
	return false;
}

static void kms_io(struct conn *c, bool client, int events)
{
	struct kms *k = c->exchange;

	(void)client; /* there is no other side */
	k->may_read |= (events & EV_READ) != 0;
	k->may_write |= (events & EV_WRITE) != 0;
	kms_run(c);
}

/* The thread lost a call: it is to answer all of them within their time. */
static void call_expired(struct conn *c)
{
	struct kms *k = c->exchange;
	struct aws_call lost = { .result = AWS_TIMED_OUT, .error_message = "timeout request is over" };

	aws_call_forget(k->call);
	k->call = NULL;
	answer_call(c, &lost);
	kms_run(c);
}

/*
 * Whether a client that waits is still there.  Nothing is read meanwhile, and the end of what it
 * sends is no sign: but a socket whose other end is closed takes not even a send of nothing.
 */
static bool is_there(struct conn *c)
{
	if (send(c->client.fd, "", 0, MSG_NOSIGNAL) != -1 || errno == EAGAIN || errno == EINTR)
		return true;
	c->error = errno;
	return false;
}

static void look_at_call(struct conn *c)
{
	struct kms *k = c->exchange;
	double most_ms = (double)c->frontend->timeouts.request_ms + CALL_GRACE_MS;

	if (!is_there(c))
		conn_end(c, END_CLIENT_ERROR);
	else if ((ev_now(c->worker->loop) - k->asked) * 1000 >= most_ms)
		call_expired(c);
	else
		deadline_for(c, WAITING_AWS, LOOK_MS);
}

static void kms_expired(struct conn *c)
{
	struct kms *k = c->exchange;

	switch (k->waiting) {
	case WAITING_NOTHING:
	case WAITING_REQUEST:
		conn_end(c, END_HELLO_TIMEOUT);
		break;
	case WAITING_NEXT:
		conn_end(c, END_IDLE_TIMEOUT);
		break;
	case WAITING_AWS:
		look_at_call(c);
		break;
	case WAITING_WRITE:
		k->bytes_down = k->sent;
		conn_end(c, END_STALLED_TIMEOUT);
		break;
	}
}

static void kms_drain(struct conn *c)
{
	struct kms *k = c->exchange;

	if (k->waiting == WAITING_NEXT)
		deadline_for(c, WAITING_NEXT, DRAIN_IDLE_MS);
}

static void kms_ended(struct conn *c)
{
	struct kms none = { .began = c->started }, *k = c->exchange;

	if (!k) { /* refused before it began */
		c->exchange = &none;
		log_request(c, c->end);
		c->exchange = NULL;
		return;
	}
	if (k->open || !k->served)
		log_request(c, c->end);
	if (k->call)
		aws_call_forget(k->call);
	if (k->limits)
		limits_disconnect(k->limits);
	let_go(k);
	json_writer_fini(&k->out);
	free(k);
	c->exchange = NULL;
}

const struct mode_ops mode_kms = {
	.name = "kms",
	.start = kms_start,
	.io = kms_io,
	.expired = kms_expired,
	.drain = kms_drain,
	.ended = kms_ended,
};

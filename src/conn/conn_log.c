/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection leaves in the log. */
#include <config.h>

#include "conn/conn.h"

#include <string.h>

#include "conn/life.h"
#include "conn/reach.h"
#include "engine/worker.h"
#include "log/log.h"

void conn_log_target(const struct conn *c, struct log_line *l)
{
	if (!c->target)
		return;
	log_field_string(l, "target", c->target->text);
	reach_log(c->reach, l);
}

const char *conn_error_text(const struct conn *c, enum conn_end why)
{
	if (c->error && c->target && (why == END_CONNECT_FAILED || why == END_CONNECT_TIMEOUT))
		return net_dial_error(c->target, c->error);
	return c->error ? strerror(c->error) : NULL;
}

void conn_log(const struct conn *c)
{
	const struct mode_ops *mode = conn_mode(c);
	double now = ev_now(c->worker->loop);
	const char *error = conn_error_text(c, c->end);
	char peer[NET_PEER_TEXT_SIZE];
	struct log_line l;

	if (!c->frontend->log || !log_wants(LEVEL_INFO))
		return;
	log_begin(&l, LEVEL_INFO, "connection");
	log_field_string(&l, "frontend", c->frontend->name);
	log_field_string(&l, "source", net_peer_format(&c->peer, peer));
	if (c->enclave)
		log_field_string(&l, "enclave", c->enclave->name);
	if (c->name)
		log_field_string(&l, "name", c->name);
	if (c->rule)
		log_field_string(&l, "rule", c->rule->place_text);
	conn_log_target(c, &l);
	if (c->routed > 0)
		log_field_number(&l, "hello_ms", (uint64_t)((c->routed - c->started) * 1000));
	if (c->looked_up > 0)
		log_field_number(&l, "lookup_ms", (uint64_t)((c->looked_up - c->routed) * 1000));
	if (c->connected > 0)
		log_field_number(&l, "connect_ms",
				 (uint64_t)((c->connected - (c->looked_up > 0 ? c->looked_up : c->routed)) * 1000));
	log_field_number(&l, "total_ms", (uint64_t)((now - c->started) * 1000));
	log_field_number(&l, "bytes_up", c->up.total);
	log_field_number(&l, "bytes_down", c->down.total);
	log_field_string(&l, "reason", conn_end_label(c->end));
	if (mode->log)
		mode->log(c, &l);
	if (error)
		log_field_string(&l, "error", error);
	log_end_batched(&l, &c->worker->log);
}

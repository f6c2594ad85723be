/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May the enclave go there, and to which address?
 *
 * Rules run for each address that would be dialled; a name is looked up only where a CIDR
 * rule or `direct` needs that.  Of a name's addresses those that are refused are passed
 * over, and the first that leads somewhere decides: to the address, backend or proxy of its
 * rule, or to a race of all that `direct` may dial.
 *
 * The address policy and the listeners of our own bind `direct` alone: what a rule names is
 * the operator's word.
 */
#include <config.h>

#include "mode/egress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/worker.h"
#include "mode/http_serve.h"
#include "net/local.h"
#include "route/policy.h"

/* What is to be done for one address, or for none that is known. */
struct judgement {
	size_t rule;
	enum conn_end refused;	/* or END_COUNT */
};

static void looked_up(struct resolve_query *q, const struct resolve_answer *a);

static const struct config_rule *rule_at(const struct conn *c, size_t rule)
{
	return &c->frontend->rules[rule];
}

void egress_stop(struct conn *c)
{
	struct egress *e = egress_of(c);

	if (e->looking) {
		resolve_cancel(&e->query);
		limits_looked_up(e->limits);
		e->looking = false;
	}
	race_cancel(e->race);
	e->race = NULL;
	free(e->via);
	e->via = NULL;
}

/* --- judging --- */

static struct route_ask ask_of(const struct conn *c, const struct ip_addr *address)
{
	const struct egress *e = egress_of(c);
	struct route_ask ask = { .vouched = c->peer.has_cid, .cid = c->peer.cid, .address = address,
				 .port = e->target.port };

	if (e->target.kind == HOST_IS_NAME)
		ask.name = host_port_name(&e->target);
	return ask;
}

/* The log's, and nobody else's where a server of another rule is still open. */
static void note_rule(struct conn *c, const struct config_rule *rule)
{
	struct http *h = c->exchange;

	if (h)
		h->rule = rule;
	if (c->server.fd == -1)
		c->rule = rule;
}

/* Notes the reason of the first refusal: what follows is no better. */
static struct judgement refuse(struct conn *c, size_t rule, enum conn_end why, const char *what)
{
	struct egress *e = egress_of(c);

	if (!e->reason[0]) {
		note_rule(c, rule_at(c, rule));
		egress_explain(e, "%s: %s", rule_at(c, rule)->place_text, what);
	}
	return (struct judgement){ rule, why };
}

static bool is_own(const struct conn *c, const struct ip_addr *a)
{
	struct ip_addr judged;

	switch (route_policy_is_own(c->frontend->policy, a, egress_of(c)->target.port)) {
	case ROUTE_NOT_OWN:
		return false;
	case ROUTE_OWN:
		return true;
	case ROUTE_OWN_IF_LOCAL:
		break;
	}
	judged = address_canonical(a);
	return net_is_local(&judged);
}

/* May `direct` dial it? */
static struct judgement judge_direct(struct conn *c, size_t rule, const struct ip_addr *a)
{
	const struct config_frontend *f = c->frontend;
	const uint16_t port = egress_of(c)->target.port;
	char text[IP_TEXT_SIZE], what[EGRESS_REASON_SIZE / 2];
	struct address_verdict verdict;

	if (is_own(c, a)) {
		snprintf(what, sizeof(what), "%s port %u is a listener of this proxy",
			 ip_format(a, text), (unsigned)port);
		return refuse(c, rule, END_OWN_LISTENER, what);
	}
	if (f->address_policy && !route_policy_judge(f->policy, rule, a, port, &verdict)) {
		snprintf(what, sizeof(what), "address policy: %s is %s", ip_format(a, text),
			 verdict.why);
		return refuse(c, rule, END_ADDRESS_REFUSED, what);
	}
	return (struct judgement){ rule, END_COUNT };
}

/* a NULL: the rule is enough. */
static struct judgement judge_rule(struct conn *c, size_t rule, const struct ip_addr *a)
{
	switch (rule_at(c, rule)->target.kind) {
	case TARGET_DIRECT:
		return judge_direct(c, rule, a);
	case TARGET_DROP:
		return refuse(c, rule, END_DROPPED, "drop");
	case TARGET_REJECT:
		if (rule + 1 == c->frontend->n_rules)
			return refuse(c, rule, END_NO_ROUTE, "no rule lets it go there");
		return refuse(c, rule, END_REJECTED, "reject");
	default: /* an address, a backend, a proxy: check_rules.c lets this mode have no other */
		return (struct judgement){ rule, END_COUNT };
	}
}

static struct judgement judge(struct conn *c, const struct ip_addr *a)
{
	const struct config_frontend *f = c->frontend;
	const struct egress *e = egress_of(c);
	const struct route_ask ask = ask_of(c, a);
	size_t rule = f->n_rules - 1;

	if (e->fixed)
		return judge_rule(c, e->rule, a);
	switch (route_policy_match(f->policy, c->worker->scratch, &ask, &rule)) {
	case POLICY_FOUND:
		return judge_rule(c, rule, a);
	case POLICY_LIMIT:
		return refuse(c, rule, END_REGEX_LIMIT, conn_end_sentence(END_REGEX_LIMIT));
	case POLICY_MISS:
	case POLICY_LOOK_UP: /* never with an address */
		break;
	}
	return refuse(c, rule, END_NO_ROUTE, "no rule lets it go there");
}

/* --- dialling --- */

static void dial_rule(struct conn *c, size_t number)
{
	struct egress *e = egress_of(c);
	const struct config_rule *rule = rule_at(c, number);
	const bool absolute = e->absolute;
	bool reuse = absolute && !e->forwarded && http_serve_may_reuse(c, rule);

	e->reason[0] = '\0';
	if (c->exchange)
		((struct http *)c->exchange)->rule = rule;
	if (e->absolute && !e->forwarded && !egress_http_forward(c, rule, reuse))
		return;
	if (reuse) {
		c->rule = rule;
		return;
	}
	conn_dial(c, rule); /* and e may be gone */
	if (!absolute)
		conn_heed_client(c);
}

/* A rule that needs no address. */
static void follow(struct conn *c, size_t number)
{
	const struct judgement j = judge_rule(c, number, NULL);

	if (j.refused != END_COUNT)
		egress_fail(c, j.refused);
	else
		dial_rule(c, number);
}

static void set_dialled(struct conn *c, const struct ip_addr *a)
{
	struct egress *e = egress_of(c);
	char text[IP_TEXT_SIZE];

	snprintf(e->dialled_text, sizeof(e->dialled_text), ip_is_v4(a) ? "%s:%u" : "[%s]:%u",
		 ip_format(a, text), (unsigned)e->target.port);
	e->dialled = (struct address){ .kind = ADDRESS_TCP_IP, .ip = *a, .port = e->target.port,
				       .text = e->dialled_text };
	c->target = &e->dialled;
}

static void raced(void *data, int fd, const struct ip_addr *address)
{
	struct conn *c = data;
	struct egress *e = egress_of(c);

	e->race = NULL;
	if (fd >= 0) {
		set_dialled(c, address);
		note_rule(c, rule_at(c, judge(c, address).rule));
		conn_adopt(c, fd);
		return;
	}
	c->error = -fd;
	if (fd == -EMFILE || fd == -ENFILE)
		conn_dial_failed(c, END_NO_DESCRIPTOR);
	else
		conn_dial_failed(c, fd == -ETIMEDOUT ? END_CONNECT_TIMEOUT : END_CONNECT_FAILED);
}

/* All of these are `direct` and allowed; number is the first one's rule. */
static void dial_direct(struct conn *c, size_t number, const struct ip_addr *addresses, size_t n)
{
	struct egress *e = egress_of(c);

	if (c->state != CONN_CONNECT)
		conn_connect(c);
	note_rule(c, rule_at(c, number));
	set_dialled(c, &addresses[0]);
	if (e->absolute && !e->forwarded && !egress_http_forward(c, rule_at(c, number), false))
		return;
	e->reason[0] = '\0';
	e->race = race_start(c->worker->loop, addresses, n, e->target.port, raced, c);
	if (!e->race)
		conn_dial_failed(c, END_NO_MEMORY);
	else if (!e->absolute)
		conn_heed_client(c);
}

static void choose(struct conn *c, const struct ip_addr *addresses, size_t n)
{
	struct ip_addr allowed[RESOLVE_ADDRESSES_MAX];
	struct judgement first = { 0, END_NAME_UNKNOWN };
	size_t n_allowed = 0, number = 0;

	for (size_t i = 0; i < n && n_allowed < RESOLVE_ADDRESSES_MAX; i++) {
		const struct judgement j = judge(c, &addresses[i]);

		if (i == 0)
			first = j;
		if (j.refused != END_COUNT)
			continue;
		if (rule_at(c, j.rule)->target.kind == TARGET_DIRECT) {
			if (n_allowed == 0)
				number = j.rule;
			allowed[n_allowed++] = addresses[i];
		} else if (n_allowed == 0) {
			dial_rule(c, j.rule);
			return;
		}
	}
	if (n_allowed > 0)
		dial_direct(c, number, allowed, n_allowed);
	else
		egress_fail(c, first.refused);
}

/* --- names --- */

static void look_up_failed(struct conn *c, enum resolve_status status)
{
	egress_explain(egress_of(c), "%s: %s", egress_of(c)->target.name, resolve_status_text(status));
	switch (status) {
	case RESOLVE_OK:
	case RESOLVE_NO_NAME:
		egress_fail(c, END_NAME_UNKNOWN);
		break;
	case RESOLVE_SERVER_FAILED:
		egress_fail(c, END_LOOKUP_FAILED);
		break;
	case RESOLVE_TIMEOUT:
		egress_fail(c, END_LOOKUP_TIMEOUT);
		break;
	case RESOLVE_NO_MEMORY:
		egress_fail(c, END_NO_MEMORY);
		break;
	}
}

/* A rule for addresses asked, and there are none: those after it go on without. */
static void go_without(struct conn *c, enum resolve_status status)
{
	const struct config_frontend *f = c->frontend;
	struct route_ask ask = ask_of(c, NULL);
	size_t rule = f->n_rules - 1;

	ask.lookup_failed = true;
	if (egress_of(c)->fixed ||
	    (route_policy_match(f->policy, c->worker->scratch, &ask, &rule) == POLICY_FOUND &&
	     rule_at(c, rule)->target.kind == TARGET_DIRECT)) {
		look_up_failed(c, status);
		return;
	}
	follow(c, rule);
}

static void take_answer(struct conn *c, const struct resolve_answer *a)
{
	c->looked_up = ev_now(c->worker->loop);
	if (a->status == RESOLVE_OK && a->n > 0)
		choose(c, a->addresses, a->n);
	else
		go_without(c, a->status);
}

static void looked_up(struct resolve_query *q, const struct resolve_answer *a)
{
	struct egress *e = container_of(q, struct egress, query);

	limits_looked_up(e->limits);
	e->looking = false;
	if (!egress_left(e->conn))
		take_answer(e->conn, a);
}

static void look_up(struct conn *c)
{
	struct egress *e = egress_of(c);
	struct resolver *r = c->worker->resolver;
	struct resolve_answer answer = { .status = RESOLVE_SERVER_FAILED };

	/* Neither counts as a look-up. */
	if (!r || resolve_known(r, host_port_name(&e->target), &answer)) {
		take_answer(c, &answer);
		return;
	}
	if (!limits_look_up(e->limits, e->enclave)) {
		egress_explain(e, "%s", conn_end_sentence(END_ENCLAVE_LOOKUPS));
		egress_fail(c, END_ENCLAVE_LOOKUPS);
		return;
	}
	/* Others may have their turn from here on, and read where our bytes are. */
	if (!pump_keep(&c->up)) {
		limits_looked_up(e->limits);
		conn_end(c, END_NO_MEMORY);
		return;
	}
	resolve_query_init(&e->query, looked_up);
	if (resolve_start(r, &e->query, host_port_name(&e->target), &answer)) {
		limits_looked_up(e->limits);
		take_answer(c, &answer);
		return;
	}
	e->looking = true;
	if (c->state != CONN_CONNECT)
		conn_connect(c);
	if (!e->absolute)
		conn_heed_client(c);
}

static void go(struct conn *c)
{
	struct egress *e = egress_of(c);
	const struct route_ask ask = ask_of(c, NULL);
	size_t rule;

	e->fixed = false;
	if (e->target.kind != HOST_IS_NAME) {
		choose(c, &e->target.addr, 1);
		return;
	}
	switch (route_policy_match(c->frontend->policy, c->worker->scratch, &ask, &rule)) {
	case POLICY_LOOK_UP:
		look_up(c);
		return;
	case POLICY_FOUND:
		if (rule_at(c, rule)->target.kind != TARGET_DIRECT)
			break;
		e->fixed = true;
		e->rule = rule;
		look_up(c);
		return;
	case POLICY_MISS:
	case POLICY_LIMIT:
		egress_fail(c, judge(c, NULL).refused);
		return;
	}
	follow(c, rule);
}

void egress_go(struct conn *c)
{
	struct egress *e = egress_of(c);

	if (egress_left(c))
		return;
	if (e->over) {
		egress_explain(e, "%s", conn_end_sentence(egress_over(e)));
		egress_fail(c, egress_over(e));
	} else if (egress_is_odd_ipv4(&e->target)) {
		egress_explain(e, "%s is an odd spelling of an IPv4 address", e->target.name);
		egress_fail(c, END_TARGET_MALFORMED);
	} else {
		go(c);
	}
}

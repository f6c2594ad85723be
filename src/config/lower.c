/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checked model becomes the configuration that the engine runs: defaults
 * resolved, lists as arrays, rules as tables.  It can no longer be wrong.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/arena.h"
#include "config/load.h"
#include "config/model.h"
#include "route/policy.h"

#define S(n) ((n)*1000u)
#define M(n) S((n)*60u)
#define H(n) M((n)*60u)

/* hello, connect, idle, stalled, half-closed, lifetime, request; 0 is off.  teeproxy.conf(5) has this table. */
static const struct config_timeouts timeouts_by_mode[MODE_COUNT] = {
	[MODE_HTTP] = { S(10), S(5), S(30), S(30), S(30), 0, 0 },
	[MODE_HTTPS] = { S(10), S(5), H(1), M(5), S(30), 0, 0 },
	[MODE_TCP] = { 0, S(5), H(1), M(5), S(30), 0, 0 },
	[MODE_KMS] = { S(30), 0, S(30), S(10), S(30), 0, S(25) },
	[MODE_EGRESS] = { S(30), S(30), 0, M(5), S(60), H(24), 0 },
	[MODE_CONFIG] = { S(10), 0, S(30), S(10), 0, 0, 0 },
	[MODE_LOGS] = { 0, 0, 0, S(10), 0, 0, 0 },
	[MODE_STATUS] = { S(10), 0, S(30), S(10), 0, 0, 0 },
};

enum { BUFFER_DEFAULT = 16384 };

/* A frontend's own word, then its mode's defaults, then all's, then the table. */
static void lower_timeout(const struct model *m, struct model_frontend *f, const char *name,
			  uint32_t *out, size_t offset)
{
	const struct model_defaults *mode = &m->defaults[f->out.mode], *all = &m->defaults_all;

	if (model_find_setting(&f->section, name))
		return;
	if (model_find_setting(&mode->section, name))
		*out = *(const uint32_t *)(const void *)((const char *)&mode->timeouts + offset);
	else if (model_find_setting(&all->section, name))
		*out = *(const uint32_t *)(const void *)((const char *)&all->timeouts + offset);
	else
		*out = *(const uint32_t *)(const void *)((const char *)&timeouts_by_mode[f->out.mode] + offset);
}

static void lower_settings(const struct model *m, struct model_frontend *f)
{
	struct config_timeouts *t = &f->out.timeouts;

#define TIMEOUT(name, field)                                                                       \
	lower_timeout(m, f, "timeout " name, &t->field, offsetof(struct config_timeouts, field))
	TIMEOUT("hello", hello_ms);
	TIMEOUT("connect", connect_ms);
	TIMEOUT("idle", idle_ms);
	TIMEOUT("stalled", stalled_ms);
	TIMEOUT("half-closed", half_closed_ms);
	TIMEOUT("lifetime", lifetime_ms);
	TIMEOUT("request", request_ms);
#undef TIMEOUT
	if (model_find_setting(&f->section, "buffer"))
		return;
	f->out.buffer_size = m->defaults[f->out.mode].buffer_size ? m->defaults[f->out.mode].buffer_size :
			     m->defaults_all.buffer_size	  ? m->defaults_all.buffer_size :
								    BUFFER_DEFAULT;
}

static struct config_place place_of(struct model *m, struct span span)
{
	/* Places come in runs of one file: its name is copied once for each run. */
	if (span.source && span.source != m->placed) {
		m->placed = span.source;
		m->placed_name = arena_strdup(m->out, span.source->name);
	}
	return (struct config_place){ span.source ? m->placed_name : "", span.line, span.column };
}

static void lower_listens(struct model *m, struct model_frontend *f)
{
	struct config_listen *l = arena_calloc(m->out, f->n_listens + 1, sizeof(*l));
	size_t n = 0;

	for (struct model_listen *p = f->listens; p; p = p->next) {
		l[n] = p->out;
		l[n].place = place_of(m, p->span);
		n++;
	}
	f->out.listens = l;
	f->out.n_listens = n;
}

static void lower_rule(struct model *m, struct model_rule *r, const struct config *c,
		       struct config_rule *out, struct route_rule *match)
{
	*match = r->match;
	out->target = r->target;
	out->place = place_of(m, r->span);
	out->place_text = arena_printf(m->out, "%s:%u", out->place.file, out->place.line);
	out->text = r->text;
	if (r->target.backend)
		out->target.backend = &c->backends[r->target.backend->number];
}

static void lower_rules(struct model *m, struct model_frontend *f, const struct config *c,
			const struct hash_key *key)
{
	size_t n = f->n_rules + 1, i = 0;
	struct config_rule *rules = arena_calloc(m->out, n, sizeof(*rules));
	struct route_rule *matches = arena_calloc(m->out, n, sizeof(*matches));

	for (struct model_rule *r = f->rules; r; r = r->next, i++)
		lower_rule(m, r, c, &rules[i], &matches[i]);
	if (f->default_rule) {
		lower_rule(m, f->default_rule, c, &rules[i], &matches[i]);
	} else {
		rules[i].target.kind = TARGET_REJECT;
		rules[i].place = place_of(m, f->section.span);
		rules[i].place_text = "default";
		rules[i].text = "default -> reject";
	}
	f->out.rules = rules;
	f->out.route_rules = matches;
	f->out.n_rules = n;
	f->out.table = route_table_new(matches, n, key);
}

static void lower_backends(struct model *m, struct config *c)
{
	struct config_backend *out = arena_calloc(m->out, m->n_backends + 1, sizeof(*out));
	size_t i = 0;

	for (struct model_backend *b = m->backends; b; b = b->next, i++) {
		struct config_server *servers = arena_calloc(m->out, b->n_servers + 1, sizeof(*servers));
		size_t n = 0;

		out[i] = b->out;
		out[i].name = arena_strdup(m->out, b->section.name);
		out[i].place = place_of(m, b->section.span);
		for (struct model_server *s = b->servers; s; s = s->next, n++) {
			servers[n] = s->out;
			servers[n].place = place_of(m, s->span);
			servers[n].number = c->n_servers++;
		}
		out[i].servers = servers;
		out[i].n_servers = n;
	}
	c->backends = out;
	c->n_backends = i;
}

static void lower_enclaves(struct model *m, struct config *c)
{
	struct config_enclave *out = arena_calloc(m->out, m->n_enclaves + 1, sizeof(*out));
	size_t i = 0;

	for (struct model_enclave *e = m->enclaves; e; e = e->next, i++) {
		out[i] = e->out;
		out[i].name = arena_strdup(m->out, e->section.name);
		out[i].place = place_of(m, e->section.span);
	}
	c->enclaves = out;
	c->n_enclaves = i;
}

/* Our TCP listeners: where no egress rule's "direct" may go. */
static const struct route_own *own_listeners(struct model *m, const struct config *c, size_t *ret_n)
{
	static const unsigned char zeros[16];
	struct route_own *own;
	size_t n = 0;

	for (size_t i = 0; i < c->n_frontends; i++)
		n += c->frontends[i].n_listens;
	own = arena_calloc(m->out, n + 1, sizeof(*own));
	n = 0;
	for (size_t i = 0; i < c->n_frontends; i++) {
		for (size_t k = 0; k < c->frontends[i].n_listens; k++) {
			const struct address *a = &c->frontends[i].listens[k].address;
			bool any = a->kind == ADDRESS_TCP_ANY, v4 = ip_is_v4(&a->ip);

			if (!any && a->kind != ADDRESS_TCP_IP)
				continue;
			own[n].ip = a->ip;
			own[n].port = (uint16_t)a->port;
			own[n].any_v4 = any || (v4 && memcmp(a->ip.b + 12, zeros, 4) == 0);
			own[n++].any_v6 = any || memcmp(a->ip.b, zeros, 16) == 0;
		}
	}
	*ret_n = n;
	return own;
}

static void lower_policies(struct model *m, struct config *c, const struct hash_key *key)
{
	size_t n;
	const struct route_own *own = own_listeners(m, c, &n);

	for (size_t i = 0; i < c->n_frontends; i++) {
		struct config_frontend *f = (struct config_frontend *)&c->frontends[i];

		if (f->mode == MODE_EGRESS)
			f->policy = route_policy_new(f->route_rules, f->n_rules, own, n, key);
	}
}

struct config *config_lower(struct model *m)
{
	struct config *c = arena_alloc(m->out, sizeof(*c));
	struct config_frontend *out = arena_calloc(m->out, m->n_frontends + 1, sizeof(*out));
	struct hash_key key;
	size_t i = 0;

	if (getrandom(&key, sizeof(key), 0) != (ssize_t)sizeof(key))
		abort(); /* never for so few bytes: getrandom(2) */
	c->arena = m->out;
	c->global = m->global;
	c->aws = m->aws;
	c->resolver = m->resolver;
	c->resolver.servers = m->resolver_servers;
	c->resolver.n_servers = m->n_resolver_servers;
	lower_enclaves(m, c);
	lower_backends(m, c);
	for (struct model_frontend *f = m->frontends; f; f = f->next, i++) {
		struct config_listen *l;

		lower_settings(m, f);
		lower_listens(m, f);
		lower_rules(m, f, c, &key);
		out[i] = f->out;
		out[i].name = arena_strdup(m->out, f->section.name);
		out[i].place = place_of(m, f->section.span);
		l = (struct config_listen *)out[i].listens;
		for (size_t k = 0; k < out[i].n_listens; k++) {
			if (l[k].as)
				l[k].as = &c->enclaves[l[k].as->number];
		}
	}
	c->frontends = out;
	c->n_frontends = i;
	lower_policies(m, c, &key);
	return c;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_frontends; i++) {
		route_table_free((struct route_table *)c->frontends[i].table);
		route_policy_free((struct route_policy *)c->frontends[i].policy);
	}
	arena_free(c->arena);
}

const struct config_enclave *config_find_enclave(const struct config *c, uint32_t cid)
{
	for (size_t i = 0; i < c->n_enclaves; i++) {
		if (c->enclaves[i].cid == cid)
			return &c->enclaves[i];
	}
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is allowed and hardly meant: warnings about a configuration without errors.
 */
#include <config.h>

#include <string.h>

#include "base/arena.h"
#include "config/load.h"
#include "config/model.h"

static void lint_enclaves(struct model *m)
{
	for (const struct model_enclave *e = m->enclaves; e; e = e->next) {
		if (e->out.cid <= 2 || e->out.cid == ADDRESS_CID_ANY)
			diag_warning(m->diags, "impossible-cid", e->section.span,
				     "enclave \"%s\" has CID %u, which no guest can have", e->section.name,
				     e->out.cid);
		if (!e->used)
			diag_warning(m->diags, "unused-enclave", e->section.span,
				     "enclave \"%s\" is used nowhere", e->section.name);
	}
}

static void lint_regexes(struct model *m, const struct model_frontend *f)
{
	size_t scans = 0;

	for (const struct model_rule *r = f->rules; r; r = r->next) {
		for (size_t i = 0; i < r->match.n_names; i++) {
			const struct route_pattern *p = &r->match.names[i];

			if (p->kind != ROUTE_PATTERN_REGEX)
				continue;
			scans++;
			if (p->text.len < 2 || p->text.ptr[0] != '^' || p->text.ptr[p->text.len - 1] != '$')
				diag_warning(m->diags, "unanchored-regex", r->span,
					     "the regex '%.*s' is not anchored and matches inside longer names; expected ^...$",
					     (int)p->text.len, p->text.ptr);
		}
	}
	if (scans > 100)
		diag_warning(m->diags, "many-regexes", f->section.span,
			     "%zu rules of frontend \"%s\" need a scan: each regex is tried in turn", scans,
			     f->section.name);
}

/* Everything everywhere: what a first file has and a finished one should not. */
static bool is_wide_open(const struct model_rule *r)
{
	if (r->target.kind != TARGET_DIRECT)
		return false;
	for (size_t i = 0; i < r->match.n_to; i++) {
		const struct route_where *w = &r->match.to[i];

		if (!w->is_cidr && w->pattern.kind == ROUTE_PATTERN_ANY && w->n_ports > 0 && w->ports[0].first == 1 &&
		    w->ports[0].last == UINT16_MAX)
			return true;
	}
	return r->match.n_to == 0;
}

static void lint_egress(struct model *m, const struct model_frontend *f)
{
	for (const struct model_rule *r = f->rules; r; r = r->next)
		if (is_wide_open(r))
			diag_warning(m->diags, "egress-open", r->span, "this rule lets an enclave reach every host and port");
	if (f->default_rule && is_wide_open(f->default_rule))
		diag_warning(m->diags, "egress-open", f->default_rule->span,
			     "this rule lets an enclave reach every host and port");
}

static void lint_frontend(struct model *m, const struct model_frontend *f)
{
	if (f->n_rules == 0 && !f->default_rule)
		diag_warning(m->diags, "no-rule", f->section.span, "frontend \"%s\" has no rule: it refuses everything",
			     f->section.name);
	if (!f->out.address_policy)
		diag_warning(m->diags, "address-policy-off", f->section.span,
			     "frontend \"%s\" lets enclaves reach private and metadata addresses", f->section.name);
	for (const struct model_rule *r = f->rules; r; r = r->next) {
		if (r->target.kms && r->target.kms->any_key)
			diag_warning(m->diags, "key-any", r->target_span,
				     "\"key any\" lets this enclave use every key the machine may use");
		if (r->target.kms && r->target.kms->any_service)
			diag_warning(m->diags, "service-any", r->target_span,
				     "\"service any\" lets this enclave read and write the items of others");
	}
	if (f->out.mode == MODE_EGRESS)
		lint_egress(m, f);
	config_lint_unreachable(m, f);
	lint_regexes(m, f);
}

static bool has_own(const struct model_frontend *f, const struct model *m, const char *name)
{
	return model_find_setting(&f->section, name) || model_find_setting(&m->defaults[f->out.mode].section, name);
}

static void lint_idle(struct model *m)
{
	const struct model_setting *idle = model_find_setting(&m->defaults_all.section, "timeout idle");

	for (const struct model_frontend *f = m->frontends; idle && f; f = f->next) {
		uint32_t preset = f->out.mode == MODE_HTTPS ? 3600000 : 0, now = m->defaults_all.timeouts.idle_ms;

		if ((f->out.mode != MODE_HTTPS && f->out.mode != MODE_EGRESS) || has_own(f, m, "timeout idle"))
			continue;
		if (now != 0 && (preset == 0 || now < preset))
			diag_warning(m->diags, "short-idle", idle->span,
				     "this shortens the idle timeout of frontend \"%s\"; WebSockets without pings live there",
				     f->section.name);
	}
}

/* A name that https routes and no http frontend does cannot renew by http-01. */
static void lint_http_names(struct model *m)
{
	struct map names = { 0 };
	bool have_http = false, any = false;

	for (const struct model_frontend *f = m->frontends; f; f = f->next) {
		have_http |= f->out.mode == MODE_HTTP;
		for (struct model_rule *r = f->rules; f->out.mode == MODE_HTTP && r; r = r->next) {
			any |= r->match.n_names == 0;
			for (size_t i = 0; i < r->match.n_names; i++) {
				any |= r->match.names[i].kind != ROUTE_PATTERN_EXACT;
				map_put(&names, r->match.names[i].text, r);
			}
		}
	}
	for (const struct model_frontend *f = m->frontends; have_http && !any && f; f = f->next) {
		for (const struct model_rule *r = f->rules; f->out.mode == MODE_HTTPS && r; r = r->next) {
			for (size_t i = 0; i < r->match.n_names; i++) {
				const struct route_pattern *p = &r->match.names[i];

				if (p->kind == ROUTE_PATTERN_EXACT && !map_get(&names, p->text))
					diag_warning(m->diags, "no-http-rule", r->span,
						     "\"%.*s\" is routed here and by no http frontend: ACME http-01 will not reach it",
						     (int)p->text.len, p->text.ptr);
			}
		}
	}
	map_fini(&names);
}

/* *:443 and 127.0.0.1:443 meet on one port. */
static void lint_ports(struct model *m)
{
	for (const struct model_frontend *f = m->frontends; f; f = f->next) {
		for (const struct model_listen *l = f->listens; l; l = l->next) {
			for (const struct model_frontend *g = m->frontends; g; g = g->next) {
				for (const struct model_listen *o = g->listens; o; o = o->next) {
					struct diagnostic *d;

					if (l->out.address.kind != ADDRESS_TCP_ANY || o->out.address.kind != ADDRESS_TCP_IP ||
					    l->out.address.port != o->out.address.port)
						continue;
					d = diag_warning(m->diags, "shared-port", o->span,
							 "port %u is listened on twice: the narrower address takes its share",
							 o->out.address.port);
					diagnostics_note(m->diags, d, l->span, "and here");
				}
			}
		}
	}
}

void config_lint(struct model *m)
{
	lint_enclaves(m);
	for (const struct model_frontend *f = m->frontends; f; f = f->next)
		lint_frontend(m, f);
	lint_idle(m);
	lint_http_names(m);
	lint_ports(m);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration as understood, as text that loads again to the same tables.
 *
 * Written from the tables and not from the tree: what it shows is what runs.
 */
#include <config.h>

#include <inttypes.h>

#include "base/buffer.h"
#include "config/load.h"
#include "config/quote.h"

static const char *const sink_names[] = { "stderr", "none", "file", "syslog", "journal" };
static const char *const level_names[] = { "error", "warning", "notice", "info", "debug" };
static const char *const format_names[] = { "logfmt", "json", "text" };
static const char *const credential_names[] = { "auto", "env",	     "profile",
						"imds", "container", "web-identity" };
static const char *const balance_names[] = { "round-robin", "least-connections", "source" };
static const char *const check_names[] = { "none", "tcp", "tls", "http" };
static const char *const protocol_names[] = { "auto", "line", "connect", "socks5" };

static void put_text(struct buffer *out, const char *name, const char *value)
{
	if (!value)
		return;
	buffer_printf(out, "\t%s ", name);
	quote_word(out, value, false);
	buffer_add_char(out, '\n');
}

static void put_number(struct buffer *out, const char *name, uint64_t value)
{
	if (value)
		buffer_printf(out, "\t%s %" PRIu64 "\n", name, value);
}

static void put_duration_value(struct buffer *out, uint32_t ms)
{
	static const struct {
		uint32_t ms;
		const char *unit;
	} units[] = { { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" } };

	if (ms == 0) {
		buffer_add_string(out, "off");
		return;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (ms % units[i].ms == 0) {
			buffer_printf(out, "%" PRIu32 "%s", ms / units[i].ms, units[i].unit);
			return;
		}
	}
}

static void put_duration(struct buffer *out, const char *name, uint32_t ms)
{
	buffer_printf(out, "\t%s ", name);
	put_duration_value(out, ms);
	buffer_add_char(out, '\n');
}

static void put_size(struct buffer *out, const char *name, uint64_t bytes, const char *behind)
{
	const char *unit = bytes % (1u << 20) == 0 ? "m" : bytes % 1024 == 0 ? "k" : "b";

	if (bytes)
		buffer_printf(out, "\t%s %" PRIu64 "%s%s\n", name,
			      *unit == 'm' ? bytes >> 20 : *unit == 'k' ? bytes >> 10 : bytes, unit, behind);
}

static void put_rate(struct buffer *out, const char *name, const struct config_rate *r)
{
	const char *unit = r->period_ms >= 3600000 ? "h" : r->period_ms >= 60000 ? "m" : "s";

	if (r->rate)
		buffer_printf(out, "\t%s %" PRIu32 "/%s burst %" PRIu32 "\n", name, r->rate, unit, r->burst);
}

static void put_cidrs(struct buffer *out, const char *name, const struct ip_cidr *list, size_t n)
{
	char text[IP_TEXT_SIZE + 4];

	if (n == 0)
		return;
	buffer_add_string(out, name);
	for (size_t i = 0; i < n; i++)
		buffer_printf(out, " %s", ip_cidr_format(&list[i], text));
}

static void dump_global(const struct config_global *g, struct buffer *out)
{
	const struct config_log *l = &g->log;

	buffer_add_string(out, "global {\n");
	if (g->workers)
		put_number(out, "workers", g->workers);
	else
		buffer_add_string(out, "\tworkers auto\n");
	put_text(out, "user", g->user);
	put_text(out, "group", g->group);
	put_number(out, "max-connections", g->max_connections);
	put_text(out, "pid-file", g->pid_file);
	put_duration(out, "grace", g->grace_ms);
	buffer_printf(out, "\tsandbox %s\n", g->sandbox ? "on" : "off");
	buffer_printf(out, "\tlog %s", sink_names[l->sink]);
	if (l->sink == LOG_TO_FILE || l->sink == LOG_TO_SYSLOG) {
		buffer_add_char(out, ' ');
		quote_word(out, l->sink == LOG_TO_FILE ? l->path : l->syslog.text, false);
	}
	buffer_printf(out, " level %s format %s\n", level_names[l->level], format_names[l->format]);
	if (g->has_admin) {
		buffer_add_string(out, "\tadmin ");
		quote_word(out, g->admin.address.text, false);
		buffer_printf(out, " mode %04o\n", g->admin.socket_mode);
	}
	buffer_add_string(out, "}\n");
}

static void dump_aws(const struct config_aws *a, struct buffer *out)
{
	buffer_add_string(out, "\naws {\n");
	put_text(out, "region", a->region);
	buffer_printf(out, "\tcredentials %s", credential_names[a->credentials]);
	if (a->credentials == CREDENTIALS_PROFILE) {
		buffer_add_char(out, ' ');
		quote_word(out, a->profile, false);
	}
	buffer_add_char(out, '\n');
	put_text(out, "endpoint kms", a->endpoint_kms);
	put_text(out, "endpoint s3", a->endpoint_s3);
	put_text(out, "endpoint sts", a->endpoint_sts);
	put_text(out, "endpoint logs", a->endpoint_logs);
	put_text(out, "endpoint imds", a->endpoint_imds);
	put_text(out, "ca-file", a->ca_file);
	buffer_printf(out, "\tuse-fips %s\n\tuse-dualstack %s\n", a->use_fips ? "on" : "off",
		      a->use_dualstack ? "on" : "off");
	put_number(out, "max-requests", a->max_requests);
	buffer_add_string(out, "}\n");
}

static void dump_resolver(const struct config_resolver *r, struct buffer *out)
{
	buffer_add_string(out, "\nresolver {\n");
	for (size_t i = 0; i < r->n_servers; i++)
		put_text(out, "server", r->servers[i].text);
	put_text(out, "hosts", r->hosts);
	put_duration(out, "stale", r->stale_ms);
	buffer_add_string(out, "}\n");
}

static void put_name(struct buffer *out, const char *kind, const char *name)
{
	buffer_printf(out, "\n%s ", kind);
	quote_word(out, name, quote_is_reserved(name));
}

static void dump_enclave(const struct config_enclave *e, struct buffer *out)
{
	put_name(out, "enclave", e->name);
	buffer_printf(out, " {\n\tcid %" PRIu32 "\n", e->cid);
	put_number(out, "max-connections", e->max_connections);
	put_rate(out, "rate", &e->rate);
	put_size(out, "bandwidth", e->bandwidth, "/s");
	put_number(out, "max-lookups", e->max_lookups);
	buffer_add_string(out, "}\n");
}

static void dump_backend(const struct config_backend *b, struct buffer *out)
{
	put_name(out, "backend", b->name);
	buffer_add_string(out, " {\n");
	for (size_t i = 0; i < b->n_servers; i++) {
		const struct config_server *s = &b->servers[i];

		buffer_add_string(out, "\tserver ");
		quote_word(out, s->address.text, false);
		buffer_printf(out, " weight %" PRIu32 "%s", s->weight, s->backup ? " backup" : "");
		if (s->max_connections)
			buffer_printf(out, " max-connections %" PRIu32, s->max_connections);
		buffer_add_char(out, '\n');
	}
	buffer_printf(out, "\tbalance %s\n", balance_names[b->balance]);
	if (b->check != CHECK_NONE) {
		buffer_printf(out, "\tcheck %s", check_names[b->check]);
		if (b->check == CHECK_HTTP) {
			buffer_add_char(out, ' ');
			quote_word(out, b->check_path, false);
		}
		buffer_add_string(out, " every ");
		put_duration_value(out, b->check_every_ms);
		buffer_printf(out, " rise %u fall %u\n", b->check_rise, b->check_fall);
	}
	if (b->send_proxy)
		buffer_printf(out, "\tsend-proxy v%u\n", b->send_proxy);
	buffer_printf(out, "\tconnect-retries %u\n", b->connect_retries);
	if (b->connect_ms != UINT32_MAX)
		put_duration(out, "timeout connect", b->connect_ms);
	if (b->idle_ms != UINT32_MAX)
		put_duration(out, "timeout idle", b->idle_ms);
	buffer_add_string(out, "}\n");
}

static void dump_listen(const struct config_listen *l, struct buffer *out)
{
	buffer_add_string(out, "\tlisten ");
	quote_word(out, l->address.text, false);
	put_cidrs(out, " accept-proxy from", l->accept_proxy_from, l->n_accept_proxy_from);
	if (l->as) {
		buffer_add_string(out, " as ");
		quote_word(out, l->as->name, quote_is_reserved(l->as->name));
	}
	if (l->address.kind == ADDRESS_UNIX)
		buffer_printf(out, " mode %04o", l->socket_mode);
	buffer_add_char(out, '\n');
}

static void dump_timeouts(const struct config_timeouts *t, struct buffer *out)
{
	put_duration(out, "timeout hello", t->hello_ms);
	put_duration(out, "timeout connect", t->connect_ms);
	put_duration(out, "timeout idle", t->idle_ms);
	put_duration(out, "timeout stalled", t->stalled_ms);
	put_duration(out, "timeout half-closed", t->half_closed_ms);
	put_duration(out, "timeout lifetime", t->lifetime_ms);
	if (t->request_ms)
		put_duration(out, "timeout request", t->request_ms);
}

/* What only some modes have. */
static void dump_mode(const struct config_frontend *f, struct buffer *out)
{
	if (f->mode == MODE_HTTP) {
		buffer_printf(out, "\tforwarded %s\n", f->forwarded ? "on" : "off");
	} else if (f->mode == MODE_EGRESS) {
		buffer_printf(out, "\tprotocol %s\n\taddress-policy %s\n", protocol_names[f->protocol],
			      f->address_policy ? "on" : "off");
	} else if (f->mode == MODE_KMS) {
		if (f->require_recipient)
			buffer_add_string(out, "\trequire recipient\n");
		put_size(out, "request-size", f->request_size, "");
		put_number(out, "max-requests", f->max_requests);
		if (f->store != STORE_NONE)
			put_text(out, f->store == STORE_S3 ? "store s3" : "store dir", f->store_where);
	}
}

static void dump_frontend(const struct config_frontend *f, struct buffer *out)
{
	put_name(out, "frontend", f->name);
	buffer_printf(out, " mode %s {\n", config_mode_name(f->mode));
	for (size_t i = 0; i < f->n_listens; i++)
		dump_listen(&f->listens[i], out);
	put_number(out, "max-connections", f->max_connections);
	put_rate(out, "rate per-source", &f->rate_per_source);
	put_cidrs(out, "\tallow-from", f->allow_from, f->n_allow_from);
	buffer_add_string(out, f->n_allow_from ? "\n" : "");
	put_cidrs(out, "\tdeny-from", f->deny_from, f->n_deny_from);
	buffer_add_string(out, f->n_deny_from ? "\n" : "");
	buffer_printf(out, "\tlog %s\n", f->log ? "on" : "off");
	dump_timeouts(&f->timeouts, out);
	put_size(out, "buffer", f->buffer_size, "");
	dump_mode(f, out);
	for (size_t i = 0; i < f->n_rules; i++)
		buffer_printf(out, "\t%s\n", f->rules[i].text);
	buffer_add_string(out, "}\n");
}

void config_dump(const struct config *c, struct buffer *out)
{
	dump_global(&c->global, out);
	dump_aws(&c->aws, out);
	dump_resolver(&c->resolver, out);
	for (size_t i = 0; i < c->n_enclaves; i++)
		dump_enclave(&c->enclaves[i], out);
	for (size_t i = 0; i < c->n_backends; i++)
		dump_backend(&c->backends[i], out);
	for (size_t i = 0; i < c->n_frontends; i++)
		dump_frontend(&c->frontends[i], out);
}

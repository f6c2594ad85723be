/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements that are settings: the table's types, and those with words of their
 * own (listen, server, log, ...).
 */
#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "config/keywords.h"
#include "config/model.h"
#include "config/values.h"

/* The words of a statement, taken one by one. */
struct cursor {
	struct model *m;
	const struct ast_item *item;
	struct span last;	/* the word before, for "expected X behind" */
	const char *what;	/* the setting */
};

static bool word_is(const struct ast_item *item, const char *text)
{
	return item && item->kind == ITEM_WORD && item->word.quote == QUOTE_NONE &&
	       strcmp(item->word.value, text) == 0;
}

/* The next word, or NULL with a diagnostic that says what was expected. */
static const struct ast_word *take(struct cursor *c, const char *expected)
{
	const struct ast_word *w;

	if (!c->item) {
		diag_error(c->m->diags, "expected-value", c->last, "expected %s behind this word", expected);
		return NULL;
	}
	if (c->item->kind != ITEM_WORD) {
		diag_error(c->m->diags, "expected-value", c->item->word.span, "expected %s", expected);
		return NULL;
	}
	w = &c->item->word;
	c->last = w->span;
	c->item = c->item->next;
	return w;
}

static bool take_if(struct cursor *c, const char *text)
{
	if (!word_is(c->item, text))
		return false;
	c->last = c->item->word.span;
	c->item = c->item->next;
	return true;
}

void check_nothing_more(struct model *m, const struct ast_item *item, const char *what)
{
	if (!item)
		return;
	if (item->kind == ITEM_ARROW)
		diag_error(m->diags, "unexpected-word", item->word.span, "\"%s\" is a setting and takes no \"->\"", what);
	else
		diag_error(m->diags, "unexpected-word", item->word.span, "expected the end of \"%s\" here", what);
}

static bool remember(struct model *m, struct model_section *section, const struct keyword *k,
		     const char *key, struct span span)
{
	struct model_setting *set;

	for (set = section->settings; set; set = set->next) {
		struct diagnostic *d;

		if (set->keyword != k || (k->repeats && (!key || strcmp(key, set->key) != 0)))
			continue;
		d = diag_error(m->diags, "duplicate-setting", span, "\"%s%s%s\" is given twice", k->name,
			       key ? " " : "", key ? key : "");
		diagnostics_note(m->diags, d, set->span, "it is given here first");
		return false;
	}
	set = arena_alloc(m->arena, sizeof(*set));
	*set = (struct model_setting){ k, key ? key : "", span, section->settings };
	section->settings = set;
	return true;
}

/* CIDR... or { CIDR... } up to the end or a word of ends. */
static size_t take_cidrs(struct cursor *c, const struct ip_cidr **ret)
{
	size_t n = 0, got = 0;
	struct ip_cidr *list;

	for (const struct ast_item *i = c->item; i; i = i->next)
		n++;
	list = arena_calloc(c->m->out, n ? n : 1, sizeof(*list));
	if (n == 0)
		diag_error(c->m->diags, "expected-value", c->last, "expected an address or a prefix behind this word");
	while (c->item && !word_is(c->item, "as") && !word_is(c->item, "mode")) {
		if (c->item->kind == ITEM_WORD) {
			if (value_cidr(c->m, &c->item->word, &list[got]))
				got++;
		} else if (c->item->kind == ITEM_ARROW) {
			break;
		}
		c->last = c->item->word.span;
		c->item = c->item->next;
	}
	*ret = list;
	return got;
}

static void take_rate(struct cursor *c, const struct keyword *k, struct config_rate *ret)
{
	const struct ast_word *w = take(c, "a rate such as 100/s");
	struct config_rate rate = { 0 };
	uint64_t burst;

	if (!w || !value_rate(c->m, w, k->name, k->max, &rate))
		return;
	rate.burst = rate.rate;
	if (take_if(c, "burst")) {
		w = take(c, "a number");
		if (!w || !value_number(c->m, w, "burst", 1, k->max, &burst))
			return;
		rate.burst = (uint32_t)burst;
	}
	*ret = rate;
}

/* --- settings with words of their own --- */

static void other_log(struct cursor *c, struct config_log *log)
{
	const struct ast_word *w;
	int choice;

	w = take(c, "stderr, none, file PATH, syslog ADDRESS or journal");
	if (!w || !value_choice(c->m, w, "log", "stderr none file syslog journal", &choice))
		return;
	log->sink = (enum config_log_sink)choice;
	if (log->sink == LOG_TO_FILE) {
		w = take(c, "a path");
		if (!w)
			return;
		log->path = arena_strdup(c->m->out, w->value);
	} else if (log->sink == LOG_TO_SYSLOG) {
		w = take(c, "an address such as unix:/dev/log or 127.0.0.1:514");
		if (!w || !value_address(c->m, w, ADDRESS_TO_DIAL, &log->syslog))
			return;
		if (log->syslog.kind != ADDRESS_UNIX && log->syslog.kind != ADDRESS_UNIX_ABSTRACT &&
		    log->syslog.kind != ADDRESS_TCP_IP) {
			diag_error(c->m->diags, "bad-address", w->span,
				   "syslog is sent to unix:PATH or to IP:PORT (datagrams), got \"%s\"", w->value);
			return;
		}
	}
	while (c->item) {
		if (take_if(c, "level")) {
			w = take(c, "a level");
			if (!w || !value_choice(c->m, w, "level", "error warning notice info debug", &choice))
				return;
			log->level = (enum config_log_level)choice;
		} else if (take_if(c, "format")) {
			w = take(c, "a format");
			if (!w || !value_choice(c->m, w, "format", "logfmt json text", &choice))
				return;
			log->format = (enum config_log_format)choice;
		} else {
			return;
		}
	}
}

static void other_admin(struct cursor *c, struct model *m)
{
	const struct ast_word *w = take(c, "unix:PATH");
	struct config_listen l = { .socket_mode = 0660 };

	if (!w || !value_address(m, w, ADDRESS_TO_LISTEN, &l.address))
		return;
	if (l.address.kind != ADDRESS_UNIX) {
		diag_error(m->diags, "bad-address", w->span, "the admin socket is unix:PATH, got \"%s\"", w->value);
		return;
	}
	if (take_if(c, "mode") && (!(w = take(c, "an octal mode")) || !value_file_mode(m, w, &l.socket_mode)))
		return;
	m->global.has_admin = true;
	m->global.admin = l;
}

static void other_credentials(struct cursor *c, struct config_aws *aws)
{
	const struct ast_word *w = take(c, "auto, env, profile NAME, imds, container or web-identity");
	int choice;

	if (!w || !value_choice(c->m, w, "credentials", "auto env profile imds container web-identity", &choice))
		return;
	aws->credentials = (enum config_credentials)choice;
	if (aws->credentials == CREDENTIALS_PROFILE && (w = take(c, "the profile's name")))
		aws->profile = arena_strdup(c->m->out, w->value);
}

static void other_endpoint(struct cursor *c, struct model_section *section, const struct keyword *k,
			   struct config_aws *aws)
{
	const char **const where[] = { &aws->endpoint_kms, &aws->endpoint_s3, &aws->endpoint_sts,
				       &aws->endpoint_logs, &aws->endpoint_imds };
	const struct ast_word *service = take(c, "kms, s3, sts, logs or imds"), *w;
	int choice;

	if (!service || !value_choice(c->m, service, "endpoint", "kms s3 sts logs imds", &choice))
		return;
	w = take(c, "a URL");
	if (!w)
		return;
	if (strncmp(w->value, "https://", 8) != 0 && strncmp(w->value, "http://", 7) != 0) {
		diag_error(c->m->diags, "bad-url", w->span, "an endpoint is a URL that begins with https:// or http://, got \"%s\"",
			   w->value);
		return;
	}
	if (remember(c->m, section, k, service->value, w->span))
		*where[choice] = arena_strdup(c->m->out, w->value);
}

static void other_resolver_server(struct cursor *c)
{
	struct model *m = c->m;
	struct address *list;

	if (!c->item)
		take(c, "an address");
	while (c->item) {
		struct ast_word w;
		const struct ast_word *word = take(c, "an address");
		struct ip_addr ip;

		if (!word)
			return;
		w = *word;
		if (ip_parse(slice_of(w.value, w.value_len), &ip)) { /* port 53 unless said */
			w.value = arena_printf(m->arena, strchr(w.value, ':') ? "[%s]:53" : "%s:53", w.value);
			w.value_len = strlen(w.value);
		}
		list = arena_calloc(m->out, m->n_resolver_servers + 1, sizeof(*list));
		if (m->n_resolver_servers)
			memcpy(list, m->resolver_servers, m->n_resolver_servers * sizeof(*list));
		if (!value_address(m, &w, ADDRESS_TO_DIAL, &list[m->n_resolver_servers]))
			continue;
		if (list[m->n_resolver_servers].kind != ADDRESS_TCP_IP) {
			diag_error(m->diags, "bad-address", w.span, "a name server is an IP address, with a port if it is not 53; got \"%s\"",
				   word->value);
			continue;
		}
		m->resolver_servers = list;
		m->n_resolver_servers++;
	}
}

static void other_backend_server(struct cursor *c, struct model_backend *b)
{
	struct model_server *s = arena_alloc(c->m->arena, sizeof(*s));
	const struct ast_word *w = take(c, "an address");
	uint64_t v;

	if (!w || !value_address(c->m, w, ADDRESS_TO_DIAL, &s->out.address))
		return;
	s->span = w->span;
	s->out.weight = 1;
	for (struct model_server *o = b->servers; o; o = o->next) {
		if (strcmp(o->out.address.text, s->out.address.text) == 0) {
			struct diagnostic *d = diag_error(c->m->diags, "duplicate-server", w->span,
							  "server \"%s\" stands twice in backend \"%s\"", w->value,
							  b->section.name);

			diagnostics_note(c->m->diags, d, o->span, "it is here first");
			return;
		}
	}
	while (c->item) {
		if (take_if(c, "weight")) {
			if (!(w = take(c, "a number")) || !value_number(c->m, w, "weight", 1, 256, &v))
				return;
			s->out.weight = (uint32_t)v;
		} else if (take_if(c, "backup")) {
			s->out.backup = true;
		} else if (take_if(c, "max-connections")) {
			if (!(w = take(c, "a number")) || !value_number(c->m, w, "max-connections", 1, 10000000, &v))
				return;
			s->out.max_connections = (uint32_t)v;
		} else {
			break;
		}
	}
	*b->last_server = s;
	b->last_server = &s->next;
	b->n_servers++;
}

static void other_check(struct cursor *c, struct config_backend *b)
{
	const struct ast_word *w = take(c, "tcp, tls or http PATH");
	int choice;
	uint64_t v;

	if (!w || !value_choice(c->m, w, "check", "tcp tls http", &choice))
		return;
	b->check = CHECK_TCP + (unsigned)choice;
	if (b->check == CHECK_HTTP) {
		w = take(c, "a path");
		if (!w)
			return;
		if (w->value[0] != '/') {
			diag_error(c->m->diags, "bad-path", w->span, "a path begins with \"/\", got \"%s\"", w->value);
			return;
		}
		b->check_path = arena_strdup(c->m->out, w->value);
	}
	while (c->item) {
		if (take_if(c, "every")) {
			if (!(w = take(c, "a duration")) ||
			    !value_duration(c->m, w, "every", 100, 3600000, false, &b->check_every_ms))
				return;
		} else if (word_is(c->item, "rise") || word_is(c->item, "fall")) {
			unsigned *into = take_if(c, "rise") ? &b->check_rise : (take_if(c, "fall"), &b->check_fall);

			if (!(w = take(c, "a number")) || !value_number(c->m, w, "rise and fall", 1, 100, &v))
				return;
			*into = (unsigned)v;
		} else {
			return;
		}
	}
}

/* No address twice, whoever listens there. */
static void add_listen(struct model *m, struct model_frontend *f, struct model_listen *l, const char *text)
{
	for (struct model_frontend *o = m->frontends; o; o = o->next) {
		for (struct model_listen *p = o->listens; p; p = p->next) {
			struct diagnostic *d;

			if (strcmp(p->out.address.text, l->out.address.text) != 0)
				continue;
			d = diag_error(m->diags, "duplicate-listen", l->span, "\"%s\" is listened on twice", text);
			diagnostics_note(m->diags, d, p->span, "frontend \"%s\" listens here", o->section.name);
			f->faulty_listen = true;
			return;
		}
	}
	*f->last_listen = l;
	f->last_listen = &l->next;
	f->n_listens++;
}

static bool read_listen(struct cursor *c, struct model_frontend *f)
{
	struct model_listen *l = arena_alloc(c->m->arena, sizeof(*l));
	const struct ast_word *w = take(c, "an address"), *address = w;
	struct route_who who;

	l->out.socket_mode = 0660;
	if (!w || !value_address(c->m, w, ADDRESS_TO_LISTEN, &l->out.address)) {
		c->item = NULL;
		return false;
	}
	l->span = w->span;
	l->out.place = (struct config_place){ w->span.source->name, w->span.line, w->span.column };
	while (c->item) {
		if (take_if(c, "accept-proxy")) {
			if (!take_if(c, "from")) {
				diag_error(c->m->diags, "expected-value", c->last,
					   "expected \"from CIDR...\" behind \"accept-proxy\": whoever may speak for others is named");
				return false;
			}
			l->out.n_accept_proxy_from = take_cidrs(c, &l->out.accept_proxy_from);
		} else if (take_if(c, "as")) {
			if (!(w = take(c, "an enclave's name")) || !value_who(c->m, w, &who))
				return false;
			if (l->out.address.kind != ADDRESS_UNIX && l->out.address.kind != ADDRESS_UNIX_ABSTRACT) {
				diag_error(c->m->diags, "bad-as", w->span,
					   "\"as\" is for unix: listeners; on vsock the kernel vouches, and on TCP nobody can");
				return false;
			}
			for (struct model_enclave *e = c->m->enclaves; e; e = e->next) {
				if (strcmp(e->section.name, w->value) == 0)
					l->out.as = &e->out; /* config_lower() points it at the final one */
			}
			if (!l->out.as) {
				diag_error(c->m->diags, "bad-as", w->span, "expected an enclave's name, got \"%s\"", w->value);
				return false;
			}
		} else if (take_if(c, "mode")) {
			if (!(w = take(c, "an octal mode")) || !value_file_mode(c->m, w, &l->out.socket_mode))
				return false;
			if (l->out.address.kind != ADDRESS_UNIX) {
				diag_error(c->m->diags, "bad-file-mode", w->span, "\"mode\" is for unix: listeners with a path");
				return false;
			}
		} else {
			break;
		}
	}
	add_listen(c->m, f, l, address->value);
	return true;
}

static void other_listen(struct cursor *c, struct model_frontend *f)
{
	f->faulty_listen |= !read_listen(c, f);
}

static void other_store(struct cursor *c, struct config_frontend *f)
{
	const struct ast_word *w = take(c, "dir PATH or s3 BUCKET");
	int choice;

	if (!w || !value_choice(c->m, w, "store", "dir s3", &choice) || !(w = take(c, choice ? "a bucket" : "a path")))
		return;
	f->store = choice ? STORE_S3 : STORE_DIR;
	f->store_where = arena_strdup(c->m->out, w->value);
}

static void check_other(struct cursor *c, struct model_section *section, const struct keyword *k)
{
	struct model *m = c->m;
	struct model_frontend *f = (struct model_frontend *)section;
	struct model_backend *b = (struct model_backend *)section;

	if (k->section == SECTION_GLOBAL && strcmp(k->name, "log") == 0)
		other_log(c, &m->global.log);
	else if (k->section == SECTION_GLOBAL)
		other_admin(c, m);
	else if (k->section == SECTION_AWS && strcmp(k->name, "endpoint") == 0)
		other_endpoint(c, section, k, &m->aws);
	else if (k->section == SECTION_AWS)
		other_credentials(c, &m->aws);
	else if (k->section == SECTION_RESOLVER)
		other_resolver_server(c);
	else if (k->section == SECTION_BACKEND && strcmp(k->name, "server") == 0)
		other_backend_server(c, b);
	else if (k->section == SECTION_BACKEND)
		other_check(c, &b->out);
	else if (strcmp(k->name, "listen") == 0)
		other_listen(c, f);
	else if (strcmp(k->name, "store") == 0)
		other_store(c, &f->out);
	else if (take_if(c, "recipient"))
		f->out.require_recipient = true;
	else if (take(c, "\"recipient\""))
		diag_error(m->diags, "bad-choice", c->last, "expected \"recipient\": nothing else can be required");
}

void check_setting(struct model *m, struct model_section *section, const struct keyword *k,
		   unsigned name_words, const struct ast_statement *st, void *object)
{
	struct cursor c = { m, st->first, st->first->word.span, k->name };
	char *field = (char *)object + k->offset;
	const struct ast_word *w;
	unsigned before = m->diags->n_errors;
	uint64_t v;

	while (name_words-- > 0) {
		c.last = c.item->word.span;
		c.item = c.item->next;
	}
	if (!k->repeats && !remember(m, section, k, NULL, st->span))
		return;
	switch (k->type) {
	case TYPE_OTHER:
		check_other(&c, section, k);
		break;
	case TYPE_CIDRS:
		*(size_t *)(void *)(field + sizeof(void *)) =
			take_cidrs(&c, (const struct ip_cidr **)(void *)field);
		break;
	case TYPE_RATE:
		take_rate(&c, k, (struct config_rate *)(void *)field);
		break;
	case TYPE_NUMBER:
	case TYPE_WORKERS:
		w = take(&c, "a number");
		if (w && k->type == TYPE_WORKERS && strcmp(w->value, "auto") == 0)
			*(uint32_t *)(void *)field = 0;
		else if (w && value_number(m, w, k->name, k->min, k->max, &v))
			*(uint32_t *)(void *)field = (uint32_t)v;
		break;
	case TYPE_SIZE:
		w = take(&c, "a size such as 64k");
		if (w && value_size(m, w, k->name, k->min, k->max, &v))
			*(uint32_t *)(void *)field = (uint32_t)v;
		break;
	case TYPE_BANDWIDTH:
		w = take(&c, "a size a second, such as 10m/s");
		if (w && value_bandwidth(m, w, k->name, k->min, k->max, &v))
			*(uint64_t *)(void *)field = v;
		break;
	case TYPE_DURATION:
		w = take(&c, "a duration such as 10s");
		if (w)
			value_duration(m, w, k->name, k->min, k->max, k->off, (uint32_t *)(void *)field);
		break;
	case TYPE_ON_OFF:
		w = take(&c, "on or off");
		if (w)
			value_on_off(m, w, k->name, (bool *)field);
		break;
	case TYPE_CHOICE:
		w = take(&c, k->choices);
		if (w)
			value_choice(m, w, k->name, k->choices, (int *)(void *)field);
		break;
	case TYPE_STRING:
		w = take(&c, "a word");
		if (w)
			*(const char **)(void *)field = arena_strdup(m->out, w->value);
		break;
	case TYPE_RULE:
		break;
	}
	if (m->diags->n_errors == before)
		check_nothing_more(m, c.item, k->name);
}

void check_preset_listens(struct model *m)
{
	static const struct {
		enum config_mode mode;
		struct address address;
	} presets[] = {
		{ MODE_HTTP, { .kind = ADDRESS_TCP_ANY, .port = 80, .text = "*:80" } },
		{ MODE_HTTPS, { .kind = ADDRESS_TCP_ANY, .port = 443, .text = "*:443" } },
		{ MODE_KMS, { .kind = ADDRESS_VSOCK, .cid = ADDRESS_CID_ANY, .port = 5000, .text = "vsock:*:5000" } },
		{ MODE_EGRESS, { .kind = ADDRESS_VSOCK, .cid = ADDRESS_CID_ANY, .port = 8444, .text = "vsock:*:8444" } },
		{ MODE_CONFIG, { .kind = ADDRESS_VSOCK, .cid = ADDRESS_CID_ANY, .port = 5555, .text = "vsock:*:5555" } },
		{ MODE_LOGS, { .kind = ADDRESS_VSOCK, .cid = ADDRESS_CID_ANY, .port = 5001, .text = "vsock:*:5001" } },
	};

	for (struct model_frontend *f = m->frontends; f; f = f->next) {
		size_t i, n = sizeof(presets) / sizeof(presets[0]);
		struct model_listen *l;

		if (f->n_listens > 0 || f->faulty_listen || f->out.mode == MODE_COUNT)
			continue;
		for (i = 0; i < n && presets[i].mode != f->out.mode; i++)
			;
		if (i == n || strcmp(f->section.name, config_mode_name(f->out.mode)) != 0) {
			diag_error(m->diags, "listens-nowhere", f->section.span,
				   "frontend \"%s\" listens nowhere; expected \"listen ADDRESS\" in it",
				   f->section.name);
			continue;
		}
		l = arena_alloc(m->arena, sizeof(*l));
		l->out.address = presets[i].address;
		l->out.socket_mode = 0660;
		l->span = f->section.span;
		add_listen(m, f, l, l->out.address.text);
	}
}

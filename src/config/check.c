/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree becomes a model: sections of one name are merged, every statement is
 * looked up in the keyword table, every fault is found and not only the first.
 *
 * Enclaves come first and backends second, so that rules may name them wherever
 * they are defined.
 */
#include <config.h>

#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "config/keywords.h"
#include "config/load.h"
#include "config/model.h"
#include "config/quote.h"
#include "config/values.h"

static const char *const mode_names[MODE_COUNT] = {
	[MODE_HTTP] = "http",	  [MODE_HTTPS] = "https",   [MODE_TCP] = "tcp",	  [MODE_KMS] = "kms",
	[MODE_EGRESS] = "egress", [MODE_CONFIG] = "config", [MODE_LOGS] = "logs", [MODE_STATUS] = "status",
};

const char *config_mode_name(enum config_mode mode)
{
	return mode < MODE_COUNT ? mode_names[mode] : "?";
}

static bool find_mode(const char *name, enum config_mode *ret)
{
	for (unsigned i = 0; i < MODE_COUNT; i++) {
		if (strcmp(mode_names[i], name) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}

/* A thing's name: [A-Za-z_][A-Za-z0-9_.-]*, and no word of the language unless quoted. */
static bool check_name(struct model *m, const struct ast_word *w)
{
	size_t i = 0;

	for (; w->value[i]; i++) {
		char c = ascii_lower(w->value[i]);

		if (!((c >= 'a' && c <= 'z') || c == '_' ||
		      (i > 0 && ((c >= '0' && c <= '9') || c == '.' || c == '-'))))
			break;
	}
	if (w->value_len == 0)
		return false; /* the parser has told */
	if (w->value[i]) {
		diag_error(m->diags, "bad-name", w->span,
			   "a name begins with a letter or \"_\" and goes on with these, digits, \".\" and \"-\"; got \"%s\"",
			   w->value);
		return false;
	}
	if (w->quote == QUOTE_NONE && quote_is_reserved(w->value)) {
		diag_error(m->diags, "reserved-name", w->span,
			   "\"%s\" is a word of the language; quote it, or choose another name", w->value);
		return false;
	}
	return true;
}

const struct model_setting *model_find_setting(const struct model_section *s, const char *name)
{
	for (const struct model_setting *set = s->settings; set; set = set->next) {
		if (strcmp(set->keyword->name, name) == 0)
			return set;
	}
	return NULL;
}

static void unknown_statement(struct model *m, enum keyword_section section, const char *section_name,
			      const struct ast_statement *st)
{
	const struct ast_word *w = &st->first->word;
	const char *alias = keyword_alias(w->value), *second = NULL, *text = w->value;
	struct suggestion near;
	struct span at = w->span;

	if (st->first->next && st->first->next->kind == ITEM_WORD)
		second = st->first->next->word.value;
	if (second && (strcmp(text, "timeout") == 0 || strcmp(text, "rate") == 0))
		text = arena_printf(m->arena, "%s %s", text, second);
	suggest_init(&near, text);
	for (size_t i = 0; i < n_keywords; i++) {
		const char *name = keywords[i].name, *blank = strchr(name, ' ');

		if (keywords[i].section != section)
			continue;
		suggest_consider(&near, name);
		if (blank && !strchr(text, ' '))
			suggest_consider(&near, arena_copy_slice(m->arena,
								slice_of(name, (size_t)(blank - name))));
		else if (blank && !near.best && strncmp(text, name, (size_t)(blank - name) + 1) == 0)
			near.best = name; /* the first word is right: any of its seconds */
	}
	/* Of two words, the one that is wrong. */
	if (suggest_result(&near) && text != w->value && strncmp(suggest_result(&near), text, strcspn(text, " ") + 1) == 0)
		at = st->first->next->word.span;
	if (suggest_result(&near))
		diag_error(m->diags, "unknown-keyword", at, "unknown keyword \"%s\" in \"%s\"; did you mean \"%s\"?",
			   text, section_name, suggest_result(&near));
	else if (alias)
		diag_error(m->diags, "unknown-keyword", w->span, "unknown keyword \"%s\" in \"%s\"; %s", text,
			   section_name, alias);
	else
		diag_error(m->diags, "unknown-keyword", w->span, "unknown keyword \"%s\" in \"%s\"", text,
			   section_name);
}

/* Looks a statement up; adds a diagnostic where it is none of this section. */
static const struct keyword *find_keyword(struct model *m, enum keyword_section section,
					  const char *section_name, const struct ast_statement *st,
					  unsigned *ret_words)
{
	const struct ast_item *first = st->first, *next = first->next;
	const struct keyword *k = NULL;

	if (first->kind != ITEM_WORD) {
		diag_error(m->diags, "expected-keyword", first->word.span,
			   first->kind == ITEM_ARROW ? "a rule begins with what it matches, or with \"default\"" :
						       "a statement begins with a keyword");
		return NULL;
	}
	if (first->word.quote != QUOTE_NONE) {
		diag_error(m->diags, "expected-keyword", first->word.span,
			   "a quoted string is never a keyword");
		return NULL;
	}
	k = keyword_find(section, first->word.value,
			 next && next->kind == ITEM_WORD ? next->word.value : NULL, ret_words);
	if (!k)
		unknown_statement(m, section, section_name, st);
	return k;
}

static void check_settings(struct model *m, struct model_section *section, enum keyword_section kind,
			   const char *kind_name, const struct ast_node *node, void *object)
{
	for (const struct ast_statement *st = node->body.first; st; st = st->next) {
		unsigned words;
		const struct keyword *k = find_keyword(m, kind, kind_name, st, &words);

		if (k)
			check_setting(m, section, k, words, st, object);
	}
}

static void section_init(struct model_section *s, const struct ast_word *name)
{
	if (!s->name) {
		s->name = name->value ? name->value : name->text;
		s->span = name->span;
	}
}

static void check_enclave(struct model *m, const struct ast_node *node)
{
	struct model_enclave *e;

	if (!check_name(m, &node->name))
		return;
	e = map_get(&m->enclave_names, slice_of(node->name.value, node->name.value_len));
	if (!e) {
		e = arena_alloc(m->arena, sizeof(*e));
		section_init(&e->section, &node->name);
		e->out.max_lookups = 256;
		map_put(&m->enclave_names, slice_of(node->name.value, node->name.value_len), e);
		*m->last_enclave = e;
		m->last_enclave = &e->next;
		e->out.number = (unsigned)m->n_enclaves++;
	}
	check_settings(m, &e->section, SECTION_ENCLAVE, "enclave", node, &e->out);
}

static void check_enclaves_whole(struct model *m)
{
	for (struct model_enclave *e = m->enclaves; e; e = e->next) {
		if (!model_find_setting(&e->section, "cid")) {
			diag_error(m->diags, "missing-setting", e->section.span,
				   "enclave \"%s\" has no cid: expected enclave %s cid N", e->section.name,
				   e->section.name);
			continue;
		}
		for (struct model_enclave *o = m->enclaves; o != e; o = o->next) {
			struct diagnostic *d;

			if (o->out.cid != e->out.cid || !model_find_setting(&o->section, "cid"))
				continue;
			d = diag_error(m->diags, "duplicate-cid", e->section.span,
				       "enclave \"%s\" has CID %u, as \"%s\" has", e->section.name, e->out.cid,
				       o->section.name);
			diagnostics_note(m->diags, d, o->section.span, "\"%s\" is defined here",
					 o->section.name);
		}
	}
}

static struct model_backend *backend_for(struct model *m, const struct ast_node *node)
{
	struct slice name = slice_of(node->name.value, node->name.value_len);
	struct model_backend *b = map_get(&m->backend_names, name);

	if (b)
		return b;
	b = arena_alloc(m->arena, sizeof(*b));
	section_init(&b->section, &node->name);
	b->last_server = &b->servers;
	b->out.connect_retries = 1;
	b->out.connect_ms = b->out.idle_ms = UINT32_MAX;
	b->out.check_every_ms = 5000;
	b->out.check_rise = 2;
	b->out.check_fall = 3;
	map_put(&m->backend_names, name, b);
	*m->last_backend = b;
	m->last_backend = &b->next;
	b->out.number = (unsigned)m->n_backends++;
	return b;
}

static void check_backend(struct model *m, const struct ast_node *node)
{
	struct model_backend *b;

	if (!check_name(m, &node->name))
		return;
	b = backend_for(m, node);
	check_settings(m, &b->section, SECTION_BACKEND, "backend", node, &b->out);
}

static void check_defaults(struct model *m, const struct ast_node *node)
{
	struct model_defaults *d = &m->defaults_all;
	enum config_mode mode;

	if (node->name.value_len == 0)
		return;
	if (strcmp(node->name.value, "all") != 0) {
		if (!find_mode(node->name.value, &mode)) {
			diag_error(m->diags, "unknown-mode", node->name.span,
				   "expected defaults for all, %s; got \"%s\"", keyword_modes(),
				   node->name.value);
			return;
		}
		d = &m->defaults[mode];
	}
	section_init(&d->section, &node->name);
	check_settings(m, &d->section, SECTION_DEFAULTS, "defaults", node, d);
}

static void frontend_mode(struct model *m, struct model_frontend *f, const struct ast_node *node)
{
	const struct ast_word *w = &node->mode;
	enum config_mode mode;
	struct diagnostic *d;

	if (!w->text || w->value_len == 0)
		return;
	if (!find_mode(w->value, &mode)) {
		struct suggestion near;

		suggest_init(&near, w->value);
		for (unsigned i = 0; i < MODE_COUNT; i++)
			suggest_consider(&near, mode_names[i]);
		if (suggest_result(&near))
			diag_error(m->diags, "unknown-mode", w->span, "unknown mode \"%s\"; did you mean \"%s\"?",
				   w->value, suggest_result(&near));
		else
			diag_error(m->diags, "unknown-mode", w->span, "unknown mode \"%s\"; expected %s",
				   w->value, keyword_modes());
		f->mode_known = true; /* told: the name is not looked at for one */
		f->out.mode = MODE_COUNT;
	} else if (f->mode_known && f->out.mode != mode && f->out.mode != MODE_COUNT) {
		d = diag_error(m->diags, "conflicting-mode", w->span, "frontend \"%s\" has mode %s already",
			       f->section.name, mode_names[f->out.mode]);
		diagnostics_note(m->diags, d, f->mode_span, "it is said here");
	} else {
		f->mode_known = true;
		f->mode_span = w->span;
		f->out.mode = mode;
	}
}

static struct model_frontend *frontend_for(struct model *m, const struct ast_node *node)
{
	struct slice name = slice_of(node->name.value, node->name.value_len);
	struct model_frontend *f = map_get(&m->frontend_names, name);

	if (!f) {
		f = arena_alloc(m->arena, sizeof(*f));
		section_init(&f->section, &node->name);
		f->last_listen = &f->listens;
		f->last_rule = &f->rules;
		f->out.log = f->out.forwarded = f->out.address_policy = true;
		f->out.request_size = 1u << 20;
		f->out.max_requests = 64;
		map_put(&m->frontend_names, name, f);
		*m->last_frontend = f;
		m->last_frontend = &f->next;
		f->out.number = (unsigned)m->n_frontends++;
	}
	frontend_mode(m, f, node);
	return f;
}

static bool frontend_has_mode(struct model *m, struct model_frontend *f)
{
	struct suggestion near;

	if (f->mode_known)
		return f->out.mode != MODE_COUNT;
	f->mode_known = true;
	f->mode_span = f->section.span;
	if (find_mode(f->section.name, &f->out.mode))
		return true;
	f->out.mode = MODE_COUNT;
	suggest_init(&near, f->section.name);
	for (unsigned i = 0; i < MODE_COUNT; i++)
		suggest_consider(&near, mode_names[i]);
	if (suggest_result(&near))
		diag_error(m->diags, "missing-mode", f->section.span,
			   "frontend \"%s\" has no mode; did you mean \"%s\", or \"frontend %s mode MODE\"?",
			   f->section.name, suggest_result(&near), f->section.name);
	else
		diag_error(m->diags, "missing-mode", f->section.span,
			   "frontend \"%s\" has no mode; expected \"frontend %s mode MODE\", or a mode for a name: %s",
			   f->section.name, f->section.name, keyword_modes());
	return false;
}

static bool keyword_fits_mode(struct model *m, const struct keyword *k, const struct model_frontend *f,
			      const struct ast_statement *st)
{
	struct buffer modes = BUFFER_INIT;

	if (!k->modes || (k->modes & (1u << f->out.mode)))
		return true;
	for (unsigned i = 0; i < MODE_COUNT; i++) {
		if (k->modes & (1u << i))
			buffer_printf(&modes, "%s%s", modes.len ? ", " : "", mode_names[i]);
	}
	diag_error(m->diags, "wrong-mode", st->first->word.span,
		   "\"%s\" means nothing in mode %s; it is for mode %s", k->name, mode_names[f->out.mode],
		   modes.ptr);
	buffer_fini(&modes);
	return false;
}

static void check_frontend(struct model *m, const struct ast_node *node)
{
	struct model_frontend *f = map_get(&m->frontend_names, slice_of(node->name.value, node->name.value_len));

	if (!f || !frontend_has_mode(m, f))
		return;
	for (const struct ast_statement *st = node->body.first; st; st = st->next) {
		unsigned words;
		const struct keyword *k = find_keyword(m, SECTION_FRONTEND, "frontend", st, &words);

		if (!k || !keyword_fits_mode(m, k, f, st))
			continue;
		if (k->type == TYPE_RULE)
			check_rule(m, f, st);
		else
			check_setting(m, &f->section, k, words, st, &f->out);
	}
}

static void model_presets(struct model *m)
{
	m->last_enclave = &m->enclaves;
	m->last_backend = &m->backends;
	m->last_frontend = &m->frontends;
	m->global.grace_ms = 30000;
	m->global.sandbox = true;
	m->global.log.level = LEVEL_INFO;
	m->aws.max_requests = 256;
	m->resolver.stale_ms = 60000;
}

void config_check(struct model *m, const struct expanded *tree)
{
	model_presets(m);
	for (const struct ast_node *n = tree->first; n; n = n->next) {
		if (keyword_find_section(n->keyword.text) == SECTION_ENCLAVE)
			check_enclave(m, n);
	}
	check_enclaves_whole(m);
	for (const struct ast_node *n = tree->first; n; n = n->next) {
		enum keyword_section kind = keyword_find_section(n->keyword.text);

		if (kind == SECTION_BACKEND)
			check_backend(m, n);
		else if (kind == SECTION_FRONTEND && check_name(m, &n->name))
			frontend_for(m, n);
	}
	for (const struct ast_node *n = tree->first; n; n = n->next) {
		switch (keyword_find_section(n->keyword.text)) {
		case SECTION_GLOBAL:
			section_init(&m->global_section, &n->keyword);
			check_settings(m, &m->global_section, SECTION_GLOBAL, "global", n, &m->global);
			break;
		case SECTION_AWS:
			section_init(&m->aws_section, &n->keyword);
			check_settings(m, &m->aws_section, SECTION_AWS, "aws", n, &m->aws);
			break;
		case SECTION_RESOLVER:
			section_init(&m->resolver_section, &n->keyword);
			check_settings(m, &m->resolver_section, SECTION_RESOLVER, "resolver", n, &m->resolver);
			break;
		case SECTION_DEFAULTS:
			check_defaults(m, n);
			break;
		case SECTION_FRONTEND:
			check_frontend(m, n);
			break;
		case SECTION_ENCLAVE:
		case SECTION_BACKEND:
		case SECTION_NONE:
		case SECTION_DEFINE:
		case SECTION_INCLUDE:
			break;
		}
	}
	for (struct model_backend *b = m->backends; b; b = b->next) {
		if (b->n_servers == 0)
			diag_error(m->diags, "missing-setting", b->section.span,
				   "backend \"%s\" has no server", b->section.name);
	}
	check_preset_listens(m);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements that are rules: MATCH... -> TARGET.
 */
#include <config.h>

#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "config/keywords.h"
#include "config/model.h"
#include "config/quote.h"
#include "config/values.h"

/* The words of one matcher: a lone word or a { list }. */
struct words {
	const struct ast_word **at;
	size_t n;
};

struct rule_reader {
	struct model *m;
	struct model_frontend *f;
	const struct ast_item *item;
	struct span last;
	struct model_rule *rule;
	bool faulty;
};

static void fault(struct rule_reader *r)
{
	r->faulty = true;
}

static bool is_word(const struct ast_item *item, const char *text)
{
	return item && item->kind == ITEM_WORD && item->word.quote == QUOTE_NONE &&
	       strcmp(item->word.value, text) == 0;
}

static void advance(struct rule_reader *r)
{
	r->last = r->item->word.span;
	r->item = r->item->next;
}

static bool take_if(struct rule_reader *r, const char *text)
{
	if (!is_word(r->item, text))
		return false;
	advance(r);
	return true;
}

static const struct ast_word *take(struct rule_reader *r, const char *expected)
{
	const struct ast_word *w;

	if (!r->item || r->item->kind != ITEM_WORD) {
		diag_error(r->m->diags, "expected-value", r->item ? r->item->word.span : r->last,
			   r->item ? "expected %s" : "expected %s behind this word", expected);
		fault(r);
		return NULL;
	}
	w = &r->item->word;
	advance(r);
	return w;
}

static struct words take_words(struct rule_reader *r, const char *expected)
{
	struct words list = { NULL, 0 };
	size_t n = 0;

	if (!r->item || r->item->kind != ITEM_LIST_OPEN) {
		const struct ast_word *w = take(r, expected);

		list.at = arena_alloc(r->m->arena, sizeof(*list.at));
		list.at[0] = w;
		list.n = w != NULL;
		return list;
	}
	for (const struct ast_item *i = r->item->next; i && i->kind == ITEM_WORD; i = i->next)
		n++;
	list.at = arena_calloc(r->m->arena, n + 1, sizeof(*list.at));
	advance(r);
	while (r->item && r->item->kind == ITEM_WORD) {
		list.at[list.n++] = &r->item->word;
		advance(r);
	}
	if (r->item && r->item->kind == ITEM_LIST_CLOSE)
		advance(r);
	if (list.n == 0) {
		diag_error(r->m->diags, "empty-list", r->last, "expected %s in the list", expected);
		fault(r);
	}
	return list;
}

/* --- matchers --- */

static void match_names(struct rule_reader *r, bool sni)
{
	struct words list = take_words(r, sni ? "a name, a pattern or none" : "a name or a pattern");
	struct route_pattern *p = arena_calloc(r->m->out, list.n, sizeof(*p));
	uint32_t n = 0;

	for (size_t i = 0; i < list.n; i++) {
		if (value_pattern(r->m, list.at[i], sni, &p[n]))
			n++;
		else
			fault(r);
	}
	r->rule->match.names = p;
	r->rule->match.n_names = n;
}

static void match_slices(struct rule_reader *r, bool path)
{
	struct words list = take_words(r, path ? "a path such as /.well-known/acme-challenge/" :
						 "a protocol such as h2 or acme-tls/1");
	struct slice *s = arena_calloc(r->m->out, list.n, sizeof(*s));
	uint32_t n = 0;

	for (size_t i = 0; i < list.n; i++) {
		const struct ast_word *w = list.at[i];

		if (path && w->value[0] != '/') {
			diag_error(r->m->diags, "bad-path", w->span, "a path begins with \"/\", got \"%s\"",
				   w->value);
			fault(r);
		} else if (!path && (w->value_len == 0 || w->value_len > 255)) {
			diag_error(r->m->diags, "bad-alpn", w->span, "a protocol has 1 to 255 bytes (RFC 7301)");
			fault(r);
		} else {
			s[n++] = slice_of(arena_copy_slice(r->m->out, slice_of(w->value, w->value_len)),
					  w->value_len);
		}
	}
	if (path) {
		r->rule->match.paths = s;
		r->rule->match.n_paths = n;
	} else {
		r->rule->match.alpns = s;
		r->rule->match.n_alpns = n;
	}
}

static bool looks_like_ip(const struct ast_word *w)
{
	return w->value_len > 0 && strspn(w->value, "0123456789abcdefABCDEF.:/[]") == w->value_len &&
	       strpbrk(w->value, ".:") && strncmp(w->value, "cid:", 4) != 0;
}

static void match_from(struct rule_reader *r)
{
	enum config_mode mode = r->f->out.mode;
	bool ip = mode == MODE_HTTP || mode == MODE_HTTPS || mode == MODE_TCP;
	bool who = mode != MODE_HTTP && mode != MODE_HTTPS;
	struct words list = take_words(r, !who ? "an address or a prefix" :
					  ip   ? "an address, a prefix, an enclave, cid:N or any" :
						 "an enclave, cid:N or any");
	struct ip_cidr *c = arena_calloc(r->m->out, list.n, sizeof(*c));
	struct route_who *w = arena_calloc(r->m->out, list.n, sizeof(*w));
	uint32_t n_c = 0, n_w = 0;

	for (size_t i = 0; i < list.n; i++) {
		if (who && (!ip || !looks_like_ip(list.at[i]))) {
			if (value_who(r->m, list.at[i], &w[n_w]))
				n_w++;
			else
				fault(r);
		} else if (value_cidr(r->m, list.at[i], &c[n_c])) {
			n_c++;
		} else {
			fault(r);
		}
	}
	r->rule->match.from = c;
	r->rule->match.n_from = n_c;
	r->rule->match.who = w;
	r->rule->match.n_who = n_w;
}

static void match_to(struct rule_reader *r)
{
	struct words list = take_words(r, "PATTERN:PORTS, CIDR:PORTS or ~'REGEX' port PORTS"), ports;
	struct route_where *to = arena_calloc(r->m->out, list.n, sizeof(*to));
	struct route_ports *p = NULL;
	uint32_t n = 0, n_p = 0;

	for (size_t i = 0; i < list.n; i++) {
		if (value_where(r->m, list.at[i], &to[n]))
			n++;
		else
			fault(r);
	}
	if (take_if(r, "port")) {
		ports = take_words(r, "a port, a range or *");
		p = arena_calloc(r->m->out, ports.n, sizeof(*p));
		for (size_t i = 0; i < ports.n; i++) {
			struct slice text = slice_of(ports.at[i]->value, ports.at[i]->value_len);

			if (value_ports(r->m, ports.at[i], text, &p[n_p]))
				n_p++;
			else
				fault(r);
		}
		if (list.n > 1) {
			diag_error(r->m->diags, "bad-port", r->last,
				   "\"port\" is for a single place; in a list each has its own: NAME:PORT");
			fault(r);
		}
	}
	for (size_t i = 0; i < n && !r->faulty; i++) {
		if ((to[i].n_ports != 0) == (n_p != 0)) {
			diag_error(r->m->diags, "bad-port", list.at[i]->span,
				   n_p ? "the port is given twice: behind \":\" and behind \"port\"" :
					 "expected ports behind this: NAME:443, NAME:*, or \"port\" and a list");
			fault(r);
		} else if (n_p) {
			to[i].ports = p;
			to[i].n_ports = n_p;
		}
	}
	r->rule->match.to = to;
	r->rule->match.n_to = n;
}

static void match_one(struct rule_reader *r, unsigned *seen)
{
	static const char *const names[] = { "host", "sni", "path", "alpn", "from", "to" };
	static const unsigned modes[] = {
		1u << MODE_HTTP, 1u << MODE_HTTPS, 1u << MODE_HTTP | 1u << MODE_STATUS, 1u << MODE_HTTPS,
		~(1u << MODE_STATUS), 1u << MODE_EGRESS,
	};
	struct suggestion near;
	const struct ast_word *w = take(r, "a matcher or \"->\"");
	size_t i;

	if (!w)
		return;
	suggest_init(&near, w->value);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(modes[i] & (1u << r->f->out.mode)))
			continue;
		suggest_consider(&near, names[i]);
		if (w->quote == QUOTE_NONE && strcmp(w->value, names[i]) == 0)
			break;
	}
	if (i == sizeof(names) / sizeof(names[0])) {
		if (suggest_result(&near))
			diag_error(r->m->diags, "unknown-matcher", w->span,
				   "expected a matcher or \"->\", got \"%s\"; did you mean \"%s\"?", w->value,
				   suggest_result(&near));
		else
			diag_error(r->m->diags, "unknown-matcher", w->span,
				   "expected a matcher or \"->\", got \"%s\"; several names stand in a list: { a b }",
				   w->value);
		fault(r);
		return;
	}
	if (*seen & (1u << i)) {
		diag_error(r->m->diags, "duplicate-matcher", w->span,
			   "\"%s\" stands twice in this rule; alternatives stand in a list: { a b }", names[i]);
		fault(r);
	}
	*seen |= 1u << i;
	switch (i) {
	case 0:
	case 1:
		match_names(r, i == 1);
		break;
	case 2:
	case 3:
		match_slices(r, i == 2);
		break;
	case 4:
		match_from(r);
		break;
	default:
		match_to(r);
	}
}

/* --- targets --- */

static const struct {
	const char *name;
	enum config_target_kind kind;
	unsigned modes;
} targets[] = {
	{ "backend", TARGET_BACKEND, 1u << MODE_HTTP | 1u << MODE_HTTPS | 1u << MODE_TCP | 1u << MODE_EGRESS },
	{ "direct", TARGET_DIRECT, 1u << MODE_EGRESS },
	{ "via", TARGET_VIA, 1u << MODE_EGRESS },
	{ "key", TARGET_KEY, 1u << MODE_KMS },
	{ "redirect", TARGET_REDIRECT_HTTPS, 1u << MODE_HTTP },
	{ "reject", TARGET_REJECT, ~0u },
	{ "drop", TARGET_DROP, ~0u },
	{ "text", TARGET_TEXT, 1u << MODE_CONFIG },
	{ "cloudwatch", TARGET_CLOUDWATCH, 1u << MODE_LOGS },
	{ "file", TARGET_FILE, 1u << MODE_LOGS },
	{ "pages", TARGET_PAGES, 1u << MODE_STATUS },
};
enum { N_TARGETS = sizeof(targets) / sizeof(targets[0]) };

static const unsigned address_modes = 1u << MODE_HTTP | 1u << MODE_HTTPS | 1u << MODE_TCP | 1u << MODE_EGRESS;

static void target_backend(struct rule_reader *r, const struct ast_word *w)
{
	struct model_backend *b = map_get(&r->m->backend_names, slice_of(w->value, w->value_len));
	struct suggestion near;
	struct diagnostic *d;

	if (b) {
		b->used = true;
		r->rule->target.kind = TARGET_BACKEND;
		r->rule->target.backend = &b->out;
		return;
	}
	fault(r);
	suggest_init(&near, w->value);
	for (b = r->m->backends; b; b = b->next)
		suggest_consider(&near, b->section.name);
	if (!suggest_result(&near)) {
		diag_error(r->m->diags, "unknown-backend", w->span,
			   "unknown backend \"%s\"; expected the name of a backend, or an address such as vsock:16:8443",
			   w->value);
		return;
	}
	d = diag_error(r->m->diags, "unknown-backend", w->span, "unknown backend \"%s\"; did you mean \"%s\"?",
		       w->value, suggest_result(&near));
	b = map_get(&r->m->backend_names, slice_of_string(suggest_result(&near)));
	diagnostics_note(r->m->diags, d, b->section.span, "\"%s\" is defined here", b->section.name);
}

static const struct {
	const char *name;
	uint32_t bit;
} operations[] = {
	{ "generate-data-key", KMS_GENERATE_DATA_KEY },
	{ "decrypt", KMS_DECRYPT },
	{ "encrypt", KMS_ENCRYPT },
	{ "generate-data-key-pair", KMS_GENERATE_DATA_KEY_PAIR },
	{ "generate-random", KMS_GENERATE_RANDOM },
	{ "derive-shared-secret", KMS_DERIVE_SHARED_SECRET },
	{ "describe-key", KMS_DESCRIBE_KEY },
	{ "store-item", KMS_STORE_ITEM },
	{ "get-item", KMS_GET_ITEM },
	{ "delete-item", KMS_DELETE_ITEM },
};

static void key_allow(struct rule_reader *r, struct config_kms_grant *g)
{
	struct suggestion near;

	g->allow = 0;
	do {
		const struct ast_word *w = take(r, "an operation such as decrypt");
		size_t i;

		if (!w)
			return;
		suggest_init(&near, w->value);
		for (i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
			suggest_consider(&near, operations[i].name);
			if (strcmp(operations[i].name, w->value) == 0)
				break;
		}
		if (i < sizeof(operations) / sizeof(operations[0])) {
			g->allow |= operations[i].bit;
			continue;
		}
		fault(r);
		if (suggest_result(&near))
			diag_error(r->m->diags, "unknown-operation", w->span,
				   "unknown operation \"%s\"; did you mean \"%s\"?", w->value, suggest_result(&near));
		else
			diag_error(r->m->diags, "unknown-operation", w->span, "unknown operation \"%s\"", w->value);
	} while (r->item && r->item->kind == ITEM_WORD && !is_word(r->item, "context") &&
		 !is_word(r->item, "service") && !is_word(r->item, "allow"));
}

static void key_context(struct rule_reader *r, struct config_kms_grant *g)
{
	size_t room = 0;
	struct config_pair *pairs;

	for (const struct ast_item *i = r->item; i; i = i->next)
		room++;
	pairs = arena_calloc(r->m->out, room + 1, sizeof(*pairs));
	do {
		const struct ast_word *w = take(r, "NAME=VALUE");
		const char *equals = w ? strchr(w->value, '=') : NULL;

		if (!w)
			return;
		if (!equals || equals == w->value) {
			diag_error(r->m->diags, "bad-context", w->span, "expected NAME=VALUE, got \"%s\"", w->value);
			fault(r);
			continue;
		}
		pairs[g->n_context].name = arena_copy_slice(r->m->out, slice_of(w->value, (size_t)(equals - w->value)));
		pairs[g->n_context++].value = arena_strdup(r->m->out, equals + 1);
	} while (r->item && r->item->kind == ITEM_WORD && !is_word(r->item, "allow") && !is_word(r->item, "service"));
	g->context = pairs;
}

static void target_key(struct rule_reader *r)
{
	struct config_kms_grant *g = arena_alloc(r->m->out, sizeof(*g));
	size_t room = 1;
	struct config_kms_key *keys;
	const struct ast_word *w;

	for (const struct ast_item *i = r->item; i; i = i->next)
		room++;
	keys = arena_calloc(r->m->out, room, sizeof(*keys));
	r->rule->target.kms = g;
	g->allow = KMS_ALL;
	g->keys = keys;
	if (take_if(r, "any"))
		g->any_key = true;
	else
		do {
			if (!(w = take(r, "a key's ARN, alias or id, or any")))
				return;
			if (value_kms_key(r->m, w, &keys[g->n_keys]))
				g->n_keys++;
			else
				fault(r);
			if (take_if(r, "role") && (w = take(r, "a role's ARN"))) {
				if (!value_is_arn(w->value, "iam")) {
					diag_error(r->m->diags, "bad-role", w->span,
						   "a role is arn:aws:iam::ACCOUNT:role/NAME, got \"%s\"", w->value);
					fault(r);
				} else if (g->n_keys) {
					keys[g->n_keys - 1].role = arena_strdup(r->m->out, w->value);
				}
			}
		} while (r->item && r->item->kind == ITEM_WORD && !is_word(r->item, "allow") &&
			 !is_word(r->item, "context") && !is_word(r->item, "service"));
	while (r->item && !r->faulty) {
		if (take_if(r, "allow")) {
			key_allow(r, g);
		} else if (take_if(r, "context")) {
			key_context(r, g);
		} else if (take_if(r, "service")) {
			if (take_if(r, "any"))
				g->any_service = true;
			else if ((w = take(r, "a service's name, or any")))
				g->service = arena_strdup(r->m->out, w->value);
		} else {
			return;
		}
	}
}

static void send_proxy(struct rule_reader *r)
{
	const struct ast_word *w;
	int v;

	if (!take_if(r, "send-proxy"))
		return;
	if ((w = take(r, "v1 or v2")) && value_choice(r->m, w, "send-proxy", "v1 v2", &v))
		r->rule->target.send_proxy = (unsigned)v + 1;
	else
		fault(r);
}

static void target_wrong_mode(struct rule_reader *r, const struct ast_word *w)
{
	struct buffer list = BUFFER_INIT;
	unsigned mode = 1u << r->f->out.mode;

	if (address_modes & mode)
		buffer_add_string(&list, "an address, ");
	for (size_t i = 0; i < N_TARGETS; i++) {
		if (targets[i].modes & mode)
			buffer_printf(&list, "%s, ", targets[i].name);
	}
	diag_error(r->m->diags, "wrong-target", w->span, "\"%s\" is no target in mode %s; expected %.*s", w->value,
		   config_mode_name(r->f->out.mode), (int)list.len - 2, list.ptr);
	buffer_fini(&list);
	fault(r);
}

static void target_named(struct rule_reader *r, enum config_target_kind kind)
{
	struct config_target *t = &r->rule->target;
	const struct ast_word *w;

	t->kind = kind;
	switch (kind) {
	case TARGET_BACKEND:
		if ((w = take(r, "a backend's name")))
			target_backend(r, w);
		break;
	case TARGET_VIA:
		if ((w = take(r, "the address of an HTTP proxy")) &&
		    !value_address(r->m, w, ADDRESS_TO_DIAL, &t->address))
			fault(r);
		break;
	case TARGET_KEY:
		target_key(r);
		break;
	case TARGET_REDIRECT_HTTPS:
		if (!take_if(r, "https") && take(r, "\"https\"")) {
			diag_error(r->m->diags, "bad-choice", r->last, "expected \"https\": it is the only redirect");
			fault(r);
		}
		break;
	case TARGET_TEXT:
	case TARGET_CLOUDWATCH:
	case TARGET_FILE:
		w = take(r, kind == TARGET_TEXT ? "the text" : kind == TARGET_FILE ? "a path" : "a log group");
		if (!w)
			break;
		t->text = arena_strdup(r->m->out, w->value);
		if (kind == TARGET_TEXT && w->value_len > 65535) {
			diag_error(r->m->diags, "text-too-long", w->span, "the text has %zu bytes; at most 65535",
				   w->value_len);
			fault(r);
		}
		break;
	case TARGET_ADDRESS:
	case TARGET_DIRECT:
	case TARGET_REJECT:
	case TARGET_DROP:
	case TARGET_PAGES:
		break;
	}
}

static void read_target(struct rule_reader *r)
{
	const struct ast_word *w = take(r, "a target");
	struct suggestion near;

	if (!w)
		return;
	r->rule->target_span = w->span;
	for (size_t i = 0; i < N_TARGETS && w->quote == QUOTE_NONE; i++) {
		if (strcmp(targets[i].name, w->value) != 0)
			continue;
		if (!(targets[i].modes & (1u << r->f->out.mode))) {
			target_wrong_mode(r, w);
			return;
		}
		target_named(r, targets[i].kind);
		return;
	}
	if (!(address_modes & (1u << r->f->out.mode))) {
		target_wrong_mode(r, w);
		return;
	}
	if (value_looks_like_address(w)) {
		r->rule->target.kind = TARGET_ADDRESS;
		if (!value_address(r->m, w, ADDRESS_TO_DIAL, &r->rule->target.address))
			fault(r);
		send_proxy(r);
		return;
	}
	suggest_init(&near, w->value);
	for (struct model_backend *b = r->m->backends; b; b = b->next)
		suggest_consider(&near, b->section.name);
	if (!suggest_result(&near)) {
		for (size_t i = 0; i < N_TARGETS; i++) {
			if (targets[i].modes & (1u << r->f->out.mode))
				suggest_consider(&near, targets[i].name);
		}
		if (suggest_result(&near)) {
			diag_error(r->m->diags, "unknown-target", w->span, "unknown target \"%s\"; did you mean \"%s\"?",
				   w->value, suggest_result(&near));
			fault(r);
			return;
		}
	}
	target_backend(r, w);
}

/* The rule on one line, variables expanded: what --dump writes loads again to this rule. */
static const char *rule_text(struct model *m, const struct ast_statement *st)
{
	static const char *const signs[] = { [ITEM_ARROW] = "->", [ITEM_LIST_OPEN] = "{", [ITEM_LIST_CLOSE] = "}" };
	struct buffer b = BUFFER_INIT;
	const char *text;

	for (const struct ast_item *i = st->first; i; i = i->next) {
		const struct ast_word *w = &i->word;

		if (b.len)
			buffer_add_char(&b, ' ');
		if (i->kind != ITEM_WORD)
			buffer_add_string(&b, signs[i->kind]);
		else if (w->quote == QUOTE_REGEX)
			buffer_printf(&b, "~'%s'", w->value);
		else
			quote_word(&b, w->value, w->quote != QUOTE_NONE);
	}
	text = arena_strdup(m->out, b.ptr);
	buffer_fini(&b);
	return text;
}

void check_rule(struct model *m, struct model_frontend *f, const struct ast_statement *st)
{
	struct model_rule *rule = arena_alloc(m->arena, sizeof(*rule));
	struct rule_reader r = { m, f, st->first, st->first->word.span, rule, false };
	unsigned seen = 0;
	struct diagnostic *d;

	rule->span = st->span;
	rule->is_default = take_if(&r, "default");
	while (!rule->is_default && !r.faulty && r.item && r.item->kind != ITEM_ARROW)
		match_one(&r, &seen);
	if (r.faulty) { /* the target may have faults of its own */
		while (r.item && r.item->kind != ITEM_ARROW)
			r.item = r.item->next;
		if (!r.item)
			return;
	}
	if (!r.item || r.item->kind != ITEM_ARROW) {
		diag_error(m->diags, "expected-arrow", r.item ? r.item->word.span : r.last,
			   "expected \"->\" and a target%s", r.item ? "" : " behind this word");
		return;
	}
	advance(&r);
	read_target(&r);
	if (r.faulty)
		return;
	if (r.item) {
		diag_error(m->diags, "unexpected-word", r.item->word.span,
			   "expected the end of the rule here; nothing behind \"->\" takes part in matching");
		return;
	}
	rule->text = rule_text(m, st);
	if (!rule->is_default) {
		*f->last_rule = rule;
		f->last_rule = &rule->next;
		f->n_rules++;
	} else if (f->default_rule) {
		d = diag_error(m->diags, "duplicate-setting", rule->span, "\"default\" is given twice");
		diagnostics_note(m->diags, d, f->default_rule->span, "it is given here first");
	} else {
		f->default_rule = rule;
	}
}

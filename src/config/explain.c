/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "config/explain.h"

#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "config/diagnostics.h"
#include "route/explain.h"
#include "route/path.h"
#include "route/policy.h"
#include "wire/egress_request.h"
#include "wire/host_name.h"

enum { NEAR_MAX = 3 };

struct question {
	const struct config *config;
	const struct config_frontend *frontend;
	struct arena *arena;
	struct buffer *out;	/* what is wrong goes here */
	struct buffer alpns;
	struct ip_addr from;
	struct route_query query;
	struct host_port to;	/* egress */
	struct ip_addr address;
	bool has_to, has_address;
};

static bool wrong(struct question *q, const char *format, const char *value)
{
	buffer_add_string(q->out, "teeproxy: ");
	for (; *format; format++) {
		if (*format == '@')
			buffer_add_string(q->out, value);
		else
			buffer_add_char(q->out, *format);
	}
	buffer_add_char(q->out, '\n');
	return false;
}

static const struct config_frontend *find_frontend(struct question *q, const char *name)
{
	struct suggestion near;

	suggest_init(&near, name);
	for (size_t i = 0; i < q->config->n_frontends; i++) {
		if (strcmp(q->config->frontends[i].name, name) == 0)
			return &q->config->frontends[i];
		suggest_consider(&near, q->config->frontends[i].name);
	}
	wrong(q, "unknown frontend \"@\"", name);
	if (suggest_result(&near)) {
		q->out->len--;
		buffer_printf(q->out, "; did you mean \"%s\"?\n", suggest_result(&near));
	}
	return NULL;
}

static bool read_name(struct question *q, const char *value)
{
	char folded[HOST_NAME_SIZE];
	size_t len;

	if (strcmp(value, "none") == 0 && q->frontend->mode == MODE_HTTPS)
		return true;
	len = host_name_fold(slice_of_string(value), folded);
	if (len == 0)
		return wrong(q, "\"@\" is no host name; a client that sends it reaches no rule", value);
	q->query.name = slice_of(arena_copy_slice(q->arena, slice_of(folded, len)), len);
	return true;
}

static bool read_path(struct question *q, const char *value)
{
	char *buf = arena_alloc(q->arena, strlen(value) + 1);

	return route_path_normalize(slice_of_string(value), buf, &q->query.path) ||
	       wrong(q, "\"@\" is no path: it begins with \"/\", and \"%\" has two digits behind it", value);
}

static bool read_from(struct question *q, const char *value)
{
	unsigned long long cid;

	if (ip_parse(slice_of_string(value), &q->from)) {
		q->query.from = &q->from;
		return true;
	}
	for (size_t i = 0; i < q->config->n_enclaves; i++) {
		if (strcmp(q->config->enclaves[i].name, value) == 0) {
			q->query.vouched = true;
			q->query.cid = q->config->enclaves[i].cid;
			return true;
		}
	}
	if (strncmp(value, "cid:", 4) != 0 || !slice_parse_u64(slice_of_string(value + 4), UINT32_MAX, &cid))
		return wrong(q, "from takes an address, an enclave's name or cid:N, got \"@\"", value);
	q->query.vouched = true;
	q->query.cid = (uint32_t)cid;
	return true;
}

static bool read_egress(struct question *q, const char *word, size_t len, const char *value)
{
	if (len == 2 && strncmp(word, "to", 2) == 0) {
		q->has_to = host_port_parse(slice_of_string(value), &q->to) && q->to.has_port;
		return q->has_to || wrong(q, "to takes HOST:PORT, an IPv6 address in brackets, got \"@\"", value);
	}
	if (len == 7 && strncmp(word, "address", 7) == 0) {
		q->has_address = ip_parse(slice_of_string(value), &q->address);
		return q->has_address || wrong(q, "address takes an IPv4 or IPv6 address, got \"@\"", value);
	}
	return wrong(q, "this frontend's mode knows nothing of \"@\"", word);
}

static bool read_word(struct question *q, const char *word)
{
	const char *equals = strchr(word, '=');
	const enum config_mode mode = q->frontend->mode;
	const char *value = equals + 1;
	size_t len;

	if (!equals)
		return wrong(q, "expected NAME=VALUE, got \"@\"", word);
	len = (size_t)(equals - word);
	if (len == 4 && strncmp(word, "from", 4) == 0)
		return read_from(q, value);
	if (mode == MODE_EGRESS)
		return read_egress(q, word, len, value);
	if ((mode == MODE_HTTPS && len == 3 && strncmp(word, "sni", 3) == 0) ||
	    (mode == MODE_HTTP && len == 4 && strncmp(word, "host", 4) == 0))
		return read_name(q, value);
	if ((mode == MODE_HTTP || mode == MODE_STATUS) && len == 4 && strncmp(word, "path", 4) == 0) {
		return read_path(q, value);
	}
	if (mode == MODE_HTTPS && len == 4 && strncmp(word, "alpn", 4) == 0) {
		if (!*value || strlen(value) > 255)
			return wrong(q, "an ALPN protocol has 1 to 255 bytes, got \"@\"", value);
		buffer_add_char(&q->alpns, (char)strlen(value));
		buffer_add_string(&q->alpns, value);
		q->query.alpn = buffer_slice(&q->alpns);
		return true;
	}
	return wrong(q, "this frontend's mode knows nothing of \"@\"", word);
}

static void put_rule(struct buffer *out, const struct config_rule *r, const char *before)
{
	buffer_printf(out, "%s%s: %s\n", before, r->place_text, r->text);
}

static void answer(struct question *q)
{
	const struct config_frontend *f = q->frontend;
	struct route_scratch *scratch = route_scratch_new();
	struct route_explanation e;

	route_explain(q->arena, f->table, f->route_rules, f->n_rules, scratch, &q->query, NEAR_MAX, &e);
	switch (e.result) {
	case ROUTE_FOUND:
		put_rule(q->out, &f->rules[e.rule], "");
		break;
	case ROUTE_MISS:
		buffer_add_string(q->out, "no rule takes it: reject\n");
		break;
	case ROUTE_LIMIT:
		buffer_add_string(q->out, "a regex ran past its match limit: the connection is refused\n");
		break;
	}
	for (size_t i = 0; i < e.n_near; i++) {
		if (e.near[i].rule == e.rule && e.result == ROUTE_FOUND)
			continue;
		put_rule(q->out, &f->rules[e.near[i].rule], "not ");
		buffer_printf(q->out, "    because %s\n", e.near[i].why);
	}
	route_scratch_free(scratch);
}

/* --- egress --- */

/* What `direct` by this rule does with an address. */
static void answer_direct(struct question *q, size_t rule, const struct ip_addr *a)
{
	const struct config_frontend *f = q->frontend;
	enum route_own_result own = route_policy_is_own(f->policy, a, q->to.port);
	struct address_verdict v;
	char text[IP_TEXT_SIZE], block[IP_TEXT_SIZE + 4];
	bool allowed = route_policy_judge(f->policy, rule, a, q->to.port, &v);

	ip_format(a, text);
	if (own == ROUTE_OWN)
		buffer_printf(q->out, "    %s port %u is refused: it is a listener of this configuration\n", text,
			      (unsigned)q->to.port);
	else if (!allowed && f->address_policy)
		buffer_printf(q->out, "    %s is refused by the address policy: it is %s, %s, and the rule has no"
			      " prefix inside of that\n", text, v.why, ip_cidr_format(v.block, block));
	else if (v.class == ADDRESS_PUBLIC)
		buffer_printf(q->out, "    %s is dialled: it is public\n", text);
	else
		buffer_printf(q->out, "    %s is dialled: it is %s, and %s\n", text, v.why,
			      allowed ? "the rule opens it" : "the address policy is off");
	if (own == ROUTE_OWN_IF_LOCAL)
		buffer_printf(q->out, "    but refused where it is an address of this machine: a listener has port %u"
			      " of all of them\n", (unsigned)q->to.port);
}

static void answer_policy(struct question *q, const struct route_ask *ask, struct route_scratch *scratch)
{
	const struct config_frontend *f = q->frontend;
	struct route_near near[NEAR_MAX];
	size_t rule = f->n_rules, n;
	const enum route_policy_result result = route_policy_match(f->policy, scratch, ask, &rule);

	switch (result) {
	case POLICY_FOUND:
		put_rule(q->out, &f->rules[rule], "");
		if (f->rules[rule].target.kind != TARGET_DIRECT)
			break;
		if (ask->address)
			answer_direct(q, rule, ask->address);
		else if (ask->lookup_failed)
			buffer_add_string(q->out, "    which needs an address: refused\n");
		else
			buffer_add_string(q->out, "    to each address of it that the address policy allows;"
						  " ask of one with address=IP\n");
		break;
	case POLICY_MISS:
		buffer_add_string(q->out, "no rule takes it: reject\n");
		break;
	case POLICY_LIMIT:
		buffer_add_string(q->out, "a regex ran past its match limit: the connection is refused\n");
		break;
	case POLICY_LOOK_UP:
		return;
	}
	n = route_explain_policy(q->arena, f->route_rules, f->n_rules, scratch, ask, rule, NEAR_MAX, near);
	for (size_t i = 0; i < n; i++) {
		put_rule(q->out, &f->rules[near[i].rule], "not ");
		buffer_printf(q->out, "    because %s\n", near[i].why);
	}
}

static bool answer_egress(struct question *q)
{
	struct route_ask ask = { .vouched = q->query.vouched, .cid = q->query.cid, .port = q->to.port };
	struct route_scratch *scratch;
	size_t rule;

	if (!q->has_to)
		return wrong(q, "what goes where? frontend \"@\" is asked with to=HOST:PORT", q->frontend->name);
	if (egress_is_odd_ipv4(&q->to)) {
		buffer_printf(q->out, "\"%s\" is an odd spelling of an IPv4 address: refused before any rule\n",
			      q->to.name);
		return true;
	}
	if (q->to.kind != HOST_IS_NAME && q->has_address)
		return wrong(q, "\"@\" is an address already: address=IP is for names", q->to.name);
	if (q->to.kind == HOST_IS_NAME)
		ask.name = host_port_name(&q->to);
	else
		ask.address = &q->to.addr;
	if (q->has_address)
		ask.address = &q->address;
	scratch = route_scratch_new();
	if (route_policy_match(q->frontend->policy, scratch, &ask, &rule) == POLICY_LOOK_UP) {
		buffer_printf(q->out,
			      "a rule for addresses comes first: %s is looked up; ask of one with address=IP\n"
			      "if it has none:\n",
			      q->to.name);
		ask.lookup_failed = true;
	}
	answer_policy(q, &ask, scratch);
	route_scratch_free(scratch);
	return true;
}

bool config_explain(const struct config *c, const char *frontend, char *const *words,
		    size_t n_words, struct buffer *out)
{
	struct question q = { .config = c, .arena = arena_new(), .out = out };
	bool good;

	q.frontend = find_frontend(&q, frontend);
	good = q.frontend != NULL;
	for (size_t i = 0; good && i < n_words; i++)
		good = read_word(&q, words[i]);
	if (good && q.frontend->mode == MODE_EGRESS)
		good = answer_egress(&q);
	else if (good)
		answer(&q);
	buffer_fini(&q.alpns);
	arena_free(q.arena);
	return good;
}

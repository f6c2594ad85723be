/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "config/explain.h"

#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "config/diagnostics.h"
#include "route/explain.h"
#include "route/path.h"
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

bool config_explain(const struct config *c, const char *frontend, char *const *words,
		    size_t n_words, struct buffer *out)
{
	struct question q = { .config = c, .arena = arena_new(), .out = out };
	bool good;

	q.frontend = find_frontend(&q, frontend);
	good = q.frontend != NULL;
	if (good && q.frontend->mode == MODE_EGRESS)
		good = wrong(&q, "what egress rules take depends on addresses too and cannot be explained yet: \"@\"",
			     frontend);
	for (size_t i = 0; good && i < n_words; i++)
		good = read_word(&q, words[i]);
	if (good)
		answer(&q);
	buffer_fini(&q.alpns);
	arena_free(q.arena);
	return good;
}

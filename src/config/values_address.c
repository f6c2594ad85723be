/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses, names and patterns: the second half of values.h.
 */
#include <config.h>

#include <limits.h>
#include <string.h>

#include "base/arena.h"
#include "config/model.h"
#include "config/values.h"

enum { UNIX_PATH_MAX = 107 }; /* sockaddr_un.sun_path less its NUL: unix(7) */

static bool name_fault(struct model *m, const struct ast_word *w, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if ((unsigned char)s.ptr[i] >= 0x80) {
			diag_error(m->diags, "bad-name", w->span,
				   "\"%s\" is not ASCII; write the xn-- form of the name", w->value);
			return false;
		}
	}
	diag_error(m->diags, "bad-name", w->span,
		   "\"%.*s\" is not a host name: letters, digits, \"-\" and \"_\" in labels of 1 to 63 bytes, 253 in all",
		   (int)s.len, s.ptr);
	return false;
}

/* A host name of labels, without its trailing dot, folded to lower case into the arena. */
static bool read_name(struct model *m, const struct ast_word *w, struct slice s, struct slice *ret)
{
	size_t label = 0;
	char *copy;

	if (s.len > 0 && s.ptr[s.len - 1] == '.')
		s.len--;
	if (s.len == 0 || s.len > 253)
		return name_fault(m, w, s);
	copy = arena_copy_slice(m->out, s);
	for (size_t i = 0; i < s.len; i++) {
		char c = copy[i] = ascii_lower(s.ptr[i]);

		if (c == '.') {
			if (label == 0)
				return name_fault(m, w, s);
			label = 0;
		} else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_') ||
			   ++label > 63) {
			return name_fault(m, w, s);
		}
	}
	if (label == 0)
		return name_fault(m, w, s);
	*ret = slice_of(copy, s.len);
	return true;
}

static bool read_u32(struct model *m, const struct ast_word *w, struct slice text, const char *what,
		     unsigned long long max, uint32_t *ret)
{
	unsigned long long v;

	if (!slice_parse_u64(text, max, &v)) {
		diag_error(m->diags, "bad-address", w->span,
			   "%s is a number between 0 and %llu, got \"%.*s\"", what, max, (int)text.len,
			   text.ptr);
		return false;
	}
	*ret = (uint32_t)v;
	return true;
}

/* The enclave that a word names; adds a diagnostic where there is none. */
static struct model_enclave *find_enclave(struct model *m, const struct ast_word *w, struct slice name)
{
	struct model_enclave *e = map_get(&m->enclave_names, name);
	struct suggestion near;
	struct diagnostic *d;
	const char *text = arena_copy_slice(m->arena, name);

	if (e) {
		e->used = true;
		return e;
	}
	suggest_init(&near, text);
	for (e = m->enclaves; e; e = e->next)
		suggest_consider(&near, e->section.name);
	if (!suggest_result(&near)) {
		diag_error(m->diags, "unknown-enclave", w->span,
			   "unknown enclave \"%s\"; expected one that is defined as enclave NAME cid N", text);
		return NULL;
	}
	d = diag_error(m->diags, "unknown-enclave", w->span, "unknown enclave \"%s\"; did you mean \"%s\"?",
		       text, suggest_result(&near));
	e = map_get(&m->enclave_names, slice_of_string(suggest_result(&near)));
	diagnostics_note(m->diags, d, e->section.span, "\"%s\" is defined here", e->section.name);
	return NULL;
}

static bool read_vsock(struct model *m, const struct ast_word *w, struct slice rest,
		       enum address_use use, struct address *a)
{
	const char *colon = memchr(rest.ptr, ':', rest.len);
	struct slice cid, port;

	if (!colon) {
		diag_error(m->diags, "bad-address", w->span, "expected vsock:CID:PORT, got \"%s\"", w->value);
		return false;
	}
	cid = slice_of(rest.ptr, (size_t)(colon - rest.ptr));
	port = slice_of(colon + 1, rest.len - cid.len - 1);
	a->kind = ADDRESS_VSOCK;
	if (slice_equal(cid, SLICE_LITERAL("*"))) {
		if (use == ADDRESS_TO_DIAL) {
			diag_error(m->diags, "bad-address", w->span,
				   "\"*\" is only for listening; expected a CID or an enclave's name");
			return false;
		}
		a->cid = ADDRESS_CID_ANY;
	} else if (cid.len > 0 && cid.ptr[0] >= '0' && cid.ptr[0] <= '9') {
		if (!read_u32(m, w, cid, "a CID", UINT32_MAX, &a->cid))
			return false;
		for (struct model_enclave *e = m->enclaves; e; e = e->next)
			e->used |= e->out.cid == a->cid;
	} else {
		struct model_enclave *e = find_enclave(m, w, cid);

		if (!e)
			return false;
		a->cid = e->out.cid;
	}
	if (!read_u32(m, w, port, "a vsock port", UINT32_MAX - 1, &a->port))
		return false;
	if (a->cid == ADDRESS_CID_ANY)
		a->text = arena_printf(m->out, "vsock:*:%u", a->port);
	else
		a->text = arena_printf(m->out, "vsock:%u:%u", a->cid, a->port);
	return true;
}

static bool read_unix(struct model *m, const struct ast_word *w, struct slice path, struct address *a)
{
	bool abstract = path.len > 0 && path.ptr[0] == '@';

	if (path.len == (abstract ? 1 : 0) || path.len > UNIX_PATH_MAX || (!abstract && path.ptr[0] != '/')) {
		diag_error(m->diags, "bad-address", w->span,
			   "expected unix:/PATH or unix:@NAME of at most %d bytes, got \"%s\"", UNIX_PATH_MAX,
			   w->value);
		return false;
	}
	a->kind = abstract ? ADDRESS_UNIX_ABSTRACT : ADDRESS_UNIX;
	a->name = arena_copy_slice(m->out, slice_of(path.ptr + abstract, path.len - abstract));
	a->text = arena_printf(m->out, "unix:%.*s", (int)path.len, path.ptr);
	return true;
}

static bool read_uds_vsock(struct model *m, const struct ast_word *w, struct slice rest,
			   enum address_use use, struct address *a)
{
	const char *colon = memrchr(rest.ptr, ':', rest.len);
	size_t len = colon ? (size_t)(colon - rest.ptr) : 0;

	if (use == ADDRESS_TO_LISTEN) {
		diag_error(m->diags, "bad-address", w->span,
			   "uds-vsock: is only for targets; a guest's connections arrive on unix:PATH_PORT");
		return false;
	}
	if (!colon || rest.ptr[0] != '/' || len > UNIX_PATH_MAX) {
		diag_error(m->diags, "bad-address", w->span, "expected uds-vsock:/PATH:PORT, got \"%s\"",
			   w->value);
		return false;
	}
	a->kind = ADDRESS_UDS_VSOCK;
	a->name = arena_copy_slice(m->out, slice_of(rest.ptr, len));
	a->text = arena_strdup(m->out, w->value);
	return read_u32(m, w, slice_of(colon + 1, rest.len - len - 1), "a vsock port", UINT32_MAX - 1,
			&a->port);
}

static bool read_tcp(struct model *m, const struct ast_word *w, struct slice s, enum address_use use,
		     struct address *a)
{
	const char *colon = memrchr(s.ptr, ':', s.len);
	struct slice host, name;
	char text[IP_TEXT_SIZE];
	bool brackets;

	if (!colon) {
		diag_error(m->diags, "bad-address", w->span,
			   "expected an address: *:PORT, HOST:PORT, [IPV6]:PORT, vsock:CID:PORT, unix:PATH or uds-vsock:PATH:PORT, got \"%s\"",
			   w->value);
		return false;
	}
	host = slice_of(s.ptr, (size_t)(colon - s.ptr));
	if (!value_port(m, w, slice_of(colon + 1, s.len - host.len - 1), &a->port))
		return false;
	if (slice_equal(host, SLICE_LITERAL("*"))) {
		if (use == ADDRESS_TO_DIAL) {
			diag_error(m->diags, "bad-address", w->span,
				   "\"*\" is only for listening; expected a host");
			return false;
		}
		a->kind = ADDRESS_TCP_ANY;
		a->text = arena_printf(m->out, "*:%u", a->port);
		return true;
	}
	brackets = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
	name = brackets ? slice_of(host.ptr + 1, host.len - 2) : host;
	if (ip_parse(name, &a->ip) && (brackets == (memchr(name.ptr, ':', name.len) != NULL))) {
		a->kind = ADDRESS_TCP_IP;
		a->text = arena_printf(m->out, ip_is_v4(&a->ip) ? "%s:%u" : "[%s]:%u",
				       ip_format(&a->ip, text), a->port);
		return true;
	}
	if (brackets || memchr(host.ptr, ':', host.len)) {
		diag_error(m->diags, "bad-address", w->span,
			   "expected an IPv6 address in brackets, such as [2001:db8::1]:443, got \"%s\"",
			   w->value);
		return false;
	}
	if (!read_name(m, w, host, &name))
		return false;
	if (use == ADDRESS_TO_LISTEN) {
		diag_error(m->diags, "bad-address", w->span,
			   "expected \"*\" or an IP address to listen on, got the name \"%.*s\"", (int)host.len,
			   host.ptr);
		return false;
	}
	a->kind = ADDRESS_TCP_NAME;
	a->name = name.ptr;
	a->text = arena_printf(m->out, "%s:%u", name.ptr, a->port);
	return true;
}

bool value_address(struct model *m, const struct ast_word *w, enum address_use use,
		   struct address *ret)
{
	static const struct {
		const char *prefix;
		enum address_kind kind;
	} kinds[] = { { "vsock:", ADDRESS_VSOCK }, { "unix:", ADDRESS_UNIX },
		      { "uds-vsock:", ADDRESS_UDS_VSOCK }, { "tcp:", ADDRESS_TCP_NAME } };
	struct slice s = slice_of(w->value, w->value_len);
	struct address a = { 0 };
	enum address_kind kind = ADDRESS_TCP_NAME;
	bool ok = false;

	if (w->quote == QUOTE_REGEX) {
		diag_error(m->diags, "bad-address", w->span, "expected an address, got a regex");
		return false;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct slice prefix = slice_of_string(kinds[i].prefix);

		if (slice_starts_with(s, prefix)) {
			kind = kinds[i].kind;
			s = slice_of(s.ptr + prefix.len, s.len - prefix.len);
			break;
		}
	}
	if (kind == ADDRESS_VSOCK)
		ok = read_vsock(m, w, s, use, &a);
	else if (kind == ADDRESS_UNIX)
		ok = read_unix(m, w, s, &a);
	else if (kind == ADDRESS_UDS_VSOCK)
		ok = read_uds_vsock(m, w, s, use, &a);
	else
		ok = read_tcp(m, w, s, use, &a);
	if (ok)
		*ret = a;
	return ok;
}

bool value_looks_like_address(const struct ast_word *w)
{
	return w->quote != QUOTE_REGEX && strchr(w->value, ':') != NULL;
}

static bool read_regex(struct model *m, const struct ast_word *w, struct route_pattern *ret)
{
	char message[160];
	size_t offset = 0;

	ret->kind = ROUTE_PATTERN_REGEX;
	ret->text = slice_of(arena_copy_slice(m->out, slice_of(w->value, w->value_len)), w->value_len);
	if (!route_regex_check(ret->text, message, sizeof(message), &offset)) {
		struct span at = w->span;

		at.first += (unsigned)offset;
		at.column += (unsigned)offset;
		at.end = at.first + 1;
		diag_error(m->diags, "bad-regex", at, "invalid regex: %s (offset %zu)", message, offset);
		return false;
	}
	return true;
}

bool value_pattern(struct model *m, const struct ast_word *w, bool none_allowed,
		   struct route_pattern *ret)
{
	struct slice s = slice_of(w->value, w->value_len);

	if (w->quote == QUOTE_REGEX)
		return read_regex(m, w, ret);
	if (w->quote == QUOTE_NONE && slice_equal(s, SLICE_LITERAL("none"))) {
		if (!none_allowed) {
			diag_error(m->diags, "bad-pattern", w->span,
				   "\"none\" is for sni only; quote it to mean the name");
			return false;
		}
		*ret = (struct route_pattern){ ROUTE_PATTERN_NONE, s };
		return true;
	}
	if (w->quote == QUOTE_NONE && (slice_equal(s, SLICE_LITERAL("any")) ||
				       slice_equal(s, SLICE_LITERAL("default")) ||
				       slice_equal(s, SLICE_LITERAL("cid")))) {
		diag_error(m->diags, "bad-pattern", w->span,
			   "\"%s\" is a word of the language; quote it to mean the name, or write \"*\" for any",
			   w->value);
		return false;
	}
	if (slice_equal(s, SLICE_LITERAL("*"))) {
		*ret = (struct route_pattern){ ROUTE_PATTERN_ANY, SLICE_LITERAL("*") };
		return true;
	}
	ret->kind = ROUTE_PATTERN_EXACT;
	if (slice_starts_with(s, SLICE_LITERAL("*."))) {
		ret->kind = ROUTE_PATTERN_BELOW;
		s = slice_of(s.ptr + 2, s.len - 2);
	} else if (slice_starts_with(s, SLICE_LITERAL("."))) {
		ret->kind = ROUTE_PATTERN_AT_BELOW;
		s = slice_of(s.ptr + 1, s.len - 1);
	} else if (slice_ends_with(s, SLICE_LITERAL(".*"))) {
		ret->kind = ROUTE_PATTERN_LEADING;
		s.len -= 2;
	}
	if (memchr(s.ptr, '*', s.len)) {
		diag_error(m->diags, "bad-pattern", w->span,
			   "\"*\" stands for whole labels at one end only: *.example.org or tee-k.*; ~'REGEX' does more");
		return false;
	}
	return read_name(m, w, s, &ret->text);
}

bool value_who(struct model *m, const struct ast_word *w, struct route_who *ret)
{
	struct slice s = slice_of(w->value, w->value_len);
	struct model_enclave *e;

	*ret = (struct route_who){ 0 };
	if (w->quote == QUOTE_NONE && slice_equal(s, SLICE_LITERAL("any"))) {
		ret->any = true;
		return true;
	}
	if (w->quote == QUOTE_NONE && slice_starts_with(s, SLICE_LITERAL("cid:"))) {
		if (!read_u32(m, w, slice_of(s.ptr + 4, s.len - 4), "a CID", UINT32_MAX, &ret->cid))
			return false;
		for (e = m->enclaves; e; e = e->next)
			e->used |= e->out.cid == ret->cid;
		return true;
	}
	e = find_enclave(m, w, s);
	if (!e)
		return false;
	ret->cid = e->out.cid;
	return true;
}

bool value_ports(struct model *m, const struct ast_word *w, struct slice text, struct route_ports *ret)
{
	const char *dash = text.len ? memchr(text.ptr, '-', text.len) : NULL;
	size_t len = dash ? (size_t)(dash - text.ptr) : text.len;
	uint32_t first, last;

	if (slice_equal(text, SLICE_LITERAL("*"))) {
		*ret = (struct route_ports){ 1, 65535 };
		return true;
	}
	if (!value_port(m, w, slice_of(text.ptr, len), &first))
		return false;
	last = first;
	if (dash && !value_port(m, w, slice_of(dash + 1, text.len - len - 1), &last))
		return false;
	if (last < first) {
		diag_error(m->diags, "bad-port", w->span, "a range of ports goes from the lower to the higher: %u-%u",
			   last, first);
		return false;
	}
	*ret = (struct route_ports){ (uint16_t)first, (uint16_t)last };
	return true;
}

bool value_where(struct model *m, const struct ast_word *w, struct route_where *ret)
{
	struct slice s = slice_of(w->value, w->value_len), host = s;
	struct ast_word part = *w;
	const char *colon;
	struct route_ports *ports;

	*ret = (struct route_where){ 0 };
	if (w->quote == QUOTE_REGEX)
		return value_pattern(m, w, false, &ret->pattern);
	colon = memrchr(s.ptr, ':', s.len);
	if (s.len > 0 && s.ptr[0] == '[' && s.ptr[s.len - 1] == ']')
		colon = NULL; /* [2001:db8::/32] port ... */
	if (colon) {
		host.len = (size_t)(colon - s.ptr);
		ports = arena_alloc(m->out, sizeof(*ports));
		if (!value_ports(m, w, slice_of(colon + 1, s.len - host.len - 1), ports))
			return false;
		ret->ports = ports;
		ret->n_ports = 1;
	}
	part.value = arena_copy_slice(m->arena, host);
	part.value_len = host.len;
	if (host.len > 0 && (host.ptr[0] == '[' || memchr(host.ptr, '/', host.len) ||
			     ip_parse(host, &(struct ip_addr){ { 0 } }))) {
		ret->is_cidr = true;
		return value_cidr(m, &part, &ret->cidr);
	}
	return value_pattern(m, &part, false, &ret->pattern);
}

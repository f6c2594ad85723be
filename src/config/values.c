/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "config/values.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "config/model.h"

static struct slice word_slice(const struct ast_word *w)
{
	return slice_of(w->value, w->value_len);
}

/* Splits "64k" into a number and what follows it; false where no digit leads or it is too large. */
static bool split_number(struct slice s, uint64_t *ret, struct slice *ret_unit, bool *ret_too_large)
{
	size_t digits = 0;
	unsigned long long v;

	while (digits < s.len && s.ptr[digits] >= '0' && s.ptr[digits] <= '9')
		digits++;
	*ret_too_large = false;
	if (digits == 0)
		return false;
	if (!slice_parse_u64(slice_of(s.ptr, digits), ULLONG_MAX, &v)) {
		*ret_too_large = true;
		v = ULLONG_MAX;
	}
	*ret = v;
	*ret_unit = slice_of(s.ptr + digits, s.len - digits);
	return true;
}

bool value_number(struct model *m, const struct ast_word *w, const char *what, uint64_t min,
		  uint64_t max, uint64_t *ret)
{
	unsigned long long v;

	if (!slice_parse_u64(word_slice(w), ULLONG_MAX, &v) || v < min || v > max) {
		diag_error(m->diags, "bad-number", w->span,
			   "%s must be a number between %" PRIu64 " and %" PRIu64 ", got \"%s\"", what,
			   min, max, w->value);
		return false;
	}
	*ret = v;
	return true;
}

static char *size_text(struct model *m, uint64_t v)
{
	static const char units[] = { 0, 'k', 'm', 'g', 't' };
	size_t u = 0;

	while (u + 1 < sizeof(units) && v >= 1024 && v % 1024 == 0) {
		v /= 1024;
		u++;
	}
	return u ? arena_printf(m->arena, "%" PRIu64 "%c", v, units[u]) :
		   arena_printf(m->arena, "%" PRIu64, v);
}

static bool size_of(struct slice s, uint64_t *ret, bool *ret_bare)
{
	bool too_large;
	struct slice unit;
	unsigned shift;

	if (!split_number(s, ret, &unit, &too_large))
		return false;
	*ret_bare = unit.len == 0;
	if (unit.len > 1)
		return false;
	shift = unit.len == 0 ? 0 : ascii_lower(unit.ptr[0]) == 'k' ? 10 :
		ascii_lower(unit.ptr[0]) == 'm' ? 20 : ascii_lower(unit.ptr[0]) == 'g' ? 30 :
		ascii_lower(unit.ptr[0]) == 't' ? 40 : 99;
	if (shift == 99)
		return false;
	*ret = too_large || *ret > UINT64_MAX >> shift ? UINT64_MAX : *ret << shift;
	return true;
}

static bool size_fault(struct model *m, const struct ast_word *w, const char *what, uint64_t min,
		       uint64_t max, const char *suffix)
{
	diag_error(m->diags, "bad-size", w->span, "%s must be between %s%s and %s%s, got \"%s\"", what,
		   size_text(m, min), suffix, size_text(m, max), suffix, w->value);
	return false;
}

bool value_size(struct model *m, const struct ast_word *w, const char *what, uint64_t min,
		uint64_t max, uint64_t *ret)
{
	bool bare;
	uint64_t v;

	if (!size_of(word_slice(w), &v, &bare) || v < min || v > max)
		return size_fault(m, w, what, min, max, "");
	*ret = v;
	return true;
}

bool value_bandwidth(struct model *m, const struct ast_word *w, const char *what, uint64_t min,
		     uint64_t max, uint64_t *ret)
{
	struct slice s = word_slice(w);
	bool bare;
	uint64_t v;

	if (!slice_ends_with(s, SLICE_LITERAL("/s")) ||
	    (s.len -= 2, !size_of(s, &v, &bare)) || v < min || v > max)
		return size_fault(m, w, what, min, max, "/s");
	*ret = v;
	return true;
}

static char *duration_text(struct model *m, uint64_t ms)
{
	static const struct {
		uint64_t ms;
		const char *unit;
	} units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" } };

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (ms >= units[i].ms && ms % units[i].ms == 0)
			return arena_printf(m->arena, "%" PRIu64 "%s", ms / units[i].ms, units[i].unit);
	}
	return arena_printf(m->arena, "%" PRIu64 "ms", ms);
}

bool value_duration(struct model *m, const struct ast_word *w, const char *what, uint64_t min,
		    uint64_t max, bool off, uint32_t *ret)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } };
	struct slice unit = { 0 };
	uint64_t v = 0, factor = 0;
	bool too_large, number;

	if (off && strcmp(w->value, "off") == 0) {
		*ret = 0;
		return true;
	}
	number = split_number(word_slice(w), &v, &unit, &too_large);
	if (number && unit.len == 0 && v != 0) {
		diag_error(m->diags, "missing-unit", w->span, "%s needs a unit: did you mean \"%ss\"?",
			   what, w->value);
		return false;
	}
	for (size_t i = 0; number && i < sizeof(units) / sizeof(units[0]); i++) {
		if (slice_equal(unit, slice_of_string(units[i].unit)))
			factor = units[i].ms;
	}
	if (v != 0 && factor != 0 && (too_large || v > UINT64_MAX / factor))
		v = UINT64_MAX;
	else
		v *= factor;
	if (!number || (factor == 0 && unit.len != 0) || v < min || v > max) {
		diag_error(m->diags, "bad-duration", w->span, "%s must be between %s and %s%s, got \"%s\"",
			   what, duration_text(m, min), duration_text(m, max), off ? ", or off" : "",
			   w->value);
		return false;
	}
	*ret = (uint32_t)v;
	return true;
}

bool value_rate(struct model *m, const struct ast_word *w, const char *what, uint64_t max,
		struct config_rate *ret)
{
	struct slice s = word_slice(w), unit;
	bool too_large;
	uint64_t v;
	char per;

	if (!split_number(s, &v, &unit, &too_large) || unit.len != 2 || unit.ptr[0] != '/' ||
	    !strchr("smh", per = unit.ptr[1]) || v < 1 || v > max) {
		diag_error(m->diags, "bad-rate", w->span,
			   "%s must be a rate such as 100/s, 100/m or 100/h, from 1 to %" PRIu64
			   ", got \"%s\"", what, max, w->value);
		return false;
	}
	ret->rate = (uint32_t)v;
	ret->period_ms = per == 's' ? 1000 : per == 'm' ? 60000 : 3600000;
	return true;
}

bool value_on_off(struct model *m, const struct ast_word *w, const char *what, bool *ret)
{
	if (strcmp(w->value, "on") != 0 && strcmp(w->value, "off") != 0) {
		diag_error(m->diags, "bad-choice", w->span, "%s must be on or off, got \"%s\"", what,
			   w->value);
		return false;
	}
	*ret = w->value[1] == 'n';
	return true;
}

bool value_choice(struct model *m, const struct ast_word *w, const char *what, const char *choices,
		  int *ret)
{
	struct suggestion near;
	char *copy = arena_strdup(m->arena, choices), *save;
	int i = 0;

	suggest_init(&near, w->value);
	for (char *c = strtok_r(copy, " ", &save); c; c = strtok_r(NULL, " ", &save), i++) {
		if (strcmp(c, w->value) == 0) {
			*ret = i;
			return true;
		}
		suggest_consider(&near, c);
	}
	copy = arena_strdup(m->arena, choices);
	for (char *c = copy; *c; c++) {
		if (*c == ' ')
			*c = '|';
	}
	if (suggest_result(&near))
		diag_error(m->diags, "bad-choice", w->span,
			   "%s must be %s, got \"%s\"; did you mean \"%s\"?", what, copy, w->value,
			   suggest_result(&near));
	else
		diag_error(m->diags, "bad-choice", w->span, "%s must be %s, got \"%s\"", what, copy,
			   w->value);
	return false;
}

bool value_cidr(struct model *m, const struct ast_word *w, struct ip_cidr *ret)
{
	struct slice s = word_slice(w);
	char text[IP_TEXT_SIZE + 4];

	if (s.len > 2 && s.ptr[0] == '[' && s.ptr[s.len - 1] == ']')
		s = slice_of(s.ptr + 1, s.len - 2);
	switch (ip_cidr_parse(s, ret)) {
	case IP_CIDR_OK:
		return true;
	case IP_CIDR_NOT_ONE:
		diag_error(m->diags, "bad-cidr", w->span,
			   "expected an address or a prefix such as 192.0.2.0/24 or 2001:db8::/32, got \"%s\"",
			   w->value);
		return false;
	case IP_CIDR_LENGTH:
		diag_error(m->diags, "bad-cidr", w->span,
			   "the length of \"%s\" is past that of an address: at most 32 for IPv4, 128 for IPv6",
			   w->value);
		return false;
	case IP_CIDR_HOST_BITS:
		diag_error(m->diags, "bad-cidr", w->span,
			   "\"%s\" has bits set behind its length; did you mean \"%s\"?", w->value,
			   ip_cidr_format(ret, text));
		return false;
	}
	return false;
}

bool value_file_mode(struct model *m, const struct ast_word *w, unsigned *ret)
{
	size_t n = strspn(w->value, "01234567");

	if (n != w->value_len || n < 3 || n > 4 || (n == 4 && w->value[0] != '0')) {
		diag_error(m->diags, "bad-file-mode", w->span,
			   "expected an octal mode from 000 to 0777, got \"%s\"", w->value);
		return false;
	}
	*ret = 0;
	for (size_t i = 0; i < n; i++)
		*ret = *ret * 8 + (unsigned)(w->value[i] - '0');
	return true;
}

bool value_port(struct model *m, const struct ast_word *w, struct slice text, uint32_t *ret)
{
	unsigned long long v;

	if (!slice_parse_u64(text, 65535, &v) || v == 0) {
		diag_error(m->diags, "bad-port", w->span, "a port is a number between 1 and 65535, got \"%.*s\"",
			   (int)text.len, text.ptr);
		return false;
	}
	*ret = (uint32_t)v;
	return true;
}

bool value_is_arn(const char *s, const char *service)
{
	const char *colon = s;
	size_t len = strlen(service);

	if (strncmp(s, "arn:", 4) != 0)
		return false;
	colon = strchr(s + 4, ':');
	return colon && strncmp(colon + 1, service, len) == 0 && colon[1 + len] == ':';
}

/* arn:aws:kms:REGION:ACCOUNT:key/ID; NULL where the field is empty. */
static const char *arn_region(struct model *m, const char *arn)
{
	const char *p = arn;
	size_t len;

	for (int i = 0; i < 3 && p; i++) {
		p = strchr(p, ':');
		if (p)
			p++;
	}
	len = p ? strcspn(p, ":") : 0;
	return len ? arena_copy_slice(m->out, slice_of(p, len)) : NULL;
}

bool value_kms_key(struct model *m, const struct ast_word *w, struct config_kms_key *ret)
{
	const char *s = w->value;
	bool arn = value_is_arn(s, "kms");
	bool id = w->value_len >= 4 && strspn(s, "0123456789abcdefABCDEFmrk-") == w->value_len;

	if (!(arn && (strstr(s, ":key/") || strstr(s, ":alias/"))) && strncmp(s, "alias/", 6) != 0 && !id) {
		diag_error(m->diags, "bad-key", w->span,
			   "a key is arn:aws:kms:REGION:ACCOUNT:key/ID, alias/NAME or a key id, got \"%s\"", s);
		return false;
	}
	*ret = (struct config_kms_key){ .id = arena_strdup(m->out, s),
					.region = arn ? arn_region(m, s) : NULL };
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "route/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "base/xalloc.h"

struct route_regex {
	pcre2_code *code;
};

struct route_scratch {
	pcre2_match_data *data;
	pcre2_match_context *limits;
};

static pcre2_code *compile(struct slice pattern, int *ret_error, PCRE2_SIZE *ret_offset)
{
	return pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len,
			     PCRE2_CASELESS | PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C, ret_error,
			     ret_offset, NULL);
}

bool route_regex_check(struct slice pattern, char *ret_message, size_t message_size,
		       size_t *ret_offset)
{
	int error;
	PCRE2_SIZE offset;
	pcre2_code *code = compile(pattern, &error, &offset);

	if (code) {
		pcre2_code_free(code);
		return true;
	}
	pcre2_get_error_message(error, (PCRE2_UCHAR *)ret_message, message_size);
	*ret_offset = offset;
	return false;
}

struct route_regex *route_regex_new(struct slice pattern)
{
	int error;
	PCRE2_SIZE offset;
	struct route_regex *r = xcalloc(1, sizeof(*r));

	r->code = compile(pattern, &error, &offset);
	if (!r->code) {
		free(r);
		return NULL;
	}
	/* A kernel that forbids writable code pages leaves the interpreter, which will do. */
	(void)pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
	return r;
}

void route_regex_free(struct route_regex *r)
{
	if (!r)
		return;
	pcre2_code_free(r->code);
	free(r);
}

struct route_scratch *route_scratch_new(void)
{
	struct route_scratch *s = xcalloc(1, sizeof(*s));

	s->data = pcre2_match_data_create(1, NULL);
	s->limits = pcre2_match_context_create(NULL);
	if (!s->data || !s->limits)
		xalloc_fail();
	pcre2_set_match_limit(s->limits, ROUTE_REGEX_MATCH_LIMIT);
	pcre2_set_depth_limit(s->limits, ROUTE_REGEX_DEPTH_LIMIT);
	return s;
}

void route_scratch_free(struct route_scratch *s)
{
	if (!s)
		return;
	pcre2_match_data_free(s->data);
	pcre2_match_context_free(s->limits);
	free(s);
}

enum route_regex_result route_regex_match(const struct route_regex *r, struct route_scratch *s,
					  struct slice subject)
{
	int n = pcre2_match(r->code, (PCRE2_SPTR)subject.ptr, subject.len, 0, 0, s->data, s->limits);

	if (n >= 0)
		return ROUTE_REGEX_YES;
	return n == PCRE2_ERROR_NOMATCH ? ROUTE_REGEX_NO : ROUTE_REGEX_LIMIT;
}

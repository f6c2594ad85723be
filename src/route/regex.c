/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only file that meets PCRE2.
 *
 * Compiled code is const and shared by all workers; what a match writes to is in
 * the scratch, one for each thread.  Where the kernel refuses executable memory
 * the interpreter does the same work under the same limits.
 */
#include <config.h>

#include "route/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "base/xalloc.h"

enum {
	HEAP_LIMIT_KIB = 1024,
	JIT_STACK_MIN = 32 * 1024,
	JIT_STACK_MAX = 256 * 1024,
	PATTERN_MAX = 8192,
};

struct route_regex {
	pcre2_code *code;
};

struct route_scratch {
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
};

static pcre2_code *compile(struct slice pattern, int *ret_error, size_t *ret_offset)
{
	const uint32_t options = PCRE2_CASELESS | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF |
				 PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C;
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	pcre2_code *code;

	if (!context)
		xalloc_fail();
	pcre2_set_max_pattern_length(context, PATTERN_MAX);
	code = pcre2_compile((PCRE2_SPTR)(pattern.ptr ? pattern.ptr : ""), pattern.len, options,
			     ret_error, ret_offset, context);
	pcre2_compile_context_free(context);
	return code;
}

bool route_regex_check(struct slice pattern, char *ret_message, size_t message_size,
		       size_t *ret_offset)
{
	int error = 0;
	size_t offset = 0;
	pcre2_code *code = compile(pattern, &error, &offset);

	if (code) {
		pcre2_code_free(code);
		return true;
	}
	if (ret_message && message_size > 0)
		pcre2_get_error_message(error, (PCRE2_UCHAR *)ret_message, message_size);
	if (ret_offset)
		*ret_offset = offset < pattern.len ? offset : pattern.len;
	return false;
}

struct route_regex *route_regex_new(struct slice pattern)
{
	int error;
	size_t offset;
	pcre2_code *code = compile(pattern, &error, &offset);
	struct route_regex *re;

	if (!code)
		return NULL;
	/* Without executable memory this fails, and pcre2_match() interprets. */
	pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
	re = xmalloc(sizeof(*re));
	re->code = code;
	return re;
}

void route_regex_free(struct route_regex *re)
{
	if (!re)
		return;
	pcre2_code_free(re->code);
	free(re);
}

enum route_regex_result route_regex_match(const struct route_regex *re, struct route_scratch *s, struct slice subject)
{
	int rc = pcre2_match(re->code, (PCRE2_SPTR)(subject.ptr ? subject.ptr : ""), subject.len,
			     0, 0, s->data, s->context);

	/* 0: matched, and more groups than the one pair that we asked for. */
	if (rc >= 0)
		return ROUTE_REGEX_YES;
	/* Every failure but "no match" is a limit or lack of memory: refuse. */
	return rc == PCRE2_ERROR_NOMATCH ? ROUTE_REGEX_NO : ROUTE_REGEX_LIMIT;
}

struct route_scratch *route_scratch_new(void)
{
	struct route_scratch *s = xcalloc(1, sizeof(*s));

	s->data = pcre2_match_data_create(1, NULL);
	s->context = pcre2_match_context_create(NULL);
	s->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
	if (!s->data || !s->context)
		xalloc_fail();
	pcre2_set_match_limit(s->context, ROUTE_REGEX_MATCH_LIMIT);
	pcre2_set_depth_limit(s->context, ROUTE_REGEX_DEPTH_LIMIT);
	pcre2_set_heap_limit(s->context, HEAP_LIMIT_KIB);
	/* NULL, where there is no JIT, stands for 32 KiB of the machine's stack. */
	pcre2_jit_stack_assign(s->context, NULL, s->stack);
	return s;
}

void route_scratch_free(struct route_scratch *s)
{
	if (!s)
		return;
	pcre2_jit_stack_free(s->stack);
	pcre2_match_context_free(s->context);
	pcre2_match_data_free(s->data);
	free(s);
}

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
#include <ctype.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/xalloc.h"

enum {
	HEAP_LIMIT_KIB = 1024,
	JIT_STACK_MIN = 32 * 1024,
	JIT_STACK_MAX = 256 * 1024,
	PATTERN_MAX = 8192,
	JOINED_MAX = 256,	/* longer ones stay alone */
};

struct route_regex {
	pcre2_code *code;
};

struct route_scratch {
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
};

static const uint32_t base_options = PCRE2_CASELESS | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF |
				     PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C;

static pcre2_code *compile(struct slice pattern, int *ret_error, size_t *ret_offset)
{
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	pcre2_code *code;

	if (!context)
		xalloc_fail();
	pcre2_set_max_pattern_length(context, PATTERN_MAX);
	code = pcre2_compile((PCRE2_SPTR)(pattern.ptr ? pattern.ptr : ""), pattern.len, base_options,
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

/*
 * True where a pattern means the same as one alternative among others: no verbs, no
 * options, no references to groups by number or name, none of the rarer escapes.
 */
static bool stands_beside_others(struct slice p)
{
	for (size_t i = 0; i < p.len; i++) {
		char next = i + 1 < p.len ? p.ptr[i + 1] : '\0';

		if (p.ptr[i] == '(' && (next == '*' || (next == '?' && (i + 2 == p.len || p.ptr[i + 2] != ':'))))
			return false;
		if (p.ptr[i] != '\\')
			continue;
		if (!next || (!strchr("dDwWsSbBAzZ", next) && (next < '!' || next > '~' || isalnum((unsigned char)next))))
			return false;
		i++;
	}
	return true;
}

bool route_regex_joins(const struct route_regex *re, struct slice pattern)
{
	uint32_t options = 0;

	return re && pattern.len <= JOINED_MAX && stands_beside_others(pattern) &&
	       pcre2_pattern_info(re->code, PCRE2_INFO_ALLOPTIONS, &options) == 0 &&
	       (options & PCRE2_ANCHORED);
}

struct route_regex *route_regex_join(const struct slice *patterns, size_t n)
{
	struct buffer b = BUFFER_INIT;
	struct route_regex *re = NULL;
	pcre2_code *code;
	int error;
	size_t offset;

	for (size_t i = 0; i < n; i++) {
		buffer_add_string(&b, i ? "|(?:" : "(?:");
		buffer_add(&b, patterns[i].ptr, patterns[i].len);
		buffer_printf(&b, ")(*MARK:%zu)", i);
	}
	/* Too large for its link size, say, and then the patterns do without. */
	code = pcre2_compile((PCRE2_SPTR)b.ptr, b.len, base_options | PCRE2_ANCHORED | PCRE2_NO_AUTO_CAPTURE,
			     &error, &offset, NULL);
	buffer_fini(&b);
	/* The interpreter gains nothing by it. */
	if (code && pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0) {
		re = xmalloc(sizeof(*re));
		re->code = code;
	} else {
		pcre2_code_free(code);
	}
	return re;
}

enum route_regex_result route_regex_match_joined(const struct route_regex *re, struct route_scratch *s,
						 struct slice subject, size_t *ret_index)
{
	enum route_regex_result result = route_regex_match(re, s, subject);
	PCRE2_SPTR mark = result == ROUTE_REGEX_YES ? pcre2_get_mark(s->data) : NULL;

	if (result != ROUTE_REGEX_YES)
		return result;
	if (!mark)
		return ROUTE_REGEX_LIMIT;
	*ret_index = strtoul((const char *)mark, NULL, 10);
	return ROUTE_REGEX_YES;
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

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "config/diagnostics.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/xalloc.h"

void diagnostics_init(struct diagnostics *d, struct arena *arena)
{
	*d = (struct diagnostics){ .arena = arena };
	d->last = &d->first;
}

struct diagnostic *diagnostics_add(struct diagnostics *d, enum severity severity, const char *code,
				   struct span span, const char *format, ...)
{
	unsigned *count = severity == SEVERITY_ERROR ? &d->n_errors : &d->n_warnings;
	struct diagnostic *diag;
	va_list ap;

	if (++*count > DIAGNOSTICS_MAX) {
		d->beyond.n_notes = DIAGNOSTIC_NOTES; /* takes none */
		return &d->beyond;
	}
	diag = arena_alloc(d->arena, sizeof(*diag));
	diag->severity = severity;
	diag->code = code;
	diag->span = span;
	va_start(ap, format);
	diag->message = arena_vprintf(d->arena, format, ap);
	va_end(ap);
	*d->last = diag;
	d->last = &diag->next;
	return diag;
}

void diagnostics_note(struct diagnostics *d, struct diagnostic *to, struct span span,
		      const char *format, ...)
{
	va_list ap;

	if (to->n_notes == DIAGNOSTIC_NOTES)
		return;
	va_start(ap, format);
	to->notes[to->n_notes].message = arena_vprintf(d->arena, format, ap);
	va_end(ap);
	to->notes[to->n_notes++].span = span;
}

struct sort_row {
	struct diagnostic *diag;
	size_t file, at;
};

static int by_place(const void *a, const void *b)
{
	const struct sort_row *x = a, *y = b;

	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	if (x->diag->span.first != y->diag->span.first)
		return x->diag->span.first < y->diag->span.first ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

void diagnostics_sort(struct diagnostics *d)
{
	size_t n = 0, i = 0;
	struct sort_row *rows;

	for (struct diagnostic *p = d->first; p; p = p->next)
		n++;
	rows = xcalloc(n, sizeof(*rows));
	for (struct diagnostic *p = d->first; p; p = p->next, i++) {
		rows[i] = (struct sort_row){ p, i, i };
		for (size_t k = 0; k < i; k++) {
			if (rows[k].diag->span.source == p->span.source) {
				rows[i].file = rows[k].file;
				break;
			}
		}
	}
	qsort(rows, n, sizeof(*rows), by_place);
	d->first = NULL;
	d->last = &d->first;
	for (i = 0; i < n; i++) {
		*d->last = rows[i].diag;
		d->last = &rows[i].diag->next;
		rows[i].diag->next = NULL;
	}
	free(rows);
}

enum { LINE_SHOWN = 160 };

/* The line of a span with the word underlined; a tab stays one, so that the caret stands right. */
static void print_line(const struct span *span, struct buffer *out)
{
	const struct source *src = span->source;
	size_t begin = span->first, end = span->first, from, mark;

	while (begin > 0 && src->text[begin - 1] != '\n')
		begin--;
	while (end < src->len && src->text[end] != '\n' && src->text[end] != '\r')
		end++;
	/* Of a very long line only what surrounds the word. */
	from = span->first - begin > LINE_SHOWN / 2 ? span->first - LINE_SHOWN / 2 : begin;
	if (end - from > LINE_SHOWN)
		end = from + LINE_SHOWN;
	buffer_printf(out, "%5u | ", span->line);
	for (size_t i = from; i < end; i++) {
		unsigned char c = (unsigned char)src->text[i];

		buffer_add_char(out, c == '\t' || (c >= ' ' && c != 0x7f) ? (char)c : '?');
	}
	buffer_add_string(out, "\n      | ");
	for (size_t i = from; i < span->first && i < end; i++) {
		unsigned char c = (unsigned char)src->text[i];

		if (c == '\t')
			buffer_add_char(out, '\t');
		else if ((c & 0xc0) != 0x80) /* a UTF-8 character takes one column */
			buffer_add_char(out, ' ');
	}
	buffer_add_char(out, '^');
	mark = span->end < end ? span->end : end;
	for (size_t i = span->first + 1; i < mark; i++) {
		if (((unsigned char)src->text[i] & 0xc0) != 0x80)
			buffer_add_char(out, '~');
	}
	buffer_add_char(out, '\n');
}

static unsigned not_kept(unsigned n)
{
	return n > DIAGNOSTICS_MAX ? n - DIAGNOSTICS_MAX : 0;
}

static void print_place(const struct span *span, const char *what, const char *message,
			struct buffer *out)
{
	if (!span->source)
		buffer_printf(out, "teeproxy: %s: %s\n", what, message);
	else if (span->line == 0)
		buffer_printf(out, "%s: %s: %s\n", span->source->name, what, message);
	else {
		buffer_printf(out, "%s:%u:%u: %s: %s\n", span->source->name, span->line,
			      span->column, what, message);
	}
}

void diagnostics_print(const struct diagnostics *d, struct buffer *out)
{
	for (const struct diagnostic *p = d->first; p; p = p->next) {
		print_place(&p->span, p->severity == SEVERITY_ERROR ? "error" : "warning",
			    p->message, out);
		if (p->span.source && p->span.line)
			print_line(&p->span, out);
		for (unsigned i = 0; i < p->n_notes; i++)
			print_place(&p->notes[i].span, "note", p->notes[i].message, out);
	}
	if (not_kept(d->n_errors) + not_kept(d->n_warnings) > 0)
		buffer_printf(out, "teeproxy: %u more not shown\n", not_kept(d->n_errors) + not_kept(d->n_warnings));
}

/* Length of the UTF-8 sequence at p of at most left bytes, 0 where it is none (RFC 3629). */
static size_t utf8_length(const unsigned char *p, size_t left)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 :
		   p[0] < 0xf5 ? 4 : 0;

	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

void json_put_string(struct buffer *out, const char *s)
{
	size_t len = strlen(s);

	buffer_add_char(out, '"');
	for (size_t i = 0; i < len;) {
		unsigned char c = (unsigned char)s[i];
		size_t n = utf8_length((const unsigned char *)s + i, len - i);

		if (n == 0) {
			buffer_add_string(out, "\\ufffd");
			i++;
			continue;
		}
		if (c == '"' || c == '\\')
			buffer_printf(out, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			buffer_printf(out, "\\u%04x", c);
		else
			buffer_add(out, s + i, n);
		i += n;
	}
	buffer_add_char(out, '"');
}

/* Line and column of the end, counted in the text. */
static void count_end(const struct span *s, unsigned *ret_line, unsigned *ret_column)
{
	*ret_line = s->line;
	*ret_column = s->column;
	for (size_t i = s->first; i < s->end; i++) {
		bool newline = i < s->source->len && s->source->text[i] == '\n';

		*ret_line += newline;
		*ret_column = newline ? 1 : *ret_column + 1;
	}
}

static void json_place(struct buffer *out, const struct span *span)
{
	unsigned line, column;

	count_end(span, &line, &column);
	buffer_add_string(out, "\"file\":");
	json_put_string(out, span->source ? span->source->name : "");
	buffer_printf(out, ",\"line\":%u,\"column\":%u,\"end\":{\"line\":%u,\"column\":%u}", span->line,
		      span->column, line, column);
}

void diagnostics_print_json(const struct diagnostics *d, struct buffer *out)
{
	buffer_add_char(out, '[');
	for (const struct diagnostic *p = d->first; p; p = p->next) {
		buffer_add_string(out, p == d->first ? "\n{" : ",\n{");
		json_place(out, &p->span);
		buffer_printf(out, ",\"severity\":\"%s\",\"code\":",
			      p->severity == SEVERITY_ERROR ? "error" : "warning");
		json_put_string(out, p->code);
		buffer_add_string(out, ",\"message\":");
		json_put_string(out, p->message);
		buffer_add_string(out, ",\"notes\":[");
		for (unsigned i = 0; i < p->n_notes; i++) {
			buffer_add_string(out, i ? ",{" : "{");
			json_place(out, &p->notes[i].span);
			buffer_add_string(out, ",\"message\":");
			json_put_string(out, p->notes[i].message);
			buffer_add_char(out, '}');
		}
		buffer_add_string(out, "]}");
	}
	buffer_add_string(out, d->first ? "\n]\n" : "]\n");
}

enum { SUGGEST_MAX = 64 };

/* Optimal string alignment: insert, delete, change, swap neighbours. */
static unsigned distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	unsigned rows[3][SUGGEST_MAX + 1];

	if (la > SUGGEST_MAX || lb > SUGGEST_MAX)
		return SUGGEST_MAX;
	for (size_t j = 0; j <= lb; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			char x = ascii_lower(a[i - 1]), y = ascii_lower(b[j - 1]);
			unsigned best = last[j - 1] + (x != y);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && x == ascii_lower(b[j - 2]) &&
			    ascii_lower(a[i - 2]) == y && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
	}
	return rows[la % 3][lb];
}

void suggest_init(struct suggestion *s, const char *word)
{
	size_t len = strlen(word);

	*s = (struct suggestion){ word, NULL, (unsigned)(len / 3 ? len / 3 : 1) + 1 };
}

void suggest_consider(struct suggestion *s, const char *candidate)
{
	unsigned d = distance(s->word, candidate);

	if (d < s->distance) {
		s->distance = d;
		s->best = candidate;
	}
}

const char *suggest_result(const struct suggestion *s)
{
	return s->best;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be said about a configuration: errors, warnings, notes.
 *
 * A diagnostic is a value: severity, a stable code, a message, a span and notes
 * that point to other places.  The list keeps the texts that the spans point
 * into, so it can show the lines after everything else is gone.
 */
#ifndef CONFIG_DIAGNOSTICS_H
#define CONFIG_DIAGNOSTICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct buffer;

/* Where a word stands.  Lines and columns (bytes) count from 1; line 0: the file as a whole. */
struct span {
	uint32_t source;	/* from diagnostics_add_source() */
	uint32_t line;
	uint32_t column;
	uint32_t end;		/* column behind the last byte, on the same line */
};

enum severity { SEVERITY_ERROR, SEVERITY_WARNING, SEVERITY_NOTE };

struct diagnostic {
	enum severity severity;
	const char *code;	/* a slug that stays: "unknown-backend" */
	const char *message;
	struct span span;
	struct diagnostic *notes; /* NOTE only, in order */
	struct diagnostic *next;
};

struct diagnostics;

struct diagnostics *diagnostics_new(void);
void diagnostics_free(struct diagnostics *d); /* takes NULL */

/* Keeps a copy of name and text; the number is what spans carry. */
uint32_t diagnostics_add_source(struct diagnostics *d, const char *name, const char *text,
				size_t len);
const char *diagnostics_source_name(const struct diagnostics *d, uint32_t source);
/* The text of one source, as it is kept. */
const char *diagnostics_source_text(const struct diagnostics *d, uint32_t source, size_t *ret_len);

/* The diagnostic, to hang notes on.  Past 200 errors only the count goes on. */
struct diagnostic *diagnostics_add(struct diagnostics *d, enum severity severity, struct span span,
				   const char *code, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
void diagnostics_note(struct diagnostics *d, struct diagnostic *about, struct span span,
		      const char *format, ...) __attribute__((format(printf, 4, 5)));

size_t diagnostics_count(const struct diagnostics *d, enum severity severity);
const struct diagnostic *diagnostics_first(const struct diagnostics *d);

/* Sorts by place; call once, before printing. */
void diagnostics_sort(struct diagnostics *d);
/* All of them: "file:line:column: error: ..." with the line and a caret. */
void diagnostics_print(const struct diagnostics *d, struct buffer *out);
/* One line each, without the excerpt: for a log. */
void diagnostics_print_short(const struct diagnostics *d, struct buffer *out);
/* An array of {file, line, column, end, severity, code, message, notes}. */
void diagnostics_print_json(const struct diagnostics *d, struct buffer *out);

#endif

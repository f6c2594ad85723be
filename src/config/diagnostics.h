/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a configuration, as values.
 *
 * A pass adds; whoever ran the passes prints, as text with the line and a caret
 * or as JSON for editors.  A message says what was expected, is in lower case,
 * without a full stop, and puts what the user wrote in double quotes.
 */
#ifndef CONFIG_DIAGNOSTICS_H
#define CONFIG_DIAGNOSTICS_H

#include <stdbool.h>
#include <stddef.h>

#include "config/span.h"

struct arena;
struct buffer;

enum severity { SEVERITY_ERROR, SEVERITY_WARNING };

struct diagnostic_note {
	struct span span;
	const char *message;
};

enum { DIAGNOSTIC_NOTES = 3, DIAGNOSTICS_MAX = 1000 };

struct diagnostic {
	enum severity severity;
	const char *code;	/* stable, for programs: "unknown-backend" */
	struct span span;
	const char *message;
	struct diagnostic_note notes[DIAGNOSTIC_NOTES];
	unsigned n_notes;
	struct diagnostic *next;
};

struct diagnostics {
	struct arena *arena;	/* borrowed; texts and list live there */
	struct diagnostic *first, **last;
	struct diagnostic beyond;	/* what is counted and not kept */
	unsigned n_errors, n_warnings;
};

void diagnostics_init(struct diagnostics *d, struct arena *arena);

/* Of errors and of warnings DIAGNOSTICS_MAX each; past that they are counted and not kept. */
struct diagnostic *diagnostics_add(struct diagnostics *d, enum severity severity, const char *code,
				   struct span span, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
/* A second place; beyond DIAGNOSTIC_NOTES it is left out. */
void diagnostics_note(struct diagnostics *d, struct diagnostic *to, struct span span,
		      const char *format, ...) __attribute__((format(printf, 4, 5)));

#define diag_error(d, code, span, ...)                                                             \
	diagnostics_add(d, SEVERITY_ERROR, code, span, __VA_ARGS__)
#define diag_warning(d, code, span, ...)                                                           \
	diagnostics_add(d, SEVERITY_WARNING, code, span, __VA_ARGS__)

/* In the order of file and line; files in the order in which they first appear. */
void diagnostics_sort(struct diagnostics *d);
void diagnostics_print(const struct diagnostics *d, struct buffer *out);
void diagnostics_print_json(const struct diagnostics *d, struct buffer *out);

/*
 * The nearest of the candidates to word by Damerau-Levenshtein distance, or NULL
 * where none is near (a third of its letters, at least one).
 */
struct suggestion {
	const char *word;
	const char *best;
	unsigned distance;
};

void suggest_init(struct suggestion *s, const char *word);
void suggest_consider(struct suggestion *s, const char *candidate);
const char *suggest_result(const struct suggestion *s);

/* Puts s as a JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
void json_put_string(struct buffer *out, const char *s);

#endif

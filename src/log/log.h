/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines for people and for programs.
 *
 * A line is built on the caller's stack from a message and fields, and written
 * whole: as logfmt (key=value), as a JSON object, or as text.  Values come from
 * strangers, so every byte that could end a value or a line is escaped.  Nothing
 * secret is ever handed in.
 *
 * log_open() is called before threads exist; log_reopen() and log_replace() swap the
 * descriptor under the others' feet by dup3(2).  All else may be called by any
 * thread.  A worker gathers its access lines in a log_batch and writes them once a
 * turn of its loop.  Lines that the sink does not take are dropped and counted.
 */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "config/config.h"

enum { LOG_LINE_MAX = 2048, LOG_BATCH_MAX = 32768 };

struct log_line {
	size_t len;
	char text[LOG_LINE_MAX];
};

struct log_batch {
	size_t len;
	char text[LOG_BATCH_MAX];
};

/* 0 or -errno where the file cannot be opened.  syslog and journal: -ENOTSUP so far. */
int log_open(const struct config_log *config);
int log_reopen(void);
/* The sink's descriptor, borrowed, or -1; and another in its place, which stays the caller's. */
int log_descriptor(void);
int log_replace(int fd);
void log_set_level(enum config_log_level level);
bool log_wants(enum config_log_level level);
/* The words of "level": false for another. */
bool log_parse_level(const char *word, enum config_log_level *ret);

void log_begin(struct log_line *l, enum config_log_level level, const char *message);
void log_field(struct log_line *l, const char *key, struct slice value);
void log_field_string(struct log_line *l, const char *key, const char *value);
void log_field_number(struct log_line *l, const char *key, uint64_t value);
void log_end(struct log_line *l);
/* The same, but into the batch. */
void log_end_batched(struct log_line *l, struct log_batch *b);
void log_flush(struct log_batch *b);

/* A line of nothing but a message. */
void log_message(enum config_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
#define log_error(...) log_message(LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_message(LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_message(LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LEVEL_DEBUG, __VA_ARGS__)

#endif

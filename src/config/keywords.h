/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every section and every setting as a row of one table.
 *
 * A new setting is a new row: its section, its name (one or two words), how its
 * value is written, its range, its default and a line of help.  config_check()
 * reads values by the row and stores them at the row's offset; --keywords prints
 * the table, and a test compares it with teeproxy.conf(5).
 */
#ifndef CONFIG_KEYWORDS_H
#define CONFIG_KEYWORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum keyword_section {
	SECTION_NONE,
	SECTION_GLOBAL,
	SECTION_DEFAULTS,
	SECTION_AWS,
	SECTION_RESOLVER,
	SECTION_ENCLAVE,
	SECTION_BACKEND,
	SECTION_FRONTEND,
	SECTION_DEFINE,
	SECTION_INCLUDE,
};

enum keyword_type {
	TYPE_NUMBER,	/* uint32_t */
	TYPE_WORKERS,	/* uint32_t; "auto" is 0 */
	TYPE_SIZE,	/* uint32_t bytes: 64k 1m */
	TYPE_BANDWIDTH,	/* uint64_t bytes a second: 10m/s */
	TYPE_DURATION,	/* uint32_t milliseconds: 500ms 10s; "off" is 0 where the row allows it */
	TYPE_ON_OFF,	/* bool */
	TYPE_CHOICE,	/* int: the number of the word in choices */
	TYPE_STRING,	/* const char * */
	TYPE_CIDRS,	/* pointer to struct ip_cidr and, behind it, size_t */
	TYPE_RATE,	/* struct config_rate: 100/s burst 200 */
	TYPE_OTHER,	/* a function of check_settings.c reads it */
	TYPE_RULE,	/* begins a rule */
};

struct keyword {
	enum keyword_section section;
	const char *name;
	enum keyword_type type;
	unsigned modes;		/* frontends: bits of enum config_mode where it means something; 0: all */
	uint64_t min, max;
	bool off;		/* TYPE_DURATION: "off" is allowed */
	bool repeats;		/* may be given several times */
	const char *choices;	/* TYPE_CHOICE: words separated by blanks */
	const char *preset;	/* the default, as text */
	size_t offset;
	const char *help;
};

extern const struct keyword keywords[];
extern const size_t n_keywords;

enum { KEYWORDS_MAX = 128 };

const char *keyword_section_name(size_t i); /* NULL past the last */
enum keyword_section keyword_find_section(const char *word);
/* The row for a statement's first words; second may be NULL. *ret_words: how many of them are its name. */
const struct keyword *keyword_find(enum keyword_section section, const char *first,
				   const char *second, unsigned *ret_words);
/* "http, https, tcp, ..." */
const char *keyword_modes(void);
/* What a word of HAProxy, nginx and others is called here: `use "listen"`; NULL if it is none. */
const char *keyword_alias(const char *word);

#endif

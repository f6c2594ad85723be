/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values of the language: numbers with units, addresses, patterns, places.
 *
 * Each function reads one word and says what is wrong with it at its own place.
 * False means that a diagnostic was added; *ret is untouched then.
 */
#ifndef CONFIG_VALUES_H
#define CONFIG_VALUES_H

#include <stdbool.h>
#include <stdint.h>

#include "config/address.h"
#include "config/ast.h"
#include "config/config.h"

struct model;

/* what: the setting's name, for messages. */
bool value_number(struct model *m, const struct ast_word *w, const char *what, uint64_t min,
		  uint64_t max, uint64_t *ret);
bool value_size(struct model *m, const struct ast_word *w, const char *what, uint64_t min,
		uint64_t max, uint64_t *ret);
bool value_bandwidth(struct model *m, const struct ast_word *w, const char *what, uint64_t min,
		     uint64_t max, uint64_t *ret);
/* Milliseconds; 0 for "off", where off is true. */
bool value_duration(struct model *m, const struct ast_word *w, const char *what, uint64_t min,
		    uint64_t max, bool off, uint32_t *ret);
/* 100/s, 10/m, 5/h */
bool value_rate(struct model *m, const struct ast_word *w, const char *what, uint64_t max,
		struct config_rate *ret);
bool value_on_off(struct model *m, const struct ast_word *w, const char *what, bool *ret);
bool value_choice(struct model *m, const struct ast_word *w, const char *what, const char *choices,
		  int *ret);
bool value_cidr(struct model *m, const struct ast_word *w, struct ip_cidr *ret);
bool value_file_mode(struct model *m, const struct ast_word *w, unsigned *ret);
/* arn:PARTITION:SERVICE:... */
bool value_is_arn(const char *s, const char *service);
/* A key's ARN, alias or id; without a role. */
bool value_kms_key(struct model *m, const struct ast_word *w, struct config_kms_key *ret);

enum address_use { ADDRESS_TO_LISTEN, ADDRESS_TO_DIAL };

bool value_address(struct model *m, const struct ast_word *w, enum address_use use,
		   struct address *ret);
/* Would this word be an address?  Target words that are none are names of backends. */
bool value_looks_like_address(const struct ast_word *w);
/* A port of 1 to 65535. */
bool value_port(struct model *m, const struct ast_word *w, struct slice text, uint32_t *ret);

/* A host or SNI pattern; "none" only where allowed. */
bool value_pattern(struct model *m, const struct ast_word *w, bool none_allowed,
		   struct route_pattern *ret);
bool value_who(struct model *m, const struct ast_word *w, struct route_who *ret);
/* PATTERN:PORTS or CIDR:PORTS; or, where ports follow apart, the pattern alone (n_ports 0). */
bool value_where(struct model *m, const struct ast_word *w, struct route_where *ret);
bool value_ports(struct model *m, const struct ast_word *w, struct slice text,
		 struct route_ports *ret);

#endif

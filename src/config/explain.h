/* SPDX-License-Identifier: Apache-2.0 */
/*
 * teeproxy --explain: which rule takes a connection, in words.
 */
#ifndef CONFIG_EXPLAIN_H
#define CONFIG_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

struct buffer;

/*
 * words are NAME=VALUE: sni, host, path, alpn (several), from; to and address for egress.  True with the
 * answer in out; false with what is wrong with the question in out.
 */
bool config_explain(const struct config *c, const char *frontend, char *const *words,
		    size_t n_words, struct buffer *out);

#endif

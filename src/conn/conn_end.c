/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of conn_end.def as words.
 */
#include <config.h>

#include "conn/conn.h"

static const struct {
	const char *label;
	enum conn_blame blame;
	const char *sentence;
} ends[END_COUNT] = {
#define CONN_END(id, label, blame, sentence) { label, blame, sentence },
#include "conn/conn_end.def"
#undef CONN_END
};

const char *conn_end_label(enum conn_end end)
{
	return ends[end].label;
}

const char *conn_end_sentence(enum conn_end end)
{
	return ends[end].sentence;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes in one direction between two open descriptors.
 *
 * A pump reads and sends at once.  It stops reading while it holds bytes that the
 * other end does not take, so a slow reader slows its own sender and no one else.
 * It owns a buffer only while bytes are under way.  What has shown itself to be
 * bulk goes through a pipe by splice(2) where the kernel can, which is copied by
 * nobody; where it cannot, or pipes are short, it goes on copying.  End of stream
 * is passed on only after everything before it.
 */
#ifndef CONN_PUMP_H
#define CONN_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pump_result {
	PUMP_WAIT,	/* one end would block; see pump_holds() */
	PUMP_EOF,	/* the last byte is written and the end passed on */
	PUMP_READ_ERROR, /* errno says why */
	PUMP_WRITE_ERROR,
};

struct pump {
	unsigned char *buf;	/* NULL: holds nothing by copy */
	uint32_t size, first, len;
	uint32_t piped;		/* bytes in the pipe */
	int pipe[2];		/* 0, 0: none */
	uint64_t total;		/* bytes written */
	uint64_t allowance;	/* bytes that may still be read; UINT64_MAX: no limit */
	uint64_t marked;	/* total when the deadline was last moved */
	uint8_t full_reads;	/* in a row: two make bulk */
	bool eof;		/* read; shut: passed on */
	bool shut;
	bool cut;		/* shut because the other end takes no more */
	bool no_splice;
	bool last;	/* the other direction is over: close(2) will pass this end on */
};

void pump_init(struct pump *p, uint32_t size);
/* Frees buffer and pipe. */
void pump_fini(struct pump *p);
/* Room for at least size bytes behind what is held; false where there is no memory. */
bool pump_reserve(struct pump *p, uint32_t size);
/* Puts bytes before all that is held; false where there is no memory. */
bool pump_push_front(struct pump *p, const void *bytes, uint32_t len);
/* Writes what is held and reads nothing: 1 when nothing is left, 0 when to would block, -1 with errno. */
int pump_flush(struct pump *p, int to);
/*
 * Moves what can be moved now, up to a share of the loop's turn and to the allowance
 * (PUMP_WAIT then, too).
 */
enum pump_result pump_run(struct pump *p, int from, int to);

/* The other end takes no more: drops what is held, and neither reads nor writes again. */
void pump_cut(struct pump *p);

static inline bool pump_holds(const struct pump *p)
{
	return p->len + p->piped > 0;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes in one direction between two open descriptors.
 *
 * A pump reads and sends at once.  It stops reading while it holds bytes that the
 * other end does not take, so a slow reader slows its own sender and no one else.
 * It owns a buffer only while bytes are under way, and a pipe likewise: a read goes to
 * room that all pumps of a thread share, and only what the other end did not take is
 * copied from there.  What has shown itself to be bulk goes through a pipe by splice(2)
 * where the kernel can, which is copied by nobody; where it cannot, or pipes are short,
 * it goes on copying.  From a TCP sender whose bulk has gone on for long it wants to be
 * told only of much at once (SO_RCVLOWAT): each time it is told costs as much as a hundred
 * kilobytes.  The kernel tells of an end, an error or a full window at once; for what else
 * may never become much, who runs the pump has to keep the time.  End of stream is passed
 * on only after everything before it, and with the last bytes where both are known to come
 * together.
 *
 * Events are edges: who runs a pump says what is known of its sender (readable, ending,
 * exact), and the pump keeps that up to date.
 */
#ifndef CONN_PUMP_H
#define CONN_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pump_result {
	PUMP_WAIT,	/* see pump_holds(), and readable: is one left that runs no more this turn? */
	PUMP_EOF,	/* the last byte is written and the end passed on */
	PUMP_READ_ERROR, /* errno says why */
	PUMP_WRITE_ERROR,
};

enum {
	PUMP_ROOM = 1024 * 1024, /* the largest buffer that can be configured */
	PUMP_PIPES = 8,		/* kept for the next who is bulk */
};

/* What the pumps of one thread share. */
struct pump_kit {
	unsigned char *room;	/* of one read: empty again when pump_run() returns */
	int pipes[PUMP_PIPES][2]; /* empty */
	unsigned n_pipes;
};

void pump_kit_init(struct pump_kit *k);
void pump_kit_fini(struct pump_kit *k);
/* Closes the pipes that wait for the next one. */
void pump_kit_trim(struct pump_kit *k);

struct pump {
	struct pump_kit *kit;
	unsigned char *buf;	/* NULL: holds nothing by copy */
	uint32_t size;		/* of a read, at most */
	uint32_t room;		/* of buf; 0: buf is the kit's, and pump_keep() must come before others run */
	uint32_t first, len;
	uint32_t piped;		/* bytes in the pipe */
	int pipe[2];		/* 0, 0: none */
	uint32_t streak;	/* bytes of full reads in a row: enough make bulk */
	uint64_t total;		/* bytes written */
	uint64_t allowance;	/* bytes that may still be read; UINT64_MAX: no limit */
	uint64_t marked;	/* total when the deadline was last moved */
	bool readable;		/* the sender may have bytes, or an end */
	bool ending;		/* it has ended: behind a short read that took all comes nothing */
	bool exact;		/* a short read took all there was */
	bool eof;		/* read; shut: passed on */
	bool shut;
	bool cut;		/* shut because the other end takes no more */
	bool no_splice;
	bool last;		/* the other direction is over: close(2) will pass this end on */
	bool gathers;		/* may be told of much at once; who runs it must keep the time then */
	bool gathering;		/* is: pump_gathered() when that has taken long enough */
	bool nagles;		/* TCP_NODELAY is still to be set, before the second write */
};

void pump_init(struct pump *p, struct pump_kit *kit, uint32_t size);
/* Frees the buffer, gives the pipe back. */
void pump_fini(struct pump *p);
/* Room for at least size bytes behind what is held; false where there is no memory. */
bool pump_reserve(struct pump *p, uint32_t size);
/* Puts bytes before all that is held; false where there is no memory. */
bool pump_push_front(struct pump *p, const void *bytes, uint32_t len);
/* The kit's room for one read of p->size bytes, where nothing is held. */
void pump_borrow(struct pump *p);
/* Takes a copy of what was borrowed and is still held, or leaves the buffer; false where there is no memory. */
bool pump_keep(struct pump *p);
/* Writes what is held and reads nothing: 1 when nothing is left, 0 when to would block, -1 with errno. */
int pump_flush(struct pump *p, int to);
/*
 * Moves what can be moved now, up to a share of the loop's turn and to the allowance
 * (PUMP_WAIT then, too).
 */
enum pump_result pump_run(struct pump *p, int from, int to);

/* Where it is gathering and waits: what is there will do, and it is told of every byte again. */
void pump_gathered(struct pump *p, int from);

/* The other end takes no more: drops what is held, and neither reads nor writes again. */
void pump_cut(struct pump *p);

static inline bool pump_holds(const struct pump *p)
{
	return p->len + p->piped > 0;
}

#endif

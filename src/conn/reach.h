/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reaching a target that takes more than one connect(): a name has to be looked up and
 * its addresses raced, the VMM behind uds-vsock: has to be asked for the guest's port.
 *
 * All that this needs is in an allocation of its own, so that a connection to any other
 * target costs a pointer.  It stays for what the log says of it.  Time is bounded by who
 * called, who frees it.
 */
#ifndef CONN_REACH_H
#define CONN_REACH_H

#include <stdbool.h>

#include "conn/conn.h"

struct address;
struct log_line;
struct reach;
struct worker;

bool reach_is_for(const struct address *target);

/* fd >= 0: connected, and the caller's.  Else why, and the errno of it or 0. */
typedef void reach_done(void *data, int fd, enum conn_end why, int error);

/*
 * Begins.  done() is called once, from the loop and never before this returns, unless
 * reach_free() comes first.  target is borrowed.  NULL: out of memory.
 */
struct reach *reach_new(struct worker *w, const struct address *target, reach_done *done, void *data);
/* done() has not been called. */
bool reach_is_under_way(const struct reach *r); /* false for NULL */
/* done() is not called any more; what is known stays for the log. */
void reach_cancel(struct reach *r);
/* Both take NULL, and may be called from done(). */
void reach_free(struct reach *r);

/* ev_now() of when the name's addresses were there, or 0. */
double reach_looked_up(const struct reach *r);
/* The address of a name that was reached, for the log; nothing for NULL. */
void reach_log(const struct reach *r, struct log_line *l);

#endif

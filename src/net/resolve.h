/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses, on a loop, never blocking it.
 *
 * One resolver for each loop; nothing is shared between threads.  It owns a cache:
 * answers are kept for their TTL (at least 1 s, at most 1 h), failures for 5 s, and an
 * expired answer serves for `stale` while the servers are silent (waited for 1.8 s) or say
 * SERVFAIL; NXDOMAIN ends it.  Look-ups of one name that are under way are shared.  The hosts
 * file comes first and is read again when it changes, and so is /etc/resolv.conf where
 * the configuration names no server.
 *
 * Names are absolute: search lists and ndots are not looked at, since a policy for
 * "a.example" must not be about "a.example.corp.internal".  CNAMEs are followed in the answer.
 * Addresses come as the servers gave them, AAAA and A interleaved with IPv6 first
 * (RFC 8305, 4), those of the hosts file as it has them; what may be dialled is the
 * caller's to judge.
 */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/list.h"
#include "base/slice.h"

struct config_resolver;
struct ev_loop;
struct resolver;

enum {
	RESOLVE_ADDRESSES_MAX = 64,	/* of one name: more are left out */
	RESOLVE_CACHE_MAX = 16384,	/* names kept; past it the one unused for longest goes */
	RESOLVE_FAILURE_MS = 5000,	/* how long a failure is remembered */
	RESOLVE_STALE_WAIT_MS = 1800,	/* then what has expired serves: RFC 8767, 5 */
	RESOLVE_DELAY_MS = 50,		/* of A records, for AAAA that are late: RFC 8305, 3 */
};

enum resolve_status {
	RESOLVE_OK,
	RESOLVE_NO_NAME,	/* NXDOMAIN, a malformed name, or a name without addresses */
	RESOLVE_SERVER_FAILED,	/* SERVFAIL, REFUSED, or an answer that cannot be read */
	RESOLVE_TIMEOUT,	/* the servers are silent */
	RESOLVE_NO_MEMORY,	/* or as many look-ups under way as there are names kept */
};

/* Valid until the caller of resolve_start(), or done(), returns to the loop. */
struct resolve_answer {
	enum resolve_status status;
	const struct ip_addr *addresses;
	size_t n;
	bool stale;		/* expired: the servers did not answer */
	uint32_t ttl_s;		/* left, rounded up; 0 for stale and failures */
};

/* Who waits; embedded in what waits. */
struct resolve_query {
	struct list node;	/* on no list: does not wait */
	/* Once; may start another query, and free q. */
	void (*done)(struct resolve_query *q, const struct resolve_answer *a);
};

/* NULL: out of memory or no usable configuration, which is logged. */
struct resolver *resolver_new(struct ev_loop *loop, const struct config_resolver *c);
/* Nobody waits any more, or their done() is never called.  Takes NULL. */
void resolver_free(struct resolver *r);

void resolve_query_init(struct resolve_query *q,
			void (*done)(struct resolve_query *q, const struct resolve_answer *a));
/*
 * name: as host_name_fold() writes it.  True where the answer is known already (cache, hosts file,
 * a name that cannot be looked up) and stands in *ret.
 */
bool resolve_known(struct resolver *r, struct slice name, struct resolve_answer *ret);
/*
 * The same; done() is not called then.  Else q waits, and done() is called from the loop,
 * unless resolve_cancel() comes first.
 */
bool resolve_start(struct resolver *r, struct resolve_query *q, struct slice name,
		   struct resolve_answer *ret);
/* Does nothing for a query that does not wait.  The look-up goes on, for the cache. */
void resolve_cancel(struct resolve_query *q);

/* "no such name", "the name servers are silent", ... */
const char *resolve_status_text(enum resolve_status status);

#endif

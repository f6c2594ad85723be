/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks name servers for the addresses of a name: c-ares on a loop, and met here alone.
 *
 * c-ares chooses ids and ports, asks the servers in turn, takes an answer over TCP that
 * UDP cut short, and gives up in about DNS_TIMEOUT_MS.  It keeps nothing: what is
 * remembered is resolve.c's.
 */
#ifndef NET_DNS_H
#define NET_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

struct config_resolver;
struct ev_loop;
struct dns;

#define DNS_SERVERS_FILE "/etc/resolv.conf"	/* where the configuration names no server */

enum {
	DNS_TIMEOUT_MS = 4500,	/* all tries: before a `timeout connect` of 5 s is over */
	DNS_ADDRESSES_MAX = 64,	/* of one answer: more are left out */
};

enum dns_status {
	DNS_FOUND,
	DNS_EMPTY,	/* the name has no address of this family */
	DNS_NO_NAME,
	DNS_FAILED,	/* SERVFAIL, REFUSED, nobody listens there, or the answer cannot be read */
	DNS_SILENT,
	DNS_NO_MEMORY,
};

struct dns_answer {
	enum dns_status status;
	const struct ip_addr *addresses; /* as the server ordered them */
	size_t n;
	uint32_t ttl_s;		/* the smallest of the records and of the CNAMEs that led there */
};

/* Embedded in what waits, which must live until answered() or dns_free(). */
struct dns_query {
	bool v6;
	/*
	 * From inside c-ares, and perhaps from inside dns_ask(): must not call in here
	 * again, nor into whoever may.
	 */
	void (*answered)(struct dns_query *q, const struct dns_answer *a);
	struct channel *channel; /* dns.c's */
};

/*
 * NULL with a sentence in *ret_error.  settled() is called after answers came, when it
 * is safe to ask again.
 */
struct dns *dns_new(struct ev_loop *loop, const struct config_resolver *c,
		    void (*settled)(void *data), void *data, const char **ret_error);
/* Takes NULL.  Queries under way are answered as DNS_FAILED. */
void dns_free(struct dns *d);
void dns_ask(struct dns *d, struct dns_query *q, const char *name);
/*
 * Reads DNS_SERVERS_FILE again for queries from now on; false with a sentence, and all
 * as before, where that fails.  Not from answered().
 */
bool dns_renew(struct dns *d, const char **ret_error);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which server of a backend takes a connection.
 *
 * Round robin and source look at weights; least-connections at what this worker
 * has under way, by weight.  Backups come after all others, and are reached by
 * the tries that a failed connect leaves, or where all others are full: a server's
 * max-connections holds over all workers.
 */
#ifndef CONN_BALANCE_H
#define CONN_BALANCE_H

#include <stdint.h>

struct address;
struct config_rule;
struct net_peer;
struct worker;

/*
 * The address for try number n (from 0) of a rule that leads to an address or a
 * backend; failed is what the try before it got, and another is taken if there is one.
 * The connection counts as one to that server until balance_release().  NULL: all
 * are full.
 */
const struct address *balance_choose(struct worker *w, const struct config_rule *rule,
				     const struct net_peer *peer, unsigned n,
				     const struct address *failed);
/* A connection to it is over, or could not be had. */
void balance_release(struct worker *w, const struct config_rule *rule, const struct address *target);

/* A backend's own timeouts, else these; rule may be NULL. */
uint32_t balance_connect_ms(const struct config_rule *rule, uint32_t frontends_ms);
uint32_t balance_idle_ms(const struct config_rule *rule, uint32_t frontends_ms);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often one address may connect: rate per-source, over all workers.
 *
 * No list of addresses, which strangers could make grow: a frontend has a table of
 * SOURCES_SLOTS words, each a rate as in engine/limits.h, and an address has two of them
 * by a keyed hash.  It is refused only where both are used up, so that who shares one
 * word with a flood still has the other.  Addresses of one IPv6 /64 are one source.
 */
#ifndef ENGINE_SOURCES_H
#define ENGINE_SOURCES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"

struct config;
struct config_frontend;
struct sources;

enum { SOURCES_SLOTS = 1 << 16 };	/* of each frontend that has the setting */

struct sources *sources_new(const struct config *c);
void sources_free(struct sources *s); /* takes NULL */

/* Takes a connection in; true where the frontend has no rate per-source. */
bool sources_connect(struct sources *s, const struct config_frontend *f, const struct ip_addr *from, uint64_t now_ns);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-1-3, keyed: what hashes a stranger's bytes into a table.
 *
 * J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF", 2012,
 * with one compression and three finalisation rounds as Linux, Rust and Python
 * use it for tables.  The key is handed in, so that this room stays pure.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash_key {
	uint64_t k0, k1;
};

uint64_t hash_bytes(const struct hash_key *key, const void *bytes, size_t len);

#endif

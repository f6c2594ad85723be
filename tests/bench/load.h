/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both ends of the benchmark know: the bytes that go over the wire, so that each end can tell
 * whether the other's are right, and the sockets that they go over.
 *
 * load.c has the clients before the proxies, load_serve.c the backend behind them.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ANSWER_LEN = 512,
	BLOCK = 256 * 1024,
	HELLO_MAX = 4096,
	EVENTS = 256,
};

/* Ends the program with status 1 and this on standard error. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Comes before all else that is called block. */
void block_fill(void);

/* The next BLOCK bytes of a bulk stream at this position; every echo is one too. */
const unsigned char *block_at(uint64_t at);

/* Whether these are the bytes of a bulk stream from position at on. */
bool block_matches(const unsigned char *bytes, size_t len, uint64_t at);

/* What the backend of this role says: ANSWER_LEN bytes with its name in them. */
void answer_fill(char *answer, const char *role);

/* A ClientHello for this name, TLS 1.3 shaped, of size bytes (at most HELLO_MAX); its size. */
size_t hello_build(unsigned char *p, const char *name, size_t size);

void set_nodelay(int fd);
void ep_add(int ep, int fd, uint32_t events, void *ptr);
void ep_mod(int ep, int fd, uint32_t events, void *ptr);

/* "load serve": argv is ROLE=PORT and bytes=N; says "ready" on standard output, never returns. */
int serve(int argc, char **argv);

#endif

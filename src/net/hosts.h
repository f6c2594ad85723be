/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hosts file (hosts(5)): names that are answered without asking a server.
 *
 * Lines are an address and names, `#` begins a comment; what cannot be read is passed
 * over, as the C library does.  A name on several lines has the addresses of all, in
 * the order of the file.
 */
#ifndef NET_HOSTS_H
#define NET_HOSTS_H

#include <stddef.h>

#include "base/ip.h"
#include "base/slice.h"

enum { HOSTS_FILE_MAX = 32 * 1024 * 1024 };	/* bytes: more is not read */

struct hosts;

/* 0, or -errno with *ret untouched; a file that is not there is an empty one. */
int hosts_read(const char *path, struct hosts **ret);
void hosts_free(struct hosts *h); /* takes NULL */
/* How many addresses name (folded) has; *ret_addresses is valid as long as h. */
size_t hosts_find(const struct hosts *h, struct slice name, const struct ip_addr **ret_addresses);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY header that a server hears ahead of everything else, where its rule or
 * backend says send-proxy: who the client is, and in version 2 the server name that
 * a mode without answers of its own has read.
 */
#ifndef CONN_SEND_PROXY_H
#define CONN_SEND_PROXY_H

struct config_rule;
struct conn;

/* 0 where none is sent. */
unsigned send_proxy_version(const struct config_rule *rule);
/* Sends it on c's fresh connection to the server: 0, or -errno. */
int send_proxy(const struct conn *c);

#endif

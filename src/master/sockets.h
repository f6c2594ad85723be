/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every listening socket that the process has ever been asked for and still needs.
 *
 * They belong to the master and stay open over reloads while some configuration
 * has their address, so that nothing in a backlog is lost.
 */
#ifndef MASTER_SOCKETS_H
#define MASTER_SOCKETS_H

#include <stddef.h>

#include "base/list.h"

struct config;
struct engine_listener;

struct sockets {
	struct list list;
};

void sockets_init(struct sockets *s);
/* Closes all and removes the files of Unix sockets. */
void sockets_fini(struct sockets *s);

/*
 * Opens what c listens on and is not open yet, slots sockets for each TCP address.
 * *ret (malloc'd) tells the engine what is what.  On failure nothing has changed,
 * the log says why, and -errno is returned.
 */
int sockets_open(struct sockets *s, const struct config *c, unsigned slots,
		 struct engine_listener **ret, size_t *ret_n);
/* Closes what none of the listeners of the configuration in use is. */
void sockets_keep(struct sockets *s, const struct engine_listener *listeners, size_t n);
/* The same in a child: no file of a socket is removed. */
void sockets_forget(struct sockets *s, const struct engine_listener *listeners, size_t n);

#endif

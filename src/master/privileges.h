/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine gives up before its first thread.
 */
#ifndef MASTER_PRIVILEGES_H
#define MASTER_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

struct config_global;

struct privileges {
	bool change;	/* to uid and gid: started as root with "user" */
	uid_t uid;
	gid_t gid;
};

/* Looks user and group up; false, logged, where there are none of these names. */
bool privileges_resolve(const struct config_global *g, struct privileges *ret);
/*
 * In the engine: becomes the user, drops every capability, can gain none again
 * (no_new_privs), leaves no core dump and cannot be traced.  0 or -errno.
 */
int privileges_drop(const struct privileges *p);

#endif

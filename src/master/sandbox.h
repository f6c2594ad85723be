/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine may still do once its privileges are gone: its work.
 */
#ifndef MASTER_SANDBOX_H
#define MASTER_SANDBOX_H

struct config;

/*
 * Landlock for files, seccomp for system calls, unless c says `sandbox off`.  In
 * the child, after no_new_privs and before any thread exists.  What the kernel
 * does not offer is a warning in the log, and the engine goes on without.
 */
void sandbox_enter(const struct config *c);

#endif

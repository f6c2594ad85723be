/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a configuration wants of the machine that it runs on.
 */
#ifndef MASTER_MACHINE_H
#define MASTER_MACHINE_H

struct config;

/*
 * What c uses and this machine has not, in a sentence, or NULL.  Nothing to refuse c for: a
 * module may be loaded later, and a file may be checked elsewhere.
 */
const char *config_machine_lacks(const struct config *c);

#endif

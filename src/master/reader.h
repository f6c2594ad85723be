/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real reader of configurations: the file system and the environment.
 */
#ifndef MASTER_READER_H
#define MASTER_READER_H

#include "config/load.h"

/*
 * Fills r.  With env_file (KEY=VALUE lines, as systemd's EnvironmentFile=) its
 * variables come before the process's own.  0 or -errno.  reader_fini() frees.
 */
int reader_init(struct config_reader *r, const char *env_file);
void reader_fini(struct config_reader *r);

#endif

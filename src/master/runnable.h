/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What checks cleanly and has no engine yet.
 */
#ifndef MASTER_RUNNABLE_H
#define MASTER_RUNNABLE_H

#include <stdbool.h>

struct config;
struct mode_ops;

/* False, with a line in the log for each, where c asks for what this build cannot do. */
bool config_is_runnable(const struct config *c, const struct mode_ops *const *modes);

#endif

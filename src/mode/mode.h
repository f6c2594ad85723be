/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kind of frontend does with a connection: one const table of functions
 * each.  A new mode is a new file and a row in main.c.
 */
#ifndef MODE_MODE_H
#define MODE_MODE_H

#include "conn/conn.h"

extern const struct mode_ops mode_egress;
extern const struct mode_ops mode_http;
extern const struct mode_ops mode_https;
extern const struct mode_ops mode_kms;
extern const struct mode_ops mode_tcp;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path of a request as rules see it.
 *
 * Servers differ in what they decode, so a rule must see a path in the form that
 * the most eager of them would, or "/admin -> reject" is walked around with
 * "/%61dmin", "//admin", "/x/%2e%2e/admin" or "/x%2f..%2fadmin".  Therefore every
 * escape is decoded once, that of the slash too; runs of slashes become one; and
 * dot segments are removed as in RFC 3986, 5.2.4, where ".." at the root stays
 * there.  Only the comparison uses this form: what is passed on is unchanged.
 */
#ifndef ROUTE_PATH_H
#define ROUTE_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/*
 * Normalises the path of an origin-form target; what follows "?" is left out.
 * buf has room for target.len bytes; *ret_path is in it, or in target where that is
 * normal already, is no longer than target, and begins with "/".  False for an escape
 * that is malformed or stands for NUL, and for a target that does not begin with "/".
 */
bool route_path_normalize(struct slice target, char *buf, struct slice *ret_path);

#endif

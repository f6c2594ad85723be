/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that AWS's tools share: ~/.aws/config and ~/.aws/credentials.
 *
 * Sections are [default], [NAME] (credentials) and [profile NAME] (config); of a profile that both
 * have, the credentials file's word counts.  Values end at " #" or " ;"; indented lines are
 * settings of a setting, and passed over.  A line that is none of this is passed over too, as
 * AWS's tools do, but never taken for something else.
 *
 * Pure: the texts are handed in, and borrowed by what is found.
 */
#ifndef AWS_PROFILES_H
#define AWS_PROFILES_H

#include <stdbool.h>

#include "base/slice.h"

struct profiles {
	struct slice config, credentials;	/* the texts; empty where there is no file */
};

/* Whether one of the files has a section of that name. */
bool profiles_have(const struct profiles *p, struct slice profile);
/* A setting's value, without blanks around it; false where it is not there or empty. */
bool profiles_get(const struct profiles *p, struct slice profile, const char *key, struct slice *ret);

#endif

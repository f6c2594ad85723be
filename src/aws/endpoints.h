/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a service of AWS is, by region.
 *
 * AWS's partitions (commercial, China, GovCloud, the isolated and the European sovereign
 * ones) differ in the suffix of their names; FIPS and dual-stack endpoints in what stands
 * beside the service's.  A region that is not known is of the commercial partition, so that
 * new ones need no new teeproxy.
 *
 * Pure.
 */
#ifndef AWS_ENDPOINTS_H
#define AWS_ENDPOINTS_H

#include <stdbool.h>

enum { ENDPOINT_URL_SIZE = 160, ENDPOINT_REGION_MAX = 32 };

enum endpoint_service { ENDPOINT_KMS, ENDPOINT_STS, ENDPOINT_LOGS };

/* Letters, digits and hyphens, no more than there may be: what may stand in a host's name. */
bool endpoint_region_is_valid(const char *region);

/* "kms": in the host's name and in the scope of a signature. */
const char *endpoint_service_name(enum endpoint_service s);

/* "https://kms.eu-west-1.amazonaws.com/"; false where there is no such endpoint, and *ret_why says why. */
bool endpoint_url(enum endpoint_service s, const char *region, bool fips, bool dualstack,
		  char ret[ENDPOINT_URL_SIZE], const char **ret_why);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "aws/endpoints.h"

#include <stdio.h>
#include <string.h>

struct partition {
	const char *prefix;		/* of its regions */
	const char *suffix;
	const char *dualstack;		/* suffix, or NULL: it has none */
};

/* The last one takes all others. */
static const struct partition partitions[] = {
	{ "cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn" },
	{ "us-gov-", "amazonaws.com", "api.aws" },
	{ "us-isob-", "sc2s.sgov.gov", NULL },
	{ "us-isof-", "csp.hci.ic.gov", NULL },
	{ "us-iso-", "c2s.ic.gov", NULL },
	{ "eu-isoe-", "cloud.adc-e.uk", NULL },
	{ "eusc-", "amazonaws.eu", "api.amazonwebservices.eu" },
	{ "", "amazonaws.com", "api.aws" },
};

bool endpoint_region_is_valid(const char *region)
{
	size_t n = strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n > 0 && n <= ENDPOINT_REGION_MAX && region[n] == '\0' && region[0] != '-' &&
	       region[n - 1] != '-';
}

const char *endpoint_service_name(enum endpoint_service s)
{
	switch (s) {
	case ENDPOINT_KMS:
		return "kms";
	case ENDPOINT_STS:
		return "sts";
	case ENDPOINT_LOGS:
		return "logs";
	}
	return "";
}

bool endpoint_url(enum endpoint_service s, const char *region, bool fips, bool dualstack,
		  char ret[ENDPOINT_URL_SIZE], const char **ret_why)
{
	const struct partition *p = partitions;
	/* In GovCloud the one name of STS is FIPS already. */
	bool named = fips && !(s == ENDPOINT_STS && !dualstack && strncmp(region, "us-gov-", 7) == 0);

	if (!endpoint_region_is_valid(region)) {
		*ret_why = "a region is written as \"eu-west-1\"";
		return false;
	}
	while (strncmp(region, p->prefix, strlen(p->prefix)) != 0)
		p++;
	if (dualstack && !p->dualstack) {
		*ret_why = "use-dualstack: the partition of this region has no such endpoints";
		return false;
	}
	snprintf(ret, ENDPOINT_URL_SIZE, "https://%s%s.%s.%s/", endpoint_service_name(s),
		 named ? "-fips" : "", region, dualstack ? p->dualstack : p->suffix);
	return true;
}

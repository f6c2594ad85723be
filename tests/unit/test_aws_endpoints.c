/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "aws/endpoints.h"

static void every_partition_has_its_names(void **state)
{
	static const struct {
		enum endpoint_service service;
		const char *region;
		bool fips, dualstack;
		const char *url;
	} cases[] = {
		{ ENDPOINT_KMS, "eu-west-1", false, false, "https://kms.eu-west-1.amazonaws.com/" },
		{ ENDPOINT_KMS, "us-east-1", true, false, "https://kms-fips.us-east-1.amazonaws.com/" },
		{ ENDPOINT_KMS, "us-east-1", false, true, "https://kms.us-east-1.api.aws/" },
		{ ENDPOINT_KMS, "us-east-1", true, true, "https://kms-fips.us-east-1.api.aws/" },
		{ ENDPOINT_LOGS, "ap-south-1", false, false, "https://logs.ap-south-1.amazonaws.com/" },
		{ ENDPOINT_STS, "ap-south-1", false, false, "https://sts.ap-south-1.amazonaws.com/" },
		{ ENDPOINT_STS, "us-east-2", true, false, "https://sts-fips.us-east-2.amazonaws.com/" },
		{ ENDPOINT_STS, "us-gov-west-1", true, false, "https://sts.us-gov-west-1.amazonaws.com/" },
		{ ENDPOINT_KMS, "us-gov-west-1", true, false, "https://kms-fips.us-gov-west-1.amazonaws.com/" },
		{ ENDPOINT_KMS, "cn-north-1", false, false, "https://kms.cn-north-1.amazonaws.com.cn/" },
		{ ENDPOINT_KMS, "cn-north-1", false, true, "https://kms.cn-north-1.api.amazonwebservices.com.cn/" },
		{ ENDPOINT_KMS, "us-iso-east-1", false, false, "https://kms.us-iso-east-1.c2s.ic.gov/" },
		{ ENDPOINT_KMS, "us-isob-east-1", false, false, "https://kms.us-isob-east-1.sc2s.sgov.gov/" },
		{ ENDPOINT_KMS, "eusc-de-east-1", false, false, "https://kms.eusc-de-east-1.amazonaws.eu/" },
		{ ENDPOINT_KMS, "xx-new-9", false, false, "https://kms.xx-new-9.amazonaws.com/" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char url[ENDPOINT_URL_SIZE];
		const char *why = NULL;

		assert_true(endpoint_url(cases[i].service, cases[i].region, cases[i].fips, cases[i].dualstack, url, &why));
		assert_string_equal(url, cases[i].url);
		assert_null(why);
	}
}

static void what_is_no_region_gives_no_url(void **state)
{
	static const char *const regions[] = { "", "EU-WEST-1", "eu west", "eu-west-1.evil.test", "eu-west-1/", "-eu", "eu-",
					       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "eu:west", "eu\n" };
	char url[ENDPOINT_URL_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(regions) / sizeof(regions[0]); i++) {
		const char *why = NULL;

		assert_false(endpoint_url(ENDPOINT_KMS, regions[i], false, false, url, &why));
		assert_non_null(why);
	}
}

static void an_isolated_partition_has_no_dualstack(void **state)
{
	char url[ENDPOINT_URL_SIZE];
	const char *why = NULL;

	(void)state;
	assert_false(endpoint_url(ENDPOINT_KMS, "us-iso-east-1", false, true, url, &why));
	assert_non_null(strstr(why, "use-dualstack"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_partition_has_its_names),
		cmocka_unit_test(what_is_no_region_gives_no_url),
		cmocka_unit_test(an_isolated_partition_has_no_dualstack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

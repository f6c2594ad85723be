/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aws/plan.h"
#include "aws/secret.h"
#include "config/config.h"

/* A machine: pairs of name and value, NULL at the end. */
struct machine {
	const char *env[16][2];
	const char *files[4][2];
};

static const char *get(void *data, const char *name)
{
	struct machine *m = data;

	for (size_t i = 0; m->env[i][0]; i++) {
		if (strcmp(m->env[i][0], name) == 0)
			return m->env[i][1];
	}
	return NULL;
}

static int read_file(void *data, const char *path, size_t max, char **ret, size_t *ret_len)
{
	struct machine *m = data;

	for (size_t i = 0; m->files[i][0]; i++) {
		if (strcmp(m->files[i][0], path) != 0)
			continue;
		if (!m->files[i][1])
			return -EACCES;
		if (strlen(m->files[i][1]) > max)
			return -EFBIG;
		*ret_len = strlen(m->files[i][1]);
		*ret = secret_copy(slice_of(m->files[i][1], *ret_len));
		return 0;
	}
	return -ENOENT;
}

static char why[ANSWER_WHY_SIZE];

static bool make(const struct machine *m, enum config_credentials setting, const char *profile, struct plan *ret)
{
	const struct plan_reader r = { (void *)m, get, read_file };
	const struct config_aws c = { .credentials = setting, .profile = profile };

	why[0] = '\0';
	return plan_make(&c, &r, ret, why);
}

static bool make_auto(const struct machine *m, struct plan *ret)
{
	return make(m, CREDENTIALS_AUTO, NULL, ret);
}

/* It fails, and the reason has the word. */
static void fails(const struct machine *m, enum config_credentials setting, const char *profile, const char *word)
{
	struct plan p;

	assert_false(make(m, setting, profile, &p));
	if (!strstr(why, word))
		fail_msg("no \"%s\" in: %s", word, why);
	plan_fini(&p);
}

#define KEYS { "AWS_ACCESS_KEY_ID", "AKIAENV" }, { "AWS_SECRET_ACCESS_KEY", "env-secret" }
#define WEB { "AWS_WEB_IDENTITY_TOKEN_FILE", "/token" }, { "AWS_ROLE_ARN", "arn:aws:iam::1:role/web" }
#define CONTAINER { "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1" }
#define HOME { "HOME", "/h" }
#define SHARED { "/h/.aws/credentials", "[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key=file/secret\n" }

static void sources_are_asked_in_the_order_of_the_sdks(void **state)
{
	const struct machine all = { { KEYS, WEB, CONTAINER, HOME }, { SHARED, { "/token", "ey.a.b\n" } } };
	const struct machine no_keys = { { WEB, CONTAINER, HOME }, { SHARED, { "/token", "ey.a.b\n" } } };
	const struct machine no_web = { { CONTAINER, HOME }, { SHARED } };
	const struct machine no_file = { { CONTAINER, HOME }, { { NULL, NULL } } };
	const struct machine nothing = { { { NULL, NULL } }, { { NULL, NULL } } };
	const struct machine off = { { { "AWS_EC2_METADATA_DISABLED", "True" } }, { { NULL, NULL } } };
	struct plan p;

	(void)state;
	assert_true(make_auto(&all, &p));
	assert_int_equal(p.source, PLAN_KEYS);
	assert_string_equal(p.keys.access_key_id, "AKIAENV");
	assert_null(p.keys.token);
	plan_fini(&p);
	assert_true(make_auto(&no_keys, &p));
	assert_int_equal(p.source, PLAN_WEB_IDENTITY);
	assert_string_equal(p.token, "ey.a.b");
	assert_string_equal(p.web_role.arn, "arn:aws:iam::1:role/web");
	assert_string_equal(p.web_role.session_name, "teeproxy");
	plan_fini(&p);
	assert_true(make_auto(&no_web, &p));
	assert_int_equal(p.source, PLAN_KEYS);
	assert_string_equal(p.keys.secret, "file/secret");
	plan_fini(&p);
	assert_true(make_auto(&no_file, &p));
	assert_int_equal(p.source, PLAN_CONTAINER);
	assert_string_equal(p.url, "http://169.254.170.2/v2/credentials/1");
	plan_fini(&p);
	assert_true(make_auto(&nothing, &p));
	assert_int_equal(p.source, PLAN_IMDS);
	plan_fini(&p);
	fails(&off, CREDENTIALS_AUTO, NULL, "no source has credentials");
}

static void a_source_that_is_named_is_the_only_one(void **state)
{
	const struct machine all = { { KEYS, WEB, CONTAINER, HOME }, { SHARED, { "/token", "ey.a.b\n" } } };
	const struct machine nothing = { { { NULL, NULL } }, { { NULL, NULL } } };
	struct plan p;

	(void)state;
	assert_true(make(&all, CREDENTIALS_IMDS, NULL, &p));
	assert_int_equal(p.source, PLAN_IMDS);
	plan_fini(&p);
	assert_true(make(&all, CREDENTIALS_CONTAINER, NULL, &p));
	assert_int_equal(p.source, PLAN_CONTAINER);
	plan_fini(&p);
	assert_true(make(&all, CREDENTIALS_PROFILE, "default", &p));
	assert_string_equal(p.keys.access_key_id, "AKIAFILE");
	plan_fini(&p);
	fails(&nothing, CREDENTIALS_ENV, NULL, "AWS_ACCESS_KEY_ID");
	fails(&nothing, CREDENTIALS_WEB_IDENTITY, NULL, "AWS_WEB_IDENTITY_TOKEN_FILE");
	fails(&nothing, CREDENTIALS_CONTAINER, NULL, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
	fails(&nothing, CREDENTIALS_PROFILE, "x", "shared files");
}

static void half_a_source_is_an_error_and_not_the_next_source(void **state)
{
	const struct machine key = { { { "AWS_ACCESS_KEY_ID", "AKIA" }, HOME }, { SHARED } };
	const struct machine secret = { { { "AWS_ACCESS_KEY_ID", "" }, { "AWS_SECRET_ACCESS_KEY", "s" } }, { { NULL, NULL } } };
	const struct machine odd = { { { "AWS_ACCESS_KEY_ID", "AK/IA" }, { "AWS_SECRET_ACCESS_KEY", "s" } }, { { NULL, NULL } } };
	const struct machine no_role = { { { "AWS_WEB_IDENTITY_TOKEN_FILE", "/token" } }, { { "/token", "x" } } };
	const struct machine no_token = { { WEB }, { { NULL, NULL } } };
	const struct machine empty = { { WEB }, { { "/token", "\n" } } };
	const struct machine lines = { { WEB }, { { "/token", "a\nb\n" } } };
	const struct machine half = { { HOME }, { { "/h/.aws/credentials", "[default]\naws_access_key_id=A\n" } } };

	(void)state;
	fails(&key, CREDENTIALS_AUTO, NULL, "not AWS_SECRET_ACCESS_KEY");
	fails(&secret, CREDENTIALS_AUTO, NULL, "not AWS_ACCESS_KEY_ID");
	fails(&odd, CREDENTIALS_AUTO, NULL, "access key id");
	fails(&no_role, CREDENTIALS_AUTO, NULL, "AWS_ROLE_ARN");
	fails(&no_token, CREDENTIALS_AUTO, NULL, "No such file");
	fails(&empty, CREDENTIALS_AUTO, NULL, "empty");
	fails(&lines, CREDENTIALS_AUTO, NULL, "more than a token");
	fails(&half, CREDENTIALS_AUTO, NULL, "not aws_secret_access_key");
}

static void profiles_are_read_as_aws_writes_them(void **state)
{
	const struct machine m = {
		{ { "AWS_SHARED_CREDENTIALS_FILE", "/c" }, { "AWS_CONFIG_FILE", "/f" }, { "AWS_PROFILE", "work" } },
		{ { "/c", "# aws_access_key_id=NO\n[other]\naws_access_key_id=NO\n\n[ work ]\r\n"
			  "AWS_Access_Key_ID\t=  AKIAWORK  # mine\r\naws_secret_access_key = a#b;c=\r\naws_session_token = t==\n[other]\n"
			  "aws_access_key_id=NO\n" },
		  { "/f", "[work]\nregion=no\n[profile work]\naws_access_key_id=NO\ns3 =\n  region = no\nregion = eu-central-1 ; here\n"
			  "[profile worker]\nregion = no\n" } },
	};
	struct plan p;

	(void)state;
	assert_true(make_auto(&m, &p));
	assert_string_equal(p.keys.access_key_id, "AKIAWORK");
	assert_string_equal(p.keys.secret, "a#b;c=");
	assert_string_equal(p.keys.token, "t==");
	assert_string_equal(p.region, "eu-central-1");
	plan_fini(&p);
}

static void a_chain_of_profiles_becomes_roles_in_their_order(void **state)
{
	const struct machine m = {
		{ HOME },
		{ { "/h/.aws/config",
		    "[default]\nrole_arn=arn:aws:iam::1:role/last\nsource_profile=middle\nrole_session_name=me\n"
		    "[profile middle]\nrole_arn=arn:aws:iam::1:role/first\nsource_profile=base\nexternal_id=x\nduration_seconds=900\n" },
		  { "/h/.aws/credentials", "[base]\naws_access_key_id=AKIABASE\naws_secret_access_key=s\n" } },
	};
	struct plan p;

	(void)state;
	assert_true(make_auto(&m, &p));
	assert_int_equal(p.source, PLAN_KEYS);
	assert_string_equal(p.keys.access_key_id, "AKIABASE");
	assert_int_equal(p.n_roles, 2);
	assert_string_equal(p.roles[0].arn, "arn:aws:iam::1:role/first");
	assert_string_equal(p.roles[0].external_id, "x");
	assert_int_equal(p.roles[0].seconds, 900);
	assert_string_equal(p.roles[1].arn, "arn:aws:iam::1:role/last");
	assert_string_equal(p.roles[1].session_name, "me");
	assert_int_equal(p.roles[1].seconds, PLAN_ROLE_SECONDS);
	plan_fini(&p);
}

/* [default] and what the text says beside it. */
static void config_fails(const char *text, const char *word)
{
	const struct machine m = { { HOME, KEYS, CONTAINER }, { { "/h/.aws/config", text } } };

	fails(&m, CREDENTIALS_PROFILE, "default", word);
}

static void what_a_profile_cannot_be_is_said(void **state)
{
	(void)state;
	config_fails("[default]\ncredential_process = /bin/true\n", "credential_process is not supported");
	config_fails("[default]\nsso_session = x\n", "sso_session is not supported");
	config_fails("[default]\nrole_arn=r\nmfa_serial = x\nsource_profile=default\n", "mfa_serial");
	config_fails("[default]\nrole_arn=r\n", "neither source_profile nor credential_source");
	config_fails("[default]\nrole_arn=r\nsource_profile=x\n", "no profile \"x\"");
	config_fails("[default]\nrole_arn=r\nsource_profile=x\n[profile x]\nregion=r\n", "\"x\" has no keys");
	config_fails("[default]\nrole_arn=r\nsource_profile=x\n[profile x]\nrole_arn=r\nsource_profile=default\n", "a loop");
	config_fails("[default]\nrole_arn=r\nsource_profile=x\ncredential_source=Environment\n", "both");
	config_fails("[default]\nrole_arn=r\ncredential_source=Moon\n", "got \"Moon\"");
	config_fails("[default]\nrole_arn=r\nsource_profile=default\nduration_seconds=1\n", "between 900 and 43200");
	config_fails("[default]\nrole_arn=a b\nsource_profile=default\n", "role's ARN");
	config_fails("[default]\nrole_arn=r\nrole_session_name=x\nsource_profile=default\n", "2 to 64 characters");
	config_fails("[default]\nregion=eu-west-1\n", "no credentials for that profile");
}

static void a_profile_may_take_its_base_from_elsewhere_or_itself(void **state)
{
	static const struct {
		const char *text;
		enum plan_source source;
	} cases[] = {
		{ "[default]\nrole_arn=r\ncredential_source = Environment\n", PLAN_KEYS },
		{ "[default]\nrole_arn=r\ncredential_source = EcsContainer\n", PLAN_CONTAINER },
		{ "[default]\nrole_arn=r\ncredential_source = Ec2InstanceMetadata\n", PLAN_IMDS },
		{ "[default]\nrole_arn=r\nsource_profile=default\naws_access_key_id=AKIAENV\naws_secret_access_key=s\n", PLAN_KEYS },
	};
	struct plan p;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct machine m = { { HOME, KEYS, CONTAINER }, { { "/h/.aws/config", cases[i].text } } };

		assert_true(make(&m, CREDENTIALS_PROFILE, "default", &p));
		assert_int_equal(p.source, cases[i].source);
		assert_int_equal(p.n_roles, 1);
		if (p.source == PLAN_KEYS)
			assert_string_equal(p.keys.access_key_id, "AKIAENV");
		plan_fini(&p);
	}
	const struct machine web = { { HOME }, { { "/h/.aws/config", "[default]\nrole_arn=r\nweb_identity_token_file=/token\n" },
						 { "/token", "ey" } } };

	assert_true(make_auto(&web, &p));
	assert_int_equal(p.source, PLAN_WEB_IDENTITY);
	assert_string_equal(p.token, "ey");
	plan_fini(&p);
}

static void plain_http_is_for_this_machine_and_aws_agents(void **state)
{
	static const char *const good[] = { "http://127.0.0.1/x", "http://127.9.8.7:80/x", "http://[::1]:8080/", "http://localhost:1/x",
					    "http://169.254.170.2/v2", "http://169.254.170.23/v1/credentials",
					    "http://[fd00:ec2::23]/v1", "https://example.org/x" };
	static const char *const bad[] = { "http://example.org/x", "http://10.0.0.1/", "http://169.254.169.254/x", "ftp://127.0.0.1/",
					   "http://127.0.0.1@example.org/", "http://localhost.example.org/", "http://127.1/",
					   "http://2130706433/", "127.0.0.1", "http://[fd00:ec2::254]/" };
	struct plan p;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		const struct machine m = { { { "AWS_CONTAINER_CREDENTIALS_FULL_URI", good[i] },
					     { "AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic x" } }, { { NULL, NULL } } };

		assert_true(make_auto(&m, &p));
		assert_string_equal(p.url, good[i]);
		assert_string_equal(p.token, "Basic x");
		plan_fini(&p);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct machine m = { { { "AWS_CONTAINER_CREDENTIALS_FULL_URI", bad[i] } }, { { NULL, NULL } } };

		fails(&m, CREDENTIALS_AUTO, NULL, "must be https://");
	}
}

static void a_containers_token_comes_from_its_file_first_and_is_one_line(void **state)
{
	const struct machine file = { { CONTAINER, { "AWS_CONTAINER_AUTHORIZATION_TOKEN", "no" },
					{ "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/t" } }, { { "/t", "yes\n" } } };
	const struct machine lines = { { CONTAINER, { "AWS_CONTAINER_AUTHORIZATION_TOKEN", "a\r\nX-Evil: b" } }, { { NULL, NULL } } };
	const struct machine slash = { { { "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@evil.test/" } }, { { NULL, NULL } } };
	struct plan p;

	(void)state;
	assert_true(make_auto(&file, &p));
	assert_string_equal(p.token, "yes");
	plan_fini(&p);
	fails(&lines, CREDENTIALS_AUTO, NULL, "more than one line");
	fails(&slash, CREDENTIALS_AUTO, NULL, "must begin with /");
}

static void a_file_that_is_named_must_be_readable_and_the_usual_one_need_not(void **state)
{
	const struct machine usual = { { HOME, CONTAINER }, { { "/h/.aws/credentials", NULL }, { "/h/.aws/config", NULL } } };
	const struct machine named = { { { "AWS_SHARED_CREDENTIALS_FILE", "/c" } }, { { "/c", NULL } } };
	struct plan p;

	(void)state;
	assert_true(make_auto(&usual, &p));
	assert_int_equal(p.source, PLAN_CONTAINER);
	plan_fini(&p);
	fails(&named, CREDENTIALS_AUTO, NULL, "\"/c\": Permission denied");
}

static void the_region_is_the_environments_before_the_profiles(void **state)
{
	const struct machine first = { { KEYS, HOME, { "AWS_REGION", "us-east-1" }, { "AWS_DEFAULT_REGION", "no" } },
				       { { "/h/.aws/config", "[default]\nregion=eu-west-2\n" } } };
	const struct machine second = { { KEYS, HOME, { "AWS_DEFAULT_REGION", "us-east-2" } },
					{ { "/h/.aws/config", "[default]\nregion=eu-west-2\n" } } };
	const struct machine third = { { KEYS, HOME }, { { "/h/.aws/config", "[default]\nregion=eu-west-2\n" } } };
	const struct machine none = { { KEYS }, { { NULL, NULL } } };
	struct plan p;

	(void)state;
	assert_true(make_auto(&first, &p));
	assert_string_equal(p.region, "us-east-1");
	plan_fini(&p);
	assert_true(make_auto(&second, &p));
	assert_string_equal(p.region, "us-east-2");
	plan_fini(&p);
	assert_true(make_auto(&third, &p));
	assert_string_equal(p.region, "eu-west-2");
	plan_fini(&p);
	assert_true(make_auto(&none, &p));
	assert_null(p.region);
	plan_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sources_are_asked_in_the_order_of_the_sdks),
		cmocka_unit_test(a_source_that_is_named_is_the_only_one),
		cmocka_unit_test(half_a_source_is_an_error_and_not_the_next_source),
		cmocka_unit_test(profiles_are_read_as_aws_writes_them),
		cmocka_unit_test(a_chain_of_profiles_becomes_roles_in_their_order),
		cmocka_unit_test(what_a_profile_cannot_be_is_said),
		cmocka_unit_test(a_profile_may_take_its_base_from_elsewhere_or_itself),
		cmocka_unit_test(plain_http_is_for_this_machine_and_aws_agents),
		cmocka_unit_test(a_containers_token_comes_from_its_file_first_and_is_one_line),
		cmocka_unit_test(a_file_that_is_named_must_be_readable_and_the_usual_one_need_not),
		cmocka_unit_test(the_region_is_the_environments_before_the_profiles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aws/answers.h"
#include "aws/xml.h"

#define STS(credentials)                                                                           \
	"<?xml version=\"1.0\"?>\n<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n" \
	"  <AssumeRoleResult><AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/x/teeproxy</Arn></AssumedRoleUser>" \
	"<Credentials>" credentials "</Credentials></AssumeRoleResult>\n"                          \
	"  <ResponseMetadata><RequestId>c6104cbe</RequestId></ResponseMetadata>\n</AssumeRoleResponse>\n"
#define ID "<AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>"
#define SECRET "<SecretAccessKey>wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLE=</SecretAccessKey>"
#define TOKEN "<SessionToken>AQoDYXdzEPT//////////wEXAMPLE&#x2B;x&amp;y==</SessionToken>"
#define EXPIRES "<Expiration>2026-11-25T20:00:00Z</Expiration>"

static void sts_answers_are_read(void **state)
{
	struct aws_keys k;
	char why[ANSWER_WHY_SIZE];

	(void)state;
	assert_true(answer_read_sts_keys(slice_of_string(STS(ID SECRET TOKEN EXPIRES)), "AssumeRole", &k, why));
	assert_string_equal(k.access_key_id, "ASIAIOSFODNN7EXAMPLE");
	assert_string_equal(k.secret, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLE=");
	assert_string_equal(k.token, "AQoDYXdzEPT//////////wEXAMPLE+x&y==");
	assert_int_equal(k.expires_s, 1795636800);
	aws_keys_fini(&k);
	assert_null(k.secret);
}

static void a_part_that_is_missing_twice_there_or_has_foreign_bytes_is_refused(void **state)
{
	static const char *const texts[] = {
		STS(ID SECRET EXPIRES),
		STS(ID TOKEN EXPIRES),
		STS(ID SECRET TOKEN),
		STS(ID ID SECRET TOKEN EXPIRES),
		STS(ID SECRET SECRET TOKEN EXPIRES),
		STS(ID SECRET "<SessionToken>a&#10;X-Evil: b</SessionToken>" EXPIRES),
		STS(ID SECRET "<SessionToken>a b</SessionToken>" EXPIRES),
		STS(ID SECRET "<SessionToken><b>a</b></SessionToken>" EXPIRES),
		STS("<AccessKeyId>A/20261125/eu</AccessKeyId>" SECRET TOKEN EXPIRES),
		STS("<AccessKeyId/>" SECRET TOKEN EXPIRES),
		STS(ID SECRET TOKEN "<Expiration>soon</Expiration>"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct aws_keys k;
		char why[ANSWER_WHY_SIZE] = "";

		assert_false(answer_read_sts_keys(slice_of_string(texts[i]), "AssumeRole", &k, why));
		assert_true(why[0]);
		assert_null(k.access_key_id);
		assert_null(k.secret);
	}
}

static void an_answer_cut_anywhere_is_refused(void **state)
{
	static const char text[] = STS(ID SECRET TOKEN EXPIRES);

	(void)state;
	/* But for the newline behind its end. */
	for (size_t n = 0; n < sizeof(text) - 2; n++) {
		char *exact = malloc(n + 1), why[ANSWER_WHY_SIZE];
		struct aws_keys k;

		memcpy(exact, text, n);
		assert_false(answer_read_sts_keys(slice_of(exact, n), "AssumeRole", &k, why));
		free(exact);
	}
}

static void what_is_not_xml_of_ours_is_refused(void **state)
{
	static const char *const texts[] = {
		"", " ", "x", "<a>", "</a>", "<a></b>", "<a></a><b></b>", "<a></a>x", "<a><b></a></b>", "<>x</>",
		"<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", "<a>&x;</a>", "<a>&#0;</a>", "<a>&#128;</a>", "<a>&#x;</a>",
		"<a>&amp</a>", "<a b></a>", "<a b=c></a>", "<a b=\"c></a>", "<a b=\"c\"d=\"e\"></a>", "<a", "<a/", "<a/>>",
		"<!-- x --><a/>", "<a><![CDATA[x]]></a>", "<?xml version=\"1.0\"><a/>", "<a><?b c?></a>", "&amp;<a/>",
		"<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a></a></a></a></a></a></a></a></a></a></a>",
	};
	char value[8];
	struct xml_field field = { .path = "a", .value = value, .size = sizeof(value) };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_false(xml_read(slice_of_string(texts[i]), &field, 1));
	assert_true(xml_read(slice_of_string("<a/>"), &field, 1));
	assert_true(field.found);
	assert_string_equal(value, "");
	assert_true(xml_read(slice_of_string(" <?xml version='1.0'?>\n<a b='>' c = \"\"> x&lt;&gt;\n</a >\n"), &field, 1));
	assert_string_equal(value, " x<>\n");
	assert_true(xml_read(slice_of_string("<a>1234567</a>"), &field, 1));
	assert_false(xml_read(slice_of_string("<a>12345678</a>"), &field, 1));
	assert_true(xml_read(slice_of_string("<ab><a>1</a></ab>"), &field, 1));
	assert_false(field.found);
	/* An end tag is the whole name, not its end. */
	assert_false(xml_read(slice_of_string("<ba></a>"), &field, 1));
}

static bool read_json(const char *text, struct aws_keys *k)
{
	char why[ANSWER_WHY_SIZE] = "";
	bool good = answer_read_json_keys(slice_of_string(text), k, why);

	assert_int_equal(good, why[0] == '\0');
	return good;
}

static void json_answers_are_read(void **state)
{
	static const char *const bad[] = {
		"", "[]", "null", "{", "{}x", "{\"AccessKeyId\":1}", "{\"Code\":\"Failed\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"b\"} {}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"b\",\"Token\":\"c\\nd\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"b\",\"Expiration\":\"2026-13-25T20:00:00Z\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"b\",\"x\":[[[[[[[[[[1]]]]]]]]]]}",
		"{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"b\"}",
	};
	struct aws_keys k;

	(void)state;
	assert_true(read_json("{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"ASIA1\",\"SecretAccessKey\":\"b/+=\","
			      "\"Token\":\"c==\",\"Expiration\":\"2026-11-25T20:00:00.123Z\"}\n", &k));
	assert_string_equal(k.access_key_id, "ASIA1");
	assert_string_equal(k.secret, "b/+=");
	assert_string_equal(k.token, "c==");
	assert_int_equal(k.expires_s, 1795636800);
	aws_keys_fini(&k);
	assert_true(read_json("{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"b\"}", &k));
	assert_null(k.token);
	assert_int_equal(k.expires_s, 0);
	aws_keys_fini(&k);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(read_json(bad[i], &k));
}

static void errors_are_read_cut_and_cleaned(void **state)
{
	char text[4096];
	struct answer_error e;

	(void)state;
	answer_read_json_error(slice_of_string("{\"__type\":\"com.amazonaws.kms#NotFoundException\",\"message\":\"no\\u0000\\n\\u001b[1m\"}"),
			       "", &e);
	assert_string_equal(e.code, "NotFoundException");
	assert_string_equal(e.message, "no  \x20[1m");
	answer_read_json_error(slice_of_string("{\"__type\":\"A\",\"Message\":\"big\"}"), "B:http://x/", &e);
	assert_string_equal(e.code, "B");
	assert_string_equal(e.message, "big");
	answer_read_json_error(slice_of_string("<html>"), "", &e);
	assert_string_equal(e.code, "");
	assert_string_equal(e.message, "");
	answer_read_json_error(slice_of_string("{\"__type\":7,\"message\":{}}"), "", &e);
	assert_string_equal(e.code, "");
	memset(text, 'x', sizeof(text));
	memcpy(text, "{\"message\":\"", 12);
	/* Two bytes of UTF-8 each, so that the cut comes between. */
	for (size_t i = 12; i < 4000; i += 2)
		memcpy(text + i, "\xc3\xa4", 2);
	strcpy(text + 4000, "\"}");
	answer_read_json_error(slice_of_string(text), "", &e);
	assert_int_equal(strlen(e.message), ANSWER_MESSAGE_SIZE - 2);
	answer_read_sts_error(slice_of_string("<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
					      "<Message>not &quot;you&quot;</Message></Error></ErrorResponse>"), &e);
	assert_string_equal(e.code, "AccessDenied");
	assert_string_equal(e.message, "not \"you\"");
	answer_read_sts_error(slice_of_string("{}"), &e);
	assert_string_equal(e.code, "");
}

static void times_are_utc_and_nothing_else(void **state)
{
	static const char *const bad[] = { "", "2026-11-25T20:00:00", "2026-11-25T20:00:00+01:00", "2026-11-25 20:00:00Z",
					   "2026-11-25T24:00:00Z", "2026-00-25T20:00:00Z", "2026-11-25T20:00:00.Z0",
					   "x026-11-25T20:00:00Z", "2026-11-25T20:00:00ZZ" };
	int64_t t = 0;

	(void)state;
	assert_true(answer_read_time(slice_of_string("1970-01-01T00:00:01Z"), &t));
	assert_int_equal(t, 1);
	assert_true(answer_read_time(slice_of_string("2028-02-29T12:34:56.789Z"), &t));
	assert_int_equal(t, 1835440496);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(answer_read_time(slice_of_string(bad[i]), &t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sts_answers_are_read),
		cmocka_unit_test(a_part_that_is_missing_twice_there_or_has_foreign_bytes_is_refused),
		cmocka_unit_test(an_answer_cut_anywhere_is_refused),
		cmocka_unit_test(what_is_not_xml_of_ours_is_refused),
		cmocka_unit_test(json_answers_are_read),
		cmocka_unit_test(errors_are_read_cut_and_cleaned),
		cmocka_unit_test(times_are_utc_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aws/aws.h"
#include "aws/kms.h"
#include "config/config.h"
#include "wire/json_writer.h"

#define KEY_1 "11111111-2222-3333-4444-555555555555"
#define ARN_1 "arn:aws:kms:eu-west-1:111122223333:key/" KEY_1

static const struct config_kms_key own[] = { { ARN_1, "eu-west-1", NULL }, { "alias/own", NULL, NULL } };
static const struct config_kms_key by_id = { KEY_1, NULL, NULL };
static const struct config_kms_key by_alias_arn = { "arn:aws:kms:eu-west-1:111122223333:alias/own", "eu-west-1", NULL };
static const struct config_pair context[] = { { "app", "k" }, { "env", "p" } };

static const struct rule {
	const char *name;
	struct config_kms_grant grant;
	bool require_recipient;
} rules[] = {
	{ "own", { .keys = own, .n_keys = 2, .allow = KMS_ALL }, false },
	{ "id", { .keys = &by_id, .n_keys = 1, .allow = KMS_ALL }, false },
	{ "alias", { .keys = &own[1], .n_keys = 1, .allow = KMS_ALL }, false },
	{ "alias-arn", { .keys = &by_alias_arn, .n_keys = 1, .allow = KMS_ALL }, false },
	{ "context", { .keys = &own[1], .n_keys = 1, .allow = KMS_ALL, .context = context, .n_context = 2 }, false },
	{ "decrypt", { .keys = own, .n_keys = 2, .allow = KMS_DECRYPT }, false },
	{ "require", { .keys = &own[1], .n_keys = 1, .allow = KMS_ALL }, true },
	{ "any", { .any_key = true, .allow = KMS_ALL }, false },
};

static const struct rule *find_rule(const char *name)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (strcmp(rules[i].name, name) == 0)
			return &rules[i];
	}
	fail_msg("no rule %s", name);
	return NULL;
}

/* What became of a request: the answer to it, or the body for AWS. */
struct outcome {
	struct kms_request request;
	struct json_writer answer, body;
	const struct config_kms_key *key;
	const char *why;
	enum kms_result result;
};

static void ask(const char *text, const struct rule *rule, struct outcome *o)
{
	size_t len = strlen(text);
	char *copy = malloc(len ? len : 1);

	memset(o, 0, sizeof(*o));
	memcpy(copy, text, len);
	o->result = kms_request_read(copy, len, &o->request, &o->answer);
	if (o->result == KMS_OK)
		o->result = kms_request_permit(&o->request, &rule->grant, rule->require_recipient, &o->key, &o->why,
					       &o->answer);
	if (o->result == KMS_OK && !kms_operation_target(o->request.operation))
		kms_write_no_store(&o->request, &o->answer);
	else if (o->result == KMS_OK)
		kms_request_body(&o->request, &rule->grant, o->key, &o->body);
	free(copy);
}

static void done(struct outcome *o)
{
	json_writer_fini(&o->answer);
	json_writer_fini(&o->body);
}

/* "200 BODY", or "RESULT STATUS ATTEMPTS CODE MESSAGE". */
static void reply(const char *text, uint32_t operation, struct json_writer *w)
{
	static const char *const results[] = { "ANSWERED", "NO_CREDENTIALS", "TIMED_OUT",
					       "UNREACHABLE", "QUEUE_FULL", "FAILED" };
	struct aws_call call = { .request_id = "req-1", .attempts = 1 };
	char result[32], body[2000];
	unsigned status, attempts;
	int n = 0;

	if (sscanf(text, "%u %n", &status, &n) == 1 && n > 0) {
		snprintf(body, sizeof(body), "%s", text + n);
		call.status = (uint16_t)status;
		call.answer = body;
		call.answer_len = strlen(body);
	} else {
		assert_int_equal(sscanf(text, "%31s %u %u %63s %n", result, &status, &attempts, call.error_code, &n), 4);
		snprintf(call.error_message, sizeof(call.error_message), "%s", text + n);
		call.status = (uint16_t)status;
		call.attempts = (uint8_t)attempts;
		while (strcmp(results[call.result], result) != 0)
			call.result++;
	}
	kms_write_answer(operation, &call, w);
}

static void the_golden_file_holds(void **state)
{
	const char *top = getenv("top_srcdir");
	const struct rule *rule = &rules[0];
	struct outcome o = { .result = KMS_OK };
	char path[1000], line[4000], test[200] = "";
	unsigned tests = 0, lines = 0;
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%s/tests/golden/kms.golden", top ? top : ".");
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char *value = strchr(line, ' ');
		const char *got = NULL;

		line[strcspn(line, "\n")] = '\0';
		lines++;
		if (line[0] == '#' || line[0] == '\0')
			continue;
		assert_non_null(value);
		*value++ = '\0';
		if (strcmp(line, "test") == 0) {
			snprintf(test, sizeof(test), "%s", value);
			rule = &rules[0];
			tests++;
		} else if (strcmp(line, "rule") == 0) {
			rule = find_rule(value);
		} else if (strcmp(line, "ask") == 0) {
			done(&o);
			ask(value, rule, &o);
		} else if (strcmp(line, "reply") == 0) {
			reply(value, o.request.operation, &o.answer);
		} else if (strcmp(line, "key") == 0) {
			got = o.key ? o.key->id : "";
		} else if (strcmp(line, "aws") == 0) {
			got = o.body.ptr ? o.body.ptr : o.answer.ptr;
		} else {
			assert_string_equal(line, "hear");
			got = o.answer.ptr;
		}
		if (got && strcmp(got, value) != 0)
			fail_msg("line %u, %s: %s: expected\n%s\ngot\n%s", lines, test, line, value, got);
		assert_true(got || strcmp(line, "hear") != 0);
	}
	done(&o);
	fclose(f);
	assert_true(tests >= 80);
}

/* However another key is named, it is refused, and whatever is let through is the rule's own. */
static void no_word_leads_to_another_key(void **state)
{
	static const char *const words[] = {
		"66666666-7777-8888-9999-000000000000",
		"arn:aws:kms:eu-west-1:111122223333:key/66666666-7777-8888-9999-000000000000",
		"ARN:AWS:KMS:EU-WEST-1:111122223333:KEY/66666666-7777-8888-9999-000000000000",
		"arn:aws:kms:eu-west-1:111122223333:alias/other", "alias/other", "ALIAS/OTHER", "Alias/own",
		"alias/OWN", "alias/own ", " alias/own", "alias/own\\u0000", "alias//own", "alias/own/", "alias/ow",
		"own", "/own", "alias/", "alias/aws/kms", "arn:aws:kms:eu-west-1:111122223333:alias/own",
		"arn:aws:kms:us-east-1:111122223333:key/" KEY_1, "arn:aws:kms:eu-west-1:999999999999:key/" KEY_1,
		"arn:aws-cn:kms:eu-west-1:111122223333:key/" KEY_1, "ARN:aws:kms:eu-west-1:111122223333:key/" KEY_1,
		"arn:aws:kms:eu-west-1:111122223333:KEY/" KEY_1, "arn:aws:kms:eu-west-1:111122223333:key/" KEY_1 "x",
		"arn:aws:kms:eu-west-1:111122223333:key/", "arn:aws:kms:eu-west-1:111122223333:", "key/" KEY_1,
		KEY_1 " ", KEY_1 "\\n", "{" KEY_1 "}", "11111111222233334444555555555555",
		"11111111-2222-3333-4444-55555555555", "mrk-11111111222233334444555555555555", ":", "arn:", "*", "any",
		"al\\u0131as/own", "alias/o\\u0077n\\u200b",
	};
	const struct rule *rule = find_rule("own");
	struct outcome o;
	char text[400];

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (size_t k = 0; k < 2; k++) {
			snprintf(text, sizeof(text), "{\"operation\":\"%s\",\"input\":{\"key_id\":\"%s\"}}",
				 k ? "Decrypt" : "Encrypt", words[i]);
			ask(text, rule, &o);
			if (o.result != KMS_REFUSED)
				fail_msg("%s was let through", words[i]);
			assert_null(o.body.ptr);
			assert_ptr_equal(strstr(o.answer.ptr, "{\"error\":\"access denied: key "), o.answer.ptr);
			assert_string_equal(o.why, "not a key of this enclave, or not by that name");
			done(&o);
		}
	}
	/* Escapes in a name are the name. */
	ask("{\"operation\":\"Decrypt\",\"input\":{\"key_id\":\"\\u0061lias\\/own\"}}", rule, &o);
	assert_int_equal(o.result, KMS_OK);
	done(&o);
}

static void a_long_word_is_not_echoed_whole(void **state)
{
	char text[3000], word[2000];
	struct outcome o;

	(void)state;
	memset(word, 'k', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	snprintf(text, sizeof(text), "{\"operation\":\"Decrypt\",\"input\":{\"key_id\":\"%s\"}}", word);
	ask(text, find_rule("own"), &o);
	assert_int_equal(o.result, KMS_REFUSED);
	assert_true(o.answer.len < KMS_NAME_SHOWN + 100);
	done(&o);
}

static void a_context_has_a_bound(void **state)
{
	char text[4000];
	struct outcome o;

	(void)state;
	for (int pairs = KMS_CONTEXT_MAX; pairs <= KMS_CONTEXT_MAX + 1; pairs++) {
		int n = snprintf(text, sizeof(text), "{\"operation\":\"Decrypt\",\"input\":{\"encryption_context\":{");

		for (int i = 0; i < pairs; i++)
			n += snprintf(text + n, sizeof(text) - (size_t)n, "%s\"%d\":\"\"", i ? "," : "", i);
		/* One more that is there already is none more. */
		n += snprintf(text + n, sizeof(text) - (size_t)n, ",\"0\":\"x\"}}}");
		ask(text, find_rule("own"), &o);
		assert_int_equal(o.result, pairs == KMS_CONTEXT_MAX ? KMS_OK : KMS_REFUSED);
		if (pairs == KMS_CONTEXT_MAX)
			assert_non_null(strstr(o.body.ptr, "\"EncryptionContext\":{\"0\":\"x\",\"1\":\"\","));
		done(&o);
	}
}

static void what_is_not_json_is_told_apart(void **state)
{
	static const char *const texts[] = {
		"", "{", "{\"a\":1,}", "{\"a\":[1,]}", "{\"a\":01}", "{\"a\":1.}", "{\"a\":-}", "{\"a\":1e}",
		"{\"a\":\"\t\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":Infinity}", "{\"a\":tru}", "{} {}",
		"{\"operation\":nul}", "{\"operation\":1.}", "{,}", "[1 2]", "{\"a\" 1}", "{\"a\":'b'}",
	};
	struct outcome o;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		ask(texts[i], &rules[0], &o);
		if (o.result != KMS_NOT_JSON)
			fail_msg("%s was taken", texts[i]);
		assert_string_equal(o.answer.ptr, "{\"error\":\"invalid request: not JSON (RFC 8259)\"}");
		done(&o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_golden_file_holds),
		cmocka_unit_test(no_word_leads_to_another_key),
		cmocka_unit_test(a_long_word_is_not_echoed_whole),
		cmocka_unit_test(a_context_has_a_bound),
		cmocka_unit_test(what_is_not_json_is_told_apart),
	};

	return cmocka_run_group_tests_name("aws/kms", tests, NULL, NULL);
}

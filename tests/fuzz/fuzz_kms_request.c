/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An enclave's request, and the same bytes as AWS's answer.  What is let through must be JSON,
 * name a key of the rule and hold the rule's context; what json_reader takes json-c must take.
 */
#include <config.h>

#include <json-c/json.h>

#include "aws/aws.h"
#include "aws/kms.h"
#include "config/config.h"
#include "tests/fuzz/fuzz.h"
#include "wire/json_stream.h"
#include "wire/json_writer.h"

static const struct config_kms_key keys[] = {
	{ "arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555", "eu-west-1", NULL },
	{ "alias/own", NULL, NULL },
};
static const struct config_pair context[] = { { "app", "k" } };
static const struct config_kms_grant grant = { .keys = keys, .n_keys = 2, .allow = KMS_ALL, .context = context, .n_context = 1 };

/* The one value in text, or NULL where json-c does not take it for one. */
static struct json_object *parse(const char *text, size_t len)
{
	struct json_stream *s = json_stream_new(1 << 20, JSON_STREAM_DEPTH);
	struct json_object *value = NULL;
	size_t used;

	FUZZ_CHECK(s);
	if (json_stream_feed(s, text, len, &used, &value) == JSON_STREAM_MORE)
		json_stream_end(s, &value);
	json_stream_free(s);
	return value;
}

static void check_body(uint32_t operation, const struct json_writer *w)
{
	struct json_object *body = parse(w->ptr, w->len), *value;

	FUZZ_CHECK(json_object_is_type(body, json_type_object));
	if (json_object_object_get_ex(body, "KeyId", &value))
		FUZZ_CHECK(strcmp(json_object_get_string(value), keys[0].id) == 0 ||
			   strcmp(json_object_get_string(value), keys[1].id) == 0);
	else
		FUZZ_CHECK(operation == KMS_GENERATE_RANDOM);
	if (json_object_object_get_ex(body, "EncryptionContext", &value)) {
		FUZZ_CHECK(json_object_object_get_ex(value, "app", &value));
		FUZZ_CHECK(strcmp(json_object_get_string(value), "k") == 0);
	}
	json_object_put(body);
}

/* An answer is one object with one member. */
static void check_answer(struct json_writer *w)
{
	struct json_object *answer = parse(w->ptr, w->len), *value;

	FUZZ_CHECK(json_object_is_type(answer, json_type_object) && json_object_object_length(answer) == 1);
	FUZZ_CHECK(json_object_object_get_ex(answer, "error", &value) ||
		   json_object_object_get_ex(answer, "output", &value));
	json_object_put(answer);
	json_writer_fini(w);
}

static void ask(const uint8_t *data, size_t size)
{
	struct json_writer w = JSON_WRITER_INIT;
	const struct config_kms_key *key;
	struct kms_request r;
	char *text = fuzz_copy(data, size);
	enum kms_result result = kms_request_read(text, size, &r, &w);
	struct json_object *value = parse((const char *)data, size);
	const char *why;

	/* NULL is the value null as well. */
	FUZZ_CHECK(result == KMS_NOT_JSON || value || memchr(data, 'n', size));
	json_stream_discard(value);
	if (result == KMS_OK)
		result = kms_request_permit(&r, &grant, false, &key, &why, &w);
	if (result == KMS_OK && !kms_operation_target(r.operation)) {
		kms_write_no_store(&r, &w);
	} else if (result == KMS_OK) {
		FUZZ_CHECK(key && w.len == 0);
		kms_request_body(&r, &grant, key, &w);
		check_body(r.operation, &w);
		json_writer_fini(&w);
		free(text);
		return;
	}
	check_answer(&w);
	free(text);
}

static void answer(const uint8_t *data, size_t size)
{
	for (uint32_t operation = 1; operation <= KMS_DESCRIBE_KEY; operation <<= 1) {
		struct aws_call call = { .status = 200, .answer = fuzz_copy(data, size), .answer_len = size };
		struct json_writer w = JSON_WRITER_INIT;

		kms_write_answer(operation, &call, &w);
		check_answer(&w);
		free(call.answer);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ask(data, size);
	answer(data, size);
	return 0;
}

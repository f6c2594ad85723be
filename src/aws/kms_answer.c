/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "aws/aws.h"
#include "aws/kms.h"
#include "config/config.h"
#include "wire/base64.h"
#include "wire/json_reader.h"
#include "wire/json_stream.h"
#include "wire/json_writer.h"

/* Of AWS's standard retry mode: that many means they were used up. */
enum { AWS_ATTEMPTS = 3 };

/* --- errors --- */

static void open_error(struct json_writer *w)
{
	json_write_text(w, "{\"error\":\"");
}

static void add_text(struct json_writer *w, const char *text)
{
	json_write_escaped(w, slice_of_string(text));
}

static void close_error(struct json_writer *w)
{
	json_write_text(w, "\"}");
}

void kms_write_error(struct json_writer *w, const char *text, struct slice word, const char *more)
{
	open_error(w);
	add_text(w, text);
	json_write_escaped(w, word);
	add_text(w, more);
	close_error(w);
}

void kms_write_no_store(const struct kms_request *r, struct json_writer *w)
{
	const struct slice none = { NULL, 0 };

	if (r->operation == KMS_GET_ITEM)
		kms_write_error(w, "encrypted item not found: ", r->filename, ": no store is configured");
	else
		kms_write_error(w, r->operation == KMS_STORE_ITEM ? "failed to store cache item: " :
								    "failed to delete cache item: ",
				none, "no store is configured");
}

/* --- what AWS said --- */

/* What an answer may hold: any other field of AWS's is dropped, and so is what is secret in clear. */
enum { ANSWER_FIELDS = 5 };

static const struct answer_field {
	const char *aws, *name;
	enum { GIVE_BYTES, GIVE_STRING, GIVE_OBJECT } type;
} answers[][ANSWER_FIELDS] = {
	/* GenerateDataKey: without Plaintext */
	{ { "CiphertextBlob", "ciphertext_blob", GIVE_BYTES },
	  { "CiphertextForRecipient", "ciphertext_for_recipient", GIVE_BYTES } },
	/* Decrypt: without Plaintext */
	{ { "CiphertextForRecipient", "ciphertext_for_recipient", GIVE_BYTES } },
	/* Encrypt: ResultMetadata follows */
	{ { "CiphertextBlob", "CiphertextBlob", GIVE_BYTES },
	  { "EncryptionAlgorithm", "EncryptionAlgorithm", GIVE_STRING },
	  { "KeyId", "KeyId", GIVE_STRING } },
	/* GenerateDataKeyPair: without PrivateKeyPlaintext */
	{ { "PrivateKeyCiphertextBlob", "private_key_ciphertext_blob", GIVE_BYTES },
	  { "PublicKey", "public_key", GIVE_BYTES },
	  { "KeyId", "key_id", GIVE_STRING },
	  { "KeyPairSpec", "key_pair_spec", GIVE_STRING },
	  { "CiphertextForRecipient", "ciphertext_for_recipient", GIVE_BYTES } },
	/* GenerateRandom: without Plaintext */
	{ { "CiphertextForRecipient", "ciphertext_for_recipient", GIVE_BYTES } },
	/* DeriveSharedSecret: without SharedSecret */
	{ { "KeyId", "key_id", GIVE_STRING },
	  { "KeyAgreementAlgorithm", "key_agreement_algorithm", GIVE_STRING },
	  { "KeyOrigin", "key_origin", GIVE_STRING },
	  { "CiphertextForRecipient", "ciphertext_for_recipient", GIVE_BYTES } },
	/* DescribeKey */
	{ { "KeyMetadata", "key_metadata", GIVE_OBJECT } },
};

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

/* AWSAccountId: aws_account_id. */
static void write_snake(struct json_writer *w, struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = ascii_lower(name.ptr[i]);
		bool begins = is_upper(name.ptr[i]) && i > 0 &&
			      (!is_upper(name.ptr[i - 1]) || (i + 1 < name.len && !is_upper(name.ptr[i + 1])));

		if (begins)
			json_write_text(w, "_");
		json_write_escaped(w, slice_of(&c, 1));
	}
}

/* A value of AWS's as it is, the names in it as ours are. */
static bool copy_value(struct json_reader *in, struct json_writer *w, unsigned depth)
{
	enum json_kind kind = json_peek(in);
	struct slice s = { NULL, 0 };
	size_t n = 0;

	if (kind == JSON_STRING) {
		if (!json_read_string(in, &s))
			return false;
		json_write_string(w, s);
		return true;
	}
	if (kind != JSON_OBJECT && kind != JSON_ARRAY) {
		if (!json_skip(in, 0, &s))
			return false;
		json_write(w, s);
		return true;
	}
	if (depth == 0)
		return false;
	json_enter(in, kind == JSON_OBJECT ? '{' : '[');
	json_write_text(w, kind == JSON_OBJECT ? "{" : "[");
	while (kind == JSON_OBJECT ? json_next_member(in, &s) : json_next_element(in)) {
		json_write_text(w, n++ ? "," : "");
		if (kind == JSON_OBJECT) {
			json_write_text(w, "\"");
			write_snake(w, s);
			json_write_text(w, "\":");
		}
		if (!copy_value(in, w, depth - 1))
			return false;
	}
	json_write_text(w, kind == JSON_OBJECT ? "}" : "]");
	return !in->failed;
}

/* One field of the answer from AWS's text for it, which may be none. */
static bool write_answer_field(const struct answer_field *field, struct slice text, struct json_writer *w)
{
	struct json_reader in;
	struct slice s = { NULL, 0 };
	size_t len = 0;

	if (!text.ptr || slice_equal(text, SLICE_LITERAL("null"))) {
		json_write_text(w, "null");
		return true;
	}
	json_reader_init(&in, (char *)text.ptr, text.len);
	switch (field->type) {
	case GIVE_BYTES:
		if (!json_read_string(&in, &s) || !base64_normalize((char *)s.ptr, s.len, &len))
			return false;
		json_write_string(w, slice_of(s.ptr, len));
		return true;
	case GIVE_STRING:
		if (!json_read_string(&in, &s))
			return false;
		json_write_string(w, s);
		return true;
	case GIVE_OBJECT:
		return copy_value(&in, w, JSON_STREAM_DEPTH);
	}
	return false;
}

static bool write_output(uint32_t operation, char *text, size_t text_len, struct json_writer *w)
{
	const struct answer_field *wanted = answers[__builtin_ctz(operation)];
	struct slice found[ANSWER_FIELDS] = { { NULL, 0 } }, name, value;
	struct json_reader in;
	size_t n = 0;

	json_reader_init(&in, text, text_len);
	if (!json_enter(&in, '{'))
		return false;
	while (json_next_member(&in, &name)) {
		if (!json_skip(&in, JSON_STREAM_DEPTH, &value))
			return false;
		for (size_t i = 0; i < ANSWER_FIELDS && wanted[i].aws; i++) {
			if (slice_equal(name, slice_of_string(wanted[i].aws)))
				found[i] = value;
		}
	}
	if (!json_reader_end(&in))
		return false;
	json_write_text(w, "{\"output\":{");
	for (size_t i = 0; i < ANSWER_FIELDS && wanted[i].aws; i++) {
		json_write_text(w, n++ ? ",\"" : "\"");
		json_write_text(w, wanted[i].name);
		json_write_text(w, "\":");
		if (!write_answer_field(&wanted[i], found[i], w))
			return false;
	}
	json_write_text(w, operation == KMS_ENCRYPT ? ",\"ResultMetadata\":{}}}" : "}}");
	return true;
}

/* The errors that AWS's SDK has a type for, and so writes without "api error". */
static bool is_modelled(const char *code)
{
	static const char *const codes[] = {
		"DependencyTimeoutException", "DisabledException", "DryRunOperationException",
		"IncorrectKeyException", "InvalidArnException", "InvalidCiphertextException",
		"InvalidGrantTokenException", "InvalidKeyUsageException", "KMSInternalException",
		"KMSInvalidStateException", "KeyUnavailableException", "NotFoundException",
		"UnsupportedOperationException", "CustomKeyStoreInvalidStateException",
		"CustomKeyStoreNotFoundException",
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (strcmp(code, codes[i]) == 0)
			return true;
	}
	return false;
}

/* What the SDK says of an answer, or of none, behind "operation error KMS: Decrypt, ". */
static void write_cause(struct json_writer *w, const struct aws_call *call)
{
	char text[160];

	if (call->attempts >= AWS_ATTEMPTS) {
		snprintf(text, sizeof(text), "exceeded maximum number of attempts, %u, ", call->attempts);
		add_text(w, text);
	}
	snprintf(text, sizeof(text), "https response error StatusCode: %u, RequestID: %s, ", call->status,
		 call->request_id);
	switch (call->result) {
	case AWS_ANSWERED:
		add_text(w, text);
		if (call->status == 200) {
			add_text(w, "deserialization failed, failed to decode response body");
			return;
		}
		if (!is_modelled(call->error_code))
			add_text(w, "api error ");
		add_text(w, *call->error_code ? call->error_code : "UnknownError");
		add_text(w, ": ");
		break;
	case AWS_NO_CREDENTIALS:
		add_text(w, "get identity: get credentials: ");
		break;
	case AWS_TIMED_OUT:
		add_text(w, text);
		add_text(w, "canceled, context deadline exceeded: ");
		break;
	case AWS_UNREACHABLE:
		add_text(w, text);
		add_text(w, "request send failed, ");
		break;
	case AWS_QUEUE_FULL:
		add_text(w, "too many requests wait for AWS: ");
		break;
	case AWS_FAILED:
		add_text(w, "the proxy could not ask: ");
		break;
	}
	add_text(w, call->error_message);
}

bool kms_write_answer(uint32_t operation, struct aws_call *call, struct json_writer *w)
{
	const char *name = kms_operation_name(operation);

	if (call->result == AWS_ANSWERED && call->status == 200 && call->answer) {
		if (write_output(operation, call->answer, call->answer_len, w))
			return true;
		json_writer_fini(w);
	}
	open_error(w);
	add_text(w, "KMS ");
	add_text(w, name);
	add_text(w, " failed: operation error KMS: ");
	add_text(w, name);
	add_text(w, ", ");
	write_cause(w, call);
	close_error(w);
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "aws/kms.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "wire/base64.h"
#include "wire/json_reader.h"
#include "wire/json_stream.h"
#include "wire/json_writer.h"

enum {
	WITH_KEY = KMS_GENERATE_DATA_KEY | KMS_DECRYPT | KMS_ENCRYPT | KMS_GENERATE_DATA_KEY_PAIR |
		   KMS_DERIVE_SHARED_SECRET | KMS_DESCRIBE_KEY,
	WITH_CONTEXT = KMS_GENERATE_DATA_KEY | KMS_DECRYPT | KMS_ENCRYPT | KMS_GENERATE_DATA_KEY_PAIR,
	WITH_RECIPIENT = KMS_GENERATE_DATA_KEY | KMS_DECRYPT | KMS_GENERATE_DATA_KEY_PAIR |
			 KMS_GENERATE_RANDOM | KMS_DERIVE_SHARED_SECRET,
	/* What the Go proxy did not have answers nothing but secrets, and has no use without one. */
	NEEDS_RECIPIENT = KMS_GENERATE_DATA_KEY_PAIR | KMS_GENERATE_RANDOM | KMS_DERIVE_SHARED_SECRET,
	OF_ITEMS = KMS_STORE_ITEM | KMS_GET_ITEM | KMS_DELETE_ITEM,
};

static const struct {
	const char *name;
	const char *target;	/* NULL: not AWS KMS's */
	const char *invalid;	/* how the error of a bad input begins */
} operations[] = {
#define AWS_OPERATION(name) { name, "TrentService." name, "invalid " name " input: " }
	AWS_OPERATION("GenerateDataKey"), AWS_OPERATION("Decrypt"), AWS_OPERATION("Encrypt"),
	AWS_OPERATION("GenerateDataKeyPair"), AWS_OPERATION("GenerateRandom"),
	AWS_OPERATION("DeriveSharedSecret"), AWS_OPERATION("DescribeKey"),
	{ "StoreEncryptedItem", NULL, "invalid input: " },
	{ "GetEncryptedItem", NULL, "invalid GetEncryptedItem input: " },
	{ "DeleteEncryptedItem", NULL, "invalid DeleteEncryptedItem input: " },
#undef AWS_OPERATION
};
_Static_assert(KMS_ALL == (1 << (sizeof(operations) / sizeof(operations[0]))) - 1, "a row for each bit");

/* The row of an operation, which is one bit. */
#define ROW(operation) operations[__builtin_ctz(operation)]

enum field_type { TYPE_STRING, TYPE_INTEGER, TYPE_BOOL, TYPE_BYTES, TYPE_STRINGS, TYPE_PAIRS, TYPE_RECIPIENT };

/* A field of an input: the contract's name, AWS's, and which operations have it. */
static const struct field {
	const char *name, *aws;
	enum field_type type;
	uint32_t of;
	size_t at;
} fields[] = {
#define AT(member) offsetof(struct kms_request, member)
	{ "key_id", "KeyId", TYPE_STRING, WITH_KEY, AT(key_id) },
	{ "key_spec", "KeySpec", TYPE_STRING, KMS_GENERATE_DATA_KEY, AT(key_spec) },
	{ "key_pair_spec", "KeyPairSpec", TYPE_STRING, KMS_GENERATE_DATA_KEY_PAIR, AT(key_pair_spec) },
	{ "number_of_bytes", "NumberOfBytes", TYPE_INTEGER, KMS_GENERATE_DATA_KEY | KMS_GENERATE_RANDOM,
	  AT(number_of_bytes) },
	{ "ciphertext_blob", "CiphertextBlob", TYPE_BYTES, KMS_DECRYPT, AT(ciphertext_blob) },
	{ "plaintext", "Plaintext", TYPE_BYTES, KMS_ENCRYPT, AT(plaintext) },
	{ "public_key", "PublicKey", TYPE_BYTES, KMS_DERIVE_SHARED_SECRET, AT(public_key) },
	{ "encryption_algorithm", "EncryptionAlgorithm", TYPE_STRING, KMS_DECRYPT | KMS_ENCRYPT,
	  AT(encryption_algorithm) },
	{ "key_agreement_algorithm", "KeyAgreementAlgorithm", TYPE_STRING, KMS_DERIVE_SHARED_SECRET,
	  AT(key_agreement_algorithm) },
	{ "encryption_context", "EncryptionContext", TYPE_PAIRS, WITH_CONTEXT, 0 },
	{ "grant_tokens", "GrantTokens", TYPE_STRINGS, WITH_KEY, 0 },
	{ "dry_run", "DryRun", TYPE_BOOL, WITH_KEY & ~KMS_DESCRIBE_KEY, AT(dry_run) },
	{ "recipient", "Recipient", TYPE_RECIPIENT, WITH_RECIPIENT, 0 },
	{ "data", NULL, TYPE_BYTES, KMS_STORE_ITEM, AT(data) },
	{ "key", NULL, TYPE_BYTES, KMS_STORE_ITEM, AT(key) },
	{ "filename", NULL, TYPE_STRING, OF_ITEMS, AT(filename) },
#undef AT
};
enum { N_FIELDS = sizeof(fields) / sizeof(fields[0]) };

static bool is_named(struct slice name, const char *field)
{
	return slice_equal_nocase(name, slice_of_string(field));
}

/* --- reading --- */

/* Why an input is not taken: a field, and what is wrong with it. */
struct fault {
	const char *field, *what;
};

static bool faulty(struct fault *f, const char *field, const char *what)
{
	if (!f->what)
		*f = (struct fault){ field, what };
	return false;
}

/* [1,2,255]: each number becomes a byte in front of where it stands. */
static bool read_byte_array(struct json_reader *in, struct kms_bytes *ret)
{
	char *to = in->at;
	char *begin = to;

	json_enter(in, '[');
	while (json_next_element(in)) {
		struct slice digits = SLICE_LITERAL("0");
		unsigned long long value;

		if (json_peek(in) == JSON_NULL ? !json_read_null(in) : !json_read_number(in, &digits))
			return false;
		if (!slice_parse_u64(digits, 255, &value))
			return false;
		*to++ = (char)value;
	}
	if (in->failed)
		return false;
	*ret = (struct kms_bytes){ true, true, slice_of(begin, (size_t)(to - begin)) };
	return true;
}

static bool read_bytes(struct json_reader *in, const char *name, struct kms_bytes *ret, struct fault *f)
{
	struct slice s;
	size_t len;

	switch (json_peek(in)) {
	case JSON_NULL:
		*ret = (struct kms_bytes){ .is_set = false };
		return json_read_null(in);
	case JSON_STRING:
		if (!json_read_string(in, &s) || !base64_normalize((char *)s.ptr, s.len, &len))
			return faulty(f, name, "is not base64 (standard alphabet, padded)");
		*ret = (struct kms_bytes){ true, false, slice_of(s.ptr, len) };
		return true;
	case JSON_ARRAY:
		return read_byte_array(in, ret) || faulty(f, name, "must hold numbers from 0 to 255");
	default:
		return faulty(f, name, "must be a string in base64");
	}
}

static bool read_string(struct json_reader *in, const char *name, struct slice *ret, struct fault *f)
{
	if (json_peek(in) == JSON_NULL)
		return json_read_null(in); /* Go leaves what is there */
	return (json_peek(in) == JSON_STRING && json_read_string(in, ret)) || faulty(f, name, "must be a string");
}

/* An int32, written without fraction and exponent. */
static bool read_integer(struct json_reader *in, const char *name, struct slice *ret, struct fault *f)
{
	struct slice digits, positive;
	unsigned long long value;

	if (json_peek(in) == JSON_NULL) {
		*ret = slice_of(NULL, 0);
		return json_read_null(in);
	}
	if (json_peek(in) != JSON_NUMBER || !json_read_number(in, &digits))
		return faulty(f, name, "must be an integer");
	positive = digits;
	if (digits.ptr[0] == '-')
		positive = slice_of(digits.ptr + 1, digits.len - 1);
	if (!slice_parse_u64(positive, INT32_MAX, &value))
		return faulty(f, name, "must be an integer of 32 bits");
	*ret = digits;
	return true;
}

static bool read_strings(struct json_reader *in, const char *name, struct kms_request *r, struct fault *f)
{
	r->n_grant_tokens = 0;
	r->has_grant_tokens = json_peek(in) != JSON_NULL;
	if (!r->has_grant_tokens)
		return json_read_null(in);
	if (json_peek(in) != JSON_ARRAY)
		return faulty(f, name, "must be an array of strings");
	json_enter(in, '[');
	while (json_next_element(in)) {
		if (r->n_grant_tokens == KMS_GRANT_TOKENS_MAX)
			return faulty(f, name, "has more than 10 tokens");
		r->grant_tokens[r->n_grant_tokens] = slice_of(NULL, 0);
		if (!read_string(in, name, &r->grant_tokens[r->n_grant_tokens++], f))
			return false;
	}
	return !in->failed;
}

/* n_context where there is none. */
static size_t find_pair(const struct kms_request *r, struct slice name)
{
	size_t i = 0;

	while (i < r->n_context && !slice_equal(r->context[i].name, name))
		i++;
	return i;
}

static bool read_pairs(struct json_reader *in, const char *name, struct kms_request *r, struct fault *f)
{
	struct slice key;

	if (json_peek(in) == JSON_NULL) {
		r->has_context = false;
		r->n_context = 0;
		return json_read_null(in);
	}
	if (json_peek(in) != JSON_OBJECT)
		return faulty(f, name, "must be an object of strings");
	r->has_context = true;
	json_enter(in, '{');
	while (json_next_member(in, &key)) {
		size_t i = find_pair(r, key);

		if (i == KMS_CONTEXT_MAX)
			return faulty(f, name, "has more than 64 pairs");
		if (i == r->n_context)
			r->n_context++;
		r->context[i] = (struct kms_pair){ key, slice_of(NULL, 0) };
		if (!read_string(in, name, &r->context[i].value, f))
			return false;
	}
	return !in->failed;
}

static bool read_recipient(struct json_reader *in, struct kms_request *r, struct fault *f)
{
	struct slice name, ignored;

	if (json_peek(in) == JSON_NULL) {
		r->has_recipient = false;
		r->attestation_document = (struct kms_bytes){ .is_set = false };
		r->key_encryption_algorithm = slice_of(NULL, 0);
		return json_read_null(in);
	}
	if (json_peek(in) != JSON_OBJECT)
		return faulty(f, "recipient", "must be an object");
	r->has_recipient = true;
	json_enter(in, '{');
	while (json_next_member(in, &name)) {
		bool good;

		if (is_named(name, "attestation_document"))
			good = read_bytes(in, "attestation_document", &r->attestation_document, f);
		else if (is_named(name, "key_encryption_algorithm"))
			good = read_string(in, "key_encryption_algorithm", &r->key_encryption_algorithm, f);
		else
			good = json_skip(in, JSON_STREAM_DEPTH, &ignored);
		if (!good)
			return false;
	}
	return !in->failed;
}

static bool read_field(struct json_reader *in, const struct field *field, struct kms_request *r, struct fault *f)
{
	void *at = (char *)r + field->at;

	switch (field->type) {
	case TYPE_STRING:
		return read_string(in, field->name, at, f);
	case TYPE_INTEGER:
		return read_integer(in, field->name, at, f);
	case TYPE_BOOL:
		if (json_peek(in) == JSON_NULL)
			return json_read_null(in);
		return (json_peek(in) == JSON_TRUE || json_peek(in) == JSON_FALSE ? json_read_bool(in, at) : false) ||
		       faulty(f, field->name, "must be true or false");
	case TYPE_BYTES:
		return read_bytes(in, field->name, at, f);
	case TYPE_STRINGS:
		return read_strings(in, field->name, r, f);
	case TYPE_PAIRS:
		return read_pairs(in, field->name, r, f);
	case TYPE_RECIPIENT:
		return read_recipient(in, r, f);
	}
	return false;
}

/* Encrypt's input was a struct of AWS's own in the Go proxy: it goes by AWS's names too. */
static const struct field *find_field(uint32_t operation, struct slice name)
{
	for (size_t i = 0; i < N_FIELDS; i++) {
		if ((fields[i].of & operation) && (is_named(name, fields[i].name) ||
						   (operation == KMS_ENCRYPT && is_named(name, fields[i].aws))))
			return &fields[i];
	}
	return NULL;
}

static bool read_input(struct kms_request *r, struct fault *f)
{
	struct json_reader in;
	struct slice name, ignored;

	if (!r->input.ptr)
		return faulty(f, "", "unexpected end of JSON input");
	json_reader_init(&in, (char *)r->input.ptr, r->input.len);
	if (json_peek(&in) == JSON_NULL)
		return true;
	if (json_peek(&in) != JSON_OBJECT)
		return faulty(f, "", "expected an object");
	json_enter(&in, '{');
	while (json_next_member(&in, &name)) {
		const struct field *field = find_field(r->operation, name);

		if (field ? !read_field(&in, field, r, f) : !json_skip(&in, JSON_STREAM_DEPTH, &ignored))
			break;
	}
	/* The input was walked through once already: only its fields can be wrong now. */
	return !f->what && (json_reader_end(&in) || faulty(f, "", "malformed"));
}

static uint32_t operation_of(struct slice name)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (slice_equal(name, slice_of_string(operations[i].name)))
			return 1u << i;
	}
	return 0;
}

static bool read_request(struct json_reader *in, struct kms_request *r, struct fault *f)
{
	struct slice name, ignored;

	if (json_peek(in) == JSON_NULL)
		return json_read_null(in); /* Go takes it for an object without members */
	if (json_peek(in) != JSON_OBJECT)
		return json_skip(in, JSON_STREAM_DEPTH, &ignored) ? faulty(f, "", "expected an object") : false;
	json_enter(in, '{');
	while (json_next_member(in, &name)) {
		bool good = true;

		if (is_named(name, "operation"))
			good = read_string(in, "operation", &r->operation_name, f);
		else if (is_named(name, "service_name"))
			good = read_string(in, "service_name", &r->service, f);
		else if (is_named(name, "input"))
			good = json_skip(in, JSON_STREAM_DEPTH, &r->input);
		else
			good = json_skip(in, JSON_STREAM_DEPTH, &ignored);
		/* The walk goes on behind a field of the wrong kind: is all of it JSON? */
		if (!good && !in->failed)
			good = json_skip(in, JSON_STREAM_DEPTH, &ignored);
		if (!good)
			return false;
	}
	return !in->failed;
}

static enum kms_result refuse(struct json_writer *w, const char *text, const struct fault *f)
{
	char what[96];

	snprintf(what, sizeof(what), "%s%s", *f->field ? " " : "", f->what);
	kms_write_error(w, text, slice_of_string(f->field), what);
	return KMS_REFUSED;
}

enum kms_result kms_request_read(char *text, size_t len, struct kms_request *r, struct json_writer *w)
{
	const struct slice none = { NULL, 0 };
	struct json_reader in;
	struct fault f = { NULL, NULL };

	memset(r, 0, sizeof(*r));
	json_reader_init(&in, text, len);
	read_request(&in, r, &f);
	if (!json_reader_end(&in)) {
		kms_write_error(w, "invalid request: ", none, "not JSON (RFC 8259)");
		return KMS_NOT_JSON;
	}
	if (f.what)
		return refuse(w, "invalid request: ", &f);
	r->operation = operation_of(r->operation_name);
	if (r->operation == 0) {
		kms_write_error(w, "unsupported operation: ", r->operation_name, "");
		return KMS_REFUSED;
	}
	if (read_input(r, &f))
		return KMS_OK;
	return refuse(w, ROW(r->operation).invalid, &f);
}

/* --- may it? --- */

/* What stands behind the last of n colons of an ARN, or an empty slice. */
static struct slice behind_colons(const char *s, int n)
{
	for (; n > 0 && s; n--) {
		s = strchr(s, ':');
		s = s ? s + 1 : NULL;
	}
	return s ? slice_of_string(s) : slice_of(NULL, 0);
}

/*
 * Does the request's word name this key?  The same bytes do; and of a key that the rule names
 * by ARN, its key id or alias alone.  Nothing else: case counts (alias names differ by it at
 * AWS), and an ARN is not known to be the key that the rule names without account and region.
 */
static bool names_key(struct slice word, const struct config_kms_key *key)
{
	const struct slice prefix = SLICE_LITERAL("key/");
	struct slice own = slice_of_string(key->id), rest;

	if (slice_equal(word, own))
		return true;
	if (!slice_starts_with(own, SLICE_LITERAL("arn:")))
		return false;
	rest = behind_colons(key->id, 5);
	if (slice_starts_with(rest, prefix))
		rest = slice_of(rest.ptr + prefix.len, rest.len - prefix.len);
	return rest.len > 0 && slice_equal(word, rest);
}

/* why: behind ": ". */
static enum kms_result deny(struct json_writer *w, const char **ret_why, const char *text, struct slice word,
			    const char *why)
{
	kms_write_error(w, text, slice_of(word.ptr, word.len < KMS_NAME_SHOWN ? word.len : KMS_NAME_SHOWN), why);
	*ret_why = why + strlen(": ");
	return KMS_REFUSED;
}

static enum kms_result choose_key(const struct kms_request *r, const struct config_kms_grant *g,
				  const struct config_kms_key **ret_key, const char **ret_why, struct json_writer *w)
{
	size_t i = 0;

	*ret_key = NULL;
	if (g->any_key || (r->operation & OF_ITEMS))
		return KMS_OK;
	while ((r->operation & WITH_KEY) && r->key_id.len > 0 && i < g->n_keys && !names_key(r->key_id, &g->keys[i]))
		i++;
	if (i >= g->n_keys)
		return deny(w, ret_why, "access denied: key ", r->key_id, ": not a key of this enclave, or not by that name");
	*ret_key = &g->keys[i];
	return KMS_OK;
}

enum kms_result kms_request_permit(const struct kms_request *r, const struct config_kms_grant *g,
				   bool require_recipient, const struct config_kms_key **ret_key,
				   const char **ret_why, struct json_writer *w)
{
	struct slice name = slice_of_string(ROW(r->operation).name);
	bool has_document = r->has_recipient && r->attestation_document.text.len > 0;
	enum kms_result chosen;

	if (!(g->allow & r->operation))
		return deny(w, ret_why, "access denied: ", name, ": not among the operations that this enclave is allowed");
	chosen = choose_key(r, g, ret_key, ret_why, w);
	if (chosen != KMS_OK)
		return chosen;
	if (!has_document && (r->operation & NEEDS_RECIPIENT))
		return deny(w, ret_why, "access denied: ", name, ": has no use without recipient.attestation_document");
	if (!has_document && require_recipient && !(r->operation & OF_ITEMS))
		return deny(w, ret_why, "access denied: ", name, ": a recipient with an attestation document is required");
	for (size_t i = 0; i < g->n_context && (r->operation & WITH_CONTEXT); i++) {
		struct slice own = slice_of_string(g->context[i].name);
		size_t at = find_pair(r, own);

		if (at < r->n_context && !slice_equal(r->context[at].value, slice_of_string(g->context[i].value)))
			return deny(w, ret_why, "access denied: encryption context ", own,
				    ": set otherwise than for this enclave");
	}
	return KMS_OK;
}

/* --- to AWS --- */

const char *kms_operation_name(uint32_t operation)
{
	return operation ? ROW(operation).name : NULL;
}

const char *kms_operation_target(uint32_t operation)
{
	return operation ? ROW(operation).target : NULL;
}

/* Begins a member; *n counts those there are. */
static void write_name(struct json_writer *w, size_t *n, const char *name)
{
	json_write_text(w, (*n)++ ? ",\"" : "\"");
	json_write_text(w, name);
	json_write_text(w, "\":");
}

static void write_bytes(struct json_writer *w, const struct kms_bytes *b)
{
	if (b->is_raw) {
		json_write_base64(w, b->text);
		return;
	}
	json_write_text(w, "\"");
	json_write(w, b->text);
	json_write_text(w, "\"");
}

static void write_context(struct json_writer *w, size_t *n, const char *name, const struct kms_request *r,
			  const struct config_kms_grant *g)
{
	size_t members = 0;

	if (!r->has_context && g->n_context == 0)
		return;
	write_name(w, n, name);
	json_write_text(w, "{");
	for (size_t i = 0; i < r->n_context; i++) {
		json_write_text(w, members++ ? "," : "");
		json_write_string(w, r->context[i].name);
		json_write_text(w, ":");
		json_write_string(w, r->context[i].value);
	}
	for (size_t i = 0; i < g->n_context; i++) {
		struct slice own = slice_of_string(g->context[i].name);

		if (find_pair(r, own) < r->n_context)
			continue; /* the same: kms_request_permit() */
		json_write_text(w, members++ ? "," : "");
		json_write_string(w, own);
		json_write_text(w, ":");
		json_write_string(w, slice_of_string(g->context[i].value));
	}
	json_write_text(w, "}");
}

static void write_recipient(struct json_writer *w, size_t *n, const char *name, const struct kms_request *r)
{
	size_t members = 0;

	if (!r->has_recipient)
		return;
	write_name(w, n, name);
	json_write_text(w, "{");
	if (r->key_encryption_algorithm.len > 0) {
		write_name(w, &members, "KeyEncryptionAlgorithm");
		json_write_string(w, r->key_encryption_algorithm);
	}
	if (r->attestation_document.is_set) {
		write_name(w, &members, "AttestationDocument");
		write_bytes(w, &r->attestation_document);
	}
	json_write_text(w, "}");
}

static void write_field(struct json_writer *w, size_t *n, const struct field *field, const struct kms_request *r,
			const struct config_kms_grant *g)
{
	const void *at = (const char *)r + field->at;
	const struct slice *s = at;
	const struct kms_bytes *b = at;
	const bool *flag = at;

	switch (field->type) {
	case TYPE_STRING:
	case TYPE_INTEGER:
		if (s->len == 0)
			break;
		write_name(w, n, field->aws);
		if (field->type == TYPE_STRING)
			json_write_string(w, *s);
		else
			json_write(w, *s);
		break;
	case TYPE_BOOL:
		if (!*flag)
			break;
		write_name(w, n, field->aws);
		json_write_text(w, "true");
		break;
	case TYPE_BYTES:
		if (!b->is_set)
			break;
		write_name(w, n, field->aws);
		write_bytes(w, b);
		break;
	case TYPE_STRINGS:
		if (!r->has_grant_tokens)
			break;
		write_name(w, n, field->aws);
		json_write_text(w, "[");
		for (size_t i = 0; i < r->n_grant_tokens; i++) {
			json_write_text(w, i ? "," : "");
			json_write_string(w, r->grant_tokens[i]);
		}
		json_write_text(w, "]");
		break;
	case TYPE_PAIRS:
		write_context(w, n, field->aws, r, g);
		break;
	case TYPE_RECIPIENT:
		write_recipient(w, n, field->aws, r);
		break;
	}
}

void kms_request_body(const struct kms_request *r, const struct config_kms_grant *g,
		      const struct config_kms_key *key, struct json_writer *w)
{
	size_t n = 0;

	json_write_text(w, "{");
	if (r->operation & WITH_KEY) { /* always, even "" */
		write_name(w, &n, "KeyId");
		json_write_string(w, key ? slice_of_string(key->id) : r->key_id);
	}
	for (size_t i = 1; i < N_FIELDS; i++) {
		if ((fields[i].of & r->operation) && fields[i].aws)
			write_field(w, &n, &fields[i], r, g);
	}
	json_write_text(w, "}");
}

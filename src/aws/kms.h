/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests of enclaves, as contract.md 4 has them, and AWS KMS's, one to the other.
 *
 *	kms_request_read()	the bytes of one JSON value, as Go's encoding/json reads them
 *	kms_request_permit()	may this enclave ask that, and with which of its keys?
 *	kms_request_body()	what AWS is asked
 *	kms_write_answer()	what the enclave hears of AWS's answer
 *
 * Pure: bytes in, bytes out; no socket, log or thread.  What goes to AWS is always the rule's
 * own word for a key, never the request's, so that no comparison of names, however it is
 * fooled, can reach a key that the rule does not list.  No plaintext goes back: the answers
 * are made of the fields that are named here, and no field with a secret in clear is.
 */
#ifndef AWS_KMS_H
#define AWS_KMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct aws_call;
struct config_kms_key;
struct config_kms_grant;
struct json_writer;

enum {
	KMS_GRANT_TOKENS_MAX = 10,	/* AWS's own limit */
	KMS_CONTEXT_MAX = 64,		/* pairs of an encryption context */
	KMS_NAME_SHOWN = 256,		/* bytes of a stranger's word in an error's text */
};

/* Bytes: base64 in canonical form, or as they are, from an array of numbers. */
struct kms_bytes {
	bool is_set, is_raw;
	struct slice text;
};

struct kms_pair {
	struct slice name, value;
};

/* All slices point into the text that was read. */
struct kms_request {
	uint32_t operation;		/* one of KMS_*; 0: none of ours */
	struct slice operation_name, service;
	struct slice input;		/* as it stands; ptr NULL: there is none */
	/* Of the input.  A string that is absent is empty, as in Go. */
	struct slice key_id, key_spec, key_pair_spec, encryption_algorithm, key_agreement_algorithm;
	struct slice number_of_bytes;	/* digits; len 0: absent */
	struct kms_bytes ciphertext_blob, plaintext, public_key;
	bool dry_run;
	bool has_grant_tokens, has_context, has_recipient;
	struct slice grant_tokens[KMS_GRANT_TOKENS_MAX];
	size_t n_grant_tokens;
	struct kms_pair context[KMS_CONTEXT_MAX];
	size_t n_context;
	struct kms_bytes attestation_document;
	struct slice key_encryption_algorithm;
	/* of items */
	struct kms_bytes data, key;
	struct slice filename;
};

enum kms_result {
	KMS_OK,
	KMS_REFUSED,	/* the error is written; the connection goes on */
	KMS_NOT_JSON,	/* the same, but nothing that follows can be believed */
};

/*
 * Reads a request in its place, and writes the whole answer into w where it cannot
 * be.  The text is spoilt: wipe it when the request is done with.
 */
enum kms_result kms_request_read(char *text, size_t len, struct kms_request *ret, struct json_writer *w);

/*
 * Does the rule's grant let it?  KMS_OK with the key to use: NULL where it is
 * "key any" and the request's own word goes to AWS.  KMS_REFUSED with "access denied: ..." in w,
 * and why in *ret_why (static), for the log.
 */
enum kms_result kms_request_permit(const struct kms_request *r, const struct config_kms_grant *g,
				   bool require_recipient, const struct config_kms_key **ret_key,
				   const char **ret_why, struct json_writer *w);

/* "Decrypt", and "TrentService.Decrypt": static; NULL where the operation is none, or not AWS's. */
const char *kms_operation_name(uint32_t operation);
const char *kms_operation_target(uint32_t operation);

/* AWS's JSON; key and g as kms_request_permit() left them. */
void kms_request_body(const struct kms_request *r, const struct config_kms_grant *g,
		      const struct config_kms_key *key, struct json_writer *w);

/*
 * The answer to an operation from what the call brought; call->answer is spoilt.  True
 * where it is an output and no error.
 */
bool kms_write_answer(uint32_t operation, struct aws_call *call, struct json_writer *w);

/* {"error":"..."}: a text of ours, then a stranger's word, whole, then another text. */
void kms_write_error(struct json_writer *w, const char *text, struct slice word, const char *more);
/* The answer to an operation on items where no store is configured. */
void kms_write_no_store(const struct kms_request *r, struct json_writer *w);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What AWS's endpoints answer, read strictly: credentials and errors.
 *
 * Credentials go on into headers and signatures, so each value is held to the bytes and the
 * length that AWS gives it; anything else is no credential.  Errors go into logs and to enclaves,
 * so they are cut to size and cleaned of control characters.
 *
 * Pure.
 */
#ifndef AWS_ANSWERS_H
#define AWS_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum {
	ANSWER_ACCESS_KEY_MAX = 128,
	ANSWER_SECRET_MAX = 256,
	ANSWER_TOKEN_MAX = 16384,
	ANSWER_CREDENTIALS_MAX = 65536,	/* bytes of an answer that has credentials */
	ANSWER_CODE_SIZE = 64,
	ANSWER_MESSAGE_SIZE = 512,
	ANSWER_WHY_SIZE = 256,
};

/* What a request is signed with. */
struct aws_keys {
	char *access_key_id, *secret;
	char *token;		/* NULL: credentials for good */
	int64_t expires_s;	/* since the epoch; 0: never */
};

/* Copies, held to the bytes they may have; token may be empty.  False with why, *ret zeroed. */
bool aws_keys_set(struct aws_keys *ret, struct slice access_key_id, struct slice secret, struct slice token,
		  char why[ANSWER_WHY_SIZE]);
bool aws_keys_copy(struct aws_keys *ret, const struct aws_keys *from);
bool aws_keys_equal(const struct aws_keys *a, const struct aws_keys *b);
/* Wipes and zeroes. */
void aws_keys_fini(struct aws_keys *k);

/* "2026-11-25T20:00:00Z", with a fraction or without; false where it is not that. */
bool answer_read_time(struct slice text, int64_t *ret_s);

/* IMDS and container endpoints: a JSON object. */
bool answer_read_json_keys(struct slice json, struct aws_keys *ret, char why[ANSWER_WHY_SIZE]);
/* STS; operation: "AssumeRole" or "AssumeRoleWithWebIdentity". */
bool answer_read_sts_keys(struct slice xml, const char *operation, struct aws_keys *ret,
			  char why[ANSWER_WHY_SIZE]);

struct answer_error {
	char code[ANSWER_CODE_SIZE];		/* "" where the answer has none */
	char message[ANSWER_MESSAGE_SIZE];
};

/* type: the header X-Amzn-Errortype, or "".  body: JSON or not. */
void answer_read_json_error(struct slice body, const char *type, struct answer_error *ret);
void answer_read_sts_error(struct slice xml, struct answer_error *ret);

#endif

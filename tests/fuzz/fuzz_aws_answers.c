/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What STS, IMDS and container endpoints answer; the first byte says which.
 *
 * The oracle: what is taken for a key could not end a header or a log line, an STS answer
 * without its last '>' is none, and errors are clean whatever was sent.
 */
#include <config.h>

#include "aws/answers.h"
#include "aws/xml.h"
#include "tests/fuzz/fuzz.h"

static void check_plain(const char *s)
{
	for (; *s; s++)
		FUZZ_CHECK(*s > 0x20 && *s < 0x7f);
}

static void check_keys(bool good, struct aws_keys *k, const char *why)
{
	FUZZ_CHECK(good == !*why);
	FUZZ_CHECK(good ? k->access_key_id && k->secret : !k->access_key_id && !k->secret && !k->token);
	if (good) {
		FUZZ_CHECK(*k->access_key_id && strlen(k->access_key_id) <= ANSWER_ACCESS_KEY_MAX);
		FUZZ_CHECK(*k->secret && strlen(k->secret) <= ANSWER_SECRET_MAX);
		check_plain(k->access_key_id);
		check_plain(k->secret);
		check_plain(k->token ? k->token : "");
	}
	aws_keys_fini(k);
}

static void check_sts(struct slice text, const char *operation)
{
	char why[ANSWER_WHY_SIZE] = "";
	struct aws_keys k;
	bool good = answer_read_sts_keys(text, operation, &k, why);
	size_t end = text.len;

	check_keys(good, &k, why);
	if (!good)
		return;
	while (text.ptr[end - 1] != '>')
		end--;
	FUZZ_CHECK(!answer_read_sts_keys(slice_of(text.ptr, end - 1), operation, &k, why));
}

static void check_error(const struct answer_error *e)
{
	check_plain(e->code);
	FUZZ_CHECK(strlen(e->code) < sizeof(e->code) && strlen(e->message) < sizeof(e->message));
	for (const char *s = e->message; *s; s++)
		FUZZ_CHECK((unsigned char)*s >= 0x20 && *s != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *exact, why[ANSWER_WHY_SIZE] = "";
	struct slice text;
	struct answer_error e;
	struct aws_keys k;

	if (size == 0)
		return 0;
	exact = fuzz_copy(data + 1, size - 1);
	text = slice_of(exact, size - 1);
	switch (data[0] % 5) {
	case 0:
		check_sts(text, "AssumeRole");
		break;
	case 1:
		check_sts(text, "AssumeRoleWithWebIdentity");
		break;
	case 2:
		answer_read_sts_error(text, &e);
		check_error(&e);
		break;
	case 3:
		check_keys(answer_read_json_keys(text, &k, why), &k, why);
		break;
	default:
		answer_read_json_error(text, "", &e);
		check_error(&e);
		break;
	}
	free(exact);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hellos are OpenSSL's own, made in memory, and then cut, re-framed and
 * broken.  Inputs lie in exact heap copies, so that ASan sees any byte too far.
 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "tests/unit/cuts.h"
#include "wire/tls_hello.h"

struct bytes {
	size_t len;
	unsigned char b[200000];
};

static struct bytes golden, made;

static void put(struct bytes *to, const void *from, size_t len)
{
	assert_true(to->len + len <= sizeof(to->b));
	memcpy(to->b + to->len, from, len);
	to->len += len;
}

/* What SSL_connect() sends first. */
static void make_hello(struct bytes *ret, const char *name, int max_version, bool alpn)
{
	static const unsigned char protocols[] = "\x02h2\x08http/1.1";
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl;
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	assert_non_null(ctx);
	SSL_CTX_set_max_proto_version(ctx, max_version);
	ssl = SSL_new(ctx);
	SSL_set_bio(ssl, in, out);
	if (name)
		SSL_set_tlsext_host_name(ssl, name);
	if (alpn)
		SSL_set_alpn_protos(ssl, protocols, sizeof(protocols) - 1);
	SSL_connect(ssl);
	ret->len = (size_t)BIO_read(out, ret->b, (int)sizeof(ret->b));
	assert_true(ret->len > 50 && ret->len < 5000);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

/* The same message in records of n bytes. */
static void reframe(const struct bytes *from, size_t n, struct bytes *ret)
{
	size_t left = from->len - 5;
	const unsigned char *p = from->b + 5;

	ret->len = 0;
	while (left > 0) {
		size_t now = left < n ? left : n;
		const unsigned char head[5] = { 22, 3, 1, (unsigned char)(now >> 8), (unsigned char)now };

		put(ret, head, 5);
		put(ret, p, now);
		p += now;
		left -= now;
	}
}

/* A hello with these extension bytes, in one record: 5 + 4 + 41 bytes before their length. */
static void craft(struct bytes *ret, const void *extensions, size_t len)
{
	unsigned char fixed[52] = { 22, 3, 1 };
	size_t body = 41 + 2 + len;

	fixed[3] = (unsigned char)((body + 4) >> 8);
	fixed[4] = (unsigned char)(body + 4);
	fixed[5] = 1;
	fixed[6] = (unsigned char)(body >> 16);
	fixed[7] = (unsigned char)(body >> 8);
	fixed[8] = (unsigned char)body;
	fixed[9] = fixed[10] = 3;
	/* 43: no session id; 44: two bytes of suites; 48: one compression method. */
	fixed[45] = 2;
	fixed[46] = 0x13;
	fixed[47] = 1;
	fixed[48] = 1;
	fixed[50] = (unsigned char)(len >> 8);
	fixed[51] = (unsigned char)len;
	ret->len = 0;
	put(ret, fixed, sizeof(fixed));
	put(ret, extensions, len);
}

static enum tls_hello_result feed(struct tls_hello *h, const struct bytes *b, unsigned way)
{
	enum tls_hello_result r = TLS_HELLO_MORE;
	struct cuts cuts = cuts_of(way);

	tls_hello_init(h);
	for (size_t n = cuts_next(&cuts, b->len);; n += cuts_next(&cuts, b->len - n)) {
		unsigned char *exact = malloc(n);

		memcpy(exact, b->b, n);
		r = tls_hello_parse(h, exact, n);
		free(exact);
		if (r != TLS_HELLO_MORE || n == b->len)
			return r;
	}
}

static enum tls_hello_result parse(struct tls_hello *h, const struct bytes *b)
{
	enum tls_hello_result whole = feed(h, b, CUTS_WHOLE);
	struct tls_hello cut;

	for (unsigned way = CUTS_BYTES; way < CUTS_WAYS; way++) {
		assert_int_equal(feed(&cut, b, way), whole);
		if (whole == TLS_HELLO_FOUND)
			assert_string_equal(cut.name, h->name);
	}
	return whole;
}

static void a_hello_of_openssl_gives_name_and_alpn(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct tls_hello h;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		make_hello(&golden, "Tee-K.Example.org", versions[i], true);
		assert_int_equal(parse(&h, &golden), TLS_HELLO_FOUND);
		assert_string_equal(h.name, "tee-k.example.org");
		assert_true(tls_hello_offers(&h, SLICE_LITERAL("h2")));
		assert_true(tls_hello_offers(&h, SLICE_LITERAL("http/1.1")));
		assert_false(tls_hello_offers(&h, SLICE_LITERAL("http/1")));
		assert_int_equal(h.version, 0x0303);
	}
	make_hello(&golden, NULL, TLS1_3_VERSION, false);
	assert_int_equal(parse(&h, &golden), TLS_HELLO_NONE);
	assert_int_equal(h.name_len, 0);
	assert_false(h.has_alpn);
}

static void a_hello_cut_anywhere_is_more_and_then_found(void **state)
{
	struct tls_hello h;

	(void)state;
	make_hello(&golden, "tee-k.example.org", TLS1_3_VERSION, true);
	for (size_t cut = 1; cut < golden.len; cut++) {
		tls_hello_init(&h);
		assert_int_equal(tls_hello_parse(&h, golden.b, cut), TLS_HELLO_MORE);
		assert_int_equal(tls_hello_parse(&h, golden.b, golden.len), TLS_HELLO_FOUND);
		assert_string_equal(h.name, "tee-k.example.org");
	}
}

static void a_hello_in_records_of_any_size_is_found(void **state)
{
	struct tls_hello h;

	(void)state;
	make_hello(&golden, "tee-k.example.org", TLS1_3_VERSION, true);
	for (size_t n = 1; n <= golden.len - 5; n++) {
		reframe(&golden, n, &made);
		assert_int_equal(parse(&h, &made), TLS_HELLO_FOUND);
		assert_string_equal(h.name, "tee-k.example.org");
		assert_true(tls_hello_offers(&h, SLICE_LITERAL("http/1.1")));
	}
}

static void feeding_bytewise_gives_the_same_and_costs_o_of_n(void **state)
{
	static const size_t sizes[] = { 1, 7, 100, 16384 };
	struct tls_hello h;

	(void)state;
	make_hello(&golden, "tee-k.example.org", TLS1_3_VERSION, true);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		reframe(&golden, sizes[i], &made);
		assert_int_equal(feed(&h, &made, CUTS_BYTES), TLS_HELLO_FOUND);
		assert_string_equal(h.name, "tee-k.example.org");
		/* A record's head at each call, another where a record ends, and the one parse. */
		assert_true(h.examined <= (2 * TLS_RECORD_HEAD + 1) * made.len);
	}
}

static void a_hello_of_64_kib_is_found_and_a_larger_one_is_bad(void **state)
{
	static unsigned char ext[66000];
	struct tls_hello h;
	size_t len = 65536 - 4 - 43;

	(void)state;
	memset(ext, 0, sizeof(ext));
	ext[0] = 0x0a;
	ext[1] = 0x0a;
	ext[2] = (unsigned char)((len - 4) >> 8);
	ext[3] = (unsigned char)(len - 4);
	craft(&golden, ext, len);
	assert_int_equal(golden.len - 5, TLS_HELLO_MAX);
	reframe(&golden, 16384, &made);
	assert_int_equal(parse(&h, &made), TLS_HELLO_NONE);
	made.b[6] = 1;
	assert_int_equal(parse(&h, &made), TLS_HELLO_BAD);
	assert_int_equal(h.alert, TLS_ALERT_DECODE_ERROR);
}

static enum tls_hello_result parse_extensions(struct tls_hello *h, const void *ext, size_t len)
{
	craft(&made, ext, len);
	return parse(h, &made);
}

#define EXT(h, s) parse_extensions(h, "" s, sizeof(s) - 1)

static void one_host_name_and_nothing_else_is_a_server_name(void **state)
{
	struct tls_hello h;

	(void)state;
	assert_int_equal(EXT(&h, ""), TLS_HELLO_NONE);
	assert_int_equal(EXT(&h, "\0\0\0\x08\0\x06\0\0\x03" "a.b"), TLS_HELLO_FOUND);
	assert_string_equal(h.name, "a.b");
	assert_int_equal(EXT(&h, "\0\0\0\0"), TLS_HELLO_BAD);
	assert_int_equal(EXT(&h, "\0\0\0\x02\0\0"), TLS_HELLO_BAD);
	assert_int_equal(EXT(&h, "\0\0\0\x05\0\x03\0\0\0"), TLS_HELLO_BAD);          /* empty */
	assert_int_equal(EXT(&h, "\0\0\0\x06\0\x04\x01\0\x01" "a"), TLS_HELLO_BAD);  /* other type */
	assert_int_equal(EXT(&h, "\0\0\0\x06\0\x04\0\0\x02" "a"), TLS_HELLO_BAD);
	assert_int_equal(EXT(&h, "\0\0\0\x06\0\x03\0\0\x01" "a"), TLS_HELLO_BAD);
	assert_int_equal(EXT(&h, "\0\0\0\x06\0\x04\0\0\x01" "\0"), TLS_HELLO_BAD);   /* NUL */
	assert_int_equal(EXT(&h, "\0\0\0\x06\0\x04\0\0\x01" "."), TLS_HELLO_BAD);
	assert_int_equal(EXT(&h, "\0\0\0\x0a\0\x08\0\0\x01" "a\0\0\x01" "b"), TLS_HELLO_BAD);
}

static void duplicated_or_misplaced_extensions_are_bad(void **state)
{
	struct tls_hello h;
	unsigned char many[4 * 300];

	(void)state;
	assert_int_equal(EXT(&h, "\0\x17\0\0\0\x17\0\0"), TLS_HELLO_BAD);
	assert_int_equal(EXT(&h, "\x0a\x0a\0\0\x1a\x1a\0\0"), TLS_HELLO_NONE);
	assert_int_equal(EXT(&h, "\x0a\x0a\0\0\x0a\x0a\0\0"), TLS_HELLO_BAD);
	assert_int_equal(EXT(&h, "\0\x29\0\0\0\x17\0\0"), TLS_HELLO_BAD);
	assert_int_equal(EXT(&h, "\0\x17\0\0\0\x29\0\0"), TLS_HELLO_NONE);
	memset(many, 0, sizeof(many));
	for (unsigned i = 0; i < 300; i++) {
		many[4 * i] = (unsigned char)((1000 + i) >> 8);
		many[4 * i + 1] = (unsigned char)(1000 + i);
	}
	assert_int_equal(parse_extensions(&h, many, sizeof(many)), TLS_HELLO_NONE);
	for (unsigned i = 0; i < 299; i += 7) {
		many[4 * 299] = many[4 * i];
		many[4 * 299 + 1] = many[4 * i + 1];
		assert_int_equal(parse_extensions(&h, many, sizeof(many)), TLS_HELLO_BAD);
	}
}

static void alpn_lists_are_checked_and_long_ones_kept_in_part(void **state)
{
	struct tls_hello h;
	unsigned char list[4 + 2 + 4 * 200] = { 0, 16, 802 >> 8, 802 & 255, 800 >> 8, 800 & 255 };
	struct slice name;
	unsigned n = 0;

	(void)state;
	assert_int_equal(EXT(&h, "\0\x10\0\x02\0\0"), TLS_HELLO_BAD);
	assert_int_equal(EXT(&h, "\0\x10\0\x03\0\x01\0"), TLS_HELLO_BAD);
	assert_int_equal(EXT(&h, "\0\x10\0\x04\0\x02\x02h"), TLS_HELLO_BAD);
	assert_int_equal(EXT(&h, "\0\x10\0\x05\0\x03\x02h2"), TLS_HELLO_NONE);
	assert_true(tls_hello_offers(&h, SLICE_LITERAL("h2")));
	for (unsigned i = 0; i < 200; i++)
		memcpy(list + 6 + 4 * i, "\x03" "abc", 4);
	assert_int_equal(parse_extensions(&h, list, sizeof(list)), TLS_HELLO_NONE);
	for (size_t pos = 0; tls_hello_next_alpn(&h, &pos, &name); n++)
		assert_true(slice_equal(name, SLICE_LITERAL("abc")));
	assert_int_equal(n, TLS_HELLO_ALPN_SIZE / 4);
}

#define RAW(h, s) (made.len = 0, put(&made, "" s, sizeof(s) - 1), parse(h, &made))

static void what_is_not_tls_is_other_and_broken_records_are_bad(void **state)
{
	struct tls_hello h;

	(void)state;
	assert_int_equal(RAW(&h, "GET / HTTP/1.1\r\n"), TLS_HELLO_OTHER);
	assert_true(tls_hello_looks_like_http("GET / HTTP/1.1\r\n", 16));
	assert_true(tls_hello_looks_like_http("PRI * HTTP/2.0\r\n", 16));
	assert_false(tls_hello_looks_like_http("SSH-2.0-OpenSSH\r\n", 17));
	assert_false(tls_hello_looks_like_http("\x80\x2e\x01", 3));
	assert_int_equal(RAW(&h, "\x80\x2e\x01\x03\x01"), TLS_HELLO_OTHER); /* SSLv2 */
	assert_int_equal(RAW(&h, "\x16\x02\x00"), TLS_HELLO_OTHER);
	assert_int_equal(RAW(&h, "\x16\x03\x01\0\0"), TLS_HELLO_BAD);
	assert_int_equal(RAW(&h, "\x16\x03\x01\x41\x01"), TLS_HELLO_BAD);
	assert_int_equal(RAW(&h, "\x16\x03\x01\x41\0"), TLS_HELLO_MORE);
	assert_int_equal(RAW(&h, "\x16\x03\x01\0\x01\x02"), TLS_HELLO_BAD);
	assert_int_equal(RAW(&h, "\x16\x03\x01\0\x01\x01\x15\x03\x01\0\x02"), TLS_HELLO_BAD);
	assert_int_equal(RAW(&h, "\x15\x03\x01\0\x02\x01\0"), TLS_HELLO_OTHER);
	assert_int_equal(RAW(&h, "\x16\x03\x01\0\x04\x01\0\0\x01"), TLS_HELLO_BAD);
}

static void bytes_behind_the_hello_in_its_record_are_bad(void **state)
{
	struct tls_hello h;

	(void)state;
	make_hello(&golden, "a.b", TLS1_3_VERSION, false);
	golden.b[golden.len++] = 0;
	golden.b[4]++;
	if (golden.b[4] == 0)
		golden.b[3]++;
	assert_int_equal(parse(&h, &golden), TLS_HELLO_BAD);
	/* A record behind it is the next message's, such as early data. */
	make_hello(&golden, "a.b", TLS1_3_VERSION, false);
	golden.b[golden.len++] = 0x17;
	assert_int_equal(parse(&h, &golden), TLS_HELLO_FOUND);
}

static void any_wrong_length_is_never_found_with_another_name(void **state)
{
	struct tls_hello h;

	(void)state;
	make_hello(&golden, "tee-k.example.org", TLS1_3_VERSION, true);
	for (size_t i = 0; i < golden.len; i++) {
		made = golden;
		made.b[i] ^= 0x41;
		if (parse(&h, &made) == TLS_HELLO_FOUND)
			assert_true(h.name_len == strlen("tee-k.example.org"));
	}
}

static void an_alert_is_seven_bytes(void **state)
{
	unsigned char alert[TLS_ALERT_SIZE];

	(void)state;
	tls_alert_build(TLS_ALERT_UNRECOGNIZED_NAME, alert);
	assert_memory_equal(alert, "\x15\x03\x03\x00\x02\x02\x70", 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hello_of_openssl_gives_name_and_alpn),
		cmocka_unit_test(a_hello_cut_anywhere_is_more_and_then_found),
		cmocka_unit_test(a_hello_in_records_of_any_size_is_found),
		cmocka_unit_test(feeding_bytewise_gives_the_same_and_costs_o_of_n),
		cmocka_unit_test(a_hello_of_64_kib_is_found_and_a_larger_one_is_bad),
		cmocka_unit_test(one_host_name_and_nothing_else_is_a_server_name),
		cmocka_unit_test(duplicated_or_misplaced_extensions_are_bad),
		cmocka_unit_test(alpn_lists_are_checked_and_long_ones_kept_in_part),
		cmocka_unit_test(what_is_not_tls_is_other_and_broken_records_are_bad),
		cmocka_unit_test(bytes_behind_the_hello_in_its_record_are_bad),
		cmocka_unit_test(any_wrong_length_is_never_found_with_another_name),
		cmocka_unit_test(an_alert_is_seven_bytes),
	};

	return cmocka_run_group_tests_name("wire/tls_hello", tests, NULL, NULL);
}

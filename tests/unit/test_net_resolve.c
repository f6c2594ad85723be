/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver on a real loop, with a name server of its own on the same loop. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ev.h>

#include "config/config.h"
#include "net/dns.h"
#include "net/resolve.h"
#include "net_name_server.h"

/* --- who asks --- */

struct asker {
	struct resolve_query query;
	unsigned told;		/* how often done() came */
	bool at_once;
	enum resolve_status status;
	bool stale;
	uint32_t ttl_s;
	size_t n;
	struct ip_addr addresses[RESOLVE_ADDRESSES_MAX];
};

static struct resolver *resolver;
static struct address server_address;
static struct config_resolver config;
static char hosts[64];

static void take(struct asker *a, const struct resolve_answer *answer)
{
	a->status = answer->status;
	a->stale = answer->stale;
	a->ttl_s = answer->ttl_s;
	a->n = answer->n;
	assert_true(answer->n <= RESOLVE_ADDRESSES_MAX);
	if (answer->n)
		memcpy(a->addresses, answer->addresses, answer->n * sizeof(a->addresses[0]));
	assert_int_equal(answer->status == RESOLVE_OK, answer->n > 0);
}

static void told(struct resolve_query *q, const struct resolve_answer *answer)
{
	struct asker *a = container_of(q, struct asker, query);

	take(a, answer);
	a->told++;
}

static void begin(struct asker *a, const char *name)
{
	struct resolve_answer answer;

	memset(a, 0, sizeof(*a));
	resolve_query_init(&a->query, told);
	a->at_once = resolve_start(resolver, &a->query, slice_of_string(name), &answer);
	if (a->at_once)
		take(a, &answer);
}

static void finish(struct asker *a)
{
	while (!a->at_once && !a->told)
		ev_run(loop, EVRUN_ONCE);
}

static void ask(struct asker *a, const char *name)
{
	begin(a, name);
	finish(a);
}

static void slept(struct ev_loop *l, ev_timer *t, int events)
{
	(void)t;
	(void)events;
	ev_break(l, EVBREAK_ONE);
}

/* Lets the loop run, so that what is under way goes on. */
static void pass(double seconds)
{
	ev_timer t;

	ev_now_update(loop);
	ev_timer_init(&t, slept, seconds, 0.);
	ev_timer_start(loop, &t);
	ev_run(loop, 0);
}

static void check_address(const struct asker *a, size_t i, const char *text)
{
	char buf[IP_TEXT_SIZE];

	assert_true(i < a->n);
	assert_string_equal(ip_format(&a->addresses[i], buf), text);
}

static void write_hosts(const char *text)
{
	char beside[80];
	FILE *f;

	snprintf(beside, sizeof(beside), "%s.new", hosts);
	f = fopen(beside, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(rename(beside, hosts), 0);
}

static int setup(void **state)
{
	(void)state;
	loop = ev_loop_new(0);
	server_start();
	snprintf(hosts, sizeof(hosts), "/tmp/teeproxy-hosts-%d", (int)getpid());
	unlink(hosts);
	server_address = (struct address){ .kind = ADDRESS_TCP_IP, .port = server.port,
					   .ip = ip_from_v4("\x7f\0\0\1") };
	config = (struct config_resolver){ .servers = &server_address, .n_servers = 1, .hosts = hosts,
					   .stale_ms = 60000 };
	resolver = resolver_new(loop, &config);
	assert_non_null(resolver);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	resolver_free(resolver);
	server_stop();
	ev_loop_destroy(loop);
	unlink(hosts);
	return 0;
}

/* --- tests --- */

static void both_families_interleaved(void **state)
{
	struct asker a, again;

	(void)state;
	ask(&a, "both.test");
	assert_false(a.at_once);
	assert_int_equal(a.told, 1);
	assert_int_equal(a.status, RESOLVE_OK);
	assert_int_equal(a.n, 3);
	check_address(&a, 0, "2001:db8::1");
	check_address(&a, 1, "192.0.2.1");
	check_address(&a, 2, "192.0.2.2");
	assert_in_range(a.ttl_s, 58, 60);
	ask(&again, "both.test");
	assert_true(again.at_once);
	assert_int_equal(again.n, 3);
	assert_int_equal(server.asked[0], 1);
	assert_int_equal(server.asked[1], 1);
}

static void ttl_of_a_chain(void **state)
{
	struct asker a;

	(void)state;
	ask(&a, "chain.test");
	check_address(&a, 0, "192.0.2.3");
	assert_int_equal(a.n, 1);
	assert_in_range(a.ttl_s, 3, 5);
}

static void ttl_within_bounds(void **state)
{
	struct asker a;

	(void)state;
	ask(&a, "zero.test");
	assert_int_equal(a.ttl_s, 1);
	ask(&a, "long.test");
	assert_in_range(a.ttl_s, 3590, 3600);
	ask(&a, "negative.test");
	assert_int_equal(a.ttl_s, 1);
}

static void ttl_ends(void **state)
{
	struct asker a;

	(void)state;
	ask(&a, "rebind.test");
	check_address(&a, 0, "203.0.113.1");
	ask(&a, "rebind.test");
	check_address(&a, 0, "203.0.113.1");
	pass(1.1);
	ask(&a, "rebind.test");
	assert_false(a.at_once);
	assert_int_equal(a.n, 1);
	check_address(&a, 0, "127.0.0.1");
	assert_false(a.stale);
}

static void no_name(void **state)
{
	struct asker a;

	(void)state;
	ask(&a, "none.test");
	assert_int_equal(a.status, RESOLVE_NO_NAME);
	assert_int_equal(server.asked[0], 1);
	ask(&a, "none.test");
	assert_true(a.at_once);
	assert_int_equal(a.status, RESOLVE_NO_NAME);
	ask(&a, "empty.test");
	assert_int_equal(a.status, RESOLVE_NO_NAME);
}

static void server_failed(void **state)
{
	struct asker a;

	(void)state;
	ask(&a, "servfail.test");
	assert_int_equal(a.status, RESOLVE_SERVER_FAILED);
	ask(&a, "refused.test");
	assert_int_equal(a.status, RESOLVE_SERVER_FAILED);
	ask(&a, "servfail.test");
	assert_true(a.at_once); /* remembered */
}

static void nobody_listens(void **state)
{
	struct asker a;

	(void)state;
	ev_io_stop(loop, &server.udp);
	close(server.udp.fd);
	server.udp.fd = -1;
	ask(&a, "both.test");
	assert_int_equal(a.status, RESOLVE_SERVER_FAILED);
}

static void silence(void **state)
{
	struct asker a, other;

	(void)state;
	begin(&a, "silent.test");
	ask(&other, "both.test"); /* which nothing holds up */
	assert_int_equal(other.status, RESOLVE_OK);
	assert_int_equal(a.told, 0);
	finish(&a);
	assert_int_equal(a.status, RESOLVE_TIMEOUT);
	ask(&a, "silent.test");
	assert_true(a.at_once);
}

static void two_thousand_wait(void **state)
{
	static struct asker many[2000];
	struct asker a;

	(void)state;
	for (size_t i = 0; i < 2000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "silent-%zu.test", i);
		begin(&many[i], name);
		assert_false(many[i].at_once);
		ev_run(loop, EVRUN_NOWAIT); /* the server's socket holds only so many */
		ev_run(loop, EVRUN_NOWAIT);
	}
	assert_true(server.asked[0] >= 2000);
	ask(&a, "both.test");
	assert_int_equal(a.n, 3);
	for (size_t i = 0; i < 2000; i++) {
		finish(&many[i]);
		assert_int_equal(many[i].status, RESOLVE_TIMEOUT);
	}
}

static void truncated(void **state)
{
	struct asker a;

	(void)state;
	ask(&a, "forty.test");
	assert_int_equal(a.n, 40);
	assert_int_equal(server.over_tcp, 0);
	check_address(&a, 39, "192.0.2.40");
	ask(&a, "hundred.test");
	assert_int_equal(server.over_tcp, 1);
	assert_int_equal(a.n, RESOLVE_ADDRESSES_MAX);
	check_address(&a, 63, "192.0.2.64");
}

static void one_family_is_late(void **state)
{
	struct asker a;

	(void)state;
	ask(&a, "a-only-in-time.test");
	assert_int_equal(a.status, RESOLVE_OK);
	assert_int_equal(a.n, 1);
	check_address(&a, 0, "192.0.2.7");
	assert_int_equal(server.asked[1], 1); /* not waited for until it was tried again */
	ask(&a, "a-only-in-time.test");
	assert_true(a.at_once);
	/* What silence means for the other family takes nothing away. */
	pass(DNS_TIMEOUT_MS / 1000. + 0.5);
	ask(&a, "a-only-in-time.test");
	assert_true(a.at_once);
	assert_int_equal(a.n, 1);
}

static void one_family_fails(void **state)
{
	struct asker a;

	(void)state;
	ask(&a, "a-servfail.test");
	assert_int_equal(a.status, RESOLVE_OK);
	assert_int_equal(a.n, 1);
	check_address(&a, 0, "2001:db8::2");
}

static void stale_while_servers_fail(void **state)
{
	struct asker a;

	(void)state;
	ask(&a, "fails-later.test");
	assert_false(a.stale);
	pass(1.1);
	for (int i = 0; i < 2; i++) {
		ask(&a, "fails-later.test");
		assert_int_equal(a.at_once, i == 1);
		assert_int_equal(a.status, RESOLVE_OK);
		assert_true(a.stale);
		assert_int_equal(a.ttl_s, 0);
		check_address(&a, 0, "192.0.2.5");
	}
	/* NXDOMAIN is an answer, and ends it. */
	server.asked[0] = 10;
	pass(RESOLVE_FAILURE_MS / 1000. + 0.1);
	ask(&a, "fails-later.test");
	assert_false(a.at_once);
	assert_int_equal(a.status, RESOLVE_NO_NAME);
}

static void stale_while_servers_are_silent(void **state)
{
	struct asker a;

	(void)state;
	ask(&a, "falls-silent.test");
	pass(1.1);
	ask(&a, "falls-silent.test");
	assert_false(a.at_once);
	assert_true(a.stale);
	check_address(&a, 0, "192.0.2.6");
	ask(&a, "falls-silent.test");
	assert_true(a.at_once);
}

static void stale_ends(void **state)
{
	struct asker a;

	(void)state;
	config.stale_ms = 1;
	ask(&a, "fails-later.test");
	pass(1.1);
	ask(&a, "fails-later.test");
	assert_int_equal(a.status, RESOLVE_SERVER_FAILED);
}

static void look_ups_are_shared(void **state)
{
	static struct asker many[100];

	(void)state;
	for (size_t i = 0; i < 100; i++)
		begin(&many[i], "both.test");
	for (size_t i = 0; i < 100; i++)
		finish(&many[i]);
	for (size_t i = 0; i < 100; i++) {
		assert_int_equal(many[i].told, 1);
		assert_int_equal(many[i].n, 3);
	}
	assert_int_equal(server.asked[0], 1);
	assert_int_equal(server.asked[1], 1);
}

static void cancelled(void **state)
{
	struct asker a, b;

	(void)state;
	begin(&a, "both.test");
	resolve_cancel(&a.query);
	resolve_cancel(&a.query);
	begin(&b, "both.test"); /* joins the look-up that goes on */
	finish(&b);
	assert_int_equal(a.told, 0);
	assert_int_equal(b.n, 3);
	assert_int_equal(server.asked[0], 1);
}

static struct asker chained;

/* From done(): frees what waited, and asks twice more. */
static void asks_again(struct resolve_query *q, const struct resolve_answer *answer)
{
	struct asker same;

	assert_int_equal(answer->status, RESOLVE_OK);
	free(q);
	begin(&same, "both.test");
	assert_true(same.at_once);
	begin(&chained, "chain.test");
	assert_false(chained.at_once);
}

static void done_may_ask_again(void **state)
{
	struct resolve_query *q = malloc(sizeof(*q));
	struct resolve_answer answer;

	(void)state;
	memset(&chained, 0, sizeof(chained));
	resolve_query_init(q, asks_again);
	assert_false(resolve_start(resolver, q, SLICE_LITERAL("both.test"), &answer));
	finish(&chained);
	assert_int_equal(chained.status, RESOLVE_OK);
}

static void impossible_names(void **state)
{
	char name[300];
	struct asker a;

	(void)state;
	memset(name, 'a', sizeof(name));
	name[64] = '\0';
	ask(&a, name);
	assert_true(a.at_once);
	assert_int_equal(a.status, RESOLVE_NO_NAME);
	memset(name, 'a', sizeof(name));
	for (size_t i = 50; i < 250; i += 51)
		name[i] = '.';
	name[254] = '\0';
	ask(&a, name);
	assert_true(a.at_once);
	assert_int_equal(server.asked[0], 0);
	name[253] = '\0';
	ask(&a, name);
	assert_false(a.at_once);
	assert_string_equal(server.last, name);
	ask(&a, "");
	assert_true(a.at_once);
	ask(&a, "a..test");
	assert_true(a.at_once);
}

static void hosts_file(void **state)
{
	struct asker a;

	(void)state;
	ask(&a, "localhost");
	assert_true(a.at_once);
	assert_int_equal(a.n, 2);
	write_hosts("# a comment\n\n 192.0.2.9\tOne.Test. both.test # and 192.0.2.10 more\n"
		    "2001:db8::9 one.test\r\nnot-an-address one.test\n127.1 one.test\n192.0.2.11 two.test");
	pass(1.1);
	ask(&a, "one.test");
	assert_true(a.at_once);
	assert_int_equal(a.n, 2);
	check_address(&a, 0, "192.0.2.9");
	check_address(&a, 1, "2001:db8::9");
	ask(&a, "both.test");
	assert_int_equal(a.n, 1);
	ask(&a, "two.test");
	check_address(&a, 0, "192.0.2.11");
	assert_int_equal(server.asked[0], 0);
	ask(&a, "more");
	assert_int_equal(a.status, RESOLVE_NO_NAME);
	write_hosts("192.0.2.12 two.test\n");
	pass(1.1);
	ask(&a, "two.test");
	check_address(&a, 0, "192.0.2.12");
	ask(&a, "both.test");
	assert_int_equal(a.n, 3); /* the servers' again */
}

static void freed_while_some_wait(void **state)
{
	struct asker a, b;

	(void)state;
	begin(&a, "silent.test");
	begin(&b, "both.test");
	resolver_free(resolver);
	resolver = NULL;
	resolve_cancel(&a.query);
	pass(0.05);
	assert_int_equal(a.told, 0);
	assert_int_equal(b.told, 0);
}

static void fill_cache(unsigned n)
{
	static struct asker window[32];

	for (unsigned i = 0; i < n; i += 32) {
		for (unsigned k = 0; k < 32; k++) {
			char name[32];

			snprintf(name, sizeof(name), "n-%u.test", i + k);
			begin(&window[k], name);
		}
		for (unsigned k = 0; k < 32; k++) {
			finish(&window[k]);
			assert_int_equal(window[k].n, 1);
		}
	}
}

static void cache_is_bounded(void **state)
{
	struct asker a;

	(void)state;
	ask(&a, "both.test");
	fill_cache(RESOLVE_CACHE_MAX - 32);
	ask(&a, "both.test");
	assert_true(a.at_once); /* there is room for all */
	fill_cache(RESOLVE_CACHE_MAX + 32);
	ask(&a, "both.test");
	assert_false(a.at_once); /* the one unused for longest has gone */
	assert_int_equal(a.n, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f, sentence) { sentence, f, setup, teardown, NULL }
		TEST(both_families_interleaved, "both families, interleaved, and kept"),
		TEST(ttl_of_a_chain, "the smallest TTL along a chain of CNAMEs counts"),
		TEST(ttl_within_bounds, "a TTL is at least 1 s and at most 1 h"),
		TEST(ttl_ends, "an answer is not used past its TTL"),
		TEST(no_name, "NXDOMAIN and no addresses are NO_NAME, and remembered"),
		TEST(server_failed, "SERVFAIL and REFUSED are SERVER_FAILED, and remembered"),
		TEST(nobody_listens, "a server where nobody listens is SERVER_FAILED"),
		TEST(silence, "silence is TIMEOUT, and holds up no other name"),
		TEST(two_thousand_wait, "2,000 names that are silent do not hold up another, and all end"),
		TEST(truncated, "a truncated answer is asked for over TCP; 64 addresses are kept"),
		TEST(one_family_is_late, "A records do not wait for AAAA that are late"),
		TEST(one_family_fails, "one family is enough where the other fails"),
		TEST(stale_while_servers_fail, "what has expired serves through SERVFAIL, not NXDOMAIN"),
		TEST(stale_while_servers_are_silent, "what has expired serves through silence"),
		TEST(stale_ends, "and not for longer than stale"),
		TEST(look_ups_are_shared, "look-ups of one name are shared"),
		TEST(cancelled, "who cancelled is not told; the look-up goes on"),
		TEST(done_may_ask_again, "done() may free the query and ask again"),
		TEST(impossible_names, "names past 253 bytes or 63 a label are not asked for"),
		TEST(hosts_file, "the hosts file comes first and is read again"),
		TEST(freed_while_some_wait, "a resolver is freed while some wait"),
		TEST(cache_is_bounded, "the cache is bounded"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

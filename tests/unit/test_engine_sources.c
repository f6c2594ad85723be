/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "engine/sources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "config/config.h"

static const uint64_t second = 1000000000;
static const struct config_frontend frontends[] = {
	{ .number = 0, .rate_per_source = { .rate = 2, .period_ms = 1000, .burst = 5 } },
	{ .number = 1 },
};
static const struct config c = { .frontends = frontends, .n_frontends = 2 };

static struct ip_addr address(const char *text)
{
	struct ip_addr a;

	assert_true(ip_parse(slice_of_string(text), &a));
	return a;
}

static unsigned admitted(struct sources *s, unsigned frontend, const char *text, unsigned tries, uint64_t now)
{
	struct ip_addr a = address(text);
	unsigned n = 0;

	for (unsigned i = 0; i < tries; i++)
		n += sources_connect(s, &frontends[frontend], &a, now);
	return n;
}

static void each_address_has_its_burst_and_then_its_rate(void **state)
{
	struct sources *s = sources_new(&c);
	uint64_t now = 100 * second;

	(void)state;
	assert_int_equal(admitted(s, 0, "192.0.2.1", 20, now), 5);
	assert_int_equal(admitted(s, 0, "192.0.2.2", 20, now), 5);
	assert_int_equal(admitted(s, 0, "192.0.2.1", 20, now + second), 2);
	assert_int_equal(admitted(s, 0, "192.0.2.1", 20, now + 60 * second), 5);
	assert_int_equal(admitted(s, 1, "192.0.2.1", 20, now), 20);
	sources_free(s);
}

static void a_64_of_ipv6_is_one_source(void **state)
{
	struct sources *s = sources_new(&c);
	uint64_t now = 100 * second;

	(void)state;
	assert_int_equal(admitted(s, 0, "2001:db8::1", 3, now), 3);
	assert_int_equal(admitted(s, 0, "2001:db8::ffff:1", 20, now), 2);
	assert_int_equal(admitted(s, 0, "2001:db8:0:1::1", 20, now), 5);
	sources_free(s);
}

/* A thousand that use up theirs take two in a hundred of the words: few others lose both. */
static void a_flood_of_others_leaves_an_address_its_own(void **state)
{
	struct sources *s = sources_new(&c);
	uint64_t now = 100 * second;
	unsigned hurt = 0;
	char text[32];

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "10.0.%u.%u", i / 256, i % 256);
		admitted(s, 0, text, 20, now);
	}
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "10.1.%u.%u", i / 256, i % 256);
		hurt += admitted(s, 0, text, 1, now) == 0;
	}
	assert_in_range(hurt, 0, 20);
	sources_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_address_has_its_burst_and_then_its_rate),
		cmocka_unit_test(a_64_of_ipv6_is_one_source),
		cmocka_unit_test(a_flood_of_others_leaves_an_address_its_own),
	};

	return cmocka_run_group_tests_name("engine/sources", tests, NULL, NULL);
}

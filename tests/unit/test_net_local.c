/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses are this machine's: the kernel is asked, and so is its list of interfaces here. */
#include <config.h>

#include "net/local.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct ip_addr ip(const char *text)
{
	struct ip_addr a;

	assert_true(ip_parse(slice_of_string(text), &a));
	return a;
}

static bool is_local(const char *text)
{
	const struct ip_addr a = ip(text);

	return net_is_local(&a);
}

static void all_of_127_is_local(void **state)
{
	(void)state;
	assert_true(is_local("127.0.0.1"));
	assert_true(is_local("127.255.1.2"));
	assert_true(is_local("::ffff:127.0.0.1"));
}

static bool nonlocal_bind(void)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_nonlocal_bind", "r");
	int c = f ? fgetc(f) : '0';

	if (f)
		fclose(f);
	return c == '1';
}

static void what_no_interface_has_is_not_local(void **state)
{
	(void)state;
	if (nonlocal_bind())
		skip();
	assert_false(is_local("198.51.100.77"));
	assert_false(is_local("2001:db8:77::1"));
	assert_false(is_local("8.8.8.8"));
}

static void what_an_interface_has_is_local(void **state)
{
	struct ifaddrs *all, *i;
	unsigned n = 0;

	(void)state;
	assert_int_equal(getifaddrs(&all), 0);
	for (i = all; i; i = i->ifa_next) {
		struct ip_addr a;

		if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			a = ip_from_v4(&((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr);
		else if (IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr))
			continue; /* cannot be dialled without its interface either */
		else
			a = ip_from_v6(&((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr);
		assert_true(net_is_local(&a));
		n++;
	}
	freeifaddrs(all);
	assert_true(n > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_127_is_local),
		cmocka_unit_test(what_no_interface_has_is_not_local),
		cmocka_unit_test(what_an_interface_has_is_local),
	};

	return cmocka_run_group_tests_name("net/local", tests, NULL, NULL);
}

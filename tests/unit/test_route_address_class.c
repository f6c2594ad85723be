/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and spellings against the address policy: what each is, what refuses it,
 * and that what is no address is never taken for one.
 */
#include <config.h>

#include "route/address_class.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "wire/host_name.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
	const char *text;
	enum address_class class;
	const char *block;	/* NULL: public */
} rows[] = {
	/* public, and next to every block's edge */
	{ "1.1.1.1", ADDRESS_PUBLIC, NULL },
	{ "8.8.8.8", ADDRESS_PUBLIC, NULL },
	{ "1.0.0.0", ADDRESS_PUBLIC, NULL },
	{ "9.255.255.255", ADDRESS_PUBLIC, NULL },
	{ "11.0.0.0", ADDRESS_PUBLIC, NULL },
	{ "100.63.255.255", ADDRESS_PUBLIC, NULL },
	{ "100.128.0.0", ADDRESS_PUBLIC, NULL },
	{ "126.255.255.255", ADDRESS_PUBLIC, NULL },
	{ "128.0.0.0", ADDRESS_PUBLIC, NULL },
	{ "168.63.129.15", ADDRESS_PUBLIC, NULL },
	{ "168.63.129.17", ADDRESS_PUBLIC, NULL },
	{ "169.253.255.255", ADDRESS_PUBLIC, NULL },
	{ "169.255.0.0", ADDRESS_PUBLIC, NULL },
	{ "172.15.255.255", ADDRESS_PUBLIC, NULL },
	{ "172.32.0.0", ADDRESS_PUBLIC, NULL },
	{ "191.255.255.255", ADDRESS_PUBLIC, NULL },
	{ "192.0.1.0", ADDRESS_PUBLIC, NULL },
	{ "192.0.3.0", ADDRESS_PUBLIC, NULL },
	{ "192.31.196.1", ADDRESS_PUBLIC, NULL },	/* AS112: globally reachable */
	{ "192.52.193.1", ADDRESS_PUBLIC, NULL },
	{ "192.88.98.255", ADDRESS_PUBLIC, NULL },
	{ "192.88.100.0", ADDRESS_PUBLIC, NULL },
	{ "192.167.255.255", ADDRESS_PUBLIC, NULL },
	{ "192.169.0.0", ADDRESS_PUBLIC, NULL },
	{ "192.175.48.1", ADDRESS_PUBLIC, NULL },
	{ "198.17.255.255", ADDRESS_PUBLIC, NULL },
	{ "198.20.0.0", ADDRESS_PUBLIC, NULL },
	{ "198.51.99.255", ADDRESS_PUBLIC, NULL },
	{ "198.51.101.0", ADDRESS_PUBLIC, NULL },
	{ "203.0.112.255", ADDRESS_PUBLIC, NULL },
	{ "203.0.114.0", ADDRESS_PUBLIC, NULL },
	{ "223.255.255.255", ADDRESS_PUBLIC, NULL },
	{ "::ffff:8.8.8.8", ADDRESS_PUBLIC, NULL },
	{ "::ffff:808:808", ADDRESS_PUBLIC, NULL },
	{ "64:ff9b::8.8.8.8", ADDRESS_PUBLIC, NULL },
	{ "64:ff9b::101:101", ADDRESS_PUBLIC, NULL },
	{ "2000::", ADDRESS_PUBLIC, NULL },
	{ "2001:200::1", ADDRESS_PUBLIC, NULL },
	{ "2001:db7:ffff::1", ADDRESS_PUBLIC, NULL },
	{ "2001:db9::1", ADDRESS_PUBLIC, NULL },
	{ "2001:4860:4860::8888", ADDRESS_PUBLIC, NULL },
	{ "2003::1", ADDRESS_PUBLIC, NULL },
	{ "2606:4700:4700::1111", ADDRESS_PUBLIC, NULL },
	{ "2620:4f:8000::1", ADDRESS_PUBLIC, NULL },
	{ "2A05:D018::1", ADDRESS_PUBLIC, NULL },
	{ "3ffe:ffff::1", ADDRESS_PUBLIC, NULL },
	{ "3fff:1000::", ADDRESS_PUBLIC, NULL },
	{ "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDRESS_PUBLIC, NULL },
	/* unspecified */
	{ "0.0.0.0", ADDRESS_UNSPECIFIED, "0.0.0.0/8" },
	{ "0.0.0.1", ADDRESS_UNSPECIFIED, "0.0.0.0/8" },
	{ "0.255.255.255", ADDRESS_UNSPECIFIED, "0.0.0.0/8" },
	{ "::", ADDRESS_UNSPECIFIED, "::/128" },
	{ "0:0:0:0:0:0:0:0", ADDRESS_UNSPECIFIED, "::/128" },
	{ "::ffff:0.0.0.0", ADDRESS_UNSPECIFIED, "0.0.0.0/8" },
	{ "64:ff9b::", ADDRESS_UNSPECIFIED, "0.0.0.0/8" },
	/* loopback */
	{ "127.0.0.0", ADDRESS_LOOPBACK, "127.0.0.0/8" },
	{ "127.0.0.1", ADDRESS_LOOPBACK, "127.0.0.0/8" },
	{ "127.0.0.53", ADDRESS_LOOPBACK, "127.0.0.0/8" },
	{ "127.255.255.255", ADDRESS_LOOPBACK, "127.0.0.0/8" },
	{ "::1", ADDRESS_LOOPBACK, "::1/128" },
	{ "0:0:0:0:0:0:0:1", ADDRESS_LOOPBACK, "::1/128" },
	{ "0000:0000:0000:0000:0000:0000:0000:0001", ADDRESS_LOOPBACK, "::1/128" },
	{ "::ffff:127.0.0.1", ADDRESS_LOOPBACK, "127.0.0.0/8" },
	{ "::FFFF:7F00:1", ADDRESS_LOOPBACK, "127.0.0.0/8" },
	{ "0:0:0:0:0:ffff:7f00:0001", ADDRESS_LOOPBACK, "127.0.0.0/8" },
	{ "64:ff9b::127.0.0.1", ADDRESS_LOOPBACK, "127.0.0.0/8" },
	{ "64:ff9b:0:0:0:0:7f00:1", ADDRESS_LOOPBACK, "127.0.0.0/8" },
	/* private */
	{ "10.0.0.0", ADDRESS_PRIVATE, "10.0.0.0/8" },
	{ "10.0.0.2", ADDRESS_PRIVATE, "10.0.0.0/8" },
	{ "10.255.255.255", ADDRESS_PRIVATE, "10.0.0.0/8" },
	{ "172.16.0.0", ADDRESS_PRIVATE, "172.16.0.0/12" },
	{ "172.31.255.255", ADDRESS_PRIVATE, "172.16.0.0/12" },
	{ "192.168.0.0", ADDRESS_PRIVATE, "192.168.0.0/16" },
	{ "192.168.255.255", ADDRESS_PRIVATE, "192.168.0.0/16" },
	{ "::ffff:10.1.2.3", ADDRESS_PRIVATE, "10.0.0.0/8" },
	{ "::ffff:c0a8:1", ADDRESS_PRIVATE, "192.168.0.0/16" },
	{ "64:ff9b::10.0.0.1", ADDRESS_PRIVATE, "10.0.0.0/8" },
	{ "64:ff9b::ac1f:ffff", ADDRESS_PRIVATE, "172.16.0.0/12" },
	{ "64:ff9b::192.168.1.1", ADDRESS_PRIVATE, "192.168.0.0/16" },
	{ "fc00::", ADDRESS_PRIVATE, "fc00::/7" },
	{ "fc00::1", ADDRESS_PRIVATE, "fc00::/7" },
	{ "fd00::1", ADDRESS_PRIVATE, "fc00::/7" },
	{ "fd00:ec2::253", ADDRESS_PRIVATE, "fc00::/7" },
	{ "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDRESS_PRIVATE, "fc00::/7" },
	{ "fec0::1", ADDRESS_PRIVATE, "fec0::/10" },
	{ "feff::1", ADDRESS_PRIVATE, "fec0::/10" },
	/* shared */
	{ "100.64.0.0", ADDRESS_SHARED, "100.64.0.0/10" },
	{ "100.127.255.255", ADDRESS_SHARED, "100.64.0.0/10" },
	{ "::ffff:100.64.0.1", ADDRESS_SHARED, "100.64.0.0/10" },
	{ "64:ff9b::100.64.0.1", ADDRESS_SHARED, "100.64.0.0/10" },
	/* link-local */
	{ "169.254.0.0", ADDRESS_LINK_LOCAL, "169.254.0.0/16" },
	{ "169.254.169.123", ADDRESS_LINK_LOCAL, "169.254.0.0/16" },
	{ "169.254.169.253", ADDRESS_LINK_LOCAL, "169.254.0.0/16" },
	{ "169.254.255.255", ADDRESS_LINK_LOCAL, "169.254.0.0/16" },
	{ "::ffff:169.254.1.1", ADDRESS_LINK_LOCAL, "169.254.0.0/16" },
	{ "fe80::", ADDRESS_LINK_LOCAL, "fe80::/10" },
	{ "fe80::1", ADDRESS_LINK_LOCAL, "fe80::/10" },
	{ "febf:ffff::1", ADDRESS_LINK_LOCAL, "fe80::/10" },
	/* metadata: the innermost block */
	{ "169.254.169.254", ADDRESS_METADATA, "169.254.169.254/32" },
	{ "::ffff:169.254.169.254", ADDRESS_METADATA, "169.254.169.254/32" },
	{ "::ffff:a9fe:a9fe", ADDRESS_METADATA, "169.254.169.254/32" },
	{ "64:ff9b::169.254.169.254", ADDRESS_METADATA, "169.254.169.254/32" },
	{ "64:ff9b::a9fe:a9fe", ADDRESS_METADATA, "169.254.169.254/32" },
	{ "169.254.170.2", ADDRESS_METADATA, "169.254.170.2/32" },
	{ "169.254.170.23", ADDRESS_METADATA, "169.254.170.23/32" },
	{ "fd00:ec2::254", ADDRESS_METADATA, "fd00:ec2::254/128" },
	{ "FD00:0EC2:0:0:0:0:0:254", ADDRESS_METADATA, "fd00:ec2::254/128" },
	{ "fd00:ec2::23", ADDRESS_METADATA, "fd00:ec2::23/128" },
	{ "fd20:ce::254", ADDRESS_METADATA, "fd20:ce::254/128" },
	{ "100.100.100.200", ADDRESS_METADATA, "100.100.100.200/32" },
	{ "168.63.129.16", ADDRESS_METADATA, "168.63.129.16/32" },
	{ "192.0.0.192", ADDRESS_METADATA, "192.0.0.192/32" },
	/* multicast, broadcast */
	{ "224.0.0.0", ADDRESS_MULTICAST, "224.0.0.0/4" },
	{ "224.0.0.251", ADDRESS_MULTICAST, "224.0.0.0/4" },
	{ "239.255.255.255", ADDRESS_MULTICAST, "224.0.0.0/4" },
	{ "::ffff:224.0.0.1", ADDRESS_MULTICAST, "224.0.0.0/4" },
	{ "64:ff9b::224.0.0.1", ADDRESS_MULTICAST, "224.0.0.0/4" },
	{ "ff00::", ADDRESS_MULTICAST, "ff00::/8" },
	{ "ff02::1", ADDRESS_MULTICAST, "ff00::/8" },
	{ "ff0e::1", ADDRESS_MULTICAST, "ff00::/8" },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDRESS_MULTICAST, "ff00::/8" },
	{ "255.255.255.255", ADDRESS_BROADCAST, "255.255.255.255/32" },
	{ "::ffff:255.255.255.255", ADDRESS_BROADCAST, "255.255.255.255/32" },
	{ "64:ff9b::ffff:ffff", ADDRESS_BROADCAST, "255.255.255.255/32" },
	/* documentation, benchmarks */
	{ "192.0.2.1", ADDRESS_DOCUMENTATION, "192.0.2.0/24" },
	{ "198.51.100.7", ADDRESS_DOCUMENTATION, "198.51.100.0/24" },
	{ "203.0.113.255", ADDRESS_DOCUMENTATION, "203.0.113.0/24" },
	{ "2001:db8::", ADDRESS_DOCUMENTATION, "2001:db8::/32" },
	{ "2001:db8:ffff::1", ADDRESS_DOCUMENTATION, "2001:db8::/32" },
	{ "3fff::1", ADDRESS_DOCUMENTATION, "3fff::/20" },
	{ "3fff:fff:ffff::1", ADDRESS_DOCUMENTATION, "3fff::/20" },
	{ "198.18.0.0", ADDRESS_BENCHMARK, "198.18.0.0/15" },
	{ "198.19.255.255", ADDRESS_BENCHMARK, "198.18.0.0/15" },
	{ "2001:2::1", ADDRESS_BENCHMARK, "2001:2::/48" },
	/* forms that carry an IPv4 address */
	{ "2002::", ADDRESS_TUNNEL, "2002::/16" },
	{ "2002:7f00:1::1", ADDRESS_TUNNEL, "2002::/16" },
	{ "2002:808:808::1", ADDRESS_TUNNEL, "2002::/16" },
	{ "2001::1", ADDRESS_TUNNEL, "2001::/32" },
	{ "2001:0:4136:e378:8000:63bf:3fff:fdd2", ADDRESS_TUNNEL, "2001::/32" },
	{ "192.88.99.1", ADDRESS_TUNNEL, "192.88.99.0/24" },
	{ "::2", ADDRESS_TRANSLATED, "::/96" },
	{ "::127.0.0.1", ADDRESS_TRANSLATED, "::/96" },
	{ "::8.8.8.8", ADDRESS_TRANSLATED, "::/96" },
	{ "::7f00:1", ADDRESS_TRANSLATED, "::/96" },
	{ "::a9fe:a9fe", ADDRESS_TRANSLATED, "::/96" },
	{ "::ffff:0:127.0.0.1", ADDRESS_TRANSLATED, "::ffff:0:0:0/96" },
	{ "::ffff:0:8.8.8.8", ADDRESS_TRANSLATED, "::ffff:0:0:0/96" },
	{ "64:ff9b:1::", ADDRESS_TRANSLATED, "64:ff9b:1::/48" },
	{ "64:ff9b:1::8.8.8.8", ADDRESS_TRANSLATED, "64:ff9b:1::/48" },
	{ "64:ff9b:1:fffe::8.8.8.8", ADDRESS_TRANSLATED, "64:ff9b:1::/48" },
	/* reserved, and never given out */
	{ "192.0.0.0", ADDRESS_RESERVED, "192.0.0.0/24" },
	{ "192.0.0.171", ADDRESS_RESERVED, "192.0.0.0/24" },
	{ "240.0.0.0", ADDRESS_RESERVED, "240.0.0.0/4" },
	{ "255.255.255.254", ADDRESS_RESERVED, "240.0.0.0/4" },
	{ "100::1", ADDRESS_RESERVED, "100::/64" },
	{ "100:0:0:1::1", ADDRESS_RESERVED, "::/3" },
	{ "64:ff9b::1:0:0", ADDRESS_RESERVED, "::/3" },
	{ "64:ff9b:0:1::8.8.8.8", ADDRESS_RESERVED, "::/3" },
	{ "::fffe:7f00:1", ADDRESS_RESERVED, "::/3" },
	{ "::1:0:0:0", ADDRESS_RESERVED, "::/3" },
	{ "1fff:ffff::1", ADDRESS_RESERVED, "::/3" },
	{ "2001:1::1", ADDRESS_RESERVED, "2001::/23" },
	{ "2001:10::1", ADDRESS_RESERVED, "2001::/23" },
	{ "2001:1ff::1", ADDRESS_RESERVED, "2001::/23" },
	{ "4000::1", ADDRESS_RESERVED, "4000::/2" },
	{ "5f00::1", ADDRESS_RESERVED, "4000::/2" },
	{ "7fff::1", ADDRESS_RESERVED, "4000::/2" },
	{ "8000::1", ADDRESS_RESERVED, "8000::/1" },
	{ "fbff::1", ADDRESS_RESERVED, "8000::/1" },
	{ "fe00::1", ADDRESS_RESERVED, "8000::/1" },
};

static void each_address_has_its_class_and_its_block(void **state)
{
	char block[IP_TEXT_SIZE + 4];

	(void)state;
	assert_true(COUNT(rows) >= 150);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address_verdict v;
		struct ip_addr a;

		if (!ip_parse(slice_of_string(rows[i].text), &a))
			fail_msg("%s is no address", rows[i].text);
		v = address_classify(&a);
		if (v.class != rows[i].class)
			fail_msg("%s is %s, not %s", rows[i].text, address_class_name(v.class),
				 address_class_name(rows[i].class));
		if (!v.block != !rows[i].block || !v.why != !rows[i].block)
			fail_msg("%s has the wrong block", rows[i].text);
		if (v.block && strcmp(ip_cidr_format(v.block, block), rows[i].block) != 0)
			fail_msg("%s is refused by %s, not %s", rows[i].text, block, rows[i].block);
	}
}

/* What inet_aton(3) and browsers take for addresses is a name here, and such a name is refused. */
static void odd_spellings_are_no_addresses(void **state)
{
	static const char *const odd[] = {
		"127.1", "127.0.1", "0x7f000001", "0X7F000001", "2130706433", "0177.0.0.1", "017700000001",
		"0x7f.0.0.1", "0x7f.1", "127.0.0.01", "127.0.0.1.", "0", "0.0", "1", "00000000.0.0.0",
		"127.0.0.256", "256.256.256.256", "1.2.3.4.5", "169.254.43518", "169.16689662", "2852039166",
		"0xa9fea9fe", "0251.0376.0251.0376", "0xa9.0xfe.0xa9.0xfe", "169.254.169.0xfe", "10.1",
		"4294967295", "4294967296", "99999999999999999999", "0x", "example.0x7f", "example.1",
		"127.0.0.0x1", "08.8.8.8", "1.2.3.08",
	};
	static const char *const nothing[] = {
		"127.0.0.1 ", " 127.0.0.1", "127..1", ".127.0.0.1", "127.0.0.1/8", "[127.0.0.1]", "[::1",
		"::1]", "1::2::3", "::1%lo", "[fe80::1%eth0]", "[::ffff:127.1]", "[::ffff:0177.0.0.1]",
		"[v1.::1]", "[:::1]", "[12345::]", "[1:2:3:4:5:6:7:8:9]", "[]", "\xef\xbc\x91.1.1.1",
		("127\xe3\x80\x82" "0.0.1"), "%31%32%37.0.0.1", "127.0.0.1:", "+127.0.0.1", "1e1",
	};
	char folded[HOST_NAME_SIZE];
	struct host_port hp;
	struct ip_addr a;

	(void)state;
	for (size_t i = 0; i < COUNT(odd); i++) {
		struct slice text = slice_of_string(odd[i]);

		/* A trailing dot is folded away before anybody asks. */
		if (ip_parse(text, &a))
			fail_msg("%s was taken for an address", odd[i]);
		text.len = host_name_fold(text, folded);
		text.ptr = folded;
		if (!host_name_is_odd_ipv4(text) && !ip_parse(text, &a))
			fail_msg("%s was taken for a name like others", odd[i]);
	}
	for (size_t i = 0; i < COUNT(nothing); i++) {
		if (ip_parse(slice_of_string(nothing[i]), &a))
			fail_msg("\"%s\" was taken for an address", nothing[i]);
		if (host_port_parse(slice_of_string(nothing[i]), &hp) && hp.kind != HOST_IS_NAME &&
		    strcmp(nothing[i], "127.0.0.1:") != 0)
			fail_msg("\"%s\" was taken for an address with a port", nothing[i]);
	}
}

static void a_rule_opens_only_from_inside_the_block(void **state)
{
	static const struct {
		const char *address, *rule;
		bool opened;
	} opens[] = {
		{ "10.1.2.3", "10.1.0.0/16", true },
		{ "10.1.2.3", "10.0.0.0/8", true },
		{ "10.1.2.3", "0.0.0.0/0", false },
		{ "10.1.2.3", "10.0.0.0/7", false },
		{ "10.1.2.3", "192.168.0.0/16", false },
		{ "::ffff:10.1.2.3", "10.1.2.3/32", true },
		{ "64:ff9b::10.1.2.3", "10.0.0.0/8", true },
		{ "64:ff9b::10.1.2.3", "64:ff9b::/96", false },
		{ "169.254.169.254", "169.254.0.0/16", false },
		{ "169.254.169.254", "169.254.169.254/32", true },
		{ "169.254.169.253", "169.254.0.0/16", true },
		{ "fd00:ec2::254", "fc00::/7", false },
		{ "fd00:ec2::254", "fd00:ec2::254/128", true },
		{ "fd00::1", "fd00::/8", true },
		{ "fd00::1", "::/0", false },
		{ "::1", "::1/128", true },
		{ "127.0.0.1", "127.0.0.1/32", true },
		{ "127.0.0.1", "::/0", false },
		{ "8.8.8.8", "8.8.8.0/24", false },	/* nothing to open */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(opens); i++) {
		struct address_verdict v;
		struct ip_cidr c;
		struct ip_addr a;

		assert_true(ip_parse(slice_of_string(opens[i].address), &a));
		assert_int_not_equal(ip_cidr_parse(slice_of_string(opens[i].rule), &c), IP_CIDR_NOT_ONE);
		v = address_classify(&a);
		if (address_opened_by(&v, &c) != opens[i].opened)
			fail_msg("%s by %s", opens[i].address, opens[i].rule);
	}
}

/* Nothing but 2000::/3 and what is IPv4 inside is public, whatever the bits. */
static void every_first_byte_is_known(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		struct ip_addr a = { { (unsigned char)i, 1, 2, 3 } };

		a.b[15] = 1;
		if ((address_classify(&a).class == ADDRESS_PUBLIC) != (i >> 5 == 1 && i != 0x20) && i != 0x20)
			fail_msg("first byte 0x%02x", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_address_has_its_class_and_its_block),
		cmocka_unit_test(odd_spellings_are_no_addresses),
		cmocka_unit_test(a_rule_opens_only_from_inside_the_block),
		cmocka_unit_test(every_first_byte_is_known),
	};

	return cmocka_run_group_tests_name("route/address_class", tests, NULL, NULL);
}

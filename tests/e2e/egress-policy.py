#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The address policy of mode egress, end to end: what is refused and why, what opens it, listeners of our own, and
spellings that are no addresses.  Which block each of 300 addresses is in: tests/unit/test_route_address_class.c."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *
from egress_clients import *


def own_address():
	"""An address of this machine that is not loopback, or None; nothing is sent."""
	with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, contextlib.suppress(OSError):
		s.connect(("192.0.2.1", 9))
		if not s.getsockname()[0].startswith(("127.", "0.")):
			return s.getsockname()[0]
	return None


echo = Server(echo_handler, "tcp:127.0.0.1:0", name="echo")
second = Server(echo_handler, "tcp:127.0.0.2:0", name="second")
ECHO, SECOND = (int(s.address.rsplit(":", 1)[1]) for s in (echo, second))
OWN = own_address()
proxy = Teeproxy('''
	enclave tee-k cid 16
	frontend wide mode egress    { listen unix:$DIR/wide.sock;  from any to *:* -> direct }
	frontend all mode egress     { listen unix:$DIR/all.sock;   from any to { 0.0.0.0/0:* [::/0]:* } -> direct }
	frontend blocks mode egress  { listen unix:$DIR/blocks.sock; from any to { 169.254.0.0/16:* 126.0.0.0/7:* 100.0.0.0/9:* } -> direct }
	frontend one mode egress     { listen unix:$DIR/one.sock;   from any to { 127.0.0.1/32:$ECHO 127.0.0.0/24:$SECOND } -> direct; from any to *:* -> direct }
	frontend off mode egress     { listen unix:$DIR/off.sock;   address-policy off; from any to *:* -> direct }
	frontend open mode egress {
		listen unix:$DIR/open.sock
		listen 127.0.0.1:$MINE
		listen *:$MINE_TOO
		from any to { 127.0.0.0/8:* [::1/128]:* $OWN/32:* } -> direct
		from any to named.test:1 -> 127.0.0.1:$ECHO
	}
''', ports=["MINE", "MINE_TOO"],
	env={"ECHO": str(ECHO), "SECOND": str(SECOND), "OWN": OWN or "127.0.0.1"})
WIDE, ALL, BLOCKS, ONE, OFF, OPEN = ("unix:%s/%s.sock" % (DIR, n) for n in ("wide", "all", "blocks", "one", "off", "open"))
MINE, MINE_TOO = proxy.port("MINE"), proxy.port("MINE_TOO")

REFUSED = [	# why, and addresses of which that is said
	("loopback", "127.0.0.1 127.0.0.0 127.1.2.3 127.255.255.255 [::1] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] "
	 "[64:ff9b::127.0.0.1] [64:ff9b::7f00:1]"),
	("this network", "0.0.0.0 0.0.0.1 0.255.255.255 [::ffff:0.0.0.0] [64:ff9b::]"),
	("unspecified", "[::] [0::0]"),
	("private", "10.0.0.0 10.0.0.1 10.255.255.255 172.16.0.0 172.16.0.1 172.31.255.255 192.168.0.0 192.168.1.1 192.168.255.255 "
	 "[::ffff:10.0.0.1] [::ffff:a00:1] [::ffff:192.168.0.1] [64:ff9b::10.0.0.1] [64:ff9b::ac10:1]"),
	("unique local", "[fc00::] [fc00::1] [fd00::2] [fd12:3456:789a::1] [fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]"),
	("site-local", "[fec0::1] [feff::1]"),
	("shared", "100.64.0.0 100.64.0.1 100.127.255.255 [::ffff:100.64.0.1] [64:ff9b::100.100.1.1]"),
	("link-local", "169.254.0.1 169.254.1.1 169.254.169.253 169.254.169.255 169.254.255.255 [fe80::1] [fe80::] [febf::1] "
	 "[::ffff:169.254.0.1] [fe80::a9fe:a9fe]"),
	("metadata service", "169.254.169.254 [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [64:ff9b::169.254.169.254] [fd00:ec2::254] "
	 "[fd00:0ec2:0:0:0:0:0:0254] 100.100.100.200 168.63.129.16 192.0.0.192 [fd20:ce::254]"),
	("credentials", "169.254.170.2 169.254.170.23 [fd00:ec2::23] [::ffff:169.254.170.2]"),
	("multicast", "224.0.0.0 224.0.0.1 239.255.255.255 232.1.1.1 [ff00::] [ff02::1] [ff0e::1] [ffff::1] [::ffff:224.0.0.1]"),
	("broadcast", "255.255.255.255 [::ffff:255.255.255.255] [64:ff9b::255.255.255.255]"),
	("reserved", "240.0.0.0 240.0.0.1 250.1.2.3 255.255.255.254 [::ffff:240.0.0.1]"),
	("documentation", "192.0.2.0 192.0.2.1 192.0.2.255 198.51.100.1 203.0.113.255 [2001:db8::1] [2001:db8:ffff::1] [3fff::1] "
	 "[3fff:fff:ffff::1] [::ffff:192.0.2.1]"),
	("benchmarks", "198.18.0.0 198.18.0.1 198.19.255.255 [2001:2::1] [::ffff:198.18.0.1]"),
	("protocol assignments", "192.0.0.0 192.0.0.1 192.0.0.255 [2001:10::1] [2001:1ff::1]"),
	("6to4", "192.88.99.1 [2002::1] [2002:7f00:1::] [2002:a00:1::1] [2002:c0a8:101::1] [2002:808:808::1]"),
	("Teredo", "[2001::] [2001::1] [2001:0:7f00:1::] [2001:0:4136:e378:8000:63bf:3fff:fdd2]"),
	("IPv4-compatible", "[::127.0.0.1] [::7f00:1] [::10.0.0.1] [::8.8.8.8] [::2]"),
	("SIIT", "[::ffff:0:127.0.0.1] [::ffff:0:808:808]"),
	("local NAT64", "[64:ff9b:1::1] [64:ff9b:1::7f00:1] [64:ff9b:1:ffff::a00:1]"),
	("discarded", "[100::] [100::1]"),
	("outside of 2000::/3", "[1::1] [1fff::1] [4000::1] [5f00::1] [8000::1] [a000::1] [fbff::1] [64:ff9b:2::1] [64:ff9c::1] "
	 "[0:1::1] [::1:0:0:1] [e000::1]"),
]

ODD = ("127.1 127.0.1 0 1 2130706433 0x7f000001 0x7F.0.0.1 0X7F000001 0177.0.0.1 0177.0.0.01 127.0.0.01 127.0.0.1.1 127.0.0.256 256.1.1.1 "
       "1.2.3 1.2.3.4.5 0x7f.1 017700000001 4294967295 4294967296 99999999999 10.1 10.0.1 192.168.257 0xa9fea9fe 2852039166 169.254.43518 "
       "0251.0376.0251.0376 0xa9.0xfe.0xa9.0xfe 169.254.0251.254 a.1 x.0x7f example.0 1.1.1.1. 127.0.0.1.").split()

NO_HOST = ("[127.0.0.1] [::1%lo] [::1%25lo] [::ffff:127.0.0.1%0] [:::1] [1::2::3] [12345::1] [::g] [] [::1 ::1] ::1 127.0.0.1\0 127.0.0.1%00 "
	   "127。0。0。1 １２７.0.0.1 ①②⑦.0.0.1 localhost\0.example .. . -\\ a/b a@b a#b a?b 127.0.0.1/8 http://a user:pw@127.0.0.1").split(" ")


def reason(where, host, port=80):
	status, fields, s = http_connect(where, "%s:%d" % (host, port))
	s.close()
	return status, fields.get("x-teeproxy-reason", "")


def works(where, host, port):
	with line(where, "%s:%d" % (host, port), b"ping") as s:
		s.shutdown(socket.SHUT_WR)
		return read_all(s) == b"ping"


@case
def every_address_that_is_not_of_the_internet_is_refused_and_the_reason_says_what_it_is():
	n = 0
	for why, addresses in REFUSED:
		for host in addresses.split():
			status, said = reason(WIDE, host)
			equal((status, why in said and "address policy: " in said), (403, True), "%s: %s" % (host, said))
			n += 1
	true(n + len(ODD) >= 150, "%d addresses and %d odd spellings" % (n, len(ODD)))
	print("# %d addresses, %d odd spellings, %d that are no host" % (n, len(ODD), len(NO_HOST)))


@case
def the_three_protocols_agree():
	for why, addresses in REFUSED:
		host = addresses.split()[-1].strip("[]")
		equal(outcome(WIDE, host, 443)[:3], (b"", 403, NOT_ALLOWED), host)
	for host in ODD[:6]:
		equal(outcome(WIDE, host, 443)[:3], (b"", 400, NOT_ALLOWED), host)


@case
def odd_spellings_are_refused():
	for host in ODD:
		status, said = reason(WIDE, host)
		equal((status, said.endswith("is an odd spelling of an IPv4 address")), (400, True), host + ": " + said)
		with line(OFF, "%s:%d" % (host, ECHO), b"ping") as s:
			equal(read_all(s), b"", "without a policy too: " + host)


@case
def what_is_no_host_is_malformed():
	for host in NO_HOST:
		with connect_to(WIDE) as s:
			s.sendall(("CONNECT %s:80 HTTP/1.1\r\n\r\n" % host).encode())
			equal(read_all(s)[9:12], b"400", repr(host))
		with line(WIDE, host + ":80") as s:
			true(read_all(s)[9:12] in (b"", b"400"), repr(host))


@case
def a_wider_prefix_opens_nothing():
	for host in "127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[fd00:ec2::254]", "192.0.2.1", "[::ffff:127.0.0.1]":
		equal(reason(ALL, host)[0], 403, host)
	for host in "169.254.169.254", "169.254.170.2", "127.0.0.1", "100.64.0.1", "100.100.100.200":
		status, said = reason(BLOCKS, host)
		equal((status, "address policy" in said), (403, True), host)


@case
def a_prefix_inside_the_block_opens_what_it_names_and_no_more():
	for host in "127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]":
		true(works(ONE, host, ECHO), host)
	true(works(ONE, "127.0.0.2", SECOND), "another address of the open prefix")
	for host, port in ("127.0.0.2", ECHO), ("127.0.1.2", SECOND), ("127.0.0.1", ECHO + 1 if ECHO < 65535 else 1), ("[::1]", ECHO):
		equal(reason(ONE, host, port)[0], 403, "%s:%d" % (host, port))


@case
def without_the_policy_all_is_open():
	true(works(OFF, "127.0.0.1", ECHO), "127.0.0.1")
	true(works(OFF, "[::ffff:127.0.0.1]", ECHO), "mapped")


@case
def a_listener_of_ours_is_never_reached():
	for where in OPEN, OFF:
		for host, port in (("127.0.0.1", MINE), ("[::ffff:127.0.0.1]", MINE), ("127.0.0.1", MINE_TOO), ("127.9.8.7", MINE_TOO),
				   ("[::1]", MINE_TOO), ("0.0.0.0", MINE_TOO), ("0.0.0.0", MINE), ("[::ffff:0.0.0.0]", MINE), (OWN or "127.0.0.1", MINE_TOO), ("[::ffff:%s]" % (OWN or "127.0.0.1"), MINE_TOO)):
			if where == OPEN and "0.0.0.0" in host:
				continue
			status, said = reason(where, host, port)
			equal((status, "is a listener of this proxy" in said), (403, True), "%s:%d %s" % (host, port, said))
	equal(outcome(OPEN, "127.0.0.1", MINE)[:3], (b"", 403, NOT_ALLOWED))
	proxy.wait_log(r"name=127\.0\.0\.1:%d .*reason=own_listener protocol=line" % MINE)
	true(not re.search(r"source=127\.0\.0\.1:\d+ ", proxy.log()), "no connection came back")


@case
def another_address_with_the_port_of_a_listener_is_no_listener():
	equal(reason(OPEN, "127.0.0.2", MINE)[0], 502)
	true(works(OPEN, "127.0.0.1", ECHO), "another port")


@case
def what_a_rule_names_is_the_operators_word():
	true(works(OPEN, "named.test", 1), "an address of a rule is not judged")


run()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""accept-proxy: a load balancer's PROXY header says who the client is, for rules, rates and logs;
who is no load balancer is himself, and who does not send one is no client."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

tee_k = Enclave("tee-k", names=["k.test"])
web = Server(http_handler("web"), name="web")
ours, others = Server(lambda s, peer: s.sendall(b"ours"), name="ours"), Server(lambda s, peer: s.sendall(b"others"), name="others")
proxy = Teeproxy('''
	frontend http {
		listen 127.0.0.1:$HTTP accept-proxy from 127.0.0.1
		timeout hello 20s
		deny-from 198.51.100.66
		default -> $WEB
	}
	frontend https { listen 127.0.0.1:$HTTPS accept-proxy from { 127.0.0.1 10.0.0.0/8 }; sni k.test -> $TEE_K }
	frontend door mode tcp {
		listen 127.0.0.1:$DOOR accept-proxy from 127.0.0.1
		rate per-source 1/h burst 2
		from { 192.0.2.0/24 2001:db8::/32 } -> $OURS
		default -> $OTHERS
	}
	frontend hasty mode tcp {
		listen 127.0.0.1:$HASTY accept-proxy from 127.0.0.1
		timeout hello 300ms
		default -> $OURS
	}
''', ports=["HTTP", "HTTPS", "DOOR", "HASTY"],
	env={"TEE_K": tee_k.address, "WEB": web.address, "OURS": ours.address, "OTHERS": others.address})

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def v1(source, port=4711):
	return b"PROXY TCP%d %s %s %d 443\r\n" % (6 if ":" in source else 4, source.encode(),
						 b"2001:db8::1" if ":" in source else b"203.0.113.1", port)


def v2(source, port=4711, tlvs=b""):
	family = socket.AF_INET6 if ":" in source else socket.AF_INET
	size = 16 if ":" in source else 4
	body = socket.inet_pton(family, source) + bytes(size) + struct.pack("!HH", port, 443) + tlvs
	return V2 + bytes([0x21, 0x21 if ":" in source else 0x11]) + struct.pack("!H", len(body)) + body


LOCAL = V2 + b"\x20\0\0\0"


def talk(name, data, source="127.0.0.1", bytewise=False):
	with socket.socket() as s:
		s.settimeout(WAIT)
		s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		s.bind((source, 0))
		s.connect(("127.0.0.1", proxy.port(name)))
		with contextlib.suppress(OSError):	# closed with bytes unread: a reset
			for piece in ([data[i:i + 1] for i in range(len(data))] if bytewise else [data]):
				s.sendall(piece)
			s.shutdown(socket.SHUT_WR)
			return read_all(s)
		return b""


def forwarded(header, **more):
	answer = talk("HTTP", header + b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", **more)
	return json.loads(answer.split(b"\r\n\r\n", 1)[1])["headers"]["x-forwarded-for"]


@case
def the_header_says_who_the_client_is():
	for header, who in ((v1("192.0.2.7"), "192.0.2.7"), (v2("192.0.2.8"), "192.0.2.8"), (v1("2001:db8::7"), "2001:db8::7"),
			    (v2("2001:db8::8"), "2001:db8::8"), (v2("192.0.2.9", tlvs=b"\x04\0\x03abc" + b"\x04\x0f\0" + bytes(3840)), "192.0.2.9")):
		equal(forwarded(header), who)
		equal(forwarded(header, bytewise=len(header) < 200), who)
	proxy.wait_log(r"frontend=http source=192\.0\.2\.7:4711 ")
	proxy.wait_log(r"frontend=http source=\[2001:db8::8\]:4711 ")


@case
def local_and_unknown_leave_the_peers_own_address():
	equal(forwarded(LOCAL), "127.0.0.1")
	equal(forwarded(b"PROXY UNKNOWN\r\n"), "127.0.0.1")


@case
def a_peer_outside_the_list_is_himself_and_sends_no_header():
	equal(forwarded(b"", source="127.0.0.2"), "127.0.0.2")
	true(talk("HTTP", v1("192.0.2.7") + b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", source="127.0.0.2")
	     .startswith(b"HTTP/1.1 400 "), "a header nobody asked for is no request")


@case
def a_peer_in_the_list_without_a_good_header_is_closed():
	for data in (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"PROXY TCP4 192.0.2.7 203.0.113.1 0x1 443\r\n", V2 + b"\x31\x11\0\x0c" + bytes(12),
		     b"PROXY " + b"x" * 200, V2 + b"\x21\x11\xff\xff" + bytes(5000)):
		equal(talk("HTTP", data), b"", repr(data[:20]))
	proxy.wait_log("frontend=http .*reason=proxy_malformed", 5)


@case
def one_that_never_ends_its_header_has_the_time_of_a_hello():
	equal(talk("HTTP", b"PROXY TCP4 192"), b"", "an end inside it")
	proxy.wait_log("frontend=http .*reason=no_hello")
	with connect_to(address_of(proxy.port("HASTY"))) as s:
		s.sendall(b"PROXY TCP4 192")
		with contextlib.suppress(ConnectionResetError):
			equal(read_all(s), b"")
	proxy.wait_log("frontend=hasty .*reason=hello_timeout")


@case
def tls_goes_through_behind_it():
	with connect_to(address_of(proxy.port("HTTPS"))) as raw:
		raw.sendall(v2("192.0.2.7"))
		context = ssl.create_default_context(cafile=tee_k.crt)
		context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
		with context.wrap_socket(raw, server_hostname="k.test") as s:
			equal(request(s, "k.test").body["enclave"], "tee-k")


@case
def rules_rates_and_denials_are_about_the_client():
	equal(talk("DOOR", v1("192.0.2.1")), b"ours")
	equal(talk("DOOR", v1("2001:db8::1")), b"ours")
	equal(talk("DOOR", v1("198.51.100.1")), b"others")
	equal([talk("DOOR", v1("192.0.2.200")) for _ in range(4)], [b"ours", b"ours", b"", b""])
	equal(talk("HTTP", v1("198.51.100.66") + b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"), b"")
	proxy.wait_log(r"frontend=http source=198\.51\.100\.66:4711 .*reason=denied")


run()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""send-proxy: a server hears a PROXY header, once on each connection and ahead of all else, that
says who the client is.  The header is read here by code of the test's own."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def read_header(s):
	"""(version, source, destination, authority); addresses are None for UNKNOWN and LOCAL."""
	first = read_exactly(s, 8)
	if first.startswith(b"PROXY "):
		while not first.endswith(b"\r\n"):
			first += read_exactly(s, 1)
		words = first[:-2].decode().split(" ")
		if words[1] == "UNKNOWN":
			return 1, None, None, None
		return 1, (words[2], int(words[4])), (words[3], int(words[5])), None
	head = first + read_exactly(s, 8)
	equal(head[:12], SIGNATURE)
	body = read_exactly(s, struct.unpack("!H", head[14:16])[0])
	if head[12] == 0x20:
		return 2, None, None, tlv(body, 2)
	equal((head[12], head[13]), (0x21, 0x11), "PROXY, TCP over IPv4")
	source, destination = socket.inet_ntoa(body[:4]), socket.inet_ntoa(body[4:8])
	return (2, (source, struct.unpack("!H", body[8:10])[0]), (destination, struct.unpack("!H", body[10:12])[0]),
		tlv(body[12:], 2))


def tlv(data, wanted):
	while len(data) >= 3:
		kind, length = struct.unpack("!BH", data[:3])
		if kind == wanted:
			return data[3:3 + length].decode()
		data = data[3 + length:]
	return None


heard = []


def behind_header(handler):
	def serve(s, peer):
		heard.append(read_header(s))
		handler(s, peer)
	return serve


echo = Server(behind_header(echo_handler), "tcp:127.0.0.1:0")
echo_unix = Server(behind_header(echo_handler), name="echo")
web = Server(behind_header(http_handler("web")), name="web")
crt, key = certificate("k", ["k.test"])


def tls_handler(s, peer):
	with tls_context(crt, key).wrap_socket(s, server_side=True) as secure:
		http_handler("tls")(secure, peer)


tls = Server(behind_header(tls_handler), "tcp:127.0.0.1:0")
proxy = Teeproxy('''
	backend both { server $ECHO_UNIX; send-proxy v1 }
	frontend one mode tcp { listen 127.0.0.1:$ONE; default -> $ECHO send-proxy v1 }
	frontend two mode tcp { listen 127.0.0.1:$TWO; default -> $ECHO send-proxy v2 }
	frontend unix mode tcp { listen unix:$DIR/front.sock; from 127.0.0.0/8 -> drop; default -> both }
	frontend https { listen 127.0.0.1:$HTTPS; sni k.test -> $TLS send-proxy v2 }
	frontend http { listen 127.0.0.1:$HTTP; default -> $WEB send-proxy v2 }
''', ports=["ONE", "TWO", "HTTPS", "HTTP"],
	env={"ECHO": echo.address, "ECHO_UNIX": echo_unix.address, "TLS": tls.address, "WEB": web.address})


def round_trip(s, words=(b"first", b"second")):
	for word in words:
		s.sendall(word)
		equal(s.recv(100), word)


@case
def version_1_says_both_addresses_and_what_follows_is_the_clients():
	with connect_to(address_of(proxy.port("ONE"))) as s:
		round_trip(s)
		equal(heard.pop(), (1, s.getsockname(), s.getpeername(), None))


@case
def version_2_says_both_addresses():
	with connect_to(address_of(proxy.port("TWO"))) as s:
		round_trip(s)
		equal(heard.pop(), (2, s.getsockname(), s.getpeername(), None))


@case
def a_client_without_an_ip_address_is_unknown():
	with connect_to("unix:%s/front.sock" % DIR) as s:
		round_trip(s)
		equal(heard.pop(), (1, None, None, None))


@case
def mode_https_tells_the_server_name_too():
	with tls_connect(proxy.port("HTTPS"), "k.test", trust=crt) as s:
		equal(request(s, "k.test").body["enclave"], "tls")
		equal(heard.pop(), (2, s.getsockname(), s.getpeername(), "k.test"))


@case
def mode_http_says_it_once_for_each_connection():
	with connect_to(address_of(proxy.port("HTTP"))) as s:
		for i in range(5):
			equal(request(s, "h%d.test" % i).body["enclave"], "web")
		equal(heard, [(2, s.getsockname(), s.getpeername(), None)])
		heard.clear()


run()

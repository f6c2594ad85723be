#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mode https: routed by name however the hello is cut, refused in TLS's own words, every wait bounded."""
import os, sys
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

tee_k = Enclave("tee-k", names=["k.test"])
tee_t = Enclave("tee-t", names=["t.test"])
sink = Server(lambda s, peer: heard.append(read_all(s)))
silent = Server(lambda s, peer: s.recv(1) and time.sleep(WAIT))
nameless = Server(lambda s, peer: s.recv(1) and s.sendall(b"nameless"), name="nameless")
heard = []

proxy = Teeproxy('''
	global workers 2
	frontend https {
		listen 127.0.0.1:$WEB
		sni k.test -> $TEE_K
		sni *.t.test -> $TEE_T
		sni sink.test -> $SINK
		sni never.test -> reject
		sni quiet.test -> drop
		alpn odd/1 -> $TEE_T
	}
	frontend hasty mode https {
		listen 127.0.0.1:$HASTY
		timeout hello 300ms
		default -> $SILENT
	}
	frontend brief mode https {
		listen 127.0.0.1:$BRIEF
		timeout idle 300ms
		timeout half-closed 300ms
		default -> $SILENT
	}
	frontend narrow mode https {
		listen 127.0.0.1:$NARROW
		max-connections 2
		default -> $TEE_K
	}
	frontend nameless mode https {
		listen 127.0.0.1:$NAMELESS
		sni none -> $NOBODY_ASKED
	}
	frontend rated mode https {
		listen 127.0.0.1:$RATED
		rate per-source 1/h burst 3
		default -> $TEE_K
	}
	frontend denied mode https {
		listen 127.0.0.1:$DENIED
		deny-from 127.0.0.0/8
		default -> $TEE_K
	}
''', ports=["WEB", "HASTY", "BRIEF", "NARROW", "DENIED", "NAMELESS", "RATED"],
	env={"TEE_K": tee_k.address, "TEE_T": tee_t.address, "SINK": sink.address, "SILENT": silent.address,
	     "NOBODY_ASKED": nameless.address})


def dial(name="WEB"):
	return connect_to("tcp:127.0.0.1:%d" % proxy.port(name))


def alert(number):
	return bytes([21, 3, 3, 0, 2, 2, number])


def answer_to(data, name="WEB"):
	with dial(name) as s:
		s.sendall(data)
		return read_all(s)


@case
def a_name_reaches_its_enclave_and_its_certificate():
	equal(https_get(proxy.port("WEB"), "k.test", trust=tee_k.crt).body["enclave"], "tee-k")


@case
def a_wildcard_and_an_offered_protocol_reach_theirs():
	equal(https_get(proxy.port("WEB"), "a.b.t.test").body["enclave"], "tee-t")
	with dial() as raw:
		context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
		context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
		context.set_alpn_protocols(["odd/1", "http/1.1"])
		with context.wrap_socket(raw, server_hostname="other.test") as s:
			equal(request(s, "other.test").body["enclave"], "tee-t")


@case
def a_hello_cut_anywhere_arrives_unchanged():
	bytes_ = client_hello("sink.test")
	for cut in range(1, len(bytes_)):
		with dial() as s:
			s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
			s.sendall(bytes_[:cut])
			s.sendall(bytes_[cut:])
			s.shutdown(socket.SHUT_WR)
			equal(read_all(s), b"")
	until(lambda: len(heard) == len(bytes_) - 1, "every hello")
	equal(set(heard), {bytes_})


@case
def a_hello_and_what_follows_it_arrive_unchanged_however_they_are_cut():
	bytes_ = client_hello("sink.test")
	for pieces in cuts(bytes_):
		heard.clear()
		with dial() as s:
			send_pieces(s, pieces)
			s.sendall(b"early data" * 5000)
			s.shutdown(socket.SHUT_WR)
			read_all(s)
		until(lambda: heard, "the hello")
		equal(heard[0], bytes_ + b"early data" * 5000)


@case
def a_name_that_no_rule_knows_gets_the_alert_unrecognized_name():
	equal(answer_to(client_hello("evil.k.test")), alert(112))
	equal(answer_to(client_hello("never.test")), alert(112))


@case
def the_alert_outlives_what_the_client_goes_on_sending():
	for _ in range(20):
		equal(answer_to(client_hello("never.test") + b"x" * 100000), alert(112))


@case
def a_rule_that_drops_says_nothing():
	equal(answer_to(client_hello("quiet.test")), b"")


@case
def a_malformed_hello_gets_the_alert_decode_error():
	bytes_ = bytearray(client_hello("k.test"))
	bytes_[43] = 255	# the session id's length
	equal(answer_to(bytes(bytes_)), alert(50))


@case
def http_on_the_tls_port_is_told_so():
	answer = answer_to(b"GET / HTTP/1.1\r\nHost: k.test\r\n\r\n")
	true(answer.startswith(b"HTTP/1.1 400 "), answer)
	head, body = answer.split(b"\r\n\r\n", 1)
	true(b"Content-Length: %d\r\n" % len(body) in head + b"\r\n", "the length is right: %r" % answer)


@case
def what_is_neither_tls_nor_http_is_closed():
	for data in b"SSH-2.0-OpenSSH_9.2\r\n", b"\x80\x2e\x01\x03\x01", b"\0" * 20, b"quit\r\n":
		equal(answer_to(data), b"", repr(data))
	# So is one byte, where no more can make HTTP of it; the beginning of a method waits.
	equal(answer_to(b"q"), b"")
	proxy.wait_log("frontend=https .*bytes_down=0 reason=not_tls", 5)
	with dial() as s:
		s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		for byte in b"GET ":
			with contextlib.suppress(OSError):
				s.sendall(bytes([byte]))
		true(read_all(s).startswith(b"HTTP/1.1 400 "), "HTTP byte by byte is told so")
	true("reason=hello_timeout" not in proxy.log(), "nobody had to wait")


@case
def a_server_name_that_is_no_host_name_is_malformed_and_reaches_no_rule():
	good = client_hello("sink.test")
	heard.clear()
	for bad in b"sink..est", b".ink.test", b"sink/test", b"sink\0test", b"s\xc3\xafk.test", b"sink test":
		answer = answer_to(good.replace(b"sink.test", bad))
		equal(answer, alert(50), repr(bad))
	equal(heard, [])
	proxy.wait_log("reason=hello_malformed", 6)


@case
def no_name_is_told_apart_from_an_unknown_one():
	equal(answer_to(client_hello(None), "NAMELESS"), b"nameless")
	equal(answer_to(client_hello("any.test"), "NAMELESS"), alert(112))


@case
def a_connection_has_a_line_with_all_that_is_known():
	https_get(proxy.port("WEB"), "logged.t.test")
	line = proxy.wait_log(".*name=logged.t.test .*")[0].group(0)
	for field in (r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "level=info", "msg=connection", "frontend=https",
		      r"source=127\.0\.0\.1:\d+", "name=logged.t.test", "rule=%s:6" % re.escape(proxy.file),
		      "target=" + re.escape(tee_t.address), r"hello_ms=\d+", r"connect_ms=\d+", r"total_ms=\d+",
		      r"bytes_up=[1-9]\d{2,}", r"bytes_down=[1-9]\d{2,}", "reason=done"):
		true(re.search("(^| )%s( |$)" % field, line), "%s in %s" % (field, line))


@case
def a_client_that_ends_inside_its_hello_is_logged():
	with dial() as s:
		s.sendall(client_hello("k.test")[:50])
		s.shutdown(socket.SHUT_WR)
		equal(read_all(s), b"")
	proxy.wait_log("frontend=https .*reason=no_hello")


@case
def silence_before_the_hello_is_bounded_as_a_whole():
	with dial("HASTY") as s:
		equal(read_all(s), b"")
	with dial("HASTY") as s:	# each byte in time, the whole not
		with contextlib.suppress(OSError):
			for i in range(1000):
				s.sendall(client_hello("k.test")[i:i + 1])
				time.sleep(0.02)
	proxy.wait_log("frontend=hasty .*reason=hello_timeout", 2)


@case
def silence_in_a_tunnel_and_after_half_a_close_is_bounded():
	with dial("BRIEF") as s:
		s.sendall(client_hello("k.test"))
		equal(read_all(s), b"")
	proxy.wait_log("frontend=brief .*reason=idle_timeout")
	with dial("BRIEF") as s:
		s.sendall(client_hello("k.test"))
		s.shutdown(socket.SHUT_WR)
		equal(read_all(s), b"")
	proxy.wait_log("frontend=brief .*reason=half_closed_timeout")


@case
def one_client_too_many_is_closed_and_the_next_is_served_again():
	with dial("NARROW"), dial("NARROW"):
		with dial("NARROW") as s:
			equal(s.recv(1), b"")
	proxy.wait_log("reason=frontend_full")
	def served():
		with contextlib.suppress(OSError):
			return https_get(proxy.port("NARROW"), "k.test").body["enclave"] == "tee-k"
	until(served, "served again")


@case
def a_source_that_comes_too_often_is_closed_and_others_are_not():
	def come(source):
		with socket.socket() as s:
			s.settimeout(WAIT)
			s.bind((source, 0))
			s.connect(("127.0.0.1", proxy.port("RATED")))
			s.sendall(client_hello("k.test"))
			with contextlib.suppress(ConnectionResetError):
				return len(s.recv(1))
			return 0
	equal([come("127.0.0.1") for _ in range(5)], [1, 1, 1, 0, 0])
	equal([come("127.0.0.2") for _ in range(5)], [1, 1, 1, 0, 0])
	proxy.wait_log("frontend=rated source=127.0.0.2:.*reason=source_rate", 2)


@case
def a_denied_source_is_closed():
	with dial("DENIED") as s:
		equal(s.recv(1), b"")
	proxy.wait_log("reason=denied")


run()

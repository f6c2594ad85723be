#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mode https: routed by name however the hello is cut, refused in TLS's own words, every wait bounded."""
import os, resource, sys
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

tee_k = Enclave("tee-k", names=["k.test"])
tee_t = Enclave("tee-t", names=["t.test"])
sink = Server(lambda s, peer: heard.append(read_all(s)))
silent = Server(lambda s, peer: s.recv(1) and time.sleep(WAIT))
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
		timeout hello 200ms
		timeout idle 300ms
		timeout half-closed 300ms
		default -> $SILENT
	}
	frontend narrow mode https {
		listen 127.0.0.1:$NARROW
		max-connections 2
		default -> $TEE_K
	}
	frontend denied mode https {
		listen 127.0.0.1:$DENIED
		deny-from 127.0.0.0/8
		default -> $TEE_K
	}
''', ports=["WEB", "HASTY", "NARROW", "DENIED"],
	env={"TEE_K": tee_k.address, "TEE_T": tee_t.address, "SINK": sink.address, "SILENT": silent.address})


def dial(name="WEB"):
	return connect_to("tcp:127.0.0.1:%d" % proxy.port(name))


def hello(sni):
	"""The bytes of a ClientHello."""
	out = ssl.MemoryBIO()
	context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
	context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
	tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=sni)
	with contextlib.suppress(ssl.SSLWantReadError):
		tls.do_handshake()
	return out.read()


def alert(number):
	return bytes([21, 3, 3, 0, 2, 2, number])


def answer_to(data, name="WEB"):
	with dial(name) as s:
		s.sendall(data)
		return read_all(s)


# What the engine has open while nobody is connected.
idle_descriptors = len(os.listdir("/proc/%d/fd" % proxy.engines()[0]))


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
	bytes_ = hello("sink.test")
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
def a_hello_byte_by_byte_and_what_follows_it_arrive_unchanged():
	heard.clear()
	bytes_ = hello("sink.test")
	with dial() as s:
		s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		for i in range(len(bytes_)):
			s.sendall(bytes_[i:i + 1])
		s.sendall(b"early data" * 5000)
		s.shutdown(socket.SHUT_WR)
		read_all(s)
	until(lambda: heard, "the hello")
	equal(heard[0], bytes_ + b"early data" * 5000)


@case
def a_name_that_no_rule_knows_gets_the_alert_unrecognized_name():
	equal(answer_to(hello("evil.k.test")), alert(112))
	equal(answer_to(hello("never.test")), alert(112))


@case
def the_alert_outlives_what_the_client_goes_on_sending():
	for _ in range(20):
		equal(answer_to(hello("never.test") + b"x" * 100000), alert(112))


@case
def a_rule_that_drops_says_nothing():
	equal(answer_to(hello("quiet.test")), b"")


@case
def a_malformed_hello_gets_the_alert_decode_error():
	bytes_ = bytearray(hello("k.test"))
	bytes_[43] = 255	# the session id's length
	equal(answer_to(bytes(bytes_)), alert(50))


@case
def http_on_the_tls_port_is_told_so():
	answer = answer_to(b"GET / HTTP/1.1\r\nHost: k.test\r\n\r\n")
	true(answer.startswith(b"HTTP/1.1 400 "), answer)
	head, body = answer.split(b"\r\n\r\n", 1)
	true(b"Content-Length: %d\r\n" % len(body) in head + b"\r\n", "the length is right: %r" % answer)


@case
def a_client_that_ends_inside_its_hello_is_logged():
	with dial() as s:
		s.sendall(hello("k.test")[:50])
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
				s.sendall(hello("k.test")[i:i + 1])
				time.sleep(0.02)
	proxy.wait_log("frontend=hasty .*reason=hello_timeout", 2)


@case
def silence_in_a_tunnel_and_after_half_a_close_is_bounded():
	with dial("HASTY") as s:
		s.sendall(hello("k.test"))
		equal(read_all(s), b"")
	proxy.wait_log("frontend=hasty .*reason=idle_timeout")
	with dial("HASTY") as s:
		s.sendall(hello("k.test"))
		s.shutdown(socket.SHUT_WR)
		equal(read_all(s), b"")
	proxy.wait_log("frontend=hasty .*reason=half_closed_timeout")


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
def a_denied_source_is_closed():
	with dial("DENIED") as s:
		equal(s.recv(1), b"")
	proxy.wait_log("reason=denied")


@case
def half_open_clients_do_not_keep_the_next_one_waiting():
	soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
	theirs, _ = resource.prlimit(proxy.engines()[0], resource.RLIMIT_NOFILE)
	n = min(2000, hard // 2, (theirs - 200) // 2 - 50)	# the engine lets so many in
	if soft != resource.RLIM_INFINITY and soft < n + 500:
		resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, n + 500), hard))
	waiting = [dial() for _ in range(n)]
	equal(https_get(proxy.port("WEB"), "k.test").body["enclave"], "tee-k")
	for s in waiting:
		s.close()


@case
def out_of_descriptors_is_a_wait_and_not_an_end():
	engine, = proxy.engines()
	old = resource.prlimit(engine, resource.RLIMIT_NOFILE)
	until(lambda: len(os.listdir("/proc/%d/fd" % engine)) <= idle_descriptors, "the half-open ones are gone")
	used = len(os.listdir("/proc/%d/fd" % engine))
	resource.prlimit(engine, resource.RLIMIT_NOFILE, (used + 5, old[1]))
	# Some of those counted may still be closing: more clients than the limit has room for in all.
	waiting = [dial() for _ in range(used + 20)]
	proxy.wait_log("cannot accept")
	resource.prlimit(engine, resource.RLIMIT_NOFILE, old)
	for s in waiting:
		s.close()
	equal(https_get(proxy.port("WEB"), "k.test").body["enclave"], "tee-k")


run()

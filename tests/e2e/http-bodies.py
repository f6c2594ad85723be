#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mode http: bodies, interim answers, tunnels, and enclaves that misbehave.

The enclave here is a script: what it sends is taken from the path's table, byte for byte."""
import base64
import os
import random
import socket
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

BIG = 48 << 20


def websocket(s, f, headers):
	"""A server of RFC 6455 that echoes one byte at a time (no frames: the proxy sees only bytes)."""
	s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
		  b"Sec-WebSocket-Accept: x\r\n\r\nwelcome")
	while True:
		data = f.read1(65536)
		if not data:
			with contextlib.suppress(OSError):
				s.sendall(b"bye")
			return
		s.sendall(data)


def pour(s, start):
	"""BIG bytes, in the framing that the path names."""
	digest = hashlib.sha256()
	chunked, close = "chunked" in start, "close" in start
	s.sendall(b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" if chunked else
		  b"Connection: close\r\n\r\n" if close else b"Content-Length: %d\r\n\r\n" % BIG))
	block = random.Random(7).randbytes(1 << 16)
	for _ in range(BIG >> 16):
		digest.update(block)
		s.sendall(b"%x;ext=1\r\n%s\r\n" % (len(block), block) if chunked else block)
	if chunked:
		s.sendall(b"0\r\nX-Sum: %s\r\n\r\n" % digest.hexdigest().encode())
	return close


ANSWERS = {	# path: all that the enclave sends
	"/early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"/204": b"HTTP/1.1 204 No Content\r\n\r\n",
	"/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"x\"\r\n\r\n",
	"/head": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
	"/hop": b"HTTP/1.1 200 OK\r\nConnection: X-Inner\r\nX-Inner: 1\r\nKeep-Alive: 5\r\nX-Outer: 2\r\nContent-Length: 0\r\n\r\n",
	"/no-length": b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
	# what must never pass as an answer
	"/both": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"/lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
	"/huge": b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n",
	"/garbage": b"\x16\x03\x01 no HTTP\r\n\r\n",
	"/bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
	"/fold": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
	"/version": b"HTTP/2.0 200 OK\r\n\r\n",
	"/silent-end": b"",
	"/half-head": b"HTTP/1.1 200 OK\r\nContent-Le",
	"/unasked-101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
	# breaks inside a body that has begun
	"/short": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
	"/bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
	"/cut-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
	"/wrap-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
	# says more than it was asked
	"/two": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
}


def script(s, peer):
	with s.makefile("rb") as f:
		while True:
			head = read_head(f)
			if not head:
				return
			start, headers = head
			path = start.split()[1]
			if path.startswith("/pour"):
				if pour(s, start):
					return
			elif path == "/ws":
				return websocket(s, f, headers)
			elif path == "/hang":
				f.read()
				return
			elif path == "/refuse-body":
				s.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n")
				return
			elif path == "/continue":
				s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
				body = read_body(f, headers)
				s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
			elif path == "/trailers":
				text = b""
				while not text.endswith(b"\r\n\r\n"):
					text += f.readline()
				s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
			elif path == "/echo":
				digest, n, left = hashlib.sha256(), 0, int(headers["content-length"])
				while left:
					piece = f.read1(min(left, 1 << 16))
					if not piece:
						return	# the client went inside its body
					digest.update(piece)
					left -= len(piece)
				text = digest.hexdigest().encode()
				s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
			elif path == "/once":	# a server that does not keep connections, and does not say so
				s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				return
			else:
				s.sendall(ANSWERS[path])
				if path not in ("/early-hints", "/204", "/304", "/head", "/hop"):
					return


enclave = Server(script, address="tcp:127.0.0.1:0")
proxy = Teeproxy('''
	frontend http { listen 127.0.0.1:$WEB; host a.test -> $ENCLAVE }
	frontend hasty mode http {
		listen 127.0.0.1:$HASTY
		timeout idle 600ms
		timeout stalled 600ms
		host a.test -> $ENCLAVE
	}
''', ports=["WEB", "HASTY"], env={"ENCLAVE": enclave.address})
WEB, HASTY = proxy.port("WEB"), proxy.port("HASTY")
idle_sockets = proxy.sockets()


def client(port=None):
	return connect_to(address_of(port or WEB))


def raw(data, port=None):
	with client(port) as s:
		s.sendall(data)
		return read_all(s)


def get(path, more=b"", port=None):
	return raw(b"GET %s HTTP/1.1\r\nHost: a.test\r\n%s\r\n" % (path.encode(), more), port)


def resident():
	total = 0
	for pid in proxy.engines():
		with open("/proc/%d/status" % pid) as f:
			total += int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1))
	return total


@case
def interim_answers_pass():
	with client() as s:
		s.sendall(b"GET /early-hints HTTP/1.1\r\nHost: a.test\r\n\r\n")
		with s.makefile("rb") as f:
			equal(read_head(f), ("HTTP/1.1 103 Early Hints", {"link": "</a>"}))
			equal(read_head(f)[0], "HTTP/1.1 102 Processing")
			start, headers = read_head(f)
			equal((start, read_body(f, headers)), ("HTTP/1.1 200 OK", b"ok"))


@case
def expect_100_continue_waits_for_the_enclaves_word():
	with client() as s:
		s.sendall(b"POST /continue HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
		with s.makefile("rb") as f:
			equal(read_head(f)[0], "HTTP/1.1 100 Continue")
			s.sendall(b"data")
			start, headers = read_head(f)
			equal(read_body(f, headers), b"data")


@case
def answers_without_body_keep_the_connection():
	with client() as s:
		with s.makefile("rb") as f:
			for line, length in (b"GET /204", None), (b"GET /304", "1000"), (b"HEAD /head", "1000"), (b"GET /early-hints", "2"):
				s.sendall(line + b" HTTP/1.1\r\nHost: a.test\r\n\r\n")
				start, headers = read_head(f)
				while start.split()[1][0] == "1":
					start, headers = read_head(f)
				equal(headers.get("content-length"), length)
			equal(f.read(2), b"ok")


@case
def chunks_and_trailers_reach_the_enclave_unchanged():
	body = b"3;a=b\r\nabc\r\n00a\r\n0123456789\r\n0\r\nX-Trailer: yes\r\n\r\n"
	for cuts in (0, 1, 2, 3):
		generator = random.Random(cuts)
		data = b"POST /trailers HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + body
		with client() as s:
			s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
			while data:
				n = generator.randint(1, 40) if cuts else len(data)
				s.sendall(data[:n])
				data = data[n:]
			equal(response(s).body, body)


@case
def large_bodies_pass_in_every_framing_with_bounded_memory():
	block = random.Random(7).randbytes(1 << 16)
	expected = hashlib.sha256(block * (BIG >> 16)).hexdigest()
	before = resident()
	for path in "/pour-length", "/pour-chunked", "/pour-close":
		with client() as s:
			s.sendall(b"GET %s HTTP/1.1\r\nHost: a.test\r\n\r\n" % path.encode())
			with s.makefile("rb") as f:
				_, headers = read_head(f)
				digest, n = hashlib.sha256(), 0
				if "chunked" in path:
					while True:
						size = int(f.readline().split(b";")[0], 16)
						if not size:
							equal(f.readline(), b"X-Sum: %s\r\n" % expected.encode())
							break
						digest.update(f.read(size))
						f.read(2)
				else:
					while n < BIG:
						piece = f.read1(1 << 16)
						true(piece, "%s: cut at %d" % (path, n))
						digest.update(piece)
						n += len(piece)
		equal(digest.hexdigest(), expected, path)
	with client() as s:
		s.sendall(b"POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % BIG)
		for _ in range(BIG >> 16):
			s.sendall(block)
		equal(response(s).body.decode(), expected)
	# ASan's quarantine keeps what was freed, up to 256 MiB of it.
	if not is_sanitized():
		true(resident() - before < 8192, "the engine grew by %d KiB for %d MiB" % (resident() - before, BIG >> 20))


@case
def an_upgrade_becomes_a_tunnel_and_ends_as_one():
	with client() as s:
		s.sendall(b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
			  b"Sec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
		with s.makefile("rb") as f:
			start, headers = read_head(f)
			equal((start.split()[1], headers["upgrade"], headers["connection"]), ("101", "websocket", "upgrade"))
			equal(f.read(7), b"welcome")
			for piece in b"a", b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n", random.Random(1).randbytes(300000):
				s.sendall(piece)
				equal(f.read(len(piece)), piece)
			s.shutdown(socket.SHUT_WR)
			equal(f.read(), b"bye")
	proxy.wait_log(r"path=/ws status=101 .*reason=done")


@case
def a_websocket_outlives_the_idle_time_of_requests():
	with client(HASTY) as s:
		s.sendall(b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		with s.makefile("rb") as f:
			read_head(f)
			equal(f.read(7), b"welcome")
			# The other frontend's clients are timed out meanwhile: three times the idle time.
			for _ in range(3):
				with client(HASTY) as other:
					other.sendall(b"GET /204 HTTP/1.1\r\nHost: a.test\r\n\r\n")
					read_all(other)
			s.sendall(b"still there")
			equal(f.read(11), b"still there")


@case
def broken_answers_are_a_502():
	for path in "/both", "/lengths", "/huge", "/garbage", "/bare-lf", "/fold", "/version", "/silent-end", "/half-head", "/unasked-101":
		answer = get(path)
		equal(answer[9:12], b"502", path)
		equal(answer.count(b"Service unavailable"), 1, path)


@case
def an_answer_that_breaks_inside_its_body_ends_the_connection():
	for path in "/short", "/cut-chunk":
		answer = raw(b"GET %s HTTP/1.1\r\nHost: a.test\r\n\r\nGET /204 HTTP/1.1\r\nHost: a.test\r\n\r\n" % path.encode())
		equal(len(re.findall(rb"HTTP/1.1 ", answer)), 1, path)
		true(b"abc" in answer, path + ": what was good is passed on")
	# One that is broken before the client has heard of it is the enclave's failure, told as such.
	equal(get("/bad-chunk")[9:12], b"502")
	equal(get("/wrap-chunk")[9:12], b"502")
	proxy.wait_log(r"path=/short status=200 .*reason=answer_malformed")


@case
def an_answer_nobody_asked_for_is_not_the_next_one():
	answer = raw(b"GET /two HTTP/1.1\r\nHost: a.test\r\n\r\nGET /204 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	true(b"evil" not in answer, answer)
	equal(re.findall(rb"HTTP/1.1 (\d+)", answer), [b"200", b"204"])


@case
def a_body_until_the_end_closes_the_connection():
	answer = get("/no-length")
	true(answer.endswith(b"until the end") and b"Connection: close" in answer, answer)


@case
def hop_fields_of_an_answer_stay_here():
	answer = get("/hop", b"Connection: close\r\n")
	true(b"X-Outer: 2" in answer and b"X-Inner" not in answer and b"Keep-Alive" not in answer, answer)


@case
def an_answer_before_the_body_is_whole_reaches_the_client():
	with client() as s:
		s.sendall(b"POST /refuse-body HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % BIG)
		block = bytes(1 << 16)
		with contextlib.suppress(OSError):
			for _ in range(BIG >> 16):
				s.sendall(block)
		answer = response(s)
		equal((answer.start, answer.body), ("HTTP/1.1 413 Too Large", b"no\n"))


@case
def a_kept_connection_that_the_enclave_closed_is_tried_again():
	with client() as s:
		for _ in range(5):
			equal(request(s, "a.test", "/once").body, b"ok")


@case
def an_enclave_that_does_not_answer_is_504():
	equal(get("/hang", port=HASTY)[9:12], b"504")
	proxy.wait_log(r"path=/hang status=504 .*reason=answer_timeout")


@case
def a_client_that_stops_inside_its_body_is_408():
	equal(raw(b"POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc", HASTY)[9:12], b"408")


@case
def a_client_that_goes_inside_its_body_takes_the_enclave_along():
	with client() as s:
		s.sendall(b"POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc")
	proxy.wait_log(r"path=/echo .*reason=client_error")


@case
def a_client_that_takes_nothing_is_ended():
	with client(HASTY) as s:
		s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
		s.sendall(b"GET /pour-length HTTP/1.1\r\nHost: a.test\r\n\r\n")
		proxy.wait_log(r"frontend=hasty .*path=/pour-length .*reason=stalled_timeout")


@case
def random_requests_in_random_cuts_are_answered_in_order():
	generator = random.Random(20261124)
	for _ in range(20):
		data, expected = b"", []
		kinds = generator.choices(["204", "304", "echo", "trailers", "head"], k=generator.randint(1, 12))
		# A body behind a connection that ends unannounced may meet its end: that one comes last.
		for kind in kinds + ["once"]:
			if kind == "echo":
				body = generator.randbytes(generator.choice([0, 1, 100, 70000]))
				data += b"PUT /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
				expected.append(hashlib.sha256(body).hexdigest().encode())
			elif kind == "trailers":
				body = b"".join(b"%x\r\n%s\r\n" % (n, b"\n" * 0 + b"x" * n) for n in (generator.randint(1, 300) for _ in range(3))) + b"0\r\n\r\n"
				data += b"POST /trailers HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + body
				expected.append(body)
			else:
				data += b"%s /%s HTTP/1.1\r\nHost: a.test\r\n\r\n" % (b"HEAD" if kind == "head" else b"GET", kind.encode())
				expected.append(b"ok" if kind == "once" else b"")
		with client() as s:
			def send(rest=data):
				while rest:
					n = generator.randint(1, 5000)
					s.sendall(rest[:n])
					rest = rest[n:]
			sender = threading.Thread(target=send)
			sender.start()
			with s.makefile("rb") as f:
				for want in expected:
					start, headers = read_head(f)
					true(start.split()[1] in ("200", "204", "304"), start)
					equal(read_body(f, headers) if want else b"", want)
			sender.join()


@case
def no_connection_is_left():
	until(lambda: proxy.engines() and proxy.sockets() <= idle_sockets, "all sockets are closed")


run()

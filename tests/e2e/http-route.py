#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mode http: each request goes where its own Host says, and what is not a good request is told so.

The smuggling table sends raw bytes and looks at two things: the status, and that no enclave has
ever seen the request behind the broken one."""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

seen = []	# every request line that reached an enclave


def noting(name):
	def answer(start, headers, body):
		seen.append(start)
	return http_handler(name, answer)


tee_k, tee_t = Server(noting("tee-k"), name="k"), Server(noting("tee-t"), name="t")
proxy = Teeproxy('''
	defaults http timeout hello 20s
	frontend http {
		listen 127.0.0.1:$WEB
		host k.test path /private -> reject
		host k.test path /old -> redirect https
		host k.test -> $TEE_K
		host { t.test *.t.test } -> $TEE_T
		host gone.test -> unix:$DIR/nobody.sock
		host quiet.test -> drop
		host ~'^(a+)+[bc]$' -> $TEE_K
	}
	frontend bare mode http {
		listen 127.0.0.1:$BARE
		forwarded off
		default -> $TEE_K
	}
	frontend hasty mode http {
		listen 127.0.0.1:$HASTY
		timeout hello 700ms
		host k.test -> $TEE_K
	}
''', ports=["WEB", "BARE", "HASTY"], env={"TEE_K": tee_k.address, "TEE_T": tee_t.address})
WEB, BARE, HASTY = map(proxy.port, ("WEB", "BARE", "HASTY"))


def raw(data, port=None, shut=False):
	"""Everything that comes back for these bytes."""
	with connect_to(address_of(port or WEB)) as s:
		s.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
		if shut:
			s.shutdown(socket.SHUT_WR)
		return read_all(s)


def status(answer):
	true(answer.startswith(b"HTTP/1.1 "), "no answer in HTTP/1.1: %r" % answer[:80])
	return int(answer[9:12])


@case
def each_host_reaches_its_enclave():
	for host, who in ("k.test", "tee-k"), ("t.test", "tee-t"), ("a.b.t.test", "tee-t"), ("K.TEST.", "tee-k"), ("k.test:80", "tee-k"):
		equal(http_get(WEB, host).body["enclave"], who, host)


@case
def requests_on_one_connection_alternate_between_enclaves():
	with connect_to(address_of(WEB)) as s:
		for i in range(40):
			host, who = (("k.test", "tee-k"), ("t.test", "tee-t"))[i % 3 == 0]
			body = request(s, host, "/%d" % i).body
			equal((body["enclave"], body["request"]), (who, "GET /%d HTTP/1.1" % i))


@case
def pipelined_requests_are_answered_in_order():
	data = b"".join(b"GET /p%d HTTP/1.1\r\nHost: %s.test\r\n\r\n" % (i, b"kt"[i % 2:][:1]) for i in range(100))
	with connect_to(address_of(WEB)) as s:
		s.sendall(data)
		with s.makefile("rb") as f:
			for i in range(100):
				start, headers = read_head(f)
				said = json.loads(read_body(f, headers))
				equal((said["enclave"], said["request"]), ("tee-" + "kt"[i % 2], "GET /p%d HTTP/1.1" % i))


@case
def a_connection_to_the_enclave_is_kept():
	before = tee_k.accepted
	with connect_to(address_of(WEB)) as s:
		for _ in range(10):
			request(s, "k.test")
	equal(tee_k.accepted - before, 1)


@case
def however_it_is_cut_it_is_the_same():
	for pieces in cuts(b"POST /slow?x=1 HTTP/1.1\r\nHost: t.test\r\nTransfer-Encoding: chunked\r\n\r\n"
			   b"3\r\nabc\r\n0\r\n\r\n"):
		with connect_to(address_of(WEB)) as s:
			send_pieces(s, pieces)
			said = response(s).body
		equal((said["enclave"], said["body"]), ("tee-t", 3))


@case
def unknown_hosts_are_misdirected_and_known_ones_forbidden():
	answer = raw("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")
	equal(status(answer), 421)
	true(b"\r\nConnection: close\r\n" in answer, "the 421 says that it closes")
	equal(status(raw("GET /private/x HTTP/1.1\r\nHost: k.test\r\n\r\n")), 403)


@case
def a_path_rule_is_not_walked_around():
	for path in ("/private/", "//private/", "/%70rivate/", "/x/../private/", "/x/%2e%2e/private/", "/x%2f..%2fprivate/a", "/./private"):
		equal(status(raw("GET %s HTTP/1.1\r\nHost: k.test\r\n\r\n" % path)), 403, path)
	equal(http_get(WEB, "k.test", "/privately").body["request"], "GET /privately HTTP/1.1")


@case
def redirect_keeps_host_and_target():
	answer = raw("GET /old/a?b=c HTTP/1.1\r\nHost: k.test:8080\r\n\r\n")
	equal(status(answer), 308)
	true(b"\r\nLocation: https://k.test/old/a?b=c\r\n" in answer, answer)


@case
def drop_says_nothing():
	equal(raw("GET / HTTP/1.1\r\nHost: quiet.test\r\n\r\n"), b"")


@case
def an_enclave_that_is_not_there_is_the_seed_systems_502():
	gone = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: 19\r\n\r\nService unavailable"
	equal(len(gone), 93)
	equal(raw("GET / HTTP/1.1\r\nHost: gone.test\r\n\r\n"), gone)
	equal(raw("HEAD / HTTP/1.1\r\nHost: gone.test\r\n\r\n"), gone[:-19])
	proxy.wait_log(r"name=gone\.test .*status=502 .*reason=connect_failed")


H = "Host: k.test\r\n"
BROKEN = [	# what is wrong, the bytes, the status
	("length and coding", "POST / HTTP/1.1\r\n" + H + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
	("coding and length", "POST / HTTP/1.1\r\n" + H + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
	("two lengths", "POST / HTTP/1.1\r\n" + H + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
	("two equal lengths", "POST / HTTP/1.1\r\n" + H + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
	("length list", "POST / HTTP/1.1\r\n" + H + "Content-Length: 3, 3\r\n\r\nabc", 400),
	("signed length", "POST / HTTP/1.1\r\n" + H + "Content-Length: +3\r\n\r\nabc", 400),
	("negative length", "POST / HTTP/1.1\r\n" + H + "Content-Length: -3\r\n\r\nabc", 400),
	("hex length", "POST / HTTP/1.1\r\n" + H + "Content-Length: 0x3\r\n\r\nabc", 400),
	("empty length", "POST / HTTP/1.1\r\n" + H + "Content-Length:\r\n\r\nabc", 400),
	("length past 2^63", "POST / HTTP/1.1\r\n" + H + "Content-Length: 9223372036854775808\r\n\r\nabc", 400),
	("length past 2^64", "POST / HTTP/1.1\r\n" + H + "Content-Length: 18446744073709551619\r\n\r\nabc", 400),
	("chunk size that wraps", "POST / HTTP/1.1\r\n" + H + "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n", 400),
	("chunk size with a sign", "POST / HTTP/1.1\r\n" + H + "Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n", 400),
	("chunk without its CRLF", "POST / HTTP/1.1\r\n" + H + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc0\r\n\r\n", 400),
	("coding not last", "POST / HTTP/1.1\r\n" + H + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
	("coding unknown", "POST / HTTP/1.1\r\n" + H + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
	("coding twice", "POST / HTTP/1.1\r\n" + H + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
	("coding with a tab inside", "POST / HTTP/1.1\r\n" + H + "Transfer-Encoding: chun\tked\r\n\r\n0\r\n\r\n", 501),
	("coding in 1.0", "POST / HTTP/1.0\r\n" + H + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
	("blank before the colon", "GET / HTTP/1.1\r\n" + H + "X-A : b\r\n\r\n", 400),
	("tab before the colon", "GET / HTTP/1.1\r\nHost\t: k.test\r\n\r\n", 400),
	("obs-fold", "GET / HTTP/1.1\r\n" + H + "X-A: b\r\n c\r\n\r\n", 400),
	("fold in the first field", "GET / HTTP/1.1\r\n Host: k.test\r\n\r\n", 400),
	("bare CR", "GET / HTTP/1.1\r\n" + H + "X-A: b\rX-B: c\r\n\r\n", 400),
	("bare LF", "GET / HTTP/1.1\n" + H + "\r\n", 400),
	("NUL in a value", "GET / HTTP/1.1\r\n" + H + "X-A: b\0c\r\n\r\n", 400),
	("NUL in a name", "GET / HTTP/1.1\r\n" + H + "X\0A: b\r\n\r\n", 400),
	("two Hosts", "GET / HTTP/1.1\r\n" + H + "Host: t.test\r\n\r\n", 400),
	("two equal Hosts", "GET / HTTP/1.1\r\n" + H + H + "\r\n", 400),
	("no Host in 1.1", "GET / HTTP/1.1\r\nX-A: b\r\n\r\n", 400),
	("empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
	("Host with a slash", "GET / HTTP/1.1\r\nHost: k.test/x\r\n\r\n", 400),
	("Host with an at", "GET / HTTP/1.1\r\nHost: t.test@k.test\r\n\r\n", 400),
	("Host with an empty label", "GET / HTTP/1.1\r\nHost: k..test\r\n\r\n", 400),
	("Host with port 65536", "GET / HTTP/1.1\r\nHost: k.test:65536\r\n\r\n", 400),
	("field without colon", "GET / HTTP/1.1\r\n" + H + "nonsense\r\n\r\n", 400),
	("field with an empty name", "GET / HTTP/1.1\r\n" + H + ": x\r\n\r\n", 400),
	("three words and more", "GET / extra HTTP/1.1\r\n" + H + "\r\n", 400),
	("no target", "GET HTTP/1.1\r\n" + H + "\r\n", 400),
	("lower-case version", "GET / http/1.1\r\n" + H + "\r\n", 400),
	("a bad escape in the path", "GET /%zz HTTP/1.1\r\n" + H + "\r\n", 400),
	("target without slash", "GET private/ HTTP/1.1\r\n" + H + "\r\n", 400),
	("method with a bracket", "G(T / HTTP/1.1\r\n" + H + "\r\n", 400),
	("CONNECT", "CONNECT k.test:443 HTTP/1.1\r\n" + H + "\r\n", 405),
	("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
	("HTTP/2.0 in a request line", "GET / HTTP/2.0\r\n" + H + "\r\n", 505),
	("HTTP/0.9", "GET /\r\n", 400),
	("a head past 64 KiB", "GET / HTTP/1.1\r\n" + H + "X-A: " + "b" * 66000 + "\r\n\r\n", 431),
	("a target past 64 KiB", "GET /" + "b" * 66000 + " HTTP/1.1\r\n" + H + "\r\n", 431),
	("too many fields", "GET / HTTP/1.1\r\n" + H + "".join("X-%d: b\r\n" % i for i in range(200)) + "\r\n", 431),
	("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 300, 400),
]


@case
def a_broken_request_has_its_status_and_ends_the_connection():
	behind = b"GET /smuggled HTTP/1.1\r\nHost: k.test\r\n\r\n"
	for what, data, expected in BROKEN:
		data = data if isinstance(data, bytes) else data.encode("latin-1")
		answer = raw(data + behind)
		equal(status(answer), expected, what)
		equal(len(re.findall(rb"(?m)^HTTP/1.1 \d", answer)), 1, what + ": one answer")
		true(b"\r\nConnection: close\r\n" in answer, what + ": says that it closes")
	true(not any("smuggled" in line for line in seen), "a request behind a broken one reached an enclave")


@case
def a_broken_request_behind_a_good_one_ends_after_the_good_answer():
	answer = raw("GET /good HTTP/1.1\r\n" + H + "\r\nGET / HTTP/1.1\r\nHost : k.test\r\n\r\n")
	equal(status(answer), 200)
	true(b"}\nHTTP/1.1 400 " in answer, "the 400 follows the whole answer: %r" % answer[-300:])


@case
def absolute_form_takes_its_authority():
	said = http_get(WEB, "k.test", "http://t.test/a?b").body
	equal((said["enclave"], said["request"], said["host"]), ("tee-t", "GET /a?b HTTP/1.1", "t.test"))
	said = http_get(WEB, "k.test", "http://t.test").body
	equal((said["enclave"], said["request"]), ("tee-t", "GET / HTTP/1.1"))


@case
def forwarded_fields_are_set_and_appended():
	with connect_to(address_of(WEB)) as s:
		source = s.getsockname()[0]
		said = request(s, "K.test", headers=["X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil"]).body["headers"]
	equal(said["x-forwarded-for"], "192.0.2.7, " + source)
	equal((said["x-forwarded-proto"], said["x-forwarded-host"]), ("http", "k.test"))
	said = http_get(BARE, "k.test", headers=["X-Forwarded-For: 192.0.2.7"]).body["headers"]
	equal((said["x-forwarded-for"], said.get("x-forwarded-proto")), ("192.0.2.7", None))


@case
def fields_of_one_hop_stay_here():
	said = http_get(WEB, "k.test", headers=["Connection: X-Secret, keep-alive", "X-Secret: 1", "Keep-Alive: timeout=5", "TE: trailers", "Proxy-Authorization: x", "X-Other: 2"]).body["headers"]
	equal([said.get(n) for n in ("x-secret", "keep-alive", "te", "proxy-authorization", "x-other")], [None] * 4 + ["2"])


@case
def http_1_0_is_spoken():
	answer = raw("GET /ten HTTP/1.0\r\nHost: t.test\r\n\r\n")
	equal(status(answer), 200)
	said = json.loads(answer.split(b"\r\n\r\n", 1)[1])
	equal((said["enclave"], said["request"]), ("tee-t", "GET /ten HTTP/1.0"))
	# Without a Host there is no name; only a rule that asks for none takes it.
	equal(status(raw("GET /none HTTP/1.0\r\n\r\n")), 421)
	equal(json.loads(raw("GET /none HTTP/1.0\r\n\r\n", BARE).split(b"\r\n\r\n", 1)[1])["enclave"], "tee-k")


@case
def a_half_head_is_408_and_silence_is_silence():
	equal(status(raw("GET / HTTP/1.1\r\nHost: k.t", HASTY)), 408)
	equal(raw("", HASTY), b"")
	equal(raw("GET / HTTP/1.1\r\nHost: k.t", shut=True), b"")


@case
def a_slow_head_has_one_deadline_for_all_of_it():
	with connect_to(address_of(HASTY)) as s:
		s.settimeout(0.1)
		got = b""
		s.sendall(b"GET / HTTP/1.1\r\nX-A: ")
		for _ in range(200):	# each byte well within the deadline, all of them far past it
			try:
				s.sendall(b"a")
				got += s.recv(65536)
				break
			except socket.timeout:
				continue
			except OSError:
				break
		equal(status(got), 408)


@case
def regexes_that_run_away_are_refused():
	equal(status(raw("GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % ("a" * 200))), 403)


@case
def each_request_has_a_line_without_its_query():
	http_get(WEB, "t.test", "/logged?token=secret")
	line, = proxy.wait_log(r".*path=/logged .*")
	for part in ("msg=request", "frontend=http", "method=GET", "name=t.test", "status=200", "rule=", "target=", "bytes_up=", "bytes_down=", "reason=done"):
		true(part in line.group(0), "%s in %s" % (part, line.group(0)))
	true("secret" not in proxy.log(), "a query is in the log")


@case
def a_client_that_half_closes_has_its_answer():
	equal(status(raw("GET / HTTP/1.1\r\nHost: k.test\r\n\r\n", shut=True)), 200)


@case
def curl_reaches_both_over_one_connection():
	where = ["--resolve", "k.test:%d:127.0.0.1" % WEB, "--resolve", "t.test:%d:127.0.0.1" % WEB]
	done = curl(*where, "http://k.test:%d/1" % WEB, "http://t.test:%d/2" % WEB)
	equal([json.loads(line)["enclave"] for line in done.stdout.splitlines()], ["tee-k", "tee-t"], done.stderr)


run()

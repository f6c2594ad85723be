#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mode egress: the line, HTTP and SOCKS5, told apart by their first bytes, on Unix sockets that vouch and on
TCP; rules that lead to addresses and backends; what a failure is in each protocol."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *
from egress_clients import *

SIZE = 8 << 20
BLOCK = os.urandom(1 << 20)


def number(server):
	return int(server.address.rsplit(":", 1)[1])


def half(s, peer):
	"""Answers only after the end of what it gets."""
	got = read_all(s)
	s.sendall(b"%d bytes" % len(got))


def first(s, peer):
	"""Speaks before the client does, ends its direction, then reads on."""
	s.sendall(b"220 ready\r\n")
	s.shutdown(socket.SHUT_WR)
	heard.append(read_all(s))


heard = []
tcp = {"address": "tcp:127.0.0.1:0"}
echo, late, early = Server(echo_handler, **tcp), Server(half, **tcp), Server(first, **tcp)
tee_t = Server(echo_handler, name="tee-t")
ports = {"ECHO": number(echo), "LATE": number(late), "EARLY": number(early), "CLOSED": free_port()}
proxy = Teeproxy('''
	global workers 2
	enclave tee-k cid 16
	enclave tee-t cid 17
	backend pair { server $NOBODY; server $TEE_T }
	frontend egress {
		listen unix:$DIR/k.sock as tee-k
		listen unix:$DIR/stranger.sock
		listen 127.0.0.1:$TCP
		timeout half-closed 20s
		from tee-k to 127.0.0.0/8:$ECHO   -> direct
		from any   to 127.0.0.0/8:$LATE   -> direct
		from tee-k to 127.0.0.0/8:$EARLY  -> direct
		from tee-k to 127.0.0.0/8:$CLOSED -> direct
		from tee-k to tee-t.test:443      -> $TEE_T
		from any   to near.test:1         -> 127.0.0.1:$ECHO
		from tee-k to gone.test:443       -> $NOBODY
		from tee-k to pair.test:80        -> backend pair
		from tee-k to no.test:*           -> reject
		from tee-k to drop.test:*         -> drop
		from any   to *:25                -> direct
	}
	frontend brief mode egress {
		listen unix:$DIR/brief.sock
		timeout hello 300ms
		timeout lifetime 1s
		from any to 127.0.0.0/8:$ECHO -> direct
	}
	frontend old mode egress { listen unix:$DIR/line.sock as tee-k; protocol line;    from tee-k to 127.0.0.0/8:$ECHO -> direct }
	frontend con mode egress { listen unix:$DIR/con.sock as tee-k;  protocol connect; from tee-k to 127.0.0.0/8:$ECHO -> direct }
	frontend sox mode egress { listen unix:$DIR/sox.sock as tee-k;  protocol socks5;  from tee-k to 127.0.0.0/8:$ECHO -> direct }
''', ports=["TCP"], env=dict({k: str(v) for k, v in ports.items()}, TEE_T=tee_t.address,
			     NOBODY="unix:%s/nobody.sock" % DIR))
K, STRANGER, TCP = "unix:%s/k.sock" % DIR, "unix:%s/stranger.sock" % DIR, proxy.port("TCP")
ECHO, LATE, EARLY, CLOSED = (ports[n] for n in ("ECHO", "LATE", "EARLY", "CLOSED"))


def echoes(s, data=b"ping"):
	with s:
		s.sendall(data)
		s.shutdown(socket.SHUT_WR)
		return read_all(s)


@case
def a_line_and_the_bytes_behind_it_reach_the_target():
	for text in "127.0.0.1:%d", " 127.0.0.1:%d\t", "127.0.0.1:%d\r", "\t [::ffff:127.0.0.1]:%d \r":
		with line(K, text % ECHO, b"at once") as s:
			equal(read_exactly(s, 7), b"at once", text)


@case
def connect_is_answered_with_200_and_then_bytes():
	status, fields, s = http_connect(K, "127.0.0.1:%d" % ECHO, b"early", "Proxy-Authorization: Basic eDp5\r\nUser-Agent: x\r\n")
	equal(status, 200)
	equal(fields, {})
	equal(echoes(s, b" and late"), b"early and late")


@case
def socks5_is_answered_with_0_and_then_bytes():
	code, s = socks(K, "127.0.0.1", ECHO, b"early")
	equal(code, 0)
	equal(echoes(s, b" and late"), b"early and late")


@case
def however_it_is_cut_it_is_the_same():
	for data, want in ((b"127.0.0.1:%d\nping" % ECHO, b"ping"),
			   (connect_head("127.0.0.1:%d" % ECHO) + b"ping", b"HTTP/1.1 200 Connection established\r\n\r\nping"),
			   (b"\x05\x02\x00\x02" + socks_request("127.0.0.1", ECHO) + b"ping",
			    b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0ping")):
		for pieces in cuts(data):
			with connect_to(K) as s:
				send_pieces(s, pieces)
				s.shutdown(socket.SHUT_WR)
				equal(read_all(s), want)


@case
def socks5_takes_names_and_addresses_that_come_as_names():
	code, s = socks(K, "tee-t.test", 443)
	equal((code, echoes(s)), (0, b"ping"))
	text = b"127.0.0.1"
	with connect_to(K) as s:
		s.sendall(b"\x05\x01\x00\x05\x01\x00\x03" + bytes([len(text)]) + text + struct.pack(">H", ECHO))
		read_exactly(s, 2)
		equal(read_socks_reply(s), 0)


@case
def one_enclave_reaches_the_other_without_leaving_the_host():
	for s in (line(K, "tee-t.test:443"), line(K, "TEE-T.test.:443"), http_connect(K, "tee-t.test:443")[2]):
		equal(echoes(s), b"ping")
	proxy.wait_log(r"enclave=tee-k name=tee-t\.test:443 rule=\S+:\d+ target=unix:\S+ .*reason=done protocol=line")


@case
def a_backend_passes_over_the_server_that_is_gone():
	for _ in range(4):
		equal(echoes(line(K, "pair.test:80")), b"ping")


@case
def megabytes_arrive_whole_in_all_three():
	for s in (line(K, "127.0.0.1:%d" % ECHO), http_connect(K, "127.0.0.1:%d" % ECHO)[2], socks(K, "127.0.0.1", ECHO)[1]):
		with s:
			def send():
				for _ in range(SIZE // len(BLOCK)):
					s.sendall(BLOCK)
				s.shutdown(socket.SHUT_WR)
			sender = threading.Thread(target=send)
			sender.start()
			equal(hashlib.sha256(read_all(s)).hexdigest(),
			      hashlib.sha256(BLOCK * (SIZE // len(BLOCK))).hexdigest())
			sender.join()


@case
def an_end_is_passed_on_in_one_direction_and_the_answer_comes_after_it():
	for s in (line(K, "127.0.0.1:%d" % LATE, b"12345"), http_connect(K, "127.0.0.1:%d" % LATE, b"12345")[2],
		  socks(K, "127.0.0.1", LATE, b"12345")[1]):
		equal(echoes(s, b"678"), b"8 bytes")


@case
def a_target_that_speaks_first_and_ends_first_is_heard():
	for s in (line(K, "127.0.0.1:%d" % EARLY), http_connect(K, "127.0.0.1:%d" % EARLY)[2],
		  socks(K, "127.0.0.1", EARLY)[1]):
		with s:
			equal(read_all(s), b"220 ready\r\n")
			before = len(heard)
			s.sendall(b"still here")
			s.shutdown(socket.SHUT_WR)
			until(lambda: heard[before:] == [b"still here"], "what came after the end is heard")


def keeps_alive(local, remote):
	"""Whether a connection between these ports of IPv4 loopback has its keep-alive timer running."""
	with open("/proc/net/tcp") as f:
		for words in map(str.split, f.readlines()[1:]):
			ports = [int(w.rsplit(":", 1)[1], 16) for w in words[1:3]]
			if ports[1] == remote and local in (None, ports[0]) and words[3] == "01" and words[5].startswith("02:"):
				return True
	return False


@case
def tcp_keep_alive_is_on_at_both_ends():
	for where, target in (K, "127.0.0.1:%d" % ECHO), (TCP, "near.test:1"):
		with line(where, target, b"x") as s:
			equal(read_exactly(s, 1), b"x")
			until(lambda: keeps_alive(None, ECHO), "the target's side of %s" % target)
			if where == TCP:
				until(lambda: keeps_alive(TCP, s.getsockname()[1]), "the client's side")
		until(lambda: not keeps_alive(None, ECHO), "closed")


@case
def who_is_not_vouched_for_matches_only_any():
	for where in STRANGER, TCP:
		equal(outcome(where, "127.0.0.1", ECHO)[:3], (b"", 403, NOT_ALLOWED), where)
		equal(outcome(where, "tee-t.test", 443)[:3], (b"", 403, NOT_ALLOWED), where)
		equal(echoes(line(where, "127.0.0.1:%d" % LATE)), b"4 bytes", where)


@case
def no_rule_reject_and_drop():
	equal(outcome(K, "elsewhere.test", 443)[:3], (b"", 403, NOT_ALLOWED))
	said = outcome(K, "no.test", 1)
	equal(said[:3], (b"", 403, NOT_ALLOWED))
	true(re.fullmatch(r"\S+\.conf:\d+: reject", said[3]), said)
	for data in b"drop.test:80\n", connect_head("drop.test:80"), b"\x05\x01\x00" + socks_request("drop.test", 80):
		with connect_to(K) as s:
			s.sendall(data)
			true(read_all(s) in (b"", b"\x05\x00"), "nothing is said")
	proxy.wait_log(r"name=no\.test:1 rule=\S+:\d+ .*reason=rejected", 2)
	proxy.wait_log(r"name=elsewhere\.test:443 .*reason=no_route", 3)
	proxy.wait_log(r"name=drop\.test:80 .*reason=dropped", 3)


@case
def nobody_listens_there():
	said = outcome(K, "127.0.0.1", CLOSED)
	equal(said[:3], (b"", 502, REFUSED))
	equal(said[3], "127.0.0.1:%d: nobody listens there" % CLOSED)
	equal(outcome(K, "gone.test", 443)[:2], (b"", 502))
	proxy.wait_log(r"target=127\.0\.0\.1:%d .*reason=connect_failed protocol=line error=\"nobody listens there\"" % CLOSED)


BROKEN_LINES = [b"\n", b"localhost\n", b"127.0.0.1\n", b":80\n", b"a:0\n", b"a:65536\n", b"a:x\n", b"a:-1\n", b"a: 80\n",
		b"::1:80\n", b"[::1]\n", b"[::1:80\n", b"a..b:80\n", b"a b:80\n", b"a:80 x\n", b"user@a:80\n",
		b"a:80:90\n", b"\0:80\n", b"a\xff:80\n", b"[fe80::1%eth0]:80\n", b"a" * 256 + b":80\n", b"x" * 5000]


@case
def a_line_that_is_no_target_is_closed_without_a_byte():
	for data in BROKEN_LINES:
		# Two words are a request line to `auto`.
		for where in [K, "unix:%s/line.sock" % DIR][re.search(rb"[a-z0-9] [a-z]", data) is not None:]:
			with connect_to(where) as s:
				s.sendall(data)
				equal(read_all(s), b"", repr(data))
	proxy.wait_log(r"reason=target_malformed protocol=line error=\"the target line is not host:port\"", len(BROKEN_LINES))


@case
def http_that_is_no_proxy_request_is_400():
	for text in ("CONNECT 127.0.0.1 HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT a:0 HTTP/1.1\r\n\r\n",
		     "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		     "GET https://x/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
		     "CONNECT a:1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "GET http://a/ HTTP/1.1\n\n",
		     "GET http://a:b@c/ HTTP/1.1\r\nHost: c\r\n\r\n", "GET http:///x HTTP/1.1\r\nHost: c\r\n\r\n"):
		for where in K, "unix:%s/con.sock" % DIR:
			with connect_to(where) as s:
				s.sendall(text.encode())
				true(read_all(s).startswith(b"HTTP/1.1 400 "), text)


@case
def socks5_failures_have_their_codes():
	def said(data):
		with connect_to(K) as s:
			s.sendall(data)
			s.shutdown(socket.SHUT_WR)
			return read_all(s)
	failure = lambda code: b"\x05\x00\x05" + bytes([code]) + b"\x00\x01\0\0\0\0\0\0"
	equal(said(b"\x05\x01\x02"), b"\x05\xff", "only with a password")
	equal(said(b"\x05\x00"), b"\x05\xff", "no method")
	for command in 2, 3, 9:
		equal(said(b"\x05\x01\x00" + socks_request("127.0.0.1", ECHO, command)), failure(COMMAND))
	equal(said(b"\x05\x01\x00\x05\x01\x00\x02abcdef"), failure(ADDRESS_TYPE))
	equal(said(b"\x05\x01\x00" + socks_request("127.0.0.1", 0)), failure(GENERAL))
	equal(said(b"\x05\x01\x00" + socks_request("a..b", 80)), failure(GENERAL))
	equal(said(b"\x05\x01\x00\x04\x01\x00\x01\0\0\0\0\0\0"), failure(GENERAL))


@case
def a_protocol_that_is_asked_for_alone_knows_no_other():
	target = "127.0.0.1:%d" % ECHO
	equal(echoes(line("unix:%s/line.sock" % DIR, target)), b"ping")
	equal(http_connect("unix:%s/con.sock" % DIR, target)[0], 200)
	equal(socks("unix:%s/sox.sock" % DIR, "127.0.0.1", ECHO)[0], 0)
	for name, data in (("line", connect_head(target)), ("line", b"\x05\x01\x00\n"), ("con", target.encode() + b"\n"),
			   ("sox", target.encode() + b"\n"), ("sox", connect_head(target))):
		with connect_to("unix:%s/%s.sock" % (DIR, name)) as s:
			s.sendall(data)
			s.shutdown(socket.SHUT_WR)
			equal(read_all(s)[9:12] in (b"", b"400"), True, "%s with %r" % (name, data))


@case
def who_leaves_before_its_request_is_whole_is_no_failure_of_ours():
	for data in b"", b"127.0.0.1:80", b"\x05", b"\x05\x01\x00\x05\x01", b"CONNECT a":
		with connect_to(K) as s:
			s.sendall(data)
			s.shutdown(socket.SHUT_WR)
			read_all(s)
	proxy.wait_log(r"reason=no_hello", 5)


@case
def nothing_ends_a_silent_tunnel():
	# All that it could be mistaken for is short, and a frontend with an idle timeout says when it would have ended.
	silent = Teeproxy('''
		defaults egress { timeout hello 200ms; timeout connect 200ms; timeout stalled 200ms; timeout half-closed 200ms }
		frontend egress         { listen unix:$DIR/silent.sock; from any to 127.0.0.0/8:$ECHO -> direct }
		frontend ends mode egress { listen unix:$DIR/ends.sock; timeout idle 600ms; from any to 127.0.0.0/8:$ECHO -> direct }
	''', env={"ECHO": str(ECHO)})
	target = "127.0.0.1:%d" % ECHO
	with contextlib.ExitStack() as held:
		where = "unix:%s/silent.sock" % DIR
		kept = [held.enter_context(s) for s in (line(where, target), http_connect(where, target)[2], socks(where, "127.0.0.1", ECHO)[1])]
		for s in kept:
			s.sendall(b"one")
			equal(read_exactly(s, 3), b"one")
		with line("unix:%s/ends.sock" % DIR, target) as s:
			equal(read_all(s), b"")
		silent.wait_log("frontend=ends .*reason=idle_timeout")
		for s in kept:
			s.sendall(b"two")
			equal(read_exactly(s, 3), b"two")
	silent.stop()
	dump = teeproxy("--dump", "-f", silent.file, env={"ECHO": str(ECHO)}).stdout
	equal(re.findall(r"timeout idle +(\w+)", dump), ["off", "600ms"], dump)


@case
def hello_and_lifetime_end_what_they_bound_and_silence_does_not():
	where = "unix:%s/brief.sock" % DIR
	for data, said in ((b"", b""), (b"127.0.0.1", b""), (b"\x05\x01\x00", b"\x05\x00")):
		with connect_to(where) as s:
			s.sendall(data)
			equal(read_all(s), said)
	with connect_to(where) as s:
		s.sendall(b"CONNECT a:443 HT")
		true(read_all(s).startswith(b"HTTP/1.1 408 "), "a late head is told so")
	proxy.wait_log(r"frontend=brief .*reason=hello_timeout", 4)
	with line(where, "127.0.0.1:%d" % ECHO, b"x") as s:
		equal(read_all(s), b"x")
	proxy.wait_log(r"frontend=brief .*reason=lifetime protocol=line")


run()

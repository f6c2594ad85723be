#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Limits of enclaves in mode egress: who is over one is told so in its protocol, it alone, and it is counted."""
import os
import select
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *
from egress_clients import *

SIZE = 256 << 10

def pour(s, peer):
	s.sendall(bytes(SIZE))


def swallow(s, peer):
	s.sendall(b"%d" % len(read_all(s)))


def web_answer(start, headers, body):
	return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + bytes(SIZE)


tcp = {"address": "tcp:127.0.0.1:0"}
echo, source, sink, web = (Server(h, **tcp) for h in (echo_handler, pour, swallow, http_handler("web", web_answer)))
ECHO, SOURCE, SINK, WEB = (int(s.address.rsplit(":", 1)[1]) for s in (echo, source, sink, web))
proxy = Teeproxy('''
	global workers 2
	enclave few   { cid 16; max-connections 3 }
	enclave slow  { cid 17; rate 2/h burst 4 }
	enclave thin  { cid 18; bandwidth 64k/s }
	enclave free  cid 19
	frontend egress {
		listen unix:$DIR/few.sock as few
		listen unix:$DIR/slow.sock as slow
		listen unix:$DIR/thin.sock as thin
		listen unix:$DIR/free.sock as free
		timeout hello 60s
		from any to { 127.0.0.0/8:$ECHO 127.0.0.0/8:$SOURCE 127.0.0.0/8:$SINK 127.0.0.0/8:$WEB } -> direct
	}
	frontend con mode egress { listen unix:$DIR/con.sock as few; protocol connect; timeout hello 60s; from any to 127.0.0.0/8:$ECHO -> direct }
''', env={"ECHO": str(ECHO), "SOURCE": str(SOURCE), "SINK": str(SINK), "WEB": str(WEB)})
FEW, SLOW, THIN, FREE, CON = ("unix:%s/%s.sock" % (DIR, n) for n in ("few", "slow", "thin", "free", "con"))
TARGET = "127.0.0.1:%d" % ECHO


def works(where):
	with contextlib.suppress(ConnectionError), line(where, TARGET, b"x") as s:
		s.shutdown(socket.SHUT_WR)
		return read_all(s) == b"x"
	return False


def hold():
	"""A connection that has its place, or None."""
	s = line(FEW, TARGET, b"x")
	with contextlib.suppress(ConnectionError):	# closed before it was read
		if s.recv(1):
			return s
	s.close()


def fill():
	"""All places of the enclave, once those before are gone."""
	return [until(hold, "a place is free") for _ in range(3)]


@case
def an_enclave_has_its_number_of_connections_and_the_next_is_refused():
	held = fill()
	said = outcome(FEW, "127.0.0.1", ECHO)
	equal(said[:3], (b"", 503, GENERAL))
	equal(said[3], "the enclave has max-connections")
	true(works(FREE), "another enclave goes on")
	proxy.wait_log(r"enclave=few name=\S+ .*reason=enclave_connections protocol=line refused=\d")
	proxy.wait_log(r"enclave=few .*status=503 .*reason=enclave_connections protocol=http refused=\d")
	proxy.wait_log(r"enclave=few .*reason=enclave_connections protocol=socks5 refused=\d")
	held.pop().close()
	until(lambda: works(FEW), "a place is free again")
	for s in held:
		s.close()


@case
def who_is_over_a_limit_and_says_nothing_is_not_kept():
	held = fill()
	for where in FEW, CON:
		with connect_to(where) as s:
			equal(read_all(s), b"", "closed long before timeout hello")
	proxy.wait_log(r"total_ms=\d+ bytes_up=0 bytes_down=0 reason=enclave_connections (protocol=http )?refused=\d+$", 2)
	for s in held:
		s.close()
	until(lambda: works(FEW), "and are given back")


@case
def who_is_over_a_limit_takes_nobody_elses_place():
	tight = Teeproxy('''
		global { workers 2; max-connections 60 }
		enclave few  { cid 16; max-connections 3 }
		enclave free cid 19
		frontend egress {
			listen unix:$DIR/tight-few.sock as few
			listen unix:$DIR/tight-free.sock as free
			timeout hello 60s
			from any to 127.0.0.0/8:$ECHO -> direct
		}
	''', env={"ECHO": str(ECHO)})
	where = "unix:%s/tight-few.sock" % DIR
	with contextlib.ExitStack() as held:
		# Those over the limit have a second; they come faster.
		for _ in range(100):
			s = held.enter_context(connect_to(where))
		tight.wait_log(r"reason=(enclave_connections|proxy_full)")
		equal([works("unix:%s/tight-free.sock" % DIR) for _ in range(5)], [True] * 5, "another enclave goes on")
		equal(read_all(s), b"", "one too many is closed at once")
	true("reason=proxy_full" not in tight.log(), "the process has room")
	tight.stop()


@case
def connections_faster_than_the_rate_are_refused():
	equal([works(SLOW) for _ in range(4)], [True] * 4, "the burst")
	said = outcome(SLOW, "127.0.0.1", ECHO)
	equal(said[:3], (b"", 503, GENERAL))
	proxy.wait_log(r"enclave=slow .*reason=enclave_rate protocol=line refused=1")
	true(works(FREE), "another enclave goes on")


def seconds(function):
	begin = time.monotonic()
	function()
	return time.monotonic() - begin


@case
def bytes_pass_no_faster_than_the_bandwidth_in_either_direction():
	# 256 KiB less a burst of 64 KiB take 3 s; nothing is said of how much longer.
	def down():
		with line(THIN, "127.0.0.1:%d" % SOURCE) as s:
			equal(len(read_all(s)), SIZE)
	def up():
		with line(THIN, "127.0.0.1:%d" % SINK) as s:
			s.sendall(bytes(SIZE))
			s.shutdown(socket.SHUT_WR)
			equal(read_all(s), b"%d" % SIZE)
	def http():
		with connect_to(THIN) as s:
			s.sendall(b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\n\r\n" % WEB)
			equal(len(response(s).body), SIZE)
	for what in down, up, http:
		true(seconds(what) > 2, "%s is held back" % what.__name__)


@case
def connections_of_one_enclave_share_its_bandwidth():
	with contextlib.ExitStack() as stack:
		each = {stack.enter_context(line(THIN, "127.0.0.1:%d" % SOURCE)): 0 for _ in range(4)}
		while sum(each.values()) < SIZE:	# a quarter of what they ask for
			ready = select.select(list(each), [], [], WAIT)[0]
			true(ready, "something comes")
			for s in ready:
				each[s] += len(s.recv(4096))
		true(min(each.values()) > SIZE / 32, "each has its share: %s" % sorted(each.values()))


run()

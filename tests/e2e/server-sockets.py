#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sockets to servers on loopback are used again: by whom, and that nobody can tell."""
import os, sys
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *


ASK = b"<ask %s>"
heard = {}


def served(name):
	"""A server that says name and what it is asked for: "N" or "late N", N bytes, and ends; or "word", and resets."""
	def handler(s, peer):
		got = b""
		while not (asked := re.search(ASK % rb"([a-z0-9 ]+)", got)):
			more = s.recv(1 << 16)
			if not more:
				return
			got += more
		said = asked[1].decode()
		if peer:	# on TCP
			heard.setdefault(name, []).append((peer[1], said))
		if said.startswith("late "):	# not before the client's end
			equal(read_all(s), b"")
			said = said[5:]
		if said == "stay":
			equal(read_all(s), b"")
			return
		if said == "reset":
			s.sendall(b"part")
			s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
			s.close()
			return
		s.sendall(name.encode() + b" " + said.encode() + b"." * int(said))
	return handler


one = Server(served("one"), "tcp:127.0.0.1:0")
two = Server(served("two"), "tcp:127.0.0.2:0")
six = Server(served("six"), "tcp:[::1]:0")
path = Server(served("path"))
proxy = Teeproxy('''
	global workers 1
	defaults all timeout half-closed 20s
	frontend tls mode https { listen 127.0.0.1:$TLS
		sni one.test -> $ONE
		sni two.test -> $TWO
		sni six.test -> $SIX
		sni path.test -> $PATH_
		sni none.test -> 127.0.0.1:$NOBODY
	}
''', ports=["TLS", "NOBODY"], env={"ONE": one.address, "TWO": two.address, "SIX": six.address, "PATH_": path.address})
quiet = proxy.sockets()


def begin(name, what):
	s = connect_to(address_of(proxy.port("TLS")))
	s.sendall(client_hello(name + ".test") + ASK % what.encode())
	return s


def ask(name, n, late=False):
	with begin(name, "late %d" % n if late else str(n)) as s:
		if late:
			s.shutdown(socket.SHUT_WR)
		got = read_all(s)
	equal(got[:20], (name.encode() + b" " + str(n).encode() + b"." * n)[:20])
	equal(len(got), len(name) + 1 + len(str(n)) + n)


def inode(port):
	"""Of the proxy's socket with this local port, while it is connected."""
	for table in ("tcp", "tcp6"):
		with open("/proc/net/" + table) as f:
			for line in f.read().splitlines()[1:]:
				words = line.split()
				if int(words[1].rsplit(":", 1)[1], 16) == port and words[3] == "01":
					return words[9]
	return None


def staying(name):
	"""A tunnel that stays, and the inode of the proxy's socket to its server."""
	before = len(heard.get(name, []))
	s = begin(name, "stay")
	port, said = until(lambda: heard.get(name, [])[before:], "the server has heard it")[0]
	return s, until(lambda: inode(port), "the connection is in /proc/net/tcp")


def used_again(first, then, between=lambda: None):
	"""How many of twenty tunnels have the socket of the one before, whose client ended first."""
	n, last = 0, None
	for i in range(20):
		s, now = staying(then if i % 2 else first)
		n += now == last
		last = now
		done = len(re.findall("reason=done", proxy.log()))
		s.shutdown(socket.SHUT_WR)
		equal(read_all(s), b"")
		s.close()
		proxy.wait_log("reason=done", done + 1)
		between()
	return n


@case
def the_socket_of_an_exchange_that_ended_is_the_next_ones():
	true(used_again("one", "one") >= 5, "no socket is used again")


@case
def so_it_is_where_the_server_ends_first():
	def between():
		done = len(re.findall("reason=done", proxy.log()))
		ask("one", 10)
		proxy.wait_log("reason=done", done + 1)
	true(used_again("one", "one", between) >= 5, "no socket is used again")


@case
def another_server_has_it_as_well():
	true(used_again("one", "two") >= 5, "no socket is used again")


@case
def another_family_and_a_unix_socket_have_their_own():
	equal(used_again("one", "six"), 0)
	for name in ("path", "one", "six") * 10:
		ask(name, 100)


@case
def a_server_sees_another_port_each_time():
	heard.clear()
	for _ in range(50):
		ask("one", 10)
	ports = [port for port, _ in heard["one"]]
	equal(len(set(ports)), 50)


@case
def each_has_its_own_bytes_whoever_ends_first():
	troubles = []
	def some(seed):
		r = random.Random(seed)
		try:
			for _ in range(60):
				name = r.choice(("one", "two", "six", "one", "two", "path"))
				ask(name, r.choice((0, 1, 512, 5000, 65000, 200000)), late=r.random() < 0.4)
		except BaseException as e:
			troubles.append("%d: %r" % (seed, e))
	threads = [threading.Thread(target=some, args=(n,)) for n in range(16)]
	for t in threads:
		t.start()
	for t in threads:
		t.join()
	equal(troubles, [])


@case
def a_server_that_refuses_or_resets_costs_nobody_else_anything():
	for _ in range(10):
		ask("one", 100)
		with begin("none", "1") as s:
			try:
				equal(read_all(s), b"")
			except ConnectionResetError:
				pass
		ask("one", 100)
		with begin("one", "reset") as s:
			try:
				true(b"part".startswith(read_all(s)), "what the server said before its reset")
			except ConnectionResetError:
				pass
	ask("two", 100)
	equal(len(re.findall("reason=connect_failed", proxy.log())), 10)


@case
def after_a_second_none_is_left():
	for _ in range(5):
		ask("one", 10)
	until(lambda: proxy.sockets() <= quiet, "the sockets are closed")


run()

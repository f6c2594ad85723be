#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What ends a connection of mode egress while its target is not reached yet: clients that hang up, lifetime, a reload, the
end of the process; in a look-up, in a connect, and while a proxy further up says nothing.  And what does not end it."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *
from egress_clients import *
from dns_server import DnsServer


class Deaf:
	"""A listener with a full queue: who connects hangs until accept() makes room."""
	def __init__(self):
		self.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
		self.port = self.listener.getsockname()[1]
		self.fillers = []
		self.fill()

	def fill(self):
		while True:
			s = socket.socket()
			s.settimeout(1)
			try:
				s.connect(("127.0.0.1", self.port))
			except TimeoutError:
				s.close()
				return
			self.fillers.append(s)

	def serve(self):
		"""The connections of others, one after the other."""
		ours = {s.getsockname() for s in self.fillers}
		self.listener.settimeout(WAIT)
		while True:
			s, peer = self.listener.accept()
			if peer not in ours:
				return s
			s.close()


def mute(s, peer):
	read_head(s.makefile("rb"))
	s.recv(1)	# and says nothing


up = Server(mute, "tcp:127.0.0.1:0")
dns = DnsServer({"*.never.test": "silent"})
deaf, opens, halves, reloaded = Deaf(), Deaf(), Deaf(), Deaf()
CONFIG = '''
	global grace 60s
	enclave tee-k cid 16
	resolver server $DNS
	defaults egress { timeout connect 10m; timeout hello 60s }
	frontend egress {
		listen unix:$DIR/k.sock as tee-k
		listen 127.0.0.1:$TCP
		from any to *.via:443   -> via 127.0.0.1:$UP
		from any to 127.0.0.0/8:* -> direct
		from any to named.test:* -> 127.0.0.1:$DEAF
		from any to *:443       -> direct
	}
	frontend brief mode egress {
		listen unix:$DIR/brief.sock
		timeout lifetime 300ms
		from any to *.via:443   -> via 127.0.0.1:$UP
		from any to 127.0.0.0/8:* -> direct
		from any to *:443       -> direct
	}
'''
proxy = Teeproxy(CONFIG, ports=["TCP"], env={"DNS": dns.address, "DEAF": str(deaf.port), "UP": up.address.rsplit(":", 1)[1]})
K, BRIEF, TCP = "unix:%s/k.sock" % DIR, "unix:%s/brief.sock" % DIR, proxy.port("TCP")
DIALLED = "127.0.0.1:%d" % deaf.port


def asks(where, target, payload=b""):
	"""A connection in each protocol, after its request."""
	for hello in (target.encode() + b"\n", connect_head(target), b"\x05\x01\x00" + socks_request(*target.rsplit(":", 1)[:1], int(target.rsplit(":", 1)[1]))):
		s = connect_to(address_of(where))
		s.sendall(hello + payload)
		yield s


quiet = proxy.sockets()


def is_under_way(n):
	until(lambda: proxy.sockets() >= quiet + n, "%d sockets are open" % n)


@case
def who_hangs_up_while_it_is_dialled_for_costs_nothing_any_more():
	for target, name in ((DIALLED, DIALLED), ("named.test:9", "named.test:9"), ("mute.via:443", "mute.via:443")):
		held = list(asks(K, target))
		is_under_way(2 * len(held))
		for s in held:
			s.close()
		proxy.wait_log(r"name=%s .*reason=client_left" % re.escape(name), 3)
		until(lambda: proxy.sockets() <= quiet, "no socket stays")


@case
def a_reset_is_a_hang_up_too():
	before = len(re.findall("reason=client_left", proxy.log()))
	for s in asks(TCP, DIALLED):
		is_under_way(2)
		s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
		s.close()
		until(lambda: proxy.sockets() <= quiet, "no socket stays")
	proxy.wait_log("reason=client_left", before + 3)


@case
def who_hangs_up_before_it_is_read_is_not_dialled_for():
	# The proxy is stopped, so that it finds all of it at once.
	before = len(re.findall(r"name=%s .*reason=client_left" % re.escape(DIALLED), proxy.log()))
	engine, = proxy.engines()
	os.kill(engine, signal.SIGSTOP)
	for s in asks(K, DIALLED):
		s.close()
	os.kill(engine, signal.SIGCONT)
	proxy.wait_log(r"name=%s .*reason=client_left" % re.escape(DIALLED), before + 2)
	until(lambda: proxy.sockets() <= quiet, "no socket stays")


@case
def a_look_up_keeps_its_place_to_its_end_and_then_nobody_is_dialled_for():
	held = list(asks(K, "a.never.test:443"))
	is_under_way(3)
	until(lambda: dns.count("a.never.test"), "it is looked up")
	for s in held:
		s.close()
	proxy.wait_log(r"name=a\.never\.test:443 .*reason=client_left", 3)
	until(lambda: proxy.sockets() <= quiet + 2, "no socket stays, but for the resolver's")


@case
def what_was_sent_before_a_hang_up_is_delivered():
	next(asks(K, "127.0.0.1:%d" % opens.port, b"and goodbye")).close()
	with opens.serve() as got:
		equal(read_all(got), b"and goodbye", "the line asks for no answer")


@case
def an_end_in_one_direction_is_no_hang_up():
	for s in asks(K, "127.0.0.1:%d" % halves.port):
		s.shutdown(socket.SHUT_WR)
		with s, halves.serve() as got:
			equal(read_all(got), b"")
			got.sendall(b"answer")
			got.shutdown(socket.SHUT_WR)
			true(read_all(s).endswith(b"answer"), "the answer comes")
		halves.fill()


@case
def lifetime_ends_it_in_whichever_state():
	for target in DIALLED, "mute.via:443", "b.never.test:443":
		for s in asks(BRIEF, target):
			with s:
				equal(read_all(s)[2:], b"", target)
		proxy.wait_log(r"frontend=brief .*name=%s .*reason=lifetime" % re.escape(target), 3)


@case
def a_reload_lets_a_connect_under_way_go_on():
	with next(asks(K, "127.0.0.1:%d" % reloaded.port, b"still ")) as s:
		is_under_way(2)
		proxy.reload(CONFIG)
		s.sendall(b"here")
		s.shutdown(socket.SHUT_WR)
		with reloaded.serve() as got:
			equal(read_all(got), b"still here")


@case
def the_end_of_the_process_ends_all_that_is_under_way():
	for target in DIALLED, "named.test:9", "mute.via:443", "c.never.test:443":
		held.extend(asks(K, target))
	is_under_way(len(held))


held = []
run()

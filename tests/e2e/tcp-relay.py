#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mode tcp: whole streams, ends passed on one way at a time, answers that outlive an upload."""
import os, sys
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

SIZE = 64 << 20
BLOCK = os.urandom(1 << 20)


def greet(s, peer):
	s.sendall(b"220 ready\r\n")
	s.sendall(s.recv(100).upper())


def count(s, peer):
	"""Reads to the end and only then says how much and what it was."""
	digest, n = hashlib.sha256(), 0
	while True:
		some = s.recv(1 << 16)
		if not some:
			break
		digest.update(some)
		n += len(some)
	s.sendall(b"%d %s" % (n, digest.hexdigest().encode()))


def pour(s, peer):
	"""Ends its own direction at once after the bytes, then waits for the client's word."""
	for _ in range(SIZE // len(BLOCK)):
		s.sendall(BLOCK)
	s.shutdown(socket.SHUT_WR)
	poured.append(read_all(s))


def refuse(s, peer):
	"""Answers an upload after its first bytes, and reads no more."""
	s.recv(1000)
	s.sendall(b"413 too much")


def chatter(s, peer):
	"""Talks now and then, and never reads."""
	while True:
		s.sendall(b"tick ")
		time.sleep(0.05)


poured = []
over_tcp = {"address": "tcp:127.0.0.1:0"}
greeter, refuser = Server(greet), Server(refuse)
counter, source = Server(count, **over_tcp), Server(pour, **over_tcp)
chatterer = Server(chatter, name="chatterer")
cutter = Server(None, name="cutter")
counter_unix = Server(count, name="counter")
gone = "unix:%s/nobody.sock" % DIR

proxy = Teeproxy('''
	global workers 2
	defaults tcp timeout half-closed 20s
	backend both {
		server $GONE
		server $GREETER
		connect-retries 1
	}
	frontend greet mode tcp { listen 127.0.0.1:$GREET; default -> $GREETER }
	frontend count mode tcp { listen 127.0.0.1:$COUNT; default -> $COUNTER }
	frontend countu mode tcp { listen 127.0.0.1:$COUNT_UNIX; default -> $COUNTER_UNIX }
	frontend pour mode tcp { listen 127.0.0.1:$POUR; default -> $SOURCE }
	frontend refuse mode tcp { listen 127.0.0.1:$REFUSE; default -> $REFUSER }
	frontend gone mode tcp { listen 127.0.0.1:$NOBODY; default -> $GONE }
	frontend both mode tcp { listen 127.0.0.1:$BOTH; default -> both }
	frontend chat mode tcp { listen 127.0.0.1:$CHAT; timeout stalled 500ms; default -> $CHATTERER }
	frontend cut mode tcp { listen 127.0.0.1:$CUT; default -> $CUTTER }
	frontend local mode tcp { listen unix:$DIR/local.sock; default -> $GREETER }
''', ports=["GREET", "COUNT", "COUNT_UNIX", "POUR", "REFUSE", "NOBODY", "BOTH", "CHAT", "CUT"],
	env={"GREETER": greeter.address, "COUNTER": counter.address, "SOURCE": source.address,
	     "REFUSER": refuser.address, "GONE": gone, "COUNTER_UNIX": counter_unix.address,
	     "CHATTERER": chatterer.address, "CUTTER": cutter.address})


def dial(name):
	s = socket.create_connection(("127.0.0.1", proxy.port(name)), WAIT)
	s.settimeout(WAIT)
	return s


def upload(name):
	with dial(name) as s:
		for _ in range(SIZE // len(BLOCK)):
			s.sendall(BLOCK)
		s.shutdown(socket.SHUT_WR)
		equal(read_all(s), b"%d %s" % (SIZE, hashlib.sha256(BLOCK * (SIZE >> 20)).hexdigest().encode()))


@case
def a_server_that_speaks_first_is_heard():
	with dial("GREET") as s:
		equal(s.recv(100), b"220 ready\r\n")
		s.sendall(b"hello")
		equal(read_all(s), b"HELLO")


@case
def bytes_arrive_however_they_were_cut_in_both_directions():
	data = BLOCK[:4000]
	for pieces in cuts(data):
		for name in "COUNT", "COUNT_UNIX":
			with dial(name) as s:
				send_pieces(s, pieces)
				s.shutdown(socket.SHUT_WR)
				equal(read_all(s), b"%d %s" % (len(data), hashlib.sha256(data).hexdigest().encode()))
		cutter.handler = lambda s, peer: send_pieces(s, pieces)
		with dial("CUT") as s:
			equal(read_all(s), data)


@case
def an_upload_arrives_whole_and_its_answer_after_the_clients_end():
	upload("COUNT")


@case
def an_upload_from_tcp_to_a_unix_socket_arrives_whole():
	upload("COUNT_UNIX")


@case
def a_download_arrives_whole_and_the_client_may_answer_after_its_end():
	with dial("POUR") as s:
		equal(hashlib.sha256(read_all(s)).digest(), hashlib.sha256(BLOCK * (SIZE >> 20)).digest())
		s.sendall(b"thanks")
	until(lambda: poured, "the client's last word")
	equal(poured[0], b"thanks")


@case
def an_answer_in_the_middle_of_an_upload_is_not_lost():
	for _ in range(20):
		with dial("REFUSE") as s:
			with contextlib.suppress(OSError):
				for _ in range(8):
					s.sendall(BLOCK)
			equal(s.recv(100), b"413 too much")


@case
def a_failed_connect_is_tried_again_at_another_server():
	for _ in range(6):
		with dial("BOTH") as s:
			equal(s.recv(100), b"220 ready\r\n")


@case
def a_unix_listener_shares_its_connections_out():
	for _ in range(6):
		with connect_to("unix:%s/local.sock" % DIR) as s:
			equal(s.recv(100), b"220 ready\r\n")


@case
def a_target_that_is_not_there_is_logged_with_its_reason():
	with dial("NOBODY") as s:
		equal(s.recv(1), b"")
	proxy.wait_log("frontend=gone .*reason=connect_failed")


@case
def a_server_that_talks_but_takes_nothing_is_given_up():
	with dial("CHAT") as s:
		reader = threading.Thread(target=read_all, args=(s,), daemon=True)
		reader.start()
		with contextlib.suppress(OSError):
			for _ in range(64):
				s.sendall(BLOCK)
		proxy.wait_log("frontend=chat .*reason=stalled_timeout")


def descriptors():
	return len(os.listdir("/proc/%d/fd" % proxy.engines()[0]))


@case
def no_descriptor_stays_when_all_clients_have_gone():
	with dial("GREET") as s:
		equal(s.recv(100), b"220 ready\r\n")
		true(descriptors() > quiet, "a connection has descriptors")
	until(lambda: descriptors() <= quiet, "the connections' descriptors go")


quiet = descriptors()
run()

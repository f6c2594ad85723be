#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# 50 reloads under a closed loop of clients of each mode, over TCP and a Unix socket: no
# connection is refused, reset or left unanswered, and no request on a kept connection.  Files with mistakes in them,
# and addresses that come and go, do not disturb it either.
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *


def echo(s, _peer):
	while True:
		data = s.recv(65536)
		if not data:
			return
		s.sendall(data)


server = Server(echo, name="echo")
tee_k = Enclave("tee-k", names=["k.test"], http=True)
EXTRA = "frontend more mode tcp { listen unix:$DIR/more.sock\n default -> $SERVER }\n"
CONFIG = """global { workers %d }
frontend echo mode tcp {
	listen 127.0.0.1:$ECHO
	listen unix:$DIR/echo.sock
	default -> $SERVER
}
frontend https { listen 127.0.0.1:$HTTPS; sni k.test -> $SECURE }
frontend http { listen 127.0.0.1:$HTTP; host k.test -> $PLAIN }
"""
proxy = Teeproxy(CONFIG % 2, ports=["ECHO", "HTTPS", "HTTP"],
		 env={"SERVER": server.address, "SECURE": tee_k.address, "PLAIN": tee_k.http.address})


def address(which):
	return ["tcp:127.0.0.1:%d" % proxy.port("ECHO"), "unix:%s/echo.sock" % DIR][which]


def echo_once(n):
	with connect_to(address(n % 2)) as s:
		word = b"word %d" % n
		s.sendall(word)
		s.shutdown(socket.SHUT_WR)
		equal(read_all(s), word)
	return 1


def https_once(n):
	got = https_get(proxy.port("HTTPS"), "k.test", "/%d" % n, trust=tee_k.crt)
	equal((got.body["enclave"], got.body["request"]), ("tee-k", "GET /%d HTTP/1.1" % n))
	return 1


def http_until_told(n):
	"""Requests on one connection until an answer says that it ends; none is lost before that."""
	done = 0
	with connect_to(address_of(proxy.port("HTTP"))) as s:
		while done < 100:
			got = request(s, "k.test", "/%d/%d" % (n, done))
			equal(got.body["request"], "GET /%d/%d HTTP/1.1" % (n, done))
			done += 1
			if got.headers.get("connection") == "close":
				equal(s.recv(1), b"")
				break
	return done


class Client(threading.Thread):
	def __init__(self, number, once):
		super().__init__(daemon=True)
		self.number, self.once, self.served, self.failed, self.over = number, once, 0, [], False

	def run(self):
		while not self.over:
			try:
				self.served += self.once(self.number)
			except Exception as why:
				self.failed.append("%s: %r" % (self.once.__name__, why))
			self.number += 1


@case
def fifty_reloads_lose_and_refuse_nothing():
	clients = [Client(n, once) for once in (echo_once, https_once, http_until_told) for n in (0, 1)]
	for c in clients:
		c.start()
	for n in range(50):
		# More workers mean more sockets of one address, fewer mean some without a worker of their own.
		before = [c.served for c in clients]
		proxy.reload(CONFIG % (1 + n % 3) + (EXTRA if n % 2 else ""))
		until(lambda: all(c.served > b or c.failed for c, b in zip(clients, before)), "each client is served on")
	for c in clients:
		c.over = True
	for c in clients:
		c.join(WAIT)
	equal([c.failed for c in clients if c.failed], [])
	print("# served: %r" % [c.served for c in clients])


@case
def a_connection_that_is_open_outlives_a_reload():
	with connect_to(address(0)) as s:
		s.sendall(b"before")
		equal(s.recv(100), b"before")
		proxy.reload(CONFIG % 2)
		s.sendall(b"after")
		equal(s.recv(100), b"after")


@case
def a_faulty_file_changes_nothing_and_its_mistakes_are_logged():
	engines = proxy.engines()
	proxy.reload("frontend echo mode tcp { lisen 127.0.0.1:1 }\nbogus\n")
	proxy.wait_log(r"lisen")
	proxy.wait_log(r"bogus")
	equal(engines[-1] in proxy.engines(), True, "the engine is the one from before")
	with connect_to(address(0)) as s:
		s.sendall(b"x")
		equal(s.recv(1), b"x")


@case
def an_address_that_cannot_be_listened_on_changes_nothing():
	with socket.socket() as taken:
		taken.bind(("127.0.0.1", 0))
		taken.listen()
		proxy.reload(CONFIG % 2 + EXTRA.replace("unix:$DIR/more.sock",
							"127.0.0.1:%d" % taken.getsockname()[1]))
		proxy.wait_log(r"cannot listen on 127\.0\.0\.1")
	with connect_to(address(1)) as s:
		s.sendall(b"x")
		equal(s.recv(1), b"x")


@case
def an_address_that_has_gone_is_refused_and_its_socket_file_removed():
	proxy.reload(CONFIG % 2 + EXTRA)
	connect_to("unix:%s/more.sock" % DIR).close()
	proxy.reload(CONFIG % 2)
	true(not os.path.exists(DIR + "/more.sock"), "the socket file is gone")


run()

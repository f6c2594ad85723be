#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A backend is several servers that stand for one: which is chosen, what full ones do, and that its
own timeouts win over the frontend's."""
import collections
import os
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *


def named(name):
	"""Says its name, then echoes."""
	def handler(s, peer):
		s.sendall(name.encode())
		echo_handler(s, peer)
	return Server(handler, name=name)


one, two, three = named("one"), named("two"), named("three")
web = Server(http_handler("web"), name="web")

# Listens, and its queue of one is taken: whoever comes now gets no answer at all.
deaf, DEAF = listen_on("tcp:127.0.0.1:0", 0)
filling = []
for _ in range(3):
	filling.append(socket.socket())
	filling[-1].setblocking(False)
	filling[-1].connect_ex(("127.0.0.1", int(DEAF.rsplit(":", 1)[1])))

proxy = Teeproxy('''
	global workers 2
	backend weights { server $ONE weight 3; server $TWO }
	backend source { balance source; server $ONE; server $TWO; server $THREE }
	backend least { balance least-connections; server $ONE; server $TWO }
	backend narrow { server $ONE max-connections 2; server $TWO max-connections 1 }
	backend spare { server $ONE max-connections 1; server $TWO backup; server $THREE backup max-connections 1 }
	backend single { server $WEB_SERVER max-connections 1 }
	backend brief { server $ONE; timeout idle 300ms }
	backend deaf { server $DEAF; timeout connect 300ms; connect-retries 0 }
	frontend weights mode tcp { listen 127.0.0.1:$WEIGHTS; default -> weights }
	frontend source mode tcp { listen 127.0.0.1:$SOURCE; default -> backend source }
	frontend least mode tcp { listen unix:$DIR/least.sock; default -> least }
	frontend narrow mode tcp { listen 127.0.0.1:$NARROW; default -> narrow }
	frontend spare mode tcp { listen 127.0.0.1:$SPARE; default -> spare }
	frontend brief mode tcp { listen 127.0.0.1:$BRIEF; default -> brief }
	frontend deaf mode tcp { listen 127.0.0.1:$DEAF_PORT; timeout connect off; default -> deaf }
	frontend http { listen 127.0.0.1:$HTTP; host deaf.test -> deaf; default -> single }
''', ports=["WEIGHTS", "SOURCE", "NARROW", "SPARE", "BRIEF", "DEAF_PORT", "HTTP"],
	env={"ONE": one.address, "TWO": two.address, "THREE": three.address, "WEB_SERVER": web.address, "DEAF": DEAF})


def dial(name):
	return connect_to("tcp:127.0.0.1:%d" % proxy.port(name))


def who(s):
	return s.recv(100).decode()


def held(name, n):
	"""n connections, and how many of them each server has."""
	connections = [dial(name) for _ in range(n)]
	return connections, collections.Counter(who(s) for s in connections)


def let_go(connections):
	for s in connections:
		s.close()


@case
def weights_share_connections_out():
	connections, servers = held("WEIGHTS", 80)
	# Each worker goes round by itself, and may be anywhere in its round.
	true(abs(servers["one"] - 60) <= 4 and servers["one"] + servers["two"] == 80, servers)
	let_go(connections)


@case
def a_source_stays_with_its_server():
	connections, servers = held("SOURCE", 20)
	equal(len(servers), 1, "servers of one source")
	let_go(connections)


@case
def the_one_with_fewer_connections_is_chosen():
	connections = [connect_to("unix:%s/least.sock" % DIR) for _ in range(8)]
	servers = collections.Counter(who(s) for s in connections)
	equal(servers, {"one": 4, "two": 4})
	let_go(connections)


@case
def a_full_server_is_passed_over_and_a_full_backend_refuses():
	connections, servers = held("NARROW", 3)
	equal(servers, {"one": 2, "two": 1})
	with dial("NARROW") as s:
		equal(s.recv(1), b"")
	proxy.wait_log("frontend=narrow .*reason=backend_full")
	# Whose place gets free is known to every worker.
	connections.pop().close()

	def served():
		with dial("NARROW") as s:
			return who(s)
	until(served, "the free place is taken again")
	let_go(connections)


@case
def a_backup_takes_what_the_others_cannot():
	connections, servers = held("SPARE", 4)
	equal(servers["one"], 1)
	equal(servers["two"] + servers["three"], 3)
	true(servers["three"] <= 1, servers)
	let_go(connections)


@case
def http_says_503_and_goes_on():
	with dial("HTTP") as s:
		equal(request(s, "a.test").body["enclave"], "web")
		answer = http_get(proxy.port("HTTP"), "a.test")
		equal(answer.start, "HTTP/1.1 503 Service Unavailable")
		equal(request(s, "a.test").body["enclave"], "web", "who is served already")
	proxy.wait_log("frontend=http .*status=503 .*reason=backend_full")
	until(lambda: http_get(proxy.port("HTTP"), "a.test").start == "HTTP/1.1 200 OK", "the next one is served")


@case
def the_backends_own_idle_timeout_wins():
	with dial("BRIEF") as s:
		equal(read_all(s), b"one")
	proxy.wait_log("frontend=brief .*reason=idle_timeout")


@case
def the_backends_own_connect_timeout_wins():
	with dial("DEAF_PORT") as s:
		equal(read_all(s), b"")
	proxy.wait_log("frontend=deaf .*reason=connect_timeout")
	equal(http_get(proxy.port("HTTP"), "deaf.test").start, "HTTP/1.1 502 Bad Gateway")
	proxy.wait_log("frontend=http .*name=deaf.test .*reason=connect_timeout")


run()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Targets behind a VMM: "CONNECT PORT" on its Unix socket, as Firecracker and Cloud Hypervisor have it."""
import os, sys
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *


def read_request(s):
	"""The VMM reads up to the newline; what comes behind it is the guest's."""
	line = b""
	while not line.endswith(b"\n"):
		some = s.recv(1)
		if not some:
			raise EOFError
		line += some
	requests.append(line)
	return line


def answer(s):
	"""What the guest does on its ports."""
	s.sendall(s.recv(1 << 16).upper())
	while True:
		some = s.recv(1 << 16)
		if not some:
			return
		s.sendall(some.upper())


def vmm(s, peer):
	port = int(read_request(s).split()[1])
	if port == 1:		# nobody listens in the guest
		return
	if port == 2:		# the guest speaks first, in one write with the VMM's word
		s.sendall(b"OK 1073741824\n220 ready\nOK 5\n")
		answer(s)
	elif port == 3:		# the VMM's word in pieces, the last with the guest's first bytes
		for piece in (b"O", b"K 10", b"73741825", b"\n220", b" ready\nOK 5\n"):
			s.sendall(piece)
			time.sleep(0.02)
		answer(s)
	elif port == 4:		# no VMM at all
		s.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
	elif port == 5:		# and one that never comes to an end
		s.sendall(b"OK " + b"1" * 5000)
		s.recv(1)
	elif port == 6:		# silence
		s.recv(1)
	elif port == 9:		# a guest that takes its time, and speaks HTTP
		asked.set()
		go_on.wait(WAIT)
		s.sendall(b"OK 9\n")
		http_handler("guest")(s, peer)
	elif port == 8080:
		s.sendall(b"OK 3\n")
		http_handler("guest")(s, peer)
	else:
		s.sendall(b"OK 4\n")
		answer(s)


requests = []
asked, go_on = threading.Event(), threading.Event()
machine = Server(vmm, name="vmm")
VMM = machine.address[len("unix:"):]
secure_guest = Enclave("guest", names=["guest.test"])


def vmm_tls(s, peer):
	"""Passes the guest's port on to a real TLS server."""
	read_request(s)
	s.sendall(b"OK 7\n")
	with connect_to(secure_guest.address) as inner:
		def back():
			with contextlib.suppress(OSError):
				while True:
					some = inner.recv(1 << 16)
					if not some:
						break
					s.sendall(some)
				s.shutdown(socket.SHUT_WR)
		threading.Thread(target=back, daemon=True).start()
		while True:
			some = s.recv(1 << 16)
			if not some:
				break
			inner.sendall(some)


machine_tls = Server(vmm_tls, name="vmm-tls")
NUMBERS = [1, 2, 3, 4, 5, 6, 7]
proxy = Teeproxy("global workers 2\n" + "".join(
	"frontend p%d mode tcp { listen 127.0.0.1:$P%d; timeout connect %s; default -> uds-vsock:$VMM:%d }\n" %
	(n, n, "500ms" if n == 6 else "20s", n) for n in NUMBERS) + '''
	frontend big mode tcp { listen 127.0.0.1:$BIG; default -> uds-vsock:$VMM:4294967294 }
	frontend gone mode tcp { listen 127.0.0.1:$GONE; default -> uds-vsock:$DIR/gone.sock:7 }
	backend two {
		server uds-vsock:$VMM:1
		server uds-vsock:$VMM:7
		connect-retries 1
	}
	frontend two mode tcp { listen 127.0.0.1:$TWO; default -> two }
	frontend http { listen 127.0.0.1:$WEB; host guest.test -> uds-vsock:$VMM:8080; host slow.test -> uds-vsock:$VMM:9 }
	frontend https { listen 127.0.0.1:$TLS; sni guest.test -> uds-vsock:$VMM_TLS:8443 }
''', ports=["P%d" % n for n in NUMBERS] + ["BIG", "GONE", "TWO", "WEB", "TLS"],
	env={"VMM": VMM, "VMM_TLS": machine_tls.address[len("unix:"):]})


def dial(name):
	return connect_to(address_of(proxy.port(name)))


def speaks(name, first):
	"""Reads exactly the guest's first bytes, then has an answer to more."""
	with dial(name) as s:
		f = s.makefile("rb")
		equal(f.read(len(first)), first)
		s.sendall(b"hello")
		equal(f.read(5), b"HELLO")
		s.shutdown(socket.SHUT_WR)
		equal(f.read(), b"")


@case
def the_guests_port_is_asked_for_and_bytes_go_both_ways():
	speaks("P7", b"")
	equal(requests[-1], b"CONNECT 7\n")


@case
def a_client_that_speaks_at_once_is_heard_by_the_guest_not_by_the_vmm():
	for _ in range(20):
		with dial("P7") as s:
			s.sendall(b"hello\n")
			s.shutdown(socket.SHUT_WR)
			equal(read_all(s), b"HELLO\n")
	equal(set(requests), {b"CONNECT 7\n"})


@case
def a_port_of_32_bits_is_asked_for_whole():
	speaks("BIG", b"")
	equal(requests[-1], b"CONNECT 4294967294\n")


@case
def what_the_guest_says_behind_the_vmms_word_is_passed_on_whole():
	speaks("P2", b"220 ready\nOK 5\n")


@case
def the_vmms_word_may_come_in_pieces():
	speaks("P3", b"220 ready\nOK 5\n")


@case
def a_port_where_nobody_listens_is_connect_failed():
	with dial("P1") as s:
		equal(s.recv(1), b"")
	proxy.wait_log('frontend=p1 .*reason=connect_failed error="nobody listens on this port of the guest')


@case
def a_socket_that_is_not_there_is_connect_failed():
	with dial("GONE") as s:
		equal(s.recv(1), b"")
	proxy.wait_log("frontend=gone .*reason=connect_failed error=")


@case
def an_answer_that_is_none_is_connect_failed_and_not_passed_on():
	for name in ("p4", "p5"):
		with dial(name.upper()) as s:
			equal(s.recv(1), b"")
		proxy.wait_log('frontend=%s .*reason=connect_failed error="the VMM' % name)


@case
def silence_of_the_vmm_is_bounded_by_timeout_connect():
	with dial("P6") as s:
		equal(s.recv(1), b"")
	proxy.wait_log("frontend=p6 .*reason=connect_timeout")


@case
def a_refusal_is_tried_again_at_the_next_server():
	for _ in range(4):
		speaks("TWO", b"")


@case
def http_and_https_reach_guests_too():
	equal(http_get(proxy.port("WEB"), "guest.test").body["enclave"], "guest")
	true(b"CONNECT 8080\n" in requests, "the port of mode http")
	equal(https_get(proxy.port("TLS"), "guest.test", trust=secure_guest.crt).body["enclave"], "guest")


@case
def a_body_that_comes_while_the_guest_is_asked_for_is_not_forgotten():
	with dial("WEB") as s:
		# The head in two parts, so that the client is waited for before there is a guest to dial.
		equal(request(s, "guest.test").body["enclave"], "guest")
		s.sendall(b"POST / HTTP/1.1\r\nHost: slow.test\r\n")
		time.sleep(0.1)
		s.sendall(b"Content-Length: 5\r\n\r\n")
		true(asked.wait(WAIT), "the guest is asked for")
		s.sendall(b"hello")
		time.sleep(0.1)
		go_on.set()
		equal(response(s).body["body"], 5)


@case
def no_socket_stays_when_all_clients_have_gone():
	until(lambda: proxy.sockets() <= quiet, "the connections' sockets go")


quiet = proxy.sockets()
run()

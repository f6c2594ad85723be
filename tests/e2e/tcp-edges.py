#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a peer must not notice of how bytes and ends are told to us: urgent bytes, ends that come
with the last bytes, half-open tunnels, descriptors on a Unix socket, clients that keep silent."""
import array, fcntl, os, struct, sys, termios
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

told = []


def last_words(s, peer):
	"""Answers and ends at once: the end comes with the answer."""
	s.recv(100)
	s.sendall(b"x" * 512)


def half(s, peer):
	"""Ends its own direction with its last bytes, and goes on listening."""
	s.recv(100)
	s.sendall(b"my last words")
	s.shutdown(socket.SHUT_WR)
	told.append(read_all(s))


def tell(s, peer):
	told.append(read_all(s))
	s.sendall(b"heard")


def cut(s):
	"""Ends with a reset."""
	s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
	s.close()


ANSWER = os.urandom(3 << 20)
word, is_cut = threading.Semaphore(0), threading.Semaphore(0)


def breaks(s, peer):
	"""Breaks off at a word of the test, behind a few bytes or a long answer."""
	short = s.recv(100) == b"short"
	if not short:
		s.sendall(ANSWER)
	word.acquire(timeout=WAIT)
	if short:
		s.sendall(b"part of it")
	cut(s)
	is_cut.release()


def refuse(s, peer):
	"""Takes nothing of an upload, and says so when the test wants it."""
	s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
	word.acquire(timeout=WAIT)
	s.sendall(b"no")


def patient(s, peer):
	"""Takes nothing before the test wants it, and then all there is; says how much that was."""
	word.acquire(timeout=WAIT)
	while True:
		got = s.recv(1 << 20)
		if not got:
			return
		s.sendall(len(got).to_bytes(8, "big"))


tcp = {"address": "tcp:127.0.0.1:0"}
refuser, waiter = Server(refuse, **tcp), Server(patient, **tcp)
last, halved, teller = Server(last_words, **tcp), Server(half, **tcp), Server(tell, **tcp)
breaker = Server(breaks, **tcp)
secure = Enclave("k", names=["k.test"])
proxy = Teeproxy('''
	global workers 2
	defaults all timeout half-closed 20s
	frontend last mode tcp { listen 127.0.0.1:$LAST; default -> $LAST_SERVER }
	frontend half mode tcp { listen 127.0.0.1:$HALF; default -> $HALF_SERVER }
	frontend tell mode tcp { listen 127.0.0.1:$TELL; default -> $TELL_SERVER }
	frontend break mode tcp { listen 127.0.0.1:$BREAK; default -> $BREAKER }
	frontend refuse mode tcp { listen 127.0.0.1:$REFUSE; default -> $REFUSER }
	frontend here mode tcp { listen unix:$DIR/refuse.sock; default -> $REFUSER }
	frontend wait mode tcp { listen 127.0.0.1:$WAITS; default -> $WAITER }
	frontend local mode tcp { listen unix:$DIR/local.sock; default -> $TELL_SERVER }
	frontend tls mode https { listen 127.0.0.1:$TLS; timeout hello 2s; sni k.test -> $SECURE }
''', ports=["LAST", "HALF", "TELL", "BREAK", "REFUSE", "WAITS", "TLS"],
	env={"LAST_SERVER": last.address, "HALF_SERVER": halved.address, "TELL_SERVER": teller.address,
	     "BREAKER": breaker.address, "REFUSER": refuser.address, "WAITER": waiter.address, "SECURE": secure.address})


def dial(name):
	s = socket.create_connection(("127.0.0.1", proxy.port(name)), WAIT)
	s.settimeout(WAIT)
	return s


def last_told(n):
	until(lambda: len(told) > n, "the server's word of what it heard")
	return told[n]


@case
def an_answer_and_the_end_that_comes_with_it_arrive_whole_and_clean():
	for _ in range(100):
		with dial("LAST") as s:
			s.sendall(b"hello")
			equal(read_all(s), b"x" * 512)	# a reset would raise
			s.sendall(b"still open on this side")


@case
def after_the_servers_end_the_client_may_go_on():
	for i in range(20):
		n = len(told)
		with dial("HALF") as s:
			s.sendall(b"hello")
			equal(read_all(s), b"my last words")
			for part in (b"one ", b"two ", b"three"):
				s.sendall(part)
				time.sleep(0.001)
			s.shutdown(socket.SHUT_WR)
			equal(last_told(n), b"one two three")


@case
def a_client_that_ends_with_its_last_bytes_hears_the_answer():
	for size in (1, 5000, 16384, 16385, 300000):
		n = len(told)
		with dial("TELL") as s:
			s.sendall(b"a" * size)
			s.shutdown(socket.SHUT_WR)
			equal(read_all(s), b"heard")
			equal(last_told(n), b"a" * size)


@case
def what_follows_an_urgent_byte_arrives_though_the_end_comes_with_it():
	for wait in (0, 0.05):
		for _ in range(20):
			n = len(told)
			with dial("TELL") as s:
				s.sendall(b"before")
				time.sleep(wait)
				s.send(b"!", socket.MSG_OOB)
				s.sendall(b"after")
				s.shutdown(socket.SHUT_WR)
				equal(read_all(s), b"heard")
				equal(last_told(n), b"beforeafter")	# out of band is not relayed


@contextlib.contextmanager
def engine_held():
	"""What happens inside comes to the engine at once."""
	engines = proxy.engines()
	for pid in engines:
		os.kill(pid, signal.SIGSTOP)
	try:
		yield
	finally:
		for pid in engines:
			os.kill(pid, signal.SIGCONT)


@case
def a_reset_that_comes_with_the_last_bytes_is_no_clean_end():
	with dial("BREAK") as s:
		s.sendall(b"short")
		until(lambda: breaker.accepted == 1, "the tunnel is there")
		time.sleep(0.1)
		with engine_held():
			word.release()
			true(is_cut.acquire(timeout=WAIT), "the server has broken off")
		equal(s.recv(100), b"part of it")
	proxy.wait_log('frontend=break .*bytes_down=10 reason=server_error error="Connection reset by peer"')


@case
def a_reset_of_the_server_costs_the_client_nothing_of_the_answer_before_it():
	with dial("BREAK") as s:
		s.sendall(b"long")
		got = s.recv(65536)
		while len(got) < len(ANSWER) // 2:
			got += s.recv(65536)
		time.sleep(0.3)	# the rest is on its way to the client
		with engine_held():
			word.release()
			true(is_cut.acquire(timeout=WAIT), "the server has broken off")
			s.sendall(b"more of an upload" * 1000)
		time.sleep(0.1)
		equal(hashlib.sha256(got + read_all(s)).digest(), hashlib.sha256(ANSWER).digest())


UPLOAD = os.urandom(1 << 20)


@contextlib.contextmanager
def blocked_upload(port):
	"""A client whose upload stands still, and what becomes of it: None when all of it was sent."""
	with dial(port) as s:
		result, sent, stands = [], [0], threading.Event()

		def upload():
			try:
				while not stands.is_set():	# how much buffers take is the kernel's secret
					s.sendall(UPLOAD[:65536])
					sent[0] += 65536
				s.sendall(UPLOAD)
				result.append(None)
			except OSError as e:
				result.append(e)
		thread = threading.Thread(target=upload, daemon=True)
		thread.start()
		still = -1
		while sent[0] != still:	# nothing was sent for half a second
			still = sent[0]
			time.sleep(0.5)
		stands.set()
		true(thread.is_alive(), "the upload stands still")
		yield s, thread, result
		thread.join(WAIT)


@case
def an_upload_that_stood_still_goes_on_when_there_is_room_again():
	with dial("WAITS") as s:
		sent, quiet = 0, 0
		s.setblocking(False)
		while quiet < 5:
			try:
				sent += s.send(UPLOAD[:65536])
				quiet = 0
			except BlockingIOError:
				time.sleep(0.1)
				quiet += 1
		s.settimeout(WAIT)
		word.release()
		for more in (0, 1, 100000, 1):	# all that waited is through before the next is sent
			if more:
				s.sendall(UPLOAD[:more])
				sent += more
			while sent:
				sent -= int.from_bytes(s.recv(8, socket.MSG_WAITALL), "big")
			equal(sent, 0)


@case
def who_refuses_an_upload_that_stands_still_is_heard():
	with blocked_upload("REFUSE") as (s, thread, result):
		word.release()
		equal(s.recv(100), b"no")
		equal(s.recv(100), b"")	# a reset would raise
		thread.join(WAIT)
		equal(result, [None])	# what was still on its way was taken, and the client not cut


def is_left(s):
	"""Whether of what this Unix socket has sent something is not read, nor will be soon."""
	begun = time.monotonic()
	while array.array("i", fcntl.ioctl(s, termios.TIOCOUTQ, b"\0" * 4))[0]:
		if time.monotonic() > begun + 0.5:
			return True
		time.sleep(0.001)
	return False


@case
def what_a_refused_client_still_says_is_taken_though_little_of_it_had_waited():
	with connect_to("unix:%s/refuse.sock" % DIR) as s:
		while not is_left(s):	# each piece is read, but for the first behind a pump that holds bytes
			s.sendall(UPLOAD[:15000])
		word.release()
		equal(read_all(s), b"no")
		for _ in range(5):
			time.sleep(0.1)
			s.sendall(b"more of it")
		proxy.wait_log("frontend=here .*bytes_down=2 reason=server_error")
		equal(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)	# no reset for words unread


@case
def what_follows_a_descriptor_on_a_unix_socket_arrives():
	n = len(told)
	with connect_to("unix:%s/local.sock" % DIR) as s:
		fds = array.array("i", [s.fileno()])
		s.sendmsg([b"one "], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds.tobytes())])
		s.sendall(b"two ")
		s.sendmsg([b"three"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds.tobytes())])
		s.shutdown(socket.SHUT_WR)
		equal(read_all(s), b"heard")
	equal(last_told(n), b"one two three")


@case
def a_client_that_says_nothing_is_given_up():
	with dial("TLS") as s:
		equal(s.recv(1), b"")
		proxy.wait_log("frontend=tls .*reason=hello_timeout")


@case
def a_client_that_takes_its_time_is_let_in():
	with dial("TLS") as s:
		time.sleep(1.2)	# longer than the kernel keeps silent clients to itself
		context = ssl.create_default_context()
		context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
		with context.wrap_socket(s, server_hostname="k.test") as t:
			t.sendall(b"GET / HTTP/1.1\r\nHost: k.test\r\nConnection: close\r\n\r\n")
			true(b"200" in t.recv(1000), "an answer of the enclave")


@case
def a_client_that_goes_without_a_word_leaves_nothing_behind():
	quiet = proxy.sockets()
	for _ in range(50):
		dial("TLS").close()
	until(lambda: proxy.sockets() <= quiet, "all sockets of the silent clients are closed")


run()

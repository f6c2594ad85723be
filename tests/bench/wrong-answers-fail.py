#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tests/bench/load ends with status 1 and says why when one answer is wrong: each of its workloads
before a server that does right, and then before one that does one thing wrong."""
import os, struct, sys
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

CLIENTS = 4
LOAD = os.path.join(os.environ["top_builddir"], "tests/bench/load")
BULK = 100003	# bytes each way: more than one read
STREAM = bytes(i % 251 for i in range(BULK + 1))
# Arguments of load; the bytes that its server says, at a time or in all.
WORKLOADS = {
	"conn": (["conn"], 512),
	"conn, a hello in two segments": (["conn", "--hello", "1800"], 512),
	"conn behind a line": (["conn", "--line", "127.0.0.1:1"], 512),
	"rate": (["rate", "--rate", "200", "--clients", "100"], 512),
	"rr": (["rr"], 1),
	"rr of 1 KiB": (["rr", "--size", "1024"], 1024),
	"down": (["down", "--bytes", str(BULK)], BULK),
	"up": (["up", "--bytes", str(BULK)], 512),
	"http": (["http"], 512),
	"http-ka": (["http-ka"], 512),
	"idle": (["idle"], 1),
	"http-idle": (["http-idle"], 512),
}


class Wrong:
	"""What the server of one run does wrong, and where its connections stand."""

	def __init__(self, what):
		self.what = what
		self.word = threading.Event()		# from the test: idle ones end now
		self.ended = threading.Semaphore(0)	# to the test: one has
		self.numbers = itertools.count(1)


def answer(role):
	return b"backend " + role.encode().ljust(503, b".") + b"\n"


def right(workload):
	if workload in ("rr", "down", "idle"):
		return STREAM
	return answer({"rate": "conn"}.get(workload, workload.split("-")[0]))


def what_is_said(workload, size, wrong):
	said = right(workload)[:size]
	if wrong == "backend":
		return answer("other")
	if wrong == "byte":
		return said[:-1] + bytes([said[-1] ^ 1])
	if wrong == "short":
		return said[:-1]
	if wrong == "long":
		return said + (right(workload)[size:size + 1] or b".")
	return said


def take_hello(s, line):
	while line and read_exactly(s, 1) != b"\n":
		pass
	read_exactly(s, int.from_bytes(read_exactly(s, 5)[3:], "big"))


def end(s, wrong):
	if wrong.what in ("ends early", "ends when idle"):
		if wrong.what == "ends when idle":
			wrong.word.wait(WAIT)
		s.shutdown(socket.SHUT_WR)
		# FIN_WAIT2, or more: the client's kernel has it.
		until(lambda: s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in (5, 7), "the end has come")
		wrong.ended.release()
		read_all(s)
	if wrong.what == "cut":
		s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
		s.close()


def serve_once(s, args, said, wrong):
	take_hello(s, "--line" in args)
	if args[0] == "up":
		equal(read_exactly(s, BULK), STREAM[:BULK])
	s.sendall(said)
	end(s, wrong)


def serve_echo(s, args, size, said, wrong):
	take_hello(s, False)
	while True:
		try:
			equal(read_exactly(s, size), STREAM[:size])
		except EOFError:
			return end(s, wrong)	# the client ends when its time is over
		if args[0] == "idle" and wrong.what == "ends early" and next(wrong.numbers) % CLIENTS == 0:
			# One is silent until the others have ended, so that not all are there yet.
			for _ in range(CLIENTS - 1):
				wrong.ended.acquire(timeout=WAIT)
		s.sendall(said)
		if wrong.what not in (None, "cut"):
			return end(s, wrong)


def serve_http(s, said, wrong):
	while True:
		request = b""
		while not request.endswith(b"\r\n\r\n"):
			request += read_exactly(s, 1)
		s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said) + said)
		if b"Connection: close" in request or wrong.what not in (None, "cut"):
			return end(s, wrong)


def serve(s, name, wrong):
	args, size = WORKLOADS[name]
	said = what_is_said(args[0], size, wrong.what)
	if args[0].startswith("http"):
		serve_http(s, said, wrong)
	elif args[0] in ("rr", "idle"):
		serve_echo(s, args, size, said, wrong)
	else:
		serve_once(s, args, said, wrong)


def load(name, what=None, while_idle=lambda wrong: None):
	"""Runs this workload; its status and its report.  It ends by itself 20 s after its time."""
	args, wrong = WORKLOADS[name][0], Wrong(what)
	server = Server(lambda s, _: serve(s, name, wrong), "tcp:127.0.0.1:0")
	run = subprocess.Popen([LOAD, args[0], "--to", server.address.split(":")[2], "--clients", str(CLIENTS),
				"--seconds", "0.1"] + args[1:],
			       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
	at_exit(run.kill)
	with run:
		if "idle" in args[0]:
			ready = json.loads(run.stdout.readline())
			if not ready["errors"]:
				equal(ready["ready"], CLIENTS)
				while_idle(wrong)
		run.stdin.close()
		told = json.loads(run.stdout.readline())
	server.stop()
	return run.returncode, told


def all_fail(wrong, what, but=()):
	for name in WORKLOADS:
		if name not in but:
			status, told = load(name, wrong)
			equal(status, 1, "%s: status, %r" % (name, told))
			true(told["errors"] > 0 and re.search(what, told["first_error"]), "%s: %r" % (name, told))


@case
def each_workload_passes_before_a_server_that_does_right():
	for name in WORKLOADS:
		status, told = load(name)
		equal((status, told["errors"], told["first_error"]), (0, 0, ""), name)
		true(told["done"] > 0, name)


@case
def the_wrong_backend_fails():
	all_fail("backend", "^a wrong answer: backend other|^a wrong echo|^wrong bytes on the way down")


@case
def one_wrong_byte_fails():
	all_fail("byte", "^a wrong answer: backend|^a wrong echo|^wrong bytes on the way down")


@case
def one_byte_too_few_fails():
	all_fail("short", r"^ended after (\d+) bytes of \d+$")


@case
def one_byte_too_many_fails():
	all_fail("long", "^a wrong answer: backend|^a wrong echo|^ended after 100004 bytes of 100003")


@case
def a_reset_where_an_end_belongs_fails():
	all_fail("cut", "^recv: Connection reset by peer", but=("idle", "http-idle"))


@case
def an_end_before_its_time_fails():
	for name in "rr", "rr of 1 KiB", "http-ka", "idle":
		status, told = load(name, "ends early")
		equal(status, 1, "%s: %r" % (name, told))
		true(told["first_error"].startswith("ended after "), told)


@case
def an_idle_connection_that_ends_fails():
	def let_them_end(wrong):
		wrong.word.set()
		for _ in range(CLIENTS):
			true(wrong.ended.acquire(timeout=WAIT), "the ends have come")
	for name in ("idle", "http-idle"):
		status, told = load(name, "ends when idle", let_them_end)
		equal((status, told["first_error"]), (1, "a connection that was idle has spoken or ended"), name)


@case
def the_backend_ends_at_a_wrong_byte_on_the_way_up():
	hello = b"\x16\x03\x01\x00\x02ab"
	for sent, says in (STREAM[:BULK], "backend up"), (STREAM[:BULK - 1] + b"!", ""), (STREAM[1:BULK + 1], ""):
		port = free_port()
		run = subprocess.Popen([LOAD, "serve", "bytes=%d" % BULK, "up=%d" % port], stdout=subprocess.PIPE,
				       stderr=subprocess.PIPE, text=True)
		at_exit(run.kill)
		equal(run.stdout.readline(), "ready\n")
		with connect_to("tcp:127.0.0.1:%d" % port) as s:
			with contextlib.suppress(ConnectionError):
				s.sendall(hello + sent)
			with contextlib.suppress(ConnectionError):
				equal(read_all(s)[:10].decode(), says)
		if says:
			run.kill()
			continue
		equal(run.wait(WAIT), 1)
		true(re.fullmatch("load: backend: wrong bytes on the way up at \\d+\n", run.stderr.read()), "what it says")


run()

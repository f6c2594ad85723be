#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many tunnels at once, each with two ends that follow a script of their own: pieces and pauses of
random length, small buffers, slow readers, ends at any moment, resets.

A client says first what the server shall do (the number of its script), so both ends know what
they must hear: every byte by its digest, up to the end, and nothing of another connection.  What a
reset may cost is told apart: who hears less hears a prefix of it.  RELAY_STRESS_SECONDS (default 4)
bounds the beginning of new tunnels, RELAY_STRESS_SEED repeats a run."""
import os, struct, sys
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

SEED = int(os.environ.get("RELAY_STRESS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
SECONDS = float(os.environ.get("RELAY_STRESS_SECONDS", "4"))
CLIENTS = 24		# at a time
SIZES = (0, 1, 100, 4095, 16383, 16384, 16385, 32768, 65535, 65536, 65537, 200000)
BIG = (1 << 20, 3 << 20, (5 << 20) + 1)
NUMBER = struct.Struct("!Q")
# Bytes that are another's at each place: a window of this, at a place that the script's number gives.
NOISE = random.Random(1).randbytes((8 << 20) + 4096)
AT_ONCE = struct.pack("ii", 1, 0)	# SO_LINGER: close() resets


class End:
	"""What one end of a tunnel does."""

	def __init__(self, r, may_reset):
		self.size = r.choice(BIG) if r.random() < 0.12 else r.choice(SIZES)
		self.size += r.choice((0, 0, 0, r.randrange(2000)))
		self.at = r.randrange(4096)
		self.piece = r.choice((1 << 20, 1 << 16, 16384, 5000, max(1, self.size // 7), max(1, self.size // 40)))
		self.pauses = r.random() * 0.3 / max(1, self.size // self.piece) if r.random() < 0.5 else 0
		self.sndbuf, self.rcvbuf = (r.choice((0, 0, 2048, 20000)) for _ in range(2))
		self.read_piece = r.choice((1 << 20, 1 << 16, 1 << 16, 4096))
		self.slow = r.random() < 0.25 and self.rcvbuf != 2048	# reads a bit, then waits
		self.late = r.choice((0, 0, 0, 0.05, 0.3))	# before its first read
		self.waits = r.random() < 0.3	# to have heard all before it ends its own direction
		# Where it resets: after so many bytes were sent.
		self.resets = r.randrange(self.size + 1) if may_reset and r.random() < 0.15 else None

	def bytes(self):
		return memoryview(NOISE)[self.at:self.at + self.size]

	def prepare(self, s):
		if self.sndbuf:
			s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.sndbuf)
		if self.rcvbuf and self.rcvbuf > 2048:
			s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.rcvbuf)
		s.settimeout(WAIT)


class Script:
	"""Both ends of a tunnel, known to both by its number."""

	def __init__(self, number):
		r = random.Random(SEED * 1000003 + number)
		self.number = number
		may_reset = r.random() < 0.3
		self.client, self.server = End(r, may_reset), End(r, may_reset)
		ends = (self.client, self.server)
		self.is_long = max(e.size for e in ends) > 300000
		if self.is_long and any(e.sndbuf or e.rcvbuf for e in ends):
			# Megabytes through a window of nothing take longer than anybody waits.
			for e in ends:
				e.size = min(e.size, 300000)
				e.resets = e.resets and min(e.resets, e.size)
			self.is_long = False
		if self.client.waits and self.server.waits:	# somebody must end first
			self.client.waits = False

	@property
	def resets(self):
		return self.client.resets is not None or self.server.resets is not None


class Broken(Exception):
	"""A reset, or what one looks like to who writes."""


def send(s, end, heard):
	data, sent = end.bytes(), 0
	try:
		while sent < end.size and end.resets is None or end.resets is not None and sent < end.resets:
			n = min(end.piece, (end.size if end.resets is None else end.resets) - sent)
			s.sendall(data[sent:sent + n])
			sent += n
			if end.pauses:
				time.sleep(end.pauses)
		if end.resets is not None:
			s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
			with contextlib.suppress(OSError):	# wakes the reader; close() sends the reset
				s.shutdown(socket.SHUT_RD)
			return
		if end.waits:
			heard.wait(2 * WAIT)
		s.shutdown(socket.SHUT_WR)
	except TimeoutError:
		raise
	except OSError as why:
		raise Broken(str(why))


def hear(s, end, most):
	"""All until the end: bytes, and whether that was an end or a reset."""
	got = bytearray()
	time.sleep(end.late)
	try:
		while True:
			some = s.recv(end.read_piece)
			if not some:
				return got, True
			got += some
			true(len(got) <= most, "more than was sent")
			if end.slow and len(got) < 300000:
				time.sleep(0.002)
	except TimeoutError:
		raise AssertionError("nothing for %d s after %d of %d bytes" % (WAIT, len(got), most))
	except ConnectionError:
		return got, False


def play(s, me, other, resets):
	"""One end of a tunnel to its end; raises where it heard what it should not."""
	heard, trouble = threading.Event(), []
	def speak():
		try:
			send(s, me, heard)
		except Broken as why:
			if not resets:
				trouble.append("sending: %s" % why)
		except TimeoutError:
			trouble.append("nobody takes the bytes")
	speaker = threading.Thread(target=speak, daemon=True)
	speaker.start()
	try:
		got, clean = hear(s, me, other.size)
	finally:
		heard.set()
		speaker.join(2 * WAIT)
	want = other.bytes()
	if resets:
		equal(hashlib.sha256(got).digest(), hashlib.sha256(want[:len(got)]).digest(), "a prefix of what was sent")
	else:
		equal(trouble, [])
		true(clean, "a clean end after %d of %d bytes" % (len(got), len(want)))
		equal(len(got), len(want), "bytes")
		equal(hashlib.sha256(got).digest(), hashlib.sha256(want).digest(), "digest")
	true(not speaker.is_alive(), "who speaks comes to an end")


troubles, lock = [], threading.Lock()
begun = 0


def trouble(who, script, why):
	with lock:
		troubles.append("%s of script %d: %s" % (who, script.number, why))


def serve(s, peer):
	number = None
	try:
		first = read_exactly(s, 5)
		if first[0] == 22:	# a ClientHello, whole as it was sent
			read_exactly(s, struct.unpack("!H", first[3:])[0])
			first = read_exactly(s, 5)
		number = NUMBER.unpack(first + read_exactly(s, 3))[0]
	except (OSError, EOFError):
		return	# cut before it had said who it is
	script = Script(number)
	try:
		script.server.prepare(s)
		play(s, script.server, script.client, script.resets)
	except Exception as why:
		trouble("server", script, why)


def hello(name):
	"""A ClientHello with nothing in it but a name, and padding so that it has any length."""
	sni = struct.pack("!HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
	padding = random.randrange(3000)
	extensions = sni + struct.pack("!HH", 21, padding) + bytes(padding)
	body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00" + \
		struct.pack("!H", len(extensions)) + extensions
	return b"\x16\x03\x01" + struct.pack("!H", len(body) + 4) + b"\x01" + struct.pack("!I", len(body))[1:] + body


def pour(s, peer):
	while True:
		s.sendall(b"secret of another tunnel " * 10000)


over_tcp, over_unix = Server(serve, "tcp:127.0.0.1:0"), Server(serve, name="s")
small = Server(serve, "tcp:127.0.0.1:0")	# what it accepts has a window of almost nothing
small.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
pourer = Server(pour, "tcp:127.0.0.1:0")
PORT = int(over_tcp.address.rsplit(":", 1)[1])
proxy = Teeproxy('''
	global workers 2
	enclave thin { cid 18; bandwidth 8m/s }
	frontend tcp-tcp mode tcp { listen 127.0.0.1:$TCP_TCP; default -> $TCP }
	frontend tcp-small mode tcp { listen 127.0.0.1:$TCP_SMALL; default -> $SMALL }
	frontend tcp-unix mode tcp { listen 127.0.0.1:$TCP_UNIX; default -> $UNIX }
	frontend unix-tcp mode tcp { listen unix:$DIR/ut.sock; default -> $TCP }
	frontend unix-unix mode tcp { listen unix:$DIR/uu.sock; default -> $UNIX }
	frontend tls-tcp mode https { listen 127.0.0.1:$TLS_TCP; sni t.test -> $TCP }
	frontend tls-unix mode https { listen 127.0.0.1:$TLS_UNIX; sni t.test -> $UNIX }
	frontend pour mode tcp { listen 127.0.0.1:$POUR; default -> $POURER }
	frontend egress { listen unix:$DIR/thin.sock as thin; from any to 127.0.0.0/8:$PORT -> direct }
''', ports=["TCP_TCP", "TCP_SMALL", "TCP_UNIX", "TLS_TCP", "TLS_UNIX", "POUR"],
	env={"POURER": pourer.address, "TCP": over_tcp.address, "UNIX": over_unix.address, "SMALL": small.address, "PORT": str(PORT)})
WAYS = [("", address_of(proxy.port(p))) for p in ("TCP_TCP", "TCP_SMALL", "TCP_UNIX")] + \
	[("", "unix:%s/%s.sock" % (DIR, n)) for n in ("ut", "uu")] + \
	[("tls", address_of(proxy.port(p))) for p in ("TLS_TCP", "TLS_UNIX")] + \
	[("line", "unix:%s/thin.sock" % DIR)]
ROOMY = [w for w in WAYS if w != WAYS[1]]	# with windows as usual


def dial(where, rcvbuf):
	kind, rest = where.split(":", 1)
	s = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
	if rcvbuf:	# before the connect: the window is agreed upon there
		s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
	s.settimeout(WAIT)
	s.connect(rest if kind == "unix" else (rest.split(":")[0], int(rest.split(":")[1])))
	return s


def one(number, ways=WAYS):
	"""A tunnel, from its client's side."""
	script = Script(number)
	r = random.Random(number)
	kind, where = r.choice(ROOMY if script.is_long else ways)
	first = hello(b"t.test") if kind == "tls" else b"127.0.0.1:%d\n" % PORT if kind == "line" else b""
	first += NUMBER.pack(number)
	try:
		with dial(where, script.client.rcvbuf) as s:
			script.client.prepare(s)
			at = r.choice((len(first), len(first), r.randrange(len(first))))
			s.sendall(first[:at])
			if at < len(first):
				time.sleep(0.002)
				s.sendall(first[at:])
			play(s, script.client, script.server, script.resets)
	except ConnectionError as why:
		if not script.resets:
			trouble("client over " + where, script, why)
	except Exception as why:
		trouble("client over " + where, script, why)


def worker(end):
	global begun
	while time.monotonic() < end and not troubles:
		with lock:
			begun += 1
			number = begun
		one(number)


def flood(where, first):
	"""Clients that connect, say a part of their hello, and go again or stay a while."""
	held = []
	for _ in range(200):
		s = dial(where, 0)
		s.sendall(first)
		held.append(s)
	return held


@case
def every_byte_arrives_both_ways_and_each_tunnel_ends():
	print("# RELAY_STRESS_SEED=%d" % SEED, flush=True)
	idle = proxy.sockets()
	end = time.monotonic() + SECONDS
	held = flood(address_of(proxy.port("TLS_TCP")), b"\x16\x03\x01\x02")
	threads = [threading.Thread(target=worker, args=(end,), daemon=True) for _ in range(CLIENTS)]
	for t in threads:
		t.start()
	for s in held[::2]:
		s.close()
	for t in threads:
		t.join(3 * WAIT)
	true(not any(t.is_alive() for t in threads), "every client comes to an end")
	for s in held:
		s.close()
	until(lambda: troubles or proxy.sockets() <= idle, "every tunnel ends")
	print("# %d tunnels" % begun, flush=True)
	equal(troubles, [])


@case
def what_was_under_way_in_a_tunnel_that_broke_is_told_to_no_other():
	def is_bulk(end):
		return end.size >= 200000 and not (end.pauses or end.slow or end.sndbuf or end.rcvbuf)
	scripts = (Script(n) for n in itertools.count(1))
	big = [s.number for s in itertools.islice((s for s in scripts if not s.resets and
		is_bulk(s.client) and is_bulk(s.server)), 8)]
	for _ in range(3):
		held = []
		for _ in range(16):
			s = connect_to(address_of(proxy.port("POUR")))
			held.append(s)
			read_exactly(s, 400000)	# bulk by now
		time.sleep(0.1)	# nobody takes any: what there is of buffers and pipes is full
		for s in held:
			s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
			s.close()
		threads = [threading.Thread(target=one, args=(n, ROOMY), daemon=True) for n in big]
		for t in threads:
			t.start()
		for t in threads:
			t.join(3 * WAIT)
	equal(troubles, [])


@case
def nothing_is_left_to_do_afterwards():
	"""No timer or descriptor keeps a worker busy."""
	def used():
		ticks = 0
		for pid in proxy.engines():
			with open("/proc/%d/stat" % pid) as f:
				ticks += sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))
		return ticks
	def is_quiet():
		before = used()
		time.sleep(0.5)
		return used() - before < 0.2 * os.sysconf("SC_CLK_TCK")
	until(is_quiet, "the engine rests")


run()

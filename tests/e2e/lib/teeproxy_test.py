# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: TAP, a running teeproxy, simulated enclaves, clients.

A test is a script in tests/e2e/ that reads like this:

	import os, sys
	sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
	from teeproxy_test import *

	tee_k = Enclave("tee-k", names=["k.test"])        # real TLS on a Unix socket, own certificate
	proxy = Teeproxy('''
		frontend https {
			listen 127.0.0.1:$WEB
			sni k.test -> $TEE_K
		}
	''', ports=["WEB"], env={"TEE_K": tee_k.address})

	@case
	def a_known_name_reaches_its_enclave():
		equal(https_get(proxy.port("WEB"), "k.test").body["enclave"], "tee-k")

	run()

run() prints one TAP line for each @case in the order they stand (the function's name is the
sentence), stops the proxy, and adds one more line: it stopped with status 0 and no sanitizer had
anything to say.  A case fails by raising; the proxy's log is then shown.  Everything that was
started is stopped by pid at exit, and the temporary directory goes (TEEPROXY_KEEP=1 keeps it).

Configurations are handed over as text.  Ports in them are variables: each name in `ports` becomes
an environment variable with a free port of 127.0.0.1, and $DIR is the temporary directory.  A port
taken by another program in between means another try with new ones.  Readiness is READY=1 on
NOTIFY_SOCKET, or, from a build without it, all the ports listening.

The simulators take "unix:/path", "tcp:127.0.0.1:0" (port 0 picks one; .address says which) and, in
a guest of tests/vm only, "vsock:CID:PORT".  No timing is asserted anywhere; WAIT bounds each wait.
"""
import atexit
import collections
import contextlib
import glob
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

WAIT = 30	# seconds until something that must happen is given up
TEEPROXY = os.environ.get("TEEPROXY", "")
SANITIZER = re.compile(r"(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|runtime error:")

DIR = tempfile.mkdtemp(prefix="tp-")	# short: the path of a Unix socket has 107 bytes
_proxies = []
_numbers = itertools.count()
_cases = []
_cleanups = []


@atexit.register
def _clean():
	for what in reversed(_cleanups):
		with contextlib.suppress(Exception):
			what()
	if os.environ.get("TEEPROXY_KEEP"):
		print("# kept " + DIR)
	else:
		shutil.rmtree(DIR, ignore_errors=True)


def at_exit(what):
	"""Calls what() at the end, the last one first."""
	_cleanups.append(what)


for _signal in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
	signal.signal(_signal, lambda number, _: sys.exit(128 + number))


# ------------------------------------------------------------------ TAP

class Skip(Exception):
	"""Raised in a case: it cannot be run here, and why."""


def case(function):
	_cases.append(function)
	return function


def skip_all(why):
	print("1..0 # SKIP " + why)
	sys.exit(0)


def equal(got, expected, what=""):
	if got != expected:
		raise AssertionError("%sexpected %r, got %r" % (what and what + ": ", expected, got))


def true(condition, what):
	if not condition:
		raise AssertionError(what)


def until(question, what, seconds=WAIT):
	"""Asks again and again until the answer is true, and returns it."""
	end = time.monotonic() + seconds
	while True:
		answer = question()
		if answer:
			return answer
		if time.monotonic() > end:
			raise AssertionError("gave up after %d s: %s" % (seconds, what))
		time.sleep(0.01)


def _one(number, sentence, function):
	try:
		function()
		print("ok %d - %s" % (number, sentence), flush=True)
		return True
	except Skip as why:
		print("ok %d - %s # SKIP %s" % (number, sentence, why), flush=True)
		return True
	except BaseException as why:	# SystemExit too: a case that exits has failed
		print("not ok %d - %s" % (number, sentence))
		for line in traceback.format_exc().splitlines():
			print("# " + line)
		for proxy in _proxies:
			for line in proxy.log().splitlines()[-60:]:
				print("# log: " + line)
		sys.stdout.flush()
		if isinstance(why, (SystemExit, KeyboardInterrupt)):
			raise
		return False


def run():
	"""Runs the cases; ends the program."""
	live = [p for p in _proxies if p.process]
	print("1..%d" % (len(_cases) + (1 if live else 0)), flush=True)
	good = True
	for number, function in enumerate(_cases, 1):
		good &= _one(number, function.__name__.replace("_", " "), function)
	if live:
		good &= _one(len(_cases) + 1, "the proxy stops cleanly",
			     lambda: [p.stop() for p in live])
	sys.exit(0 if good else 1)


# ------------------------------------------------------------------ ports

def free_port(kind=socket.SOCK_STREAM):
	with socket.socket(socket.AF_INET, kind) as s:
		s.bind(("127.0.0.1", 0))
		return s.getsockname()[1]


def free_ports(names):
	"""A port of its own for each: all are held until the last is known."""
	with contextlib.ExitStack() as held:
		sockets = {name: held.enter_context(socket.socket()) for name in names}
		for s in sockets.values():
			s.bind(("127.0.0.1", 0))
		return {name: s.getsockname()[1] for name, s in sockets.items()}


def listening(port):
	"""Whether somebody listens on this TCP port, told without a connection."""
	for table in ("/proc/net/tcp", "/proc/net/tcp6"):
		with contextlib.suppress(OSError), open(table) as f:
			for line in f.readlines()[1:]:
				word = line.split()
				if word[3] == "0A" and int(word[1].rsplit(":", 1)[1], 16) == port:
					return True
	return False


# ------------------------------------------------------------------ the proxy

class Teeproxy:
	"""One running teeproxy.

	config: text, or None where args says all; ports: names of variables; env: more
	variables; args: more options; wrap: a command to run it under (["setpriv", ...]);
	ready=False: do not wait (for configurations that must be refused: see .wait_end()).
	"""

	def __init__(self, config, ports=(), env=None, args=(), wrap=(), ready=True, name="teeproxy"):
		self.process = None
		self.name = "%s-%d" % (name, next(_numbers))
		self.file = os.path.join(DIR, self.name + ".conf")
		self.log_path = os.path.join(DIR, self.name + ".log")
		self.env = dict(env or {})
		self.names, self.ports = list(ports), {}
		self.args, self.wrap = list(args), list(wrap)
		self.notified = ""
		if not os.access(TEEPROXY, os.X_OK):
			raise SystemExit("TEEPROXY=%r is no program: run this through make check" % TEEPROXY)
		if config is not None:
			self.write(config)
		_proxies.append(self)
		at_exit(self.kill)
		for tries_left in (4, 3, 2, 1, 0):
			self.start()
			if not ready:
				return
			try:
				self.wait_ready()
				return
			except AssertionError:
				taken = "ddress already in use" in self.log()
				self.kill()
				if not taken or not tries_left:
					for line in self.log().splitlines():
						print("# log: " + line)
					sys.stdout.flush()
					raise

	def write(self, config):
		"""Replaces the configuration's text, as an editor that renames does."""
		with open(self.file + ".new", "w", newline="") as f:
			f.write(config)
		os.rename(self.file + ".new", self.file)

	def start(self):
		self.ports = free_ports(self.names)
		notify = os.path.join(DIR, self.name + ".notify")
		with contextlib.suppress(FileNotFoundError):
			os.unlink(notify)
		self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		self.notify.bind(notify)
		self.notify.setblocking(False)
		self.notified = ""
		env = dict(os.environ, NOTIFY_SOCKET=notify, DIR=DIR)
		env.update({k: str(v) for k, v in self.ports.items()})
		env.update(self.env)
		command = self.wrap + [TEEPROXY] + (["-f", self.file] if os.path.exists(self.file) else []) + self.args
		with open(self.log_path, "ab") as log:
			self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
							stderr=log, env=env, start_new_session=True)

	def port(self, name):
		return self.ports[name]

	@property
	def pid(self):
		return self.process.pid

	def log(self):
		with contextlib.suppress(FileNotFoundError), open(self.log_path, errors="replace") as f:
			return f.read()
		return ""

	def wait_log(self, pattern, count=1):
		"""Waits until the log matches that often; the matches."""
		return until(lambda: (lambda m: m if len(m) >= count else None)(
			list(re.finditer(pattern, self.log(), re.M))), "the log shows /%s/" % pattern)

	def notifications(self):
		with contextlib.suppress(BlockingIOError):
			while True:
				self.notified += self.notify.recv(4096).decode(errors="replace") + "\n"
		return self.notified

	def wait_ready(self, count=1):
		def question():
			if self.process.poll() is not None:
				raise AssertionError("%s ended with %d before it was ready" %
						     (self.name, self.process.returncode))
			if self.notifications().count("READY=1") >= count:
				return True
			# A build without readiness: its sockets are all there is to see.
			return "READY=1" not in self.notified and count == 1 and self.ports and \
				time.monotonic() > begun + 3 and all(map(listening, self.ports.values()))
		begun = time.monotonic()
		until(question, "%s is ready" % self.name)

	def reload(self, config=None):
		"""SIGHUP with a new text, if any; returns when the master has said READY=1 again."""
		if config is not None:
			self.write(config)
		before = self.notifications().count("READY=1")
		self.process.send_signal(signal.SIGHUP)
		self.wait_ready(before + 1)

	def engines(self):
		"""The pids of the master's children."""
		with contextlib.suppress(OSError), open("/proc/%d/task/%d/children" % (self.pid, self.pid)) as f:
			return [int(word) for word in f.read().split()]
		return []

	def sockets(self):
		"""How many sockets the engines have open."""
		n = 0
		for pid in self.engines():
			for fd in glob.glob("/proc/%d/fd/*" % pid):
				with contextlib.suppress(OSError):	# closed since it was listed
					n += os.readlink(fd).startswith("socket:")
		return n

	def wait_end(self, seconds=WAIT):
		"""Waits until it ends by itself; the exit status."""
		status = self.process.wait(seconds)
		self.process = None
		return status

	def stop(self):
		"""SIGTERM, and another where connections are still open; then judges the end."""
		if not self.process:
			return
		status = None
		for seconds in (4, WAIT):
			self.process.send_signal(signal.SIGTERM)
			with contextlib.suppress(subprocess.TimeoutExpired):
				status = self.process.wait(seconds)
				break
		if status is None:
			self.kill()
			raise AssertionError("%s did not end on SIGTERM" % self.name)
		self.process = None
		found = SANITIZER.search(self.log())
		true(not found, "a sanitizer spoke: %s" % (found and found.group(0)))
		equal(status, 0, "exit status of " + self.name)

	def kill(self):
		if self.process and self.process.poll() is None:
			# The session is ours alone: master and engines.
			with contextlib.suppress(ProcessLookupError):
				os.killpg(self.process.pid, signal.SIGKILL)
			self.process.wait()
		self.process = None


class _NoEngine:
	def __init__(self, why):
		self.why = why

	def __getattr__(self, name):
		raise Skip(self.why)


def if_engine(config, **more):
	"""Teeproxy(config, ...), or where this build has no engine for one of its modes yet, something
	that makes each case skip that touches it.  Any other refusal to start is an error."""
	tried = Teeproxy(config, ready=False, **more)
	def known():
		return "READY=1" in tried.notifications() or tried.process.poll() is not None
	until(known, "the proxy is ready or ends")
	missing = re.search(r"mode \w+ has no engine yet", tried.log())
	if tried.process.poll() is None or not missing:
		tried.wait_ready()
		return tried
	_proxies.remove(tried)
	return _NoEngine(missing.group(0))


def is_sanitized():
	"""Whether the program under test was built with ASan or TSan, which use memory of their own."""
	with open(TEEPROXY, "rb") as f:
		return re.search(rb"__[at]san_init", f.read()) is not None


def teeproxy(*args, env=None, stdin=None):
	"""Runs a command such as --check to its end: status, stdout, stderr."""
	done = subprocess.run([TEEPROXY, *args], capture_output=True, text=True, timeout=WAIT, input=stdin,
			      env=dict(os.environ, DIR=DIR, **(env or {})))
	true(not SANITIZER.search(done.stderr), done.stderr)
	return done


# ------------------------------------------------------------------ certificates

def openssl(*args):
	done = subprocess.run(["openssl", *args], capture_output=True, text=True, stdin=subprocess.DEVNULL)
	true(done.returncode == 0, "openssl %s: %s" % (args[0], done.stderr))
	return done.stdout


def certificate(name, names, directory=None):
	"""A self-signed certificate for names, of its own key: paths of certificate and key."""
	base = os.path.join(directory or DIR, name)
	openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-days", "30", "-subj", "/CN=" + name, "-keyout", base + ".key", "-out", base + ".crt",
		"-addext", "subjectAltName=" + ",".join("DNS:" + n for n in names))
	return base + ".crt", base + ".key"


# ------------------------------------------------------------------ simulated enclaves

def _vsock_socket():
	# On a developer's machine AF_VSOCK may be what controls it.
	if "TEELAB_TOPOLOGY" not in os.environ:
		raise RuntimeError("AF_VSOCK only in a guest of tests/vm")
	return socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)


def _vsock_number(word):
	return socket.VMADDR_CID_ANY if word == "*" else int(word)


def listen_on(address, backlog=1024):
	"""A listening socket, and its address as the proxy's language says it."""
	kind, rest = address.split(":", 1)
	if kind == "unix":
		s = socket.socket(socket.AF_UNIX)
		s.bind("\0" + rest[1:] if rest.startswith("@") else rest)
	elif kind == "tcp":
		host, port = rest.rsplit(":", 1)
		s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
		s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
		s.bind((host.strip("[]"), int(port)))
		address = "tcp:%s:%d" % (host, s.getsockname()[1])
	elif kind == "vsock":
		cid, port = rest.split(":")
		s = _vsock_socket()
		s.bind((_vsock_number(cid), int(port)))
	else:
		raise ValueError(address)
	s.listen(backlog)
	return s, address


def connect_to(address, seconds=WAIT):
	kind, rest = address.split(":", 1)
	if kind == "unix":
		s, where = socket.socket(socket.AF_UNIX), "\0" + rest[1:] if rest.startswith("@") else rest
	elif kind == "tcp":
		host, port = rest.rsplit(":", 1)
		s, where = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET), (host.strip("[]"), int(port))
	elif kind == "vsock":
		s, where = _vsock_socket(), tuple(map(int, rest.split(":")))
	else:
		raise ValueError(address)
	s.settimeout(seconds)
	try:
		s.connect(where)
	except BaseException:
		s.close()
		raise
	return s


class Server:
	"""Calls handler(socket, peer) in a thread for each connection, and closes it after."""

	def __init__(self, handler, address=None, tls=None, name="server"):
		if address is None:
			address = "unix:%s/%s-%d.sock" % (DIR, name, len(os.listdir(DIR)))
		self.name, self.handler, self.tls = name, handler, tls
		self.path = address[5:] if address.startswith("unix:/") else None
		self.accepted = 0
		self.start_at(address)
		at_exit(self.stop)

	def start_at(self, address=None):
		"""Listens, also again after stop(), at the same address."""
		self.listener, self.address = listen_on(address or self.address)
		threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

	def _accept(self, listener):
		while True:
			try:
				s, peer = listener.accept()
			except OSError:
				return
			self.accepted += 1
			threading.Thread(target=self._serve, args=(s, peer), daemon=True).start()

	def _serve(self, s, peer):
		with contextlib.suppress(OSError, EOFError), s:
			s.settimeout(2 * WAIT)
			if self.tls:
				with self.tls.wrap_socket(s, server_side=True) as secure:
					self.handler(secure, peer)
					# close_notify, so that a client can tell an end from a cut; a
					# handler that cut has detached the socket.
					with contextlib.suppress(OSError, ValueError):
						secure.unwrap()
			else:
				self.handler(s, peer)

	def stop(self):
		with contextlib.suppress(OSError):
			self.listener.shutdown(socket.SHUT_RDWR)
		self.listener.close()
		if self.path:
			with contextlib.suppress(FileNotFoundError):
				os.unlink(self.path)


def tls_context(crt, key, alpn=("http/1.1",), minimum=ssl.TLSVersion.TLSv1_2):
	context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
	context.load_cert_chain(crt, key)
	context.minimum_version = minimum
	if alpn:
		context.set_alpn_protocols(list(alpn))
	return context


Message = collections.namedtuple("Message", "start headers body")


def read_head(f):
	"""Start line and headers (lower-case names, the last one wins) from a binary file; None at its end."""
	start = f.readline(65537).decode("latin-1").rstrip("\r\n")
	if not start:
		return None
	headers = {}
	while True:
		line = f.readline(65537).decode("latin-1").rstrip("\r\n")
		if not line:
			return start, headers
		name, _, value = line.partition(":")
		headers[name.lower()] = value.strip()


def read_body(f, headers, to_end=False):
	if headers.get("transfer-encoding", "").lower() == "chunked":
		body = b""
		while True:
			size = int(f.readline(64).split(b";")[0], 16)
			if not size:
				while f.readline(4096).strip():
					pass
				return body
			body += f.read(size)
			f.readline(4)
	if "content-length" in headers:
		return f.read(int(headers["content-length"]))
	return f.read() if to_end else b""


def http_handler(name, answer=None):
	"""Serves HTTP/1.1 with keep-alive.  The answer is JSON that says who answers and what was seen;
	answer(start, headers, body) may give other bytes (the whole response)."""
	def handler(s, peer):
		with s.makefile("rb") as f:
			while True:
				head = read_head(f)
				if not head:
					return
				start, headers = head
				body = read_body(f, headers)
				raw = answer(start, headers, body) if answer else None
				if raw is None:
					sni = getattr(s, "teeproxy_sni", None)
					seen = {"enclave": name, "request": start, "host": headers.get("host"),
						"headers": headers, "body": len(body), "sni": sni,
						"sha256": hashlib.sha256(body).hexdigest(),
						"peer": peer if isinstance(peer, (tuple, list)) else None}
					text = json.dumps(seen).encode() + b"\n"
					raw = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" \
						b"Content-Length: %d\r\n\r\n" % len(text)
					if not start.startswith("HEAD "):
						raw += text
				s.sendall(raw)
				if headers.get("connection", "").lower() == "close":
					return
	return handler


def echo_handler(s, peer):
	"""Echoes until the end of what it gets, then ends too."""
	while True:
		piece = s.recv(65536)
		if not piece:
			with contextlib.suppress(OSError):
				s.shutdown(socket.SHUT_WR)
			return
		s.sendall(piece)


class Enclave(Server):
	"""A simulated enclave's HTTPS server, with a certificate of its own (.crt), and with
	http_address also its plain HTTP server for ACME (.http)."""

	def __init__(self, name, names=(), address=None, http=False, handler=None, alpn=("http/1.1",)):
		self.crt, key = certificate(name, list(names) or [name + ".test"])
		context = tls_context(self.crt, key, alpn)
		def note(s, sni, _):
			s.teeproxy_sni = sni
		context.sni_callback = note
		handler = handler or http_handler(name)
		super().__init__(handler, address, context, name)
		self.http = Server(http_handler(name), name=name + "-http") if http else None


# ------------------------------------------------------------------ clients

def address_of(where):
	"""A port of 127.0.0.1, or an address in the proxy's language."""
	return "tcp:127.0.0.1:%d" % where if isinstance(where, int) else where


def tls_connect(where, sni, alpn=(), trust=None):
	"""A TLS connection through the proxy; trust: the enclave's .crt, checked with the name."""
	if trust:
		context = ssl.create_default_context(cafile=trust)
		context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
	else:
		context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
		context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
	if alpn:
		context.set_alpn_protocols(list(alpn))
	raw = connect_to(address_of(where))
	try:
		return context.wrap_socket(raw, server_hostname=sni)
	except BaseException:
		raw.close()
		raise


def client_hello(sni):
	"""The bytes of a ClientHello."""
	out = ssl.MemoryBIO()
	context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
	context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
	tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=sni)
	with contextlib.suppress(ssl.SSLWantReadError):
		tls.do_handshake()
	return out.read()


def request(s, host, path="/", method="GET", headers=(), body=b""):
	"""One request on an open connection, and its answer: Message(start, headers, body); JSON is decoded."""
	lines = ["%s %s HTTP/1.1" % (method, path), "Host: " + host, *headers]
	if body:
		lines.append("Content-Length: %d" % len(body))
	s.sendall("\r\n".join(lines + ["", ""]).encode("latin-1") + body)
	return response(s, method)


def response(s, method="GET"):
	f = s.makefile("rb")
	head = read_head(f)
	true(head, "the connection ended without an answer")
	start, headers = head
	body = b"" if method == "HEAD" else read_body(f, headers, to_end=True)
	if headers.get("content-type") == "application/json" and body:
		body = json.loads(body)
	return Message(start, headers, body)


def https_get(where, name, path="/", trust=None, **more):
	with tls_connect(where, name, trust=trust) as s:
		return request(s, name, path, **more)


def http_get(where, host, path="/", **more):
	with connect_to(address_of(where)) as s:
		return request(s, host, path, **more)


def cuts(data):
	"""The ways in which data may come, each a list of pieces: whole, byte by byte, and cut at
	random places, which are the same in each run."""
	yield [data]
	yield [data[i:i + 1] for i in range(len(data))]
	for seed in range(6):
		generator, pieces, at = random.Random(seed), [], 0
		while at < len(data):
			step = generator.randint(1, generator.choice((3, 40, len(data))))
			pieces.append(data[at:at + step])
			at += step
		yield pieces


def send_pieces(s, pieces):
	"""Each in a packet of its own, as far as that is ours to say."""
	if s.family in (socket.AF_INET, socket.AF_INET6):
		s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
	for piece in pieces:
		s.sendall(piece)


def read_exactly(s, n):
	got = b""
	while len(got) < n:
		piece = s.recv(n - len(got))
		if not piece:
			raise EOFError
		got += piece
	return got


def read_all(s):
	pieces = []
	while True:
		piece = s.recv(65536)
		if not piece:
			return b"".join(pieces)
		pieces.append(piece)


def curl(*args):
	"""curl, quiet, with an end; CompletedProcess with text."""
	return subprocess.run(["curl", "-sS", "--noproxy", "*", "--max-time", str(WAIT), *args],
			      capture_output=True, text=True)

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""As many connections as the descriptors make, and what happens past that: idle tunnels up to
(limit - 200) / 2, clients that say nothing, and descriptors that run out."""
import os
import resource
import select
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

HALF_OPEN = 10000	# or as many as the descriptors of this machine make
LIMIT = 2200	# descriptors: 1,000 tunnels
TUNNELS = (LIMIT - 200) // 2

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
tee_k = Enclave("tee-k", names=["k.test"])
CONFIG = '''
	global workers 2
	frontend echo mode tcp { listen 127.0.0.1:$ECHO; default -> $SERVER }
	frontend https { listen 127.0.0.1:$WEB; sni k.test -> $TEE_K }
'''


class Echo(threading.Thread):
	"""One thread for all connections: a thread each is too many."""

	def __init__(self):
		super().__init__(daemon=True)
		self.listener, self.address = listen_on("unix:%s/echo.sock" % DIR, 4096)
		self.poll = select.epoll()
		self.poll.register(self.listener, select.EPOLLIN)
		self.open = {}
		self.start()

	def run(self):
		while True:
			for fd, _ in self.poll.poll():
				if fd == self.listener.fileno():
					s, _ = self.listener.accept()
					self.open[s.fileno()] = s
					self.poll.register(s, select.EPOLLIN)
					continue
				data = b""
				with contextlib.suppress(OSError):
					data = self.open[fd].recv(4096)
				if data:
					self.open[fd].sendall(data)
				else:
					self.poll.unregister(fd)
					self.open.pop(fd).close()


echo = Echo()
ENV = {"SERVER": echo.address, "TEE_K": tee_k.address}


def start(name, limits=None):
	"""A proxy with these descriptors, "soft:hard"."""
	wrap = ["prlimit", "--nofile=" + limits] if limits else []
	if wrap and not shutil.which("prlimit"):
		raise Skip("no prlimit here")
	return Teeproxy(CONFIG, ports=["ECHO", "WEB"], env=ENV, wrap=wrap, name=name)


def dial(p, name="ECHO"):
	return connect_to("tcp:127.0.0.1:%d" % p.port(name))


def says(s, word):
	s.sendall(word)
	equal(s.recv(100), word)


def cpu_ticks(pid):
	with open("/proc/%d/stat" % pid) as f:
		return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))


@case
def the_descriptor_limit_is_raised_to_the_hard_one_and_what_it_makes_is_logged():
	p = start("raised", "300:%d" % LIMIT)
	for pid in [p.pid] + p.engines():
		equal(resource.prlimit(pid, resource.RLIMIT_NOFILE), (LIMIT, LIMIT))
	p.wait_log("%d descriptors make %d connections" % (LIMIT, TUNNELS))
	p.wait_log("at most %d connections" % TUNNELS)
	p.stop()


@case
def so_many_idle_tunnels_are_held_and_one_more_is_refused():
	p = start("tunnels", "%d:%d" % (LIMIT, LIMIT))
	held = [dial(p) for _ in range(TUNNELS)]
	for s in held:
		says(s, b"first")
	equal(len(echo.open), TUNNELS, "tunnels reach the server")
	with dial(p) as s:
		equal(s.recv(1), b"", "one too many")
	p.wait_log("reason=proxy_full")
	for n, s in enumerate(held):
		says(s, b"still %d" % n)
	true("cannot accept" not in p.log(), "it has descriptors left")
	held.pop().close()

	def served():
		with contextlib.suppress(OSError, AssertionError), dial(p) as s:
			says(s, b"next")
			return True
	until(served, "the next one has the place of the one that left")
	for s in held:
		s.close()
	p.stop()


@case
def clients_that_say_nothing_keep_nobody_waiting():
	p = start("quiet")
	n = min(HALF_OPEN, (hard - 200) // 2 - 50)
	print("# %d half-open connections" % n)
	waiting = [dial(p, "WEB") for _ in range(n)]
	for _ in range(20):
		equal(https_get(p.port("WEB"), "k.test", trust=tee_k.crt).body["enclave"], "tee-k")
	true("reason=proxy_full" not in p.log(), "there was room for them all")
	for s in waiting:
		s.close()
	p.wait_log("frontend=https .*reason=no_hello", n)
	p.stop()


@case
def without_descriptors_it_waits_at_no_cost_and_goes_on():
	p = start("starved")
	engine, = p.engines()
	old = resource.prlimit(engine, resource.RLIMIT_NOFILE)
	resource.prlimit(engine, resource.RLIMIT_NOFILE, (60, old[1]))
	waiting = [dial(p, "WEB") for _ in range(100)]	# which say nothing: one descriptor each
	p.wait_log("cannot accept")
	before = cpu_ticks(engine)
	time.sleep(2)
	# Trying again and again would take all of a processor: 200 ticks of a hundredth.
	true(cpu_ticks(engine) - before < 20, "it used %d ticks in 2 s" % (cpu_ticks(engine) - before))
	true(len(re.findall("cannot accept", p.log())) <= 4, "a warning for each worker now and then, no flood")
	# As clients leave, others have their turn, with the limit as it is.
	for s in waiting:
		s.close()
	# All of them, also those that were let in only to be found gone: each had its descriptor.
	p.wait_log("msg=connection .*reason=(no_hello|client_error)", len(waiting))
	equal(https_get(p.port("WEB"), "k.test").body["enclave"], "tee-k")
	equal(p.engines(), [engine])
	p.stop()


run()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# What the master does for the engine: who it becomes, what it may do, that it is
# started again, and how both end.
import os
import pwd
import re
import shutil
import signal
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *


def echo(s, _peer):
	while True:
		data = s.recv(65536)
		if not data:
			return
		s.sendall(data)


AS_ROOT = os.geteuid() == 0
USER = "nobody"
server = Server(echo, name="echo")
if AS_ROOT:
	os.chmod(DIR, 0o755)
	os.chmod(server.path, 0o777)
CONFIG = """global {
	pid-file $DIR/%s.pid
	grace %s
	%s
	%s
}
frontend echo mode tcp {
	listen 127.0.0.1:$ECHO
	listen unix:$DIR/%s.sock
	default -> $SERVER
}
"""


def start(name, grace="30s", more="", wrap=()):
	return Teeproxy(CONFIG % (name, grace, "user " + USER if AS_ROOT else "", more, name), ports=["ECHO"],
			env={"SERVER": server.address}, name=name, wrap=wrap)


def with_capabilities(names):
	"""A command that leaves root with these alone."""
	if not AS_ROOT or not shutil.which("setpriv"):
		raise Skip("wants root and setpriv")
	return ["setpriv", "--inh-caps", "-all", "--bounding-set", ",".join(["-all"] + ["+" + n for n in names])]


def dial(p):
	s = connect_to("tcp:127.0.0.1:%d" % p.port("ECHO"))
	s.sendall(b"x")
	equal(s.recv(1), b"x")
	return s


def status_of(pid):
	with open("/proc/%d/status" % pid) as f:
		return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


proxy = start("main")


@case
def the_engine_has_no_capability_and_cannot_gain_any():
	status = status_of(proxy.engines()[0])
	for each in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
		equal(int(status[each], 16), 0, each)
	equal(status["NoNewPrivs"], "1", "NoNewPrivs")
	if AS_ROOT:
		equal(int(status["CapBnd"], 16), 0, "CapBnd")
		equal(set(status["Uid"].split()), {str(pwd.getpwnam(USER).pw_uid)}, "Uid")
		equal(set(status["Gid"].split()), {str(pwd.getpwnam(USER).pw_gid)}, "Gid")
		equal(status["Groups"].split(), [], "Groups")


@case
def the_capabilities_of_the_systemd_unit_are_enough():
	with open(os.path.join(os.environ["top_srcdir"], "dist/teeproxy.service.in")) as f:
		names = re.search(r"^CapabilityBoundingSet=(.*)$", f.read(), re.M).group(1).lower().replace("cap_", "").split()
	p = start("unit", wrap=with_capabilities(names))
	dial(p).close()
	equal(int(status_of(p.engines()[0])["CapBnd"], 16), 0, "CapBnd")
	p.stop()


@case
def root_that_may_not_empty_the_bounding_set_starts_all_the_same():
	p = start("meagre", wrap=with_capabilities(["setuid", "setgid", "kill"]))
	dial(p).close()
	status = status_of(p.engines()[0])
	equal((int(status["CapEff"], 16), int(status["CapPrm"], 16), status["NoNewPrivs"]), (0, 0, "1"))
	p.stop()


@case
def the_engine_has_a_system_call_filter_unless_the_kernel_has_none():
	if "no system call filter" in proxy.log():
		raise Skip("this kernel refuses the filter, which the log says")
	if is_sanitized():
		raise Skip("a build with sanitizers")
	equal(status_of(proxy.engines()[0])["Seccomp"], "2", "Seccomp")


@case
def sandbox_off_leaves_the_filter_out():
	p = start("open", more="sandbox off")
	equal(status_of(p.engines()[0])["Seccomp"], status_of(p.pid)["Seccomp"], "Seccomp")
	equal(status_of(p.engines()[0])["NoNewPrivs"], "1", "NoNewPrivs")
	p.stop()


@case
def the_log_says_how_many_connections_the_descriptors_make():
	proxy.wait_log(r"\d+ descriptors make \d+ connections")


@case
def an_engine_that_dies_is_started_again_and_the_log_says_why():
	(engine,) = proxy.engines()
	dial(proxy).close()
	os.kill(engine, signal.SIGKILL)
	until(lambda: proxy.engines() not in ([], [engine]), "there is another engine")
	dial(proxy).close()
	proxy.wait_log(r"signal 9")


@case
def sigusr1_opens_the_log_file_again_also_for_an_engine_that_may_not():
	p = start("rotates", more="log file $DIR/rotates.txt")
	dial(p).close()
	old, new = os.path.join(DIR, "rotates.1"), os.path.join(DIR, "rotates.txt")
	until(lambda: "frontend=echo" in open(new).read(), "a line is logged")
	os.rename(new, old)
	os.kill(p.pid, signal.SIGUSR1)
	until(lambda: os.path.exists(new) and "opened again" in open(new).read(), "the file is made anew")
	until(lambda: (dial(p).close(), "frontend=echo" in open(new).read())[1], "the engine writes into it")
	p.stop()


@case
def an_engine_whose_master_dies_ends_too():
	p = start("orphan")
	(engine,) = p.engines()
	os.kill(p.pid, signal.SIGKILL)
	p.process.wait()
	p.process = None
	until(lambda: not os.path.exists("/proc/%d" % engine) or status_of(engine)["State"].startswith("Z"),
	      "the engine has ended")


@case
def sigterm_waits_for_a_connection_that_is_open_and_refuses_new_ones():
	p = start("drains")
	s = dial(p)
	os.kill(p.pid, signal.SIGTERM)
	until(lambda: not listening(p.port("ECHO")), "nobody listens any more")
	s.sendall(b"still here")
	equal(s.recv(100), b"still here")
	s.close()
	equal(p.wait_end(), 0, "exit status")
	for each in ("drains.pid", "drains.sock"):
		true(not os.path.exists(os.path.join(DIR, each)), each + " is gone")


@case
def past_its_grace_what_is_open_is_closed():
	p = start("impatient", grace="1s")
	s = dial(p)
	os.kill(p.pid, signal.SIGTERM)
	equal(p.wait_end(), 0, "exit status")
	try:
		equal(s.recv(1), b"")
	except ConnectionResetError:
		pass
	s.close()


@case
def a_second_sigterm_ends_at_once():
	p = start("twice", grace="1h")
	s = dial(p)
	os.kill(p.pid, signal.SIGTERM)
	p.wait_log("stopping: waiting")
	os.kill(p.pid, signal.SIGTERM)
	equal(p.wait_end(), 0, "exit status")
	s.close()


@case
def a_second_sigterm_does_not_wait_for_an_engine_that_hangs():
	p = start("hangs", grace="1h")
	(engine,) = p.engines()
	os.kill(engine, signal.SIGSTOP)
	os.kill(p.pid, signal.SIGTERM)
	p.wait_log("stopping: waiting")
	os.kill(p.pid, signal.SIGTERM)
	equal(p.wait_end(), 1, "exit status")
	true("does not end, killing it" in p.log(), p.log())


@case
def the_pid_file_names_the_master():
	with open(os.path.join(DIR, "main.pid")) as f:
		equal(int(f.read()), proxy.pid)


run()

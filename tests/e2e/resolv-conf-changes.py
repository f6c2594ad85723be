#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""/etc/resolv.conf and /etc/hosts as the system has them, and as they change: in the sandbox, as another user.

Runs in namespaces of its own, with an /etc, a /run and a loopback that nobody else sees, since the
port of the servers in resolv.conf is always 53.
"""
import os, sys
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *
from dns_server import DnsServer, turns
import fcntl
import struct

INSIDE = "TEEPROXY_TEST_INSIDE"
if INSIDE not in os.environ:
	unshare = ["unshare", "--mount", "--net", "--"]
	if os.geteuid() != 0 or not shutil.which("unshare") or subprocess.run(unshare + ["true"], stderr=subprocess.DEVNULL).returncode:
		skip_all("wants root and namespaces of its own")
	shutil.rmtree(DIR)
	os.execvpe("unshare", unshare + [sys.executable, os.path.abspath(__file__)], dict(os.environ, **{INSIDE: "1"}))


def loopback_up():
	SIOCSIFFLAGS, IFF_UP = 0x8914, 1
	with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
		fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def mount(*args):
	subprocess.run(["mount", *args], check=True)


def replace(path, text):
	with open(path + ".new", "w") as f:
		f.write(text)
	os.rename(path + ".new", path)


def greet(s, peer):
	s.sendall(s.getsockname()[0].encode())


loopback_up()
# What systemd-resolved makes: a link into /run.
subprocess.run(["cp", "-a", "/etc", DIR + "/etc"], check=True)
os.unlink(DIR + "/etc/resolv.conf")
os.symlink("../run/systemd/resolve/stub-resolv.conf", DIR + "/etc/resolv.conf")
mount("--bind", DIR + "/etc", "/etc")
mount("-t", "tmpfs", "tmpfs", "/run")
os.makedirs("/run/systemd/resolve")
RESOLV = "/run/systemd/resolve/stub-resolv.conf"
replace(RESOLV, "search corp.test\noptions ndots:5\nnameserver 127.0.0.53\n")

old = DnsServer({
	"one.test": ["127.0.0.2 ttl 1"],
	"late.test": turns("silent", ["127.0.0.2"]),	# heard by the second try, 1.5 s later
	"short.corp.test": ["127.0.0.2"],
}, "127.0.0.53", 53)
new = DnsServer({
	"one.test": ["127.0.0.3 ttl 1"],
	"late.test": ["127.0.0.3"],
}, "127.0.0.54", 53)
server = Server(greet, "tcp:127.0.0.2:0")
PORT = server.listener.getsockname()[1]
other = Server(greet, "tcp:127.0.0.3:%d" % PORT)

NAMES = ["one", "late", "short", "filed"]
proxy = Teeproxy('''
	global { workers 1; user nobody }
''' + "".join("frontend %s mode tcp { listen 127.0.0.1:$%s; timeout connect 20s; default -> tcp:%s:$PORT }\n" %
	      (name, name.upper(), "short" if name == "short" else name + ".test") for name in NAMES),
	ports=[name.upper() for name in NAMES], env={"PORT": str(PORT)})


def dial(name):
	return connect_to(address_of(proxy.port(name.upper())))


def reached(name):
	with dial(name) as s:
		return read_all(s).decode()


@case
def the_engine_is_another_user_and_in_its_sandbox():
	with open("/proc/%d/status" % proxy.engines()[0]) as f:
		status = f.read()
	true(re.search(r"^Uid:\t(?!0\t)", status, re.M), "the engine is not root")
	true("this kernel has no Landlock" in proxy.log() or is_sanitized() or re.search(r"^Seccomp:\t2$", status, re.M),
	     "the engine has its sandbox")


@case
def the_server_of_resolv_conf_is_asked():
	equal(reached("one"), "127.0.0.2")
	true(old.count("one.test", "A") >= 1, "the server was asked")


@case
def names_are_whole_whatever_search_says():
	equal(reached("short"), "")
	equal(old.count("short.corp.test"), 0)
	equal(old.count("short", "A"), 1)


@case
def another_resolv_conf_is_followed_and_what_is_under_way_ends_where_it_began():
	with dial("late") as s:
		until(lambda: old.count("late.test", "A"), "the look-up")
		replace(RESOLV, "nameserver 127.0.0.54\n")
		until(lambda: reached("one") == "127.0.0.3", "an answer of the new server")
		equal(read_all(s), b"127.0.0.2")
	equal(new.count("late.test"), 0)
	before = old.count("one.test")
	until(lambda: reached("one") == "127.0.0.3" and new.count("one.test", "A") >= 2, "another TTL")
	equal(old.count("one.test"), before)


@case
def resolv_conf_may_be_written_in_place_and_name_several_servers():
	with open(RESOLV, "w") as f:	# nobody listens on the first
		f.write("nameserver 127.0.0.55\nnameserver 127.0.0.53\n")
	until(lambda: reached("one") == "127.0.0.2", "an answer of the second server")


@case
def without_a_resolv_conf_and_with_it_again_it_goes_on():
	os.rename(RESOLV, RESOLV + ".away")
	until(lambda: reached("one") in ("", "127.0.0.2"), "no end")
	os.rename(RESOLV + ".away", RESOLV)
	until(lambda: reached("one") == "127.0.0.2", "the servers again")


@case
def another_etc_hosts_is_read():
	equal(reached("filed"), "")
	replace("/etc/hosts", "127.0.0.1 localhost\n127.0.0.3 filed.test\n")
	until(lambda: reached("filed") == "127.0.0.3", "the new name")
	true("cannot read" not in proxy.log(), "everything could be read")


run()

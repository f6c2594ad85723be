#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What cannot run does not start: status 1, nothing listens, and the log says what is wrong and where."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

FRONTENDS = {	# one that checks, for each mode
	"http": "host a.test -> unix:/a.sock",
	"https": "sni a.test -> unix:/a.sock",
	"tcp": "default -> unix:/a.sock",
	"kms": "from any -> key alias/k",
	"egress": "to example.org:443 -> direct",
	"config": "default -> text x",
	"logs": "default -> file /var/log/x",
	"status": "default -> pages",
}


def refused(config, **more):
	"""The log of a teeproxy that ends by itself with 1."""
	p = Teeproxy(config, ready=False, **more)
	try:
		equal(p.wait_end(), 1, "exit status")
	except subprocess.TimeoutExpired:
		p.kill()
		raise AssertionError("it started: " + p.log())
	true("READY=1" not in p.notifications(), "it said that it is ready")
	return p.log()


def says(log, pattern):
	true(re.search(pattern, log, re.M), "/%s/ in %r" % (pattern, log))


@case
def a_mode_without_an_engine_checks_cleanly_and_says_so():
	missing = 0
	for mode, rule in FRONTENDS.items():
		config = "frontend x mode %s {\n\tlisten unix:$DIR/%s.sock\n\t%s\n}\n" % (mode, mode, rule)
		path = os.path.join(DIR, mode + ".conf")
		with open(path, "w") as f:
			f.write(config)
		checked = teeproxy("--check", "-f", path)
		equal((checked.returncode, checked.stderr), (0, ""), mode)
		p = Teeproxy(config, ready=False)
		until(lambda: "READY=1" in p.notifications() or p.process.poll() is not None, mode + " starts or ends")
		if p.process.poll() is None:
			p.stop()
			continue
		missing += 1
		equal(p.wait_end(), 1)
		says(p.log(), r"teeproxy-\d+\.conf:1: mode %s has no engine yet: it checks, and cannot run" % mode)
		true(not os.path.exists("%s/%s.sock" % (DIR, mode)), "nothing listens")
	print("# %d modes without an engine" % missing)
	true(missing < len(FRONTENDS), "some modes run")


@case
def a_file_with_mistakes_shows_all_of_them():
	log = refused("frontend http { lisen 1 }\nfrontend htps sni a -> b\n")
	says(log, r':1:17: error: unknown keyword "lisen"')
	says(log, r":2:10: error: ")
	says(log, r"^    1 \| frontend http { lisen 1 }\n      \|                 \^~~~~$")


@case
def a_file_that_is_not_there_is_named():
	says(refused(None, args=["-f", DIR + "/nothing.conf"]), r"nothing\.conf.*No such file")


@case
def a_file_without_a_frontend_is_none():
	says(refused("global workers 2\n"), "the configuration has no frontend")


@case
def a_port_that_is_taken_is_named_with_its_place():
	with socket.socket() as taken:
		taken.bind(("127.0.0.1", 0))
		taken.listen()
		port = taken.getsockname()[1]
		log = refused("frontend x mode tcp {\n\tlisten 127.0.0.1:%d\n\tdefault -> unix:/a\n}\n" % port)
	says(log, r"cannot listen on 127\.0\.0\.1:%d \(.*:2\): Address already in use" % port)


@case
def a_user_that_is_not_there_is_named():
	says(refused("global user no-such-user\nfrontend x mode tcp { listen unix:$DIR/u.sock; default -> unix:/a }\n"),
	     'no user .*no-such-user')


@case
def a_log_that_cannot_be_opened_is_named():
	says(refused("global log file $DIR/no/where.log\nfrontend x mode tcp { listen unix:$DIR/l.sock; default -> unix:/a }\n"),
	     r"cannot open the log file .*where\.log.*No such file")


run()

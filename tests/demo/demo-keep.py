#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""demo --keep stays up, what it prints to try works when it is typed, and Ctrl-C ends it with status 0."""
import os
import shlex
import signal
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

env = dict(os.environ, PYTHONUNBUFFERED="1")
for name, port in free_ports(["DEMO_HTTPS_PORT", "DEMO_HTTP_PORT", "DEMO_TCP_PORT"]).items():
	env[name] = str(port)
said_path = os.path.join(DIR, "said")
with open(said_path, "wb") as out:
	demo = subprocess.Popen([sys.executable, os.path.join(os.environ["top_srcdir"], "tests/demo/demo.py"), "--keep"],
				stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env)
at_exit(demo.kill)


def said():
	with open(said_path, errors="replace") as f:
		return f.read()


@case
def it_says_what_to_try():
	until(lambda: "\nTry:\n" in said() and said().split("\nTry:\n")[1].count("\n") >= 3 or demo.poll() is not None,
	      "the demo stays up: " + said())
	true(demo.poll() is None, said())


@case
def what_it_says_works_when_it_is_typed():
	commands = re.findall(r"^   (curl .*)$", said().split("\nTry:\n")[1], re.M)
	true(len(commands) >= 3, commands)
	for command in commands:
		got = curl(*shlex.split(command)[1:])
		true(re.search(r"this is tee-[kt],", got.stdout), "%s: %s%s" % (command, got.stdout, got.stderr))


@case
def ctrl_c_ends_it_well():
	demo.send_signal(signal.SIGINT)
	equal(demo.wait(WAIT), 0, said())
	true(said().endswith("demo: every answer was right\n"), said())


run()

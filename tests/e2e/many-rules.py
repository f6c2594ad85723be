#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""100,000 rules are checked and started in less than 100 MB, counted at the peak of each process."""
import os, sys
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

RULES = 100000
BOUND_KIB = 100 * 1000 * 1000 // 1024
# Each of the names is one that no http frontend has: a warning each, of which a thousand are kept.
CONFIG = "frontend http { listen 127.0.0.1:${HTTP}; host example.org -> vsock:16:8080 }\nfrontend https {\n\tlisten 127.0.0.1:${HTTPS}\n%s}\n" % "".join(
	"\tsni name%d.example.org -> vsock:16:8443\n" % n for n in range(RULES))

if is_sanitized():
	skip_all("a sanitizer has memory of its own")


def within_the_bound(kib, what):
	print("# %s: %d KiB" % (what, kib))
	true(kib < BOUND_KIB, "%s takes %d KiB, expected less than %d" % (what, kib, BOUND_KIB))


def peak_of(pid):
	with open("/proc/%d/status" % pid) as f:
		return int(re.search(r"^VmHWM:\s+(\d+) kB$", f.read(), re.M).group(1))


@case
def check_stays_within_the_bound():
	path = os.path.join(DIR, "many.conf")
	with open(path, "w") as f:
		f.write(CONFIG)
	process = subprocess.Popen([TEEPROXY, "--check", "-f", path], env=dict(os.environ, HTTPS="1", HTTP="2"),
	                           stderr=subprocess.DEVNULL)
	_, status, usage = os.wait4(process.pid, 0)
	process.returncode = os.waitstatus_to_exitcode(status)
	equal(process.returncode, 0, "status")
	within_the_bound(usage.ru_maxrss, "--check")


@case
def master_and_engine_stay_within_the_bound():
	within_the_bound(peak_of(proxy.pid), "the master")
	engines = proxy.engines()
	equal(len(engines), 1, "engines")
	within_the_bound(peak_of(engines[0]), "the engine")


@case
def the_last_rule_is_there():
	done = teeproxy("--explain", "https", "sni=name%d.example.org" % (RULES - 1), "-f", proxy.file,
			env={k: str(proxy.port(k)) for k in ("HTTP", "HTTPS")})
	equal(done.returncode, 0, done.stderr)
	true(":%d: " % (RULES + 3) in done.stdout, done.stdout)


proxy = Teeproxy(CONFIG, ports=["HTTP", "HTTPS"])
run()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs teeproxy --check over tests/conf and compares what it says to the letter.

accept/NAME.conf must load; what it warns of is in NAME.err, which may be absent
where it says nothing.  What --dump makes of it is NAME.dump and loads again to
the same.  reject/NAME.conf must fail with exactly NAME.err.
UPDATE=1 writes the .err and .dump files anew: read the difference before you commit it.
"""

import glob
import itertools
import os
import subprocess
import sys
import tempfile

teeproxy = os.environ["TEEPROXY"]
here = os.path.join(os.environ["top_srcdir"], "tests", "conf")
env = {"PATH": os.environ["PATH"], "EMPTY": "", "PORT": "8443"}
if "ASAN_OPTIONS" in os.environ:
    env["ASAN_OPTIONS"] = os.environ["ASAN_OPTIONS"]
number = 0


def case(kind, path):
    global number
    number += 1
    name = os.path.basename(path)[:-5]
    run = subprocess.run([teeproxy, "--check", "-f", os.path.basename(path)], cwd=os.path.dirname(path),
                         env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    expected = path[:-5] + ".err"
    if os.environ.get("UPDATE") == "1":
        if run.stderr:
            with open(expected, "wb") as out:
                out.write(run.stderr)
        elif os.path.exists(expected):
            os.unlink(expected)
    want = open(expected, "rb").read() if os.path.exists(expected) else b""
    ok = run.returncode == (0 if kind == "accept" else 1) and run.stderr == want and not run.stdout
    print("%sok %d - %s %s" % ("" if ok else "not ", number, kind, name))
    if not ok:
        print("# exit %d, got:" % run.returncode)
        for line in run.stderr.decode(errors="replace").splitlines():
            print("#   " + line)


def run_dump(path):
    return subprocess.run([teeproxy, "--dump", "-f", os.path.basename(path)], cwd=os.path.dirname(path), env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def dump_case(path):
    """The dump is NAME.dump, and loads again to the same."""
    global number
    number += 1
    expected = path[:-5] + ".dump"
    first = run_dump(path)
    if os.environ.get("UPDATE") == "1":
        with open(expected, "wb") as out:
            out.write(first.stdout)
    want = open(expected, "rb").read() if os.path.exists(expected) else None
    with tempfile.TemporaryDirectory() as directory:
        again = os.path.join(directory, "again.conf")
        with open(again, "wb") as out:
            out.write(first.stdout)
        second = run_dump(again)
    ok = first.returncode == 0 and first.stdout == want and second.stdout == first.stdout
    print("%sok %d - dump %s" % ("" if ok else "not ", number, os.path.basename(path)[:-5]))
    if not ok:
        if first.stdout != want:
            print("# the dump is not that of " + expected)
        for a, b in itertools.zip_longest(first.stdout.splitlines(), second.stdout.splitlines()):
            if a != b:
                print("#  first %r\n#  again %r" % (a, b))
        for line in second.stderr.decode(errors="replace").splitlines():
            print("#   " + line)


cases = [(k, p) for k in ("accept", "reject") for p in sorted(glob.glob(os.path.join(here, k, "*.conf")))]
dumps = [p for k, p in cases if k == "accept"]
print("1..%d" % (len(cases) + len(dumps)))
for kind, path in cases:
    case(kind, path)
for path in dumps:
    dump_case(path)
sys.exit(0)

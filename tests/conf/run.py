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


def of_the_file(stderr):
    """Less what --check says of the machine, which the tests run on any of: tests/vm has a test of that."""
    return b"".join(line for line in stderr.splitlines(True) if not line.startswith(b"teeproxy: warning: this machine"))


def case(kind, path):
    global number
    number += 1
    name = os.path.basename(path)[:-5]
    run = subprocess.run([teeproxy, "--check", "-f", os.path.basename(path)], cwd=os.path.dirname(path),
                         env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said = of_the_file(run.stderr)
    expected = path[:-5] + ".err"
    if os.environ.get("UPDATE") == "1":
        if said:
            with open(expected, "wb") as out:
                out.write(said)
        elif os.path.exists(expected):
            os.unlink(expected)
    want = open(expected, "rb").read() if os.path.exists(expected) else b""
    ok = run.returncode == (0 if kind == "accept" else 1) and said == want and not run.stdout
    print("%sok %d - %s %s" % ("" if ok else "not ", number, kind, name))
    if not ok:
        print("# exit %d, got:" % run.returncode)
        for line in said.decode(errors="replace").splitlines():
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


def run(option, path, *more):
    return subprocess.run([teeproxy, option, *more, os.path.basename(path)], cwd=os.path.dirname(path), env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def golden(ok, what, *files):
    """Compares pairs of (path, bytes); no bytes, no file."""
    global number
    number += 1
    for path, got in files:
        if os.environ.get("UPDATE") == "1":
            if got:
                with open(path, "wb") as out:
                    out.write(got)
            elif os.path.exists(path):
                os.unlink(path)
        want = open(path, "rb").read() if os.path.exists(path) else b""
        if got != want:
            ok = False
            print("# %s is not what came:" % path)
            for line in got.decode(errors="replace").splitlines():
                print("#   " + line)
    print("%sok %d - %s" % ("" if ok else "not ", number, what))


def format_case(path):
    """NAME.out is how NAME.conf is laid out; laid out again it stays, and it means the same."""
    first = run("--format", path, "-f")
    with tempfile.TemporaryDirectory() as directory:
        again = os.path.join(directory, os.path.basename(path))
        with open(again, "wb") as out:
            out.write(first.stdout)
        second = run("--format", again, "-f")
        same = run("--dump", again, "-f").stdout == run("--dump", path, "-f").stdout
    comments = [line.strip() for line in open(path, "rb") if line.lstrip().startswith(b"#")]
    ok = first.returncode == 0 and second.stdout == first.stdout and (same or b"include" in first.stdout)
    ok = ok and all(comment in first.stdout for comment in comments)
    if "/format/" in path:
        golden(ok, "format " + os.path.basename(path)[:-5], (path[:-5] + ".out", first.stdout))
    else:
        golden(ok, "format keeps " + os.path.basename(path)[:-5])


def import_case(path):
    """NAME.json becomes NAME.conf and NAME.err, and what it becomes loads as the JSON itself does."""
    if "-env" in path:
        env["TEE_T_KMS_KEY"] = "alias/tee-t"
    got = run("--import", path)
    ok = got.returncode == (1 if got.stderr else 0) and bool(got.stdout) != bool(got.stderr)
    if ok and got.stdout:
        with tempfile.TemporaryDirectory() as directory:
            text = os.path.join(directory, "imported.conf")
            with open(text, "wb") as out:
                out.write(got.stdout)
            ok = run("--dump", text, "-f").stdout == run("--dump", path, "-f").stdout != b""
            # As the service has it: nothing but the environment names the file.
            env["PROXY_CONFIG"] = path
            ok = ok and subprocess.run([teeproxy, "--dump"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout == \
                run("--dump", path, "-f").stdout
            del env["PROXY_CONFIG"]
    golden(ok, "import " + os.path.basename(path)[:-5], (path[:-5] + ".conf", got.stdout), (path[:-5] + ".err", got.stderr))
    env.pop("TEE_T_KMS_KEY", None)


def explain_case(path):
    """What --explain says to each line of NAME.ask is NAME.out."""
    said = b""
    for line in open(path[:-5] + ".ask"):
        got = run("--explain", path, *line.split(), "-f")
        said += b"$ " + line.encode() + got.stdout + got.stderr
    golden(True, "explain " + os.path.basename(path)[:-5], (path[:-5] + ".out", said))


cases = [(k, p) for k in ("accept", "reject") for p in sorted(glob.glob(os.path.join(here, k, "*.conf")))]
dumps = [p for k, p in cases if k == "accept"]
formats = dumps + sorted(glob.glob(os.path.join(here, "format", "*.conf")))
imports = sorted(glob.glob(os.path.join(here, "import", "*.json")))
explains = sorted(glob.glob(os.path.join(here, "explain", "*.conf")))
print("1..%d" % (len(cases) + len(dumps) + len(formats) + len(imports) + len(explains)))
for kind, path in cases:
    case(kind, path)
for path in dumps:
    dump_case(path)
for path in formats:
    format_case(path)
for path in imports:
    import_case(path)
for path in explains:
    explain_case(path)
sys.exit(0)

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""--check=json says of every reject case, and of every warning, what the text says, as values."""

import glob
import json
import os
import re
import subprocess

teeproxy = os.environ["TEEPROXY"]
here = os.path.join(os.environ["top_srcdir"], "tests", "conf")
paths = sorted(glob.glob(os.path.join(here, "reject", "*.conf"))) + sorted(glob.glob(os.path.join(here, "accept", "*.conf")))
env = dict(os.environ, EMPTY="", PORT="8443")
HEAD = re.compile(r"^([^\s:][^:]*):(\d+):(\d+): (error|warning): (.*)$", re.M)


def told(path):
    run = subprocess.run([teeproxy, "--check=json", "-f", os.path.basename(path)], cwd=os.path.dirname(path), env=env,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return run.returncode, json.loads(run.stdout.decode()), run.stderr


print("1..%d" % len(paths))
for number, path in enumerate(paths, 1):
    expected = 1 if "/reject/" in path else 0
    text = ""
    if os.path.exists(path[:-5] + ".err"):
        text = open(path[:-5] + ".err", encoding="utf-8", errors="replace").read()
    want = [(f, int(l), int(c), s, m) for f, l, c, s, m in HEAD.findall(text)]
    why = ""
    try:
        code, rows, err = told(path)
        got = [(r["file"], r["line"], r["column"], r["severity"], r["message"]) for r in rows if r["line"]]
        ok = code == expected and not err and got == want and all(
            re.fullmatch(r"[a-z][a-z0-9-]*", r["code"]) and isinstance(r["notes"], list) and "end" in r for r in rows)
        if not ok:
            why = "got %r, expected %r" % (got, want)
    except ValueError as e:
        ok, why = False, str(e)
    print("%sok %d - %s" % ("" if ok else "not ", number, os.path.basename(path)[:-5]))
    if why:
        print("# " + why)

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every keyword, misspelled by one letter in three ways, is an error at its place that names the right one."""

import os
import subprocess
import tempfile

teeproxy = os.environ["TEEPROXY"]
MODES = {"forwarded": "http", "host": "http", "path": "http", "sni": "https", "alpn": "https", "to": "egress",
         "protocol": "egress", "address-policy": "egress", "require": "kms", "request-size": "kms",
         "max-requests": "kms", "store": "kms"}
rows = [row.split("\t")[:2] for row in
        subprocess.run([teeproxy, "--keywords"], stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()]
known = {}
for section, name in rows:
    known.setdefault(section, set()).update(name.split())
number = 0
results = []


def head(section, word):
    if section == "frontend":
        return "frontend x mode %s" % MODES.get(word, "tcp")
    return {"defaults": "defaults all", "enclave": "enclave x", "backend": "backend x"}.get(section, section)


def misspell(word):
    middle = len(word) // 2
    return {word[:middle] + "q" + word[middle:], word[:middle] + word[middle + 1:], word[:-1] + "q"}


def check(directory, section, words, at):
    for wrong in sorted(misspell(words[at])):
        # One letter of a word of two is not enough to suggest by, and another keyword is no mistake.
        if len(words[at]) < 4 or wrong in known[section]:
            continue
        line = " ".join(words[:at] + [wrong] + words[at + 1:]) + " 1"
        text = "%s {\n\t%s\n}\n" % (head(section, words[0]), line)
        with open(os.path.join(directory, "a.conf"), "w") as out:
            out.write(text)
        got = subprocess.run([teeproxy, "--check", "-f", "a.conf"], cwd=directory, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        said = got.stderr.decode()
        column = 2 + len(" ".join(words[:at]) + " " if at else "")
        ok = got.returncode == 1 and any(
            l.startswith("a.conf:2:%d: error: " % column) and '"%s"' % " ".join(words[:at] + [wrong]) in l and words[at] in l.split(wrong, 1)[1]
            for l in said.splitlines())
        results.append((ok, "%s: %s for %s" % (section, wrong, words[at]), said))


with tempfile.TemporaryDirectory() as temporary:
    for section_, name_ in rows:
        words_ = name_.split()
        check(temporary, section_, words_, len(words_) - 1)

print("1..%d" % len(results))
for number, (ok, what, said) in enumerate(results, 1):
    print("%sok %d - %s" % ("" if ok else "not ", number, what))
    if not ok:
        for line in said.splitlines():
            print("#   " + line)

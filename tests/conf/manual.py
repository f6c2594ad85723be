#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The manual says what the program knows: every setting with its default, every option, every reason
for which a connection ends, and examples that are the files in conf/."""

import os
import re
import shutil
import subprocess

top = os.environ["top_srcdir"]
teeproxy = os.environ["TEEPROXY"]
page = open(os.path.join(top, "man", "teeproxy.conf.5")).read()
command = open(os.path.join(top, "man", "teeproxy.8")).read()
results = []


def check(ok, what):
    results.append(("ok" if ok else "not ok", what))


def sections():
    """The text of each .Ss, by the first word of its name."""
    parts = re.split(r"^\.Ss (.*)$", page, flags=re.M)
    return {parts[i].split()[0]: parts[i + 1] for i in range(1, len(parts), 2)}


by_section = sections()
rows = subprocess.run([teeproxy, "--keywords"], stdout=subprocess.PIPE, check=True).stdout.decode()
for row in rows.splitlines():
    section, name, preset, _ = row.split("\t")
    text = by_section.get(section, "") + (by_section["Matchers"] if section == "frontend" else "")
    items = re.split(r"^\.It ", text, flags=re.M)
    mine = [i for i in items if re.match(r"Cm %s(\s|$)" % re.escape(name), i)]
    check(mine and (not preset or "Default: %s." % preset in mine[0]),
          'teeproxy.conf(5) has "%s" of %s with its default' % (name, section))

for option in re.findall(r"--([a-z-]+)", subprocess.run([teeproxy, "--help"], stdout=subprocess.PIPE).stdout.decode()):
    check("Fl -" + option in command, "teeproxy(8) has --" + option)

diagnostics = re.search(r"^\.Sh DIAGNOSTICS$(.*?)^\.Sh ", page, flags=re.M | re.S).group(1)
told = re.findall(r"^\.It Sy (\S+)\n(?!\.It)", diagnostics, flags=re.M)
ends = open(os.path.join(top, "src", "conn", "conn_end.def")).read()
labels = re.findall(r'^CONN_END\(\w+, "(\w+)"', ends, flags=re.M)
check(labels, "conn_end.def was read")
for label in labels:
    check(told.count(label) == 1, "teeproxy.conf(5), DIAGNOSTICS, has " + label)
for label in told:
    check(label in labels, "a connection can end for " + label)

for name in ("reclaim.conf", "egress.conf", "kms.conf"):
    text = open(os.path.join(top, "conf", name)).read().split("\n", 1)[1].replace("\\", "\\e")
    check(text in page, "the example %s is the file but for its licence" % name)

for name in ("teeproxy.8", "teeproxy.conf.5"):
    if not shutil.which("mandoc"):
        results.append(("ok", "%s is clean # SKIP no mandoc" % name))
        continue
    said = subprocess.run(["mandoc", "-T", "lint", "-W", "style", os.path.join(top, "man", name)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()
    # What it refers to may not be installed yet.
    said = [line for line in said.splitlines() if "referenced manual not found" not in line]
    for line in said:
        print("# " + line)
    check(not said, "%s is clean under mandoc -T lint" % name)

print("1..%d" % len(results))
for number, (ok, what) in enumerate(results, 1):
    print("%s %d - %s" % (ok, number, what))

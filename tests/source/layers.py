#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the tree promises of itself: includes point downwards, pure rooms are pure, a foreign library
is met in few files and shown in no header, and each file says its licence."""

import os
import re
import subprocess

top = os.environ["top_srcdir"]
build = os.environ["top_builddir"]

# From the top; a room may include itself and what stands behind it.  Text becomes a tree in two
# rooms that know each other: grammar/ and config/.
ROOMS = ["main", "master", "admin", "mode", "aws", "conn", "engine", "net", "log", "grammar", "config", "route", "wire", "base"]
PURE = {"grammar", "config", "route", "wire", "base"}
IMPURE_HEADERS = {"ev.h", "pthread.h", "sys/socket.h", "poll.h", "sys/epoll.h", "signal.h", "syslog.h", "threads.h",
		  "netdb.h", "curl/curl.h", "ares.h"}
# What a pure room may not call.
IMPURE_CALLS = re.compile(r"(socket|connect|bind|listen|accept4?|sendto|sendmsg|send|recv|recvmsg|recvfrom|poll|select|"
			  r"ev_\w+|pthread_\w+|log_\w+|syslog|v?printf|puts|perror|stdout|stderr|v?fprintf|fopen|open|read|write|"
			  r"getenv|time|clock_gettime|gettimeofday|rand|random|getrandom|localtime\w*)(64)?")
ALLOWED = {	# object: what it calls all the same
	"reader.o": re.compile(r"(fopen|open|read|getenv)(64)?"),	# what main.c hands down: files and the environment
	"lower.o": re.compile(r"getrandom"),	# the key of the hashes
	"xalloc.o": re.compile(r"v?fprintf|stderr"),	# the last words
}
# A header of a library, and where it may be met.
LIBRARIES = {
	"ares.h": ["src/net/"], "pcre2.h": ["src/route/regex.c"], "curl/": ["src/aws/"], "seccomp.h": ["src/master/sandbox.c"],
	"json-c/": ["src/config/", "src/wire/", "src/aws/", "src/mode/"], "openssl/": ["src/"], "systemd/": ["src/"],
}
# No place for a line of ours: what tests feed in and compare byte by byte, and the licence itself.
UNSIGNED = re.compile(r"tests/conf/(accept|explain|format|import|reject)/|tests/fuzz/(corpus|regress)/|LICENSE$")
SIGNED = re.compile(r"\.(c|h|l|y|def|py|sh|am|ac|mk|conf|md|dict|in|sysusers|[1-9])$|/(bootstrap|run|init|enclavectl)$|/\.(clang-format|editorconfig|gitignore)$")
GENERATED = re.compile(r"/(Makefile\.in|config\.h\.in|configure|aclocal\.m4)$|/grammar/(lexer|parser)\.[ch]$")

results = []


def check(faults, what):
	results.append(("not ok" if faults else "ok", what, sorted(faults)))


def files():
	for directory, names, here in os.walk(top):
		names[:] = sorted(n for n in names if n not in (".git", "autom4te.cache", "build-aux", "_build", "_inst", "__pycache__")
				  and not os.path.exists(os.path.join(directory, n, "config.status")))
		for name in sorted(here):
			path = os.path.join(directory, name)
			if not os.path.islink(path):
				yield os.path.relpath(path, top), path


def room_of(path):
	parts = path.split("/")
	if parts[0] == "grammar":
		return "grammar"
	return "main" if len(parts) == 2 else parts[1]


texts = {}
for name_, path_ in files():
	if SIGNED.search("/" + name_) and not GENERATED.search("/" + name_):
		with open(path_, encoding="utf-8", errors="replace") as f:
			texts[name_] = f.read()
sources = {n: t for n, t in texts.items() if re.match(r"(src|grammar)/.*\.(c|h|l|y|def)$", n)}
check([] if len(sources) > 60 else ["only %d" % len(sources)], "the sources were found")

check({"%s is in no room of the list" % n for n in sources if room_of(n) not in ROOMS}, "each source is in a room")

upward = set()
for name_, text_ in sources.items():
	mine = room_of(name_)
	for theirs in re.findall(r'^\s*#\s*include\s+"(\w+)/', text_, re.M):
		if theirs not in ROOMS or mine not in ROOMS:
			upward.add("%s includes %s/, which is no room" % (name_, theirs))
		elif ROOMS.index(theirs) < ROOMS.index(mine) and (mine, theirs) != ("config", "grammar"):
			upward.add("%s includes %s/, which is above %s/" % (name_, theirs, mine))
check(upward, "includes point downwards")

check({"%s includes <%s>" % (n, h) for n, t in sources.items() if room_of(n) in PURE
       for h in re.findall(r"^\s*#\s*include\s+<([^>]+)>", t, re.M) if h in IMPURE_HEADERS},
      "pure rooms include no loop, socket, thread or log")

shown = set()
for name_, text_ in sources.items():
	for header in re.findall(r"^\s*#\s*include\s+<([^>]+)>", text_, re.M):
		for library, places in LIBRARIES.items():
			if not header.startswith(library):
				continue
			if name_.endswith(".h"):
				shown.add("%s shows <%s>" % (name_, header))
			elif not any(name_.startswith(p) for p in places):
				shown.add("%s meets <%s>, which belongs in %s" % (name_, header, " ".join(places)))
check(shown, "foreign libraries are met where they belong, and in no header")

check({"%s begins without it" % n for n, t in texts.items() if not UNSIGNED.search(n)
       and "SPDX-License-Identifier: Apache-2.0" not in "\n".join(t.splitlines()[:3])},
      "each file says its licence in its first lines")

check({"%s has %d lines" % (n, t.count("\n")) for n, t in sources.items() if t.count("\n") > 800}, "no source has more than 800 lines")


def objects():
	"""Symbols of the pure rooms' objects as they are linked: (file, kind, name, section)."""
	for directory, _, here in os.walk(os.path.join(build, "src")):
		for name in here:
			if name.endswith(".o") and os.path.basename(directory) in PURE:
				yield name, os.path.join(directory, name)


stateful, calls, n = set(), set(), 0
sanitized = False
for name_, path_ in objects():
	n += 1
	said = subprocess.run(["nm", "-f", "sysv", path_], stdout=subprocess.PIPE, check=True).stdout.decode()
	for line in said.splitlines():
		row = [word.strip() for word in line.split("|")]
		if len(row) != 7:
			continue
		symbol, kind, section = row[0], row[2], row[6]
		sanitized |= "__asan" in symbol or "__tsan" in symbol or "__ubsan" in symbol
		# Objects for link-time optimization have no sections yet, and tell no constant from a variable.
		if section and kind in ("b", "B", "d", "D", "C") and not section.startswith(".data.rel.ro"):
			stateful.add("%s: %s in %s" % (name_, symbol, section))
		allowed = ALLOWED.get(name_)
		if kind == "U" and IMPURE_CALLS.fullmatch(symbol) and not (allowed and allowed.fullmatch(symbol)):
			calls.add("%s calls %s" % (name_, symbol))
what_ = "pure rooms keep no state, and call nothing that does"
if sanitized:
	results.append(("ok", what_ + " # SKIP a build with sanitizers has symbols of its own", []))
else:
	check((stateful | calls) if n else ["nothing is built"], what_)

print("1..%d" % len(results))
for number, (ok, what, faults) in enumerate(results, 1):
	print("%s %d - %s" % (ok, number, what))
	for fault in faults:
		print("#   " + fault)

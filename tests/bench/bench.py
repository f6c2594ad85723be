#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures teeproxy beside its peers, interleaved in one run.

Everything runs in a network namespace of its own (reno, loopback only).  The proxies are pinned
to core 0, clients and backends to core 1.  Every answer is checked by tests/bench/load; one
wrong answer fails the run.

All proxies stand side by side.  In each round they do a workload one after the other in short
slices, forward in one round and backward in the next, and a ratio is the median over the rounds
of what two of them cost in the same seconds.  CPU time is /proc/PID/task/*/schedstat of all of a
proxy's processes, divided by the units that were done.  System calls are counted by strace, user
instructions by valgrind, each in runs of their own, since both slow things down.

usage: bench.py [--quick] [--only WORKLOAD,... [--whole]] [--proxies NAME,...] [--json FILE]
       bench.py --train		runs teeproxy alone through the workloads, for "make pgo"

README.md beside this file says what the workloads are, and what came out.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e", "lib")]
import extras
from goals import beside_one_worker, beside_the_best, judge, table
from measure import LOAD, TEEPROXY, WORKLOADS, by_kind, counted, idle, load, rounds_of, running
from peers import BACKEND, LIMIT, Haproxy, Nginx, Teeproxy, find_proxies

QUICK = ["conn", "conn-pq", "rate", "rr-1", "http", "http-ka", "down", "up"]
QUICK_TUNNELS = 2000
ROUNDS, QUICK_ROUNDS, TWO_ROUNDS = 20, 7, 8
SLICE_S = 0.35	# of a proxy: many short ones, since the machine is another after a second
COUNT_S = 0.8	# while calls or instructions are counted


def in_namespace():
    """Runs this script again in a network namespace of its own."""
    if os.environ.get("BENCH_NETNS") == "1":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno"], check=False)
        subprocess.run(["sysctl", "-qw", "net.ipv4.ip_local_port_range=10000 65000",
                        "net.core.somaxconn=4096"], check=False)
        return
    os.environ["BENCH_NETNS"] = "1"
    os.execvp("unshare", (["unshare", "-n"] if os.getuid() == 0 else ["unshare", "-rn"]) + [sys.executable] + sys.argv)


def all_descriptors():
    """What this limit is at most, for all that is started from here."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def train():
    proxy = Teeproxy(TEEPROXY)
    for kind, workloads in (("plain", QUICK + ["egress", "down-48k"]), ("names-1k", ["names-1k"]),
                            ("wildcards", ["wildcards"]), ("regexes", ["regexes"])):
        with running([proxy], kind, under=["env"], gently=True):
            for w in workloads:
                load(proxy, w, 1)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--proxies")
    parser.add_argument("--haproxy", default=os.environ.get("HAPROXY"), help="another one than in PATH, measured too")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of a slice")
    parser.add_argument("--tunnels", type=int)
    parser.add_argument("--before", help="another teeproxy, measured beside this one")
    parser.add_argument("--calls", action="store_true", help="count system calls and instructions of --only's too")
    parser.add_argument("--whole", action="store_true", help="all that a full run does, with --only's and --rounds")
    parser.add_argument("--json")
    return parser.parse_args()


class Run:
    """What a run is to measure, and what it has found so far.

    found goes to the file after each phase, and each phase shows its figures as they come: a run
    that fails has lost nothing that it had.
    """

    def __init__(self, options, workloads, chosen):
        self.options, self.workloads, self.chosen = options, workloads, chosen
        self.found = {"complete": False, "results": {}, "goals": [], "calls": {}, "instructions": {}, "idle": {},
                      "idle_http": {}, "idle_egress": {}, "two_workers": {}, "big": {}, "kms": {}}
        self.began = time.monotonic()

    def phases(self):
        o = self.options
        full = o.whole or not (o.only or o.quick)
        return [side_by_side] + [counts] * (not o.only or o.calls or full) + [memory] * (not o.only or full) + \
            [two_workers, alone] * full

    def all(self):
        try:
            for phase in self.phases():
                phase(self)
                self.save(phase.__doc__)
            self.found["complete"] = True
        finally:
            goals = judge(self.found)
            goals.show()
            self.found["goals"] = goals.lines
            self.save("the run, whole" if self.found["complete"] else "the run, broken off")

    def save(self, what):
        if self.options.json:
            with open(self.options.json + ".new", "w") as out:
                json.dump(self.found, out, indent=1)
            os.rename(self.options.json + ".new", self.options.json)
        print("# after %.0f s: %s" % (time.monotonic() - self.began, what), flush=True)


def rounds_and_table(run, proxies, results, rounds, last):
    """last: makes the last column of results."""
    for kind, todo in by_kind(run.workloads):
        try:
            rounds_of(list(proxies.values()), kind, todo, rounds, run.options.seconds or SLICE_S, results)
        finally:
            table(results, todo, last(results))
        run.save("%d rounds of %s: %s" % (rounds, ", ".join(todo), ", ".join(proxies)))


def side_by_side(run):
    """all proxies side by side"""
    rounds_and_table(run, run.chosen, run.found["results"], run.options.rounds or (QUICK_ROUNDS if run.options.quick else ROUNDS),
                     beside_the_best)


def counts(run):
    """system calls and instructions"""
    print("\nsystem calls and user instructions a unit")
    for name, proxy in run.chosen.items():
        if proxy.kind == "direct":
            continue
        calls, instructions = counted(proxy, ["conn"] if run.options.quick and not run.options.calls else run.workloads, COUNT_S)
        run.found["calls"][name], run.found["instructions"][name] = calls, instructions
        for w in run.workloads:
            if w in calls or w in instructions:
                row = calls.get(w, {"calls": "-", "by_name": ""})
                print("%-10s %-14s %8s calls %9s instructions  %s" % (w, name, row["calls"], instructions.get(w, "-"), row["by_name"]))
        run.save("of " + name)


def memory(run):
    """memory a connection"""
    print("\nmemory: growth in bytes an idle connection, and the share given back after")
    quick = run.options.quick
    for name, proxy in run.chosen.items():
        if proxy.kind in ("direct", "nginx-shared"):
            continue
        with running([proxy], "plain"):
            run.found["idle"][name] = idle(proxy, run.options.tunnels or (QUICK_TUNNELS if quick else LIMIT))
            print("%-13s %-14s %s" % ("idle tunnels", name, run.found["idle"][name]), flush=True)
        for what in () if quick else ("http", "egress") if proxy.kind == "teeproxy" else ("http",):
            with running([proxy], "plain"):
                run.found["idle_" + what][name] = idle(proxy, QUICK_TUNNELS, what)
                print("%-13s %-14s %s" % ("kept " + what, name, run.found["idle_" + what][name]), flush=True)


def two_workers(run):
    """teeproxy with one worker beside everyone who has two"""
    if "teeproxy" not in run.chosen:
        return
    both = {"teeproxy": run.chosen["teeproxy"]}
    for name, proxy in run.chosen.items():
        if isinstance(proxy, (Teeproxy, Haproxy, Nginx)) and proxy.kind != "nginx-shared" and name != "before":
            both[name + " x2"] = type(proxy)(proxy.binary, name + " x2", workers=2)
    rounds_and_table(run, both, run.found["two_workers"], run.options.rounds or TWO_ROUNDS, beside_one_worker)


def alone(run):
    """what no peer does"""
    if "teeproxy" not in run.chosen:
        return
    run.found["big"] = extras.big_configuration()
    print("\n%-13s %-14s %s" % ("100,000 rules", "teeproxy", run.found["big"]), flush=True)
    run.found["kms"], rows = extras.kms()
    for name, found in run.found["kms"].items():
        run.found["two_workers"].setdefault(name, {})["kms"] = rows[name]
        print("%-13s %-14s %s" % ("kms", name, found), flush=True)


def main():
    options = parse()
    in_namespace()
    all_descriptors()
    workloads = options.only.split(",") if options.only else QUICK if options.quick else list(WORKLOADS)
    server = subprocess.Popen(["taskset", "-c", "1", LOAD, "serve"] + ["%s=%d" % i for i in BACKEND.items()],
                              stdout=subprocess.PIPE, text=True)
    server.stdout.readline()
    try:
        if options.train:
            train()
        else:
            Run(options, workloads, find_proxies(TEEPROXY, options.proxies.split(",") if options.proxies else None,
                                                 options.haproxy, options.before)).all()
    finally:
        server.kill()
        server.wait()


main()

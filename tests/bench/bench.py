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

usage: bench.py [--quick] [--only WORKLOAD,...] [--proxies NAME,...] [--json FILE]
       bench.py --train		runs teeproxy alone through the workloads, for "make pgo"

README.md beside this file says what the workloads are, and what came out.
"""

import argparse
import json
import os
import resource
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e", "lib")]
import extras
from goals import judge, medians, ratio_to, table
from measure import LOAD, TEEPROXY, WORKLOADS, counted, idle, load, rounds_of, running
from peers import BACKEND, LIMIT, Haproxy, Nginx, Teeproxy, find_proxies

QUICK = ["conn", "conn-pq", "rate", "rr-1", "http", "http-ka", "down", "up"]
QUICK_TUNNELS = 2000
SLICE_S = 0.35	# of a proxy: many short ones, since the machine is another after a second
COUNT_S = 1.5	# while calls or instructions are counted


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
    parser.add_argument("--json")
    return parser.parse_args()


def beside_time(options, chosen, workloads):
    """What is not a matter of time: calls, instructions, memory."""
    extra = {"calls": {}, "instructions": {}, "idle": {}}
    todo = [] if options.only and not options.calls else ["conn"] if options.quick else workloads
    for name, proxy in chosen.items():
        if proxy.kind in ("direct", "nginx-shared"):
            continue
        extra["calls"][name], extra["instructions"][name] = counted(proxy, todo, COUNT_S)
        if not options.only:
            with running([proxy], "plain"):
                extra["idle"][name] = idle(proxy, options.tunnels or (QUICK_TUNNELS if options.quick else LIMIT))
        print("# %s: calls, instructions, memory" % name, flush=True)
    return extra


def two_workers(options, chosen, workloads):
    """teeproxy with one worker beside everyone who has two."""
    both = {"teeproxy": chosen["teeproxy"]}
    for name, proxy in chosen.items():
        if isinstance(proxy, (Teeproxy, Haproxy, Nginx)) and proxy.kind != "nginx-shared" and name != "before":
            both[name + " x2"] = type(proxy)(proxy.binary, name + " x2", workers=2)
    return rounds_of(both, workloads, options.rounds or 8, options.seconds or SLICE_S)


def more(options, chosen, workloads):
    """What only a full run does."""
    ours = chosen.get("teeproxy")
    if not ours:
        return {}
    found = {"two_workers": two_workers(options, chosen, workloads), "big": extras.big_configuration(), "kms": extras.kms()}
    for what in ("egress", "http"):
        with running([ours], "plain"):
            found["idle_" + what] = idle(ours, QUICK_TUNNELS, what)
    return found


def show(extra):
    for what in ("calls", "instructions"):
        for name, rows in extra[what].items():
            for w, row in rows.items():
                print("%-13s %-13s %-9s %s" % (what, name, w, "%8.2f  %s" % (row["calls"], row["by_name"]) if what == "calls" else "%8s" % row))
    for name, row in extra["idle"].items():
        print("idle tunnels  %-13s %s" % (name, row))
    two = extra.get("two_workers", {})
    for name, rows in two.items():
        for w in rows:
            ratio = ratio_to(rows[w], two["teeproxy"][w]) if name != "teeproxy" and w in two["teeproxy"] else None
            if ratio:
                m = medians(rows[w])
                print("two workers   %-15s %-9s CPU %9.1f us, %8.1f units/s, p99 %6.0f us; CPU %.2f (%.2f to %.2f) of teeproxy's with one" %
                      ((name, w, m["cpu_us"], m["rate"], m["p99"]) + ratio))
    for what in ("idle_egress", "idle_http", "big", "kms"):
        if what in extra:
            print("%-13s teeproxy      %s" % (what, extra[what]))


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
            return
        chosen = find_proxies(TEEPROXY, options.proxies.split(",") if options.proxies else None, options.haproxy, options.before)
        results = rounds_of(chosen, workloads, options.rounds or (7 if options.quick else 24),
                            options.seconds or SLICE_S)
        table(results, workloads)
        sys.stdout.flush()
        extra = beside_time(options, chosen, workloads)
        if not options.only and not options.quick:
            extra.update(more(options, chosen, workloads))
    finally:
        server.kill()
        server.wait()
    show(extra)
    goals = judge(results, extra)
    goals.show()
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"results": results, "goals": goals.lines, **extra}, out, indent=1)


main()

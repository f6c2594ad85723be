#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures teeproxy beside its peers, interleaved in one run.

Everything runs in a network namespace of its own (reno, loopback only).  The proxy is pinned
to core 0, clients and backends to core 1.  Every answer is checked by tests/bench/load; one
wrong answer fails the run.

Rounds are interleaved: in round r each proxy in turn does each workload, and the median over
the rounds is what counts.  CPU time is /proc/PID/task/*/schedstat of all of a proxy's processes,
divided by the units that were done.  System calls are counted by strace, user instructions by
valgrind, each in runs of their own, since both slow things down.

usage: bench.py [--quick] [--only WORKLOAD,...] [--proxies NAME,...] [--json FILE]
       bench.py --train		runs teeproxy alone through the workloads, for "make pgo"

README.md beside this file says what the workloads are, and what came out.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e", "lib")]
from peers import (BACKEND, EGRESS, HTTP, HTTP_OWN, LIMIT, RULES, TLS, Direct, Haproxy, Nginx, NginxShared, Sniproxy,
                   Teeproxy)

BUILD = os.environ.get("top_builddir", os.path.join(HERE, "..", ".."))
LOAD = os.environ.get("LOAD", os.path.join(BUILD, "tests/bench/load"))
TEEPROXY = os.environ.get("TEEPROXY", os.path.join(BUILD, "teeproxy"))

MANY = ["--clients", "64"]
# name, arguments of load, port, the unit of which the CPU time is told
WORKLOADS = {
    "conn": (["conn"] + MANY, TLS, "done"),
    "conn-pq": (["conn", "--hello", "1800"] + MANY, TLS, "done"),
    "rate": (["rate", "--rate", "2000", "--clients", "2000"], TLS, "done"),
    "rr-1": (["rr", "--name", "echo.bench.test"] + MANY, TLS, "done"),
    "rr-1k": (["rr", "--name", "echo.bench.test", "--size", "1024"] + MANY, TLS, "done"),
    "http": (["http", "--name", "http.bench.test"] + MANY, HTTP, "done"),
    "http-ka": (["http-ka", "--name", "http.bench.test"] + MANY, HTTP, "done"),
    "down": (["down", "--name", "down.bench.test", "--clients", "4"], TLS, "bytes"),
    "up": (["up", "--name", "up.bench.test", "--clients", "4"], TLS, "bytes"),
    "down-48k": (["down", "--name", "small.bench.test", "--bytes", "49152"] + MANY, TLS, "done"),
    "names-10": (["conn", "--name", "n%u.names.test", "--names", "10"] + MANY, TLS, "done"),
    "names-1k": (["conn", "--name", "n%u.names.test", "--names", "1000"] + MANY, TLS, "done"),
    "names": (["conn", "--name", "n%u.names.test", "--names", "100000"] + MANY, TLS, "done"),
    "wildcards": (["conn", "--name", "x.w%u.wild.test", "--names", "1000"] + MANY, TLS, "done"),
    "regexes": (["conn", "--name", "r%u.regex.test", "--names", "1000"] + MANY, TLS, "done"),
    "egress": (["conn", "--line", "127.0.0.1:%d" % BACKEND["conn"]] + MANY, EGRESS, "done"),
}
QUICK = ["conn", "conn-pq", "rate", "rr-1", "http", "http-ka", "down", "up"]
COUNTED = ["conn", "conn-pq", "rr-1", "http", "http-ka"]	# system calls and instructions of each proxy
TWO = ["conn", "rr-1", "http-ka"]	# with two workers, too

# sniproxy looks a name up by trying every pattern and does not route each request of a kept
# connection, so it is left out where that is the question; only teeproxy has egress.
SKIP = {("sniproxy", "http-ka"), ("sniproxy", "names"), ("direct", "names"), ("direct", "names-10"),
        ("direct", "names-1k"), ("direct", "wildcards"), ("direct", "regexes")}


def skipped(proxy, workload):
    if proxy.name == "nginx-shared":
        return workload != "http"
    if workload == "egress":
        return proxy.name not in ("teeproxy", "before", "direct")
    return (proxy.name, workload) in SKIP


def load(proxy, workload, seconds):
    args, port, unit = WORKLOADS[workload]
    if proxy.name == "direct":
        role = {"rr": "echo", "http-ka": "http", "rate": "conn"}.get(args[0], args[0])
        port = BACKEND["small" if workload == "down-48k" else role]
        args = args[:1] + args[3:] if workload == "egress" else args
    elif proxy.name == "nginx" and workload == "http":
        port = HTTP_OWN
    before = proxy.cpu_ns()
    run = subprocess.run(["taskset", "-c", "1", LOAD] + args + ["--to", str(port), "--seconds", str(seconds)],
                         stdout=subprocess.PIPE, text=True, timeout=seconds + 120)
    used = proxy.cpu_ns() - before
    result = json.loads(run.stdout)
    if run.returncode != 0:
        raise SystemExit("%s, %s: wrong answers: %s" % (proxy.name, workload, run.stdout))
    units = result["done"] if unit == "done" else result["bytes"] / 1e9
    result["rate"] = units / result["seconds"]
    result["cpu_us"] = used / 1000 / units if units else 0
    return result


def with_proxy(proxy, kind, what, workers=1, under=(), gently=False):
    proxy.start(kind, workers, under)
    try:
        return what()
    finally:
        proxy.stop(gently)


def idle(proxy, tunnels):
    """Growth of the proxy per idle tunnel, and the share given back after."""
    warm = ["taskset", "-c", "1", LOAD, "conn", "--to", str(TLS), "--seconds", "0.5"]
    subprocess.run(warm, stdout=subprocess.DEVNULL, check=False)
    time.sleep(0.5)
    before = proxy.pss()
    run = subprocess.Popen(["taskset", "-c", "1", LOAD, "idle", "--to", str(TLS), "--name", "echo.bench.test",
                            "--clients", str(tunnels)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        answer = json.loads(run.stdout.readline() or '{"errors": 1, "ready": 0}')
        if answer["errors"] or answer["ready"] != tunnels:
            return {"tunnels": answer["ready"], "failed": True}
        time.sleep(1)
        peak = proxy.pss()
        run.stdin.close()
        run.wait()
        time.sleep(2)
        after = proxy.pss()
        return {"tunnels": tunnels, "bytes": round((peak - before) / tunnels),
                "given_back": round((peak - after) / (peak - before), 3) if peak > before else 1}
    finally:
        if run.poll() is None:
            run.kill()


def syscalls(proxy, workload, seconds):
    """System calls a unit, by strace -c on the running proxy; the load is slower then."""
    out = os.path.join(proxy.dir, "strace")
    trace = subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", "-o", out] +
                             [a for pid in proxy.pids() for a in ("-p", str(pid))], stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    result = load(proxy, workload, seconds)
    trace.send_signal(signal.SIGINT)
    trace.wait()
    calls = {}
    for line in open(out):
        fields = line.split()
        if len(fields) == 2 and fields[0].isdigit():
            calls[fields[1]] = int(fields[0])
    total = calls.pop("total", sum(calls.values()))
    return {"calls": round(total / result["done"], 2),
            "by_name": {k: round(v / result["done"], 2) for k, v in sorted(calls.items(), key=lambda i: -i[1])
                        if v / result["done"] > 0.05}}


def tell_callgrind(word, pid):
    try:
        subprocess.run(["callgrind_control", word, pid], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       timeout=20)
    except subprocess.TimeoutExpired:
        pass  # a process that is not under valgrind's eye: it counts nothing


def instructions(proxy, kind, workload, seconds):
    """User instructions a unit: what callgrind counts between two words to it, start-up left out."""
    def count():
        subprocess.run(["taskset", "-c", "1", LOAD] + WORKLOADS[workload][0] +
                       ["--to", str(WORKLOADS[workload][1]), "--seconds", "0.3"], stdout=subprocess.DEVNULL, check=False)
        pids = [str(p) for p in proxy.pids()]
        for pid in pids:
            tell_callgrind("-z", pid)
        done = load(proxy, workload, seconds)["done"]
        total = 0
        for pid in pids:
            tell_callgrind("-d", pid)
            dump = os.path.join(proxy.dir, "cg.%s.1" % pid)
            for line in open(dump) if os.path.exists(dump) else ():
                if line.startswith(("totals:", "summary:")):
                    total += int(line.split()[1])
                    break
        return round(total / done) if total else None
    return with_proxy(proxy, kind, count, under=[
        "valgrind", "--tool=callgrind", "--trace-children=yes", "--callgrind-out-file=cg.%p", "-q"])


def big_configuration():
    """--check and start with 100,000 rules: seconds and the peak of memory."""
    proxy = Teeproxy(TEEPROXY)
    result = {}

    def measure():
        began = time.time()
        check = subprocess.run(proxy.command() + ["--check"], cwd=proxy.dir, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
        result["check_s"] = round(time.time() - began, 2)
        result["check_ok"] = check.returncode == 0
        result["check_mb"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
        result["running_mb"] = round(proxy.pss() / 1e6)
    began = time.time()
    proxy.start("names")
    result["start_s"] = round(time.time() - began, 2)
    try:
        measure()
    finally:
        proxy.stop()
    return result


def kms(requests=400, clients=4):
    """mode kms before the stand-in of AWS that the tests use: GenerateDataKey, connection kept."""
    from kms_test import World
    world = World(workers=1, level="error")
    pids = [world.proxy.pid] + world.proxy.engines()
    times = []

    def cpu():
        total = 0
        for pid in pids:
            for task in os.listdir("/proc/%d/task" % pid):
                total += int(open("/proc/%d/task/%s/schedstat" % (pid, task)).read().split()[0])
        return total

    def work():
        with world.client("tee-k") as k:
            for _ in range(requests // clients):
                began = time.monotonic()
                out = k.output("GenerateDataKey", key_spec="AES_256", recipient=world.tee_k.snake_field)
                times.append(time.monotonic() - began)
                if not out["ciphertext_for_recipient"]:
                    raise SystemExit("kms: a wrong answer: %r" % out)
    before, began = cpu(), time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    took, times = time.monotonic() - began, sorted(times)
    if len(times) != requests // clients * clients:
        raise SystemExit("kms: %d answers of %d" % (len(times), requests))
    result = {"rate": round(len(times) / took), "cpu_us": round((cpu() - before) / 1000 / len(times), 1),
              "p50": round(times[len(times) // 2] * 1e6), "p99": round(times[len(times) * 99 // 100] * 1e6),
              "p999": round(times[-1] * 1e6)}
    world.proxy.stop()
    return result


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


def proxies(names, haproxy, before):
    found = {"teeproxy": Teeproxy(TEEPROXY)}
    if before:
        found["before"] = Teeproxy(before)
        found["before"].name = "before"
    for cls, binary in ((Haproxy, haproxy), (Nginx, "nginx"), (NginxShared, "nginx"), (Sniproxy, "sniproxy")):
        path = shutil.which(binary, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if path:
            found[cls.name] = cls(path)
        else:
            print("# no %s on this machine: left out" % binary)
    found["direct"] = Direct(None)
    return {n: p for n, p in found.items() if not names or n in names}


def medians(rows):
    return {k: statistics.median(r[k] for r in rows) for k in ("rate", "cpu_us", "p50", "p99", "p999")}


def table(results, workloads, names):
    print("\nmedians; CPU in us a unit (ms a GB for down and up); ratio: of CPU to the best peer's")
    print("%-10s %-13s %10s %9s %9s %9s %9s  %s" % ("workload", "proxy", "units/s", "CPU", "p50 us", "p99 us", "p99.9 us", "ratio"))
    for w in workloads:
        rows = {n: medians(results[n][w]) for n in names if results.get(n, {}).get(w)}
        peers = {n: m["cpu_us"] for n, m in rows.items() if n not in ("teeproxy", "before", "direct") and m["cpu_us"] > 0}
        for n, m in rows.items():
            bulk = w in ("down", "up")
            ratio = "%.2f (%s)" % (m["cpu_us"] / min(peers.values()), min(peers, key=peers.get)) \
                if n in ("teeproxy", "before") and peers else ""
            print("%-10s %-13s %10s %9.1f %9.0f %9.0f %9.0f  %s" %
                  (w, n, "%.2f GB" % m["rate"] if bulk else "%.0f" % m["rate"],
                   m["cpu_us"] / 1000 if bulk else m["cpu_us"], m["p50"], m["p99"], m["p999"], ratio))


def rounds_of(chosen, workloads, rounds, seconds, workers=1):
    results = {n: {} for n in chosen}
    for kind in ["plain"] + list(RULES):
        todo = [w for w in workloads if (w if w in RULES else "plain") == kind]
        for r in range(rounds if todo else 0):
            for proxy in chosen.values():
                mine = [w for w in todo if not skipped(proxy, w)]
                if mine:
                    got = with_proxy(proxy, kind, lambda: [(w, load(proxy, w, seconds)) for w in mine], workers)
                    for w, result in got:
                        results[proxy.name].setdefault(w, []).append(result)
            print("# round %d of %d (%s)" % (r + 1, rounds, kind), flush=True)
    return results


def train():
    proxy = Teeproxy(TEEPROXY)
    for kind, workloads in (("plain", QUICK + ["egress", "down-48k"]), ("names-1k", ["names-1k"]),
                            ("wildcards", ["wildcards"]), ("regexes", ["regexes"])):
        with_proxy(proxy, kind, lambda: [load(proxy, w, 1) for w in workloads], under=["env"], gently=True)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--proxies")
    parser.add_argument("--haproxy", default=os.environ.get("HAPROXY", "haproxy"))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--tunnels", type=int)
    parser.add_argument("--before", help="another teeproxy, measured beside this one")
    parser.add_argument("--calls", action="store_true", help="count system calls and instructions of --only's too")
    parser.add_argument("--json")
    return parser.parse_args()


def beside_time(options, chosen, workloads):
    """What is not a matter of time: calls, instructions, memory."""
    extra = {"calls": {}, "instructions": {}, "idle": {}}
    counted = workloads if options.calls else [] if options.only else ["conn"] if options.quick else COUNTED
    for proxy in chosen.values():
        mine = [w for w in counted if not skipped(proxy, w) and w not in ("down", "up")]
        if proxy.name == "direct" or proxy.name == "nginx-shared":
            continue
        for w in mine:
            kind = w if w in RULES else "plain"
            extra["calls"].setdefault(proxy.name, {})[w] = with_proxy(proxy, kind, lambda: syscalls(proxy, w, 1.5))
            if shutil.which("valgrind"):
                extra["instructions"].setdefault(proxy.name, {})[w] = instructions(proxy, kind, w, 1.5)
        if not options.only:
            tunnels = options.tunnels or (2000 if options.quick else LIMIT)
            extra["idle"][proxy.name] = with_proxy(proxy, "plain", lambda: idle(proxy, tunnels))
    return extra


def more(options, chosen):
    """What only a full run does: two workers, look-ups among many names, a big configuration, KMS."""
    ours = chosen.get("teeproxy")
    if not ours:
        return {}
    both = rounds_of({"teeproxy": ours}, TWO, options.rounds or 5, options.seconds or 2, workers=2)["teeproxy"]
    return {
        "two_workers": {w: medians(rows) for w, rows in both.items()},
        "look_ups": {w: instructions(ours, w, w, 1.5) for w in ("names-10", "names-1k", "names")}
        if shutil.which("valgrind") else {},
        "big": big_configuration(),
        "kms": kms(),
    }


def show(extra, results):
    for name, rows in extra["calls"].items():
        for w, row in rows.items():
            print("calls         %-10s %-9s %6.2f  %s" % (name, w, row["calls"], row["by_name"]))
    for name, rows in extra["instructions"].items():
        for w, n in rows.items():
            print("instructions  %-10s %-9s %6s" % (name, w, n))
    for name, row in extra["idle"].items():
        print("idle tunnels  %-10s %s" % (name, row))
    for w, m in extra.get("two_workers", {}).items():
        one = results.get("teeproxy", {}).get(w)
        print("two workers   teeproxy   %-9s CPU %.1f us, %.2f of one worker's" %
              (w, m["cpu_us"], m["cpu_us"] / medians(one)["cpu_us"] if one else 0))
    for what in ("look_ups", "big", "kms"):
        if what in extra:
            print("%-13s teeproxy   %s" % (what, extra[what]))


def main():
    options = parse()
    in_namespace()
    workloads = options.only.split(",") if options.only else QUICK if options.quick else list(WORKLOADS)
    server = subprocess.Popen(["taskset", "-c", "1", LOAD, "serve"] + ["%s=%d" % i for i in BACKEND.items()],
                              stdout=subprocess.PIPE, text=True)
    server.stdout.readline()
    try:
        if options.train:
            train()
            return
        chosen = proxies(options.proxies.split(",") if options.proxies else None, options.haproxy, options.before)
        results = rounds_of(chosen, workloads, options.rounds or (3 if options.quick else 5),
                            options.seconds or (1 if options.quick else 2))
        extra = beside_time(options, chosen, workloads)
        if not options.only and not options.quick:
            extra.update(more(options, chosen))
    finally:
        server.kill()
        server.wait()
    table(results, workloads, list(chosen))
    show(extra, results)
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"results": results, **extra}, out, indent=1)


main()

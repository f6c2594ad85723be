# SPDX-License-Identifier: Apache-2.0
"""What is measured on proxies that run: slices of time, system calls, instructions, memory."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

from peers import BACKEND, EGRESS, HTTP, HTTP_OWN, RULES, TLS, NotStarted

HERE = os.path.dirname(os.path.abspath(__file__))
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

# At its own rate nothing but a queue would be counted before a proxy that strace or valgrind slows down.
SLOWED = {"rate": ["--rate", "100"]}

# sniproxy looks a name up by trying every pattern and does not route each request of a kept
# connection, so it is left out where that is the question; only teeproxy has egress.
SKIP = {("sniproxy", "http-ka"), ("sniproxy", "names"), ("direct", "names"), ("direct", "names-10"),
        ("direct", "names-1k"), ("direct", "wildcards"), ("direct", "regexes")}


def skipped(proxy, workload):
    if proxy.kind == "nginx-shared":
        return workload != "http"
    if workload == "egress":
        return proxy.kind not in ("teeproxy", "direct")
    return (proxy.kind, workload) in SKIP


def kind_of(workload):
    """The configuration that a workload runs on."""
    return workload if workload in RULES else "plain"


def by_kind(workloads):
    """(kind, workloads) for each configuration that these need."""
    workloads = list(workloads)
    for kind in dict.fromkeys(map(kind_of, workloads)):
        yield kind, [w for w in workloads if kind_of(w) == kind]


def command(proxy, workload):
    args, port, _ = WORKLOADS[workload]
    if proxy.kind == "direct":
        role = {"rr": "echo", "http-ka": "http", "rate": "conn"}.get(args[0], args[0])
        to = BACKEND["small" if workload == "down-48k" else role]
        args = args[:1] + args[3:] if workload == "egress" else args
    else:
        to = proxy.ports[HTTP_OWN if proxy.kind == "nginx" and workload == "http" else port]
    return ["taskset", "-c", "1", LOAD] + args + ["--to", str(to)]


def load(proxy, workload, seconds, more=()):
    """Ends the run on one wrong answer; more: arguments that count for more than the workload's own."""
    before = proxy.cpu_ns()
    run = subprocess.run(command(proxy, workload) + ["--seconds", str(seconds)] + list(more),
                         stdout=subprocess.PIPE, text=True, timeout=seconds + 120)
    used = proxy.cpu_ns() - before
    if run.returncode != 0:
        raise (TooSlow if "never ended" in run.stdout else WrongAnswers)("%s, %s: wrong answers: %s" %
                                                                         (proxy.name, workload, run.stdout))
    result = json.loads(run.stdout)
    units = result["done"] if WORKLOADS[workload][2] == "done" else result["bytes"] / 1e9
    result["units"] = units
    result["rate"] = units / result["seconds"]
    result["cpu_us"] = used / 1000 / units if units else 0
    return result


class WrongAnswers(SystemExit):
    """Ends the run, unless a proxy gave them that was slowed down to be counted."""


class TooSlow(WrongAnswers):
    """What was answered was right, but not all of it came before load lost its patience."""


@contextlib.contextmanager
def running(proxies, kind, under=(), gently=False):
    started = []
    try:
        for proxy in proxies:
            proxy.start(kind, under)
            started.append(proxy)
        yield
    finally:
        for proxy in started:
            proxy.stop(gently)


def rounds_of(proxies, kind, workloads, rounds, seconds, results):
    """Adds a row a round to results, by proxy and workload: row i of all proxies is from the same seconds."""
    mine = [p for p in proxies if not all(skipped(p, w) for w in workloads)]
    with running(mine, kind):
        for r in range(rounds):
            for w in workloads:
                for proxy in mine if r % 2 == 0 else reversed(mine):
                    if not skipped(proxy, w):
                        results.setdefault(proxy.name, {}).setdefault(w, []).append(load(proxy, w, seconds))


def idle(proxy, tunnels, what="tunnels"):
    """Growth of the proxy per idle tunnel or kept connection, and the share given back after."""
    args, port = {"tunnels": (["idle", "--name", "echo.bench.test"], TLS),
                  "http": (["http-idle", "--name", "http.bench.test"], HTTP),
                  "egress": (["idle", "--line", "127.0.0.1:%d" % BACKEND["echo"]], EGRESS)}[what]
    warm = {"tunnels": "conn", "http": "http", "egress": "egress"}[what]
    load(proxy, warm, 0.5)
    time.sleep(0.5)
    before = proxy.pss()
    run = subprocess.Popen(["taskset", "-c", "1", LOAD] + args + ["--to", str(proxy.ports[port]), "--clients", str(tunnels)],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        ready = json.loads(run.stdout.readline() or '{"errors": 1, "ready": 0}')
        time.sleep(1)
        peak = proxy.pss()
        run.stdin.close()
        # They were all there, and silent, up to now.
        told = run.stdout.readline()
        if run.wait() != 0 or ready["ready"] != tunnels:
            raise WrongAnswers("%s, %d idle %s: wrong answers: %s" % (proxy.name, tunnels, what, told))
        time.sleep(2)
        after = proxy.pss()
        return {"tunnels": tunnels, "bytes": round((peak - before) / tunnels),
                "given_back": round((peak - after) / (peak - before), 3) if peak > before else 1}
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()


def count_calls(pids, directory, what):
    """System calls of these processes while what() runs, whose units divide them; strace slows them down."""
    out = os.path.join(directory, "strace")
    trace = subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", "-o", out] +
                             [a for pid in pids for a in ("-p", str(pid))], stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    try:
        units = what()
        time.sleep(0.3)  # the last ones' ends are calls, too
    finally:
        trace.send_signal(signal.SIGINT)
        trace.wait()
    calls = {}
    for line in open(out):
        fields = line.split()
        if len(fields) == 2 and fields[0].isdigit():
            calls[fields[1]] = int(fields[0])
    total = calls.pop("total", sum(calls.values()))
    if not total:
        raise WrongAnswers("strace saw no system call of %s" % pids)
    return {"calls": round(total / units, 2),
            "by_name": {k: round(v / units, 2) for k, v in sorted(calls.items(), key=lambda i: -i[1])
                        if round(v / units, 2) > 0}}


def tell_callgrind(word, pid):
    try:
        subprocess.run(["callgrind_control", word, pid], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       timeout=20)
    except subprocess.TimeoutExpired:
        pass  # a process that is not under valgrind's eye: it counts nothing


def count_instructions(pids, directory, nth, what):
    """User instructions of these processes while what() runs, whose units divide them; nth: of callgrind's dumps."""
    for pid in pids:
        tell_callgrind("-z", str(pid))
    units = what()
    total = 0
    for pid in pids:
        tell_callgrind("-d", str(pid))
        dump = os.path.join(directory, "cg.%d.%d" % (pid, nth))
        for line in open(dump) if os.path.exists(dump) else ():
            if line.startswith(("totals:", "summary:")):
                total += int(line.split()[1])
                break
    return round(total / units) if total else None


CALLGRIND = ["valgrind", "--tool=callgrind", "--trace-children=yes", "--callgrind-out-file=cg.%p", "-q"]


def counted(proxy, workloads, seconds):
    """(system calls, instructions) by workload; what does not start in time under valgrind has no figure."""
    calls, instructions = {}, {}
    for kind, todo in by_kind(w for w in workloads if not skipped(proxy, w)):
        if shutil.which("strace"):
            with running([proxy], kind):
                for w in todo:
                    try:
                        calls[w] = count_calls(proxy.pids(), proxy.dir,
                                               lambda: load(proxy, w, seconds, SLOWED.get(w, ()))["units"])
                    except TooSlow as e:
                        if proxy.kind == "teeproxy":
                            raise
                        print("# under strace: %s" % str(e).strip())
        if not shutil.which("valgrind"):
            continue
        try:
            with running([proxy], kind, under=CALLGRIND):
                nth = 1
                for w in todo:
                    try:
                        load(proxy, w, 0.3, SLOWED.get(w, ()))
                        instructions[w] = count_instructions(proxy.pids(), proxy.dir, nth,
                                                             lambda: load(proxy, w, seconds, SLOWED.get(w, ()))["units"])
                        nth += 1
                    except WrongAnswers as e:
                        if proxy.kind == "teeproxy":
                            raise
                        print("# under valgrind: %s" % str(e).strip())
        except NotStarted:
            print("# %s does not start in time under valgrind: %s has no instructions" % (proxy.name, ", ".join(todo)))
    return calls, instructions

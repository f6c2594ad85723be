#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures teeproxy beside its peers, interleaved in one run.

Everything runs in a network namespace of its own (reno, loopback only).  The
proxy is pinned to core 0, clients and backends to core 1.  Every answer is
checked by tests/bench/load; one wrong answer fails the run.

Rounds are interleaved: in round r each proxy in turn does each workload, and the
median over the rounds is what counts.  CPU time is /proc/PID/task/*/schedstat of
all of a proxy's processes, divided by the units that were done.  System calls
are counted by perf trace points or strace in rounds of their own.

usage: bench.py [--quick] [--only WORKLOAD,...] [--proxies NAME,...] [--json FILE]
"""

import argparse
import glob
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("top_builddir", os.path.join(HERE, "..", ".."))
LOAD = os.environ.get("LOAD", os.path.join(BUILD, "tests/bench/load"))
TEEPROXY = os.environ.get("TEEPROXY", os.path.join(BUILD, "teeproxy"))

BACKEND = {"conn": 9001, "echo": 9002, "down": 9003, "up": 9004, "http": 9005}
TLS, HTTP = 8443, 8080

# name, arguments of load, port, the unit of which the CPU time is told
WORKLOADS = {
    "conn": (["conn", "--clients", "64"], TLS, "done"),
    "conn-pq": (["conn", "--clients", "64", "--hello", "1800"], TLS, "done"),
    "rate": (["rate", "--rate", "2000", "--clients", "2000"], TLS, "done"),
    "rr-1": (["rr", "--name", "echo.bench.test", "--clients", "64"], TLS, "done"),
    "rr-1k": (["rr", "--name", "echo.bench.test", "--size", "1024", "--clients", "64"], TLS, "done"),
    "http": (["http", "--name", "http.bench.test", "--clients", "64"], HTTP, "done"),
    "http-ka": (["http-ka", "--name", "http.bench.test", "--clients", "64"], HTTP, "done"),
    "down": (["down", "--name", "down.bench.test", "--clients", "4"], TLS, "bytes"),
    "up": (["up", "--name", "up.bench.test", "--clients", "4"], TLS, "bytes"),
    "names": (["conn", "--clients", "64", "--name", "n%u.names.test", "--names", "100000"], TLS, "done"),
    "wildcards": (["conn", "--clients", "64", "--name", "x.w%u.wild.test", "--names", "1000"], TLS, "done"),
    "regexes": (["conn", "--clients", "64", "--name", "r%u.regex.test", "--names", "1000"], TLS, "done"),
}
QUICK = ["conn", "conn-pq", "rate", "rr-1", "http", "http-ka", "down", "up"]
# These change the rules, so that the plain workloads run on a plain configuration.
RULES = {"names": 100000, "wildcards": 1000, "regexes": 1000}


def rule_lines(kind):
    """(pattern, port) of the extra rules of a workload."""
    count = RULES.get(kind, 0)
    if kind == "names":
        return [("n%d.names.test" % i, BACKEND["conn"]) for i in range(count)]
    if kind == "wildcards":
        return [("*.w%d.wild.test" % i, BACKEND["conn"]) for i in range(count)]
    if kind == "regexes":
        return [(r"~^r%d\.regex\.test$" % i, BACKEND["conn"]) for i in range(count)]
    return []


PLAIN = [("%s.bench.test" % role, BACKEND[role]) for role in ("conn", "echo", "down", "up")]


class Proxy:
    """A proxy under test: writes its configuration, starts, tells its processes."""

    name = ""

    def __init__(self, binary):
        self.binary = binary
        self.process = None
        self.dir = None

    def config(self, rules, workers):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def start(self, kind, workers=1):
        self.dir = tempfile.mkdtemp(prefix="bench-%s-" % self.name)
        os.chmod(self.dir, 0o755)
        self.config(PLAIN + rule_lines(kind), workers)
        cores = "0" if workers == 1 else "0,1"
        self.process = subprocess.Popen(
            ["taskset", "-c", cores] + self.command(), cwd=self.dir,
            stdout=open(os.path.join(self.dir, "out"), "w"), stderr=subprocess.STDOUT,
            start_new_session=True)
        deadline = time.time() + 20
        while time.time() < deadline:
            if self.process.poll() is not None:
                break
            if self.listening():
                return
            time.sleep(0.02)
        sys.exit("%s does not start:\n%s" % (self.name, open(os.path.join(self.dir, "out")).read()))

    def listening(self):
        with open("/proc/net/tcp") as tcp, open("/proc/net/tcp6") as tcp6:
            lines = tcp.readlines() + tcp6.readlines()
        ports = {int(l.split()[1].split(":")[1], 16) for l in lines if l.split()[3] == "0A"}
        return TLS in ports and (HTTP in ports or not Proxy.http)

    http = True  # whether a workload of this run needs the HTTP port

    def pids(self):
        """The process we started and all below it."""
        children = {}
        for stat in glob.glob("/proc/[0-9]*/stat"):
            try:
                fields = open(stat).read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(stat.split("/")[2]))
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def cpu_ns(self):
        total = 0
        for pid in self.pids():
            for task in glob.glob("/proc/%d/task/*/schedstat" % pid):
                try:
                    total += int(open(task).read().split()[0])
                except OSError:
                    pass
        return total

    def pss(self):
        total = 0
        for pid in self.pids():
            try:
                for line in open("/proc/%d/smaps_rollup" % pid):
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
            except OSError:
                pass
        return total

    def stop(self):
        if self.process and self.process.poll() is None:
            for pid in reversed(self.pids()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def write(self, name, text):
        with open(os.path.join(self.dir, name), "w") as out:
            out.write(text)


class Teeproxy(Proxy):
    name = "teeproxy"

    def config(self, rules, workers):
        lines = ["global { workers %d; log none }" % workers,
                 "defaults all { timeout hello 10s; timeout connect 5s }",
                 "frontend https {", "    listen 127.0.0.1:%d" % TLS, "    log off"]
        for pattern, port in rules:
            word = "~'%s'" % pattern[1:] if pattern.startswith("~") else pattern
            lines.append("    sni %s -> 127.0.0.1:%d" % (word, port))
        lines.append("}")
        if Proxy.http:
            lines += ["frontend http {", "    listen 127.0.0.1:%d" % HTTP, "    log off",
                      "    host http.bench.test -> 127.0.0.1:%d" % BACKEND["http"], "}"]
        self.write("teeproxy.conf", "\n".join(lines) + "\n")

    def command(self):
        return [self.binary, "-f", "teeproxy.conf"]


class Haproxy(Proxy):
    name = "haproxy"

    def config(self, rules, workers):
        exact, tails, regexes = [], [], []
        for pattern, port in rules:
            if pattern.startswith("~"):
                regexes.append("%s b%d" % (pattern[1:], port))
            elif pattern.startswith("*"):
                tails.append("%s b%d" % (pattern[1:], port))
            else:
                exact.append("%s b%d" % (pattern, port))
        self.write("exact.map", "\n".join(exact) + "\n")
        self.write("tails.map", "\n".join(tails) + "\n")
        self.write("regexes.map", "\n".join(regexes) + "\n")
        use = "    use_backend %[req.ssl_sni,lower,map_str(exact.map)] if { req.ssl_sni,lower,map_str(exact.map) -m found }\n"
        if tails:
            use += "    use_backend %[req.ssl_sni,lower,map_end(tails.map)] if { req.ssl_sni,lower,map_end(tails.map) -m found }\n"
        if regexes:
            use += "    use_backend %[req.ssl_sni,lower,map_reg(regexes.map)] if { req.ssl_sni,lower,map_reg(regexes.map) -m found }\n"
        text = """global
    maxconn 7900
    nbthread %d
    tune.pipesize 524288
defaults
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    option splice-auto
    option dontlognull
frontend tls
    mode tcp
    bind 127.0.0.1:%d defer-accept
    tcp-request inspect-delay 10s
    tcp-request content accept if { req.ssl_hello_type 1 }
%sfrontend web
    mode http
    bind 127.0.0.1:%d defer-accept
    use_backend http if { hdr(host) -i http.bench.test }
backend http
    mode http
    http-reuse safe
    server s 127.0.0.1:%d
""" % (workers, TLS, use, HTTP, BACKEND["http"])
        for port in sorted({port for _, port in rules}):
            text += "backend b%d\n    mode tcp\n    server s 127.0.0.1:%d\n" % (port, port)
        self.write("haproxy.cfg", text)

    def command(self):
        return [self.binary, "-db", "-f", "haproxy.cfg"]


class Nginx(Proxy):
    name = "nginx"

    def config(self, rules, workers):
        lines = ["%s 127.0.0.1:%d;" % (("~" + p[1:]) if p.startswith("~") else p, port)
                 for p, port in rules]
        self.write("nginx.conf", """daemon off;
worker_processes %d;
pid nginx.pid;
error_log stderr crit;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
worker_rlimit_nofile 20000;
events { worker_connections 19000; multi_accept on; }
stream {
    map_hash_max_size 262144;
    map_hash_bucket_size 128;
    map $ssl_preread_server_name $target {
        hostnames;
        %s
    }
    server {
        listen 127.0.0.1:%d reuseport backlog=4096;
        ssl_preread on;
        proxy_buffer_size 16k;
        tcp_nodelay on;
        proxy_pass $target;
    }
}
http {
    access_log off;
    keepalive_requests 1000000;
    upstream web { server 127.0.0.1:%d; keepalive 64; keepalive_requests 1000000; }
    server {
        listen 127.0.0.1:%d reuseport backlog=4096;
        server_name http.bench.test;
        location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection "";
                     proxy_set_header Host $host; proxy_buffering off; }
    }
}
""" % (workers, "\n        ".join(lines), TLS, BACKEND["http"], HTTP))

    def command(self):
        return [self.binary, "-p", self.dir, "-c", os.path.join(self.dir, "nginx.conf"), "-e", "stderr"]


class Sniproxy(Proxy):
    name = "sniproxy"

    def config(self, rules, workers):
        table = []
        for pattern, port in rules:
            if pattern.startswith("~"):
                regex = pattern[1:]
            elif pattern.startswith("*"):
                regex = "^.*" + pattern[1:].replace(".", r"\.") + "$"
            else:
                regex = "^" + pattern.replace(".", r"\.") + "$"
            table.append("    %s 127.0.0.1:%d" % (regex, port))
        self.write("sniproxy.conf", """user root
error_log { filename %s/err.log }
listener 127.0.0.1:%d { proto tls; table t; reuseport no }
listener 127.0.0.1:%d { proto http; table h }
table t {
%s
}
table h {
    ^http\\.bench\\.test$ 127.0.0.1:%d
}
""" % (self.dir, TLS, HTTP, "\n".join(table), BACKEND["http"]))

    def command(self):
        return [self.binary, "-f", "-c", "sniproxy.conf"]


class Direct(Proxy):
    """No proxy at all: the limit."""

    name = "direct"

    def start(self, kind, workers=1):
        self.dir = tempfile.mkdtemp(prefix="bench-direct-")

    def pids(self):
        return []

    def stop(self):
        shutil.rmtree(self.dir, ignore_errors=True)


# sniproxy looks a name up by trying every pattern and does not route each
# request of a kept connection, so it is left out where that is the question.
SKIP = {("sniproxy", "http-ka"), ("sniproxy", "names"), ("direct", "names"), ("direct", "wildcards"),
        ("direct", "regexes")}


def load(proxy, workload, seconds):
    args, port, unit = WORKLOADS[workload]
    if proxy.name == "direct":
        role = args[0] if args[0] in ("down", "up") else "http" if args[0].startswith("http") else \
            "echo" if args[0] == "rr" else "conn"
        port = BACKEND[role]
    before = proxy.cpu_ns()
    run = subprocess.run(["taskset", "-c", "1", LOAD] + args + ["--to", str(port), "--seconds", str(seconds)],
                         stdout=subprocess.PIPE, text=True, timeout=seconds + 60)
    used = proxy.cpu_ns() - before
    result = json.loads(run.stdout)
    if run.returncode != 0:
        raise SystemExit("%s, %s: wrong answers: %s" % (proxy.name, workload, run.stdout))
    units = result["done"] if unit == "done" else result["bytes"] / 1e9
    result["rate"] = units / result["seconds"]
    result["cpu_us"] = used / 1000 / units if units else 0
    return result


def idle(proxy, tunnels):
    """Growth of the proxy per idle tunnel, and the share given back after."""
    proxy.start("plain")
    run = None
    try:
        warm = ["taskset", "-c", "1", LOAD, "conn", "--to", str(TLS), "--seconds", "0.5"]
        subprocess.run(warm, stdout=subprocess.DEVNULL, check=False)
        time.sleep(0.5)
        before = proxy.pss()
        run = subprocess.Popen(["taskset", "-c", "1", LOAD, "idle", "--to", str(TLS), "--name",
                                "echo.bench.test", "--clients", str(tunnels)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        answer = json.loads(run.stdout.readline())
        if answer["errors"] or answer["ready"] != tunnels:
            return {"tunnels": answer["ready"], "failed": True}
        time.sleep(1)
        peak = proxy.pss()
        run.stdin.close()
        run.wait()
        time.sleep(2)
        after = proxy.pss()
        return {"tunnels": tunnels, "bytes": (peak - before) / tunnels,
                "given_back": (peak - after) / (peak - before) if peak > before else 1}
    finally:
        if run and run.poll() is None:
            run.kill()
        proxy.stop()


def syscalls(proxy, workload):
    """System calls a unit, by strace -c on the running proxy; the load is slower then."""
    pids = proxy.pids()
    out = os.path.join(proxy.dir, "strace")
    trace = subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", "-o", out] +
                             [a for pid in pids for a in ("-p", str(pid))], stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    result = load(proxy, workload, 2)
    trace.send_signal(signal.SIGINT)
    trace.wait()
    calls = {}
    for line in open(out):
        fields = line.split()
        if len(fields) == 2 and fields[0].isdigit():
            calls[fields[1]] = int(fields[0])
    total = calls.pop("total", sum(calls.values()))
    return {"per_unit": total / result["done"],
            "by_name": {k: round(v / result["done"], 2) for k, v in sorted(calls.items(), key=lambda i: -i[1])
                        if v / result["done"] > 0.05}}


def in_namespace():
    """Runs this script again in a network namespace of its own."""
    if os.environ.get("BENCH_NETNS") == "1":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno"], check=False)
        subprocess.run(["sysctl", "-qw", "net.ipv4.ip_local_port_range=10000 65000",
                        "net.core.somaxconn=4096"], check=False)
        return
    os.environ["BENCH_NETNS"] = "1"
    os.execvp("unshare", ["unshare", "-n", sys.executable] + sys.argv)


def proxies(names, haproxy, before):
    found = {"teeproxy": Teeproxy(TEEPROXY)}
    if before:
        found["before"] = Teeproxy(before)
        found["before"].name = "before"
    for cls, binary in ((Haproxy, haproxy), (Nginx, "nginx"), (Sniproxy, "sniproxy")):
        path = shutil.which(binary, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if path:
            found[cls.name] = cls(path)
        else:
            print("# no %s on this machine: left out" % binary)
    found["direct"] = Direct(None)
    return {n: p for n, p in found.items() if not names or n in names}


def table(results, workloads, names):
    head = "%-10s" % "workload" + "".join("%24s" % n for n in names) + "   ratio to best peer"
    print("\nmedians: units/s, CPU us per unit (per GB for down and up: ms), p50/p99 us\n" + head)
    for w in workloads:
        line = "%-10s" % w
        cpu = {}
        for n in names:
            rows = results.get(n, {}).get(w)
            if not rows:
                line += "%24s" % "-"
                continue
            m = {k: statistics.median(r[k] for r in rows) for k in ("rate", "cpu_us", "p50", "p99")}
            cpu[n] = m["cpu_us"]
            shown = m["cpu_us"] / 1000 if w in ("down", "up") else m["cpu_us"]
            line += "%24s" % ("%.0f %.1f %.0f/%.0f" % (m["rate"], shown, m["p50"], m["p99"])
                              if w not in ("down", "up") else "%.2fGB/s %.1fms" % (m["rate"], shown))
        peers = [v for n, v in cpu.items() if n not in ("teeproxy", "direct") and v > 0]
        if peers and "teeproxy" in cpu:
            line += "   %.2f" % (cpu["teeproxy"] / min(peers))
        print(line)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--proxies")
    parser.add_argument("--haproxy", default=os.environ.get("HAPROXY", "haproxy"))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--tunnels", type=int, default=4000)
    parser.add_argument("--before", help="another teeproxy, measured beside this one")
    parser.add_argument("--calls", action="store_true", help="count system calls of each workload too")
    parser.add_argument("--json")
    options = parser.parse_args()
    in_namespace()
    rounds = options.rounds or (3 if options.quick else 5)
    seconds = options.seconds or (1 if options.quick else 3)
    workloads = options.only.split(",") if options.only else QUICK if options.quick else list(WORKLOADS)
    Proxy.http = any(WORKLOADS[w][1] == HTTP for w in workloads)
    chosen = proxies(options.proxies.split(",") if options.proxies else None, options.haproxy,
                     options.before)
    server = subprocess.Popen(["taskset", "-c", "1", LOAD, "serve"] +
                              ["%s=%d" % i for i in BACKEND.items()], stdout=subprocess.PIPE, text=True)
    server.stdout.readline()
    results = {n: {} for n in chosen}
    extra = {"idle": {}, "syscalls": {}}
    try:
        for kind in ["plain"] + list(RULES):
            todo = [w for w in workloads if (w in RULES and w == kind) or (w not in RULES and kind == "plain")]
            if not todo:
                continue
            for r in range(rounds):
                for proxy in chosen.values():
                    mine = [w for w in todo if (proxy.name, w) not in SKIP]
                    if not mine:
                        continue
                    proxy.start(kind)
                    try:
                        for w in mine:
                            results[proxy.name].setdefault(w, []).append(load(proxy, w, seconds))
                    finally:
                        proxy.stop()
                print("# round %d of %d (%s)" % (r + 1, rounds, kind), flush=True)
        for proxy in chosen.values():
            if proxy.name == "direct":
                continue
            if not options.only:
                extra["idle"][proxy.name] = idle(proxy, options.tunnels)
            counted = [w for w in workloads if w not in RULES and w not in ("down", "up")] if options.calls else \
                ["conn"] if not options.only else []
            for workload in counted:
                if (proxy.name, workload) in SKIP:
                    continue
                proxy.start("plain")
                try:
                    extra["syscalls"]["%s %s" % (proxy.name, workload)] = syscalls(proxy, workload)
                finally:
                    proxy.stop()
    finally:
        server.kill()
        server.wait()
    table(results, workloads, list(chosen))
    for name, row in extra["idle"].items():
        print("idle tunnels  %-10s %s" % (name, row))
    for name, row in extra["syscalls"].items():
        print("system calls  %-20s %.1f a unit: %s" % (name, row["per_unit"], row["by_name"]))
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"results": results, **extra}, out, indent=1)


main()

# SPDX-License-Identifier: Apache-2.0
"""teeproxy and its peers, each as an expert would set it up, started and looked at alike.

All of them take TLS by SNI on one port and HTTP by Host on another, and lead to the same
backends; what each costs is read from /proc.
"""

import glob
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

SEARCH = os.environ["PATH"] + ":/usr/sbin:/sbin"
BACKEND = {"conn": 9001, "echo": 9002, "down": 9003, "up": 9004, "http": 9005, "small": 9006}
# Each proxy of a run has four ports of its own, from FIRST_PORT on: so all of them run side by side.
TLS, HTTP, HTTP_OWN, EGRESS = range(4)
FIRST_PORT = 8000
# Two descriptors a tunnel in the proxy, and a reserve for all else it has open.  More than
# TUNNELS_MAX have no ports: all go from one address to one backend's.
RESERVE, TUNNELS_MAX = 1000, 50000
DESCRIPTORS = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 2 * TUNNELS_MAX + RESERVE)
LIMIT = (DESCRIPTORS - RESERVE) // 2
START_S, START_SLOW_S = 60, 90  # how long a start may take; under valgrind

# The plain workloads run on a plain configuration; these add rules.
RULES = {"names-10": 10, "names-1k": 1000, "names": 100000, "wildcards": 1000, "regexes": 1000}
PLAIN = [("%s.bench.test" % role, BACKEND[role]) for role in ("conn", "echo", "down", "up", "small")]


def rule_lines(kind):
    """(pattern, port) of the extra rules of a workload."""
    count = RULES.get(kind, 0)
    pattern = {"wildcards": "*.w%d.wild.test", "regexes": r"~^r%d\.regex\.test$"}.get(kind, "n%d.names.test")
    return [(pattern % i, BACKEND["conn"]) for i in range(count)]


class NotStarted(Exception):
    pass


class Proxy:
    """A proxy under test: writes its configuration, starts, tells its processes."""

    kind = ""
    made = 0

    def __init__(self, binary, name=None, workers=1):
        self.binary = binary
        self.name = name or self.kind
        self.workers = workers
        self.ports = [FIRST_PORT + 10 * Proxy.made + i for i in range(4)]
        Proxy.made += 1
        self.process = None
        self.launched = None  # when
        self.dir = None

    def config(self, rules, workers):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def start(self, kind, under=()):
        """kind: of its rules; under: a command that runs it, valgrind say."""
        self.under = under
        self.dir = tempfile.mkdtemp(prefix="bench-%s-" % self.name)
        os.chmod(self.dir, 0o755)
        self.config(PLAIN + rule_lines(kind), self.workers)
        cores = "0" if self.workers == 1 else "0,1"
        self.launched = time.time()
        self.process = subprocess.Popen(
            ["taskset", "-c", cores] + list(under) + self.command(), cwd=self.dir,
            stdout=open(os.path.join(self.dir, "out"), "w"), stderr=subprocess.STDOUT,
            start_new_session=True)
        deadline = time.time() + (START_SLOW_S if under else START_S)
        while time.time() < deadline:
            if self.process.poll() is not None:
                break
            if self.serving():
                return
            time.sleep(0.02)
        text = open(os.path.join(self.dir, "out")).read()
        self.stop()
        raise NotStarted("%s does not start:\n%s" % (self.name, text))

    def listening(self):
        # Not by /proc/net/tcp, which takes long to read with the thousands that a run leaves in TIME_WAIT.
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.ports[TLS])) == 0

    def serving(self):
        """Somebody answers: a port may listen while who will serve it still reads its rules."""
        if not self.listening():
            return False
        try:
            with socket.create_connection(("127.0.0.1", self.ports[HTTP]), 2) as s:
                s.sendall(b"GET / HTTP/1.1\r\nHost: nobody.test\r\nConnection: close\r\n\r\n")
                s.recv(1)
                return True
        except ConnectionResetError:
            return True
        except OSError:
            return False

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

    def stop(self, gently=False):
        """gently: by its own way out, which writes profiles."""
        if self.process and self.process.poll() is None:
            # The master first: it would give a dead child a successor, which listens for a while still.
            for pid in [self.process.pid] if gently else self.pids():
                try:
                    os.kill(pid, signal.SIGTERM if gently else signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()
            deadline = time.time() + START_S
            while self.listening() and time.time() < deadline:
                time.sleep(0.02)
        shutil.rmtree(self.dir, ignore_errors=True)

    def write(self, name, text):
        with open(os.path.join(self.dir, name), "w") as out:
            out.write(text)


class Teeproxy(Proxy):
    kind = "teeproxy"

    def config(self, rules, workers):
        # Under valgrind its calls are not those of a program, and a profile is a file to write.
        lines = ["global { workers %d; log none; %s }" % (workers, "sandbox off" if self.under else ""),
                 "defaults all { timeout hello 10s; timeout connect 5s }",
                 "frontend https {", "    listen 127.0.0.1:%d" % self.ports[TLS], "    log off"]
        for pattern, port in rules:
            word = "~'%s'" % pattern[1:] if pattern.startswith("~") else pattern
            lines.append("    sni %s -> 127.0.0.1:%d" % (word, port))
        lines.append("}")
        lines += ["frontend http {", "    listen 127.0.0.1:%d" % self.ports[HTTP], "    log off",
                  "    host http.bench.test -> 127.0.0.1:%d" % BACKEND["http"], "}",
                  # The CIDR inside the refused block is what opens loopback.
                  "enclave e { cid 16 }", "frontend egress {", "    listen 127.0.0.1:%d" % self.ports[EGRESS], "    log off",
                  "    from any to 127.0.0.1/32:%d -> direct" % BACKEND["conn"],
                  "    from any to 127.0.0.1/32:%d -> direct" % BACKEND["echo"], "}"]
        self.write("teeproxy.conf", "\n".join(lines) + "\n")

    def command(self):
        return [self.binary, "-f", "teeproxy.conf"]


class Haproxy(Proxy):
    kind = "haproxy"

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
    maxconn %d
    maxpipes 128
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
""" % (LIMIT + 100, workers, self.ports[TLS], use, self.ports[HTTP], BACKEND["http"])
        for port in sorted({port for _, port in rules}):
            text += "backend b%d\n    mode tcp\n    server s 127.0.0.1:%d\n" % (port, port)
        self.write("haproxy.cfg", text)

    def command(self):
        return [self.binary, "-db", "-f", "haproxy.cfg"]


class Nginx(Proxy):
    kind = "nginx"

    def config(self, rules, workers):
        lines = ["%s 127.0.0.1:%d;" % (("~" + p[1:]) if p.startswith("~") else p, port)
                 for p, port in rules]
        self.write("nginx.conf", """daemon off;
user root;
worker_processes %d;
pid nginx.pid;
error_log stderr crit;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
worker_rlimit_nofile %d;
events { worker_connections %d; multi_accept on; }
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
        listen 127.0.0.1:%d reuseport backlog=4096 deferred;
        server_name http.bench.test;
        location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection "";
                     proxy_set_header Host $host; proxy_buffering off; }
    }
    server {
        listen 127.0.0.1:%d reuseport backlog=4096 deferred;
        server_name http.bench.test;
        location / { proxy_pass http://127.0.0.1:%d; proxy_http_version 1.1; proxy_set_header Connection close;
                     proxy_set_header Host $host; proxy_buffering off; }
    }
}
""" % (workers, DESCRIPTORS, 2 * LIMIT + 100, "\n        ".join(lines), self.ports[TLS], BACKEND["http"], self.ports[HTTP],
       self.ports[HTTP_OWN], BACKEND["http"]))

    def command(self):
        return [self.binary, "-p", self.dir, "-c", os.path.join(self.dir, "nginx.conf"), "-e", "stderr"]


class NginxShared(Nginx):
    """nginx with connections to the server that clients share: one client's request follows another's on it."""

    kind = "nginx-shared"


class Sniproxy(Proxy):
    kind = "sniproxy"

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
""" % (self.dir, self.ports[TLS], self.ports[HTTP], "\n".join(table), BACKEND["http"]))

    def command(self):
        return [self.binary, "-f", "-c", "sniproxy.conf"]


class Direct(Proxy):
    """No proxy at all: the limit."""

    kind = "direct"

    def start(self, kind, under=()):
        self.dir = tempfile.mkdtemp(prefix="bench-direct-")

    def pids(self):
        return []

    def stop(self, gently=False):
        shutil.rmtree(self.dir, ignore_errors=True)


def haproxies(named):
    """(name with its version, path) of the one in PATH and of the one that is named, the same one once."""
    found = {}
    for binary in ("haproxy", named):
        path = shutil.which(binary, path=SEARCH) if binary else None
        if not path:
            continue
        told = subprocess.run([path, "-v"], stdout=subprocess.PIPE, text=True, check=False).stdout
        version = re.search(r"version (\d+\.\d+)\S*", told)
        if version:
            found.setdefault(version.group(0), ("haproxy-" + version.group(1), path))
    names = [name for name, _ in found.values()]
    for i, (name, path) in enumerate(found.values()):
        yield name + ("-other" if name in names[:i] else ""), path


def find_proxies(teeproxy, names, named_haproxy, before):
    """All that are there, by name; names: only these ("haproxy" is each of them)."""
    todo = [("teeproxy", Teeproxy, teeproxy), ("before", Teeproxy, before)]
    todo += [(name, Haproxy, path) for name, path in haproxies(named_haproxy)] or [("haproxy", Haproxy, None)]
    todo += [(cls.kind, cls, shutil.which(cls.kind.split("-")[0], path=SEARCH)) for cls in (Nginx, NginxShared, Sniproxy)]
    found = {}
    for name, cls, path in todo:
        if path and (not names or name in names or cls.kind in names):
            found[name] = cls(path, name)
        elif not path and name != "before":
            print("# no %s on this machine: left out" % name)
    if not names or "direct" in names:
        found["direct"] = Direct(None)
    return found

# SPDX-License-Identifier: Apache-2.0
"""What no peer does: a configuration of 100,000 rules, and KMS before the tests' stand-in of AWS."""

import functools
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time

from measure import CALLGRIND, TEEPROXY, count_calls, count_instructions
from peers import Teeproxy

KMS_REQUESTS, KMS_ROUNDS, KMS_CLIENTS, KMS_KEPT = 100, 12, 4, 200


def peak_mb(pids):
    """The most that one of them has ever had in memory."""
    most = 0
    for pid in pids:
        for line in open("/proc/%d/status" % pid):
            if line.startswith("VmHWM:"):
                most = max(most, int(line.split()[1]))
    return round(most / 1024)


def big_configuration(tries=3):
    """--check and start with 100,000 rules: medians of seconds, and the peak of memory."""
    check_s, start_s, result = [], [], {}
    for _ in range(tries):
        proxy = Teeproxy(TEEPROXY)
        proxy.start("names")
        start_s.append(time.time() - proxy.launched)
        try:
            result["start_mb"] = peak_mb(proxy.pids())
            result["running_mb"] = round(proxy.pss() / 1e6)
            began = time.time()
            check = subprocess.Popen(proxy.command() + ["--check"], cwd=proxy.dir, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(check.pid, 0)
            check.returncode = status
            check_s.append(time.time() - began)
            if status != 0:
                raise SystemExit("--check of 100,000 rules: status %d" % status)
            result["check_mb"] = round(usage.ru_maxrss / 1024)
        finally:
            proxy.stop()
    return {"check_s": round(statistics.median(check_s), 2), "start_s": round(statistics.median(start_s), 2), **result}


class Kms:
    """mode kms: GenerateDataKey over kept connections, each answer opened with the enclave's own key."""

    def __init__(self, workers=1, under=()):
        """On core 0, and its second worker on core 1 as other proxies'; under: a command that runs it."""
        import kms_test
        whole = kms_test.Teeproxy
        kms_test.Teeproxy = functools.partial(whole, wrap=under)
        try:
            self.world = kms_test.World(workers=workers, level="error", rest="global sandbox off" if under else "")
        finally:
            kms_test.Teeproxy = whole
        for pid in self.pids():
            for task in os.listdir("/proc/%d/task" % pid):
                os.sched_setaffinity(int(task), {0} if workers == 1 else {0, 1})

    def pids(self):
        return [self.world.proxy.pid] + self.world.proxy.engines()

    def cpu_us(self):
        total = 0
        for pid in self.pids():
            for task in os.listdir("/proc/%d/task" % pid):
                total += int(open("/proc/%d/task/%s/schedstat" % (pid, task)).read().split()[0])
        return total / 1000

    def pss(self):
        return sum(int(line.split()[1]) * 1024 for pid in self.pids() for line in open("/proc/%d/smaps_rollup" % pid)
                   if line.startswith("Pss:"))

    def request(self, client):
        k = self.world.tee_k
        out = client.output("GenerateDataKey", key_spec="AES_256", recipient=k.snake_field)
        return k, out

    def run(self, requests, clients=KMS_CLIENTS):
        """Seconds that each request took."""
        times, answers = [], []

        def work():
            with self.world.client("tee-k") as client:
                for _ in range(requests // clients):
                    began = time.monotonic()
                    answers.append(self.request(client))
                    times.append(time.monotonic() - began)
        threads = [threading.Thread(target=work) for _ in range(clients)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        keys = {k.open(out["ciphertext_for_recipient"]) for k, out in answers}
        if len(times) != requests // clients * clients or len(keys) != len(times) or {len(k) for k in keys} != {32}:
            raise SystemExit("kms: %d requests, %d answers, %d keys" % (requests, len(times), len(keys)))
        return times

    def slice(self):
        """A row as other workloads' rounds have, and the seconds that each request took."""
        used, began = self.cpu_us(), time.monotonic()
        times = self.run(KMS_REQUESTS)
        return {"rate": len(times) / (time.monotonic() - began), "cpu_us": (self.cpu_us() - used) / len(times),
                **quantiles(times)}, times

    def memory(self):
        """Bytes for each connection that has asked once and is kept."""
        before, kept = self.pss(), []
        for _ in range(KMS_KEPT):
            client = self.world.client("tee-k")
            self.request(client)
            kept.append(client)
        time.sleep(0.5)
        grown = self.pss() - before
        for client in kept:
            client.s.close()
        return round(grown / KMS_KEPT)

    def stop(self):
        self.world.proxy.stop()


def quantiles(times):
    """In microseconds."""
    times = sorted(times)
    return {name: round(times[int(q * (len(times) - 1))] * 1e6) for name, q in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))}


def kms_instructions():
    """A request's; None without valgrind."""
    if not shutil.which("valgrind"):
        return None
    with tempfile.TemporaryDirectory(prefix="bench-kms-") as directory:
        one = Kms(under=[a.replace("cg.", directory + "/cg.") for a in CALLGRIND])
        one.run(20)
        found = count_instructions(one.pids(), directory, 1, lambda: len(one.run(60)))
        one.stop()
        return found


def kms():
    """({name: what was found}, {name: rows}), with one worker and with two, round by round; clients and AWS on core 1."""
    os.sched_setaffinity(0, {1})
    both = {"teeproxy": Kms(), "teeproxy x2": Kms(workers=2)}
    rows, times = {name: [] for name in both}, {name: [] for name in both}
    for one in both.values():
        one.run(100)
    for r in range(KMS_ROUNDS):
        for name in both if r % 2 == 0 else reversed(both):
            row, took = both[name].slice()
            rows[name].append(row)
            times[name] += took
    found = {name: {**{k: round(statistics.median(row[k] for row in rows[name]), 1) for k in ("rate", "cpu_us")},
                    **quantiles(times[name])} for name in both}
    one = both["teeproxy"]
    if shutil.which("strace"):
        found["teeproxy"].update(count_calls(one.pids(), one.world.dir, lambda: len(one.run(100))))
    found["teeproxy"]["bytes_a_kept_connection"] = one.memory()
    for other in both.values():
        other.stop()
    found["teeproxy"]["instructions"] = kms_instructions()
    os.sched_setaffinity(0, {0, 1})
    return found, rows

# SPDX-License-Identifier: Apache-2.0
"""What the figures of a run are worth: ratios to the peers, and the goals."""

import statistics
import sys

# Proxies that no ratio is taken to: no peers, or no like of what the others do (README.md).
NO_PEERS = ("teeproxy", "before", "direct", "nginx-shared")
FIGURES = ("rate", "cpu_us", "p50", "p99", "p999")


def medians(rows):
    return {k: statistics.median(r[k] for r in rows) for k in FIGURES}


def ratio_to(ours, theirs, figure="cpu_us"):
    """(median, lower, upper quartile) of the ratios of rounds: both of a round are from the same seconds."""
    ratios = sorted(a[figure] / b[figure] for a, b in zip(ours, theirs) if b[figure])
    if not ratios:
        return None
    return statistics.median(ratios), ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]


def ratio_to_best(results, workload, name="teeproxy", only=lambda peer: True):
    """(median, lower, upper, peer): the peer that teeproxy does worst against is the best one."""
    ours = results.get(name, {}).get(workload)
    found = []
    for peer, rows in results.items():
        if ours and peer not in NO_PEERS and only(peer) and rows.get(workload):
            ratio = ratio_to(ours, rows[workload])
            found += [ratio + (peer,)] if ratio else []
    return max(found) if found else None


TABLE = "%-10s %-14s %10s %9s %9s %9s %9s  %s"
HEAD = ("units/s", "CPU", "p50 us", "p99 us", "p99.9 us")


def table(results, workloads, told, what="ratio"):
    """Medians over the rounds: CPU in us a unit, ms a GB for down and up; told(name, workload): of the last column."""
    print("\n" + TABLE % (("workload", "proxy") + HEAD + (what,)))
    for w in workloads:
        for name, rows in results.items():
            if not rows.get(w):
                continue
            m, bulk = medians(rows[w]), w in ("down", "up")
            print(TABLE % (w, name, "%.2f GB" % m["rate"] if bulk else "%.0f" % m["rate"],
                           "%.1f" % (m["cpu_us"] / 1000 if bulk else m["cpu_us"]),
                           "%.0f" % m["p50"], "%.0f" % m["p99"], "%.0f" % m["p999"], told(name, w)))
    sys.stdout.flush()


def beside_the_best(results):
    """The last column of who is measured beside peers."""
    def told(name, workload):
        best = ratio_to_best(results, workload, name) if name in ("teeproxy", "before") else None
        return "%.2f (%.2f to %.2f) %s" % best if best else ""
    return told


def beside_one_worker(results):
    """The last column of who has two workers: to teeproxy with one."""
    def told(name, workload):
        one = results["teeproxy"].get(workload)
        ratio = ratio_to(results[name][workload], one) if one and name != "teeproxy" else None
        return "%.2f (%.2f to %.2f)" % ratio if ratio else ""
    return told


def routes_each_request(peer):
    return peer.startswith("haproxy") or peer == "nginx"


def is_haproxy_3(peer):
    return peer.startswith("haproxy-3")


class Goals:
    """One line for each goal of what a run has found: met, not met, or not measured."""

    def __init__(self):
        self.lines = []

    def add(self, what, goal, found, text=None):
        met = None if found is None else found <= goal
        self.lines.append({"goal": what, "at_most": goal, "found": found if found is None else round(found, 3), "met": met, "more": text})

    def ratio(self, what, goal, results, workload, only=lambda peer: True):
        best = ratio_to_best(results, workload, only=only)
        self.add("%s: CPU to the best peer's" % what, goal, best and best[0],
                 best and "%.2f to %.2f of %s" % best[1:])

    def latency(self, results):
        ours = results.get("teeproxy", {}).get("rate")
        for figure in ("p50", "p99"):
            peers = {n: [r[figure] for r in rows["rate"]] for n, rows in results.items()
                     if n not in NO_PEERS and rows.get("rate")}
            best = min(peers, key=lambda n: statistics.median(peers[n])) if peers else None
            self.add("latency at a fixed rate: %s to the top of the best peer's range" % figure, 1,
                     round(statistics.median(r[figure] for r in ours) / max(peers[best]), 2) if ours and best else None,
                     best and "%s: %.0f to %.0f us" % (best, min(peers[best]), max(peers[best])))

    def show(self):
        print("\ngoals (issue 6; README.md says what each is)")
        for l in self.lines:
            verdict = {None: "not measured", True: "met", False: "NOT MET"}[l["met"]]
            print("%-62s %8s at most %-7s %s%s" % (l["goal"], "-" if l["found"] is None else l["found"], l["at_most"], verdict,
                                                   " (%s)" % l["more"] if l["more"] else ""))


def judge(found):
    """found: by the names that the JSON has."""
    g, results = Goals(), found["results"]
    g.ratio("new connection, 517-byte hello", 0.92, results, "conn")
    g.ratio("new connection, 1,800-byte hello", 0.92, results, "conn-pq")
    calls = found["calls"].get("teeproxy", {})
    g.add("new connection: system calls", 13, calls["conn"]["calls"] if "conn" in calls else None)
    g.add("new connection: user instructions", 8000, found["instructions"].get("teeproxy", {}).get("conn"))
    g.ratio("round trip of 1 byte", 0.97, results, "rr-1")
    g.ratio("round trip of 1 KiB", 0.97, results, "rr-1k")
    g.ratio("HTTP, new connection", 0.95, results, "http", routes_each_request)
    g.ratio("HTTP, kept connection", 0.80, results, "http-ka", routes_each_request)
    g.ratio("bulk down, of HAProxy 3", 0.92, results, "down", is_haproxy_3)
    g.ratio("bulk up, of HAProxy 3", 0.92, results, "up", is_haproxy_3)
    small = calls.get("down-48k", {}).get("by_name")
    g.add("under 64 KiB: calls that plain copying would not make", 0,
          None if small is None else sum(small.get(c, 0) for c in ("splice", "pipe2", "fcntl")))
    idle = found["idle"].get("teeproxy", {})
    g.add("idle tunnel: bytes", 1024, idle.get("bytes"))
    g.add("idle tunnel: share kept after a peak", 0.1, round(1 - idle["given_back"], 3) if "given_back" in idle else None)
    look, big = found["instructions"].get("teeproxy", {}), found["big"]
    g.add("100,000 names: instructions to those with 10", 1.05,
          round(look["names"] / look["names-10"], 3) if look.get("names") and look.get("names-10") else None)
    for what, goal in (("check_s", 1), ("start_s", 1), ("check_mb", 100), ("start_mb", 100)):
        g.add("100,000 rules: %s" % what, goal, big.get(what))
    g.ratio("1,000 regexes", 0.80, results, "regexes")
    two = found["two_workers"]
    for w in two.get("teeproxy x2", {}) or ("any workload",):
        ratio = ratio_to(two["teeproxy x2"][w], two["teeproxy"][w]) if two else None
        g.add("two workers, %s: CPU to one worker's" % w, 1.1, ratio and ratio[0], ratio and "%.2f to %.2f" % ratio[1:])
    g.latency(results)
    return g

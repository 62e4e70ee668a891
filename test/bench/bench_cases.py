# SPDX-License-Identifier: BSD-3-Clause
"""What bench measures: sessions of cases, and what the goals are.

Names are what --only matches and --compare joins on, so they stay.
"""

import json
import os
import re
import subprocess
import tempfile
import time

SIZES = {"512": 512, "4K": 4096, "128K": 131072}
DEPTHS = (1, 32, 128, 512)
KINDS = ("read", "write")
DISK = 256 << 20
IDLE = "0.02"  # seconds between requests to an idle target, and of sleep before a bare wake
TURN = "0.0012"  # seconds between two looks of a target that has been idle for long

# Of the ratio to the ceiling, or of the figure itself: at least, at most. "wake": at most so many
# times the ceiling and 10 us.
GOALS = {
    "null read 4K q128": ("ratio", "least", 0.25),
    "null read 4K q1": ("ratio", "least", 0.5),
    "ram read 4K q128": ("ratio", "least", 0.90),
    "ram write 4K q128": ("ratio", "least", 0.90),
    "ram read 512 q128": ("ratio", "least", 0.60),
    "ram write 512 q128": ("ratio", "least", 0.60),
    "ram read 128K q128": ("ratio", "least", 0.95),
    "ram write 128K q128": ("ratio", "least", 0.95),
    "instructions, null read, host": ("value", "most", 120.0),
    "instructions, null read, target": ("value", "most", 120.0),
    "64 controllers, 1 busy": ("ratio", "least", 0.90),
    "64 queues, 1 busy": ("ratio", "least", 0.90),
    "64 namespaces, 1 busy": ("ratio", "least", 0.90),
    "start to ready": ("value", "most", 0.4),
    "resident beyond the disk": ("value", "most", 64.0),
    "idle CPU, mapped": ("value", "most", 1.5),
    "idle CPU, trapped": ("value", "most", 0.2),
    "first I/O after idle, mapped": ("value", "most", 1300.0),
    "first I/O after idle, trapped": ("wake", "most", 1.5),
    "trapped read 4K q128": ("ratio", "least", 0.95),
}


class Case:
    """One figure. measure(target) -> number.

    ceiling: the case of the same round that this one is a share of. inverse: of figures where less
    is better. timed: it takes as long as the plan says, not as long as it takes.
    """

    def __init__(self, name, unit, measure, ceiling=None, less=False, timed=True):
        self.name, self.unit, self.measure = name, unit, measure
        self.ceiling, self.less, self.timed = ceiling, less, timed
        self.samples, self.ratios, self.tops = [], [], []

    def add(self, value, by_name, fresh):
        """fresh: names of what was measured in this round."""
        self.samples.append(value)
        top = by_name[self.ceiling].samples[-1] if self.ceiling in fresh else 0
        if top and value:
            self.tops.append(top)
            self.ratios.append(top / value if self.less else value / top)

    def result(self):
        return {"name": self.name, "unit": self.unit, "samples": self.samples,
                "ceiling": self.ceiling, "ratios": self.ratios, "tops": self.tops,
                "more_is_better": not self.less, "goal": GOALS.get(self.name)}


def plural(n, noun):
    return "%d %s%s" % (n, noun, "" if n == 1 else "s")


class Cases:
    """Fills plan.sessions: what a run measures, in the order in which it is measured.

    plan gives the programs' output (plan.json), the CPUs, the seconds of a case, sockets and notes.
    """

    def __init__(self, plan):
        self.plan = plan
        self.depths = (1, 128) if plan.quick else DEPTHS
        self.sizes = ("512", "4K") if plan.quick else tuple(SIZES)
        self.ceilings()
        self.alone()
        self.grid()
        self.trapped()
        self.idle()
        self.start()
        self.instructions()
        if plan.quick:
            return
        self.strides()
        self.two_cpus()
        self.growth()
        self.file()

    # ---- programs ----

    def cpus(self):
        return "%d,%d" % (self.plan.host, self.plan.target)

    def bench(self, program, key, *words, timed=True):
        """The figure of a program of ours for one depth or size."""
        if timed:
            words += ("-t", str(self.plan.seconds))
        return self.plan.json(program, "--json", *words)["runs"][0][key]

    def perf(self, *words, suffix=""):
        """bh-perf's totals."""
        return self.plan.json("bh-perf", "--json", "-c", str(self.plan.host), "-a", "0.05", "-t",
                              str(self.plan.seconds), *words,
                              self.plan.socket() + suffix)["total"]

    def iops(self, name, *words, ceiling=None, suffix=""):
        return Case(name, "IOPS", lambda t: self.perf(*words, suffix=suffix)["iops"], ceiling)

    def client(self, name, *words, ceiling=None):
        """By the client that only rings."""
        return Case(name, "/s", lambda t: self.bench(
            "bench-target", "requests_per_s", "-c", str(self.plan.host), *words,
            self.plan.socket()), ceiling)

    # ---- ceilings, and each side alone ----

    def ceilings(self):
        cases = []
        for q in self.depths:
            cases.append(Case("ring q%d" % q, "/s", lambda t, q=q: self.bench(
                "bench-ring", "entries_per_s", "-q", str(q), "-c", self.cpus())))
        for kind in KINDS:
            for size in self.sizes:
                words = ["-o", size, "-m", str(DISK), "-c", str(self.plan.target)]
                words += ["--write"] if kind == "write" else []
                cases.append(Case("copy %s %s" % (kind, size), "/s", lambda t, words=words:
                                  self.bench("bench-copy", "copies_per_s", *words)))
        cases.append(Case("wake", "us", lambda t: self.plan.json(
            "bench-wake", "--json", "-n", "25", "-i", IDLE, "-c", self.cpus())["median_ns"] / 1000,
                          less=True, timed=False))
        cases.append(Case("idle CPU, bare turns", "%", lambda t: self.plan.json(
            "bench-wake", "--turns", "--json", "-n", "600", "-i", TURN, "-c", self.cpus())["percent"],
                          less=True, timed=False))
        self.plan.session(cases)

    def alone(self):
        depths = (128,) if self.plan.quick else DEPTHS
        self.plan.session([Case("driver alone q%d" % q, "/s", lambda t, q=q: self.bench(
            "bench-driver", "requests_per_s", "-q", str(q), "-c", self.cpus()), "ring q%d" % q)
                           for q in depths])
        self.plan.session([self.client("target alone, null read 4K q%d" % q, "-q", str(q),
                                       ceiling="ring q%d" % q) for q in depths],
                          "nvme:@0,ns=null:1T")
        if self.plan.quick:
            return
        self.plan.session([self.client("target alone, ram %s 4K q128" % kind, "-q", "128",
                                       *(["--write"] if kind == "write" else []),
                                       ceiling="copy %s 4K" % kind) for kind in KINDS],
                          "nvme:@0,ns=ram:%d" % DISK)

    # ---- I/O ----

    def io_case(self, store, kind, size, depth, queues=1):
        top = "ring q%d" % (depth * queues)
        top = top if store == "null" else "copy %s %s" % (kind, size)
        many = "4 queues " if queues == 4 else ""
        return self.iops("%s %s %s %sq%d" % (store, kind, size, many, depth), "-o", size, "-q",
                         str(depth), "-w", "rand" + kind, "-P", str(queues), ceiling=top)

    def grid(self):
        for store in ("null", "ram"):
            cases = [self.io_case(store, kind, size, q) for size in self.sizes
                     for q in self.depths for kind in KINDS]
            if not self.plan.quick:
                cases += [self.io_case(store, kind, size, 32, 4) for size in self.sizes
                          for kind in KINDS]
            spec = "null:1T" if store == "null" else "ram:%d" % DISK
            self.plan.session(cases, "nvme:@0,ns=" + spec)

    def pairs(self, prefix, base, *spec, cpus=None):
        """One queue and four: a share of the same with `base` for the prefix, or of the rings."""
        cases = []
        for text, words, ring in (("read 4K q1", ("-q", "1"), "ring q1"),
                                  ("read 4K q128", ("-q", "128"), "ring q128"),
                                  ("read 4K 4 queues q32", ("-q", "32", "-P", "4"), "ring q128")):
            cases.append(self.iops(prefix + text, *words, ceiling=base + text if base else ring))
        self.plan.session(cases, *spec, cpus=cpus)

    def trapped(self):
        spec = "nvme:@0,ns=null:1T,doorbells=trapped"
        if not self.plan.quick:
            self.pairs("trapped ", "null ", spec)
            return
        self.plan.session([self.iops("trapped read 4K q%d" % q, "-q", str(q),
                                     ceiling="null read 4K q%d" % q) for q in (1, 128)], spec)

    def strides(self):
        self.pairs("stride 0, ", None, "nvme:@0,ns=null:1T,dstrd=0")
        self.pairs("stride 4, ", "stride 0, ", "nvme:@0,ns=null:1T,dstrd=4")

    def two_cpus(self):
        others = sorted(os.sched_getaffinity(0) - {self.plan.host, self.plan.target})
        if not others:
            self.plan.notes.append("a target on two CPUs is not measured: that takes three, "
                                   "and there are two")
            return
        cpus = "%d,%d" % (self.plan.target, others[0])
        for store, spec in (("null", "null:1T"), ("ram", "ram:%d" % DISK)):
            self.plan.session([self.iops("two target CPUs, %s %s 4K 4 queues q32" % (store, kind),
                                         "-q", "32", "-P", "4", "-w", "rand" + kind,
                                         ceiling="%s %s 4K 4 queues q32" % (store, kind))
                               for kind in KINDS], "nvme:@0,ns=" + spec, cpus=cpus)

    # ---- idle and start ----

    def first(self, key):
        """A request of a client that slept, as the bare wake is one of a thread that slept."""
        return self.plan.json("bench-first", "--json", "-q", "25", "-t", IDLE, "-c",
                              str(self.plan.host), self.plan.socket())[key] / 1000

    def idle_cpu(self, target):
        """Of one core, while a client is there and sends nothing."""
        with tempfile.TemporaryFile() as out:
            # What it does in the first half second is to come and go.
            perf = subprocess.Popen([self.plan.program("bh-perf"), "-c", str(self.plan.host),
                                     "-q", "1", "--rate", "1", "-t", "1.5", "--json",
                                     self.plan.socket()], stdout=out, stderr=out)
            time.sleep(0.5)
            begin, cpu = time.monotonic(), target.cpu_ns()
            time.sleep(0.8)
            used = (target.cpu_ns() - cpu) / (time.monotonic() - begin) / 1e7
            perf.wait(timeout=30)
        return used

    def idle(self):
        for mode, key in (("mapped", "p90_ns"), ("trapped", "median_ns")):
            self.plan.session([
                Case("first I/O after idle, " + mode, "us", lambda t, key=key: self.first(key),
                     "wake", less=True, timed=False),
                Case("idle CPU, " + mode, "%", self.idle_cpu,
                     "idle CPU, bare turns" if mode == "mapped" else None, less=True, timed=False)],
                              "nvme:@0,ns=null:1T,doorbells=" + mode)

    def attach(self, _):
        begin = time.monotonic()
        self.plan.json("bh-identify", "--json", self.plan.socket())
        return time.monotonic() - begin

    def start(self):
        def beyond(target):
            """The disk may lie in hugepages or not; untouched, its pages may be missing."""
            rss, disk = target.resident_mib(), DISK / (1 << 20)
            return rss - disk if rss >= disk else rss

        self.plan.session([
            Case("start to ready", "s", lambda t: t.seconds, less=True, timed=False),
            Case("attach, identify, detach", "s", self.attach, less=True, timed=False),
            Case("resident beyond the disk", "MiB", beyond, less=True, timed=False),
            Case("hugepages held", "MiB", lambda t: t.hugepages_mib(), less=True, timed=False)],
                          "nvme:@0,ns=ram:%d" % DISK)

    def instructions(self):
        """As test/budget counted them when the budget was set; nothing is run."""
        self.plan.session([Case("instructions, null read, " + side, "", lambda t, n=count: n,
                                less=True, timed=False)
                           for case, side, _, count in budgets() if case == "null-read-4k-q128"])

    # ---- growth ----

    def growth(self):
        one = "1 controller, 1 busy"
        for n in (1, 16, 64):
            self.plan.session([self.iops(plural(n, "controller") + ", 1 busy", "-q", "128",
                                         ceiling=one if n > 1 else None)],
                              *["nvme:@%d,ns=null:1T" % i for i in range(n)])
        self.plan.session([self.client(plural(n, "queue") + ", 1 busy", "-q", "128", "-i",
                                       str(n - 1), ceiling="1 queue, 1 busy" if n > 1 else None)
                           for n in (1, 16, 64)], "nvme:@0,ns=null:1T,queues=64")
        self.plan.session([self.iops(plural(n, "queue") + " busy, q%d" % (128 // n), "-q",
                                     str(128 // n), "-P", str(n), ceiling="ring q128")
                           for n in (1, 16, 64)], "nvme:@0,ns=null:1T,queues=64")
        for n in (4, 16, 64):
            self.plan.session([self.iops("%d namespaces, 1 busy" % n, "-q", "128",
                                         suffix="?ns=1", ceiling=one)],
                              "nvme:@0" + ",ns=null:1T" * n)

    # ---- a file ----

    def file(self):
        if not self.plan.has_fio():
            self.plan.notes.append("the file store is not measured: fio is not installed")
            return
        pairs = [(kind, q) for q in (1, 32, 128) for kind in KINDS]
        for kind, q in pairs:
            name = "%s 4K q%d" % (kind, q)
            self.plan.session([Case("fio io_uring " + name, "IOPS", lambda t, kind=kind, q=q:
                                    self.fio(kind, q), timed=False)])
            self.plan.session([self.iops("file " + name, "-q", str(q), "-w", "rand" + kind,
                                         ceiling="fio io_uring " + name)],
                              "nvme:@0,ns=file:FILE")

    def fio(self, kind, depth):
        out = self.plan.call(["fio", "--name=x", "--filename=" + self.plan.path,
                              "--ioengine=io_uring", "--direct=1", "--rw=rand" + kind, "--bs=4k",
                              "--iodepth=%d" % depth, "--time_based", "--runtime=1",
                              "--size=%d" % DISK, "--cpus_allowed=%d" % self.plan.target,
                              "--output-format=json"])
        return json.loads(out[out.index("{"):])["jobs"][0][kind]["iops"]


def budgets():
    """Instructions per request, as test/budget counted them: [[case, side, budget, count]]."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../budget/budgets")
    rows = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split("#", 1)[0].split()
            if len(words) == 4 and re.fullmatch(r"[\d.]+", words[2]):
                rows.append([words[0], words[1], float(words[2]), float(words[3])])
    return rows

# SPDX-License-Identifier: BSD-3-Clause
"""What bench measures, and how.

A case is measured once per round and yields a number; a session is a target with the cases that run
against it. A case may name its ceiling, another case of the same round.
"""

import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SIZES = {"512": 512, "4K": 4096, "128K": 131072}
DEPTHS = (1, 32, 128, 512)
DISK = 256 << 20

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
    "64 controllers, 1 busy": ("ratio", "least", 0.90),
    "start to ready": ("value", "most", 0.4),
    "resident beyond the disk": ("value", "most", 64.0),
    "idle CPU, mapped": ("value", "most", 1.5),
    "idle CPU, trapped": ("value", "most", 0.2),
    "first I/O after idle, mapped": ("value", "most", 1300.0),
    "first I/O after idle, trapped": ("wake", "most", 1.5),
    "trapped read 4K q128": ("ratio", "least", 0.95),
}


class Failure(Exception):
    """A case could not be measured; the text says why."""


class Target:
    """A running bh-tgt."""

    def __init__(self, plan, specs, cpus):
        self.plan = plan
        begin = time.monotonic()
        self.proc = subprocess.Popen([plan.program("bh-tgt"), "-c", cpus] + specs,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.proc.stdout.readline()
        self.seconds = time.monotonic() - begin
        if line.strip() != "bh-tgt: ready":
            self.proc.kill()
            raise Failure("bh-tgt: " + self.proc.communicate()[1].strip())

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.communicate()

    def cpu_ns(self):
        total = 0
        for task in os.listdir("/proc/%d/task" % self.proc.pid):
            with open("/proc/%d/task/%s/schedstat" % (self.proc.pid, task), encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total

    def resident_mib(self):
        with open("/proc/%d/status" % self.proc.pid, encoding="ascii") as file:
            fields = dict(re.findall(r"(\w+):\s+(\d+) kB", file.read()))
        return (int(fields["VmRSS"]) + int(fields.get("HugetlbPages", 0))) / 1024


class Case:
    """One figure. measure(target) -> number, or None if there is nothing to say."""

    def __init__(self, name, unit, measure, ceiling=None, more_is_better=True, inverse=False):
        self.name, self.unit, self.measure = name, unit, measure
        self.ceiling, self.more_is_better, self.inverse = ceiling, more_is_better, inverse
        self.samples, self.ratios, self.tops = [], [], []

    def add(self, value, by_name):
        self.samples.append(value)
        other = by_name.get(self.ceiling)
        if other and other.samples:
            top = other.samples[-1]
            self.tops.append(top)
            self.ratios.append(top / value if self.inverse else value / top)

    def result(self):
        goal = GOALS.get(self.name)
        return {"name": self.name, "unit": self.unit, "samples": self.samples,
                "ceiling": self.ceiling, "ratios": self.ratios, "tops": self.tops,
                "more_is_better": self.more_is_better, "goal": goal}


class Plan:
    """All cases of a run."""

    def __init__(self, build, host, target, quick):
        self.build, self.host, self.target, self.quick = build, host, target, quick
        self.seconds = 0.2 if quick else 0.35
        self.sessions = []  # (specs or None, cpus, cases)
        self.notes, self.failures = [], []
        self.ceilings()
        self.grid()
        self.variants()
        self.idle()
        self.start()
        if not quick:
            self.growth()
            self.file()

    def program(self, name):
        return os.path.join(self.build, "bin", name)

    def sock(self, i=0):
        return os.path.join(self.dir, "n%d" % i)

    def call(self, words, timeout=60):
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout, check=False)
        if done.returncode != 0:
            raise Failure("%s: %s" % (" ".join(words), done.stderr.strip() or done.returncode))
        return done.stdout

    def session(self, cases, *specs, cpus=None):
        self.sessions.append((specs, cpus or str(self.target), cases))

    # ---- ceilings ----

    def ceilings(self):
        depths = (1, 128) if self.quick else DEPTHS
        cases = []
        for q in depths:
            cases.append(Case("ring q%d" % q, "/s", lambda t, q=q: self.ring(q)))
        for kind in ("read", "write"):
            for size in self.sizes():
                cases.append(Case("copy %s %s" % (kind, size), "/s",
                                  lambda t, kind=kind, size=size: self.copy(kind, size)))
        cases.append(Case("wake", "us", lambda t: self.wake(), more_is_better=False))
        self.session(cases)

    def ring(self, depth):
        out = self.call([self.program("bench-ring"), "--json", "-q", str(depth), "-t", str(self.seconds),
                         "-c", "%d,%d" % (self.host, self.target)])
        return json.loads(out)["runs"][0]["entries_per_s"]

    def copy(self, kind, size):
        words = [self.program("bench-copy"), "--json", "-o", size, "-t", str(self.seconds),
                 "-m", str(DISK), "-c", str(self.target)]
        out = self.call(words + (["--write"] if kind == "write" else []))
        return json.loads(out)["runs"][0]["copies_per_s"]

    def wake(self):
        out = self.call([self.program("bench-wake"), "--json", "-n", "50", "-i", "0.005",
                         "-c", "%d,%d" % (self.host, self.target)])
        return json.loads(out)["median_ns"] / 1000

    # ---- I/O ----

    def sizes(self):
        return ("512", "4K") if self.quick else tuple(SIZES)

    def perf(self, *words, suffix=""):
        """bh-perf's totals."""
        out = self.call([self.program("bh-perf"), "--json", "-c", str(self.host), "-a", "0.05",
                         "-t", str(self.seconds)] + list(words) + [self.sock() + suffix])
        return json.loads(out)["total"]

    def iops(self, name, *words, ceiling=None, suffix=""):
        return Case(name, "IOPS", lambda t: self.perf(*words, suffix=suffix)["iops"], ceiling)

    def io_case(self, store, kind, size, depth):
        top = "ring q%d" % depth if store == "null" else "copy %s %s" % (kind, size)
        return self.iops("%s %s %s q%d" % (store, kind, size, depth), "-o", size, "-q", str(depth),
                         "-w", "rand" + kind, ceiling=top)

    def grid(self):
        depths = (1, 128) if self.quick else DEPTHS
        for store in ("null", "ram"):
            cases = [self.io_case(store, kind, size, q) for size in self.sizes()
                     for q in depths for kind in ("read", "write")]
            spec = "null:1T" if store == "null" else "ram:%d" % DISK
            self.session(cases, "nvme:@0,ns=" + spec)

    def variants(self):
        base = "null read 4K q128"
        self.session([self.iops("trapped read 4K q128", "-q", "128", ceiling=base),
                      self.iops("trapped read 4K q1", "-q", "1", ceiling="null read 4K q1")],
                     "nvme:@0,ns=null:1T,doorbells=trapped")
        if self.quick:
            return
        for stride in (0, 4):
            self.session([self.iops("stride %d, read 4K q1" % stride, "-q", "1", ceiling="ring q1"),
                          self.iops("stride %d, read 4K q128" % stride, "-q", "128", ceiling="ring q128"),
                          self.iops("stride %d, 4 queues, read 4K q32" % stride, "-q", "32", "-P", "4",
                                    ceiling="ring q128")],
                         "nvme:@0,ns=null:1T,dstrd=%d" % stride)
        others = sorted(os.sched_getaffinity(0) - {self.host, self.target})
        if not others:
            self.notes.append("a target on two CPUs is not measured: it takes three")
            return
        self.session([self.iops("two target CPUs, 4 queues, read 4K q32", "-q", "32", "-P", "4",
                                ceiling="ring q128")],
                     "nvme:@0,ns=null:1T", cpus="%d,%d" % (self.target, others[0]))

    # ---- idle and start ----

    def idle(self):
        for mode in ("mapped", "trapped"):
            def first(target):
                return self.perf("-q", "1", "--rate", "50", "-t", "0.6")["lat_ns"]["p50"] / 1000

            def idle_cpu(target):
                seconds = "1.5"
                # What it does in the first half second is to come and go.
                perf = subprocess.Popen([self.program("bh-perf"), "-c", str(self.host), "-q", "1",
                                         "--rate", "1", "-t", seconds, "--json", self.sock()],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                time.sleep(0.5)
                begin, cpu = time.monotonic(), target.cpu_ns()
                time.sleep(0.8)
                used = (target.cpu_ns() - cpu) / (time.monotonic() - begin) / 1e7
                perf.communicate(timeout=30)
                return used

            self.session([Case("first I/O after idle, " + mode, "us", first, "wake",
                               more_is_better=False, inverse=True),
                          Case("idle CPU, " + mode, "%", idle_cpu, more_is_better=False)],
                         "nvme:@0,ns=null:1T,doorbells=" + mode)

    def start(self):
        def attach(target):
            begin = time.monotonic()
            self.call([self.program("bh-identify"), "--json", self.sock()])
            return time.monotonic() - begin

        self.session([Case("start to ready", "s", lambda t: t.seconds, more_is_better=False),
                      Case("attach, identify, detach", "s", attach, more_is_better=False),
                      Case("resident beyond the disk", "MiB", lambda t: self.beyond(t),
                           more_is_better=False)],
                     "nvme:@0,ns=ram:%d" % DISK)

    def beyond(self, target):
        """What is resident besides the disk, which may lie in hugepages or not."""
        rss = target.resident_mib()
        return rss - DISK / (1 << 20) if rss >= DISK / (1 << 20) else rss

    # ---- growth ----

    def growth(self):
        one = "1 controller, 1 busy"
        for n in (1, 16, 64):
            specs = ["nvme:@%d,ns=null:1T" % i for i in range(n)]
            self.session([self.iops("%d controller%s, 1 busy" % (n, "s" if n > 1 else ""), "-q", "128",
                                    ceiling=one if n > 1 else None)], *specs)
        for n in (1, 16, 64):
            self.session([self.iops("%d queue%s busy, q%d" % (n, "s" if n > 1 else "", 128 // n), "-q",
                                    str(128 // n), "-P", str(n), ceiling="ring q128")],
                         "nvme:@0,ns=null:1T,queues=64")
        for n in (1, 64):
            self.session([self.iops("%d namespace%s, 1 busy" % (n, "s" if n > 1 else ""), "-q", "128",
                                    suffix="?ns=1", ceiling=one)],
                         "nvme:@0" + ",ns=null:1T" * n)

    # ---- a file ----

    def file(self):
        if not shutil.which("fio"):
            self.notes.append("the file store is not measured: fio is not installed")
            return
        for kind in ("read", "write"):
            for q in (1, 32):
                name = "%s 4K q%d" % (kind, q)
                self.session([Case("fio io_uring " + name, "IOPS",
                                   lambda t, kind=kind, q=q: self.fio(kind, q))])
                self.session([self.iops("file " + name, "-q", str(q), "-w", "rand" + kind,
                                        ceiling="fio io_uring " + name)],
                             "nvme:@0,ns=file:FILE")

    def make_file(self):
        with open(self.path, "wb") as file:
            for _ in range(DISK >> 20):
                file.write(os.urandom(1 << 20))
            os.fsync(file.fileno())

    def fio(self, kind, depth):
        out = self.call(["fio", "--name=x", "--filename=" + self.path, "--ioengine=io_uring", "--direct=1",
                         "--rw=rand" + kind, "--bs=4k", "--iodepth=%d" % depth, "--time_based",
                         "--runtime=%d" % 1, "--size=%d" % DISK, "--cpus_allowed=%d" % self.target,
                         "--output-format=json"])
        return json.loads(out[out.index("{"):])["jobs"][0][kind]["iops"]

    # ---- running ----

    def specs(self, specs):
        at = lambda text: re.sub(r"@(\d+)", lambda m: self.sock(int(m.group(1))), text)
        return [at(s).replace("FILE", self.path.replace(":", "\\:")) for s in specs]

    def run_session(self, session, by_name):
        specs, cpus, cases = session
        target = None
        try:
            if specs:
                target = Target(self, self.specs(specs), cpus)
            for case in cases:
                case.add(case.measure(target), by_name)
        except (Failure, subprocess.TimeoutExpired) as failure:
            text = "%s: %s" % (cases[0].name, failure)
            if text not in self.failures:
                self.failures.append(text)
                print("bench: " + text, file=sys.stderr)
        finally:
            if target:
                target.stop()

    def round(self, by_name):
        for session in self.sessions:
            self.run_session(session, by_name)

    def select(self, only):
        """Cases that match, with their ceilings."""
        if not only:
            return
        cases = [c for s in self.sessions for c in s[2]]
        wanted = {c.name for c in cases if re.search(only, c.name)}
        for _ in range(2):
            wanted |= {c.ceiling for c in cases if c.name in wanted}
        self.sessions = [(s, cpus, [c for c in cs if c.name in wanted]) for s, cpus, cs in self.sessions]
        self.sessions = [s for s in self.sessions if s[2]]

    def run(self, repeats, limit, only):
        self.select(only)
        load = os.getloadavg()
        begin = time.monotonic()
        rounds = 0
        by_name = {case.name: case for session in self.sessions for case in session[2]}
        with contextlib.ExitStack() as stack:
            self.dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="bh-bench."))
            # On a disk, which /tmp may not be.
            self.path = os.path.join(stack.enter_context(tempfile.TemporaryDirectory(
                prefix="bh-bench.", dir="/var/tmp")), "file")
            if any("FILE" in spec for session in self.sessions for spec in session[0]):
                self.make_file()
            while rounds < repeats:
                self.round(by_name)
                rounds += 1
                spent = time.monotonic() - begin
                print("round %d of %d, %.0f s" % (rounds, repeats, spent), file=sys.stderr)
                if rounds < repeats and spent + spent / rounds > limit:
                    self.notes.append("%d rounds instead of %d: a slow or busy machine" % (rounds, repeats))
                    break
        return {"schema": 1, "time": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
                "commit": self.commit(), "machine": machine(), "cpus": [self.host, self.target],
                "load": [load[0], os.getloadavg()[0]], "rounds": rounds,
                "seconds": time.monotonic() - begin, "notes": self.notes, "failures": self.failures,
                "instructions": instructions(),
                "results": [case.result() for case in by_name.values() if case.samples]}

    @staticmethod
    def commit():
        done = subprocess.run(["git", "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=False,
                              cwd=os.path.dirname(os.path.abspath(__file__)))
        return done.stdout.strip()


def machine():
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"^model name\s*:\s*(.*)$", file.read(), re.M)
        model = found.group(1) if found else model
    return "%s, %d CPUs, Linux %s" % (model, os.cpu_count(), platform.release())


def instructions():
    """Each side alone, as test/budget counted it: [[case, side, budget, count]]."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../budget/budgets")
    rows = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split("#", 1)[0].split()
            if len(words) == 4 and not line.startswith("compiler"):
                rows.append([words[0], words[1], float(words[2]), float(words[3])])
    return rows

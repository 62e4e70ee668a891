# SPDX-License-Identifier: BSD-3-Clause
"""How bench runs what bench_cases lists: in rounds, each of them all sessions once.

A session is a target, or none, with the cases that run against it. What is left of the time after
the first round says how long the cases of the others may take, and if that is too little, how many
rounds there are.
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

from bench_cases import DISK, Cases, budgets

SHORTEST = 0.1  # seconds of a case


class Failure(Exception):
    """A case could not be measured; the text says why."""


class Target:
    """A running bh-tgt."""

    def __init__(self, program, specs, cpus):
        # Its log goes to a file: nobody reads a pipe while it runs.
        self.log = tempfile.TemporaryFile("w+")
        begin = time.monotonic()
        self.proc = subprocess.Popen([program, "-c", cpus] + specs, stdout=subprocess.PIPE,
                                     stderr=self.log, text=True)
        line = self.proc.stdout.readline()
        self.seconds = time.monotonic() - begin
        if line.strip() != "bh-tgt: ready":
            self.proc.kill()
            self.proc.wait()
            self.log.seek(0)
            raise Failure("bh-tgt: " + self.log.read().strip())

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        self.proc.stdout.close()
        self.log.close()

    def cpu_ns(self):
        total = 0
        for task in os.listdir("/proc/%d/task" % self.proc.pid):
            with open("/proc/%d/task/%s/schedstat" % (self.proc.pid, task),
                      encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total

    def status(self):
        with open("/proc/%d/status" % self.proc.pid, encoding="ascii") as file:
            return dict(re.findall(r"(\w+):\s+(\d+) kB", file.read()))

    def hugepages_mib(self):
        return int(self.status().get("HugetlbPages", 0)) / 1024

    def resident_mib(self):
        return int(self.status()["VmRSS"]) / 1024 + self.hugepages_mib()


class Plan:
    """A run: its sessions, what is said about it, and where it happens."""

    def __init__(self, build, host, target, quick):
        self.build, self.host, self.target, self.quick = build, host, target, quick
        self.seconds = 0.2 if quick else 0.35  # of a timed case
        self.sessions = []  # (specs, cpus, cases)
        self.notes, self.failures = [], []
        self.dir = self.path = None
        Cases(self)

    # ---- for the cases ----

    def session(self, cases, *specs, cpus=None):
        self.sessions.append((specs, cpus or str(self.target), cases))

    def program(self, name):
        return os.path.join(self.build, "bin", name)

    def socket(self, i=0):
        return os.path.join(self.dir, "n%d" % i)

    @staticmethod
    def has_fio():
        return shutil.which("fio") is not None

    @staticmethod
    def call(words, timeout=60):
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout, check=False)
        if done.returncode != 0:
            raise Failure("%s: %s" % (" ".join(words), done.stderr.strip() or done.returncode))
        return done.stdout

    def json(self, program, *words):
        return json.loads(self.call([self.program(program)] + list(words)))

    # ---- a round ----

    def specs(self, specs):
        def socket(match):
            return self.socket(int(match.group(1)))

        path = self.path.replace(":", "\\:")
        return [re.sub(r"@(\d+)", socket, s).replace("FILE", path) for s in specs]

    def fail(self, text):
        if text not in self.failures:
            self.failures.append(text)
            print("bench: " + text, file=sys.stderr)

    @staticmethod
    def measure(case, target):
        """Once more, and more, if nothing at all came: the CPUs were somebody else's."""
        for _ in range(3):
            value = case.measure(target)
            if value or not case.timed:
                break
        return value

    def run_session(self, session, by_name, fresh):
        specs, cpus, cases = session
        target = None
        try:
            if specs:
                target = Target(self.program("bh-tgt"), self.specs(specs), cpus)
            for case in cases:
                try:
                    case.add(self.measure(case, target), by_name, fresh)
                    fresh.add(case.name)
                except (Failure, subprocess.TimeoutExpired) as failure:
                    self.fail("%s: %s" % (case.name, failure))
        except Failure as failure:
            self.fail("%s: %s" % (cases[0].name, failure))
        finally:
            if target:
                target.stop()

    def select(self, only):
        """Cases that match, with their ceilings."""
        if not only:
            return
        cases = [c for s in self.sessions for c in s[2]]
        wanted = {c.name for c in cases if re.search(only, c.name)}
        for _ in range(3):
            wanted |= {c.ceiling for c in cases if c.name in wanted}
        self.sessions = [(s, cpus, [c for c in cs if c.name in wanted])
                         for s, cpus, cs in self.sessions]
        self.sessions = [s for s in self.sessions if s[2]]

    # ---- rounds ----

    def pace(self, spent, took, left, limit):
        """How long timed cases may be, now that a round has taken so long and so many are left."""
        timed = sum(1 for s in self.sessions for c in s[2] if c.timed)
        if left <= 0 or not timed:
            return
        spare = (limit - spent) / left - took
        # A twentieth of a round is kept back: no two take equally long.
        seconds = self.seconds + (spare - took / 20) / timed
        self.seconds = round(min(0.35, max(SHORTEST, seconds)), 3)

    def rounds(self, repeats, limit):
        by_name = {case.name: case for session in self.sessions for case in session[2]}
        begin = time.monotonic()
        done = 0
        while done < repeats:
            before, fresh = time.monotonic(), set()
            for session in self.sessions:
                if done and time.monotonic() - begin > limit:
                    self.notes.append("time was up in round %d of %d" % (done + 1, repeats))
                    return done
                self.run_session(session, by_name, fresh)
            done += 1
            now = time.monotonic()
            print("round %d of %d, %.0f s" % (done, repeats, now - begin), file=sys.stderr)
            self.pace(now - begin, now - before, repeats - done, limit)
        return done

    def make_file(self):
        with open(self.path, "wb") as file:
            for _ in range(DISK >> 20):
                file.write(os.urandom(1 << 20))
            os.fsync(file.fileno())

    def run(self, repeats, limit, only):
        self.select(only)
        load = os.getloadavg()
        begin = time.monotonic()
        with contextlib.ExitStack() as stack:
            self.dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="bh-bench."))
            # On a disk, which /tmp may not be.
            self.path = os.path.join(stack.enter_context(tempfile.TemporaryDirectory(
                prefix="bh-bench.", dir="/var/tmp")), "file")
            if any("FILE" in spec for session in self.sessions for spec in session[0]):
                self.make_file()
            rounds = self.rounds(repeats, limit - (time.monotonic() - begin))
        return {"schema": 1, "time": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
                "commit": commit(), "machine": machine(), "cpus": [self.host, self.target],
                "load": [load[0], os.getloadavg()[0]], "rounds": rounds,
                "seconds": time.monotonic() - begin, "notes": self.notes,
                "failures": self.failures, "instructions": budgets(),
                "results": [case.result() for session in self.sessions for case in session[2]
                            if case.samples]}


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

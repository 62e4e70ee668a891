# SPDX-License-Identifier: BSD-3-Clause
"""What ft_cli needs to run programs and to look at what they leave behind.

A test is a function decorated with @case: it raises Failed (or AssertionError) with a reason, or
Skipped. Cases run one after another; main() prints the lines scripts/run-tests counts.
"""

import contextlib
import glob
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import time
import traceback

BUILD = os.environ.get("BH_BUILD", "build")
TMP = os.environ["BH_TMP"]
SAN = os.environ.get("BH_SAN", "")
SLOW = 6 if SAN else 1
CASES = []


class Failed(Exception):
    """A test did not hold."""


class Skipped(Exception):
    """A test cannot run here."""


def case(function):
    CASES.append(function)
    return function


def check(condition, why):
    if not condition:
        raise Failed(why)


def program(name):
    return os.path.join(BUILD, "bin", name)


def path(name):
    return os.path.join(TMP, name)


class Run:
    """A program that has ended."""

    def __init__(self, argv, code, out, err):
        self.argv, self.code = argv, code
        self.out, self.err = out, err

    def __str__(self):
        return "%s: exit %s, stderr %r, stdout %r" % (
            " ".join(self.argv), self.code, self.err[-600:], self.out[-200:])


def limit_memory(megabytes):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    return limit


def start(argv, before=None, prefix=(), stdout=subprocess.PIPE):
    argv = list(prefix) + [program(argv[0])] + list(argv[1:])
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                            preexec_fn=before)


def finish(proc, seconds=30):
    """Wait for a program to end. Returns a Run."""
    try:
        out, err = proc.communicate(timeout=seconds * SLOW)
    except subprocess.TimeoutExpired:
        proc.kill()
        out, err = proc.communicate()
        raise Failed("%s: still running after %d s; stderr %r" % (
            " ".join(proc.args), seconds * SLOW, err)) from None
    return Run([os.path.basename(a) for a in proc.args[:1]] + proc.args[1:], proc.returncode,
               (out or b"").decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def run(*argv, seconds=30, **how):
    return finish(start(list(argv), **how), seconds)


def cpu_ticks(pid):
    """What each thread of a process but the first has used, in hundredths of a second."""
    ticks = []
    for name in glob.glob("/proc/%d/task/*/stat" % pid):
        with contextlib.suppress(OSError), open(name, encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
            if name != "/proc/%d/task/%d/stat" % (pid, pid):
                ticks.append(int(fields[11]) + int(fields[12]))
    return ticks


def at_work(proc, seconds=20):
    """Waits until a program that measures does: a worker of its polls."""
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end and proc.poll() is None:
        if max(cpu_ticks(proc.pid), default=0) >= 5:
            return proc
        time.sleep(0.01)
    proc.kill()
    raise Failed("%s does not get to work: %r" % (" ".join(proc.args), proc.communicate()))


def leftovers():
    """What a program might leave behind: files of ours, EAL runtime directories, hugepages."""
    seen = {}
    for base, dirs, files in os.walk(TMP):
        for name in dirs + files:
            full = os.path.join(base, name)
            seen[full] = os.lstat(full).st_mode
    runtime = {"/var/run/dpdk/*", "/tmp/dpdk/*", "/run/user/%d/dpdk/*" % os.getuid()}
    for pattern in runtime | {"/dev/hugepages/*"}:
        for full in glob.glob(pattern):
            seen[full] = 0
    for full in glob.glob("/sys/kernel/mm/hugepages/*/free_hugepages"):
        with open(full, encoding="ascii") as file:
            seen[full] = int(file.read())
    return seen


def children():
    with open("/proc/self/task/%d/children" % os.getpid(), encoding="ascii") as file:
        return set(file.read().split())


@contextlib.contextmanager
def nothing_left():
    before, known = leftovers(), children()
    yield
    after = leftovers()
    end = time.monotonic() + 2
    while after != before and time.monotonic() < end:
        time.sleep(0.05)
        after = leftovers()
    changed = sorted(set(before.items()) ^ set(after.items()))
    check(not changed, "left behind or changed: %s" % changed)
    live = children() - known
    check(not live, "child processes left: %s" % live)


def refused(argv, text, codes=(1, 2), **how):
    """The program fails with one line on stderr that matches text, and leaves nothing behind."""
    with nothing_left():
        done = run(*argv, **how)
    check_refusal(done, text, codes)
    return done


def check_refusal(done, text, codes=(1, 2)):
    codes = (codes,) if isinstance(codes, int) else codes
    check(done.code in codes, "expected exit %s: %s" % (codes, done))
    lines = done.err.splitlines()
    check(len(lines) == 1, "expected one line on stderr: %s" % done)
    name = os.path.basename(done.argv[0])
    check(lines[0].startswith(name + ": "), "stderr does not begin with the name: %s" % done)
    check(re.search(text, lines[0]), "no /%s/ in stderr: %s" % (text, done))
    check(done.out == "", "something on stdout: %s" % done)


class Target:
    """bh-tgt, from "ready" to SIGTERM. check=False: the test ends it otherwise."""

    def __init__(self, *words, prefix=(), clean=True, name="bh-tgt"):
        self.words, self.prefix, self.clean = [name] + list(words), prefix, clean
        self.proc = None

    def __enter__(self):
        self.proc = start(self.words, prefix=self.prefix)
        end = time.monotonic() + 20 * SLOW
        line = b""
        while not line.endswith(b"\n") and time.monotonic() < end:
            if select.select([self.proc.stdout], [], [], 0.1)[0]:
                more = os.read(self.proc.stdout.fileno(), 200)
                if not more:
                    break
                line += more
        if line != b"bh-tgt: ready\n":
            self.proc.kill()
            raise Failed("the target is not ready: %r %r" % (line, self.proc.communicate()[1]))
        return self

    def stop(self, how=signal.SIGTERM):
        self.proc.send_signal(how)
        done = finish(self.proc, 10)
        return done

    def __exit__(self, kind, value, trace):
        if self.proc.returncode is not None:
            return
        done = self.stop()
        if kind is None and self.clean:
            check(done.code == 0 and done.err == "", "the target's end: %s" % done)


# ---- JSON schema: the part of draft-07 that doc/json uses ----

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
KNOWN = {"$schema", "$ref", "title", "description", "definitions", "type", "required",
         "additionalProperties", "properties", "items", "minItems", "const", "enum", "minimum",
         "pattern"}


def has_type(value, name):
    if name in ("integer", "number"):
        wanted = int if name == "integer" else (int, float)
        return isinstance(value, wanted) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def validate(value, schema, root=None, at="$"):
    root = root or schema
    check(set(schema) <= KNOWN, "%s: the schema uses %s" % (at, set(schema) - KNOWN))
    if "$ref" in schema:
        validate(value, root["definitions"][schema["$ref"].rsplit("/", 1)[1]], root, at)
        return
    names = schema.get("type", [])
    names = [names] if isinstance(names, str) else names
    check(not names or any(has_type(value, n) for n in names), "%s: %r is no %s" % (at, value, names))
    check("const" not in schema or value == schema["const"], "%s: %r" % (at, value))
    check("enum" not in schema or value in schema["enum"], "%s: %r" % (at, value))
    check("minimum" not in schema or value >= schema["minimum"], "%s: %r is too small" % (at, value))
    if "pattern" in schema and isinstance(value, str):
        check(re.search(schema["pattern"], value), "%s: %r does not match" % (at, value))
    if isinstance(value, dict):
        for key in schema.get("required", []):
            check(key in value, "%s: %s is missing" % (at, key))
        known = schema.get("properties", {})
        for key, item in value.items():
            check(key in known or schema.get("additionalProperties", True), "%s: %s?" % (at, key))
            if key in known:
                validate(item, known[key], root, "%s.%s" % (at, key))
    if isinstance(value, list):
        check(len(value) >= schema.get("minItems", 0), "%s: too few" % at)
        for i, item in enumerate(value):
            validate(item, schema.get("items", {}), root, "%s[%d]" % (at, i))


def valid_json(text, name):
    """The object in text, which is one line and valid by doc/json/NAME.json."""
    check(text.count("\n") == 1 and text.endswith("\n"), "not one line: %r" % text[:200])
    value = json.loads(text)
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "../../doc/json/%s.json" % name), encoding="utf-8") as file:
        validate(value, json.load(file))
    return value


def main():
    wanted = sys.argv[1:]
    failed = False
    for function in CASES:
        name = function.__name__
        if wanted and name not in wanted:
            continue
        try:
            function()
            print("PASS %s" % name)
        except Skipped as why:
            print("SKIP %s: %s" % (name, why))
        except Exception as why:  # pylint: disable=broad-except
            failed = True
            if not isinstance(why, Failed):
                traceback.print_exc(file=sys.stdout)
            print("FAIL %s: %s" % (name, str(why).replace("\n", " ")))
        sys.stdout.flush()
    return 1 if failed else 0

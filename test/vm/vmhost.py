# SPDX-License-Identifier: BSD-3-Clause
"""The host's side of a guest on our own controllers: a bh-tgt beside QEMU, and the devices that reach it.

Sockets are named, not spelt: "%c0%" in a SPEC or a device is the socket c0 of this machine.
"""

import atexit
import json
import os
import re
import select
import signal
import subprocess
import time

READY_SECONDS = 30
END_SECONDS = 20


class Bad(Exception):
    """The target did not do what it should; the text says what."""


def controller(name, **properties):
    """A QEMU device on the controller behind socket NAME, as -device takes it."""
    return json.dumps(dict({"driver": "vfio-user-pci", "id": name,
                            "socket": {"type": "unix", "path": "%%%s%%" % name}}, **properties))


def socket_paths(base, text):
    """TEXT with the names of sockets replaced by their paths below BASE."""
    return re.sub(r"%(\w+)%", lambda found: "%s.%s" % (base, found.group(1)), text)


class NbdServer:
    """nbdkit with a file, of which a guest's script has it started and killed: a verb of machines."""

    SIZE = 16 << 20

    def __init__(self, directory):
        self.socket = os.path.join(directory, "nbd.sock")
        self.disk = os.path.join(directory, "nbd.disk")
        self.argv = ["nbdkit", "-f", "-U", self.socket, "file", "file=" + self.disk]
        self.proc = None

    def start(self):
        if not os.path.exists(self.disk):
            with open(self.disk, "wb") as file:
                file.truncate(self.SIZE)
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.proc = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(self.proc.kill)
        end = time.monotonic() + READY_SECONDS
        while not os.path.exists(self.socket) and time.monotonic() < end:
            time.sleep(0.05)
        return "nbd+unix:///?socket=" + self.socket

    def kill(self):
        self.proc.kill()
        self.proc.wait()
        atexit.unregister(self.proc.kill)
        return "killed"

    def verb(self, word):
        return {"start": self.start, "kill": self.kill}[word]()


class Target:
    """A running bh-tgt."""

    def __init__(self, program, base, specs, cpus=None):
        self.log_path, self.rpc, self.base = base + ".target.log", base + ".rpc", base
        self.log = open(self.log_path, "wb")
        argv = [program, "--rpc", self.rpc] + (["-c", cpus] if cpus else [])
        argv += [socket_paths(base, spec) for spec in specs]
        self.killed = False
        self.ctl_program = os.path.join(os.path.dirname(program), "bh-ctl")
        self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)
        try:
            self.wait_ready()
        except Bad:
            self.close()
            raise

    def wait_ready(self):
        end = time.monotonic() + READY_SECONDS
        said = b""
        while b"bh-tgt: ready\n" not in said:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.proc.stdout], [], [], left)[0]:
                raise Bad("not ready after %d s" % READY_SECONDS)
            data = os.read(self.proc.stdout.fileno(), 4096)
            if not data:
                raise Bad("it ended before it was ready: " + self.last_words())
            said += data

    def log_lines(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()

    def last_words(self):
        return (self.log_lines() or ["it said nothing"])[-1]

    def kill(self):
        """As a crash would end it."""
        self.killed = True
        self.proc.send_signal(signal.SIGKILL)
        self.proc.wait()

    def ctl(self, *words):
        """One call of bh-ctl, in which sockets may be named: its result, or None and why."""
        words = [socket_paths(self.base, word) for word in words]
        done = subprocess.run([self.ctl_program, self.rpc] + words, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                              text=True, check=False)
        if done.returncode != 0:
            return None, done.stderr.strip()
        return (json.loads(done.stdout) if done.stdout else True), ""

    def visit(self, store):
        """A controller that is made, used by a host of its own and deleted under it. None, or why
        that did not happen."""
        path = socket_paths(self.base, "%visit%")
        made, why = self.ctl("controller.create", "type=nvme", "socket=" + path, "serial=visit",
                             "ns=@" + store)
        if not made:
            return why
        perf = subprocess.Popen([os.path.join(os.path.dirname(self.ctl_program), "bh-perf"),
                                 "-t", "60", "-q", "8", "-w", "randread", path],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 30
        while self.counter("visit", "reads") < 100 and time.monotonic() < end:
            time.sleep(0.01)
        done, why = self.ctl("controller.delete", "name=" + path)
        said = perf.communicate(timeout=60)[1]
        if not done:
            return why
        if time.monotonic() >= end or perf.returncode != 1 or "server closed" not in said:
            return "its host: %s" % said.strip()
        return "its socket is left" if os.path.exists(path) else None

    def counter(self, serial, name):
        """A number out of `stats`, of the controller with that serial number."""
        names = {c.get("serial"): c["name"] for c in self.ctl("controller.list")[0]}
        for one in self.ctl("stats")[0]["controllers"]:
            if one["name"] == names.get(serial):
                return one[name]
        raise Bad("no controller '%s'" % serial)

    def cpu_seconds(self):
        """What it has used so far."""
        with open("/proc/%d/stat" % self.proc.pid, encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self):
        """Have it end by SIGTERM. What was wrong with it, or None."""
        errors = [line for line in self.log_lines() if "error: " in line]
        if errors:
            return "%d errors: %s" % (len(errors), errors[0])
        if self.killed:
            return None
        if self.proc.poll() is not None:
            return "it ended by itself (status %d): %s" % (self.proc.returncode, self.last_words())
        self.proc.terminate()
        try:
            self.proc.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            return "it does not end on SIGTERM"
        if self.proc.returncode != 0:
            return "it ended with status %d: %s" % (self.proc.returncode, self.last_words())
        return None

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        self.proc.stdout.close()
        self.log.close()

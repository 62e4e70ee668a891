# SPDX-License-Identifier: BSD-3-Clause
"""Boot a guest under QEMU and report what ran in it.

A VM test is a Python script that describes machines and what their guests run:

    vm.main(vm.Machine("group", script="...", devices=[...]), ...)

The guest says on its serial console "@@ PASS name", "@@ FAIL name: why", "@@ SKIP name: reason", which
become lines of scripts/run-tests with the machine's name in front; "@@ QMP {...}" has the harness do
something to the machine; "@@ END" is the last word. A guest that ends without it, panics, or runs
over its deadline is a failed test of that name. Consoles are kept in $BH_TMP, and the end of one is
shown when something failed.
"""

import argparse
import json
import os
import re
import select
import socket
import subprocess
import sys
import time

import vmcache
import vmguest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MARK = re.compile(r"^@@ (\w+) ?(.*?)\s*$")
TAIL = 40


class Machine:
    """One guest: kernel "stock" or "built", what is in the machine, and the script it runs."""

    def __init__(self, name, script, devices=(), disks=(), kernel="stock", iommu="", append="",
                 modules=("vfio_iommu_type1", "vfio-pci", "nvme"), programs=(), tree_programs=(), files=None,
                 memory=1024, cpus=2, deadline=120):
        self.name, self.script, self.devices, self.disks = name, script, devices, disks
        self.kernel, self.iommu, self.append = kernel, iommu, append
        self.modules, self.programs, self.tree_programs = modules, programs, tree_programs
        self.files = dict(files or {})
        self.memory, self.cpus, self.deadline = memory, cpus, deadline


def build_dir():
    return os.environ.get("BH_BUILD") or os.path.join(ROOT, "build")


def program(name):
    for place in ("bin", "test/vm"):
        path = os.path.join(build_dir(), place, name)
        if os.path.isfile(path):
            return path
    raise vmcache.Unavailable("%s is not built" % name)


def tmp_dir():
    return os.environ.get("BH_TMP") or os.environ.get("TMPDIR") or "/tmp"


class Qmp:
    """QEMU's control socket: commands are sent, and what comes back is looked at for errors only."""

    def __init__(self, path):
        self.path, self.file = path, None

    def send(self, command):
        if not self.file:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(10)
            self.sock.connect(self.path)
            self.file = self.sock.makefile("rw", encoding="utf-8")
            self.file.readline()
            self.call({"execute": "qmp_capabilities"})
        return self.call(command)

    def call(self, command):
        self.file.write(json.dumps(command) + "\n")
        self.file.flush()
        while True:
            reply = json.loads(self.file.readline())
            if "return" in reply or "error" in reply:
                return reply

    def close(self):
        if self.file:
            self.file.close()
            self.sock.close()


class Guest:
    """A running machine and what its console has said."""

    def __init__(self, machine, tree, cache):
        self.machine = machine
        self.base = os.path.join(tmp_dir(), machine.name)
        self.results, self.console, self.ended, self.up = [], [], False, None
        self.qmp = Qmp(self.base + ".qmp")
        argv, env = self.command(tree, cache)
        self.start = time.monotonic()
        self.proc = subprocess.Popen(argv, env=dict(os.environ, **env), stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def initramfs(self, tree):
        m = self.machine
        modules = None
        if m.kernel == "stock":
            modules = vmguest.Modules(tree.modules_dir())
            for name in m.modules:
                modules.add(name)
        data = vmguest.build(tree, modules, [program(p) for p in m.programs], m.tree_programs,
                             m.files, m.script)
        path = self.base + ".initrd"
        with open(path, "wb") as file:
            file.write(data)
        return path

    def command(self, tree, cache):
        m = self.machine
        argv, env = tree.qemu()
        kernel = tree.kernel_image()
        if m.kernel == "built":
            kernel = os.path.join(cache.kernel(), "bzImage")
            # Hotplug by the ports themselves, which without ASPM ACPI would keep to itself.
            argv += ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
            m.append += " pcie_ports=native"
        argv += ["-M", "q35,kernel-irqchip=split", "-accel", "tcg,thread=multi", "-cpu", "max",
                 "-m", str(m.memory), "-smp", str(m.cpus), "-display", "none", "-monitor", "none",
                 "-serial", "stdio", "-no-reboot", "-net", "none", "-nodefaults",
                 "-qmp", "unix:%s,server=on,wait=off" % self.qmp.path,
                 "-kernel", kernel, "-initrd", self.initramfs(tree), "-append",
                 "console=ttyS0 loglevel=4 panic=-1 intel_iommu=on iommu=nopt " + m.append]
        if m.iommu:
            argv += ["-device", "intel-iommu,intremap=on,caching-mode=on" + m.iommu]
        for name, size in m.disks:
            path = "%s.%s.img" % (self.base, name)
            with open(path, "wb") as file:
                file.truncate(size)
            argv += ["-drive", "if=none,id=%s,file=%s,format=raw,cache=unsafe" % (name, path)]
        for device in m.devices:
            argv += ["-device", device]
        return argv, env

    def line(self, text):
        self.console.append(text)
        found = MARK.search(text)
        if not found:
            return
        word, rest = found.groups()
        if word in ("PASS", "FAIL", "SKIP"):
            self.results.append((word, rest))
        elif word == "QMP":
            reply = self.qmp.send(json.loads(rest))
            if "error" in reply:
                self.results.append(("FAIL", "qmp: %s: %s" % (rest, reply["error"]["desc"])))
        elif word == "NOTE":
            vmcache.note("%s: %s" % (self.machine.name, rest))
        elif word == "UP":
            self.up = time.monotonic() - self.start
        elif word == "END":
            self.ended = True

    def watch(self):
        """Read the console until the machine ends or its time is up. Why it ended badly, or None."""
        pipe, pending = self.proc.stdout.fileno(), b""
        end = self.start + self.machine.deadline
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return "ran over its deadline of %d s" % self.machine.deadline
            if not select.select([pipe], [], [], min(left, 1))[0]:
                continue
            data = os.read(pipe, 65536)
            if not data:
                break
            pending += data
            *lines, pending = pending.split(b"\n")
            for line in lines:
                self.line(line.decode("utf-8", "replace").rstrip("\r"))
        if pending:
            self.line(pending.decode("utf-8", "replace"))
        self.proc.wait()
        if self.ended:
            return None
        said = self.console[-1] if self.console else "no output"
        return "it ended early (QEMU's status %d): %s" % (self.proc.returncode, said)

    def close(self):
        self.proc.kill()
        self.proc.wait()
        self.qmp.close()
        with open(self.base + ".console", "w", encoding="utf-8") as file:
            file.write("\n".join(self.console))


def report(machine, results, seconds, up):
    for word, rest in results:
        print("%s %s.%s" % (word, machine.name, rest), flush=True)
    vmcache.note("%s: %.1f s%s" % (machine.name, seconds,
                                   ", userspace after %.1f s" % up if up else ""))


def run_machine(machine, tree, cache, verbose):
    guest = Guest(machine, tree, cache)
    try:
        why = guest.watch()
    finally:
        guest.close()
    results = list(guest.results)
    if why:
        results.append(("FAIL", "guest: " + why))
    elif not results:
        results.append(("FAIL", "guest: it reported nothing"))
    failed = any(word == "FAIL" for word, _ in results)
    if failed or verbose:
        for text in guest.console if verbose else guest.console[-TAIL:]:
            print("    " + text)
    report(machine, results, time.monotonic() - guest.start, guest.up)
    return failed


def main(*machines):
    parser = argparse.ArgumentParser(description="Run VM tests, one machine after the other.")
    parser.add_argument("-v", "--verbose", action="store_true", help="show whole consoles")
    parser.add_argument("--newest", action="store_true",
                        help="the newest QEMU and kernel, not the last good ones")
    parser.add_argument("machine", nargs="*", help="names of machines; default: all of this script")
    args = parser.parse_args()
    chosen = [m for m in machines if not args.machine or m.name in args.machine]
    failed = False
    try:
        cache = vmcache.Cache(newest=args.newest)
        tree = cache.tree()
        for machine in chosen:
            failed |= run_machine(machine, tree, cache, args.verbose)
    except vmcache.Unavailable as missing:
        # On a CI machine everything must be there.
        word = "FAIL" if os.environ.get("CI") else "SKIP"
        print("%s %s: %s" % (word, "inputs", str(missing).replace("\n", "; ")))
        failed = word == "FAIL"
    sys.exit(1 if failed else 0)

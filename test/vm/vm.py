# SPDX-License-Identifier: BSD-3-Clause
"""Boot a guest under QEMU and report what ran in it.

A VM test is a Python script that describes machines and what their guests run:

    vm.main(vm.Machine("group", script="...", devices=[...]), ...)

The guest says on its serial console "@@ PASS name", "@@ FAIL name: why", "@@ SKIP name: reason", which
become lines of scripts/run-tests with the machine's name in front; "@@ QMP {...}" has the harness do
something to the machine; "@@ HOST verb ..." asks the host for something and reads a line in answer
from the console (vmhost.py); "@@ END" is the last word. A guest that ends without it, panics, or runs
over its deadline is a failed test of that name. Consoles are kept in $BH_TMP, and the end of one is
shown when something failed.

A machine with `specs` has a bh-tgt of its own on the host, which lives as long as the test does
while the guest may be rebooted or killed and started again.
"""

import argparse
import json
import os
import re
import select
import shlex
import socket
import subprocess
import sys
import time

import vmcache
import vmguest
import vmhost

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MARK = re.compile(r"^@@ (\w+) ?(.*?)\s*$")
TAIL = 40
BOOT_SECONDS = 90  # to the first line of the console; without load it takes 5


class Machine:
    """One guest: kernel "stock" or "built", what is in the machine, and the script it runs.

    kernel "none" boots what the firmware finds. netdevs: what network cards among the devices are
    plugged into, as QEMU's -netdev has it. later: modules that the script loads, with options of its own choice (/modules/NAME.ko).
    specs: what a bh-tgt on the host serves; guest memory is then shared with it; images are files it
    may need: {name: bytes}, named %name% as sockets are. run_guest: not a QEMU of ours but
    scripts/run-guest.sh with these options. reboots: the guest may restart the machine, which
    otherwise ends it.
    """

    def __init__(self, name, script, devices=(), disks=(), kernel="stock", iommu="", append="",
                 modules=("vfio_iommu_type1", "vfio-pci", "nvme"), programs=(), tree_programs=(), files=None,
                 memory=1024, cpus=2, deadline=120, later=(), specs=(), target_cpus=None, machine="",
                 images=None, run_guest=(), reboots=False, own_module=False, netdevs=(), verbs=None,
                 kernel_modules=()):
        self.name, self.script, self.devices, self.disks = name, script, devices, disks
        # Of vmcache.KERNEL_MODULES, with the built kernel: in /modules, for the script to load.
        self.netdevs, self.kernel_modules = netdevs, kernel_modules
        self.kernel, self.iommu, self.append = kernel, iommu, append
        self.modules, self.programs, self.tree_programs = modules, programs, tree_programs
        self.files = dict(files or {})
        # The module of test/kmod, with the built kernel: in /modules, for the script to load.
        self.own_module = own_module
        self.memory, self.cpus, self.deadline = memory, cpus, deadline
        self.later, self.specs, self.target_cpus = later, specs, target_cpus
        self.machine, self.reboots = machine, reboots
        self.images, self.run_guest = dict(images or {}), run_guest
        # What this machine may ask of the host beside the usual: {verb: function of the words}.
        self.verbs = dict(verbs or {})


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
        self.machine, self.tree, self.cache = machine, tree, cache
        self.base = os.path.join(tmp_dir(), machine.name)
        self.results, self.console, self.ended, self.up, self.ups = [], [], False, None, 0
        self.restarted = False
        self.pending, self.times = b"", []
        self.initrd, self.target, self.proc, self.qmp = self.initramfs(), None, None, None
        for name, size in machine.disks:
            with open("%s.%s.img" % (self.base, name), "wb") as file:
                file.truncate(size)
        for name, data in machine.images.items():
            with open("%s.%s" % (self.base, name), "wb") as file:
                file.write(data)
        self.start = time.monotonic()
        if machine.specs:
            self.target = vmhost.Target(program("bh-tgt"), self.base, machine.specs,
                                        machine.target_cpus)
        self.boot("")

    def boot(self, append):
        """Start QEMU, or start it again in place of the one that ran."""
        self.stop()
        self.qmp = Qmp(self.base + ".qmp")
        argv, env = self.command(append)
        self.proc = subprocess.Popen(argv, env=dict(os.environ, **env), stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def stop(self):
        if self.proc:
            if self.machine.run_guest:
                self.proc.terminate()  # it ends what it has started
            else:
                self.proc.kill()
            self.proc.wait()
            self.proc.stdin.close()
            self.proc.stdout.close()
            self.qmp.close()

    def initramfs(self):
        m, modules = self.machine, None
        files = dict(m.files)
        if m.own_module:
            files["modules/" + vmcache.MODULE] = self.cache.module()
        for name in m.kernel_modules:
            files["modules/%s.ko" % name] = self.cache.kernel_module(name)
        if m.kernel == "stock":
            modules = vmguest.Modules(self.tree.modules_dir(), m.later)
            for name in m.modules:
                modules.add(name)
        data = vmguest.build(self.tree, modules, [program(p) for p in m.programs], m.tree_programs,
                             files, m.script)
        path = self.base + ".initrd"
        with open(path, "wb") as file:
            file.write(data)
        return path

    def memory_options(self):
        m = self.machine
        kind = "q35,kernel-irqchip=split" + m.machine
        if not m.specs:
            return ["-M", kind, "-m", str(m.memory)]
        return ["-M", kind + ",memory-backend=ram", "-m", str(m.memory), "-object",
                "memory-backend-memfd,id=ram,size=%dM,share=on" % m.memory]

    def run_guest(self):
        """scripts/run-guest.sh, with a program that is the tree's QEMU."""
        argv, env = self.tree.qemu()
        qemu = self.base + ".qemu"
        words = ["%s=%s" % item for item in env.items()] + argv
        with open(qemu, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\nexec env %s \"$@\"\n" % shlex.join(words))
        os.chmod(qemu, 0o755)
        m = self.machine
        return [os.path.join(ROOT, "scripts/run-guest.sh"), "--qemu", qemu, "--bh-tgt",
                program("bh-tgt"), "--accel", "tcg", "--memory", "%dM" % m.memory, "--cpus",
                str(m.cpus), "--kernel", self.tree.kernel_image(), "--initrd", self.initrd,
                "--append", "console=ttyS0 loglevel=4 panic=-1 no_timer_check " + m.append] + list(m.run_guest) + [
                    "--", "-net", "none", "-no-reboot"], {}

    def command(self, append):
        m = self.machine
        if m.run_guest:
            return self.run_guest()
        argv, env = self.tree.qemu()
        kernel = self.tree.kernel_image()
        append = m.append + " " + append
        if m.kernel == "built":
            kernel = os.path.join(self.cache.kernel(), "bzImage")
            # Hotplug by the ports themselves, which without ASPM ACPI would keep to itself.
            argv += ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
            append += " pcie_ports=native"
        argv += self.memory_options()
        argv += ["-accel", "tcg,thread=multi", "-cpu", "max",
                 "-smp", str(m.cpus), "-display", "none", "-monitor", "none",
                 "-serial", "stdio", "-net", "none", "-nodefaults",
                 "-qmp", "unix:%s,server=on,wait=off" % self.qmp.path]
        if m.kernel != "none":
            argv += ["-kernel", kernel, "-initrd", self.initrd, "-append",
                     "console=ttyS0 loglevel=4 panic=-1 no_timer_check intel_iommu=on "
                     "iommu=nopt " + append]
        if not m.reboots:
            argv += ["-no-reboot"]
        if m.iommu:
            argv += ["-device", "intel-iommu,intremap=on,caching-mode=on" + m.iommu]
        for name, _ in m.disks:
            argv += ["-drive", "if=none,id=%s,file=%s.%s.img,format=raw,cache=unsafe" %
                     (name, self.base, name)]
        for netdev in m.netdevs:
            argv += ["-netdev", netdev]
        for device in m.devices:
            argv += ["-device", vmhost.socket_paths(self.base, device)]
        return argv, env

    def host(self, verb, *words):
        """What the guest has asked of the host. The answer, or None if nobody waits for one."""
        if verb == "ups":
            return str(self.ups)
        if verb == "again":
            self.boot(" ".join(words))
            return None
        if verb == "kill-target":
            self.target.kill()
            return "killed"
        if verb == "visit":
            return self.target.visit(*words) or "done"
        if verb == "target-cpu-ms":
            return "%d" % (self.target.cpu_seconds() * 1000)
        if verb == "counter":
            return "%d" % self.target.counter(*words)
        if verb == "ctl":
            result, why = self.target.ctl(*words)
            return why or "done" if not isinstance(result, dict) else json.dumps(result)
        if verb in self.machine.verbs:
            return self.machine.verbs[verb](*words)
        self.results.append(("FAIL", "host: it does not know " + verb))
        return "unknown"

    def line(self, text):
        self.console.append(text)
        self.times.append(time.monotonic() - self.start)
        found = MARK.search(text)
        if not found:
            return
        word, rest = found.groups()
        if word in ("PASS", "FAIL", "SKIP"):
            self.results.append((word, rest))
        elif word == "QMP":
            reply = self.qmp.send(json.loads(vmhost.socket_paths(self.base, rest)))
            if "error" in reply:
                self.results.append(("FAIL", "qmp: %s: %s" % (rest, reply["error"]["desc"])))
        elif word == "HOST":
            answer = self.host(*rest.split())
            if answer is not None:
                self.proc.stdin.write(answer.encode() + b"\n")
                self.proc.stdin.flush()
        elif word == "NOTE":
            vmcache.note("%s: %s" % (self.machine.name, rest))
        elif word == "UP":
            self.ups += 1
            self.up = self.up or time.monotonic() - self.start
        elif word == "END":
            self.ended = True

    def read_console(self):
        """The console's next lines go through line(). False: this QEMU has ended."""
        proc, data = self.proc, b""
        if select.select([proc.stdout], [], [], 1)[0]:
            data = os.read(proc.stdout.fileno(), 65536)
            if not data:
                return False
        self.pending += data
        *lines, self.pending = self.pending.split(b"\n")
        for line in lines:
            self.line(line.decode("utf-8", "replace").rstrip("\r"))
            if self.proc is not proc:
                self.pending = b""
                break
        return True

    def boot_hangs(self):
        """Seen once in hundreds of boots: QEMU runs, and its kernel never says a word. Nothing of
        ours is in such a machine yet, unless a target of ours serves its devices: then it counts."""
        late = time.monotonic() - self.start >= BOOT_SECONDS
        if not late or self.console or self.machine.specs or self.restarted:
            return False
        self.restarted = True
        return True

    def watch(self):
        """Read the console until the machine ends or its time is up. Why it ended badly, or None."""
        end = self.start + self.machine.deadline
        while self.read_console():
            if self.boot_hangs():
                vmcache.note("%s: silent for %d s, started again" % (self.machine.name, BOOT_SECONDS))
                self.boot("")
                end += BOOT_SECONDS
            if time.monotonic() >= end:
                return "ran over its deadline of %d s" % self.machine.deadline
        if self.pending:
            self.line(self.pending.decode("utf-8", "replace"))
        self.proc.wait()
        if self.ended:
            return None
        said = self.console[-1] if self.console else "no output"
        return "it ended early (QEMU's status %d): %s" % (self.proc.returncode, said)

    def end_target(self):
        why = self.target.end() if self.target else None
        if why:
            self.results.append(("FAIL", "target: " + why))

    def close(self):
        self.stop()
        if self.target:
            self.target.close()
        with open(self.base + ".console", "w", encoding="utf-8") as file:
            file.writelines("%7.2f %s\n" % said for said in zip(self.times, self.console))


def report(machine, results, seconds, up):
    for word, rest in results:
        print("%s %s.%s" % (word, machine.name, rest), flush=True)
    vmcache.note("%s: %.1f s%s" % (machine.name, seconds,
                                   ", userspace after %.1f s" % up if up else ""))


def run_machine(machine, tree, cache, verbose):
    guest = Guest(machine, tree, cache)
    try:
        why = guest.watch()
        guest.end_target()
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

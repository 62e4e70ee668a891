# SPDX-License-Identifier: BSD-3-Clause
"""A guest's root file system: an initramfs with busybox, kernel modules in the order they are loaded,
our programs with the libraries they need, and programs of the package tree under its own loader."""

import glob
import lzma
import os
import re
import stat
import subprocess

from vmcache import Unavailable, run

HERE = os.path.dirname(os.path.abspath(__file__))


class Cpio:
    """The newc format, which is all a kernel unpacks."""

    def __init__(self):
        self.parts, self.dirs, self.inode = [], set(), 1

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        name_bytes = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1],
                  len(name_bytes), 0]
        self.inode += 1
        head = b"070701" + b"".join(b"%08x" % f for f in fields) + name_bytes
        self.parts.append(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    def directory(self, name):
        name = name.strip("/")
        if not name or name in self.dirs:
            return
        self.directory(os.path.dirname(name))
        self.dirs.add(name)
        self._entry(name, stat.S_IFDIR | 0o755)

    def data(self, name, data, mode=0o755):
        self.directory(os.path.dirname(name))
        self._entry(name.strip("/"), stat.S_IFREG | mode, data)

    def file(self, name, path, mode=0o755):
        with open(path, "rb") as file:
            self.data(name, file.read(), mode)

    def link(self, name, target):
        self.directory(os.path.dirname(name))
        self._entry(name.strip("/"), stat.S_IFLNK | 0o777, target.encode())

    def device(self, name, major, minor):
        self.directory(os.path.dirname(name))
        self._entry(name.strip("/"), stat.S_IFCHR | 0o600, rdev=(major, minor))

    def finish(self):
        self._entry("TRAILER!!!", 0)
        # Not compressed: an emulated processor takes longer to unpack it than we to write it.
        return b"".join(self.parts)


def module_name(path):
    return re.sub(r"\.ko(\.\w+)?$", "", os.path.basename(path)).replace("-", "_")


def module_bytes(path):
    with open(path, "rb") as file:
        data = file.read()
    return lzma.decompress(data) if path.endswith(".xz") else data


class Modules:
    """Modules of the stock kernel, with what they depend on. The package has no modules.dep."""

    def __init__(self, directory, later=()):
        self.paths = {module_name(p): p for p in
                      glob.glob(os.path.join(directory, "**", "*.ko*"), recursive=True)}
        self.later = [name.replace("-", "_") for name in later]
        self.order = []
        self.content = {}
        for name in later:
            self.add(name)

    def add(self, name):
        name = name.replace("-", "_")
        if name in self.content:
            return
        if name not in self.paths:
            raise Unavailable("the kernel has no module %s" % name)
        data = module_bytes(self.paths[name])
        self.content[name] = data
        found = re.search(rb"\0depends=([^\0]*)\0", data)
        for needed in (found.group(1).decode().split(",") if found else []):
            if needed:
                self.add(needed)
        if name not in self.later:
            self.order.append(name)


def host_libraries(program):
    """Absolute paths of what the machine's loader gives a program, the loader included."""
    done = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode != 0:
        return []  # static
    return re.findall(r"(/\S+) \(0x", done.stdout)


def add_mempool_plugin(cpio, library):
    """DPDK's mempools are of use only with a plug-in, which EAL looks for in a directory of its own."""
    for path in glob.glob(os.path.join(os.path.dirname(os.path.realpath(library)),
                                       "dpdk/pmds-*/librte_mempool_ring.so")):
        cpio.file(path, os.path.realpath(path))


def add_tree_program(cpio, tree, name):
    """A program of the package tree, behind a script that runs it with the tree's loader."""
    path = tree.program(name)
    listing = run([tree.loader(), "--library-path", tree.libs, "--list", path])
    for lib in re.findall(r"(/\S+) \(0x", listing):
        if "tree/lib/" + os.path.basename(lib) not in cpio.seen:
            cpio.seen.add("tree/lib/" + os.path.basename(lib))
            cpio.file("tree/lib/" + os.path.basename(lib), lib)
    cpio.file("tree/bin/" + name, path)
    cpio.data("usr/bin/" + name, ("#!/bin/sh\nexec /tree/lib/%s --library-path /tree/lib "
                                  "/tree/bin/%s \"$@\"\n" %
                                  (os.path.basename(tree.loader()), name)).encode())


def build(tree, modules, programs, tree_programs, files, script):
    """An initramfs as bytes. programs: paths, to /bh/bin; files: {path in the guest: path here}."""
    cpio = Cpio()
    cpio.seen = set()
    for name in ("dev", "proc", "sys", "tmp", "run", "mnt", "root", "usr/bin", "bin"):
        cpio.directory(name)
    cpio.device("dev/console", 5, 1)
    cpio.file("bin/busybox", tree.program("busybox"))
    cpio.link("bin/sh", "busybox")
    cpio.data("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n",
              0o644)
    cpio.data("etc/group", b"root:x:0:\nuser:x:1000:\n", 0o644)
    if modules:
        if tree.loader() not in cpio.seen:
            cpio.data("modules/order", ("\n".join(modules.order) + "\n").encode(), 0o644)
        for name, data in modules.content.items():
            cpio.data("modules/%s.ko" % name, data, 0o644)
    for program in programs:
        cpio.file("bh/bin/" + os.path.basename(program), program)
        for lib in host_libraries(program):
            if lib not in cpio.seen:
                cpio.seen.add(lib)
                cpio.file(lib, os.path.realpath(lib))
                if os.path.basename(lib).startswith("librte_mempool.so"):
                    add_mempool_plugin(cpio, lib)
    for name in tree_programs:
        add_tree_program(cpio, tree, name)
    for inside, outside in files.items():
        cpio.file(inside, outside)
    for path in sorted(glob.glob(os.path.join(HERE, "guest", "*"))):
        cpio.file("bh/guest/" + os.path.basename(path), path)
    cpio.link("init", "bh/guest/init")
    cpio.data("bh/script", script.encode(), 0o644)
    return cpio.finish()

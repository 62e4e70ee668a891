# SPDX-License-Identifier: BSD-3-Clause
"""What the VM tests need of the world: QEMU, a stock kernel with its modules, a kernel of our own
configuration, and a few programs for guests.

Everything is downloaded once per machine through a private apt root (the machine's own apt
configuration gives the mirror and its keys, and is not changed), unpacked with dpkg-deb -x, and kept
in a cache folder outside the tree: $BH_VM_CACHE, or bellhop-vm below $XDG_CACHE_HOME or ~/.cache.
Nothing here needs root. Trees are made under another name and renamed when complete, so a run that
was cut short leaves nothing that a later one would trust.
"""

import atexit
import contextlib
import fcntl
import glob
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
GUEST_SUITE = "trixie"
GUEST_PACKAGES = ["seabios", "ipxe-qemu", "busybox-static", "pciutils", "util-linux", "mount",
                  "e2fsprogs", "nvme-cli", "fio"]
# Native to the machine, for building a kernel where they are not installed.
BUILD_TOOLS = {"flex": "flex", "bison": "bison", "m4": "m4"}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
KERNEL_FRAGMENT = os.path.join(HERE, "kernel.config")
# Our own kernel module: its sources, and what they are built to.
MODULE_DIR = os.path.join(os.path.dirname(HERE), "kmod")
MODULE_SOURCES = ("Kbuild", "bh_memattr.c")
MODULE = "bh_memattr.ko"

# Modules of the kernel that is built here, of its own source, which its configuration leaves out: where
# they are and what switches them on.
KERNEL_MODULES = {"af_packet": ("net/packet", "CONFIG_PACKET"),
                  "e1000e": ("drivers/net/ethernet/intel/e1000e", "CONFIG_E1000E")}


class Unavailable(Exception):
    """Something needed is not there and cannot be had; the text says what."""


def note(text):
    print("  note: vm: " + text, flush=True)


def default_root():
    given = os.environ.get("BH_VM_CACHE")
    if given:
        return os.path.abspath(given)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "bellhop-vm")


def read_versions():
    with open(os.path.join(HERE, "VERSIONS"), encoding="ascii") as file:
        lines = [line.split() for line in file if line.strip() and not line.startswith("#")]
    return dict(lines)


def run(argv, **options):
    """Run a command; its output is the text of the exception when it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False, **options)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise Unavailable("%s failed: %s" % (" ".join(argv[:4]), tail))
    return done.stdout


class Apt:
    """An apt of our own: the machine's mirror and keys, other suites, no installed packages."""

    def __init__(self, root):
        self.root = root
        for name in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d",
                     "etc/preferences.d", "etc/sources.list.d"):
            os.makedirs(os.path.join(root, name), exist_ok=True)
        open(os.path.join(root, "status"), "w", encoding="ascii").close()

    def options(self):
        place = {"Dir::State": "state", "Dir::State::status": "status", "Dir::Cache": "cache",
                 "Dir::Etc": "etc"}
        result = []
        for key, name in place.items():
            result += ["-o", "%s=%s" % (key, os.path.join(self.root, name))]
        # Unpacked below a home directory, which apt's own user cannot read.
        return result + ["-o", "APT::Sandbox::User=" + ("root" if os.geteuid() == 0 else ""),
                         "-o", "Acquire::Retries=3", "-o", "APT::Architecture=amd64"]

    @staticmethod
    def machine_sources():
        """(uri, release) of the distribution's main archive, as this machine knows it."""
        text = run(["apt-get", "indextargets", "--format",
                    "$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages"])
        rows = [line.split("|") for line in text.splitlines() if line.count("|") == 2]
        return [(r[0], r[1]) for r in rows if r[2] == "main"]

    def update(self):
        codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
        found = [s for s in self.machine_sources() if s[1] in (codename, GUEST_SUITE)]
        if not found:
            raise Unavailable("apt knows no mirror of %s on this machine" % (codename or "Debian"))
        uri = found[0][0]
        signed = " [signed-by=%s]" % KEYRING if os.path.isfile(KEYRING) else ""
        trusted = os.path.join(self.root, "etc/trusted.gpg.d")
        if not signed and not os.path.isdir(trusted):
            shutil.copytree("/etc/apt/trusted.gpg.d", trusted)
        suites = {codename, GUEST_SUITE, GUEST_SUITE + "-backports"}
        with open(os.path.join(self.root, "etc/sources.list"), "w", encoding="utf-8") as file:
            for suite in sorted(suites):
                file.write("deb%s %s %s main\n" % (signed, uri, suite))
        run(["apt-get"] + self.options() + ["-qq", "update"])

    def versions(self, pattern):
        """Names of packages that match, as the mirror has them."""
        text = run(["apt-cache"] + self.options() + ["search", "-n", pattern])
        return [line.split()[0] for line in text.splitlines() if line.strip()]

    def has(self, package, version):
        text = run(["apt-cache"] + self.options() + ["madison", package])
        return any(line.split("|")[1].strip() == version for line in text.splitlines()
                   if line.count("|") == 2)

    def unpack(self, packages, into, dependencies=True):
        """Download packages (and what they depend on) and unpack them below `into`."""
        shutil.rmtree(os.path.join(self.root, "cache/archives"), ignore_errors=True)
        archives = os.path.join(self.root, "cache/archives")
        os.makedirs(os.path.join(archives, "partial"))
        if dependencies:
            run(["apt-get"] + self.options() +
                ["-qq", "-y", "--download-only", "--no-install-recommends", "-t",
                 GUEST_SUITE + "-backports", "install"] + packages)
        else:
            run(["apt-get"] + self.options() + ["-qq", "download"] + packages, cwd=archives)
        for deb in sorted(glob.glob(os.path.join(archives, "*.deb"))):
            run(["dpkg-deb", "-x", deb, into])
            os.unlink(deb)


def version_key(text):
    return [int(n) for n in re.findall(r"\d+", text)]


class Cache:
    def __init__(self, newest=False):
        self.root = default_root()
        self.newest = newest
        self.good = read_versions()
        os.makedirs(self.root, exist_ok=True)
        self._apt = None

    @contextlib.contextmanager
    def lock(self, what):
        """One process at a time makes a thing; others wait for it, then find it there."""
        with open(os.path.join(self.root, "lock." + what), "w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def apt(self):
        if not self._apt:
            # Of this process alone: what it downloads is unpacked at once, and removed at exit.
            place = tempfile.mkdtemp(prefix="apt.", dir=self.root)
            atexit.register(shutil.rmtree, place, ignore_errors=True)
            self._apt = Apt(place)
            self._apt.update()
        return self._apt

    @contextlib.contextmanager
    def making(self, path):
        """A directory under another name, renamed to `path` when the block ends well."""
        new = path + ".new"
        shutil.rmtree(new, ignore_errors=True)
        os.makedirs(new)
        yield new
        shutil.rmtree(path, ignore_errors=True)
        os.rename(new, path)

    def tree(self):
        """The directory with QEMU, the stock kernel and the guests' programs."""
        recipe = hashlib.sha256(repr((GUEST_PACKAGES, sorted(self.good.items()),
                                      self.newest)).encode()).hexdigest()[:12]
        path = os.path.join(self.root, "tree-" + recipe)
        with self.lock("tree"):
            if not os.path.isdir(path):
                self.make_tree(path)
        return Tree(path)

    def choose(self, apt):
        """The packages of QEMU and the kernel, and the kernel's release."""
        found = [name[len("linux-modules-"):] for name in
                 apt.versions(r"^linux-modules-[0-9.]+\+deb[0-9]+-amd64$")]
        if not found:
            raise Unavailable("the mirror has no linux-modules package")
        release = self.good["linux-binary"]
        if self.newest or release not in found:
            release = max(found, key=version_key)
        qemu = "qemu-system-x86"
        if not self.newest and apt.has(qemu, self.good[qemu]):
            qemu += "=" + self.good[qemu]
        return [qemu, "linux-binary-" + release, "linux-modules-" + release], release

    def make_tree(self, path):
        start = time.monotonic()
        apt = self.apt()
        packages, release = self.choose(apt)
        with self.making(path) as new:
            apt.unpack(packages + GUEST_PACKAGES, new)
            with open(os.path.join(new, ".release"), "w", encoding="ascii") as file:
                file.write(release)
        note("unpacked %s in %.0f s" % (" ".join(packages), time.monotonic() - start))

    def kernel(self):
        """A kernel with iommufd, VFIO cdevs and hotplug, built here: its build directory."""
        source = "linux-source-" + self.good["linux-source"]
        with open(KERNEL_FRAGMENT, "rb") as file:
            recipe = hashlib.sha256(file.read() + source.encode()).hexdigest()[:12]
        path = os.path.join(self.root, "kernel-%s-%s" % (self.good["linux-source"], recipe))
        with self.lock("kernel"):
            if not os.path.isfile(os.path.join(path, "bzImage")):
                self.make_kernel(source, path)
        return path

    def build_environment(self):
        """The environment of a kernel build, with flex, bison and m4 of our own if need be."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        missing = [p for t, p in BUILD_TOOLS.items() if not shutil.which(t)]
        if missing:
            tools = os.path.join(self.root, "tools")
            if not os.path.isdir(tools):
                codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
                with self.making(tools) as new:
                    self.apt().unpack([p + "/" + codename for p in sorted(BUILD_TOOLS.values())],
                                      new, dependencies=False)
            env["PATH"] = os.path.join(tools, "usr/bin") + ":" + env.get("PATH", "")
            env["BISON_PKGDATADIR"] = os.path.join(tools, "usr/share/bison")
            env["M4"] = shutil.which("m4", path=env["PATH"])
        return env

    def make_kernel(self, source, path):
        start = time.monotonic()
        env = self.build_environment()
        with self.making(path) as new:
            self.apt().unpack([source], new, dependencies=False)
            archive = glob.glob(os.path.join(new, "usr/src/%s.tar.*" % source))
            if not archive:
                raise Unavailable("%s holds no source archive" % source)
            src = os.path.join(new, "src")
            os.makedirs(src)
            run(["tar", "-C", src, "--strip-components=1", "-xf", archive[0]])
            shutil.rmtree(os.path.join(new, "usr"))
            # The recorded configuration must not depend on where the cache lies.
            make = ["make", "-C", src, "-j%d" % len(os.sched_getaffinity(0)),
                    "KCONFIG_ALLCONFIG=" + KERNEL_FRAGMENT]
            run(make + ["-s", "allnoconfig"], env=env)
            self.check_config(os.path.join(src, ".config"))
            run(make + ["-s", "bzImage"], env=env)
            shutil.copy(os.path.join(src, "arch/x86/boot/bzImage"), os.path.join(new, "bzImage"))
        note("built %s in %.0f s" % (source, time.monotonic() - start))

    def module(self):
        """The kernel module of test/kmod for the kernel that is built here: the file."""
        kernel = self.kernel()
        recipe = hashlib.sha256(os.path.basename(kernel).encode())
        for name in MODULE_SOURCES:
            with open(os.path.join(MODULE_DIR, name), "rb") as file:
                recipe.update(file.read())
        path = os.path.join(self.root, "module-" + recipe.hexdigest()[:12])
        with self.lock("kernel"):
            if not os.path.isfile(os.path.join(path, MODULE)):
                self.make_module(os.path.join(kernel, "src"), path)
        return os.path.join(path, MODULE)

    def make_module(self, src, path):
        def sources(build):
            os.makedirs(build)
            for name in MODULE_SOURCES:
                shutil.copy(os.path.join(MODULE_DIR, name), build)
        self.build_module(src, path, MODULE, sources, [])

    def kernel_module(self, name):
        """One of KERNEL_MODULES: the file."""
        kernel = self.kernel()
        place, config = KERNEL_MODULES[name]
        path = os.path.join(self.root, "module-%s-%s" % (os.path.basename(kernel), name))
        src = os.path.join(kernel, "src")
        with self.lock("kernel"):
            if not os.path.isfile(os.path.join(path, name + ".ko")):
                self.build_module(src, path, name + ".ko",
                                  lambda build: shutil.copytree(os.path.join(src, place), build),
                                  [config + "=m"])
        return os.path.join(path, name + ".ko")

    def build_module(self, src, path, name, sources, options):
        """sources(build): puts them into a directory that it makes."""
        start = time.monotonic()
        env = self.build_environment()
        with self.making(path) as new:
            build = os.path.join(new, "build")
            sources(build)
            make = ["make", "-C", src, "-j%d" % len(os.sched_getaffinity(0))]
            # What modules need beyond a kernel image; the image is not touched.
            if not os.path.isfile(os.path.join(src, "scripts/module.lds")):
                run(make + ["-s", "modules_prepare"], env=env)
            run(make + ["-s", "M=" + build,
                        "KBUILD_EXTRA_SYMBOLS=" + os.path.join(src, "vmlinux.symvers")] + options +
                ["modules"], env=env)
            shutil.copy(os.path.join(build, name), os.path.join(new, name))
            shutil.rmtree(build)
        note("built %s in %.0f s" % (name, time.monotonic() - start))

    @staticmethod
    def check_config(config):
        """Every symbol of the fragment took effect: a renamed one would vanish without a word."""
        with open(config, encoding="utf-8") as file:
            have = set(file.read().splitlines())
        with open(KERNEL_FRAGMENT, encoding="utf-8") as file:
            want = [line.strip() for line in file if line.startswith("CONFIG_")]
        lost = [w for w in want if w not in have]
        if lost:
            raise Unavailable("the kernel does not take " + " ".join(lost))


class Tree:
    """Packages unpacked side by side: programs run through the tree's own loader."""

    def __init__(self, path):
        self.path = path
        with open(os.path.join(path, ".release"), encoding="ascii") as file:
            self.release = file.read().strip()
        libs = os.path.join(path, "usr/lib/x86_64-linux-gnu")
        # Ceph keeps a library that fio wants to itself.
        self.libs = libs + ":" + os.path.join(libs, "ceph")
        self.qemu_modules = os.path.join(libs, "qemu")

    def find(self, *names):
        for name in names:
            for path in glob.glob(os.path.join(self.path, name)):
                return path
        raise Unavailable("the package tree has no %s" % names[0])

    def loader(self):
        return self.find("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
                         "usr/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2")

    def program(self, name):
        return self.find("usr/bin/" + name, "usr/sbin/" + name, "bin/" + name, "sbin/" + name)

    def qemu(self):
        argv = [self.loader(), "--library-path", self.libs, self.program("qemu-system-x86_64")]
        for data in ("usr/share/seabios", "usr/share/qemu", "usr/lib/ipxe/qemu"):
            argv += ["-L", os.path.join(self.path, data)]
        return argv, {"QEMU_MODULE_DIR": self.qemu_modules}

    def kernel_image(self):
        return self.find("usr/lib/modules/%s/vmlinuz" % self.release,
                         "boot/vmlinuz-" + self.release, "usr/lib/modules/*/vmlinuz")

    def modules_dir(self):
        return self.find("usr/lib/modules/%s/kernel" % self.release,
                         "lib/modules/%s/kernel" % self.release)

#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Install the Debian packages (12 and 13) that building, checking and documenting Bellhop uses.
#
#   pkgdep.sh           install what is missing (as root; otherwise say which command does)
#   pkgdep.sh --check   say what is missing, exit 1 if anything is
#   pkgdep.sh --print   list the packages
#   pkgdep.sh --ceph    the same as without, and what the RBD plug-in and its test need
set -eu

# pkgconf and python3: the build and the test runner. util-linux's setarch is always there.
build="gcc libc6-dev binutils make pkgconf libdpdk-dev libnuma-dev libjansson-dev uuid-dev libisal-dev liburing-dev libpcap-dev libseccomp-dev systemtap-sdt-dev"
# For plug-ins: without it they are not built.
plugins="libnbd-dev"
# g++ for public headers as C++17, clang as the second compiler and, with its runtime, for fuzzing;
# valgrind counts instructions; nbdkit and qemu-nbd are servers for the NBD plug-in.
check="python3 libcunit1-dev g++ clang libclang-rt-dev shellcheck valgrind nbdkit qemu-utils"
cross="gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
# A kernel for the VM tests is built with these; flex and bison come with the tests' own inputs.
vm="bc libelf-dev libssl-dev xz-utils"
docs="scdoc"
ceph="librbd-dev ceph-mon ceph-osd ceph-common"
packages="$build $plugins $check $cross $vm $docs"

missing() {
	for package in $packages; do
		state=$(dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null || :)
		case $state in
		*installed*) [ "${state#*not-installed}" = "$state" ] || echo "$package" ;;
		*) echo "$package" ;;
		esac
	done
}

case ${1-} in
"" | --check) ;;
--ceph) packages="$packages $ceph" ;;
--print)
	echo "$packages" | tr ' ' '\n'
	exit 0
	;;
--help)
	sed -n '6,9s/^# *//p' "$0"
	exit 0
	;;
*)
	echo "usage: pkgdep.sh [--check|--print|--ceph]" >&2
	exit 2
	;;
esac

if ! command -v dpkg-query >/dev/null; then
	echo "pkgdep.sh: this is no Debian; what Bellhop needs, by its Debian names:" >&2
	echo "$packages" >&2
	# Nothing can be said about what is installed: let the build find out.
	exit 0
fi

lacking=$(missing | tr '\n' ' ')
[ -n "$lacking" ] || exit 0

if [ "${1-}" = --check ]; then
	echo "missing: $lacking"
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "pkgdep.sh: packages are missing, and only root can install them:" >&2
	echo "  sudo apt-get update && sudo apt-get install --no-install-recommends $lacking" >&2
	exit 1
fi
echo "pkgdep.sh: installing $lacking"
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=600 update
# shellcheck disable=SC2086 # a list of words
apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends $lacking

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# demo.sh [BUILD]: one emulated NVMe controller on a RAM disk, served over a vfio-user socket, and our
# own driver measuring it. Everything lives in one private directory; nothing is left behind.
set -eu

cd "$(dirname "$0")/.."
build=${1:-build}
[ -x "$build/bin/bh-tgt" ] || make --no-print-directory all

ready_seconds=30
tmp=$(mktemp -d /tmp/bh-demo.XXXXXX)
target=

stop_target() {
	[ -n "$target" ] || return 0
	kill -TERM "$target" 2>/dev/null || :
	for _ in $(seq 50); do
		kill -0 "$target" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL "$target" 2>/dev/null || :
	wait "$target" 2>/dev/null || :
	target=
}

clean_up() {
	trap '' INT TERM HUP
	stop_target
	rm -rf "$tmp"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n$ %s\n' "$*"; }

run() {
	say "${1##*/}" "${@:2}"
	"$@"
}

fail() {
	echo "demo: $*" >&2
	[ ! -s "$tmp/target.log" ] || sed 's/^/  bh-tgt: /' "$tmp/target.log" >&2
	exit 1
}

# A quarter of what is free, at most 1 GiB: the disk is memory.
free_mib=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
size=64M
[ "$free_mib" -lt 1024 ] || size=256M
[ "$free_mib" -lt 4096 ] || size=1G

socket=$tmp/nvme0.sock
spec="nvme:$socket,ns=ram:$size"
say bh-tgt "$spec"
"$build/bin/bh-tgt" "$spec" >"$tmp/target.log" 2>&1 &
target=$!

for ((i = 0; i < ready_seconds * 10; i++)); do
	! grep -q '^bh-tgt: ready' "$tmp/target.log" || break
	kill -0 "$target" 2>/dev/null || fail "the target ended before it was ready"
	sleep 0.1
done
grep -q '^bh-tgt: ready' "$tmp/target.log" || fail "the target was not ready after $ready_seconds s"
cat "$tmp/target.log"

run "$build/bin/bh-identify" "$socket" || fail "bh-identify failed"
run "$build/bin/bh-hello" "$socket" || fail "bh-hello failed"
for workload in randread randwrite; do
	run "$build/bin/bh-perf" -q 32 -o 4096 -w "$workload" -t 3 "$socket" ||
		fail "bh-perf $workload failed"
done

kill -0 "$target" 2>/dev/null || fail "the target died"
stop_target
printf '\ndemo: done; the target has stopped and nothing is left behind\n'

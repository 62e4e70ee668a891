# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
#
# What guest scripts use. A test is a command: `t NAME COMMAND...` passes when the command succeeds.

# Report the outcome of one test; its output is shown when it failed.
t() {
	name=$1
	shift
	if "$@" >/tmp/out 2>&1; then
		echo "@@ PASS $name"
	else
		why=$(tail -n 1 /tmp/out | tr -d '\r')
		sed 's/^/   | /' /tmp/out
		echo "@@ FAIL $name: ${why:-no output}"
	fi
}

# Pass through the PASS, FAIL and SKIP lines of a program, each name after a prefix.
through() {
	prefix=$1
	shift
	"$@" >/tmp/out 2>&1
	status=$?
	sed -n "s/^\(PASS\|FAIL\|SKIP\) /@@ \1 $prefix/p" /tmp/out
	if [ $status -ne 0 ] || ! grep -qE '^(PASS|FAIL|SKIP) ' /tmp/out; then
		sed 's/^/   | /' /tmp/out
		grep -q '^FAIL ' /tmp/out || echo "@@ FAIL ${prefix}run: exit status $status"
	fi
}

# Succeeds when the command fails and says what it should.
refused() {
	text=$1
	shift
	"$@" >/tmp/refused 2>&1 && { echo "not refused"; return 1; }
	cat /tmp/refused
	grep -qE -- "$text" /tmp/refused || { echo "does not say \"$text\": $(tail -n 1 /tmp/refused)"; return 1; }
}

# bind BDF DRIVER: as the kernel's own interface has it, so that tests do not depend on ours.
bind() {
	dev=/sys/bus/pci/devices/$1
	echo "$2" >"$dev/driver_override"
	[ ! -e "$dev/driver" ] || echo "$1" >"$dev/driver/unbind"
	echo "$1" >/sys/bus/pci/drivers_probe
	driver=$(basename "$(readlink "$dev/driver")")
	[ "$driver" = "$2" ] || echo "@@ NOTE $1 is bound to '$driver', not $2"
}

# Have the harness do something to the machine.
qmp() {
	echo "@@ QMP $*" >/dev/console
}

# remove BDF CASE COMMAND...: runs a case of vm-nvme ($REMOVE_BY), and the command once there is
# traffic.
remove() {
	"${REMOVE_BY:-vm-nvme}" "$1" "$2" >/tmp/removal &
	shift 2
	n=0
	until grep -q BUSY /tmp/removal || [ $n -gt 600 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	"$@"
	wait $!
	uniq /tmp/removal
	grep -q '^PASS' /tmp/removal
}

# below PORT: the devices behind a port or a bridge.
below() {
	for d in "/sys/bus/pci/devices/$1"/????:??:??.?; do
		echo "${d##*/}"
	done
}

# without_perf BDF TEXT COMMAND...: bh-perf on the device, the command once it is at work. It must
# end by itself, with status 1 and that text.
without_perf() {
	bh-perf -v -t 100 -q 16 "$1" >/tmp/perf 2>&1 &
	perf=$!
	text=$2
	n=0
	until grep -q 'open by' /tmp/perf || [ $n -gt 600 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	sleep 2
	shift 2
	"$@"
	n=0
	while kill -0 $perf 2>/dev/null && [ $n -lt 300 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	kill -9 $perf 2>/dev/null && echo "still there after 30 s, killed"
	wait $perf
	status=$?
	cat /tmp/perf
	[ $status -eq 1 ] || { echo "exit status $status"; return 1; }
	grep -qE -- "$text" /tmp/perf || { echo "does not say \"$text\""; return 1; }
}

# Succeeds once the device is not there any more.
vanished() {
	n=0
	while [ -e "/sys/bus/pci/devices/$1" ] && [ $n -lt 100 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	[ ! -e "/sys/bus/pci/devices/$1" ]
}

# Ask the host for something; prints its answer.
host() {
	echo "@@ HOST $*" >/dev/console
	read -r answer </dev/ttyS0
	echo "$answer"
}

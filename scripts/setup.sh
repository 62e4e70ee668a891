#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# setup.sh: hands hugepages and PCI devices to Bellhop, and back. `setup.sh help` says how;
# doc/setup.md has the whole story.
#
# What is changed is remembered first, in /run (a reboot undoes all of it, and forgets all of it),
# so that `reset` restores what was and not what is usual. A device in use is never touched: whoever
# wants to take it away anyway is told what to end first.
#
# It needs a POSIX shell with awk, ls, readlink, stat and the like, be they busybox's: it runs in a
# rescue system, too. BH_SETUP_ROOT puts /sys, /proc, /dev, /run and /etc below another directory;
# tests use it.
#
# shellcheck disable=SC2317 # each_remembered calls functions by name
set -eu

root=${BH_SETUP_ROOT-}
sys=$root/sys proc=$root/proc dev=$root/dev
state=$root/run/bellhop/setup
limits=$root/etc/security/limits.d
pci=$sys/bus/pci/devices
drivers=$sys/bus/pci/drivers

dry=false
failed=0

usage() {
	cat <<'END'
usage: setup.sh [--dry-run] [config|reset|status|cleanup|help]

  config    reserve hugepages; bind NVMe, virtio-net and igb devices that nobody
            uses to vfio-pci; give TARGET_USER access (the default)
  reset     give devices, hugepages and permissions back as they were
  status    show hugepages, devices, their drivers and who uses them
  cleanup   remove what crashed programs left behind, forget devices that are gone
  help      this text
  --dry-run say what would be done, and do nothing

environment:
  HUGEMEM=MiB          hugepage memory to have at least (2048); 0: leave it alone
  NRHUGE=N             the same as a number of pages, on each node of HUGENODE
  HUGENODE=0,1=512     NUMA nodes to reserve on, each with its own number if need be
                       (nodes_hp[1]=512 is understood); default: the kernel chooses
  HUGEPGSZ=kB|2M|1G    page size (the kernel's default size)
  SHRINK_HUGE=yes      reduce larger pools, too
  CLEAR_HUGE=yes       free all pages first, to get them in one piece
  SKIP_HUGE=yes        leave hugepages alone
  PCI_ALLOWED="BDF..." these devices only, of whatever kind; "none": no device
  PCI_BLOCKED="BDF..." never these; wins over PCI_ALLOWED
  DRIVER_OVERRIDE=NAME bind to this driver (vfio-pci), a path to a module, or "none":
                       take the driver away only
  TARGET_USER=NAME     who may use the devices, besides root
  MEMLOCK=KiB          memory TARGET_USER may lock (unlimited); "keep": as it is

Exit status: 0 done; 1 something failed, or a device named in PCI_ALLOWED was left
alone; 2 wrong usage.
END
}

say() { printf '%s\n' "$*"; }
warn() { printf 'setup.sh: %s\n' "$*" >&2; }
complain() {
	warn "$@"
	failed=1
}
die() {
	warn "$@"
	exit 1
}

# TEXT FILE: the one way files of the kernel are written.
put() {
	if $dry; then
		say "  would write '$1' to ${2#"$root"}"
	else
		printf '%s\n' "$1" 2>/dev/null >"$2"
	fi
}

run() {
	if $dry; then
		say "  would run $*"
	else
		"$@"
	fi
}

# FILE [ABSENT]: its first line
attr() {
	attr_line=
	if [ -r "$1" ]; then
		read -r attr_line 2>/dev/null <"$1" || :
	fi
	printf '%s\n' "${attr_line:-${2-}}"
}

# LINK: the last component of where it points to
link_name() {
	[ -L "$1" ] || return 0
	link_target=$(readlink "$1")
	printf '%s\n' "${link_target##*/}"
}

has() { command -v "$1" >/dev/null 2>&1; }
is_number() { case $1 in '' | *[!0-9]*) return 1 ;; esac }
is_in() { case " $2 " in *" $1 "*) ;; *) return 1 ;; esac }

# ---- what is remembered ----
#
# One line per thing in a file per kind, its first word the key. The first value stays: it is the
# one from before us.

remember() { # KIND KEY WORDS...
	remember_kind=$1
	shift
	$dry || recall "$remember_kind" "$1" >/dev/null || printf '%s\n' "$*" >>"$state/$remember_kind"
}

recall() { # KIND KEY: the line; fails if there is none
	[ -f "$state/$1" ] && awk -v key="$2" '$1 == key { print; found = 1; exit }
		END { exit !found }' "$state/$1"
}

forget() { # KIND KEY
	if $dry || [ ! -f "$state/$1" ]; then
		return 0
	fi
	awk -v key="$2" '$1 != key' "$state/$1" >"$state/$1.new"
	mv "$state/$1.new" "$state/$1"
	[ -s "$state/$1" ] || rm "$state/$1"
}

# One at a time, where there is a flock.
take_lock() {
	$dry && return 0
	mkdir -p "$state"
	has flock || return 0
	exec 9>"$state.lock"
	lock_tries=0
	until flock -n 9; do
		lock_tries=$((lock_tries + 1))
		[ $lock_tries -le 60 ] || die "another setup.sh has been running for a minute"
		sleep 1
	done
}

# ---- devices ----

# DIR: nvme, virtio-net, igb, or nothing for what Bellhop has no driver for
kind_of() {
	case $(attr "$1/class") in 0x010802) echo nvme && return ;; esac
	kind_vendor=$(attr "$1/vendor") kind_device=$(attr "$1/device")
	case ${kind_vendor#0x}:${kind_device#0x} in
	1af4:1000 | 1af4:1041) echo virtio-net ;;
	8086:10c9 | 8086:10e6 | 8086:10e7 | 8086:10e8 | 8086:1526 | 8086:150a | 8086:1518 | 8086:150d)
		echo igb # 82576
		;;
	8086:150e | 8086:150f | 8086:1510 | 8086:1511 | 8086:1516 | 8086:1527) echo igb ;; # 82580
	8086:1521 | 8086:1522 | 8086:1523 | 8086:1524) echo igb ;;                         # I350
	8086:1533 | 8086:1536 | 8086:1537 | 8086:1538 | 8086:157b | 8086:157c) echo igb ;; # I210
	8086:1539) echo igb ;;                                                             # I211
	8086:1f40 | 8086:1f41 | 8086:1f45) echo igb ;;                                     # I354
	esac
}

ids_of() { # DIR
	ids_vendor=$(attr "$1/vendor") ids_device=$(attr "$1/device")
	printf '%s:%s\n' "${ids_vendor#0x}" "${ids_device#0x}"
}

override_of() { # DIR
	override_name=$(attr "$1/driver_override")
	[ "$override_name" = '(null)' ] || printf '%s\n' "$override_name"
}

is_vfio_driver() { case $1 in vfio-* | *[-_]vfio[-_]pci) ;; *) return 1 ;; esac }

# BDF...: as the kernel writes them
full_bdfs() {
	full_list=
	for full_word in $(printf '%s\n' "$*" | tr 'A-F,' 'a-f '); do
		case $full_word in
		none) ;;
		*:*:*.*) full_list="$full_list $full_word" ;;
		*:*.*) full_list="$full_list 0000:$full_word" ;;
		*) die "'$full_word' is no PCI address; they look like 0000:01:00.0" ;;
		esac
	done
	printf '%s\n' "$full_list"
}

# The members of a device's group whose driver keeps the whole group from being used, but for those
# in the list.
spoilers_of() { # BDF BDFS
	for spoiler in "$pci/$1"/iommu_group/devices/*; do
		[ -e "$spoiler" ] || continue
		spoiler_name=${spoiler##*/} spoiler_driver=$(link_name "$spoiler/driver")
		case $spoiler_driver in '' | pci-stub | pcieport) continue ;; esac
		if is_vfio_driver "$spoiler_driver" || [ -d "$spoiler/vfio-dev" ] ||
			is_in "$spoiler_name" "$2"; then
			continue
		fi
		printf '%s (%s)\n' "$spoiler_name" "$spoiler_driver"
	done | tr '\n' ' '
}

# ---- who uses a device ----
#
# Each says who in a few words and succeeds, or fails without a word. $place is the device's
# directory, $subsystem that of the NVMe subsystem whose namespaces it is a path to.

is_below_device() { # PATH
	below_real=$(readlink -f "$1") || return 1
	case $below_real in "$place"/*) return 0 ;; esac
	[ -n "$subsystem" ] || return 1
	case $below_real in "$subsystem"/*) ;; *) return 1 ;; esac
}

find_subsystem() {
	subsystem=
	for path_to in "$sys"/class/nvme-subsystem/*/nvme*; do
		[ -L "$path_to" ] || continue
		is_below_device "$path_to" || continue
		subsystem=$(readlink -f "${path_to%/*}")
		return
	done
}

# Without the link-local and multicast routes that every IPv6 interface has.
is_routed() { # INTERFACE
	cat "$proc/net/route" "$proc/net/ipv6_route" 2>/dev/null | awk -v name="$1" '
		$1 == name || ($NF == name && $1 !~ /^(fe80|ff)/) { found = 1 }
		END { exit !found }'
}

# An interface in another network namespace is hidden, the directory it lies in is not.
has_hidden_interface() {
	for net_dir in "$place"/net "$place"/virtio*/net; do
		[ -d "$net_dir" ] || continue
		[ -n "$(ls -A "$net_dir")" ] || return 0
	done
	return 1
}

net_use() {
	for interface in "$sys"/class/net/*; do
		[ -e "$interface" ] || continue
		is_below_device "$interface" || continue
		net_name=${interface##*/}
		if [ -L "$interface/master" ]; then
			say "network interface $net_name belongs to $(link_name "$interface/master")"
			return
		fi
		for upper in "$interface"/upper_*; do
			[ -e "$upper" ] || [ -L "$upper" ] || continue
			say "network interface $net_name carries ${upper##*/upper_}"
			return
		done
		net_flags=$(attr "$interface/flags" 0)
		[ $((net_flags & 1)) -ne 0 ] || continue
		if is_routed "$net_name"; then
			say "network interface $net_name is routed"
		else
			say "network interface $net_name is up (ip link set $net_name down)"
		fi
		return
	done
	has_hidden_interface && say "its network interface is in another network namespace"
}

# NAME NUMBER: where it is mounted, in whichever namespace. Filesystems have numbers of their own at
# times (btrfs), so the source counts, too.
mount_of() {
	cat "$proc"/[0-9]*/mountinfo "$proc/self/mountinfo" 2>/dev/null |
		awk -v number="$2" -v disk="/dev/$1" '
			{ for (i = 6; i <= NF && $i != "-"; i++) ; }
			$3 == number || $(i + 2) == disk { print $5; found = 1; exit }
			END { exit !found }'
}

disk_use() { # NAME
	disk_number=$(attr "$sys/class/block/$1/dev" none)
	if disk_mount=$(mount_of "$1" "$disk_number"); then
		say "$1 is mounted on $disk_mount (umount $disk_mount)"
		return
	fi
	if awk -v disk="/dev/$1" '$1 == disk { found = 1 } END { exit !found }' "$proc/swaps" 2>/dev/null
	then
		say "$1 is used for swap (swapoff /dev/$1)"
		return
	fi
	for holder in "$sys/class/block/$1"/holders/*; do
		[ -e "$holder" ] || [ -L "$holder" ] || continue
		disk_holder=${holder##*/}
		disk_dm=$(attr "$sys/class/block/$disk_holder/dm/name")
		say "$1 is held by $disk_holder${disk_dm:+ ($disk_dm)}"
		return
	done
	for member in "$sys"/fs/btrfs/*/devices/"$1"; do
		[ -e "$member" ] || [ -L "$member" ] || continue
		say "$1 is part of a mounted btrfs"
		return
	done
	for loop in "$sys"/class/block/loop*/loop/backing_file; do
		[ "$(attr "$loop")" = "/dev/$1" ] || continue
		loop=${loop%/loop/backing_file}
		say "$1 is behind ${loop##*/} (losetup -d /dev/${loop##*/})"
		return
	done
	if [ -z "$root" ] && has zpool && zpool list -vHPL 2>/dev/null | grep -qw "/dev/$1"; then
		say "$1 is part of a ZFS pool (zpool export)"
		return
	fi
	return 1
}

# NODE...: the process that has one of them open
open_use() {
	[ $# -gt 0 ] || return 1
	# A second directory makes ls name each.
	# shellcheck disable=SC2012 # links of the kernel's, one look for thousands
	open_pair=$(ls -l "$proc"/[0-9]*/fd "$root/" 2>/dev/null | awk -v nodes="$*" '
		BEGIN { n = split(nodes, list, " "); for (i = 1; i <= n; i++) want[list[i]] = 1 }
		/^\/.*\/fd:$/ { n = split($0, part, "/"); pid = part[n - 1]; next }
		NF > 2 && $(NF - 1) == "->" && ($NF in want) && pid { print pid, $NF; exit }')
	[ -n "$open_pair" ] || return 1
	open_pid=${open_pair%% *}
	say "process $open_pid ($(attr "$proc/$open_pid/comm" '?')) has ${open_pair#* } open"
}

node_use() {
	nodes=
	for node in "$sys"/class/block/* "$sys"/class/nvme/* "$sys"/class/nvme-generic/*; do
		[ -e "$node" ] || continue
		is_below_device "$node" || continue
		case $node in
		"$sys"/class/block/*) disk_use "${node##*/}" && return ;;
		esac
		nodes="$nodes /dev/${node##*/}"
	done
	# shellcheck disable=SC2086 # a list of words
	open_use $nodes
}

vfio_nodes() { # BDF
	vfio_group=$(link_name "$pci/$1/iommu_group")
	[ -z "$vfio_group" ] || say "/dev/vfio/$vfio_group"
	for vfio_cdev in "$pci/$1"/vfio-dev/vfio*; do
		[ ! -e "$vfio_cdev" ] || say "/dev/vfio/devices/${vfio_cdev##*/}"
	done
}

# Says who uses a device and succeeds; fails if nobody does.
used_by() { # BDF
	place=$(readlink -f "$pci/$1") subsystem=
	find_subsystem
	net_use && return
	node_use && return
	used_driver=$(link_name "$pci/$1/driver")
	is_vfio_driver "$used_driver" || return 1
	# shellcheck disable=SC2046 # a list of words
	open_use $(vfio_nodes "$1")
}

# ---- handing over ----

# BDF DRIVER: until it has that driver; "" for none
wait_for_driver() {
	$dry && return 0
	wait_tries=0
	while [ "$(link_name "$pci/$1/driver")" != "$2" ]; do
		wait_tries=$((wait_tries + 1))
		[ $wait_tries -le 10 ] || return 1
		sleep 0.05
	done
}

take_driver_away() { # BDF
	take_from=$(link_name "$pci/$1/driver")
	[ -n "$take_from" ] || return 0
	put "$1" "$drivers/$take_from/unbind" || return 1
	wait_for_driver "$1" "" || wait_for_driver "$1" "" || wait_for_driver "$1" ""
}

# BDF DRIVER FILE: a driver may not be ready at once, so the request is repeated.
give_to_driver() {
	give_tries=0
	while :; do
		put "$1" "$3" || :
		wait_for_driver "$1" "$2" && return
		give_tries=$((give_tries + 1))
		[ $give_tries -lt 10 ] && [ -e "$pci/$1" ] || return 1
	done
}

# Back to the driver and driver_override of before. BDF DRIVER OVERRIDE, "-" for none.
restore_device() {
	restore_override=$3
	[ "$3" != - ] || restore_override=
	put "$restore_override" "$pci/$1/driver_override" || return 1
	if [ "$2" = - ]; then
		take_driver_away "$1"
		return
	fi
	[ "$(link_name "$pci/$1/driver")" != "$2" ] || return 0
	[ -d "$drivers/$2" ] || ! has modprobe || run modprobe -q "$2" || :
	take_driver_away "$1" && give_to_driver "$1" "$2" "$drivers/$2/bind"
}

bind_device() { # BDF KIND
	bind_from=$(link_name "$pci/$1/driver")
	bind_override=$(override_of "$pci/$1")
	remember devices "$1" "$(ids_of "$pci/$1")" "${bind_from:--}" "${bind_override:--}"
	say "$1  ${2:-other}  ${bind_from:-no driver} -> $driver"
	if [ "$driver" = none ]; then
		take_driver_away "$1" || complain "$1: $bind_from does not let go of it"
		return
	fi
	if put "$driver" "$pci/$1/driver_override" && take_driver_away "$1" &&
		give_to_driver "$1" "$driver" "$sys/bus/pci/drivers_probe"; then
		return
	fi
	complain "$1: $driver did not take it (dmesg may say why); giving it back"
	if restore_device "$1" "${bind_from:--}" "${bind_override:--}"; then
		forget devices "$1"
	else
		warn "$1: could not be given back to ${bind_from:-no driver}; try setup.sh reset"
	fi
}

# ---- config: devices ----

load_module() { # NAME, fails if it is not there
	load_name=$(printf '%s\n' "$1" | tr - _)
	[ ! -d "$sys/module/$load_name" ] || return 0
	has modprobe || return 1
	run modprobe -q "$1" || return 1
	remember modules "$1"
}

name_driver() {
	driver=${DRIVER_OVERRIDE:-vfio-pci}
	driver=${driver##*/}
	driver=${driver%.ko*}
	[ "$driver" = none ] || is_vfio_driver "$driver" ||
		warn "Bellhop opens devices through VFIO; it cannot use them with $driver"
}

# Makes $driver one the kernel has.
load_driver() {
	case ${DRIVER_OVERRIDE-} in
	none) return 0 ;;
	*/*)
		if [ ! -d "$sys/module/$(printf '%s\n' "$driver" | tr - _)" ]; then
			run insmod "$DRIVER_OVERRIDE" || die "$DRIVER_OVERRIDE cannot be loaded"
			remember modules "$driver"
		fi
		# A module's file and its driver are not always spelt the same.
		[ -d "$drivers/$driver" ] || driver=$(printf '%s\n' "$driver" | tr _ -)
		;;
	"" | vfio-pci)
		load_module vfio_iommu_type1 || :
		load_module iommufd || :
		;;
	esac
	[ -d "$drivers/$driver" ] || load_module "$driver" || :
	[ -d "$drivers/$driver" ] || $dry ||
		die "the kernel has no driver $driver: load its module, or install the package it is in"
}

# Why a device of a kind is not to be touched; fails if it may be.
left_alone() { # BDF KIND
	if is_in "$1" "$blocked"; then
		say "PCI_BLOCKED"
	elif case $(attr "$pci/$1/class") in 0x06*) ;; *) false ;; esac then
		say "it is a bridge"
	elif [ -n "${PCI_ALLOWED-}" ] && ! is_in "$1" "$allowed"; then
		say "not in PCI_ALLOWED"
	elif is_vfio_driver "${driver}" && [ ! -L "$pci/$1/iommu_group" ]; then
		say "it has no IOMMU group; switch the IOMMU on in the firmware and on the kernel's" \
			"command line (intel_iommu=on, amd_iommu=on)"
	elif left_reason=$(used_by "$1"); then
		say "$left_reason"
	else
		return 1
	fi
}

# Sets $candidates: of the right kind or named, and free.
choose_devices() {
	candidates=
	for dir in "$pci"/*; do
		[ -e "$dir/vendor" ] || continue
		bdf=${dir##*/} kind=$(kind_of "$dir")
		[ -n "$kind" ] || is_in "$bdf" "$allowed" || continue
		[ "$(link_name "$dir/driver")" != "$driver" ] || continue
		[ "$driver" != none ] || [ -L "$dir/driver" ] || continue
		if reason=$(left_alone "$bdf" "$kind"); then
			say "$bdf  ${kind:-other}  left alone: $reason"
			! is_in "$bdf" "$allowed" || failed=1
		else
			candidates="$candidates $bdf"
		fi
	done
}

config_devices() {
	allowed=$(full_bdfs "${PCI_ALLOWED-}") || exit 1
	blocked=$(full_bdfs "${PCI_BLOCKED-}") || exit 1
	for bdf in $allowed; do
		[ -e "$pci/$bdf" ] || complain "$bdf: there is no such device (PCI_ALLOWED)"
	done
	[ "${PCI_ALLOWED-}" != none ] || return 0
	name_driver
	choose_devices
	[ -z "$candidates" ] || load_driver
	for bdf in $candidates; do
		kind=$(kind_of "$pci/$bdf")
		spoilers=
		! is_vfio_driver "$driver" || spoilers=$(spoilers_of "$bdf" "$candidates")
		if [ -n "$spoilers" ]; then
			say "$bdf  ${kind:-other}  left alone: its IOMMU group also holds ${spoilers% };" \
				"to take all of them, name them in PCI_ALLOWED"
			! is_in "$bdf" "$allowed" || failed=1
			continue
		fi
		bind_device "$bdf" "$kind"
	done
}

# ---- config: the user ----

grant() { # NODE
	grant_node=$dev/${1#/dev/}
	[ -e "$grant_node" ] || return 0
	remember owners "$1" "$(stat -c '%u:%g %a' "$grant_node")"
	run chown "$TARGET_USER" "$grant_node" || complain "$1: cannot be given to $TARGET_USER"
	run chmod u+rw "$grant_node" || complain "$1: its mode cannot be changed"
}

config_memlock() {
	memlock=${MEMLOCK:-unlimited}
	[ "$memlock" != keep ] || return 0
	[ "$(id -u "$TARGET_USER")" -ne 0 ] || return 0
	case $memlock in
	unlimited) ;;
	*) is_number "$memlock" || die "MEMLOCK is a number of KiB, unlimited or keep" ;;
	esac
	limits_file=$limits/90-bellhop-$TARGET_USER.conf
	if [ ! -d "$limits" ]; then
		warn "there is no ${limits#"$root"}: raise the memory $TARGET_USER may lock another way" \
			"(ulimit -l)"
		return
	fi
	if [ -e "$limits_file" ] && ! grep -q "Bellhop's setup.sh" "$limits_file"; then
		warn "${limits_file#"$root"} is somebody else's: left as it is"
		return
	fi
	remember files "${limits_file#"$root"}"
	put "# Written by Bellhop's setup.sh; \`setup.sh reset\` removes it.
$TARGET_USER - memlock $memlock" "$limits_file"
	say "$TARGET_USER may lock $memlock memory, from the next login on"
}

config_user() {
	[ -n "${TARGET_USER-}" ] || return 0
	# Not before udev has given new nodes the owner it knows.
	if [ -z "$root" ] && has udevadm; then
		run udevadm settle --timeout=5 || :
	fi
	for dir in "$pci"/*; do
		bdf=${dir##*/}
		user_driver=$(link_name "$dir/driver")
		is_vfio_driver "$user_driver" || continue
		! is_in "$bdf" "$blocked" || continue
		[ -z "${PCI_ALLOWED-}" ] || is_in "$bdf" "$allowed" || continue
		for node in $(vfio_nodes "$bdf"); do
			grant "$node"
		done
	done
	grant /dev/vfio/vfio
	grant /dev/iommu
	config_memlock
}

# ---- config: hugepages ----

# SIZE: kB
page_size_of() {
	case $1 in
	*[Kk] | *[Kk][Bb]) size_number=${1%%[Kk]*} size_unit=1 ;;
	*[Mm]) size_number=${1%?} size_unit=1024 ;;
	*[Gg]) size_number=${1%?} size_unit=1048576 ;;
	*) size_number=$1 size_unit=1 ;;
	esac
	is_number "$size_number" || die "'$1' is no page size; say 2048, 2M or 1G"
	echo $((size_number * size_unit))
}

# Memory in pieces is the usual reason for too few pages: put it together and try again, and at last
# let hugeadm insist.
reserve_harder() { # FILE COUNT
	$dry && return 0
	[ ! -e "$proc/sys/vm/compact_memory" ] || put 1 "$proc/sys/vm/compact_memory" || :
	put "$2" "$1" || :
	[ "$(attr "$1" 0)" -lt "$2" ] && [ -z "$root" ] && has hugeadm || return 0
	case $1 in
	"$sys"/kernel/*) hugeadm --hard --pool-pages-min "${page_kb}K:$2" >/dev/null 2>&1 || : ;;
	esac
}

reserve() { # FILE COUNT WHERE
	have=$(attr "$1")
	is_number "$have" || die "the kernel has no hugepages of $page_kb kB$3"
	if [ "$have" -ge "$2" ] && [ "${SHRINK_HUGE-}" != yes ] && [ "${CLEAR_HUGE-}" != yes ]; then
		say "hugepages$3: $have of $page_kb kB are reserved, $2 wanted: left as it is"
		return
	fi
	remember hugepages "${1#"$root"}" "$have" "$2"
	[ "${CLEAR_HUGE-}" != yes ] || put 0 "$1" || :
	put "$2" "$1" || :
	$dry && return
	[ "$(attr "$1" 0)" -ge "$2" ] || reserve_harder "$1" "$2"
	now=$(attr "$1" 0)
	say "hugepages$3: $now of $page_kb kB (before: $have)"
	[ "$now" -ge "$2" ] || complain "hugepages$3: $2 were asked for; memory is short or in pieces" \
		"(fewer pages, or early after booting, will do)"
	before=$(recall hugepages "${1#"$root"}" | awk '{ print $2 }')
	forget hugepages "${1#"$root"}"
	[ "$now" = "$before" ] || remember hugepages "${1#"$root"}" "$before" "$now"
}

config_hugepages() {
	if [ "${SKIP_HUGE-}" = yes ] || [ "${HUGEMEM-}" = 0 ] || [ "${NRHUGE-}" = 0 ]; then
		return
	fi
	page_kb=$(awk '/^Hugepagesize:/ { print $2 }' "$proc/meminfo")
	[ -n "$page_kb" ] || die "this kernel has no hugepages (SKIP_HUGE=yes goes on without)"
	if [ -n "${HUGEPGSZ-}" ]; then
		page_kb=$(page_size_of "$HUGEPGSZ") || exit 1
	fi
	is_number "${HUGEMEM:-2048}" || die "HUGEMEM is a number of MiB"
	count=${NRHUGE:-$(((${HUGEMEM:-2048} * 1024 + page_kb - 1) / page_kb))}
	is_number "$count" || die "NRHUGE is a number of pages"
	pool=hugepages/hugepages-${page_kb}kB/nr_hugepages
	if [ -z "${HUGENODE-}" ]; then
		reserve "$sys/kernel/mm/$pool" "$count" ""
		return
	fi
	for word in $(printf '%s\n' "$HUGENODE" | tr ',' ' '); do
		node=${word%%=*} node_count=$count
		[ "$node" = "$word" ] || node_count=${word#*=}
		node=${node#nodes_hp[} node=${node%]}
		is_number "$node$node_count" ||
			die "'$word' in HUGENODE is neither a node nor NODE=PAGES"
		[ -d "$sys/devices/system/node/node$node" ] || die "there is no NUMA node $node"
		reserve "$sys/devices/system/node/node$node/$pool" "$node_count" " on node $node"
	done
}

# ---- reset ----

# $1 BDF, $2 ids, $3 driver, $4 override of before
reset_device() {
	if [ ! -e "$pci/$1" ] || [ "$(ids_of "$pci/$1")" != "$2" ]; then
		say "$1: the device is gone"
		forget devices "$1"
		return
	fi
	reset_from=$(link_name "$pci/$1/driver")
	if [ "${reset_from:--}" != "$3" ] && reason=$(used_by "$1"); then
		complain "$1: left with ${reset_from:-no driver}: $reason"
		return
	fi
	say "$1  ${reset_from:-no driver} -> $3"
	if restore_device "$1" "$3" "$4"; then
		forget devices "$1"
	else
		complain "$1: $3 did not take it back (dmesg may say why)"
	fi
}

# KIND COMMAND: calls it with the words of each line
each_remembered() {
	[ -f "$state/$1" ] || return 0
	each_lines=$(cat "$state/$1")
	while read -r a b c d <&3; do
		"$2" "$a" "$b" "$c" "$d"
	done 3<<END
$each_lines
END
}

reset_owner() { # NODE OWNER MODE
	reset_node=$dev/${1#/dev/}
	if [ -e "$reset_node" ]; then
		run chown "$2" "$reset_node" || complain "$1: cannot be given back"
		run chmod "$3" "$reset_node" || complain "$1: its mode cannot be set back"
	fi
	forget owners "$1"
}

reset_pool() { # FILE BEFORE AFTER
	pool_now=$(attr "$root$1" 0)
	if [ "$pool_now" != "$3" ]; then
		say "$1: $pool_now now, though setup.sh left it at $3: left as it is"
	else
		say "$1: $3 -> $2"
		put "$2" "$root$1" || complain "$1: cannot be set back to $2"
	fi
	forget hugepages "$1"
}

reset_file() { # FILE
	run rm -f "$root$1"
	forget files "$1"
}

reset_module() { # NAME
	run modprobe -q -r "$1" || say "module $1 stays loaded: it is in use"
	forget modules "$1"
}

do_reset() {
	each_remembered devices reset_device
	each_remembered owners reset_owner
	each_remembered files reset_file
	each_remembered hugepages reset_pool
	# Drivers before what they stand on.
	if [ $failed -eq 0 ] && [ -f "$state/modules" ]; then
		module_lines=$(awk '{ all = $1 " " all } END { print all }' "$state/modules")
		for module in $module_lines; do
			reset_module "$module"
		done
	fi
}

# ---- status ----

status_hugepages() {
	printf '%-6s %-10s %8s %8s\n' NODE SIZE TOTAL FREE
	for dir in "$sys"/devices/system/node/node*/hugepages/hugepages-*; do
		[ -d "$dir" ] || continue
		size=${dir##*hugepages-} node=${dir%/hugepages/*}
		printf '%-6s %-10s %8s %8s\n' "${node##*/node}" "$size" \
			"$(attr "$dir/nr_hugepages" -)" "$(attr "$dir/free_hugepages" -)"
	done
	[ -d "$sys/devices/system/node" ] && return
	for dir in "$sys"/kernel/mm/hugepages/hugepages-*; do
		[ -d "$dir" ] || continue
		printf '%-6s %-10s %8s %8s\n' - "${dir##*hugepages-}" \
			"$(attr "$dir/nr_hugepages" -)" "$(attr "$dir/free_hugepages" -)"
	done
}

device_state() { # BDF DRIVER
	if state_reason=$(used_by "$1"); then
		say "in use: $state_reason"
	elif [ ! -L "$pci/$1/iommu_group" ]; then
		say "no IOMMU group"
	elif ! is_vfio_driver "$2"; then
		say "free"
	elif state_spoilers=$(spoilers_of "$1" "") && [ -n "$state_spoilers" ]; then
		say "group also holds ${state_spoilers% }"
	elif state_line=$(recall devices "$1"); then
		# shellcheck disable=SC2086 # words: bdf ids driver override
		set -- $state_line
		say "ready (before: $3)"
	else
		say "ready"
	fi
}

status_devices() {
	printf '%-13s %-11s %-10s %-5s %-6s %-12s %s\n' BDF TYPE ID NODE GROUP DRIVER STATE
	for dir in "$pci"/*; do
		[ -e "$dir/vendor" ] || continue
		bdf=${dir##*/} kind=$(kind_of "$dir")
		[ -n "$kind" ] || recall devices "$bdf" >/dev/null || continue
		group=$(link_name "$dir/iommu_group") bound=$(link_name "$dir/driver")
		node=$(attr "$dir/numa_node" -)
		[ "$node" != -1 ] || node=-
		printf '%-13s %-11s %-10s %-5s %-6s %-12s %s\n' "$bdf" "${kind:-other}" \
			"$(ids_of "$dir")" "$node" "${group:--}" "${bound:--}" \
			"$(device_state "$bdf" "$bound")"
	done
}

status_kernel() {
	iommu="none: devices cannot be used"
	for dir in "$sys"/kernel/iommu_groups/*; do
		[ -e "$dir" ] && iommu=on && break
	done
	say "IOMMU     $iommu"
	vfio="not loaded"
	[ ! -d "$drivers/vfio-pci" ] || vfio=loaded
	interfaces=
	[ ! -e "$dev/vfio/vfio" ] || interfaces=" /dev/vfio/vfio"
	[ ! -e "$dev/iommu" ] || interfaces="$interfaces /dev/iommu"
	say "vfio-pci  $vfio${interfaces:+;$interfaces}"
	for file in "$limits"/90-bellhop-*.conf; do
		[ ! -e "$file" ] || say "memlock   $(tail -n 1 "$file")"
	done
}

do_status() {
	status_hugepages
	say
	status_devices
	say
	status_kernel
	if [ "$(id -u)" -ne 0 ] && [ -z "$root" ]; then
		say
		say "processes and mounts of others are seen by root only"
	fi
}

# ---- cleanup ----

forget_gone() { # BDF IDS
	if [ ! -e "$pci/$1" ] || [ "$(ids_of "$pci/$1")" != "$2" ]; then
		say "$1: the device is gone; forgotten"
		forget devices "$1"
	fi
}

# A program that starts has a directory for a moment; one that was killed then has left it.
do_cleanup() {
	each_remembered devices forget_gone
	for dir in "$root${TMPDIR:-/tmp}"/bellhop-?????? "$root"/run/user/*/bellhop-??????; do
		[ -d "$dir/dpdk" ] || continue
		[ ! -L "$dir" ] || continue
		[ -n "$(find "$dir" -maxdepth 0 -mmin +10)" ] || continue
		say "removing ${dir#"$root"}"
		run rm -rf "$dir"
	done
}

# ----

need_root() {
	$dry || [ -n "$root" ] || [ "$(id -u)" -eq 0 ] ||
		die "only root can do that (try sudo -E, or --dry-run)"
}

mode=
for word in "$@"; do
	case $word in
	--dry-run) dry=true ;;
	--help | -h) mode=help ;;
	config | reset | status | cleanup | help)
		[ -z "$mode" ] || { usage >&2 && exit 2; }
		mode=$word
		;;
	*)
		warn "'$word' is not known"
		usage >&2
		exit 2
		;;
	esac
done

case ${mode:-config} in
help) usage ;;
status) do_status ;;
config)
	need_root
	[ -z "${TARGET_USER-}" ] || id -u "$TARGET_USER" >/dev/null 2>&1 ||
		die "there is no user $TARGET_USER"
	take_lock
	config_hugepages
	config_devices
	config_user
	;;
reset)
	need_root
	take_lock
	do_reset
	;;
cleanup)
	need_root
	take_lock
	do_cleanup
	;;
esac
exit $failed

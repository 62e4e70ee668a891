#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# scripts/setup.sh on a machine made of files (BH_SETUP_ROOT): an NVMe drive that is free and one
# that is mounted, a virtio-net card that is down, an igb card that is routed, a USB controller.
# Shells in the background stand in for the kernel where files of the PCI bus are written to: these
# are FIFOs.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
shell=${BH_SETUP_SHELL:-sh} # `busybox ash` does, too
tmp=$(mktemp -d "${BH_TMP:-/tmp}/setup.XXXXXX")
kernels=
devices=sys/devices/pci0000:00
nvme0=0000:01:00.0 nvme1=0000:02:00.0 net0=0000:03:00.0 igb0=0000:04:00.0 usb=0000:05:00.0

stop_kernel() {
	for pid in $kernels; do
		kill "$pid" 2>/dev/null || :
	done
	kernels=
}
clean_up() {
	stop_kernel
	rm -rf "$tmp"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

# ---- the machine ----

file() { # PATH TEXT
	mkdir -p "$(dirname "$m/$1")"
	printf '%s\n' "$2" >"$m/$1"
}

link() { # TARGET PATH, both below the machine
	mkdir -p "$(dirname "$m/$2")"
	ln -sfn "$m/$1" "$m/$2"
}

device() { # BDF VENDOR DEVICE CLASS DRIVER GROUP
	file "$devices/$1/vendor" "0x$2"
	file "$devices/$1/device" "0x$3"
	file "$devices/$1/class" "0x$4"
	file "$devices/$1/numa_node" 0
	file "$devices/$1/driver_override" '(null)'
	link "$devices/$1" "sys/bus/pci/devices/$1"
	link "sys/kernel/iommu_groups/$6" "$devices/$1/iommu_group"
	link "$devices/$1" "sys/kernel/iommu_groups/$6/devices/$1"
	[ "$5" = none ] || link "sys/bus/pci/drivers/$5" "$devices/$1/driver"
}

disk() { # BDF CONTROLLER NAME NUMBER
	file "$devices/$1/nvme/$2/$3/dev" "$4"
	mkdir -p "$m/$devices/$1/nvme/$2/$3/holders"
	link "$devices/$1/nvme/$2/$3" "sys/class/block/$3"
	link "$devices/$1/nvme/$2" "sys/class/nvme/$2"
}

interface() { # PLACE NAME FLAGS
	file "$1/net/$2/flags" "$3"
	link "$1/net/$2" "sys/class/net/$2"
}

driver_of() { # BDF
	[ ! -L "$m/$devices/$1/driver" ] || basename "$(readlink "$m/$devices/$1/driver")"
}

pools=sys/devices/system/node/node0/hugepages/hugepages-2048kB
pool() { # what all nodes have, too: there is one node
	file "$pools/nr_hugepages" "$1"
	file "$pools/free_hugepages" "$1"
	file sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages "$1"
}

make_machine() { # NAME
	m=$tmp/$1
	for driver in nvme virtio-pci igb xhci_hcd vfio-pci; do
		mkdir -p "$m/sys/bus/pci/drivers/$driver"
		mkfifo "$m/sys/bus/pci/drivers/$driver/bind" "$m/sys/bus/pci/drivers/$driver/unbind"
	done
	mkfifo "$m/sys/bus/pci/drivers_probe"
	device $nvme0 144d a808 010802 nvme 10
	device $nvme1 8086 0a54 010802 nvme 11
	device $net0 1af4 1041 020000 virtio-pci 12
	device $igb0 8086 10c9 020000 igb 13
	device $usb 1b36 000d 0c0330 xhci_hcd 14
	disk $nvme0 nvme0 nvme0n1 259:0
	disk $nvme1 nvme1 nvme1n1 259:1
	interface "$devices/$net0/virtio0" eth0 0x1002
	interface "$devices/$igb0" eth1 0x1003
	file proc/1/mountinfo '20 1 259:1 / /data rw - ext4 /dev/nvme1n1 rw'
	file proc/swaps Filename
	file proc/meminfo 'Hugepagesize:       2048 kB'
	file proc/net/route "Iface	Destination
eth1	00000000"
	pool 0
	for name in vfio_iommu_type1 iommufd; do
		mkdir -p "$m/sys/module/$name"
	done
	mkdir -p "$m/dev/vfio/devices" "$m/etc/security/limits.d" "$m/run"
	: >"$m/dev/vfio/vfio"
	: >"$m/dev/iommu"
	refuses=
}

# ---- the kernel ----

attach() { # BDF DRIVER
	if [ "$2" = "$refuses" ] || [ -L "$m/$devices/$1/driver" ]; then
		return 0
	fi
	if [ "$2" = vfio-pci ]; then
		group=$(basename "$(readlink "$m/$devices/$1/iommu_group")")
		: >"$m/dev/vfio/$group"
		: >"$m/dev/vfio/devices/vfio$group"
		mkdir -p "$m/$devices/$1/vfio-dev/vfio$group"
	fi
	ln -s "$m/sys/bus/pci/drivers/$2" "$m/$devices/$1/driver"
}

detach() { # BDF
	for cdev in "$m/$devices/$1"/vfio-dev/vfio*; do
		[ -e "$cdev" ] || continue
		rm -rf "$m/dev/vfio/devices/${cdev##*/}" "$m/dev/vfio/${cdev##*/vfio}" "$cdev"
		rmdir "$m/$devices/$1/vfio-dev"
	done
	rm -f "$m/$devices/$1/driver"
}

probe() { # BDF
	read -r wanted <"$m/$devices/$1/driver_override"
	if [ -n "$wanted" ] && [ "$wanted" != '(null)' ] && [ -d "$m/sys/bus/pci/drivers/$wanted" ]; then
		attach "$1" "$wanted"
	fi
}

serve() { # FIFO COMMAND [DRIVER]
	serve_fifo=$m/sys/bus/pci/$1
	shift
	while read -r line; do
		if [ -n "$line" ]; then
			serve_command=$1
			"$serve_command" "$line" "${2-}"
		fi
	done <>"$serve_fifo"
}

start_kernel() {
	serve drivers_probe probe &
	kernels=$!
	for driver in "$m"/sys/bus/pci/drivers/*; do
		driver=${driver##*/}
		serve "drivers/$driver/unbind" detach &
		kernels="$kernels $!"
		serve "drivers/$driver/bind" attach "$driver" &
		kernels="$kernels $!"
	done
}

# ---- running it ----

# [NAME=VALUE...] [ARGUMENTS...]: into $out (both streams) and $status
setup() {
	status=0
	# shellcheck disable=SC2046 # a list of words
	out=$(env -u PCI_ALLOWED -u PCI_BLOCKED -u DRIVER_OVERRIDE -u TARGET_USER -u HUGEMEM -u NRHUGE \
		-u HUGENODE -u HUGEPGSZ BH_SETUP_ROOT="$m" PATH="$tmp/bin:$PATH" $(words "$@") 2>&1) ||
		status=$?
}

words() {
	for word in "$@"; do
		case $word in
		*=*) printf '%s ' "$word" ;;
		esac
	done
	printf '%s ' "$shell" "$top/scripts/setup.sh"
	for word in "$@"; do
		case $word in
		*=*) ;;
		*) printf '%s ' "$word" ;;
		esac
	done
}

whys=
expect() { # WHAT COMMAND...
	what=$1
	shift
	"$@" || whys="${whys:+$whys; }$what"
}
says() { # TEXT
	case $out in *"$1"*) ;; *)
		whys="${whys:+$whys; }'$1' is not said"
		;;
	esac
}
ends() { expect "exit status is $status, not $1" [ "$status" -eq "$1" ]; }
drives() { # BDF DRIVER
	expect "$1 is driven by '$(driver_of "$1")', not '$2'" [ "$(driver_of "$1")" = "$2" ]
}
holds() { # PATH TEXT
	expect "$1 is '$(cat "$m/$1")', not '$2'" [ "$(cat "$m/$1")" = "$2" ]
}

# All but FIFOs: names, links, contents, owners.
picture() {
	(cd "$m" && find . ! -type p -printf '%p %y %l %m %u\n' | sort &&
		find . -type f ! -path './run/*' -exec grep -H '' {} + | sort)
}

run_case() { # NAME
	whys=
	make_machine "$1"
	[ -z "${2-}" ] || "$2"
	start_kernel
	"case_$1"
	stop_kernel
	if [ -z "$whys" ]; then
		echo "PASS $1"
	else
		echo "FAIL $1: $whys"
		printf '%s\n' "$out" | sed 's/^/  | /'
	fi
}

# ---- cases ----

case_config_takes_what_nobody_uses() {
	setup config
	ends 0
	drives $nvme0 vfio-pci
	drives $net0 vfio-pci
	drives $nvme1 nvme
	drives $igb0 igb
	drives $usb xhci_hcd
	says "$nvme0  nvme  nvme -> vfio-pci"
	says "$nvme1  nvme  left alone: nvme1n1 is mounted on /data (umount /data)"
	says "$igb0  igb  left alone: network interface eth1 is routed"
	holds $devices/$nvme0/driver_override vfio-pci
	holds "$pools/nr_hugepages" 0
	holds sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages 1024
}

case_reset_restores_what_was() {
	file $devices/$net0/driver_override virtio-pci
	file $devices/$nvme0/driver_override ''
	before=$(picture)
	setup HUGENODE=0 TARGET_USER="$(id -un)" config
	ends 0
	drives $net0 vfio-pci
	setup config # what a second run finds is not what was
	setup reset
	ends 0
	drives $nvme0 nvme
	drives $net0 virtio-pci
	rm -rf "$m/run/bellhop"
	expect "other than before: $(printf '%s\n' "$before" >"$tmp/a"
		picture | diff "$tmp/a" - | tr '\n' ' ')" [ "$(picture)" = "$before" ]
	setup reset
	ends 0
	expect "a second reset does something" [ -z "$out" ]
}

case_dry_run_changes_nothing() {
	before=$(picture)
	setup TARGET_USER="$(id -un)" --dry-run config
	ends 0
	says "would write 'vfio-pci' to /sys/bus/pci/devices/$nvme0/driver_override"
	says "would write '1024' to /sys/kernel/mm/hugepages"
	setup --dry-run reset
	setup --dry-run cleanup
	expect "something changed" [ "$(picture)" = "$before" ]
}

case_allowed_and_blocked_choose() {
	setup "PCI_ALLOWED=03:00.0,$usb" PCI_BLOCKED=0000:03:00.0 config
	ends 1
	drives $nvme0 nvme
	drives $net0 virtio-pci
	drives $usb vfio-pci
	says "$net0  virtio-net  left alone: PCI_BLOCKED"
	says "$nvme0  nvme  left alone: not in PCI_ALLOWED"
	setup PCI_ALLOWED=none config
	ends 0
	drives $nvme0 nvme
	setup PCI_ALLOWED=$nvme1 config
	ends 1
	drives $nvme1 nvme
	setup PCI_ALLOWED=0000:77:00.0 config
	ends 1
	says "0000:77:00.0: there is no such device"
	setup PCI_ALLOWED=nvme0 config
	ends 1
	says "is no PCI address"
	drives $nvme0 nvme
}

case_wrong_usage_is_2() {
	setup frobnicate
	ends 2
	says "'frobnicate' is not known"
	setup config reset
	ends 2
	setup help
	ends 0
	says "usage: setup.sh"
	setup TARGET_USER=no-such-user config
	ends 1
	says "there is no user no-such-user"
	setup HUGEMEM=lots config
	ends 1
	says "HUGEMEM is a number"
	drives $nvme0 nvme
}

case_override_names_another_driver() {
	setup DRIVER_OVERRIDE=none PCI_ALLOWED=$nvme0 config
	ends 0
	drives $nvme0 ""
	setup reset
	drives $nvme0 nvme
	setup DRIVER_OVERRIDE=uio_pci_generic PCI_ALLOWED=$nvme0 config
	ends 1
	says "cannot use them with uio_pci_generic"
	says "the kernel has no driver uio_pci_generic"
	drives $nvme0 nvme
	setup DRIVER_OVERRIDE=igb PCI_ALLOWED=$nvme0 config
	ends 0
	drives $nvme0 igb
	setup reset
	drives $nvme0 nvme
}

refuse_vfio() { refuses=vfio-pci; }
case_refused_device_is_given_back() {
	setup PCI_ALLOWED=$nvme0 SKIP_HUGE=yes config
	ends 1
	drives $nvme0 nvme
	holds $devices/$nvme0/driver_override ''
	says "$nvme0: vfio-pci did not take it"
	expect "it is remembered" [ ! -e "$m/run/bellhop/setup/devices" ]
}

case_shared_group_is_all_or_nothing() {
	device 0000:01:00.1 8086 1533 0c8000 igb 10
	device 0000:00:01.0 8086 0001 060400 pcieport 10
	setup PCI_ALLOWED=$nvme0 config
	ends 1
	drives $nvme0 nvme
	says "left alone: its IOMMU group also holds 0000:01:00.1 (igb)"
	setup "PCI_ALLOWED=$nvme0,0000:01:00.1,0000:00:01.0" config
	ends 1 # nobody gets a bridge
	says "0000:00:01.0  other  left alone: it is a bridge"
	drives $nvme0 vfio-pci
	drives 0000:01:00.1 vfio-pci
	setup reset
	ends 0
	drives 0000:01:00.1 igb
}

no_iommu() { rm "$m"/$devices/*/iommu_group; }
case_no_iommu_is_refused() {
	setup config
	ends 0
	says "it has no IOMMU group; switch the IOMMU on"
	drives $nvme0 nvme
	setup PCI_ALLOWED=$nvme0 config
	ends 1
}

case_every_use_is_seen() {
	link "$devices/$nvme0" sys/class/nvme-subsystem/ignored/nvme9
	use "nvme0n1 is used for swap" file proc/swaps "/dev/nvme0n1 partition 1 0 -2"
	file proc/swaps Filename
	mkdir "$m/$devices/$nvme0/nvme/nvme0/nvme0n1/holders/dm-0"
	file sys/class/block/dm-0/dm/name vg-root
	use "nvme0n1 is held by dm-0 (vg-root)" :
	rmdir "$m/$devices/$nvme0/nvme/nvme0/nvme0n1/holders/dm-0"
	rm -r "$m/sys/class/block/dm-0"
	use "nvme0n1 is part of a mounted btrfs" file sys/fs/btrfs/1234/devices/nvme0n1 ''
	rm -r "$m/sys/fs/btrfs"
	use "nvme0n1 is behind loop3" file sys/class/block/loop3/loop/backing_file /dev/nvme0n1
	rm -r "$m/sys/class/block/loop3"
	use "is mounted on /srv" file proc/77/mountinfo '9 1 0:99 / /srv rw - btrfs /dev/nvme0n1 rw'
	rm "$m/proc/77/mountinfo"
	file proc/77/comm qemu
	mkdir "$m/proc/77/fd"
	ln -s /dev/nvme0 "$m/proc/77/fd/5"
	use "process 77 (qemu) has /dev/nvme0 open" :
	rm "$m/proc/77/fd/5"
	subsystem=sys/devices/virtual/nvme-subsystem/nvme-subsys0
	link $subsystem sys/class/nvme-subsystem/nvme-subsys0
	link $devices/$nvme0/nvme/nvme0 $subsystem/nvme0
	file $subsystem/nvme0n2/dev 259:7
	link $subsystem/nvme0n2 sys/class/block/nvme0n2
	use "nvme0n2 is mounted on /mp" file proc/77/mountinfo '9 1 259:7 / /mp rw - xfs /dev/x rw'
	drives $nvme0 nvme
	rm "$m/proc/77/mountinfo"
	setup PCI_ALLOWED=$nvme0 config
	ends 0
	drives $nvme0 vfio-pci
}
use() { # TEXT COMMAND...
	use_text=$1
	shift
	"$@"
	setup PCI_ALLOWED=$nvme0 SKIP_HUGE=yes config
	ends 1
	says "$use_text"
}

case_network_uses_are_seen() {
	virtio=$devices/$net0/virtio0
	file $virtio/net/eth0/flags 0x1003
	file proc/net/ipv6_route "fe80000000000000 40 00000000 00 0000 00000100 0001 0000 00000001 eth0"
	net_use "network interface eth0 is up (ip link set eth0 down)"
	file proc/net/ipv6_route "20010db800000000 40 00000000 00 0000 00000100 0001 0000 00000001 eth0"
	net_use "network interface eth0 is routed"
	file $virtio/net/eth0/flags 0x1002
	ln -s "$m/sys/devices/virtual/net/br0" "$m/$virtio/net/eth0/master"
	net_use "network interface eth0 belongs to br0"
	rm "$m/$virtio/net/eth0/master"
	ln -s "$m/sys/devices/virtual/net/eth0.5" "$m/$virtio/net/eth0/upper_eth0.5"
	net_use "network interface eth0 carries eth0.5"
	rm -r "$m/$virtio/net/eth0" "$m/sys/class/net/eth0"
	net_use "its network interface is in another network namespace"
	drives $net0 virtio-pci
}
net_use() { # TEXT
	setup PCI_ALLOWED=$net0 SKIP_HUGE=yes config
	ends 1
	says "$1"
}

case_open_device_is_not_taken_back() {
	setup config
	drives $nvme0 vfio-pci
	file proc/77/comm bh-perf
	mkdir "$m/proc/77/fd"
	ln -s /dev/vfio/10 "$m/proc/77/fd/5"
	setup reset
	ends 1
	says "$nvme0: left with vfio-pci: process 77 (bh-perf) has /dev/vfio/10 open"
	drives $nvme0 vfio-pci
	drives $net0 virtio-pci
	rm "$m/proc/77/fd/5"
	ln -s /dev/vfio/devices/vfio10 "$m/proc/77/fd/5"
	setup reset
	ends 1
	rm "$m/proc/77/fd/5"
	setup reset
	ends 0
	drives $nvme0 nvme
}

case_user_gets_access() {
	chmod 600 "$m/dev/iommu"
	mkdir -p "$tmp/bin"
	printf '#!/bin/sh\necho "$@" >>"%s/chowned"\n' "$m" >"$tmp/bin/chown"
	chmod +x "$tmp/bin/chown"
	setup TARGET_USER=nobody PCI_ALLOWED=$nvme0 MEMLOCK=4096 config
	ends 0
	for node in vfio/10 vfio/devices/vfio10 vfio/vfio iommu; do
		expect "$node is not given" grep -q "^nobody $m/dev/$node\$" "$m/chowned"
	done
	holds etc/security/limits.d/90-bellhop-nobody.conf \
		"# Written by Bellhop's setup.sh; \`setup.sh reset\` removes it.
nobody - memlock 4096"
	setup reset
	ends 0
	expect "/dev/iommu is not given back" grep -q "^$(id -u):$(id -g) $m/dev/iommu\$" "$m/chowned"
	expect "the mode of /dev/iommu" [ "$(stat -c %a "$m/dev/iommu")" = 600 ]
	expect "the limit is still there" [ ! -e "$m/etc/security/limits.d/90-bellhop-nobody.conf" ]
	file etc/security/limits.d/90-bellhop-nobody.conf "nobody - memlock 1"
	setup TARGET_USER=nobody PCI_ALLOWED=$nvme0 config
	says "is somebody else's"
	setup reset
	holds etc/security/limits.d/90-bellhop-nobody.conf "nobody - memlock 1"
	rm "$tmp/bin/chown"
}

case_pools_only_grow() {
	total=sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
	pool 300
	setup NRHUGE=200 PCI_ALLOWED=none config
	ends 0
	says "300 of 2048 kB are reserved, 200 wanted: left as it is"
	setup HUGEMEM=601 PCI_ALLOWED=none config
	holds $total 301
	setup NRHUGE=400 PCI_ALLOWED=none config
	holds $total 400
	setup SHRINK_HUGE=yes NRHUGE=100 PCI_ALLOWED=none config
	holds $total 100
	setup HUGENODE=nodes_hp[0]=512 PCI_ALLOWED=none config
	holds $pools/nr_hugepages 512
	setup HUGENODE=3 PCI_ALLOWED=none config
	ends 1
	says "there is no NUMA node 3"
	setup HUGEPGSZ=1G PCI_ALLOWED=none config
	ends 1
	says "no hugepages of 1048576 kB"
	setup HUGEMEM=0 PCI_ALLOWED=none config
	ends 0
	setup reset
	holds $total 300
	holds $pools/nr_hugepages 300
	setup NRHUGE=400 PCI_ALLOWED=none config
	file $total 450
	setup reset
	says "450 now, though setup.sh left it at 400: left as it is"
	holds $total 450
}

case_modules_are_loaded_and_unloaded() {
	mkdir -p "$tmp/bin"
	cat >"$tmp/bin/modprobe" <<-END
		#!/bin/sh
		echo "\$@" >>"$m/modprobed"
		mkdir -p "$m/sys/bus/pci/drivers/vfio-pci"
	END
	chmod +x "$tmp/bin/modprobe"
	mv "$m/sys/bus/pci/drivers/vfio-pci" "$m/vfio-pci"
	rmdir "$m/sys/module/iommufd"
	sed -i "s,mkdir.*,mv $m/vfio-pci $m/sys/bus/pci/drivers/ 2>/dev/null || :," "$tmp/bin/modprobe"
	setup PCI_ALLOWED=$nvme0 config
	ends 0
	drives $nvme0 vfio-pci
	setup reset
	ends 0
	expect "modules: $(tr '\n' ';' <"$m/modprobed")" [ "$(cat "$m/modprobed")" = "-q iommufd
-q -r iommufd" ]
	rm "$tmp/bin/modprobe"
}

case_gone_devices_are_forgotten() {
	setup PCI_ALLOWED="$nvme0,$net0" SKIP_HUGE=yes config
	ends 0
	rm "$m/sys/bus/pci/devices/$nvme0"
	file $devices/$net0/device 0x1000 # another card in the same place
	mkdir -p "$m/tmp/bellhop-abcdef/dpdk" "$m/tmp/bellhop-young1/dpdk" "$m/tmp/bellhop-notour"
	touch -d '1 hour ago' "$m/tmp/bellhop-abcdef" "$m/tmp/bellhop-notour"
	setup TMPDIR=/tmp cleanup
	ends 0
	says "$nvme0: the device is gone; forgotten"
	says "$net0: the device is gone; forgotten"
	expect "the old directory is there" [ ! -e "$m/tmp/bellhop-abcdef" ]
	expect "the young directory is gone" [ -e "$m/tmp/bellhop-young1" ]
	expect "a foreign directory is gone" [ -e "$m/tmp/bellhop-notour" ]
	setup reset
	ends 0
	drives $net0 vfio-pci
}

case_status_is_a_table() {
	setup SKIP_HUGE=yes PCI_ALLOWED=$nvme0 config
	before=$(picture)
	setup status
	ends 0
	expect "something changed" [ "$(picture)" = "$before" ]
	says "NODE   SIZE          TOTAL     FREE"
	says "0      2048kB            0        0"
	says "BDF           TYPE        ID         NODE  GROUP  DRIVER       STATE"
	says "0000:01:00.0  nvme        144d:a808  0     10     vfio-pci     ready (before: nvme)"
	says "0000:02:00.0  nvme        8086:0a54  0     11     nvme         in use: nvme1n1 is mounted"
	says "0000:03:00.0  virtio-net  1af4:1041  0     12     virtio-pci   free"
	says "IOMMU     on"
	says "vfio-pci  loaded; /dev/vfio/vfio /dev/iommu"
}

for name in config_takes_what_nobody_uses reset_restores_what_was dry_run_changes_nothing \
	allowed_and_blocked_choose wrong_usage_is_2 override_names_another_driver \
	shared_group_is_all_or_nothing every_use_is_seen network_uses_are_seen \
	open_device_is_not_taken_back user_gets_access pools_only_grow \
	modules_are_loaded_and_unloaded gone_devices_are_forgotten status_is_a_table; do
	run_case $name
done
run_case refused_device_is_given_back refuse_vfio
run_case no_iommu_is_refused no_iommu

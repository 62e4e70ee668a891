# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154
#
# What the scripts of guests on our own controllers use, after lib.sh. Controllers are named by their
# serial numbers, since the kernel numbers them in the order in which they answer.

# until_true SECONDS COMMAND...
until_true() {
	n=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ $n -gt 0 ] || { echo "not within its time: $*"; return 1; }
		sleep 0.1
	done
}

ctrl() {
	for at in /sys/class/nvme/nvme*; do
		[ "$(tr -d ' ' <"$at/serial")" = "$1" ] && basename "$at" && return
	done 2>/dev/null
	return 1
}

# disk SERIAL [NSID]
disk() {
	for at in /sys/class/nvme/"$(ctrl "$1")"/nvme*n*; do
		[ "$(cat "$at/nsid")" = "${2:-1}" ] && echo "/dev/$(basename "$at")" && return
	done 2>/dev/null
	return 1
}

bdf() {
	basename "$(readlink "/sys/class/nvme/$(ctrl "$1")/device")"
}

is_live() {
	[ "$(cat "/sys/class/nvme/$(ctrl "$1")/state")" = live ]
}

has_disk() {
	at=$(disk "$@") && [ -b "$at" ]
}

# says PATTERN COMMAND...
says() {
	text=$1
	shift
	"$@" >/tmp/said 2>&1 || { tail -n 1 /tmp/said; return 1; }
	grep -qE -- "$text" /tmp/said || { cat /tmp/said; echo "does not say $text"; return 1; }
}

# load_nvme [OPTION...]: the driver, with options of its own.
load_nvme() {
	insmod /modules/nvme.ko "$@"
}

# up SERIAL...: all of these are there and answer.
up() {
	for serial in "$@"; do
		until_true 20 has_disk "$serial" || return 1
		is_live "$serial" || { echo "$serial is not live"; return 1; }
	done
}

# Vectors that have been raised, of those whose names match.
vectors_used() {
	awk -v name="$1\$" '
		$NF ~ name { n = 0; for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i; used += n > 0 }
		END { print used + 0 }' /proc/interrupts
}

interrupts() {
	awk -v name="$1" '
		$0 ~ name { for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i }
		END { print n + 0 }' /proc/interrupts
}

# What the kernel says in earnest about devices, disks and itself; what an emulated processor makes of
# clocks is left out. `expected` is a pattern of what a test has brought about.
expected='^$'
clean_dmesg() {
	dmesg -r | sed -n 's/^<[0-4]>//p' |
		grep -iE 'nvme|pci|irq|dma|iommu|I/O|ext4|jbd2|blk|block|bug|warn|hung|call trace' |
		grep -vE "$expected|ACPI: IRQ [0-9]+ override" >/tmp/complaints
	[ ! -s /tmp/complaints ] || { cat /tmp/complaints; return 1; }
}

# ---- files ----

# fill DIR: files of all sizes, and their sums.
fill() {
	mkdir -p "$1/deep/er" && cp /bin/busybox "$1/deep" && cp /tree/lib/libc.so.6 "$1/deep/er" &&
		head -c 3456789 /dev/urandom >"$1/random" || return 1
	n=0
	while [ $n -lt 60 ]; do
		head -c $((n * 777)) /dev/urandom >"$1/deep/$n" || return 1
		n=$((n + 1))
	done
	(cd "$1" && find . -type f | sort | xargs md5sum >/tmp/sums && mv /tmp/sums sums) && sync
}

intact() {
	(cd "$1" && md5sum -c sums >/dev/null) || { echo "files have changed"; return 1; }
	[ "$(wc -l <"$1/sums")" = 63 ] || { echo "files are missing"; return 1; }
}

# check_fs DISK: what fill() left, after a fresh mount, and the file system itself.
check_fs() {
	mount -t ext4 "$1" /mnt && intact /mnt && umount /mnt && e2fsck -fn "$1"
}

make_fs() {
	mkfs.ext4 -q -F "$1" && mount -t ext4 "$1" /mnt && fill /mnt && umount /mnt
}

# ---- fio ----

# verify SIZE DISK...: random writes of all sizes, and every byte read back.
verify() {
	size=$1
	shift
	{
		echo "[global]"
		echo "ioengine=libaio"
		echo "direct=1"
		echo "iodepth=16"
		echo "rw=randwrite"
		echo "bsrange=${bsrange:-4k-256k}"
		echo "bs_unaligned=0"
		echo "size=$size"
		echo "verify=crc32c"
		echo "verify_fatal=1"
		echo "$fio_options"
		for at in "$@"; do
			printf '[%s]\nfilename=%s\n' "$(basename "$at")" "$at"
		done
	} >/tmp/verify.fio
	fio --minimal --output=/tmp/fio.out /tmp/verify.fio || { tail -n 3 /tmp/fio.out; return 1; }
}

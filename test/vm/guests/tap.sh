# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC1091
#
# A card on a TAP device of the host's, and a disk, both of one target's: the host's own network stack
# is the other side.
. /bh/guest/lib.sh
. /bh/guest/nvme.sh

a=eth0
configured() { ip addr add 10.8.0.2/24 dev $a && ip link set $a up; }
told_mtu() { [ "$(cat /sys/class/net/$a/mtu)" = 9000 ]; }
pings() { ping -c 3 -s "${1:-56}" 10.8.0.1; }
sends() {
	[ "$(nc 10.8.0.1 5000 </tmp/file)" = "$sum" ] || { echo "the host has received something else"; return 1; }
}
# 100 MB: what has come goes back, and the host says what that was.
receives() {
	nc 10.8.0.1 5001 <&9 >/tmp/file
	[ "$(md5sum </tmp/file | cut -d' ' -f1)" = "$sum" ] || { ls -l /tmp/file; return 1; }
}
# What the network brings goes to the disk, and from there back to the network.
disk_and_card() {
	nc 10.8.0.1 5002 <&9 | dd of=/dev/nvme0n1 bs=64k iflag=fullblock conv=fsync,notrunc || return 1
	echo 3 >/proc/sys/vm/drop_caches
	[ "$(head -c $part /dev/nvme0n1 | nc 10.8.0.1 5000)" = "$part_sum" ] ||
		{ echo "something else has come back"; return 1; }
}
# An idle target sleeps, and a kick wakes it.
rests() {
	sleep 1
	before=$(host target-cpu-ms)
	sleep 3
	used=$(($(host target-cpu-ms) - before))
	[ $used -le 300 ] || { echo "$used ms of 3 s"; return 1; }
}

mkfifo /tmp/quiet
exec 9<>/tmp/quiet
host tap-up bhtap0 10.8.0.1 9000
part=20000000
sums=$(host listen 100000000 $part)
sum=${sums% *} part_sum=${sums#* }
t mtu_is_told told_mtu
t up configured
t ping until_true 5 pings
t ping_9000 pings 8900
t tcp_in receives
t tcp_out sends
rm /tmp/file
t disk_and_card disk_and_card
t idle_target_sleeps rests
t ping_after_rest pings
t dmesg_is_clean clean_dmesg

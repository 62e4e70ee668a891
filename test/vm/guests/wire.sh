# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2046,SC2086,SC1091
#
# Two cards on one wire, one with packed rings and one with split ones, the second in a network namespace of its own, so that what goes from one
# address to the other goes through both. Three times: with MSI-X, after a reboot, and by the line.
. /bh/guest/lib.sh
. /bh/guest/nvme.sh

ups=$(host ups)

# card MAC: its name
card() {
	for at in /sys/class/net/*; do
		[ "$(cat "$at/address")" = "$1" ] && basename "$at" && return
	done
	return 1
}
there() { card 52:54:00:00:00:01 && card 52:54:00:00:00:02; }
apart() { nsenter -t $apart -n "$@"; }

wire() {
	a=$(card 52:54:00:00:00:01) b=$(card 52:54:00:00:00:02)
	far=$(basename "$(readlink /sys/class/net/$b/device)")
	unshare -n sleep 3600 &
	apart=$!
	sleep 1
	ip link set $b netns $apart
	ip addr add 10.9.0.1/24 dev $a && ip link set $a up
	apart ip addr add 10.9.0.2/24 dev $b && apart ip link set $b up
}
ready() { [ "$(cat /sys/class/net/$a/operstate)" = up ]; }
pings() { ping -c 5 -i 0.2 -s ${1:-56} 10.9.0.2; }

same() {
	[ "$(md5sum </tmp/file)" = "$(md5sum </tmp/received)" ] && return
	ls -l /tmp/file /tmp/received
	return 1
}
# An nc whose input never ends waits for the other side to end it.
mkfifo /tmp/quiet
exec 9<>/tmp/quiet
# there_by_tcp, back_by_tcp: /tmp/file through TCP, and its sum
there_by_tcp() {
	apart nc -l -p 5000 <&9 >/tmp/received &
	nc=$!
	sleep 0.5
	nc 10.9.0.2 5000 </tmp/file
	wait $nc
	same
}
back_by_tcp() {
	apart nc -l -p 5001 </tmp/file >/dev/null &
	nc=$!
	sleep 0.5
	nc 10.9.0.2 5001 <&9 >/tmp/received
	wait $nc
	same
}

# came QUEUE: how often the far card has said that something came on that queue
came() {
	awk -v name=$far-input.$1 '$NF == name { for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i }
		END { print n + 0 }' /proc/interrupts
}
# What a CPU sends goes through a queue of its own, and comes on the queue of that number.
each_cpu_its_queue() {
	[ $(ls -d /sys/class/net/$a/queues/[rt]x-* | wc -l) = 4 ] || { ls /sys/class/net/$a/queues; return 1; }
	for queue in 0 1; do
		before=$(came $queue)
		taskset $((queue + 1)) ping -c 3 -i 0.2 10.9.0.2 || return 1
		[ $(came $queue) -gt $before ] || { echo "nothing came on queue $queue"; return 1; }
	done
}
big() { ip link set $a mtu 9000 && apart ip link set $b mtu 9000 && pings 8900; }
rebind() {
	dev=$(basename "$(readlink /sys/class/net/$a/device)")
	echo $dev >/sys/bus/virtio/drivers/virtio_net/unbind
	[ ! -e /sys/class/net/$a ] || { echo "it is still there"; return 1; }
	echo $dev >/sys/bus/virtio/drivers/virtio_net/bind
	a=$(card 52:54:00:00:00:01) && ip addr add 10.9.0.1/24 dev $a && ip link set $a up
}
# Rings of other sizes, one queue at a time, while packets go both ways.
resize() {
	ping -q -i 0.05 -w 3 10.9.0.2 &
	for entries in 64 256 1024; do
		vm-rings $a $entries || return 1
		sleep 0.3
	done
	wait $!
	pings
}
# One of the two cards has packed rings (feature 34), the other split ones.
format() { cut -c 35 <"/sys/bus/virtio/devices/$1/features"; }
both_formats() { [ "$(format "$(basename "$(readlink /sys/class/net/$a/device)")")" = 1 ] && [ "$(format $far)" = 0 ]; }
by_line() { grep -E 'IO-APIC.*virtio' /proc/interrupts && ! grep -E 'MSI.*virtio' /proc/interrupts; }

t up_$ups.two_cards there
t up_$ups.wired wire
t up_$ups.link_is_up until_true 5 ready
t up_$ups.ping until_true 5 pings
head -c 4000000 /dev/urandom >/tmp/file
case $ups in
1)
	t ping_large pings 1400
	t both_ring_formats both_formats
	t multi_queue each_cpu_its_queue
	t tcp there_by_tcp
	t tcp_back back_by_tcp
	t mtu_9000 big
	t mtu_9000.tcp there_by_tcp
	t resize_rings resize
	t resize_rings.tcp there_by_tcp
	t rebind rebind
	t rebind.ping until_true 5 pings
	t rebind.tcp there_by_tcp
	t dmesg_is_clean clean_dmesg
	reboot -f
	;;
2)
	t reboot.tcp there_by_tcp
	host again pci=nomsi
	;;
*)
	t intx.in_use by_line
	t intx.tcp there_by_tcp
	t intx.tcp_back back_by_tcp
	t intx.dmesg_is_clean clean_dmesg
	;;
esac

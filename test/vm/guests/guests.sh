# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC1091
#
# One of two guests on a wire; the other one is neighbour.sh.
. /bh/guest/lib.sh
. /bh/guest/nvme.sh

mkfifo /tmp/quiet
exec 9<>/tmp/quiet
pings() { ping -c 3 10.9.0.2; }
transfer() {
	until_true 20 nc 10.9.0.2 5000 </tmp/file || return 1
	until_true 20 sum_of_other || return 1
	grep "$(md5sum </tmp/file | cut -d' ' -f1)" /tmp/sum
}
sum_of_other() { nc 10.9.0.2 5001 <&9 >/tmp/sum && [ -s /tmp/sum ]; }

ip addr add 10.9.0.1/24 dev eth0 && ip link set eth0 up
[ "$(host neighbour)" = started ] || echo "@@ FAIL neighbour: it did not start"
t ping until_true 120 pings
head -c 5000000 /dev/urandom >/tmp/file
t tcp transfer
ended() { [ "$(host neighbour-end)" = ended ]; }
t neighbour_ended ended
t dmesg_is_clean clean_dmesg

# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC1091
#
# The other one of two guests on a wire: says what it has received.
. /bh/guest/lib.sh
. /bh/guest/nvme.sh

mkfifo /tmp/quiet
exec 9<>/tmp/quiet
pings() { ping -c 3 10.9.0.1; }
receives() { nc -l -p 5000 <&9 >/tmp/received && [ -s /tmp/received ]; }
says() { md5sum </tmp/received >/tmp/sum && nc -l -p 5001 </tmp/sum; }

ip addr add 10.9.0.2/24 dev eth0 && ip link set eth0 up
t ping until_true 20 pings
t receives receives
t says says

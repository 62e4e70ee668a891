# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2046,SC2086,SC2034,SC1091
#
# A virtual IOMMU, a root port, and 16 queues: for reading and for writing one per processor, and four
# that are polled.
. /bh/guest/lib.sh
. /bh/guest/nvme.sh

load_nvme write_queues=6 poll_queues=4
t up up wide plain
W=$(disk wide) P=$(disk plain)
queues() {
	dmesg | grep default/read/poll
	dmesg | grep "$(ctrl wide): 6/6/4 default/read/poll"
}
t sixteen_queues queues
behind() {
	at=$(cd -P /sys/class/nvme/$(ctrl wide)/device && pwd) && echo $at &&
		[ "${at%/*}" = /sys/devices/pci0000:00/0000:00:06.0 ]
}
t behind_a_root_port behind
translated() {
	for c in wide plain; do
		type=$(cat /sys/bus/pci/devices/$(bdf $c)/iommu_group/type)
		case $type in DMA*) ;; *) echo "$c: $type"; return 1 ;; esac
	done
}
t iommu.translates translated
t iommu.ext4 make_fs $W
t iommu.remount check_fs $W

# From each processor a read, and a write, so that each of the 12 vectors and the admin queue's count.
each() {
	for cpu in 0 1 2 3 4 5; do
		on="taskset $(printf %x $((1 << cpu)))"
		$on dd if=$W of=/dev/null bs=4k count=16 skip=$((cpu * 16)) iflag=direct &&
			$on dd if=$P of=$W bs=4k count=16 seek=$((cpu * 16)) oflag=direct || return 1
	done
	[ "$(vectors_used "$(ctrl wide)q[0-9]+")" = 13 ] || { grep nvme /proc/interrupts; return 1; }
}
t every_vector_works each
polled() {
	fio --name=polled --filename=$W --ioengine=pvsync2 --hipri --direct=1 --rw=randwrite \
		--numjobs=4 --cpus_allowed=0-5 --cpus_allowed_policy=split --bs=4k --size=128k \
		--offset_increment=128k --verify=crc32c --minimal --output=/tmp/polled
}
t poll_queues polled
t iommu.fio verify 2M $W $P
t reset nvme reset /dev/$(ctrl wide)
t after_reset verify 1M $W $P
rebind() {
	B=$(bdf wide)
	echo $B >/sys/bus/pci/drivers/nvme/unbind && echo $B >/sys/bus/pci/drivers/nvme/bind && up wide
}
t unbind_and_bind rebind
t after_bind verify 1M $(disk wide)
expected='resetting controller'
t dmesg_is_clean clean_dmesg

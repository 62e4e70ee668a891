# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2046,SC2086,SC2034,SC1091
#
# One target under three guests. The first is killed with I/O in flight; so is the second, which knows
# no message-signalled interrupts. Under the third the target is killed.
. /bh/guest/lib.sh
. /bh/guest/nvme.sh

HARD='--ioengine=libaio --direct=1 --iodepth=32 --rw=randwrite --bs=16k --size=32M --time_based=1
--runtime=60 --minimal --output=/dev/null'
has_written() { [ "$(awk '{ print $7 }' /sys/block/${1##*/}/stat)" -gt 2000 ]; }
in_flight() {
	for at in "$@"; do fio --name=hard --filename=$at $HARD & done
	for at in "$@"; do until_true 20 has_written $at || return 1; done
}

first() {
	load_nvme
	t up up mapped trapped
	t ext4.make make_fs $(disk mapped)
	t ext4.make_trapped make_fs $(disk trapped)
	mount $(disk mapped) /mnt
	t in_flight in_flight $(disk mapped 2) $(disk trapped 2)
	dd if=/dev/zero of=/mnt/more bs=64k count=400 &
	host again pci=nomsi
}

# A line that is not withdrawn would be raised for ever, until the kernel disables it.
few() {
	before=$(interrupts nvme)
	dd if=$(disk mapped 2) of=/dev/null bs=4k count=200 iflag=direct || return 1
	n=$(($(interrupts nvme) - before))
	if [ $n -lt 1 ] || [ $n -gt 1000 ]; then
		echo "$n interrupts for 200 reads"
		return 1
	fi
}
by_line() { grep -E 'IO-APIC.*nvme[01]q0' /proc/interrupts && ! grep -E 'MSI.*nvme' /proc/interrupts; }

second() {
	load_nvme
	t intx.up up mapped trapped
	t intx.in_use by_line
	t intx.files_survived_the_guest check_fs $(disk mapped)
	t intx.files_on_trapped_survived_the_guest check_fs $(disk trapped)
	t intx.fio verify 8M $(disk mapped 2) $(disk trapped 2)
	t intx.as_many_as_completions few
	t intx.reset nvme reset /dev/$(ctrl mapped)
	t intx.after_reset check_fs $(disk mapped)
	expected='resetting controller'
	t intx.dmesg_is_clean clean_dmesg
	t intx.in_flight in_flight $(disk mapped 2) $(disk trapped 2)
	host again
}

by_message() { grep -E 'MSI.*nvme[01]q0' /proc/interrupts; }
over() { ! pidof fio; }
fails() { ! dd if=$1 of=/dev/null bs=4k count=1 iflag=direct; }
unload() { rmmod nvme && [ ! -e /sys/class/nvme/nvme0 ]; }
left() { umount /mnt; ! grep ' /mnt ' /proc/mounts; }

third() {
	for limit in io admin; do echo 3 >/sys/module/nvme_core/parameters/${limit}_timeout; done
	load_nvme
	t again.up up mapped trapped
	t again.msix by_message
	t again.files_survived_the_guest check_fs $(disk mapped)
	t again.fio verify 8M $(disk mapped 2) $(disk trapped 2)
	t again.dmesg_is_clean clean_dmesg
	M=$(disk mapped 2) T=$(disk trapped 2)
	mount $(disk mapped) /mnt
	t gone.in_flight in_flight $M $T
	t gone.target_is_killed [ "$(host kill-target)" = killed ]
	t gone.io_ends until_true 60 over
	t gone.mapped_fails fails $M
	t gone.trapped_fails fails $T
	t gone.guest_goes_on dd if=/dev/urandom of=/tmp/after bs=64k count=16
	t gone.file_system_can_be_left left
	t gone.driver_unloads unload
}

case "$(host ups)" in
1) first ;;
2) second ;;
3) third ;;
esac

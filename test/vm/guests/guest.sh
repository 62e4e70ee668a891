# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2046,SC2086,SC2034,SC1091
#
# Two processors, and so two queues with vectors of their own; half of the memory lies above 4 GiB.
# `first` has two namespaces and mapped doorbells, `second` trapped ones and a memory buffer, `single` one queue and a file
# behind it, and so a write cache. At the end the guest reboots.
. /bh/guest/lib.sh
. /bh/guest/nvme.sh
. /bh/guest/identify.sh

after_reboot() {
	load_nvme
	t reboot.up up first second single
	t reboot.files_are_intact check_fs $(disk first)
	t reboot.files_on_4096_are_intact check_fs $(disk first 2)
	t reboot.fio verify 4M $(disk second) $(disk single)
	t reboot.dmesg_is_clean clean_dmesg
}

if [ "$(host ups)" = 2 ]; then
	after_reboot
	exit
fi

load_nvme
t up up first second single

no_errors() {
	for s in first second single; do
		nvme error-log /dev/$(ctrl $s) -e 1 | grep -q 'error_count.*: 0$' ||
			{ echo "$s has answered with an error"; return 1; }
	done
}
t driver_asks_for_nothing_that_fails no_errors

# ---- whatever Identify advertises works ----

t identify.what_has_no_check_fails finds_news
walk first 1 2
walk single 1
C=/dev/$(ctrl first) D=$(disk first) D4=$(disk first 2) S=$(disk second) O=$(disk single)

# ---- what Identify says, as nvme-cli sees it ----

t nvme.list says 'first .*Bellhop NVMe.* 512 *B' nvme list
t nvme.list_subsys says 'nqn.2026-01.io.bellhop:first' nvme list-subsys
t nvme.id_ctrl says 'cntrltype *: 1' nvme id-ctrl -H $C
t nvme.id_ns says 'lbads:9 .*in use' nvme id-ns $D
t nvme.id_ns_4096 says 'lbads:12 .*in use' nvme id-ns $D4
t nvme.list_ns says '0x2' nvme list-ns $C
t nvme.ns_descs says 'uuid' nvme ns-descs $D
t nvme.cmdset_ind_id_ns says 'nstat *: 0x1' nvme cmdset-ind-id-ns $D
t nvme.nvm_id_ns nvme nvm-id-ns $D
t nvme.nvm_id_ctrl nvme nvm-id-ctrl $C
t nvme.id_iocs says 'ombination\[0\]' nvme id-iocs $C
t nvme.show_regs says 'csts *: 0x1$' nvme show-regs $C
t nvme.unknown_identify_is_refused refused 'Invalid Field' nvme list-endgrp $C

# ---- log pages ----

t log.supported says 'LID 0x5|Effects' nvme supported-log-pages $C
t log.error says 'Invalid Field' nvme error-log $C -e 1
t log.smart says 'temperature.*300 K' nvme smart-log $C
t log.fw_slot says 'frs1' nvme fw-log $C
t log.changed_ns nvme changed-ns-list-log $C
t log.effects says 'Write Zeroes' nvme effects-log --csi=0 $C
every_log() {
	nvme get-log $C --log-id=0 --log-len=1024 -b | od -An -v -tu4 -w4 >/tmp/logs || return 1
	lid=0 n=0
	while read -r supported; do
		if [ "$supported" != 0 ]; then
			nvme get-log $C --log-id=$lid --log-len=512 -b >/dev/null ||
				{ echo "log page $lid"; return 1; }
			n=$((n + 1))
		elif [ $lid -lt 16 ]; then
			refused 'Invalid Log Page' nvme get-log $C --log-id=$lid --log-len=512 -b ||
				return 1
		fi
		lid=$((lid + 1))
	done </tmp/logs
	[ $n -ge 7 ] || { echo "only $n log pages"; return 1; }
}
telemetry() {
	nvme telemetry-log $C --output-file=/tmp/telemetry && grep -q 'bellhop_telemetry: 1' /tmp/telemetry &&
		grep -q 'queue 1: here' /tmp/telemetry && grep -q 'latency queue 1: ' /tmp/telemetry
}
t log.telemetry telemetry
t log.every_page_that_is_advertised every_log

# ---- features: what was set is there afterwards, and then what was there before ----

feature() { nvme get-feature ${of:-$C} -f $1 -s ${2:-0} | sed -n 's/.* value: *\(0x\)*//p' | head -n 1; }
gives() {
	got=$(feature $1 $2)
	[ $((0x$got)) = $(($3)) ] || { echo "feature $1 is '$got', not $3"; return 1; }
}
kept() {
	old=$(feature $1)
	nvme set-feature ${of:-$C} -f $1 -V $2 && gives $1 0 $2 || return 1
	[ $((0x$(feature $1 3) & 4)) = 4 ] || { echo "not changeable"; return 1; }
	nvme set-feature ${of:-$C} -f $1 -V $((0x$old)) && gives $1 0 0x$old
}
t feature.arbitration kept 1 0x01020302
t feature.power_management kept 2 0x20
t feature.temperature_threshold kept 4 320
t feature.number_of_queues gives 7 0 0x10001
t feature.interrupt_coalescing kept 8 0x0203
vectors() {
	nvme get-feature $C -f 9 -c 1 && nvme set-feature $C -f 9 -V 0x10001 &&
		says 0x00010001 nvme get-feature $C -f 9 -c 1 && nvme set-feature $C -f 9 -V 1
}
t feature.interrupt_vector vectors
# One read at a time waits as long as interrupts may, 25.5 ms, and not on vectors that are left out,
# though a busy machine takes its time now and then.
now_ms() { awk '{ print int($1 * 1000) }' /proc/uptime; }
ten_reads() {
	before=$(now_ms)
	dd if=$D of=/dev/null bs=4k count=10 iflag=direct || return 1
	took=$(($(now_ms) - before))
	echo "10 reads took $took ms"
}
ten_quick_reads() {
	for n in 1 2 3 4 5 6 7 8; do
		ten_reads || return 1
		[ $took -ge 250 ] || return 0
	done
	return 1
}
leave_out() { for n in 1 2; do nvme set-feature $C -f 9 -V $(($1 + n)) || return 1; done; }
coalesced() {
	nvme set-feature $C -f 8 -V 0xff07 && ten_reads && [ $took -ge 245 ] &&
		leave_out 0x10000 && ten_quick_reads && leave_out 0 && nvme set-feature $C -f 8 -V 0
}
t feature.interrupts_are_coalesced coalesced
t feature.write_atomicity kept 10 1
t feature.async_events kept 11 0x11f
t feature.timestamp says 'Current value' nvme get-feature $C -f 14
t feature.host_behavior says 'Current value' nvme get-feature $C -f 22
t feature.io_command_sets gives 25 0 0
recovery() {
	nvme set-feature $D -n 1 -f 5 -V 7 && says '0x00000007' nvme get-feature $D -n 1 -f 5 &&
		says '0x00000006' nvme get-feature $D -n 1 -f 5 -s 3
}
t feature.error_recovery recovery
t feature.of_no_write_cache_is_refused refused 'Invalid Field' nvme get-feature $C -f 6
cache() { of=/dev/$(ctrl single) kept 6 0 && says '0x7|Present' nvme id-ctrl -H /dev/$(ctrl single); }
t feature.write_cache cache
t feature.unknown_is_refused refused 'Invalid Field' nvme get-feature $C -f 0x0d
threshold() {
	nvme set-feature $C -f 4 -V 290 &&
		says 'critical_warning.*: 0x2' nvme smart-log $C &&
		nvme set-feature $C -f 4 -V 343 && says 'critical_warning.*: 0$' nvme smart-log $C
}
t feature.threshold_raises_a_warning threshold

# ---- commands, one by one ----

DATA=/tmp/data
head -c 8192 /dev/urandom >$DATA
blocks() { printf "%s" "-s $1 -c 15 -z 8192"; }
same() { nvme read $D $(blocks $1) -d /tmp/back && cmp $DATA /tmp/back; }
zeros() { nvme read $D $(blocks $1) -d /tmp/back && head -c 8192 /dev/zero | cmp - /tmp/back; }
t command.write nvme write $D $(blocks 64) -d $DATA
t command.read same 64
t command.compare nvme compare $D $(blocks 64) -d $DATA
t command.compare_of_other_data refused 'Compare Failure' nvme compare $D $(blocks 65) -d $DATA
t command.flush nvme flush $D
t command.flush_of_a_write_cache nvme flush $O
write_zeroes() { nvme write-zeroes $D -s 64 -c 15 && zeros 64; }
t command.write_zeroes write_zeroes
discard() { nvme write $D $(blocks 128) -d $DATA && nvme dsm $D -d -s 128 -b 16 && zeros 128; }
t command.deallocate discard
end=$(cat /sys/block/${D##*/}/size)
t command.beyond_the_end refused 'LBA Out of Range' nvme read $D -s $end -c 0 -z 512 -d /tmp/back
t command.verify nvme verify $D -s 64 -c 15
t command.verify_beyond_the_end refused 'LBA Out of Range' nvme verify $D -s $end -c 0
copied() {
	nvme write $D $(blocks 64) -d $DATA && nvme copy $D --sdlba=256 --slbs=64,72 --blocks=7,7 &&
		same 256
}
t command.copy copied
# What is unreadable stays so until it is written, also for the kernel's own reads.
unreadable() {
	nvme write-uncor $D -s 260 -c 0 && refused 'Unrecovered Read Error' nvme read $D $(blocks 256) -d /tmp/back &&
		refused 'Unrecovered Read Error' nvme verify $D -s 256 -c 15 &&
		nvme read $D -s 261 -c 0 -z 512 -d /tmp/back && nvme write $D $(blocks 256) -d $DATA && same 256
}
t command.write_uncorrectable unreadable
# The log: what runs (nothing), and the newest result: of the extended test, passed.
tested() {
	nvme device-self-test $C -n 1 -s 2 && until_true 20 test_is_over $C &&
		says 'peration Result *: *0' nvme self-test-log $C &&
		is "$(test_log $C 5)" '0 0 0 0 32 '
}
t command.self_test tested
t command.unknown_is_refused refused 'Invalid Command Opcode' nvme io-passthru $D --opcode=0x7f -n 1

# Of four blocks of 64 KiB the second is discarded and the fourth zeroed.
quarter() { dd if=$1 bs=64k skip=$2 count=1; }
kernel_zeroes() {
	dd if=/dev/urandom of=$1 bs=64k count=4 conv=fsync &&
		/usr/bin/blkdiscard -o 64k -l 64k $1 && /usr/bin/blkdiscard -z -o 192k -l 64k $1 || return 1
	head -c 65536 /dev/zero >/tmp/zeros
	for n in 1 3; do quarter $1 $n | cmp - /tmp/zeros || return 1; done
	for n in 0 2; do ! quarter $1 $n | cmp - /tmp/zeros || return 1; done
}
t kernel.discard_and_zeroes kernel_zeroes $D
cached() {
	says '^write back$' cat /sys/block/${O##*/}/queue/write_cache &&
		says '^write through$' cat /sys/block/${D##*/}/queue/write_cache
}
t kernel.write_cache cached
t kernel.discard_and_zeroes_4096 kernel_zeroes $D4

# ---- protection information: made and verified by the kernel, and wrong in every field ----

SB=/sys/block/${S##*/}
protect() {
	nvme format $S --force --lbaf=1 --pi=1 >/dev/null && until_true 5 [ -d $SB/integrity ] &&
		until_true 5 is "$(cat $SB/integrity/format)" T10-DIF-TYPE1-CRC
}
t pi.format protect
pi_data() {
	head -c 32768 /dev/urandom >/tmp/pi.data
	dd if=/tmp/pi.data of=$S bs=32k count=1 oflag=direct &&
		dd if=$S of=/tmp/pi bs=32k count=1 iflag=direct && cmp /tmp/pi.data /tmp/pi
}
t pi.kernel_makes_and_verifies pi_data
pi_write() { # TUPLE PRINFO OPTION...: block 5, of zeros
	printf "$1" >/tmp/tuple
	head -c 512 /dev/zero >/tmp/block
	info=$2
	shift 2
	nvme write $S -s 5 -c 0 -z 512 -y 8 -d /tmp/block -M /tmp/tuple --prinfo=$info "$@"
}
t pi.right pi_write '\0\0\0\021\0\0\0\005' 7 --ref-tag=5 --app-tag=17 --app-tag-mask=0xffff
t pi.wrong_guard refused 'Guard' pi_write '\0\001\0\0\0\0\0\005' 4
t pi.wrong_application_tag refused 'Application Tag' pi_write '\0\0\0\021\0\0\0\005' 2 --app-tag=18 \
	--app-tag-mask=0xffff
t pi.wrong_reference_tag refused 'Reference Tag' pi_write '\0\0\0\0\0\0\0\006' 1 --ref-tag=5
t pi.tag_of_another_block refused 'Protection Info' pi_write '\0\0\0\0\0\0\0\006' 1 --ref-tag=6
pi_read() { # what is wrong on the medium, and in an entry of the log
	pi_write '\0\001\0\0\0\0\0\005' 0 &&
		refused 'Guard' nvme read $S -s 5 -c 0 -z 512 -y 8 -d /tmp/pi -M /tmp/md --prinfo=4 &&
		says 'lba.*: (0x)?5$' nvme error-log /dev/$(ctrl second) -e 1
}
t pi.wrong_on_the_medium pi_read
pi_copy() { # RANGES: anew for block 64
	nvme copy $S --sdlba=64 --slbs=$1 --blocks=0,0 --prinfor=12 --prinfow=8 --ref-tag=64
}
t pi.copy pi_copy 8,9
t pi.copy_is_right nvme verify $S -s 64 -c 1 --prinfo=5 --ref-tag=64
t pi.copy_of_what_is_wrong refused 'Guard' pi_copy 8,5
not_protected() { ! grep T10 $SB/integrity/format; }
unprotect() { nvme format $S --force --lbaf=0 >/dev/null && until_true 5 not_protected; }
t pi.format_back unprotect

# ---- zones ----

Z=$(disk second 2)
t zns.kernel_knows says 'host-managed' cat /sys/block/${Z##*/}/queue/zoned
t zns.report says 'nr_zones: *16' nvme zns report-zones $Z
t zns.open nvme zns open-zone $Z -s 0
t zns.write_at_the_pointer dd if=/dev/zero of=$Z bs=4k count=4 oflag=direct
t zns.write_elsewhere_is_refused refused 'Zone Invalid Write|ZONE_INVALID_WRITE' \
	nvme write $Z -s 100 -c 0 -z 512 -d /tmp/block
t zns.append nvme zns zone-append $Z -s 2048 -z 512 -d /tmp/block
three_open() { nvme zns open-zone $Z -s 4096 && nvme zns open-zone $Z -s 6144; }
t zns.an_implicit_one_makes_room three_open
t zns.too_many_are_refused refused 'Too Many Open|TOO_MANY_OPEN' nvme zns open-zone $Z -s 8192
zone_copied() {
	nvme copy $Z --sdlba=4096 --slbs=2048,2048 --blocks=0,0 && nvme compare $Z -s 4097 -c 0 -z 512 -d /tmp/block
}
t zns.copy_to_the_pointer zone_copied
t zns.copy_elsewhere_is_refused refused 'Zone Invalid Write|ZONE_INVALID_WRITE' \
	nvme copy $Z --sdlba=4096 --slbs=2048 --blocks=0
t zns.finish nvme zns finish-zone $Z -s 0
emptied() { nvme zns reset-zone $Z -a && says 'nr_zones: *16' nvme zns report-zones $Z --state=1; }
t zns.reset_of_all emptied

# ---- file systems, on both block sizes ----

t ext4.make make_fs $D
t ext4.remount check_fs $D
t ext4.make_4096 make_fs $D4
t ext4.remount_4096 check_fs $D4
trim() {
	mount $D /mnt && dd if=/dev/urandom of=/mnt/gone bs=1M count=4 conv=fsync && rm /mnt/gone &&
		sync && fstrim -v /mnt && umount /mnt && check_fs $D
}
t ext4.trim trim

# ---- two controllers at a time, mapped and trapped doorbells, a target that is busy or asleep ----

t fio.verify verify 12M $S $O
each_cpu() {
	for cpu in 0 1; do
		taskset $((cpu + 1)) dd if=$S of=/dev/null bs=4k count=64 iflag=direct || return 1
	done
	[ "$(vectors_used "$(ctrl second)q[1-9]")" = 2 ] || { grep nvme /proc/interrupts; return 1; }
}
t msix_on_each_processor each_cpu
# Linux has its submission queues in the memory buffer, which takes a multiple of 2 MiB.
in_cmb() {
	at=/sys/bus/pci/devices/$(bdf second)/p2pmem
	cat /sys/class/nvme/$(ctrl second)/cmb
	echo "$(cat $at/available) of $(cat $at/size) bytes of the memory buffer are free"
	[ $(cat $at/size) = 2097152 ] && [ $(cat $at/available) -lt 2097152 ]
}
t cmb_holds_queues in_cmb
t one_queue says '^1$' grep -c "$(ctrl single)q[1-9]" /proc/interrupts
# The target polls for one controller while reads come to the other one by one.
beside() {
	fio_options="time_based=1
runtime=2
do_verify=0
[slow]
filename=$O
rw=randread
rate_iops=20
bs=4k"
	verify 8M $S
}
t busy_and_asleep beside
fio_options=''
asleep() {
	sleep 0.3
	before=$(host target-cpu-ms)
	sleep 1
	used=$(($(host target-cpu-ms) - before))
	[ $used -lt 400 ] || { echo "the idle target used $used ms of 1 s"; return 1; }
	for n in 1 2 3 4 5 6; do
		for at in $S $O; do
			dd if=$at of=/dev/null bs=4k count=1 skip=$n iflag=direct || return 1
		done
		sleep 0.1
	done
}
t idle_target_sleeps asleep

# ---- resets, with nothing and with much in flight ----

busy_with() {
	fio_options="time_based=1
runtime=2" verify 8M $S $O &
	busy=$!
	sleep 1
	"$@" || { wait $busy; return 1; }
	wait $busy || { echo "I/O failed"; return 1; }
	is_live second && is_live single
}
flr() { grep -q flr /sys/bus/pci/devices/$1/reset_method && echo 1 >/sys/bus/pci/devices/$1/reset; }
t reset.controller nvme reset $C
t reset.files_are_intact check_fs $D
reset_often() { for s in second single second; do nvme reset /dev/$(ctrl $s) || return 1; done; }
t reset.controller_under_io busy_with reset_often
flr_both() { flr $(bdf second) && flr $(bdf single); }
t reset.function_under_io busy_with flr_both
t reset.subsystem_is_not_offered refused 'ubsystem-reset|not supported|Inappropriate' \
	nvme subsystem-reset /dev/$(ctrl second)

B=$(bdf first)
rebind() {
	echo $B >/sys/bus/pci/drivers/nvme/unbind && ! has_disk first &&
		echo $B >/sys/bus/pci/drivers/nvme/bind && up first
}
t unbind_and_bind rebind
t unbind_and_bind.files_are_intact check_fs $(disk first)
rescan() { nvme ns-rescan /dev/$(ctrl first) && has_disk first 2; }
t rescan rescan

# ---- the driver anew, with queues that are polled, and data described by SGLs alone ----

rmmod nvme
load_nvme poll_queues=1 write_queues=1 sgl_threshold=512
t queues.up up first second single
S=$(disk second) O=$(disk single)
split() {
	dmesg | grep default/read/poll | tail -n 3
	dmesg | grep "$(ctrl second): 1/2/1 default/read/poll"
}
t queues.read_write_and_poll split
polled() {
	fio --name=polled --filename=$S --ioengine=pvsync2 --hipri --direct=1 --rw=randrw --bs=4k \
		--size=2M --verify=crc32c --minimal --output=/tmp/polled
}
t queues.polled polled
# Of what is as large as a page or more, every command has its data described by an SGL.
by_sgl() {
	before=$(host counter second sgls) writes=$(host counter second writes)
	verify 8M $S $O || return 1
	sgls=$(($(host counter second sgls) - before))
	writes=$(($(host counter second writes) - writes))
	echo "$sgls SGLs, $writes writes"
	[ $writes -gt 30 ] && [ $sgls -ge $writes ]
}
t queues.sgl by_sgl
t queues.files_are_intact check_fs $(disk first)

expected='resetting controller'
t dmesg_is_clean clean_dmesg
reboot -f

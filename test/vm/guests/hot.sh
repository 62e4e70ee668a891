# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2046,SC2086,SC2034,SC1091
#
# What bh-ctl changes while the guest uses it: namespaces come, grow and go under load, $ROUNDS times.
# `hot` has mapped doorbells and begins with one namespace in memory, `bells` has trapped ones.
. /bh/guest/lib.sh
. /bh/guest/nvme.sh

ctl() {
	answer=$(host ctl "$@")
	echo "$answer"
	case $answer in done | '{'*) ;; *) return 1 ;; esac
}
gone() { ! has_disk "$@"; }
size_is() { [ "$(cat /sys/block/$(basename $(disk $1 $2))/size)" = $3 ]; }

firmware=$(host counter hot doorbell_messages)
load_nvme
t up up hot bells
H=$(disk hot) C=/dev/$(ctrl hot)

# ---- namespaces come and grow ----

come() {
	ctl store.create name=a store=ram:32M && ctl namespace.attach controller=%c0% store=a &&
		until_true 10 has_disk hot 2
}
t attached.is_seen come
t attached.identity says $(cat /sys/block/$(basename $(disk hot 2))/uuid) nvme ns-descs $(disk hot 2)
t attached.file_system make_fs $(disk hot 2)
t attached.remount check_fs $(disk hot 2)
shared() {
	ctl namespace.attach controller=%c1% store=a nsid=9 && until_true 10 has_disk bells 9 &&
		cmp -n 1048576 $(disk hot 2) $(disk bells 9)
}
t attached.to_two_controllers shared
blocks_of_4096() {
	ctl namespace.attach controller=%c0% store=ram:8M:bs=4096 nsid=200 &&
		until_true 10 has_disk hot 200 && verify 2M $(disk hot 200)
}
t attached.blocks_of_4096 blocks_of_4096
# The log of changed namespaces is what the driver reads; it has read it, and so it is empty again.
changed() { nvme changed-ns-list-log $C && ! nvme changed-ns-list-log $C | grep -E '\]:0x0*[1-9a-f]'; }
t attached.log_is_read changed
grown() {
	ctl store.create name=n store=null:16M && ctl namespace.attach controller=%c0% store=n nsid=3 &&
		until_true 10 has_disk hot 3 && size_is hot 3 32768 && ctl store.resize name=n size=48M &&
		until_true 10 size_is hot 3 98304 &&
		dd if=$(disk hot 3) of=/dev/null bs=4k skip=12000 count=8 iflag=direct
}
t resized.is_seen grown
grown_file() {
	ctl store.create name=f store=file:%file%:24M && ctl namespace.attach controller=%c1% store=f nsid=4 &&
		until_true 10 has_disk bells 4 && make_fs $(disk bells 4) &&
		ctl store.resize name=f size=48M && until_true 10 size_is bells 4 98304 &&
		check_fs $(disk bells 4) && verify 4M $(disk bells 4)
}
t resized.file grown_file

# ---- a write cache that the host was not told of ----

feature6() { nvme get-feature $1 -f 6 | sed -n 's/.* value: *\(0x\)*0*//p' | head -n 1; }
through() {
	B=/dev/$(ctrl bells)
	[ -z "$(feature6 $B)" ] || { echo "the cache is on"; return 1; }
	nvme reset $B && until_true 10 has_disk bells 4 && is_live bells &&
		[ "$(feature6 $B)" = 1 ] && says '^vwc *: 0x7' nvme id-ctrl $B
}
t write_cache.is_off_until_the_reset through

# ---- and go, with I/O in flight, while other namespaces are written and read back ----

LOAD='--allow_file_create=0 --ioengine=libaio --direct=1 --iodepth=16 --rw=randrw --bs=16k
--offset=16M --size=16M --time_based=1 --runtime=60 --minimal --output=/dev/null'
writes() { awk '{ print $5 }' /sys/block/$(basename $1)/stat; }
busy() { [ "$(writes $1)" -gt $2 ]; }
# Writes to the upper half of a disk until that fails: by dd, which takes a while for 4096 writes, and
# every fifth time by fio, which takes seconds to begin here.
load() {
	if [ $((round % 5)) = 0 ]; then
		fio --name=load --filename=$1 $LOAD >/dev/null 2>&1
	else
		dd if=/dev/zero of=$1 bs=4k seek=4096 count=4096 oflag=direct conv=notrunc 2>/dev/null
	fi
}
cycle() {
	D=$(disk hot 2)
	before=$(writes $D)
	load $D &
	loads=$!
	[ $((round % 5)) = 0 ] || { load $D & loads="$loads $!"; }
	until_true 20 busy $D $((before + 20)) && ctl namespace.detach controller=%c0% nsid=2 &&
		until_true 20 gone hot 2 || return 1
	wait $loads && { echo "I/O went on without a namespace"; return 1; }
	[ $((round % VISIT_EVERY)) != 0 ] || visit || return 1
	ctl namespace.attach controller=%c0% store=a nsid=2 && until_true 20 has_disk hot 2 &&
		dd if=$(disk hot 2) bs=64k count=16 iflag=direct | cmp - /tmp/pattern
}

# ---- controllers come and go: one is plugged in and deleted under the guest, many have other hosts ----

PLUG='{"driver":"vfio-user-pci","id":"plug","bus":"rp1","socket":{"type":"unix","path":"%plug%"}}'
plugged() {
	ctl store.create name=p store=ram:32M &&
		ctl controller.create type=nvme name=plug socket=%plug% serial=plug ns=@p || return 1
	qmp "{\"execute\":\"device_add\",\"arguments\":$PLUG}"
	until_true 40 has_disk plug && dd if=/tmp/pattern of=$(disk plug) bs=64k oflag=direct &&
		dd if=$(disk plug) bs=64k count=16 iflag=direct | cmp - /tmp/pattern
}
unplugged() {
	P=$(disk plug)
	before=$(writes $P)
	dd if=/dev/zero of=$P bs=4k count=4096 oflag=direct conv=notrunc &
	load=$!
	until_true 20 busy $P $((before + 20)) && ctl controller.delete name=plug || return 1
	wait $load && { echo "I/O went on without a controller"; return 1; }
	dd if=$(disk hot 2) bs=64k count=16 iflag=direct | cmp - /tmp/pattern && has_disk bells
}
visit() {
	said=$(host visit a)
	echo "$said"
	[ "$said" = "done" ] && echo $round >>/tmp/visits
}

others() {
	bsrange=4k-32k
	fio_options='rate_iops=100'
	while [ -f /tmp/go ]; do verify 2M $H $(disk bells) || return 1; done
}
cycles() {
	dd if=/tmp/pattern of=$(disk hot 2) bs=64k oflag=direct && touch /tmp/go || return 1
	others &
	others=$!
	round=0 status=0
	while [ $round -lt $ROUNDS ]; do
		cycle || { echo "at cycle $round"; status=1; break; }
		round=$((round + 1))
	done
	rm /tmp/go
	wait $others || { echo "other namespaces suffered"; return 1; }
	return $status
}
head -c 1048576 /dev/urandom >/tmp/pattern
t detached.under_load cycles
visited() { [ $(wc -l </tmp/visits) = $(((ROUNDS + VISIT_EVERY - 1) / VISIT_EVERY)) ]; }
t controllers.come_and_go_under_load visited
t controllers.are_plugged_in plugged
t controllers.are_deleted_under_the_guest unplugged
# ---- a network block device whose server is killed ----

served() {
	uri=$(host nbd start) && ctl store.create name=net store=$uri &&
		ctl namespace.attach controller=%c1% store=net nsid=5 && until_true 10 has_disk bells 5
}
# A file system that was written and synced is there, whatever happened to the server since.
synced() {
	make_fs $N && host nbd kill && host nbd start && check_fs $N
}
verifies() {
	bsrange=4k-32k
	fio_options='fsync=32'
	while [ -f /tmp/go ]; do verify 2M $N || return 1; done
}
killed() {
	touch /tmp/go
	verifies &
	verifying=$!
	round=0
	while [ $round -lt 4 ]; do
		before=$(writes $N)
		until_true 20 busy $N $((before + 20)) || break
		host nbd kill
		sleep 0.2
		host nbd start
		round=$((round + 1))
	done
	rm /tmp/go
	wait $verifying && [ $round = 4 ]
}
if [ -n "$NBD" ]; then
	t nbd.is_seen served
	N=$(disk bells 5)
	t nbd.file_system_survives_its_server synced
	t nbd.server_is_killed_under_fio_verify killed
else
	echo "@@ SKIP nbd: no nbdkit, or no plug-in"
fi

refusals() {
	ctl namespace.detach controller=%c0% nsid=77 && return 1
	ctl store.delete name=a && return 1
	ctl store.resize name=a size=64M && return 1
	has_disk hot 2 && verify 1M $(disk hot 2)
}
t refused.changes_nothing refusals

# ---- two controllers of a subsystem: namespaces that the guest makes, and reservations ----

# of CNTLID: that controller of the subsystem.
of() {
	for at in /sys/class/nvme/nvme*; do
		grep -q ':shared$' $at/subsysnqn && [ $(cat $at/cntlid) = $1 ] &&
			echo /dev/$(basename $at) && return
	done
	return 1
}
# Its disk has the subsystem's name, its paths have the controllers'.
shared_disk() {
	at=$(grep -l ':shared$' /sys/class/nvme-subsystem/*/subsysnqn) || return 1
	ls -d ${at%/*}/nvme*n1 | grep -v 'c[0-9]*n1$' | sed 's,.*/,/dev/,'
}
has_shared() { [ -b "$(shared_disk)" ]; }
both_there() { [ -n "$(of 1)" ] && [ -n "$(of 2)" ]; }
t subsystem.both_controllers until_true 20 both_there
S1=$(of 1) S2=$(of 2)
capacity() {
	says '^cmic *: 0x3' nvme id-ctrl $S1 && says '^tnvmcap *: (16777216|\[127:0\].*16777216)' nvme id-ctrl $S1 &&
		says '^oncs *: 0x[0-9a-f]*[2367aAbBeEfF][0-9a-f]$' nvme id-ctrl $S1
}
t subsystem.capacity capacity
created() {
	says 'nsid:1' nvme create-ns $S1 -s 16384 -c 16384 -f 0 -m 1 && says ':0x1' nvme list-ns -a $S2 &&
		says '\[ *1\]:0x2' nvme list-ctrl $S1
}
t subsystem.namespace_is_created created
attached() { nvme attach-ns $S1 -n 1 -c 1,2 && until_true 20 has_shared && verify 1M $(shared_disk); }
t subsystem.namespace_is_attached attached
reserved() {
	nvme resv-register $S1 -n 1 -k 0xa -r 0 && nvme resv-acquire $S1 -n 1 -c 0xa -t 1 -a 0 &&
		nvme flush $S1 -n 1 && refused 'onflict' nvme flush $S2 -n 1
}
t subsystem.reservation_conflicts reserved
reported() { says 'rtype *: *1' nvme resv-report $S2 -n 1 && says 'rkey *: *a' nvme resv-report $S2 -n 1; }
t subsystem.reservation_is_reported reported
preempted() {
	nvme resv-register $S2 -n 1 -k 0xb -r 0 && nvme resv-acquire $S2 -n 1 -c 0xb -p 0xa -t 2 -a 2 &&
		nvme flush $S2 -n 1 && refused 'onflict' nvme flush $S1 -n 1 &&
		says 'reservation|Reservation' nvme resv-notif-log $S1
}
t subsystem.reservation_is_preempted preempted
released() {
	nvme resv-release $S2 -n 1 -c 0xb -t 2 -a 0 && nvme flush $S1 -n 1 &&
		dd if=/dev/zero of=$(shared_disk) bs=64k count=16 oflag=direct
}
t subsystem.reservation_is_released released
no_shared() { ! has_shared; }
deleted() {
	nvme detach-ns $S1 -n 1 -c 2 && has_shared && nvme delete-ns $S1 -n 1 && until_true 20 no_shared &&
		! nvme list-ns -a $S1 | grep ':0x1'
}
t subsystem.namespace_is_deleted deleted
with_metadata() {
	nvme create-ns $S1 -s 8192 -c 8192 -f 1 -d 1 -m 1 && nvme attach-ns $S1 -n 1 -c 1,2 &&
		until_true 20 has_shared && says '^dps *: (0x)?1$' nvme id-ns $S1 -n 1 &&
		verify 1M $(shared_disk) && nvme delete-ns $S1 -n 1 && until_true 20 no_shared
}
t subsystem.namespace_has_metadata with_metadata
# What has happened, as the subsystem's state file has it.
recorded() {
	nvme persistent-event-log $S2 -a 1 -l 512 &&
		says 'Change Namespace' nvme persistent-event-log $S2 -a 0 -l 0 &&
		says 'Power.on [oO]r Reset' nvme persistent-event-log $S2 -a 0 -l 0 &&
		nvme persistent-event-log $S2 -a 2 -l 512 &&
		refused 'Sequence' nvme persistent-event-log $S2 -a 0 -l 512
}
t subsystem.persistent_events recorded

# ---- doorbells, counted by the target ----

rare() {
	rings=$(host counter bells doorbell_messages) reads=$(host counter bells reads)
	fio --name=rare --filename=$(disk bells) --ioengine=libaio --direct=1 --iodepth=32 --rw=randread \
		--bs=4k --time_based=1 --runtime=4 --minimal --output=/dev/null || return 1
	rings=$(($(host counter bells doorbell_messages) - rings))
	reads=$(($(host counter bells reads) - reads))
	echo "$rings doorbells for $reads reads"
	echo "@@ NOTE trapped doorbells: $rings for $reads reads" >/dev/console
	[ $reads -gt 500 ] && [ $rings -lt $reads ]
}
t doorbells.trapped_are_rare rare
# SeaBIOS rings by message, whatever is mapped for the guest; Linux never.
none() {
	rings=$(($(host counter hot doorbell_messages) - firmware))
	writes=$(host counter hot writes)
	echo "$rings doorbells for $writes writes"
	[ $writes -gt 500 ] && [ $rings = 0 ]
}
t doorbells.mapped_never_exit none

expected='deprecated NVME_IOCTL_IO_CMD|resetting controller|error, dev nvme|I/O Cmd|Buffer I/O error on dev|callbacks suppressed|controller is down; will reset|power saving mode|nvme_core.default_ps|D3cold to D0|after reset failure'
t dmesg_is_clean clean_dmesg

# SPDX-License-Identifier: BSD-3-Clause
"""What machines have for zoned namespaces and for several of them: two controllers and their script.

At 10 a controller with two zoned namespaces, of which only the second takes reads across zones, and
one of the NVM command set; at 11 one with four of different formats and sizes, with holes between.
"""

ZONED = "zoned=true,zoned.zone_size=1M,logical_block_size=4096,physical_block_size=4096"

DISKS = [("z1", 16 << 20), ("z2", 16 << 20), ("z5", 4 << 20),
         ("m1", 8 << 20), ("m2", 4 << 20), ("m7", 2 << 20), ("m9", 1 << 20)]
DEVICES = [
    "nvme,id=zns,serial=zns,addr=10,zoned.zasl=4",
    "nvme-ns,bus=zns,drive=z1,nsid=1,zoned.zone_capacity=768K,zoned.max_open=3,zoned.max_active=5,"
    "zoned.descr_ext_size=64," + ZONED,
    "nvme-ns,bus=zns,drive=z2,nsid=2,zoned.cross_read=true," + ZONED,
    "nvme-ns,bus=zns,drive=z5,nsid=5",
    "nvme,id=many,serial=many,addr=11",
    "nvme-ns,bus=many,drive=m1,nsid=1",
    "nvme-ns,bus=many,drive=m2,nsid=2,logical_block_size=4096,physical_block_size=4096",
    "nvme-ns,bus=many,drive=m7,nsid=7,logical_block_size=4096,physical_block_size=4096",
    "nvme-ns,bus=many,drive=m9,nsid=9",
]

# For a guest script.
SCRIPT = r"""
ZNS=0000:00:10.0 MANY=0000:00:11.0
bind $ZNS vfio-pci
bind $MANY vfio-pci
through zns. vm-zns $ZNS geometry_and_report sequential_write append_by_queues states_and_limits \
	descriptor_extension read_across_a_border
through many. vm-zns $MANY namespaces_at_once
"""

# The programs, behind that.
PROGRAMS = r"""
t zns.bh_hello_refuses refused "not of plain blocks .zoned: no block is written in place" bh-hello "$ZNS?ns=1"
t zns.bh_hello_of_its_plain_one bh-hello "$ZNS?ns=5"
t zns.bh_identify sh -c "bh-identify $ZNS | grep 'zones  *16 of 1 MiB'"
t zns.bh_identify_json sh -c "bh-identify --json $ZNS | grep '\"zoned\":{\"zones\":16,'"
t zns.bh_perf_reads bh-perf -t 0.5 -q 16 -w randread "$ZNS"
t zns.bh_perf_at_random_is_refused refused "zoned and cannot be written at random" \
	bh-perf -t 1 -w randwrite --write-data "$ZNS?ns=1"
t zns.bh_perf_large_appends_are_refused refused "65536 bytes per zone append" \
	bh-perf -t 1 -o 128K -w write --write-data "$ZNS?ns=1"
t zns.bh_perf_too_many_zones_are_refused refused "4 queues would write" \
	bh-perf -t 1 -P 4 -w write --write-data "$ZNS?ns=1"
# Several runs, each of which would leave zones active if it did not finish them.
appends() {
	for i in 1 2 3; do bh-perf -t 0.5 -q 8 -o 20K -P 3 -w write --write-data "$ZNS?ns=1" || return 1; done
}
t zns.bh_perf_appends appends
t zns.bh_perf_mixed bh-perf -t 0.5 -q 16 -w rw --write-data "$ZNS"
each_namespace() {
	for n in 1 2 7 9; do bh-hello "$MANY?ns=$n" || return 1; done
}
t many.bh_hello_of_each each_namespace
t many.bh_hello_of_none refused "no such namespace" bh-hello "$MANY?ns=3"
"""

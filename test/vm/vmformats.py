# SPDX-License-Identifier: BSD-3-Clause
"""One controller (at addr=9) whose namespaces have metadata and protection information of every kind.
vm-pi.c has the same list."""

# Data, metadata, interleaved, type, first, guard's format (2: 64 bits).
FORMATS = [
    (512, 0, 0, 0, 0, 0), (512, 8, 0, 1, 0, 0), (512, 8, 1, 1, 0, 0), (512, 16, 1, 2, 0, 0),
    (4096, 64, 0, 3, 1, 0), (4096, 8, 1, 3, 0, 0), (4096, 16, 0, 0, 0, 0), (512, 64, 1, 0, 0, 0),
    (4096, 64, 1, 1, 1, 0), (4096, 64, 0, 2, 0, 0), (4096, 16, 1, 1, 0, 2),
]
DISKS = [("pi%d" % (i + 1), 2 << 20) for i in range(len(FORMATS))]
DEVICES = ["nvme,id=pi,serial=formats,addr=9"] + [
    "nvme-ns,bus=pi,drive=pi%d,nsid=%d,logical_block_size=%d,physical_block_size=%d,ms=%d,mset=%d,"
    "pi=%d,pil=%d,pif=%d" % ((i + 1, i + 1, f[0]) + f) for i, f in enumerate(FORMATS)]

CASES = ("formats_are_told unwritten_blocks_are_readable calls_without_options zeroes_are_readable "
         "what_we_make_it_accepts what_it_makes_we_accept metadata_comes_back "
         "what_is_wrong_is_refused copies every_block")

# For a guest script.
SCRIPT = r"""
PI=0000:00:09.0
bind $PI vfio-pci
through pi. vm-pi $PI %s
""" % CASES

# The programs, behind that. QEMU stores data and metadata one after the other: two requests at a time
# for one block, one of them a write, make it fail its checks. So writes go one by one.
PROGRAMS = r"""
says() { text=$1; shift; "$@" >/tmp/said && grep -qE -- "$text" /tmp/said || { cat /tmp/said; false; }; }
pi_hello() { for n in 2 3 4 6 8 9; do bh-hello "$PI?ns=$n" || return 1; done; }
t pi.bh_hello pi_hello
t pi.bh_hello_says_what_it_lacks refused "metadata apart from its data" bh-hello "$PI?ns=5"
t pi.bh_identify says "16 bytes, interleaved; protection information type 2, last, 16-bit" bh-identify "$PI?ns=4"
t pi.bh_identify_foreign says "64-bit guard; not served" bh-identify "$PI?ns=11"
t pi.bh_identify_json says '"protection_type":3,"protection_first":true' bh-identify --json "$PI?ns=5"
t pi.bh_perf_reads bh-perf -t 0.5 -q 8 "$PI?ns=9"
t pi.bh_perf bh-perf -t 0.5 -q 1 -w randrw --verify --write-data "$PI?ns=5"
t pi.bh_perf_driver bh-perf -t 0.5 -q 1 -w randrw --verify --write-data --pi driver "$PI?ns=4"
t pi.bh_perf_off bh-perf -t 0.5 -q 8 --pi off "$PI?ns=3"
t pi.bh_perf_refused refused "cannot be read or written" bh-perf -t 1 "$PI?ns=11"
"""

# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2046,SC2086,SC2317
#
# What Identify and the effects log advertise, walked byte by byte: whatever is not zero belongs to a
# field of the tables below, and each bit or value has a check, which is a test of its own. A bit that
# nobody has written a check for fails, by its name. Used after nvme.sh.
#
# A table's rows are NAME OFFSET BYTES KIND: `bits` are shown bit by bit (check_NAME_BIT), a `value`
# as a whole (check_NAME VALUE), and so is `text`, whose value the check finds for itself. Checks
# find the controller in $CTRL, its name in sysfs in $SYS, the namespace in $NS, its id in $NSID, and
# its directory of sysfs in $BLOCK.

controller_fields() {
	cat <<-END
		vid 0 2 value
		ssvid 2 2 value
		sn 4 20 text
		mn 24 40 text
		fr 64 8 text
		cmic 76 1 bits
		mdts 77 1 value
		cntlid 78 2 value
		ver 80 4 value
		rtd3r 84 4 value
		rtd3e 88 4 value
		oaes 92 4 bits
		ctratt 96 4 bits
		cntrltype 111 1 value
		nvmsr 253 1 bits
		oacs 256 2 bits
		acl 258 1 value
		aerl 259 1 value
		frmw 260 1 bits
		lpa 261 1 bits
		elpe 262 1 value
		npss 263 1 value
		apsta 265 1 bits
		wctemp 266 2 value
		cctemp 268 2 value
		edstt 316 2 value
		kas 320 2 value
		sanicap 328 4 bits
		sqes 512 1 value
		cqes 513 1 value
		nn 516 4 value
		oncs 520 2 bits
		fuses 522 2 bits
		fna 524 1 bits
		vwc 525 1 bits
		acwu 532 2 value
		cdfs 534 2 bits
		sgls 536 4 bits
		mnan 540 4 value
		subnqn 768 256 text
	END
}

namespace_fields() {
	cat <<-END
		nsze 0 8 value
		ncap 8 8 value
		nuse 16 8 value
		nsfeat 24 1 bits
		nlbaf 25 1 value
		flbas 26 1 value
		mc 27 1 bits
		dpc 28 1 bits
		dps 29 1 value
		nmic 30 1 bits
		rescap 31 1 bits
		fpi 32 1 bits
		dlfeat 33 1 bits
		noiob 46 2 value
		npwg 64 2 value
		npwa 66 2 value
		npdg 68 2 value
		npda 70 2 value
		nows 72 2 value
		mssrl 74 2 value
		mcl 76 4 value
		msrc 80 1 value
		nsattr 99 1 bits
		nguid 104 16 text
		lbaf0 128 4 value
		lbaf1 132 4 value
		lbaf2 136 4 value
		lbaf3 140 4 value
		lbaf4 144 4 value
		lbaf5 148 4 value
		lbaf6 152 4 value
		lbaf7 156 4 value
	END
}

# Data of 4 KiB on stdin, a table in $1: a line per thing advertised, "NAME VALUE", "NAME_BIT -", or
# "unknown OFFSET".
advertised() {
	od -An -v -tu1 -w1 | awk -v table="$1" '
		{ byte[NR - 1] = $1 + 0 }
		END {
			while ((getline row < table) > 0) {
				split(row, f, " ")
				value = some = 0
				for (i = f[3] - 1; i >= 0; i--) {
					at = f[2] + i
					value = value * 256 + byte[at]
					some += byte[at]
					known[at] = 1
				}
				if (some && f[4] == "bits")
					for (bit = 0; value; bit++) {
						if (value % 2)
							print f[1] "_" bit, "-"
						value = int(value / 2)
					}
				else if (some)
					print f[1], f[4] == "text" ? "-" : sprintf("%.0f", value)
			}
			for (at = 0; at < NR; at++)
				if (byte[at] && !known[at])
					print "unknown", at
		}'
}

# What nothing in a Linux guest can be had to use, and the unit tests in test/unit/target_nvme that
# show it. SGLS bit 16: bit buckets (test_walk.c, sgl_segments_chain); bits 17 and 19: metadata beside
# SGLs (test_meta.c, metadata_by_an_sgl, and ft_format). VWC bits 1 and 2: Flush of all
# namespaces at once, since the kernel passes on no command for other namespaces than the disk's
# (test_late_io.c, test_queue.c). CTRATT bit 6: any command keeps a host alive (test_alive.c). FUSES
# bit 0 and ACWU: the kernel passes on no fused commands (test_fused.c, ft_fused).
elsewhere='sgls_16 sgls_17 sgls_19 vwc_1 vwc_2 ctratt_6 fuses_0 acwu'

no_check() {
	echo "$1 is advertised, and there is no check for it"
	return 1
}

# show PREFIX FILE: a test for each line that advertised() has written there.
show() {
	while read -r what value <&3; do
		if [ "$what" = unknown ]; then
			t $1.byte_$value no_check "byte $value"
		elif echo " $elsewhere " | grep -q " $what "; then
			continue
		elif type check_$what >/dev/null 2>&1; then
			t $1.$what check_$what $value
		else
			t $1.$what no_check $what
		fi
	done 3<$2
}

# A file system's or sysfs's words, without spaces.
word() {
	tr -d ' \n' <"$1"
}

is() {
	[ "$1" = "$2" ] || { echo "it is $1, not $2"; return 1; }
}

# reg NAME: a register as show-regs has it.
reg() {
	nvme show-regs $CTRL | sed -n "s/^$1 *: *//p"
}

# Bits LOW to HIGH of VALUE.
part() {
	echo $((($1 >> $2) & ((1 << ($3 - $2 + 1)) - 1)))
}

raw_field() {
	nvme id-ctrl -b $CTRL | dd bs=1 skip=$1 count=$2 2>/dev/null | tr -d ' \0'
}

# ---- Identify Controller ----

check_vid() { is $1 $(($(cat $SYS/device/vendor))); }
check_ssvid() { is $1 $(($(cat $SYS/device/subsystem_vendor))); }
check_sn() { is "$(raw_field 4 20)" "$(word $SYS/serial)"; }
check_mn() { is "$(raw_field 24 40)" "$(word $SYS/model)"; }
check_fr() {
	is "$(raw_field 64 8)" "$(word $SYS/firmware_rev)" &&
		says "frs1.*$(word $SYS/firmware_rev)" nvme fw-log $CTRL
}
check_cntlid() { is $1 $(word $SYS/cntlid); }
check_ver() { is $1 $((0x$(reg version | sed 's/^0x//'))); }
check_cntrltype() { is $1 1 && is $(word $SYS/cntrltype) io; }
check_nvmsr_0() { [ -b $NS ]; }
check_subnqn() { is "$(raw_field 768 256)" "$(word $SYS/subsysnqn)"; }

# Keep Alive is answered; the timeout is off. Linux's driver is not to be told of one: over PCIe it
# has no request to send Keep Alive with, and resets the controller instead, again and again.
check_kas() {
	is $1 1 && nvme admin-passthru $CTRL --opcode=0x18 &&
		says 'value: *(0x)?0*$' nvme get-feature $CTRL -f 15
}

# As much as is allowed goes, and the kernel, which would split more, knows the limit.
check_mdts() {
	bytes=$((4096 << $1))
	is $(cat $BLOCK/queue/max_hw_sectors_kb) $((bytes / 1024)) &&
		nvme read $NS -s 0 -c $((bytes / 512 - 1)) -z $bytes -d /tmp/mdts &&
		is $(wc -c </tmp/mdts) $bytes
}

# A shutdown by the driver's leaving; when it comes back the controller is there within RTD3R.
check_rtd3r() {
	at=$(bdf $SERIAL)
	echo $at >/sys/bus/pci/drivers/nvme/unbind && echo $at >/sys/bus/pci/drivers/nvme/bind &&
		until_true $(($1 * 2 / 1000000)) up $SERIAL && advertising $SERIAL $NSID
}
# The kernel waited for that shutdown as long as RTD3E says, and complains when it is not enough.
check_rtd3e() { [ $1 -gt 0 ] && ! dmesg | grep -i 'shutdown incomplete'; }

# Namespace Attribute Notices: enabled by the driver itself, and kept. What they bring about is seen in
# machine hot.
check_oaes_8() { says '0x0*[0-9a-f]*[1-9a-f]?[13579bdf]..$' nvme get-feature $CTRL -f 11; }

# Doorbell Buffer Config without buffers is refused for its fields: the command is there. That it
# makes doorbells rare is another test.
check_oacs_8() { refused 'Invalid Field' nvme admin-passthru $CTRL --opcode=0x7c; }

# test_log CONTROLLER BYTES: the first bytes of the self-test log.
test_log() {
	nvme get-log $1 --log-id=6 --log-len=564 -b >/tmp/selftest &&
		od -An -v -tu1 -w1 -N $2 /tmp/selftest | tr -d ' ' | tr '\n' ' '
}
test_is_over() { is "$(test_log $1 1)" '0 '; }
# A self-test of the controller alone, which is over at once; of namespaces is another test.
check_oacs_4() { nvme device-self-test $CTRL -n 0 -s 1 && until_true 5 test_is_over $CTRL; }
check_edstt() { [ $1 -ge 1 ] && says "^edstt *: $1$" nvme id-ctrl $CTRL; }
check_oacs_1() { nvme format $NS --force --lbaf=0; }
check_fna_3() {
	refused 'Invalid Field' nvme admin-passthru $CTRL --opcode=0x80 --namespace-id=0xffffffff
}

# first_block FORMAT: its first four bytes, as od shows them.
first_block() {
	nvme read $NS -s 0 -c 0 -z $((1 << BLOCK_SHIFT)) -d /tmp/block0 >/dev/null &&
		od -An -N4 $1 /tmp/block0 | tr -d ' '
}
sanitize_status() {
	is "$(nvme sanitize-log $CTRL -b | od -An -tx2 -j2 -N2 | tr -d ' ')" $1
}
# sanitize STATUS OPTION...: all of the subsystem, over when the log says STATUS
sanitize() {
	status=$1
	shift
	nvme sanitize $CTRL "$@" && until_true 20 sanitize_status $status && until_true 5 first_block -tx4
}
check_sanicap_1() {
	head -c $((1 << BLOCK_SHIFT)) /dev/urandom >/tmp/user &&
		nvme write $NS -s 0 -c 0 -z $((1 << BLOCK_SHIFT)) -d /tmp/user &&
		sanitize 0001 --sanact=2 && is "$(first_block -tx4)" 00000000
}
# Two passes, of which the second has the complement.
check_sanicap_2() {
	sanitize 0011 --sanact=3 --owpass=2 --oipbp --no-dealloc --ovrpat=0x5a5aa5a5 &&
		is "$(first_block -tx4)" a5a55a5a
}
# Bits 31:30 are one number, 01b: what is not deallocated is as the command left it.
check_sanicap_30() { [ $(($(nvme id-ctrl $CTRL | sed -n 's/^sanicap *: *//p') >> 30)) = 1 ]; }

# Aborts of what is not there end with bit 0 of their result set.
check_acl() {
	[ $1 -ge 3 ] && says 'result: *0x0*1$' nvme admin-passthru $CTRL --opcode=8 --cdw10=0x10001
}

# The driver has one event request outstanding: as many more as AERL says are kept, one more than
# that is refused. A reset ends those that wait.
check_aerl() {
	n=0 waiting=''
	while [ $n -lt $1 ]; do
		nvme admin-passthru $CTRL --opcode=0x0c --timeout=20000 >/dev/null 2>&1 &
		n=$((n + 1)) waiting="$waiting $!"
	done
	sleep 1
	kill -0 $waiting &&
		refused 'Asynchronous Event Request Limit|AERL|0x105' \
			nvme admin-passthru $CTRL --opcode=0x0c --timeout=20000
	status=$?
	nvme reset $CTRL && wait
	return $status
}

# One slot, which is read only: there is no command to change it.
check_frmw_0() { refused 'Invalid Command Opcode' nvme admin-passthru $CTRL --opcode=0x10; }
check_frmw_1() { ! nvme fw-log $CTRL | grep frs2; }

check_lpa_1() { nvme get-log $CTRL --log-id=5 --log-len=4096 -b >/dev/null; }
# Extended data: lengths above 4 KiB are expressed, and offsets are obeyed.
check_lpa_2() {
	nvme get-log $CTRL --log-id=5 --log-len=4096 -b >/tmp/all &&
		nvme get-log $CTRL --log-id=5 --log-len=512 --lpo=1024 -b >/tmp/some &&
		dd if=/tmp/all bs=512 skip=2 count=1 2>/dev/null | cmp - /tmp/some
}
# Telemetry: a header of its log, and after Create there are blocks.
check_lpa_3() {
	nvme get-log $CTRL --log-id=7 --log-len=512 --lsp=1 -b >/tmp/telemetry.header &&
		[ $(od -An -tu2 -j 12 -N 2 /tmp/telemetry.header) -gt 2 ]
}
check_lpa_5() { says 'LID 0x0|Supported' nvme supported-log-pages $CTRL; }
check_elpe() {
	is $(nvme get-log $CTRL --log-id=1 --log-len=$((64 * ($1 + 1))) -b | wc -c) \
		$((64 * ($1 + 1)))
}

default_of() { nvme get-feature $CTRL -f $1 -s 1 | sed -n 's/.*value: *\(0x\)*//p' | head -n 1; }
check_wctemp() { is $1 $((0x$(default_of 4))); }
check_cctemp() {
	warning=$(nvme id-ctrl $CTRL | sed -n 's/^wctemp *: *//p')
	[ $1 -gt $warning ] && says 'critical_warning.*: 0$' nvme smart-log $CTRL
}

# Sizes of entries: what the driver has chosen lies within them.
check_sqes() { is $1 102 && is $(part $(($(reg cc))) 16 19) 6; }
check_cqes() { is $1 68 && is $(part $(($(reg cc))) 20 23) 4; }

# The last namespace id is one, though nothing is there; the next is none.
check_nn() {
	nvme id-ns $CTRL -n $1 --force >/dev/null 2>&1 ||
		nvme admin-passthru $CTRL --opcode=6 -n $1 --data-len=4096 -r -b >/dev/null &&
		refused 'Invalid Namespace' \
			nvme admin-passthru $CTRL --opcode=6 -n $(($1 + 1)) --data-len=4096 -r
}
check_mnan() {
	[ $1 -le $(nvme id-ctrl $CTRL | sed -n 's/^nn *: *//p') ] &&
		[ $(nvme list-ns $CTRL | wc -l) -le $1 ]
}

at_start() { printf "%s" "-s 0 -c 7 -z 4096"; }
saved() { nvme read $NS -s 0 -c 0 -z 512 -d /tmp/block0; }
check_oncs_0() { saved && nvme compare $NS -s 0 -c 0 -z 512 -d /tmp/block0; }
check_oncs_1() {
	nvme write-uncor $NS -s 9 -c 0 && refused 'Unrecovered Read Error' nvme verify $NS -s 8 -c 7 &&
		nvme write-zeroes $NS -s 9 -c 0 && nvme verify $NS -s 8 -c 7
}
check_oncs_7() { nvme verify $NS -s 0 -c 7; }
# Ranges of format 0 are taken, others refused.
check_oncs_8() { saved && nvme copy $NS --sdlba=16 --slbs=0 --blocks=0 && nvme compare $NS -s 16 -c 0 -z 512 -d /tmp/block0; }
check_cdfs_0() { check_oncs_8 && ! nvme copy $NS --sdlba=16 --slbs=0 --blocks=0 --format=1; }
check_oncs_2() { nvme dsm $NS -d -s 8 -b 8; }
check_oncs_3() {
	nvme write-zeroes $NS -s 8 -c 7 && nvme read $NS -s 8 -c 7 -z 4096 -d /tmp/zeroed &&
		head -c 4096 /dev/zero | cmp - /tmp/zeroed
}
# Save and Select: what can be done with a feature is told, and saving refused where it cannot be.
check_oncs_4() {
	says 'value' nvme get-feature $CTRL -f 4 -s 3 &&
		refused 'not Saveable|Not Saveable' nvme set-feature $CTRL -f 4 -V 343 --save
}
check_oncs_6() {
	printf '\0\0\0\0\1\0\0\0' >/tmp/time
	nvme set-feature $CTRL -f 14 -l 8 -d /tmp/time && nvme get-feature $CTRL -f 14 -l 8 -b >/tmp/now
	# 2 ^ 32 ms, and no more than a minute on top; set by Set Features.
	is "$(od -An -tu1 -j 3 -N 4 /tmp/now | tr -s ' ')" ' 0 1 0 2'
}
check_vwc_0() { says 'write back' cat $BLOCK/queue/write_cache && nvme flush $NS; }

# SGLs of any alignment, which the driver uses for what is long.
check_sgls_0() { dd if=$NS of=/dev/null bs=1M count=2 iflag=direct; }

# ---- Identify Namespace ----

check_nsze() { is $(($1 << BLOCK_SHIFT)) $(($(cat $BLOCK/size) * 512)); }
check_ncap() { check_nsze $1; }
check_nuse() { check_nsze $1; }
# Formats, on the first namespace that is looked at: each is put on it, and the first one back at last.
formats_here() { [ $SERIAL.$NSID = first.1 ]; }
format_is() {
	nvme format $NS --force "$@" >/dev/null && nvme id-ns $NS >/tmp/formatted
}
check_nlbaf() { [ $1 -lt 16 ]; }
check_fpi_7() { says 'fpi *: 0x80' nvme id-ns $NS; }
check_flbas() { is $(nvme id-ns -b $NS | od -An -tu1 -j $((130 + 4 * $1)) -N 1) $BLOCK_SHIFT; }
check_lbaf() {
	formats_here || return 0
	format_is --lbaf=$1 && grep -q "lbaf *$1 : ms:$(part $2 0 15) *lbads:$(part $2 16 23) .*in use" \
		/tmp/formatted && format_is --lbaf=0
}
check_lbaf0() { check_lbaf 0 $1; }
check_lbaf1() { check_lbaf 1 $1; }
check_lbaf2() { check_lbaf 2 $1; }
check_lbaf3() { check_lbaf 3 $1; }
check_lbaf4() { check_lbaf 4 $1; }
check_lbaf5() { check_lbaf 5 $1; }
check_lbaf6() { check_lbaf 6 $1; }
check_lbaf7() { check_lbaf 7 $1; }
check_md() { # WHAT OPTION...
	what=$1
	shift
	formats_here || return 0
	format_is --lbaf=2 "$@" && grep -q "$what" /tmp/formatted && format_is --lbaf=0
}
check_mc_0() { check_md 'flbas *: 0x12' --ms=1; }
check_mc_1() { check_md 'flbas *: 0x2$' --ms=0; }
check_dpc_0() { check_md 'dps *: 0x1' --pi=1; }
check_dpc_1() { check_md 'dps *: 0x2' --pi=2; }
check_dpc_2() { check_md 'dps *: 0x3' --pi=3; }
check_dpc_3() { check_md 'dps *: 0x9' --pi=1 --pil=1; }
check_dpc_4() { check_md 'dps *: 0x1' --pi=1 --pil=0; }
# As much as is allowed is copied, and no more.
copies() { nvme copy $NS --sdlba=$2 --slbs=0 --blocks=$(($1 - 1)); }
check_mssrl() { copies $1 $1 && refused 'Command Size Limit Exceeded|Size Limit' copies $(($1 + 1)) $1; }
check_mcl() {
	nvme copy $NS --sdlba=$1 --slbs=0,1 --blocks=$(($1 / 2 - 1)),$(($1 / 2 - 1)) &&
		refused 'Command Size Limit Exceeded|Size Limit' \
			nvme copy $NS --sdlba=$1 --slbs=0,1 --blocks=$(($1 / 2 - 1)),$(($1 / 2))
}
check_msrc() { is $1 255; }
deallocated() {
	rm -f /tmp/gone
	nvme write $NS -s 0 -c 0 -z $((1 << BLOCK_SHIFT)) -d /tmp/ones &&
		"$@" && nvme read $NS -s 0 -c 0 -z $((1 << BLOCK_SHIFT)) -d /tmp/gone &&
		head -c $((1 << BLOCK_SHIFT)) /dev/zero | cmp - /tmp/gone
}
# Blocks that were deallocated read as zeros, also by Write Zeroes with its bit.
check_dlfeat_0() { deallocated nvme dsm $NS -d -s 0 -b 1; }
check_dlfeat_3() { deallocated nvme write-zeroes $NS -s 0 -c 0 -d; }
check_nguid() {
	is "$(nvme id-ns -b $NS | od -An -v -tx1 -j 104 -N 16 | tr -d ' \n')" \
		"$(tr -d '\n-' <$BLOCK/nguid)"
}

# ---- the effects log: a command for which no test is named has none ----

ADMIN_TESTED='0 1 2 4 5 6 8 9 10 12 20 24 124 128 132'
IO_TESTED='0 1 2 4 5 8 9 12 25'
only_tested() {
	nvme get-log $CTRL --log-id=5 --log-len=4096 -b | od -An -v -tu4 -w4 |
		awk -v admin=" $ADMIN_TESTED " -v io=" $IO_TESTED " '
		{ opcode = (NR - 1) % 256; set = NR <= 256 ? "admin" : NR <= 512 ? "I/O" : "" }
		$1 % 2 && !index(set == "admin" ? admin : io, " " opcode " ") {
			print set " command " opcode " is advertised, and there is no test for it"
			bad = 1
		}
		$1 % 2 { n++ }
		END { exit bad || n < 21 }'
}

# ---- the walk ----

# advertising SERIAL [NSID]: which controller and namespace checks are about.
advertising() {
	SERIAL=$1 NSID=${2:-1}
	CTRL=/dev/$(ctrl $SERIAL) NS=$(disk $SERIAL $NSID)
	SYS=/sys/class/nvme/${CTRL##*/} BLOCK=/sys/block/${NS##*/}
	BLOCK_SHIFT=9
	[ "$(cat $BLOCK/queue/logical_block_size)" = 512 ] || BLOCK_SHIFT=12
	head -c $((1 << BLOCK_SHIFT)) /dev/zero | tr '\0' '\377' >/tmp/ones
}

echo none - >/tmp/shown

# A controller that says what nobody has a check for: CMIC bit 1, and a byte of no field.
finds_news() {
	{ head -c 76 /dev/zero; printf '\2'; head -c 2923 /dev/zero; printf '\1'; } >/tmp/news
	controller_fields >/tmp/controller.fields
	advertised /tmp/controller.fields </tmp/news >/tmp/found
	is "$(tr '\n' ' ' </tmp/found)" 'cmic_1 - unknown 3000 ' && ! type check_cmic_1
}

# walk SERIAL [NSID...]: what was shown of one controller is not shown again of the next.
walk() {
	serial=$1
	controller_fields >/tmp/controller.fields
	namespace_fields >/tmp/namespace.fields
	advertising $serial
	nvme id-ctrl -b $CTRL | advertised /tmp/controller.fields >/tmp/advertised
	awk 'NR == FNR { shown[$0]; next } !($0 in shown)' /tmp/shown /tmp/advertised >/tmp/new
	cat /tmp/advertised >>/tmp/shown
	show identify.$serial /tmp/new
	t identify.$serial.effects only_tested
	shift
	for nsid in "$@"; do
		advertising $serial $nsid
		nvme id-ns -b $NS | advertised /tmp/namespace.fields >/tmp/advertised
		show identify.$serial.$nsid /tmp/advertised
	done
}

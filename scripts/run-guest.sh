#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# run-guest.sh: a QEMU guest with emulated NVMe controllers, served by a bh-tgt that runs already or
# by one that lives as long as the guest. doc/guests.md has the story; --help the options.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
name=${0##*/}

usage() {
	cat <<EOF
usage: $name [OPTION...] [-- QEMU-OPTION...]

Starts a QEMU guest with emulated NVMe controllers on vfio-user sockets.

Controllers, in the order in which the guest sees them; at least one:
  -s, --socket PATH   a controller that a running bh-tgt serves on this socket
  -S, --store STORE   a controller of its own on this store (ram:4G, file:PATH:SIZE, null:1T),
                      served by a bh-tgt that is started for this guest and ends with it
      --spec SPEC     the same with all of bh-tgt's options: nvme:SOCKET,ns=STORE[,KEY=VALUE...],
                      or store:NAME=STORE for several controllers to share
What the guest runs:
  -d, --disk IMAGE    boot this disk image (qcow2 or raw)
      --snapshot      leave the image as it is: what is written to it is forgotten at the end
  -k, --kernel FILE   boot this kernel, with
      --initrd FILE   this initramfs and
      --append TEXT   these words on its command line (default: console=ttyS0)
      --boot          boot from the first controller
The machine:
  -m, --memory SIZE   its memory, all of which the target can reach (default: 2G)
  -c, --cpus N        its processors (default: 2)
      --hugepages     take the memory from the pool of hugepages (see setup.sh)
      --root-port     put each controller behind a PCI Express root port of its own
      --iommu         give the guest an IOMMU
      --accel A       kvm, tcg (emulation), or default: kvm if it is there
      --window        do not take the terminal for the guest's serial console
The programs:
      --qemu PROGRAM  QEMU 10.1 or later (default: qemu-system-x86_64)
      --bh-tgt PROGRAM  for --store and --spec (default: this tree's, or the one in PATH)
      --dry-run       print QEMU's command line, and start nothing
  -h, --help          this text
What follows -- goes to QEMU as it is. Ctrl-A X ends the guest.

examples:
  $name --store ram:1G --disk debian.qcow2 --snapshot
  $name --store file:/srv/data.img:20G -d debian.qcow2 -- -nic user,hostfwd=tcp::2222-:22
  bh-tgt nvme:/tmp/nvme0.sock,ns=ram:4G & $name -s /tmp/nvme0.sock -d debian.qcow2
  $name --store file:/srv/root.img --boot
  $name --spec nvme:/tmp/n.sock,ns=ram:1G,doorbells=trapped -k vmlinuz --initrd initrd.gz
EOF
}

fail() {
	echo "$name: $*" >&2
	exit 1
}

wrong() {
	echo "$name: $*" >&2
	echo "$name: --help tells more" >&2
	exit 2
}

# ---- options ----

sockets=() specs=() qemu_options=()
disk='' kernel='' initrd='' append='' snapshot='' boot=''
memory=2G cpus=2 hugepages='' root_port='' iommu='' accel='' window='' dry_run=''
qemu=qemu-system-x86_64 bh_tgt=''
tmp='' target='' guest=''

# A private directory for the sockets of --store, when the first one is asked for.
private() {
	[ -n "$tmp" ] || tmp=$(mktemp -d "${TMPDIR:-/tmp}/bh-guest.XXXXXX")
}

# The socket of a SPEC: what lies between nvme: and the first comma that no backslash quotes.
socket_of() {
	local text=${1#nvme:} out='' char
	while [ -n "$text" ]; do
		char=${text:0:1} text=${text:1}
		case $char in
		,) break ;;
		\\)
			case ${text:0:1} in
			[\\,:?]) char=${text:0:1} text=${text:1} ;;
			esac
			;;
		esac
		out+=$char
	done
	printf '%s\n' "$out"
}

add_store() {
	private
	specs+=("nvme:$tmp/nvme${#sockets[@]}.sock,ns=$1")
	sockets+=("$tmp/nvme${#sockets[@]}.sock")
}

add_spec() {
	case $1 in
	nvme:*) sockets+=("$(socket_of "$1")") ;;
	store:* | subsys:*) ;;
	*) wrong "--spec $1: expected nvme:SOCKET,ns=STORE..." ;;
	esac
	specs+=("$1")
}

parse() {
	local option
	while [ $# -gt 0 ]; do
		option=$1
		shift
		case $option in
		--snapshot) snapshot=yes && continue ;;
		--boot) boot=yes && continue ;;
		--hugepages) hugepages=yes && continue ;;
		--root-port) root_port=yes && continue ;;
		--iommu) iommu=yes && continue ;;
		--window) window=yes && continue ;;
		--dry-run) dry_run=yes && continue ;;
		-h | --help)
			usage
			exit 0
			;;
		--)
			qemu_options=("$@")
			return
			;;
		--*=*)
			set -- "${option#*=}" "$@"
			option=${option%%=*}
			;;
		esac
		case $option in
		-s | --socket | -S | --store | --spec | -d | --disk | -k | --kernel | --initrd | --append | \
			-m | --memory | -c | --cpus | --accel | --qemu | --bh-tgt)
			[ $# -gt 0 ] || wrong "$option: a value is missing"
			;;
		*) wrong "$option: unknown option (QEMU's own come after --)" ;;
		esac
		case $option in
		-s | --socket) sockets+=("$1") ;;
		-S | --store) add_store "$1" ;;
		--spec) add_spec "$1" ;;
		-d | --disk) disk=$1 ;;
		-k | --kernel) kernel=$1 ;;
		--initrd) initrd=$1 ;;
		--append) append=$1 ;;
		-m | --memory) memory=$1 ;;
		-c | --cpus) cpus=$1 ;;
		--accel) accel=$1 ;;
		--qemu) qemu=$1 ;;
		--bh-tgt) bh_tgt=$1 ;;
		esac
		shift
	done
}

# ---- checks: what is missing is said before anything is started ----

check_options() {
	local file
	[ ${#sockets[@]} -gt 0 ] || wrong "no controller: give --socket, --store or --spec"
	[ -n "$disk$kernel$boot" ] || wrong "nothing to run: give --disk, --kernel or --boot"
	[ -z "$initrd$append" ] || [ -n "$kernel" ] || wrong "--initrd and --append go with --kernel"
	[ -z "$boot" ] || [ -z "$kernel$disk" ] || wrong "--boot does not go with --kernel or --disk"
	[ -z "$snapshot" ] || [ -n "$disk" ] || wrong "--snapshot goes with --disk"
	case $memory in
	*[!0-9MGT]* | '' | [MGT]* | *[MGT]?*) wrong "--memory $memory: expected a size such as 2G" ;;
	*[0-9]) wrong "--memory $memory: expected a size such as 2G (or ${memory}M)" ;;
	esac
	case $cpus in '' | 0* | *[!0-9]*) wrong "--cpus $cpus: expected a number" ;; esac
	case $accel in '' | kvm | tcg) ;; *) wrong "--accel $accel: expected kvm or tcg" ;; esac
	for file in "$disk" "$kernel" "$initrd"; do
		[ -z "$file" ] || [ -r "$file" ] || fail "$file: no such file, or not readable"
	done
}

# QEMU 10.1 brought the client; a distribution may have left the device out.
check_qemu() {
	local found version major minor
	found=$(command -v "$qemu") || fail "$qemu: not found. Install QEMU 10.1 or later\
 (Debian 13: apt install -t trixie-backports qemu-system-x86), or name one with --qemu"
	version=$("$found" --version 2>/dev/null | sed -n '1s/.*version \([0-9]*\.[0-9]*\).*/\1/p')
	[ -n "$version" ] || fail "$found: does not say its version; is it QEMU?"
	major=${version%%.*} minor=${version#*.}
	if [ "$major" -lt 10 ] || { [ "$major" -eq 10 ] && [ "$minor" -lt 1 ]; }; then
		fail "$found is QEMU $version, which has no vfio-user-pci: that came with 10.1.\
 Debian 13 has a newer one in trixie-backports; name it with --qemu"
	fi
	# Not a pipe: QEMU would be told of a closed one.
	case $("$found" -device help 2>/dev/null) in
	*'"vfio-user-pci"'*) ;;
	*) fail "$found (QEMU $version) was built without vfio-user-pci" ;;
	esac
	qemu=$found
}

check_sockets() {
	local path
	for path in "${sockets[@]}"; do
		[ ${#path} -le 107 ] || fail "$path: too long for a socket (at most 107 characters)"
		[ -S "$path" ] || fail "$path: no socket there; is bh-tgt running?"
		{ [ -r "$path" ] && [ -w "$path" ]; } ||
			fail "$path: no permission; run as the user that runs bh-tgt, or as root"
	done
}

find_target() {
	[ -z "$bh_tgt" ] || return 0
	bh_tgt=$here/build/bin/bh-tgt
	[ -x "$bh_tgt" ] || bh_tgt=$(command -v bh-tgt) ||
		fail "no bh-tgt: run make in $here, or name one with --bh-tgt"
}

# ---- the target of our own ----

stop_target() {
	[ -n "$target" ] || return 0
	kill -TERM "$target" 2>/dev/null || :
	for _ in $(seq 100); do
		kill -0 "$target" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL "$target" 2>/dev/null || :
	wait "$target" 2>/dev/null || :
	target=
}

clean_up() {
	trap '' INT TERM HUP
	if [ -n "$guest" ]; then
		kill -TERM "$guest" 2>/dev/null || :
		wait "$guest" 2>/dev/null || :
	fi
	stop_target
	[ -z "$tmp" ] || rm -rf "$tmp"
}

start_target() {
	local said
	private
	: >"$tmp/ready"
	"$bh_tgt" "${specs[@]}" >"$tmp/ready" &
	target=$!
	for _ in $(seq 300); do
		read -r said <"$tmp/ready" || said=''
		[ "$said" != "bh-tgt: ready" ] || return 0
		kill -0 "$target" 2>/dev/null || fail "bh-tgt did not start (its reason is above)"
		sleep 0.1
	done
	fail "bh-tgt was not ready after 30 s"
}

# ---- QEMU's command line ----

json_text() {
	printf '%s' "$1" | sed 's/[\\"]/\\&/g'
}

# A comma in the value of a QEMU option is written twice.
comma() {
	printf '%s' "${1//,/,,}"
}

controller_options() {
	local i more port
	for ((i = 0; i < ${#sockets[@]}; i++)); do
		more=''
		if [ -n "$root_port" ]; then
			port="\"id\":\"nvme$i-port\",\"chassis\":$((i + 1)),\"slot\":$((i + 1))"
			command+=(-device "{\"driver\":\"pcie-root-port\",$port}")
			more=",\"bus\":\"nvme$i-port\""
		fi
		[ -z "$boot" ] || [ "$i" -gt 0 ] || more+=',"bootindex":0'
		command+=(-device "{\"driver\":\"vfio-user-pci\",\"id\":\"nvme$i\",\"socket\":{\"type\":\"unix\",\
\"path\":\"$(json_text "${sockets[i]}")\"}$more}")
	done
}

# QEMU would guess, and keep a raw image's first block from being written.
format_of() {
	case $(head -c 4 "$1" | od -An -tx1) in
	*"51 46 49 fb"*) echo qcow2 ;;
	*) echo raw ;;
	esac
}

# The target reaches the guest's memory through a descriptor, so it has to be shared.
build_command() {
	local backend="memory-backend-memfd,id=ram,size=$memory,share=on" machine=q35,memory-backend=ram
	[ -z "$hugepages" ] || backend+=,hugetlb=on
	[ -z "$iommu" ] || machine+=,kernel-irqchip=split
	command=("$qemu" -machine "$machine" -object "$backend" -m "$memory" -smp "$cpus" -cpu max)
	if [ -n "$accel" ]; then
		command+=(-accel "$accel")
	else
		command+=(-accel kvm -accel tcg)
	fi
	[ -z "$iommu" ] || command+=(-device "intel-iommu,intremap=on,caching-mode=on")
	[ -n "$window" ] || command+=(-nographic)
	if [ -n "$disk" ]; then
		command+=(-drive "if=virtio,format=$(format_of "$disk"),file=$(comma "$disk")\
${snapshot:+,snapshot=on}")
	fi
	if [ -n "$kernel" ]; then
		command+=(-kernel "$kernel" -append "${append:-console=ttyS0}")
		[ -z "$initrd" ] || command+=(-initrd "$initrd")
	fi
	controller_options
	command+=("${qemu_options[@]}")
}

# As a shell would have to be given it.
show_command() {
	local word
	for word in "${command[@]}"; do
		case $word in
		'' | *[!a-zA-Z0-9_.,:=@%/+-]*) word=${word@Q} ;;
		esac
		printf '%s ' "$word"
	done
	echo
}

main() {
	local status=0
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	parse "$@"
	check_options
	check_qemu
	[ ${#specs[@]} -eq 0 ] || find_target
	build_command
	if [ -n "$dry_run" ]; then
		show_command
		return 0
	fi
	[ ${#specs[@]} -eq 0 ] || start_target
	check_sockets
	# Not in the foreground, where the shell would hear of no signal before QEMU ends.
	"${command[@]}" <&0 &
	guest=$!
	wait "$guest" || status=$?
	guest=
	return $status
}

main "$@"

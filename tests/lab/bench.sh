# SPDX-License-Identifier: Apache-2.0
# On level 1: our machine and QEMU's beside each other, on the same KVM, disks
# and clock: from start to the login prompt, and 4 KiB requests at random
# places of a disk. A cold read is one that level 1's page cache does not have;
# writes end with a flush.
# tests/lab/bench starts it.
. /files/lib.sh
sheet=/results/figures # one line a figure: what, value
size=2147483648
depths="1 16 64 256"
mhz=$(sed -n 's/^cpu MHz.*: //p' /proc/cpuinfo | head -n 1)
kernel_words="root=UUID=76d5b9a2-0a53-4c0b-9a56-2f6f6c3f0003 ro console=ttyS0"
kernel_words="$kernel_words systemd.show_status=0"

figure() {
	echo "== $(at) $1: $2"
	echo "$1	$2" >>$sheet
}

since() { awk -v from="$1" '{ printf "%.1f", $1 - from }' /proc/uptime; }

# So that what is done the first time only does not count: emulated, all code
# is translated then.
requests() { if [ "$1" = 1 ]; then echo 3000; else echo 40000; fi; }

# The second disk begins with the tool.
fetch_tool() {
	on_guest "head -c $(stat -c %s /files/tool) /dev/vdb >/tmp/tool
		chmod +x /tmp/tool" || fail "the tool does not get there"
}

chill() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

guest_rate() { # DEVICE OP DEPTH
	on_guest "/tmp/tool rate $1 $2 $(requests "$3") $3 0 $size"
}

# Our machine with as little of a guest as can be.
tiny_rate() { # FILE OP DEPTH
	vmsnap run tiny --kernel /files/rate.elf --memory 64M --net none \
		--foreground --in-place --disk "$1" --append "$2 deep$3" \
		</dev/null >/tmp/tiny || fail "the tiny guest: $(cat /tmp/tiny)"
	vmsnap rm -q tiny
	sed -n 's/^ticks \([0-9]*\).*/\1/p' /tmp/tiny |
		awk -v mhz="$mhz" -v n="$(requests "$3")" \
			'{ printf "%.0f", n / ($1 / mhz / 1e6) }'
}

bare_rate() { # KIND FILE OP DEPTH
	image_bench ops "$1" "$2" "$3" "$(requests "$4")" "$4" 0 $size sync |
		sed 's/.*"seconds": \([0-9.]*\).*/\1/' |
		awk -v n="$(requests "$4")" '{ printf "%.0f", n / $1 }'
}

rates() { # WHAT DEPTH COMMAND...
	local what=$1 depth=$2 op
	shift 2
	chill
	figure "$what, cold read, depth $depth" "$("$@" read "$depth")"
	for op in read write; do
		sync
		figure "$what, $op, depth $depth" "$("$@" $op "$depth")"
	done
}

# The guest's own kernel alone: requests that end before a device sees them.
no_device_rates() {
	local depth
	on_guest 'modprobe null_blk gb=2 irqmode=0' || fail "null_blk"
	for depth in $depths; do
		figure "guest without a device, read, depth $depth" \
			"$(guest_rate /dev/nullb0 read "$depth")"
	done
}

# Written once, so that nothing is a hole.
vmsnap image create /lab/disk.vsi --size $size || exit 1
truncate -s $size /lab/disk.raw
for kind in "image /lab/disk.vsi" "raw /lab/disk.raw"; do
	image_bench ops $kind write $((size / 4096)) 64 4096 $size >/dev/null
done
truncate -s 1M /tmp/tool.raw
dd if=/files/tool of=/tmp/tool.raw conv=notrunc 2>/dev/null
sync

for depth in $depths; do
	rates "image API" "$depth" bare_rate image /lab/disk.vsi
	rates "tiny guest, image" "$depth" tiny_rate /lab/disk.vsi
	rates "raw file" "$depth" bare_rate raw /lab/disk.raw
	rates "tiny guest, raw file" "$depth" tiny_rate /lab/disk.raw
done

# ---- a whole guest: in our machine, and in QEMU's with what makes it fast ----
log() {
	case $1 in
	qemu) echo /tmp/qemu.log ;;
	*) echo "$VMSNAP_HOME/machines/$1/console.log" ;;
	esac
}
is_in() { # MACHINE STATE
	case $1 in
	qemu) [ -d "/proc/$qemu" ] ;;
	*) vmsnap ps | grep -q "^$1 *$2 " ;;
	esac
}
type_at() {
	case $machine in
	# Its end does not come right behind what is typed: QEMU drops both then.
	qemu) { cat; sleep 5; } | timeout 5 nc 127.0.0.1 4444 ;;
	*) timeout 5 vmsnap console "$machine" ;;
	esac >/dev/null 2>&1
}
start_ours() {
	vmsnap run ours --kernel /files/vmlinuz --initrd /files/guest-initrd \
		--append "$kernel_words" --memory 512M --in-place --disk /dev/vda \
		--disk /tmp/tool.raw --disk /lab/disk.vsi --disk /lab/disk.raw ||
		exit 1
}
disk() {
	echo "-drive file=$1,if=none,id=$2,format=raw,cache=writeback,aio=io_uring
		-device virtio-blk-pci,drive=$2,iothread=io"
}
start_qemu() { # with the devices that ours has, but for vsock
	: >/tmp/qemu.log
	qemu-system-x86_64 -L /usr/share/seabios -L /usr/share/qemu -accel kvm \
		-cpu host -M q35 -m 512 -nodefaults -display none -no-reboot \
		-chardev socket,id=con,host=127.0.0.1,port=4444,server=on,wait=off,logfile=/tmp/qemu.log \
		-serial chardev:con -object iothread,id=io \
		-device virtio-rng-pci -device virtio-balloon-pci \
		-device virtio-serial-pci -chardev null,id=null \
		-device virtconsole,chardev=null \
		-chardev socket,id=ga,path=/tmp/qemu-ga,server=on,wait=off \
		-device virtserialport,chardev=ga,name=org.qemu.guest_agent.0 \
		-kernel /files/vmlinuz \
		-initrd /files/guest-initrd -append "$kernel_words" \
		$(disk /dev/vda a) $(disk /tmp/tool.raw b) \
		$(disk /lab/disk.raw c) >/tmp/qemu.out 2>&1 &
	qemu=$!
}
boot() { # MACHINE
	cat /dev/vda >/dev/null
	machine=$1
	seen=0
	begun=$(at)
	"start_$machine"
	prompted
}
kill_ours() {
	vmsnap stop -q --force ours
	vmsnap rm -q ours
}
kill_qemu() {
	kill -9 "$qemu"
	wait "$qemu"
}

# The first time, code is translated that the other one then finds.
for machine in ours qemu; do
	boot $machine
	"kill_$machine"
done

boot ours
figure "ours, start to login prompt, s" "$(since "$begun")"
logged_in
fetch_tool
for depth in $depths; do
	rates "ours, image" "$depth" guest_rate /dev/vdc
	rates "ours, raw file" "$depth" guest_rate /dev/vdd
done
no_device_rates
kill_ours

boot qemu
figure "QEMU, start to login prompt, s" "$(since "$begun")"
logged_in
on_guest "dmesg --level=emerg,alert,crit,err,warn" >/results/qemu-complaints
fetch_tool
for depth in $depths; do
	rates "QEMU, raw file" "$depth" guest_rate /dev/vdc
done
kill_qemu
:

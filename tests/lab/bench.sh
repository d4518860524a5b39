# SPDX-License-Identifier: Apache-2.0
# On level 1: our machine and QEMU's beside each other, on the same KVM, disks
# and clock: from start to the login prompt, and 4 KiB requests at random
# places of a disk. A cold read is one that level 1's page cache does not have.
# tests/lab/bench starts it.
. /files/lib.sh
machine=ours
sheet=/results/figures # one line a figure: what, value
size=268435456
count=3000
mhz=$(sed -n 's/^cpu MHz.*: //p' /proc/cpuinfo | head -n 1)
kernel_words="root=UUID=76d5b9a2-0a53-4c0b-9a56-2f6f6c3f0003 ro console=ttyS0"
kernel_words="$kernel_words systemd.show_status=0"

figure() {
	echo "== $(at) $1: $2"
	echo "$1	$2" >>$sheet
}

since() { awk -v from="$1" '{ printf "%.1f", $1 - from }' /proc/uptime; }

# The second disk begins with the tool.
fetch_tool() {
	on_guest "head -c $(stat -c %s /files/tool) /dev/vdb >/tmp/tool
		chmod +x /tmp/tool" || fail "the tool does not get there"
}

chill() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

warm_up() { cat /dev/vda >/dev/null; }

guest_rates() { # WHAT DEVICE
	local depth op
	for depth in 1 16 64; do
		chill
		figure "$1, cold read, depth $depth" "$(on_guest \
			"/tmp/tool rate $2 read $count $depth 0 $size")"
		for op in read write; do
			figure "$1, $op, depth $depth" "$(on_guest \
				"/tmp/tool rate $2 $op $count $depth 0 $size")"
		done
	done
}

# The guest's own kernel alone: requests that end before a device sees them.
no_device_rates() {
	local depth
	on_guest 'modprobe null_blk gb=1 irqmode=0' || fail "null_blk"
	for depth in 1 16 64; do
		figure "guest without a device, read, depth $depth" "$(on_guest \
			"/tmp/tool rate /dev/nullb0 read $count $depth 0 $size")"
	done
}

# Our machine with as little of a guest as can be.
tiny_rate() { # FILE OP DEPTH
	vmsnap run tiny --kernel /files/rate.elf --memory 64M --net none \
		--foreground --in-place --disk "$1" --append "$2 deep$3" \
		</dev/null >/tmp/tiny || fail "the tiny guest: $(cat /tmp/tiny)"
	vmsnap rm -q tiny
	sed -n 's/^ticks \([0-9]*\).*/\1/p' /tmp/tiny |
		awk -v mhz="$mhz" '{ printf "%.0f", 3000 / ($1 / mhz / 1e6) }'
}

tiny_rates() { # WHAT FILE
	local depth op
	for depth in 1 16 64; do
		chill
		figure "$1, cold read, depth $depth" \
			"$(tiny_rate "$2" read $depth)"
		for op in read write; do
			figure "$1, $op, depth $depth" \
				"$(tiny_rate "$2" $op $depth)"
		done
	done
}

bare_rate() { # KIND FILE OP DEPTH
	image_bench ops "$1" "$2" "$3" "$count" "$4" 0 $size |
		sed 's/.*"seconds": \([0-9.]*\).*/\1/' |
		awk -v n="$count" '{ printf "%.0f", n / $1 }'
}

bare_rates() { # WHAT KIND FILE
	local depth op
	for depth in 1 16 64; do
		chill
		figure "$1, cold read, depth $depth" \
			"$(bare_rate "$2" "$3" read $depth)"
		for op in read write; do
			figure "$1, $op, depth $depth" \
				"$(bare_rate "$2" "$3" $op $depth)"
		done
	done
}

# Written once, so that nothing is a hole; then it is in the page cache of all.
vmsnap image create /lab/disk.vsi --size $size || exit 1
image_bench ops image /lab/disk.vsi write $((size / 4096)) 64 4096 $size >/dev/null
dd if=/dev/urandom of=/lab/disk.raw bs=1M count=$((size >> 20)) 2>/dev/null
truncate -s 1M /tmp/tool.raw
dd if=/files/tool of=/tmp/tool.raw conv=notrunc 2>/dev/null
sync

bare_rates "image API" image /lab/disk.vsi
bare_rates "raw file" raw /lab/disk.raw
tiny_rates "tiny guest, image" /lab/disk.vsi
tiny_rates "tiny guest, raw file" /lab/disk.raw

# ---- ours ----
warm_up
begun=$(at)
vmsnap run $machine --kernel /files/vmlinuz --initrd /files/guest-initrd \
	--append "$kernel_words" --memory 512M --in-place --disk /dev/vda \
	--disk /tmp/tool.raw --disk /lab/disk.vsi --disk /lab/disk.raw || exit 1
seen=0
prompted
figure "ours, start to login prompt, s" "$(since "$begun")"
logged_in
fetch_tool
guest_rates "ours, image" /dev/vdc
guest_rates "ours, raw file" /dev/vdd
no_device_rates
typed 'poweroff -f'
until is_in $machine stopped; do sleep 0.3; done

# ---- QEMU's, with what makes it fast ----
log() { echo /tmp/qemu.log; }
is_in() { [ -d "/proc/$qemu" ]; }
type_at() { timeout 5 nc 127.0.0.1 4444 >/dev/null 2>&1; }
disk() {
	echo "-drive file=$1,if=none,id=$2,format=raw,cache=writeback,aio=io_uring
		-device virtio-blk-pci,drive=$2,iothread=io"
}
warm_up
begun=$(at)
: >/tmp/qemu.log
qemu-system-x86_64 -L /usr/share/seabios -L /usr/share/qemu -accel kvm \
	-cpu host -M q35 -m 512 -nodefaults -display none -no-reboot \
	-chardev socket,id=con,host=127.0.0.1,port=4444,server=on,wait=off,logfile=/tmp/qemu.log \
	-serial chardev:con -object iothread,id=io -device virtio-rng-pci \
	-kernel /files/vmlinuz -initrd /files/guest-initrd \
	-append "$kernel_words" $(disk /dev/vda a) $(disk /tmp/tool.raw b) \
	$(disk /lab/disk.raw c) >/tmp/qemu.out 2>&1 &
qemu=$!
seen=0
prompted
figure "QEMU, start to login prompt, s" "$(since "$begun")"
logged_in
on_guest "dmesg --level=emerg,alert,crit,err,warn" >/results/qemu-complaints
fetch_tool
guest_rates "QEMU, raw file" /dev/vdc
typed 'poweroff -f'
wait $qemu

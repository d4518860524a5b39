# SPDX-License-Identifier: Apache-2.0
# The demo's machines, on this host's KVM: from the disk that was backed up, where
# a stock kernel gets up here, else tiny guests over that disk. Sourced by
# tests/demo, which has step, timed, shows and until_true.

can_kvm() { [ -e /dev/kvm ] && { : <>/dev/kvm; } 2>/dev/null; }

# A KVM without the processor's help interprets what a kernel does.
can_boot() { can_kvm && grep -qwE 'vmx|svm' /proc/cpuinfo; }

# What the demo's disk must have for a machine to boot from it.
machine_packages() {
	! can_boot || echo linux-image-cloud-amd64,systemd-sysv
}

close_machine() {
	[ ! -d "$VMSNAP_HOME" ] || {
		"$vmsnap" rm -q --force --all
		"$vmsnap" keeper stop -q --force
	} || :
}

console_of() { echo "$VMSNAP_HOME/machines/$1/console.log"; }
guest_is_up() { grep -q '^up' "$(console_of tiny)"; }
guest_has_ended() { "$vmsnap" ps | grep -q '^writer .*stopped'; }
debian_is_up() { grep -aq 'login: *$' "$(console_of debian)"; }

# A slow host gets three minutes.
debian_comes_up() {
	local minute
	for minute in 1 2 3; do
		! until_true debian_is_up 2>/dev/null || return 0
	done
	echo "It is not up after $minute minutes. The last of its console:"
	tail -c 300 "$(console_of debian)"
}

debian_demo() {
	echo "The machine boots the kernel in its disk's own /boot. Its disk is the"
	echo "snapshot: nothing of it is copied, it is read as the guest asks for it."
	step "run, from the backup" run debian --from demo@after --memory 512M
	timed "until its login prompt" debian_comes_up
	shows ps
	"$vmsnap" ps
	if debian_is_up; then
		tail -n 3 "$(console_of debian)"
		step "stop, by its power button" stop debian
	fi
	"$vmsnap" rm --force debian
}

tiny_demo() {
	echo "A guest of a few KiB writes to the disk that was backed up, and reads it"
	echo "back. What it writes goes to a layer of its own; the rest comes from the"
	echo "store, through the keeper, which alone has the keys."
	step "run, over the backup's disk" run writer --from demo@after \
		--kernel "$build/tests/kvm/virtio.elf" --memory 64M
	timed "what it does with the disk" until_true guest_has_ended
	grep -a disk "$(console_of writer)"
	shows keeper status
	"$vmsnap" keeper status
	shows image info writer/disk0.vsi
	"$vmsnap" image info "$VMSNAP_HOME/machines/writer/disk0.vsi"
	"$vmsnap" rm writer
	echo "Another one sleeps, and answers:"
	step "run, until the guest's first instruction" \
		run tiny --kernel "$build/tests/kvm/echo.elf" --memory 16M
	timed "its first words" until_true guest_is_up
	step "pause" pause tiny
	step "resume" resume tiny
	shows ps
	"$vmsnap" ps
	step "stop, by its power button" stop tiny
	"$vmsnap" rm tiny
}

machine_demo() {
	if ! can_kvm; then
		echo "Not shown: this host has no /dev/kvm, or no right to it."
		return 0
	fi
	if can_boot; then
		debian_demo
	else
		echo "This host's processor gives its KVM neither VT-x nor AMD-V, so a guest's"
		echo "kernel is interpreted and a stock one does not get up: tiny guests show"
		echo "it. make lab starts Debian, from its own disk, on an emulated host."
	fi
	tiny_demo
}

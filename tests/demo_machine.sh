# SPDX-License-Identifier: Apache-2.0
# The demo's machine: a tiny guest on this host's KVM, from run to rm. Sourced by
# tests/demo, which has step, timed, shows and until_true.

can_kvm() { [ -e /dev/kvm ] && { : <>/dev/kvm; } 2>/dev/null; }

close_machine() {
	[ ! -d "$VMSNAP_HOME" ] || "$vmsnap" rm -q --force --all || :
}

guest_is_up() { grep -q '^up' "$VMSNAP_HOME/machines/tiny/console.log"; }

machine_demo() {
	if ! can_kvm; then
		echo "Not shown: this host has no /dev/kvm, or no right to it."
		return 0
	fi
	echo "The guest is a kernel of a few KiB that sleeps and answers. A host whose"
	echo "KVM runs in KVM may not get a stock kernel up: make lab starts Debian,"
	echo "from its own disk, on an emulated host."
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

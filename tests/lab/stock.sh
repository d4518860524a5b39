# SPDX-License-Identifier: Apache-2.0
# On level 1: what a stock Debian must be able to do in a machine of ours. Its
# disk is /dev/vda, as the installer would have left it. CPUS: of the guest.
. /files/lib.sh
machine=debian
cpus=${CPUS:-1}

# What the kernel complains of, but for what level 1's own processor, QEMU's,
# brings about; a guest of QEMU's KVM beside ours has these two, too: a guest's
# XSETBV is not told to KVM, so its size of XSAVE is out of date; and an
# emulated TSC goes as fast as this machine lets it.
complaints() {
	on_guest "dmesg --level=emerg,alert,crit,err,warn" |
		sed '/-\[ cut here \]-/{ N; /XSAVE consistency/,/-\[ end trace/{
			:more; /-\[ end trace/d; N; b more } }' |
		grep -v -e 'clocksource' -e 'CPUID\[0d, ..\]: eax' -e 'Unstable clock' \
			-e 'want to keep using the local clock' \
			-e 'trace_clock=local' -e 'on the kernel command line' \
			-e 'CONFIG_IMA_DISABLE_HTABLE'
}

# Packages' way of writing: many small files, each one flushed.
files() {
	on_guest '
set -e
mkdir -p /tmp/p/DEBIAN /tmp/p/opt/lab
printf "Package: lab\nVersion: 1\nArchitecture: all\nMaintainer: lab\nDescription: lab\n" >/tmp/p/DEBIAN/control
for i in $(seq 200); do head -c $((i * 97)) /dev/urandom >/tmp/p/opt/lab/$i; done
dpkg-deb --build /tmp/p /root/lab.deb
dpkg -i /root/lab.deb
(cd /tmp/p && find opt -type f | sort | xargs sha256sum) >/root/sums
cd / && sha256sum --quiet -c /root/sums' >/results/dpkg ||
		fail "dpkg: $(cat /results/dpkg)"
	say "a package of 200 files installed"
}

reboots() {
	typed reboot
	appears 'login: $'
	logged_in
	on_guest 'cd / && sha256sum --quiet -c /root/sums && dpkg -V lab' ||
		fail "after a reboot its files are others"
	say "rebooted; the files are what they were"
}

say "stock Debian, from its own disk, $cpus CPUs"
vmsnap run $machine --disk /dev/vda --in-place --memory 512M --cpus "$cpus" \
	--append systemd.show_status=0 || exit 1
seen=0
appears 'login: $'
say "login prompt"
logged_in
say "logged in at its console"
[ "$(on_guest nproc)" = "$cpus" ] || fail "it does not have $cpus CPUs"

complaints >/results/complaints
[ ! -s /results/complaints ] || {
	cat /results/complaints
	fail "its kernel complains"
}
mkdir -p /results/acpi
for table in APIC DSDT FACP MCFG; do
	on_guest "base64 /sys/firmware/acpi/tables/$table" | base64 -d \
		>/results/acpi/$table.dat || fail "its ACPI table $table"
done
say "its kernel complains of nothing"

[ -n "${SHORT-}" ] || {
	files
	reboots
}

typed poweroff
until is_in $machine stopped; do
	is_in $machine running || break
	sleep 0.3
done
is_in $machine stopped || fail "poweroff: it did not"
vmsnap ps | grep 'the guest powered off' || fail "poweroff: not its own doing"
say "powered off"
cp "$(log $machine)" /results/

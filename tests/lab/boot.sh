# SPDX-License-Identifier: Apache-2.0
# On level 1: stock Debian from its own disk, from `run` to the login prompt, and
# off again by its power button. What the guest said comes to /results.
set -u
export VMSNAP_HOME=/run/vmsnap
log=$VMSNAP_HOME/machines/debian/console.log
limit=${LIMIT:-900}

fail() {
	echo "FAILED: $*"
	tail -5 "$log"
	vmsnap ps
	cp "$log" "$VMSNAP_HOME/machines/debian/agent.log" /results/
	exit 1
}

vmsnap run debian --disk /dev/vda --in-place --memory 512M \
	--append 'systemd.show_status=0' || exit 1
i=0
until grep -q 'login: $' "$log"; do
	i=$((i + 1))
	[ $i -lt "$limit" ] || fail "no login prompt"
	vmsnap ps | grep -q ' running ' || fail "it does not run"
	sleep 1
done
echo "login prompt, $(cut -d' ' -f1 /proc/uptime) s after this host's start"
vmsnap ps
vmsnap stop debian --timeout "$limit" || fail "its power button does nothing"
vmsnap ps | grep 'stopped .*the guest powered off' || fail "it did not power off"
cp "$log" /results/
# What the guest's kernel complains of. Level 1's processor is QEMU's, which
# does not tell KVM of a guest's XSETBV: its size of XSAVE is out of date.
grep -a -E 'WARNING:|BUG:|Oops|soft lockup|ACPI (Error|Warning|BIOS)' "$log" |
	grep -v fpu__init_system_xstate >/results/complaints &&
	{ cat /results/complaints; fail "the guest's kernel complains"; }
exit 0

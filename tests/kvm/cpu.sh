#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --cpu FILE: a guest has what is listed and nothing else; what this host lacks
# is named; a list of the host's own, and what two lists have in common.
. "$TOP/tests/kvm/lib.sh"

export VMSNAP_HOME=$TMP/home
expect() {
	local want=$1 code=0
	shift
	"$@" >out 2>err </dev/null || code=$?
	[ "$code" = "$want" ] || fail "$* ended with $code: $(cat err)"
}

agent --print-cpu >host
grep -qx 'version 1' host || fail "no version: $(head -3 host)"
grep -q '^cpuid 00000001.0 edx 26 # SSE2$' host || fail "no SSE2"
! grep -Eq 'VMX|SVM' host || fail "what is nested"
agent --print-cpu --cpu ./host | diff host - || fail "not the same"

# What two hosts have in common, in whatever order.
guest cpu --memory 16M
cp out full
grep -v 'edx 19$\|signature\|^msr 0000010a 5\|40000001.0 eax 12$' host | sort >less
echo 'cpuid 00000001.0 edx 26 # SSE2' >>less
sort host | comm -12 - <(sort -u less) >common
guest cpu --memory 16M --cpu ./common
says 'brand: 6e736d76'
value() { sed -n "s/^$2: .*/&/p" "$1" | tr ' ' '\n' | sed -n "$3p"; }
# word LIST LEAF REGISTER: as the list has it.
word() {
	local sum=0 bit
	for bit in $(sed -n "s/^cpuid $2.0 $3 \([0-9]*\).*/\1/p" "$1"); do
		sum=$((sum | 1 << bit))
	done
	echo $sum
}
# A nested KVM that runs ring 3 itself shows some leaves of its own processor:
# then only what it does not is looked at. Hypervisor and OSXSAVE are not listed.
if [ $(((0x$(value full 1 3) & ~(1 << 31)))) = "$(word host 00000001 ecx)" ]; then
	[ $((0x$(value out 1 4) & ~(1 << 28))) = "$(word common 00000001 edx)" ] ||
		fail "EDX is $(value out 1 4)"
	[ "$(value full 1 3)" = "$(value out 1 3)" ] || fail "ECX has changed"
	[ "$(value out 1 2)" != "$(value full 1 2)" ] || fail "its signature is told"
fi
[ $((0x$(value out kvm 2))) = "$(word common 40000001 eax)" ] ||
	fail "KVM's features are $(value out kvm 2)"
if grep -q '^capabilities' full; then
	[ $((0x$(value full capabilities 2) & ~(1 << 5))) = \
		$((0x$(value out capabilities 2))) ] || fail "the MSR: $(cat out)"
fi
# A machine of it is found again by its path.
expect 0 "$BUILD/vmsnap" run web --kernel "$BUILD/tests/kvm/cpu.elf" \
	--memory 16M --foreground --cpu common
says 'brand: 6e736d76'
[ "$(jq -r .cpu home/machines/web/machine.json)" = "$TMP/common" ] ||
	fail "described otherwise"
rm common
expect 4 "$BUILD/vmsnap" run web --foreground

# What is not there: named, before anything starts.
{
	cat host
	echo 'cpuid 00000001.0 ecx 5'
	echo 'cpuid 00000007.0 ecx 30'
} >more
expect 6 agent --print-cpu --cpu ./more
errs 'no guest'
sed 's/^vendor .*/vendor SomebodyElse/' host >other
expect 6 agent --print-cpu --cpu ./other
errs 'SomebodyElse'
sed 's/^version 1/version 2/' host >newer
expect 6 agent --print-cpu --cpu ./newer
echo 'cpuid 00000099.0 ecx 5' >>host
expect 2 agent --print-cpu --cpu ./host
errs 'line [0-9]*: no word of CPUID'
expect 2 agent --print-cpu --cpu x86-64-v9
errs 'no CPU is called'
expect 2 "$BUILD/vmsnap" run db --kernel "$BUILD/tests/kvm/cpu.elf" \
	--cpu x86-64-v9

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A throw-away disk: the guest writes and reads it back, and neither the raw
# file nor the image beneath has changed. It has no name once it runs, goes with
# the agent however that ends, and two machines stand on one file at once.
. "$TOP/tests/kvm/lib.sh"

export VMSNAP_HOME=$TMP/home TMPDIR=$TMP/layers
mkdir "$TMPDIR" home
vmsnap() { timeout --kill-after=10 120 "$BUILD/vmsnap" "$@" >out 2>err; }
expect() {
	local want=$1 code=0
	shift
	vmsnap "${@:2}" || code=$?
	[ "$code" = "$want" ] || fail "$* ended with $code: $(cat err)"
}
trap '"$BUILD/vmsnap" rm --force --all >/dev/null 2>&1 || true' EXIT

is_left() { find "$TMPDIR" home -mindepth 1 -name "temporary*" -o -path "$TMPDIR/*"; }
nothing_left() { [ -z "$(is_left)" ] || fail "left behind: $(is_left)"; }

head -c 8M /dev/urandom >disk.raw
cp disk.raw before.raw
chmod 400 disk.raw
guest virtio --memory 64M --disk-temporary disk.raw
says 'disk of 16384 sectors'
says 'it keeps what is written'
cmp disk.raw before.raw
nothing_left

"$BUILD/vmsnap" image create disk.vsi --size 8M >out
# What the guest reads is the image's, by a helper of the layer above it.
# nbdkit can't load a plugin with sanitizers.
if ! grep -q -a -e __asan_init -e __tsan_init "$BUILD/vmsnap"; then
	nbdkit -U - -f "$BUILD/nbdkit-vmsnap-plugin.so" image=disk.vsi \
		writable=true --run 'nbdcopy before.raw "$uri"'
	guest virtio --memory 64M --disk-temporary disk.vsi
	says 'it keeps what is written'
fi
# Its files are as they were: they are sparse, and too long to be summed.
look() { stat -c "%n %s %b %y" disk.vsi*; }
look >before

# Who writes in place has it alone; readers have it together.
echo=$BUILD/tests/kvm/echo.elf
expect 0 vmsnap run one --kernel "$echo" --memory 4M --disk disk.raw
expect 0 vmsnap run two --kernel "$echo" --memory 4M --disk disk.raw \
	--disk disk.vsi
nothing_left
expect 5 vmsnap run three --kernel "$echo" --memory 4M --disk disk.raw --in-place
expect 5 vmsnap run three --kernel "$echo" --memory 4M --in-place --disk disk.vsi
[ "$(jq -c '.disks | map([.temporary, .format])' home/machines/two/machine.json)" = \
	'[[true,"raw"],[true,"image"]]' ] || fail "it is described otherwise"

# Killed, and its disk is as before; the layer went with it.
kill -9 "$(cat home/machines/one/agent.pid)"
for name in one two; do expect 0 vmsnap rm --force $name; done
expect 0 vmsnap run three --kernel "$echo" --memory 4M --disk disk.raw --in-place
expect 5 vmsnap run four --kernel "$echo" --memory 4M --disk disk.raw
grep -q 'a machine writes to it' err || fail "$(cat err)"
expect 0 vmsnap rm --force three

# --in-place is said of one disk, or in front of all.
truncate -s 1M a.raw b.raw
expect 0 vmsnap run mixed --kernel "$echo" --memory 4M --disk a.raw \
	--disk b.raw --in-place
[ "$(jq -c '.disks | map(.temporary)' home/machines/mixed/machine.json)" = \
	'[true,false]' ] || fail "--in-place is of the wrong one"
expect 0 vmsnap rm --force mixed
cmp disk.raw before.raw
look | diff before - || fail "the image was written to"

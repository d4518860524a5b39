#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A bzImage's 64-bit entry: it finds the zero page, its command line and initrd,
# is in long mode, and powers off by what the board has for that.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/kvm/lib_bzimage.sh"

make_bzimage bzImage
printf 'the initrd' >initrd
agent --kernel bzImage --initrd initrd --append 'one two' --memory 64M \
	>out 2>err </dev/null || fail "$(cat out err)"
says 'one two the initrd'

# Cut off: refused with words.
head -c 1600 bzImage >cut
agent --kernel cut >out 2>err </dev/null && fail "a kernel cut off was started"
errs 'cut off'

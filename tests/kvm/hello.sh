#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A guest's first instructions: what it was told is what we told it.
. "$TOP/tests/kvm/lib.sh"

printf 'an initrd' >initrd
guest hello --append 'one two=3' --initrd initrd --memory 64M
says 'hello, magic 0x336ec578 version 1'
says 'command line: one two=3'
says 'map 0x0 0x9f000 1'
says 'map 0x9f000 0x61000 2'
says 'map 0x100000 0x3f00000 1'
# The same sum as the guest's.
sum=$(python3 -c '
s = 0
for b in b"an initrd":
    s = (s * 31 + b) % 2**64
print("%x" % s)')
says "module of 9 bytes, sum 0x$sum"
says 'cpu 0 of 1'
says 'ring 3 says 43'
says 'port 0xffffffff, memory 0xffffffff'
says 'string 0x3fc0'

# RAM past the hole for devices; more processors.
guest hello --memory 5G --cpus 3
says 'map 0x100000 0xbff00000 1'
says 'map 0x100000000 0x80000000 1'
says 'cpu 0 of 3'

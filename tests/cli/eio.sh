#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A source with unreadable places: it stops and names one; or skips and lists them.
# No device mapper needed: a preloaded pread() fails on one range of one file.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

sanitized && skip "a sanitizer wants to be loaded first"
cat >bad.c <<'EOF'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
ssize_t pread64(int fd, void *buffer, size_t size, off64_t at)
{
	static ssize_t (*next)(int, void *, size_t, off64_t);
	struct stat st;
	if (!next)
		next = (ssize_t(*)(int, void *, size_t, off64_t))dlsym(
			RTLD_NEXT, "pread64");
	if (fstat(fd, &st) == 0 && st.st_ino == strtoull(getenv("BAD_INODE"), 0, 10) &&
	    at < 1052672 && at + (off64_t)size > 1048576) {
		errno = EIO;
		return -1;
	}
	return next(fd, buffer, size, at);
}
ssize_t pread(int fd, void *buffer, size_t size, off_t at)
{
	return pread64(fd, buffer, size, at);
}
EOF
"${CC:-cc}" -shared -fPIC -o bad.so bad.c -ldl || skip "no C compiler"
disk d.raw 4194304 5
python3 -c 'import os; f = os.open("d.raw", os.O_WRONLY); os.pwrite(f, os.urandom(65536), 1048576)'
BAD_INODE=$(stat -c %i d.raw)
bad=(env LD_PRELOAD="$TMP/bad.so" VMSNAP_IO=plain BAD_INODE="$BAD_INODE" "$VMSNAP")
vmsnap init -q
expect 1 "${bad[@]}" backup vm d.raw
errs "d.raw.*(1048576|10[0-9]{5})"
expect 4 vmsnap show vm
expect 8 "${bad[@]}" backup vm d.raw --skip-bad-blocks --json
holds "d['disks'][0]['bad_ranges'] == [{'offset_bytes': 1048576, 'length_bytes': 4096}]"
errs 'disk0: 4096 bytes at 1048576 could not be read'
expect 0 vmsnap restore vm got.raw
python3 - <<'EOF'
want, got = open("d.raw", "rb").read(), open("got.raw", "rb").read()
at = 1048576
assert got == want[:at] + bytes(4096) + want[at + 4096:]
EOF
expect 0 vmsnap show vm
says 'bad +4096 bytes at 1048576'
# Readable again: the next snapshot has it all.
expect 0 vmsnap backup --json vm d.raw
holds "d['disks'][0]['bad_ranges'] == []"
expect 0 vmsnap restore vm got.raw --force
same d.raw got.raw

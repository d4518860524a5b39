#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two restores to one target: the second is refused, and touches nothing.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q --plaintext 2>/dev/null
unset VMSNAP_PASSPHRASE
disk a.raw 300000 1
disk b.raw 200000 2
vmsnap backup -q a a.raw
vmsnap backup -q b b.raw

# hold FILE: locked as a restore locks what it writes, while `go` is there.
cat >hold.py <<'EOF'
import fcntl, os, struct, sys
file = open(sys.argv[1], "r+b")
F_OFD_SETLK = 37
fcntl.fcntl(file, F_OFD_SETLK,
            struct.pack("hh4xqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
print("held", flush=True)
sys.stdin.read()
EOF
for target in out.raw.vmsnap-partial out.raw; do
	cp a.raw $target
	coproc python3 hold.py $target
	read -r held <&"${COPROC[0]}"
	[ "$held" = held ]
	for how in --force --delta; do
		# A file of that name that somebody only reads may be replaced.
		[ "$target $how" != "out.raw --force" ] || continue
		expect 5 vmsnap restore b out.raw $how
		errs "$target' is in use"
		same a.raw $target
	done
	exec {COPROC[1]}>&-
	wait "$COPROC_PID" || :
	expect 0 vmsnap restore b out.raw --delta
	same b.raw out.raw
	[ ! -e out.raw.vmsnap-partial ]
	rm out.raw
done

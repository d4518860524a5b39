#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A target that a restore or a machine writes to: refused, and not touched.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q --plaintext 2>/dev/null
unset VMSNAP_PASSPHRASE
disk a.raw 300000 1
disk b.raw 200000 2
vmsnap backup -q a a.raw
vmsnap backup -q b b.raw

# hold FILE LOCK: as a restore or a machine locks what it writes (F_WRLCK), and
# what it only reads (F_RDLCK), until its input ends.
cat >hold.py <<'EOF'
import fcntl, os, struct, sys
file = open(sys.argv[1], "r+b")
F_OFD_SETLK = 37
fcntl.fcntl(file, F_OFD_SETLK,
            struct.pack("hh4xqqi4x", getattr(fcntl, sys.argv[2]), os.SEEK_SET, 0, 0, 0))
print("held", flush=True)
sys.stdin.read()
EOF
for target in out.raw.vmsnap-partial out.raw; do
	cp a.raw $target
	coproc python3 hold.py $target F_WRLCK
	read -r held <&"${COPROC[0]}"
	[ "$held" = held ]
	for how in --force --delta; do
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

# A file that somebody only reads may be replaced.
cp a.raw out.raw
coproc python3 hold.py out.raw F_RDLCK
read -r held <&"${COPROC[0]}"
[ "$held" = held ]
expect 0 vmsnap restore b out.raw --force
same b.raw out.raw
exec {COPROC[1]}>&-
wait "$COPROC_PID" || :

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# NBD: copied out, compared, its map, several clients, damage, the ways to end.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

for tool in nbdkit nbdinfo nbdcopy qemu-img; do
	command -v $tool >/dev/null || skip "no $tool"
done
if sanitized; then skip "nbdkit can't load a plugin with sanitizers"; fi
vmsnap init -q
# 1 MiB of data, 2 MiB of nothing, 1 MiB, and an end that is no whole block.
truncate -s 4194404 a.raw
dd if=/dev/urandom of=a.raw bs=1M count=1 conv=notrunc status=none
dd if=/dev/urandom of=a.raw bs=1M count=1 seek=3 conv=notrunc status=none
disk b.raw 3000000 2
vmsnap backup -q web a.raw
vmsnap backup -q two a.raw b.raw

server=
stop() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || :
	[ -z "$server" ] || wait "$server" 2>/dev/null || :
	server=
}
trap stop EXIT
ready() { nbdinfo --size "$uri" >/dev/null 2>&1; }
serve() {
	"$VMSNAP" nbd "$@" --socket "$TMP/sock" >"$TMP/nbd-out" \
		2>"$TMP/nbd-err" &
	server=$!
	uri="nbd+unix:///?socket=$TMP/sock"
	until_true ready
}

serve web
[ "$(cat nbd-out)" = "serving $uri; Ctrl-C or SIGTERM ends it" ] ||
	fail "it said: $(cat nbd-out)"
[ "$(nbdinfo --size "$uri")" = 4194404 ] || fail "size"
nbdcopy "$uri" out.raw
same a.raw out.raw
nbdinfo --is read-only "$uri" || fail "not read-only"
nbdinfo --can multi-conn "$uri" || fail "no multi-conn"
nbdinfo --can cache "$uri" || fail "no cache"
nbdinfo --map "$uri" | awk '{print $1, $2, $3}' >map
printf '%s\n' "0 1048576 0" "1048576 2097152 3" "3145728 1048576 0" "4194304 100 3" >wanted
diff wanted map || fail "the map is wrong"
truncate -s 4194816 padded.raw
dd if=a.raw of=padded.raw conv=notrunc bs=1M status=none
qemu-img compare -f raw -F raw "$uri" padded.raw ||
	fail "qemu-img sees a difference"
# Several clients at once, each with several connections.
pids=
for n in 1 2 3 4; do
	nbdcopy --connections=4 --requests=16 "$uri" out.$n &
	pids+=" $!"
done
for pid in $pids; do wait "$pid"; done
for n in 1 2 3 4; do same a.raw out.$n; done
# The one snapshot that was meant, whatever comes after it.
poke a.raw 5 changed
vmsnap backup -q web a.raw
nbdcopy "$uri" again.raw
same out.raw again.raw
# Clients that ask for much and hang up.
python3 - "$TMP/sock" <<-'P'
	import socket, struct, sys
	for _ in range(20):
	    s = socket.socket(socket.AF_UNIX)
	    s.connect(sys.argv[1])
	    s.recv(18, socket.MSG_WAITALL)
	    s.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 0))
	    s.recv(10, socket.MSG_WAITALL)
	    for n in range(32):
	        s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, n,
	                              n % 4 << 20, 1 << 20))
	    if len(s.recv(16, socket.MSG_WAITALL)) != 16:
	        sys.exit("no answer")
	    s.close()
P
nbdcopy "$uri" again.raw || fail "the server has died: $(cat nbd-err)"
same out.raw again.raw
# Nobody takes its place, and nothing secret is to be seen.
expect 5 vmsnap nbd web --socket "$TMP/sock"
errs 'in use'
! tr '\0' '\n' <"/proc/$server/environ" | grep -q 'correct horse' || fail "environ"
! tr '\0' '\n' <"/proc/$server/cmdline" | grep -q 'correct horse' || fail "argv"
kill -9 "$server"
wait "$server" 2>/dev/null || :
[ -S sock ] || fail "no socket is left over, so the next is no test"
serve two --disk disk1
nbdcopy "$uri" out.raw
same b.raw out.raw
stop
[ ! -e sock ] || fail "it left its socket"
serve two --disk disk1 --json
python3 -c 'import json, sys
d = json.load(open("nbd-out"))
assert d == {"type": "nbd", "uri": sys.argv[1], "pid": int(sys.argv[2])}, d' \
	"$uri" "$server"
stop
serve two --disk disk1 -q
[ ! -s nbd-out ] || fail "-q, but it said: $(cat nbd-out)"
stop
# Where a file is that is no socket, it stays.
echo precious >file
expect 1 vmsnap nbd web --socket file
errs 'no socket'
[ "$(cat file)" = precious ] || fail "the file is gone"

# A damaged store: that range fails, the rest is there.
serve web@-1
for pack in $(find store/packs -type f -size +900k); do
	chmod 600 "$pack"
	poke "$pack" 500000 DAMAGE
done
! nbdcopy "$uri" out.raw 2>/dev/null || fail "damage was not noticed"
stop

expect 2 vmsnap nbd web
expect 2 vmsnap nbd web --socket x --port 1
expect 2 vmsnap nbd web --port 70000
expect 2 vmsnap nbd two --socket x
errs 'disk'
expect 4 vmsnap nbd two --disk nono --socket x
expect 4 vmsnap nbd nono --socket x
expect 4 vmsnap nbd web --socket nodir/x
errs "^vmsnap: nbd: --socket '.*nodir/x'"
expect 7 env VMSNAP_PASSPHRASE=wrong "$VMSNAP" nbd web --socket x

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A server that is told to end by a signal has done its work: exit status 0. But
# not where it could not write what it still had to, nor before it serves.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

for tool in nbdkit nbdinfo qemu-io; do
	command -v $tool >/dev/null || skip "no $tool"
done
if sanitized; then skip "nbdkit can't load a plugin with sanitizers"; fi
# nbdkit changes its directory.
cat >bad.c <<EOF
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
int fdatasync(int fd)
{
	if (access("$TMP/bad", F_OK) == 0) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}
EOF
"${CC:-cc}" -shared -fPIC -o bad.so bad.c || skip "no C compiler"

vmsnap init -q
disk a.raw 1048576 1
vmsnap backup -q web a.raw
vmsnap image create -q disk.vsi --from web
server=
trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null || :' EXIT
uri="nbd+unix:///?socket=$TMP/sock"
ready() { nbdinfo --size "$uri" >/dev/null 2>&1; }
# serve COMMAND...: in the background, where a shell has SIGINT ignored.
serve() {
	env --default-signal=INT,TERM "$@" --socket "$TMP/sock" >nbd-out 2>nbd-err &
	server=$!
	until_true ready
}
# ends SIGNAL STATUS
ends() {
	local status=0
	kill "-$1" "$server"
	wait "$server" || status=$?
	server=
	[ "$status" = "$2" ] || fail "status $status after SIG$1, not $2: $(cat nbd-err)"
}
for signal in INT TERM; do
	serve "$VMSNAP" nbd web
	ends $signal 0
	serve "$VMSNAP" nbd --image disk.vsi --writable
	qemu-io -f raw -c 'write -P 7 0 64k' "$uri" >/dev/null
	ends $signal 0
	[ ! -e sock ] || fail "the socket is left"
	[ ! -s nbd-err ] || fail "it said: $(cat nbd-err)"
done

# What could not be written out is no good end.
serve env LD_PRELOAD="$TMP/bad.so" "$VMSNAP" nbd --image disk.vsi --writable
qemu-io -f raw -c 'write -P 9 512k 64k' "$uri" >/dev/null
: >bad
ends TERM 1
grep -q 'Input/output error' nbd-err || fail "no word of it: $(cat nbd-err)"
[ ! -e sock ] || fail "the socket is left"

# Before it serves: as any other verb.
mkfifo answers
for signal in INT TERM; do
	rm -f asked
	env -u VMSNAP_PASSPHRASE --default-signal=INT,TERM \
		VMSNAP_PASSPHRASE_COMMAND="touch asked; exec cat answers" \
		"$VMSNAP" nbd web --socket "$TMP/sock" >nbd-out 2>nbd-err &
	server=$!
	until_true test -e asked
	ends $signal $((128 + $(kill -l $signal)))
	: >answers
done

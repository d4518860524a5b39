# SPDX-License-Identifier: Apache-2.0
# What the scripts of tests/cli and tests/root share. tests/run gives VMSNAP,
# BUILD, TOP and TMP (the working directory, removed afterwards).
set -euo pipefail
: "${VMSNAP:?}" "${TOP:?}" "${TMP:?}"
set -E
trap 'echo "${BASH_SOURCE[0]}:$LINENO: failed: $BASH_COMMAND" >&2' ERR

unset VMSNAP_PASSPHRASE_COMMAND VMSNAP_NEW_PASSPHRASE VMSNAP_IO VMSNAP_WORKERS
export VMSNAP_STORE=$TMP/store VMSNAP_PASSPHRASE="correct horse" HOME=$TMP
export TZ=UTC
cd "$TMP"

vmsnap() { "$VMSNAP" "$@"; }

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

skip() {
	echo "$*"
	exit 77
}

# expect STATUS COMMAND...: its output goes to $TMP/out and $TMP/err.
expect() {
	local wanted=$1 status=0
	shift
	"$@" >"$TMP/out" 2>"$TMP/err" || status=$?
	[ "$status" = "$wanted" ] || {
		cat "$TMP/out" "$TMP/err" >&2
		fail "exit status $status, not $wanted: $*"
	}
}

# The last expect said this (an extended regular expression) on stderr, stdout.
errs() {
	grep -Eq -e "$1" "$TMP/err" || {
		cat "$TMP/err" >&2
		fail "stderr has no '$1'"
	}
}
says() {
	grep -Eq -e "$1" "$TMP/out" || {
		cat "$TMP/out" >&2
		fail "stdout has no '$1'"
	}
}
silent() { [ ! -s "$TMP/$1" ] || { cat "$TMP/$1" >&2; fail "$1 is not empty"; }; }

same() { cmp "$1" "$2" || fail "$1 and $2 differ"; }

# disk FILE BYTES SEED: half of it random, a quarter text, a quarter zeros.
disk() {
	python3 - "$@" <<-'EOF'
	import random, sys
	path, size, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
	source = random.Random(seed)
	with open(path, "wb") as out:
	    left = size
	    while left:
	        n = min(left, 65536)
	        kind = source.randrange(4)
	        if kind == 0:
	            block = bytes(n)
	        elif kind == 1:
	            line = b"line %d of a log\n" % source.randrange(10**6)
	            block = (line * (n // len(line) + 1))[:n]
	        else:
	            block = source.randbytes(n)
	        out.write(block)
	        left -= n
	EOF
}

# poke FILE OFFSET TEXT
poke() { printf '%s' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

# json EXPRESSION: of the document d in $TMP/out (its last line).
json() {
	python3 - "$1" "$TMP/out" <<-'EOF'
	import json, sys
	d = json.loads(open(sys.argv[2]).read().strip().splitlines()[-1])
	value = eval(sys.argv[1])
	print(str(value).lower() if isinstance(value, bool) else value)
	EOF
}

# holds EXPRESSION: it is true of that document.
holds() {
	[ "$(json "$1")" = true ] || {
		cat "$TMP/out" >&2
		fail "not so: $1"
	}
}

# until_true COMMAND...: waits for an event, at most a minute.
until_true() {
	local i
	for ((i = 0; i < 1200; i++)); do
		"$@" && return 0
		sleep 0.05
	done
	fail "waited in vain for: $*"
}

# In a build with sanitizers the process is not hardened and memory is large.
sanitized() { grep -q -a -e __asan_init -e __tsan_init "$VMSNAP"; }

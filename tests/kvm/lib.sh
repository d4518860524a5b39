# SPDX-License-Identifier: Apache-2.0
# What the scripts of tests/kvm share: a tiny guest on this host's KVM, and what
# it says. tests/run gives BUILD, TOP and TMP (the working directory).
set -euo pipefail
: "${BUILD:?}" "${TOP:?}" "${TMP:?}"
set -E
trap 'echo "${BASH_SOURCE[0]}:$LINENO: failed: $BASH_COMMAND" >&2' ERR
cd "$TMP"

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

if [ ! -e /dev/kvm ]; then
	echo "this host has no /dev/kvm"
	exit 77
elif ! { : <>/dev/kvm; } 2>/dev/null; then
	echo "no right to /dev/kvm"
	exit 77
fi

# A guest that hangs is ended, and that is a failure: a limit for the slowest
# host, not a measure.
agent() { timeout --kill-after=10 300 "$BUILD/kvm-agent" "$@"; }

# guest NAME [OPTION]...: runs it to its end, a power off; what it said is in $TMP/out, the
# agent's words in $TMP/err.
guest() {
	local name=$1
	shift
	agent --kernel "$BUILD/tests/kvm/$name.elf" "$@" \
		>"$TMP/out" 2>"$TMP/err" </dev/null || {
		cat "$TMP/out" "$TMP/err" >&2
		fail "guest $name did not come to its end"
	}
	tail -1 "$TMP/out" | grep -qx done || fail "guest $name was cut off"
}

# The agents of this test's machines, whatever their names: a process a line.
agents() {
	local process
	for process in /proc/[0-9]*; do
		if [ "$(cat "$process/comm" 2>/dev/null)" = kvm-agent ] &&
			grep -qsz "^VMSNAP_HOME=$VMSNAP_HOME\$" "$process/environ"; then
			echo "${process##*/}"
		fi
	done
}

# The last guest said this line (an extended regular expression).
says() {
	grep -Eqx -e "$1" "$TMP/out" || {
		cat "$TMP/out" >&2
		fail "the guest did not say '$1'"
	}
}

# The agent said this.
errs() {
	grep -Eq -e "$1" "$TMP/err" || {
		cat "$TMP/err" >&2
		fail "the agent did not say '$1'"
	}
}

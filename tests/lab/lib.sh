# SPDX-License-Identifier: Apache-2.0
# For scripts on level 1 (. /files/lib.sh): machines, and what is typed at them.
set -u
. /files/settings
export VMSNAP_HOME=/run/vmsnap
limit=${LIMIT:-600} # seconds for whatever is waited for

at() { cut -d' ' -f1 /proc/uptime; }
say() { echo "== $(at) $*"; }
log() { echo "$VMSNAP_HOME/machines/$1/console.log"; }
fail() {
	echo "FAILED: $*"
	for machine in "$VMSNAP_HOME"/machines/*; do
		[ -e "$machine/console.log" ] || continue
		echo "-- $machine:"
		tail -n 12 "$machine/console.log"
		cat "$machine/agent.log" "$machine/end.json"
		mkdir -p "/results/${machine##*/}"
		cp "$machine"/*.log "/results/${machine##*/}/"
	done
	vmsnap ps
	exit 1
}

is_in() { vmsnap ps | grep -q "^$1 *$2 "; } # MACHINE STATE
# An agent that is slow to answer, on a host that is emulated, still runs.
is_up() { is_in "$1" '\(running\|silent\)'; }

# until_true WORDS COMMAND...: a machine that no longer runs is not waited for.
until_true() {
	local what=$1 end
	shift
	end=$(($(date +%s) + limit))
	until "$@"; do
		is_up "$machine" || "$@" || fail "$what: it does not run"
		[ "$(date +%s)" -lt "$end" ] || fail "$what: not in $limit s"
		sleep 0.3
	done
}

# The console from where it was when we last looked.
seen=0
mark() { seen=$(wc -c <"$(log "$machine")"); }
unseen() { tail -c +$((seen + 1)) "$(log "$machine")" | tr -d '\r'; }
shows() { unseen | grep -q -e "$1"; }
appears() { until_true "on its console, '$1'" shows "$1"; }

# A client at the terminal stays until its time is up: so long may it take here
# until it has started and is heard.
typed() {
	mark
	printf '%s\n' "$1" | type_at
	:
} 2>/dev/null
type_at() { timeout 5 vmsnap console "$machine" >/dev/null 2>&1; }

# The kernel may speak right behind a prompt.
prompted() { appears 'login: '; }

# A shell that neither echoes nor prompts, so that its output is what is said;
# with the kernel's words it would not be.
logged_in() {
	typed root
	appears 'Password: '
	typed lab
	appears '~# '
	typed 'dmesg -n 1'
	typed "exec env PS1= PS2= sh -c 'stty -echo; exec sh -i'"
	typed 'echo "<<ready>>"'
	appears '^<<ready>>$'
}

# on_guest COMMAND: by its console; prints what it prints, its status is ours.
on_guest() {
	local status
	typed "{ $1
} </dev/null; status=\$?; echo; echo \"<<\$status>>\""
	appears '^<<[0-9]*>>$'
	unseen | sed '/^<<[0-9]*>>$/,$d' | sed '$ { /^$/d }'
	status=$(unseen | sed -n 's/^<<\([0-9]*\)>>$/\1/p')
	return "$status"
}

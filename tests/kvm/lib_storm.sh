# SPDX-License-Identifier: Apache-2.0
# What storm.sh and storm_net.sh share: a machine with storm.c as its guest, the
# questions that are asked meanwhile, and how it may end. `storm_command` starts
# such a machine, with `storm_options`.

export VMSNAP_HOME=$TMP/home
rounds=${STORM_ROUNDS:-1500}
storm_command=(vmsnap run)
storm_options=()
truncate -s 4M a.raw b.raw

broken() { # NAME WORDS
	tail -c 2000 "home/machines/$1/console.log" "home/machines/$1/agent.log" >&2
	fail "$1 (storm.elf, $rounds rounds): $2"
}

log_has() { grep -aEq -e "$2" "home/machines/$1/console.log"; }

start() { # NAME APPEND
	echo "$1: seed=$2, $rounds rounds"
	expect 0 "${storm_command[@]}" -q "$1" --kernel "$BUILD/tests/kvm/storm.elf" \
		--memory 64M --append "rounds=$rounds seed=$2" \
		--disk a.raw --disk b.raw "${storm_options[@]}"
}

# look NAME: its state and cause; its agent answers, and did not die.
look() {
	vmsnap ps --json | jq -r ".machines[] | select(.name == \"$1\")" >status
	state=$(jq -r .state status)
	cause=$(jq -r .cause status)
	case $state,$cause in
	crashed,*'went down'* | crashed,*seccomp* | *'does not answer'* | damaged,* | ,*)
		broken "$1" "$state, $cause" ;;
	esac
}

# A client's requests in the storm: refused in some states, answered in all.
ask() { # NAME VERB
	vmsnap "$2" "$1" >ask 2>&1 || :
	! grep -q 'does not answer' ask || broken "$1" "$(cat ask)"
}

ask_all() {
	for _ in 1 2 3; do
		look "$1"
		ask "$1" pause
		look "$1"
		ask "$1" resume
	done
}

# NAME comes to its own end, with a device that still works.
ends_calm() {
	ended() { look "$1" && [ "$state" != running ]; }
	until_true ended "$1"
	[ "$state" = stopped ] || broken "$1" "$state, $cause"
	log_has "$1" '^calm' || broken "$1" "no device answered after the storm"
	log_has "$1" '^[1-9][0-9]* chains served' || broken "$1" "it was no storm"
}

# It may be anything in the end, but not deaf.
ends_wild() { # NAME
	vmsnap stop -q --force "$1" >ask 2>&1 || grep -q 'not running' ask ||
		broken "$1" "$(cat ask)"
	look "$1"
	[ "$state" != running ] || broken "$1" "it is not to be stopped"
	[ -s "home/machines/$1/end.json" ] ||
		broken "$1" "it does not say how it ended"
}

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Guests that know no rules (storm.c), on this host's KVM: the agent lives, its
# sockets answer meanwhile, and how it ends is told. One that leaves out what ends
# the machine comes to its own end, with a device that still works; the other one
# has another seed each time. They are printed: STORM_SEEDS="7 9" plays these,
# STORM_ROUNDS=100000 for longer.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
trap 'vmsnap rm -q --force --all 2>/dev/null || :' EXIT

rounds=${STORM_ROUNDS:-1500}
truncate -s 4M a.raw b.raw

broken() { # NAME WORDS
	tail -c 2000 "home/machines/$1/console.log" "home/machines/$1/agent.log" >&2
	fail "$1 (storm.elf, $rounds rounds): $2"
}

start() { # NAME APPEND
	echo "$1: seed=$2, $rounds rounds"
	expect 0 vmsnap run -q "$1" --kernel "$BUILD/tests/kvm/storm.elf" \
		--memory 64M --append "rounds=$rounds seed=$2" \
		--disk a.raw --disk b.raw
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

calm() { # SEED
	local name=calm$1
	start "$name" "$1"
	ask_all "$name"
	ended() { look "$name" && [ "$state" != running ]; }
	until_true ended
	[ "$state" = stopped ] || broken "$name" "$state, $cause"
	grep -aq '^calm' "home/machines/$name/console.log" ||
		broken "$name" "no device answered after the storm"
	grep -aq '^[1-9][0-9]* chains served' "home/machines/$name/console.log" ||
		broken "$name" "it was no storm"
}

# It may be anything in the end, but not deaf.
wild() { # SEED
	local name=wild$1
	start "$name" "$1 wild"
	ask_all "$name"
	vmsnap stop -q --force "$name" >ask 2>&1 || grep -q 'not running' ask ||
		broken "$name" "$(cat ask)"
	look "$name"
	[ "$state" != running ] || broken "$name" "it is not to be stopped"
	[ -s "home/machines/$name/end.json" ] ||
		broken "$name" "it does not say how it ended"
}

for seed in ${STORM_SEEDS:-1 2}; do
	calm "$seed"
	expect 0 vmsnap rm --all
done
for seed in ${STORM_SEEDS:-$RANDOM$RANDOM $RANDOM$RANDOM}; do
	wild "$seed"
	expect 0 vmsnap rm --all
done

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A keeper that does not answer: stop --force ends it, and the process that would
# start it again.
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
server=
watcher=
clean() {
	kill -CONT $server $watcher 2>/dev/null || :
	vmsnap keeper stop -q --force 2>/dev/null || :
}
trap clean EXIT

of() { vmsnap keeper status --json | jq -r ".keepers[0].$1"; }
lives() { [ -e "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status"; }
is_gone() { ! lives "$1"; }

vmsnap init -q
for stuck in server both; do
	expect 0 vmsnap keeper start
	server=$(of process)
	watcher=$(of watcher)
	lives "$server" && lives "$watcher" || fail "no keeper: $(vmsnap keeper status)"
	[ $stuck = server ] || kill -STOP "$watcher"
	kill -STOP "$server"
	expect 0 vmsnap keeper stop --force
	until_true is_gone "$server"
	until_true is_gone "$watcher"
	expect 0 vmsnap keeper status
	silent out
done

# One that fails is told by its store, and the others are shown, and ended.
vmsnap keeper start -q
server=$(of process)
watcher=$(of watcher)
: >home/keepers/00000000000000000000000000000000
expect 1 vmsnap keeper status
errs '^vmsnap: keeper status: keeper of store 000000000000: '
says "$server"
expect 1 vmsnap keeper stop
errs '^vmsnap: keeper stop: keeper of store 000000000000: '
says 'stopped'
until_true is_gone "$server"

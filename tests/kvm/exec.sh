#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# vmsnap exec: a command in a guest by its own agent. The guest plays that agent
# at virtio-console's port: output, status, signal, input; one that is slow,
# deaf, floods; turns of several; a machine that is paused, stopped or ends.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
guests=$BUILD/tests/kvm
trap 'vmsnap rm -q --force --all 2>/dev/null || :' EXIT
log_has() { grep -q "$2" "home/machines/$1/console.log"; }
# In place of the library's: standard input is part of what is tested.
run() { timeout 120 "$VMSNAP" exec "$@" </dev/null; }

expect 4 run web -- true
errs "no machine 'web'"
expect 2 run web
errs 'too few arguments: vmsnap exec NAME -- COMMAND'
expect 0 vmsnap run -q web --kernel "$guests/agent.elf" --memory 64M
until_true log_has web '^up'
[ "$(stat -c %a home/machines/web/agent.sock)" = 600 ] || fail "agent.sock's mode"

# As it is: both streams, the status, a signal.
expect 3 run web -- fail
[ "$(cat out)" = out ] || fail "stdout: $(cat out)"
[ "$(cat err)" = err ] || fail "stderr: $(cat err)"
expect 143 run web -- die
silent out
silent err
expect 0 run web -- slow -l
silent out
until_true log_has web '^client came'
until_true log_has web '^client left'
expect 3 run web --json -- fail
jq -e '.type == "exec" and .name == "web" and .exit_status == 3 and
	.signal == null and .stdout_base64 == "b3V0Cg==" and
	.stderr_truncated == false' out >/dev/null || fail "--json: $(cat out)"

# What it is given arrives, and comes back: some, and much.
printf 'a\0b\377' >some
timeout 120 "$VMSNAP" exec web -- cat <some >got
same some got
head -c 30000 /dev/urandom >much
timeout 120 "$VMSNAP" exec web -- cat <much >got
same much got
expect 0 run web -- much
[ "$(stat -c %s out)" = 100000 ] || fail "much: $(stat -c %s out) bytes"
head -c 4200000 /dev/zero >more
expect 2 timeout 120 "$VMSNAP" exec web -- cat <more
errs 'more than 4 MiB'

# Several at once take turns.
for n in 1 2 3 4; do
	echo "$n" >"in$n"
	timeout 120 "$VMSNAP" exec --timeout 100 web -- cat <"in$n" >"got$n" &
	pids[n]=$!
done
for n in 1 2 3 4; do
	wait "${pids[n]}" || fail "one of several: $n"
	same "in$n" "got$n"
done

# Time is up; and the next finds the agent again.
expect 1 run --timeout 1 web -- hang
errs 'no guest agent answers|still runs'
expect 3 run web -- fail

# A paused guest can't answer, and a stopped one isn't there.
expect 0 vmsnap pause -q web
expect 2 run web -- fail
errs "machine 'web' is paused"
expect 0 vmsnap resume -q web
expect 3 run web -- fail

# One that floods slows nobody down: the machine is asked, halted, ended.
expect 1 run --timeout 5 web -- overflow
expect 0 vmsnap ps
says '^web +running'
expect 0 vmsnap pause -q web
expect 0 vmsnap resume -q web
# Answered in the flood, or not: it comes to an end.
status=0
run --timeout 2 web -- cat >/dev/null 2>&1 || status=$?
[ "$status" -le 1 ] || fail "exit status $status"
expect 0 vmsnap stop --force -q web
expect 1 run web -- cat
errs 'not running'

# Without an agent: said so, and what to do.
expect 0 vmsnap run -q deaf --kernel "$guests/agent.elf" --append deaf --memory 64M
expect 1 run --timeout 1 deaf -- cat
errs 'install and start qemu-guest-agent'
# The machine ends meanwhile.
run --timeout 100 deaf -- cat >out 2>err &
exec=$!
came_twice() { [ "$(grep -c '^client came' home/machines/deaf/console.log)" = 2 ]; }
until_true came_twice
expect 0 vmsnap stop --force -q deaf
status=0
wait "$exec" || status=$?
[ "$status" = 1 ] || fail "status $status when the machine ended"

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# rm of a machine with images of its own: it has the machine to itself until all
# is gone, and what can't be removed whole stays whole.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
guest=$BUILD/tests/kvm/reader.elf
trap 'vmsnap rm -q --force --all 2>/dev/null; vmsnap keeper stop -q --force 2>/dev/null || :' EXIT

log_has() { grep -q "$2" "home/machines/$1/console.log"; }
ended() { vmsnap ps --json | jq -e ".machines[] | select(.name == \"$1\") | .state == \"stopped\"" >/dev/null; }
pins() { vmsnap list --pins | grep -c "machines/$1/" || :; }
# Of machine NAME nothing is gone.
whole() {
	[ "$(cd "home/machines/$1" && echo machine.json disk*)" = \
		"machine.json disk0.vsi disk0.vsi.1 disk1.vsi disk1.vsi.1" ] ||
		fail "$1: something is gone: $(ls "home/machines/$1")"
}

vmsnap init -q
disk a.raw 262144 1
disk b.raw 262144 2
vmsnap backup -q two a.raw b.raw
vmsnap run -q web --from two --kernel "$guest" --memory 16M
until_true log_has web '^pass 0'
until_true ended web

# Somebody starts it while rm asks for the passphrase, and removes it too.
cat >ask <<'ASK'
for verb in run rm; do
	env -u VMSNAP_PASSPHRASE_COMMAND VMSNAP_PASSPHRASE="$SECRET" \
		"$VMSNAP" $verb web >>meanwhile 2>&1
	echo "$verb: $?" >>meanwhile
done
cp home/machines/web/disk?.vsi kept
echo "$SECRET"
ASK
mkdir kept
SECRET=$VMSNAP_PASSPHRASE
export SECRET VMSNAP
unset VMSNAP_PASSPHRASE
VMSNAP_PASSPHRASE_COMMAND="sh ask" expect 0 vmsnap rm web
grep -qx 'run: 5' meanwhile || fail "it was started: $(cat meanwhile)"
grep -qx 'rm: 5' meanwhile || fail "it was removed twice: $(cat meanwhile)"
[ "$(ls kept)" = "disk0.vsi
disk1.vsi" ] || fail "images went before the passphrase came: $(ls kept)"
export VMSNAP_PASSPHRASE=$SECRET
[ -z "$(ls -A home/machines)" ] || fail "left behind: $(ls -A home/machines)"
[ "$(pins web)" = 0 ] || fail "pins are left: $(vmsnap list --pins)"

# With a wrong passphrase all of it stays, also an image that has no pin.
vmsnap run -q web --from two --kernel "$guest" --memory 16M
until_true log_has web '^pass 0'
until_true ended web
rm home/machines/web/disk0.vsi*
vmsnap image create -q home/machines/web/disk0.vsi --size 256K
VMSNAP_PASSPHRASE=wrong expect 7 vmsnap rm web
errs "the pins of machine 'web' \(--force leaves them\)"
whole web
mv store elsewhere
expect 4 vmsnap rm web
whole web
# By force the image goes, and its pin stays.
expect 0 vmsnap rm --force web
errs "the pins of machine 'web' stay"
mv elsewhere store
[ -z "$(ls -A home/machines)" ] || fail "left behind: $(ls -A home/machines)"
[ "$(pins web)" = 2 ] || fail "pins: $(vmsnap list --pins)"

# An image that is one no more, as a crash of the host may leave it.
vmsnap run -q web --from two --kernel "$guest" --memory 16M
until_true log_has web '^pass 0'
until_true ended web
: >home/machines/web/disk0.vsi
before=$(vmsnap list --pins | wc -l)
expect 3 vmsnap rm web
errs '--force removes it'
whole web
expect 0 vmsnap rm --force web
errs "is not an image: its pin stays"
[ -z "$(ls -A home/machines)" ] || fail "left behind: $(ls -A home/machines)"
[ "$(vmsnap list --pins | wc -l)" = $((before - 1)) ] || fail "pins: $(vmsnap list --pins)"

# An image that somebody has removed by hand: the rest goes, and what is left is
# said in one line, with what removes it.
vmsnap run -q web --from two --kernel "$guest" --memory 16M
until_true log_has web '^pass 0'
until_true ended web
rm home/machines/web/disk0.vsi
before=$(vmsnap list --pins | wc -l)
expect 4 vmsnap run web
errs "disk0.vsi"
expect 0 vmsnap rm web
errs "^vmsnap: rm: warning: machine 'web': image '.*/disk0.vsi' was gone already: its pin stays, .*pin remove --force PIN"
[ "$(wc -l <err)" = 1 ] || fail "it said: $(cat err)"
[ -z "$(ls -A home/machines)" ] || fail "left behind: $(ls -A home/machines)"
[ "$(vmsnap list --pins | wc -l)" = $((before - 1)) ] || fail "pins: $(vmsnap list --pins)"
before=$((before - 1))
expect 0 vmsnap list --pins --json
left=$(jq -r '.pins[] | select(.state != "used" and (.path | endswith("machines/web/disk0.vsi"))) | .id' out)
[ -n "$left" ] || fail "it is not listed: $(cat out)"
for pin in $left; do
	expect 0 vmsnap pin remove --force "$pin"
	before=$((before - 1))
done
[ "$(vmsnap list --pins | wc -l)" = $before ] || fail "pins: $(vmsnap list --pins)"
[ "$(pins web)" = "$(vmsnap list --pins | grep -c disk1.vsi || :)" ] || fail "pins: $(vmsnap list --pins)"

# Without a description its images are known by their names, and their pins go.
vmsnap run -q web --from two --kernel "$guest" --memory 16M
until_true log_has web '^pass 0'
until_true ended web
before=$(vmsnap list --pins | wc -l)
echo '{' >home/machines/web/machine.json
VMSNAP_PASSPHRASE=wrong expect 7 vmsnap rm web
expect 0 vmsnap rm web
[ -z "$(ls -A home/machines)" ] || fail "left behind: $(ls -A home/machines)"
[ "$(vmsnap list --pins | wc -l)" = $((before - 2)) ] || fail "pins: $(vmsnap list --pins)"

# Somebody removes it while run asks for the passphrase, and makes another of
# that name: what is started is what was read.
vmsnap run -q web --from two --kernel "$guest" --memory 16M
until_true log_has web '^pass 0'
until_true ended web
vmsnap keeper stop -q
cat >ask <<'ASK'
as_other() {
	env -u VMSNAP_PASSPHRASE_COMMAND VMSNAP_PASSPHRASE="$SECRET" \
		"$VMSNAP" "$@" >>other 2>&1
	echo "$1: $?" >>other
}
as_other rm web
as_other run web --kernel "$BUILD/tests/kvm/idle.elf" --memory 4M --net none
echo "$SECRET"
ASK
unset VMSNAP_PASSPHRASE
VMSNAP_PASSPHRASE_COMMAND="sh ask" expect 0 vmsnap run web
export VMSNAP_PASSPHRASE=$SECRET
grep -qx 'rm: 5' other || fail "it was removed: $(cat other)"
grep -qx 'run: 1' other || fail "another was made: $(cat other)"
until_true ended web
[ "$(grep -c '^pass 0' home/machines/web/console.log)" = 2 ] || fail "it did not run"
expect 0 vmsnap rm web

# What another has removed since it was listed is no failure of --all.
vmsnap run -q web --from two --kernel "$guest" --memory 16M
vmsnap run -q zoo --kernel "$BUILD/tests/kvm/idle.elf" --memory 4M --net none
vmsnap stop -q --force zoo
until_true ended web
cat >ask <<'ASK'
"$VMSNAP" rm -q zoo || exit 1
echo "$SECRET"
ASK
unset VMSNAP_PASSPHRASE
VMSNAP_PASSPHRASE_COMMAND="sh ask" expect 0 vmsnap rm --all --json
jq -es 'length == 1 and .[0].names == ["web"]' out >/dev/null || fail "rm --all: $(cat out)"
export VMSNAP_PASSPHRASE=$SECRET
silent err

# A run that is interrupted leaves nothing of a new machine: here it waits for a
# keeper that does not answer.
vmsnap run -q web --from two --kernel "$BUILD/tests/kvm/idle.elf" --memory 16M
server=$(vmsnap keeper status --json | jq -r .keepers[0].process)
kill -STOP "$server"
has_pins() { [ "$(pins late)" = 2 ]; }
for signal in INT TERM; do
	status=0
	env --default-signal=INT,TERM "$VMSNAP" run late --from two \
		--kernel "$guest" --memory 16M >out 2>err &
	late=$!
	until_true has_pins
	kill -$signal "$late"
	wait "$late" || status=$?
	[ "$status" = $((128 + $(kill -l $signal))) ] || fail "$signal: status $status"
	errs "stopped by SIG$signal"
	[ ! -e home/machines/late ] || fail "left behind: $(ls home/machines/late)"
	[ "$(pins late)" = 0 ] || fail "pins are left: $(vmsnap list --pins)"
done
kill -CONT "$server"
expect 0 vmsnap rm --force web

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Help, completions and man page say what the option table says.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

expect 0 vmsnap --help
cp out help
expect 0 vmsnap -h
same out help
expect 0 vmsnap help
same out help
expect 0 vmsnap help image
says '^  image create'
expect 2 vmsnap help restroe
errs "did you mean 'restore'"
man=$TOP/cli/vmsnap.1.scd
# Verbs: a line of two spaces each, up to the options.
sed -n '/^Verbs:/,/^Options/p' help | grep '^  [a-z]' >verbs
[ "$(wc -l <verbs)" -ge 15 ] || fail "verbs are missing"
sed -nE 's/^\*vmsnap\* \*([a-z ]+)\*.*/\1/p' "$man" >man-verbs
: >all-options
while read -r first second rest; do
	verb=$first
	case $first in key | image | pin | keeper) verb="$first $second" ;; esac
	expect 0 vmsnap $verb --help
	says "^usage: vmsnap $verb"
	cp out usage
	expect 0 vmsnap help $verb
	same out usage
	[ -z "$(grep -E '.{80}' out help)" ] || fail "$verb: a line is too long"
	grep -qx "$verb" man-verbs || fail "the man page's synopsis has no $verb"
	# The synopsis: the same arguments and options, in the same order.
	grep -F "*vmsnap* *$verb*" "$man" | head -1 | tr -d '*' >synopsis
	sed -n '/^usage/,/^$/p' out | sed 's/^usage: //' | tr -s ' \n' ' ' |
		sed 's/ $//' >usage
	{ grep -oE -- '--[a-z-]+' synopsis || :; } | sort >a
	{ grep -oE -- '--[a-z-]+' usage || :; } | sort >b
	same a b
	[ "$(sed 's/ \[--.*//' synopsis)" = "$(sed 's/ \[--.*//' usage)" ] ||
		fail "$verb: synopsis '$(cat synopsis)', usage '$(cat usage)'"
	cat b >>all-options
done <verbs
[ "$(wc -l <verbs)" = "$(wc -l <man-verbs)" ] || fail "man page: other verbs"
sed -n '/^Options of/,/^$/p' help | grep -oE -- '--[a-z-]+' >>all-options
sort -u all-options | grep . >options
for shell in bash zsh fish; do vmsnap completion $shell >completion.$shell; done
while read -r option; do
	grep -qF -- "*$option*" "$man" || fail "man page has no $option"
	for shell in bash zsh fish; do
		grep -qE -- "${option#--}" completion.$shell ||
			fail "completion of $shell has no $option"
	done
done <options
grep -oE '^\*(-.\*, \*)?--[a-z-]+' "$man" | grep -oE -- '--[a-z-]+' |
	sort -u >man-options
same options man-options
expect 2 vmsnap completion tcsh
bash -n completion.bash
complete_it() {
	bash -c '. ./completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
		_vmsnap; printf "%s\n" "${COMPREPLY[@]}"' - "$@"
}
[ "$(complete_it vmsnap resto)" = restore ]
[ "$(complete_it vmsnap restore --de)" = --delta ]
[ "$(complete_it vmsnap -s x key ex)" = export ]
[ "$(complete_it vmsnap image exp)" = export ]
[ "$(complete_it vmsnap image rm --fo)" = --force ]
[ "$(complete_it vmsnap pin re)" = remove ]
[ "$(complete_it vmsnap --progress ne)" = never ]
if command -v zsh >/dev/null; then zsh -n completion.zsh; fi
if command -v fish >/dev/null; then fish -n completion.fish; fi
for status in 0 1 2 3 4 5 6 7 8; do
	grep -q "^|\[ \*$status\*" "$man" || fail "man page: no status $status"
done
if [ -s "$BUILD/vmsnap.1" ]; then
	grep -q '^\.TH "vmsnap" "1"' "$BUILD/vmsnap.1"
fi

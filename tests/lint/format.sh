#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The whole tree is as .clang-format has it; each file names its licence and
# none is past 800 lines.
set -u
cd "${TOP:-.}" || exit 1
bad=0
mapfile -t files < <(git ls-files '*.c' '*.h')
clang-format --dry-run --Werror "${files[@]}" || bad=1
while read -r file; do
	head -3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' ||
		{ echo "$file: no SPDX line at its top"; bad=1; }
	[ "$(wc -l <"$file")" -le 800 ] ||
		{ echo "$file: more than 800 lines; split it"; bad=1; }
done < <(git ls-files '*.c' '*.h' '*.sh' '*.py' Makefile)
exit $bad

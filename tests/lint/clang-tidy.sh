#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# clang-tidy over every C file, with the checks of .clang-tidy.
set -u
cd "${TOP:-.}" || exit 1
git ls-files '*.c' | xargs -P "$(nproc)" -I{} \
	clang-tidy --quiet --warnings-as-errors='*' {} -- \
	-std=gnu11 -D_GNU_SOURCE -iquote . $(pkg-config --cflags fuse3) >"$TMP/tidy" 2>&1
status=$?
grep -E 'warning:|error:' "$TMP/tidy"
exit $status

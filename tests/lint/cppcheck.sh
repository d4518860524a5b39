#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
set -u
cd "${TOP:-.}" || exit 1
cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr -j "$(nproc)" \
	--enable=warning,portability --suppress=missingIncludeSystem \
	--suppress=normalCheckLevelMaxBranches -D_GNU_SOURCE -I. \
	format vmsnap cli 2>&1

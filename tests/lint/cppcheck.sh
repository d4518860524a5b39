#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Its search for uninitialized values is off: it takes what a function fills in
# on success for never set; two compilers and the sanitizers hold that.
set -u
cd "${TOP:-.}" || exit 1
cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr -j "$(nproc)" \
	--enable=warning,portability --suppress=missingIncludeSystem \
	--suppress=uninitvar --suppress=legacyUninitvar \
	--suppress=uninitStructMember --suppress=normalCheckLevelMaxBranches -D_GNU_SOURCE -I. \
	format vmsnap cli fuse nbd kvm-agent 2>&1

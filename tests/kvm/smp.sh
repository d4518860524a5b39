#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The first processor starts the second; also with more of them than cores.
. "$TOP/tests/kvm/lib.sh"

guest smp --cpus 2
says 'counted to 4000 by two'
guest smp --cpus 8
says 'counted to 4000 by two'

# SPDX-License-Identifier: Apache-2.0
# On a level 1 that stays: a shell for each connection. Only QEMU's forwarded
# port leads here, from this machine's own loopback.
exec nc -ll -p 1 -e /bin/sh

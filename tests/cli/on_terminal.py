# SPDX-License-Identifier: Apache-2.0
"""A program on a terminal of its own, for scripts that talk to it."""
import os, pty, select, signal, sys


def start(command):
    pid, fd = pty.fork()
    if pid == 0:
        # A shell's background has it ignored.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execv(command[0], command)
    return pid, fd


def seen(fd):
    """All that it has said, each time that it says more, until it ends."""
    so_far = b""
    while True:
        if not select.select([fd], [], [], 60)[0]:
            sys.exit("nothing within a minute")
        try:
            got = os.read(fd, 4096)
        except OSError:
            return
        if not got:
            return
        so_far += got
        yield so_far


def end(pid):
    """As a shell has it: 128 and more for a signal."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if status >= 0 else 128 - status

# SPDX-License-Identifier: Apache-2.0
"""Running one command and measuring it: wall, CPU and peak RSS of all of it."""

import hashlib
import os
import subprocess
import time
from dataclasses import dataclass

MIB = 1 << 20


class Failed(Exception):
    pass


@dataclass
class Measured:
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    stdout: bytes = b""

    def as_dict(self):
        return {"wall_s": round(self.wall_s, 4), "cpu_s": round(self.cpu_s, 4),
                "peak_rss_bytes": self.peak_rss_bytes}


def run(command, env=None, cwd=None, drain=False, log=None):
    """`drain`: stdout is a pipe that a cat empties; else it is kept."""
    environment = dict(os.environ, LC_ALL="C", **(env or {}))
    drainer = None
    out_path = f"{log}.out"
    with open(out_path, "wb") as out, open(f"{log}.err", "wb") as errors:
        stdout = out
        if drain:
            drainer = subprocess.Popen(["cat"], stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL)
            stdout = drainer.stdin
        start = time.monotonic()
        child = subprocess.Popen(command, env=environment, cwd=cwd,
                                 stdin=subprocess.DEVNULL, stdout=stdout,
                                 stderr=errors)
        if drainer:
            drainer.stdin.close()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if drainer:
            drainer.wait()
    if child.returncode != 0:
        with open(f"{log}.err", "rb") as errors:
            tail = errors.read()[-600:].decode("utf-8", "replace").strip()
        raise Failed(f"{' '.join(command)}: exit {child.returncode}: {tail}")
    with open(out_path, "rb") as out:
        return Measured(wall, usage.ru_utime + usage.ru_stime,
                        usage.ru_maxrss * 1024, out.read(MIB))


def data_extents(path):
    """(descriptor, start, end) of each run of data."""
    fd = os.open(path, os.O_RDONLY)
    try:
        size, at = os.fstat(fd).st_size, 0
        while at < size:
            try:
                start = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:
                return
            at = os.lseek(fd, start, os.SEEK_HOLE)
            yield fd, start, at
    finally:
        os.close(fd)


def data_bytes(path):
    return sum(end - start for _, start, end in data_extents(path))


def warm(path):
    """Read what is data, so that it stands in the page cache."""
    buffer = bytearray(4 * MIB)
    for fd, start, end in data_extents(path):
        while start < end:
            view = memoryview(buffer)[:min(len(buffer), end - start)]
            start += os.preadv(fd, [view], start)


def digest(path):
    """Of size and content; a hole equals zeros."""
    total = hashlib.blake2b(digest_size=16)
    total.update(os.path.getsize(path).to_bytes(8, "big"))
    zeros = bytes(MIB)
    done = -1
    for fd, start, end in data_extents(path):
        for at in range(max(start // MIB, done + 1), (end - 1) // MIB + 1):
            block = os.pread(fd, MIB, at * MIB)
            if block != zeros[:len(block)]:
                total.update(at.to_bytes(8, "big"))
                total.update(block)
            done = at
    return total.hexdigest()


def tree_bytes(path):
    """What the file, or the folder and all below it, takes on the disk."""
    total = os.lstat(path).st_blocks * 512
    if os.path.isdir(path):
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                total += tree_bytes(entry.path)
            else:
                total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def settle(folder):
    """Nothing dirty on the file system of `folder`; no cache is dropped."""
    subprocess.run(["sync", "-f", folder], check=True)

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A file system's life between two backups, the same on every run.

2% of the files are removed, 2% appended to, a log and a database file (half
random, half zero) are written. Which files is decided by a hash of the path.
Works on a mounted tree, or with debugfs on an image where nothing can be
mounted. --merge puts a tree's new and changed files into an image instead.
"""

import argparse
import hashlib
import os
import random
import stat
import subprocess
import sys
import tempfile

MIB = 1 << 20
SKIP = ("/proc/", "/sys/", "/dev/", "/lost+found/", "/run/")


class MountedTree:
    def __init__(self, root):
        self.root = root

    def files(self):
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                st = os.lstat(path)
                if stat.S_ISREG(st.st_mode):
                    yield path[len(self.root.rstrip("/")):], st.st_size

    def remove(self, path):
        os.unlink(self.root + path)

    def append(self, path, data):
        with open(self.root + path, "ab") as out:
            out.write(data)

    def write(self, path, blocks):
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        with open(self.root + path, "wb") as out:
            for block in blocks:
                out.write(block)

    def finish(self):
        pass


class DebugfsTree:
    """Changes are gathered and done in one debugfs run by finish()."""

    def __init__(self, image):
        self.image = image
        self.commands = []
        self.temporary = tempfile.TemporaryDirectory(prefix="vmsnap-churn.")
        self.count = 0
        self.entries = {}
        self._list()

    def _debugfs(self, commands, write=False):
        script = os.path.join(self.temporary.name, "script")
        with open(script, "w", encoding="utf-8") as out:
            out.write("\n".join(commands) + "\n")
        arguments = ["debugfs"] + (["-w"] if write else [])
        done = subprocess.run(arguments + ["-f", script, self.image],
                              check=True, capture_output=True)
        return done.stdout.decode("utf-8", "surrogateescape")

    def _list(self):
        level = [""]
        while level:
            output = self._debugfs([f'ls -p "{path or "/"}"'
                                    for path in level])
            level = self._parse(output)

    def _parse(self, output):
        found, folder = [], ""
        for line in output.splitlines():
            if line.startswith("debugfs: ls -p"):
                folder = line.split('"')[1].rstrip("/")
                continue
            parts = line.split("/")
            if len(parts) < 8 or parts[5] in (".", ".."):
                continue
            mode, size = int(parts[2], 8), parts[6]
            path = f"{folder}/{parts[5]}"
            if '"' in path or not path.isprintable():
                continue
            self.entries[path] = (mode, int(size or 0),
                                  int(parts[3]), int(parts[4]))
            if stat.S_ISDIR(mode):
                found.append(path)
        return found

    def files(self):
        for path, (mode, size, _, _) in self.entries.items():
            if stat.S_ISREG(mode):
                yield path, size

    def _place(self):
        self.count += 1
        return os.path.join(self.temporary.name, str(self.count))

    def _put(self, local, path, mode, uid, gid):
        if path in self.entries:
            self.commands.append(f'rm "{path}"')
        self.commands += [f'write "{local}" "{path}"',
                          f'sif "{path}" mode 0{mode:o}',
                          f'sif "{path}" uid {uid}',
                          f'sif "{path}" gid {gid}']

    def remove(self, path):
        self.commands.append(f'rm "{path}"')

    def append(self, path, data):
        place = self._place()
        self._debugfs([f'dump "{path}" "{place}"'])
        with open(place, "ab") as out:
            out.write(data)
        mode, _, uid, gid = self.entries[path]
        self._put(place, path, mode, uid, gid)

    def write(self, path, blocks):
        place = self._place()
        with open(place, "wb") as out:
            for block in blocks:
                out.write(block)
        self.make_folder(os.path.dirname(path), 0o40755, 0, 0)
        self._put(place, path, 0o100644, 0, 0)

    def make_folder(self, path, mode, uid, gid):
        if path in ("", "/") or path in self.entries:
            return
        self.make_folder(os.path.dirname(path), 0o40755, 0, 0)
        self.commands += [f'mkdir "{path}"', f'sif "{path}" mode 0{mode:o}',
                          f'sif "{path}" uid {uid}',
                          f'sif "{path}" gid {gid}']
        self.entries[path] = (mode, 0, uid, gid)

    def merge(self, root):
        """What `root` has and the image has not, or with another size."""
        for folder, folders, names in os.walk(root):
            for name in sorted(folders) + sorted(names):
                local = os.path.join(folder, name)
                path = local[len(root.rstrip("/")):]
                st = os.lstat(local)
                if '"' in path or not path.isprintable():
                    continue
                if stat.S_ISDIR(st.st_mode):
                    self.make_folder(path, st.st_mode, st.st_uid, st.st_gid)
                elif path in self.entries and (
                        self.entries[path][1] == st.st_size
                        or not stat.S_ISREG(st.st_mode)):
                    continue
                elif stat.S_ISREG(st.st_mode):
                    self._put(local, path, st.st_mode, st.st_uid, st.st_gid)
                elif stat.S_ISLNK(st.st_mode):
                    self.commands.append(
                        f'symlink "{path}" "{os.readlink(local)}"')

    def finish(self):
        self._debugfs(self.commands, write=True)
        # debugfs leaves the block groups' sums to e2fsck.
        done = subprocess.run(["e2fsck", "-fy", self.image],
                              capture_output=True)
        if done.returncode > 1:
            sys.exit(f"churn: e2fsck: {done.stdout.decode()[-400:]}")
        self.temporary.cleanup()


def log_blocks(size, source):
    """Lines as a web server writes them, 64 KiB or so at a time."""
    paths = [f"/{source.choice(['api', 'static', 'user', 'item'])}/"
             f"{source.randrange(5000)}" for _ in range(4000)]
    written, clock = 0, 1700000000
    while written < size:
        lines = []
        for _ in range(600):
            clock += source.randrange(3)
            lines.append(
                f"10.{source.randrange(8)}.{source.randrange(256)}."
                f"{source.randrange(256)} - - [{clock}] \"GET "
                f"{source.choice(paths)} HTTP/1.1\" "
                f"{source.choice([200, 200, 200, 304, 404])} "
                f"{source.randrange(90000)} \"-\" \"Mozilla/5.0\"\n")
        block = "".join(lines).encode()[:size - written]
        written += len(block)
        yield block


def database_blocks(size, source):
    for number in range(size // MIB):
        yield source.randbytes(MIB) if number % 2 == 0 else bytes(MIB)


def churn(tree, log_bytes, database_bytes, source):
    removed = appended = 0
    chosen = sorted((path, size) for path, size in tree.files()
                    if not path.startswith(SKIP))
    for path, _ in chosen:
        draw = int.from_bytes(hashlib.sha256(
            path.encode("utf-8", "surrogateescape")).digest()[:4], "big") % 50
        if draw == 0:
            tree.remove(path)
            removed += 1
        elif draw == 1:
            tree.append(path, source.randbytes(source.randrange(64, 6000)))
            appended += 1
    tree.write("/var/log/churn.log", log_blocks(log_bytes, source))
    tree.write("/var/lib/churn.db", database_blocks(database_bytes, source))
    print(f"churn: {len(chosen)} files, {removed} removed, {appended} "
          f"appended to", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--tree", help="a mounted file system")
    where.add_argument("--debugfs", help="an image, not mounted")
    parser.add_argument("--merge", help="a tree to put into the image")
    parser.add_argument("--log-mb", type=int, default=100)
    parser.add_argument("--database-mb", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    if options.tree:
        if options.merge:
            parser.error("--merge is for --debugfs")
        tree = MountedTree(options.tree)
    else:
        tree = DebugfsTree(options.debugfs)
    if options.merge:
        tree.merge(options.merge)
    else:
        churn(tree, options.log_mb * 10**6, options.database_mb * MIB,
              random.Random(options.seed))
    tree.finish()


if __name__ == "__main__":
    main()

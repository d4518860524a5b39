# SPDX-License-Identifier: Apache-2.0
"""The sides of the benchmark: how each makes its store, backs up, restores.

A side yields steps: (name, function). run.py settles the disk and warms the
sources, then calls the function, which measures one command. A step whose name
starts with "-" is preparation and not recorded. What a step wrote that it needs
no more is removed by clean_step().
"""

import json
import os
import shutil

import measure

PASSPHRASE = "correct horse battery staple"
DISKS = ("base", "gen1", "gen2")


class Side:
    name = ""
    encrypted = False
    expensive = False    # one round only
    quick = False        # part of --quick
    program = ""
    # What stands in RESULTS.md beside the name.
    words = ""

    def __init__(self, bench):
        self.bench = bench
        self.place = os.path.join(bench.scratch, self.name.replace(" ", "-"))
        self.store = os.path.join(self.place, "store")
        self.target = os.path.join(self.place, "target")
        self.restored = None

    def available(self):
        return shutil.which(self.program) is not None

    def env(self):
        return {}

    def run(self, *command, **options):
        return measure.run(list(command), env=self.env(),
                           log=os.path.join(self.bench.scratch, "log"),
                           **options)

    def disk(self, name):
        return self.bench.disks[name]

    def begin(self):
        shutil.rmtree(self.place, ignore_errors=True)
        os.makedirs(self.place)

    def end(self):
        shutil.rmtree(self.place, ignore_errors=True)

    def clean_step(self):
        if os.path.isdir(self.target):
            shutil.rmtree(self.target)
        elif os.path.exists(self.target):
            os.unlink(self.target)
        self.restored = None

    def store_bytes(self):
        return measure.tree_bytes(self.store)

    def restores(self, path):
        """run.py holds `path` against gen2 after the step."""
        self.restored = path


class Vmsnap(Side):
    name = "vmsnap"
    encrypted = True
    quick = True
    words = "encrypted, 64 KiB chunks, default level"
    level = None

    def __init__(self, bench):
        super().__init__(bench)
        self.program = bench.vmsnap

    def env(self):
        return {"VMSNAP_PASSPHRASE": PASSPHRASE, "VMSNAP_STORE": self.store,
                "VMSNAP_HOME": os.path.join(self.place, "home"),
                "XDG_CACHE_HOME": os.path.join(self.place, "cache"),
                "XDG_DATA_HOME": os.path.join(self.place, "data")}

    def vmsnap(self, *arguments, **options):
        return self.run(self.program, *arguments, **options)

    def backup(self, machine, disk):
        level = ["--level", str(self.level)] if self.level else []
        done = self.vmsnap("backup", "--json", *level, machine,
                           self.disk(disk))
        document = json.loads(done.stdout.decode().strip().splitlines()[-1])
        self.content_bytes += document["new_content_bytes"]
        return done, {key: document[key] for key in
                      ("new_content_bytes", "stored_bytes", "new_chunks",
                       "scanned_bytes", "unchanged_bytes")
                      if key in document}

    def restore_file(self, *options):
        done = self.vmsnap("restore", *options, "vm", self.target)
        self.restores(self.target)
        return done

    def copy_gen1(self):
        return self.run("cp", "--sparse=always", self.disk("gen1"),
                        self.target)

    def check(self):
        done = self.vmsnap("check", "--json", "--read-data")
        return done, {"content_bytes": self.content_bytes}

    def steps(self):
        self.content_bytes = 0
        yield "-init", lambda: self.vmsnap("init")
        for disk in DISKS:
            yield disk, lambda disk=disk: self.backup("vm", disk)
        # Another name has no tags of the last backup: dedup alone.
        yield "base, other name", lambda: self.backup("twin", "base")
        yield "base again", lambda: self.backup("twin", "base")
        # The latest of vm is gen2.
        yield "restore gen2", self.restore_file
        yield "-copy gen1", self.copy_gen1
        yield "restore gen2 over gen1", lambda: self.restore_file("--delta")
        yield "restore gen2 to a pipe", lambda: self.vmsnap(
            "restore", "vm", "-", drain=True)
        yield "check --read-data", self.check
        yield "verify gen2", lambda: self.vmsnap("verify", "vm")


class VmsnapLevel3(Vmsnap):
    name = "vmsnap, level 3"
    words = "encrypted, 64 KiB chunks, zstd level 3"
    level = 3


class Borg(Side):
    """Its files cache is off: a disk that a VM runs on is always new to it."""
    name = "borg"
    program = "borg"
    encrypted = True
    expensive = True
    words = "buzhash chunks, repokey, zstd 3"
    chunker = "buzhash,19,23,21,4095"

    def env(self):
        return {"BORG_PASSPHRASE": PASSPHRASE, "BORG_REPO": self.store,
                "BORG_BASE_DIR": os.path.join(self.place, "home"),
                "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}

    def backup(self, archive, disk):
        return self.run("borg", "create", "--compression", "zstd,3",
                        "--files-cache", "disabled", "--chunker-params",
                        self.chunker, *self.options, "::" + archive,
                        self.disk(disk))

    options = ()

    def restore(self):
        os.makedirs(self.target)
        done = self.run("borg", "extract", "--sparse", "::gen2",
                        cwd=self.target)
        self.restores(os.path.join(self.target,
                                   self.disk("gen2").lstrip("/")))
        return done

    def steps(self):
        yield "-init", lambda: self.run("borg", "init", "-e", "repokey")
        for disk in DISKS:
            yield disk, lambda disk=disk: self.backup(disk, disk)
        yield "base again", lambda: self.backup("again", "base")
        yield "restore gen2", self.restore
        yield "check --read-data", lambda: self.run(
            "borg", "check", "--verify-data")


class BorgFixed(Borg):
    name = "borg fixed"
    words = "fixed 64 KiB chunks, holes skipped, repokey, zstd 3"
    chunker = "fixed,65536"
    options = ("--sparse",)


class Restic(Side):
    name = "restic"
    program = "restic"
    encrypted = True
    expensive = True
    words = "content-defined chunks, default compression"

    def env(self):
        return {"RESTIC_PASSWORD": PASSPHRASE,
                "RESTIC_REPOSITORY": self.store,
                "RESTIC_CACHE_DIR": os.path.join(self.place, "cache")}

    def backup(self, disk):
        # --force: it would else take an untouched file for the same.
        return self.run("restic", "-q", "backup", "--force", "--tag", disk,
                        self.disk(disk))

    def restore(self):
        done = self.run("restic", "-q", "restore", "latest", "--tag", "gen2",
                        "--target", self.target)
        self.restores(os.path.join(self.target,
                                   self.disk("gen2").lstrip("/")))
        return done

    def steps(self):
        yield "-init", lambda: self.run("restic", "-q", "init")
        for disk in DISKS:
            yield disk, lambda disk=disk: self.backup(disk)
        yield "base again", lambda: self.backup("base")
        yield "restore gen2", self.restore
        yield "check --read-data", lambda: self.run(
            "restic", "-q", "check", "--read-data")


class Casync(Side):
    name = "casync"
    program = "casync"
    expensive = True
    words = "content-defined chunks, not encrypted, zstd"

    def store_bytes(self):
        return measure.tree_bytes(self.store + ".castr")

    def index(self, disk):
        return os.path.join(self.place, disk + ".caibx")

    def backup(self, disk):
        return self.run("casync", "make", "--compression=zstd",
                        "--store=" + self.store + ".castr", self.index(disk),
                        self.disk(disk))

    def restore(self):
        done = self.run("casync", "extract",
                        "--store=" + self.store + ".castr",
                        self.index("gen2"), self.target)
        self.restores(self.target)
        return done

    def steps(self):
        for disk in DISKS:
            yield disk, lambda disk=disk: self.backup(disk)
        yield "restore gen2", self.restore


class QemuImg(Side):
    name = "qemu-img"
    program = "qemu-img"
    quick = True
    words = "convert -c, qcow2, zstd, -m 2 -W; not encrypted"

    def steps(self):
        yield "base", lambda: self.run(
            "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o",
            "compression_type=zstd", "-m", "2", "-W", self.disk("base"),
            self.store)


class Cp(Side):
    name = "cp"
    program = "cp"
    quick = True
    words = "cp --sparse=always"

    def store_bytes(self):
        return 0

    def copy(self):
        done = self.run("cp", "--sparse=always", self.disk("gen2"),
                        self.target)
        self.restores(self.target)
        return done

    def steps(self):
        yield "restore gen2", self.copy


class Floor(Side):
    """The stages are the steps: what no backup of ours can go below."""
    name = "floor"
    quick = True
    words = "two threads, the same chunks, nothing but the work"

    def __init__(self, bench):
        super().__init__(bench)
        self.program = bench.floor

    def store_bytes(self):
        return 0

    def floor(self, disk, stage, level=1, *options):
        done = self.run(self.program, "--stages", stage, "--levels",
                        str(level), "--out", self.target, *options,
                        self.disk(disk))
        document = json.loads(done.stdout)
        # Not the start of the program, nor the listing of the extents.
        done.wall_s = document["seconds"]
        done.cpu_s = document["cpu_seconds"]
        return done, {"bytes_in": document["bytes_in"],
                      "bytes_out": document["bytes_out"]}

    def steps(self):
        for stage in ("read", "gmac", "hmac"):
            yield f"base: {stage}", lambda stage=stage: self.floor(
                "base", stage)
        for level in sorted({self.bench.default_level, 3}):
            yield f"base: all, level {level}", \
                lambda level=level: self.floor("base", "write", level)
        yield f"base: all and fsync, level {self.bench.default_level}", \
            lambda: self.floor("base", "write", self.bench.default_level,
                               "--sync")
        yield "gen2: gmac", lambda: self.floor("gen2", "gmac")


# In this order they run, round by round.
ALL = (Vmsnap, VmsnapLevel3, Floor, Cp, QemuImg, Borg, BorgFixed, Restic,
       Casync)

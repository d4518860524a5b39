#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What grows: a table of 10^8 entries, 50,000 snapshots, a disk of 16 TiB.

Each is a part of its own, measured for wall, CPU and peak RSS, since what is
claimed is that memory does not grow with the store or the disk. Needs about
45 GiB of disk for all three. --results puts what each part came to into
RESULTS.md, in the place of what that part came to before.
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

import measure
import report

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1 << 20
PASSPHRASE = "correct horse battery staple"
PARTS = ("table", "snapshots", "scatter")
HEAD = ["work", "wall s", "CPU s", "peak RSS, MiB", "budget", ""]


def quiet(*command, env=None):
    """A step that is not measured; what it printed."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE,
                          env={**os.environ, **(env or {})}).stdout


class Large:
    def __init__(self, options):
        self.options = options
        self.programs = os.path.abspath(
            os.path.join(options.build, "tests/bench"))
        self.filler = os.path.join(self.programs, "snapshots_bench")
        self.vmsnap = os.path.abspath(os.path.join(options.build, "vmsnap"))
        os.makedirs(options.scratch, exist_ok=True)
        self.place = os.path.abspath(
            tempfile.mkdtemp(prefix="large.", dir=options.scratch))
        self.env = {"VMSNAP_HOME": os.path.join(self.place, "home"),
                    "XDG_CACHE_HOME": os.path.join(self.place, "cache")}
        self.samples = []

    def run(self, work, *command):
        done = measure.run(list(command), env=self.env,
                           log=os.path.join(self.place, "log"))
        self.samples.append({"work": work, **done.as_dict()})
        print(f"{work}: {done.wall_s:.3f} s, CPU {done.cpu_s:.3f} s, "
              f"{done.peak_rss_bytes / MIB:.0f} MiB", file=sys.stderr)
        return done

    def row(self, work, budget, verdict):
        """Of all samples of this work; the verdict is made of their medians."""
        samples = [s for s in self.samples if s["work"] == work]
        wall, cpu, peak = (statistics.median(s[key] for s in samples)
                           for key in ("wall_s", "cpu_s", "peak_rss_bytes"))
        digits = 1 if wall >= 10 else 3 if wall < 1 else 2
        return [work, f"{wall:.{digits}f}", f"{cpu:.{digits}f}",
                f"{peak / MIB:.0f}", budget, verdict(wall, peak / MIB)]

    def memory_row(self, work, limit):
        return self.row(work, f"{limit} MiB",
                        lambda wall, peak: report.at_most(peak, limit))

    def table(self):
        place = os.path.join(self.place, "table")
        work = f"table of {self.options.entries:,} entries, made and looked up"
        os.makedirs(place)
        done = self.run(work, os.path.join(self.programs, "table_bench"),
                        "--entries", str(self.options.entries), "--dir", place)
        shutil.rmtree(place, ignore_errors=True)
        told = json.loads(done.stdout)
        return report.table(HEAD, [self.memory_row(work, 256)]) + (
            f"\n\nMade: {told['build_per_second']:,.0f} entries a second. "
            f"Look-ups a second: {told['present_lookups_per_second']:,.0f} "
            "that are there (a block from the disk each), "
            f"{told['absent_lookups_per_second']:,.0f} that are not (the "
            "filter).")

    def stores(self, kind, disk):
        """Two stores with one snapshot of `disk`, one with very many more."""
        stores = [os.path.join(self.place, kind + name)
                  for name in ("-empty", "-full")]
        for store in stores:
            quiet(self.vmsnap, "--store", store, "init",
                  *(["--plaintext"] if kind == "plaintext" else []),
                  env=self.env)
            quiet(self.vmsnap, "--store", store, "backup", "-q", "first", disk,
                  env=self.env)
        quiet(self.filler, stores[1], str(self.options.snapshots),
              env=self.env)
        return stores

    def beside(self, kind, disk):
        """Backups in turn in both stores."""
        count = f"{self.options.snapshots:,}"
        self.env.pop("VMSNAP_PASSPHRASE", None)
        if kind == "encrypted":
            self.env["VMSNAP_PASSPHRASE"] = PASSPHRASE
        empty, full = self.stores(kind, disk)
        works = (f"backup of 16 MiB, {kind}, {count} snapshots",
                 f"backup of 16 MiB, {kind}, empty store")
        rows, floors = [], []
        if kind == "encrypted":
            work = f"`list` of {count} snapshots"
            for _ in range(self.options.rounds):
                self.run(work, self.vmsnap, "--store", full, "list")
            rows.append(self.row(work, "1 s", lambda wall, peak:
                                 report.at_most(wall, 1)))
        for _ in range(self.options.rounds):
            for work, store in zip(works, (full, empty)):
                measure.settle(self.place)
                self.run(work, self.vmsnap, "--store", store, "backup", "-q",
                         "first", disk)
            floors.append(json.loads(quiet(self.filler, full)))
        walls = [sorted(s["wall_s"] for s in self.samples
                        if s["work"] == work) for work in works]
        more = statistics.median(walls[0]) - statistics.median(walls[1])
        spread = walls[1][-1] - walls[1][0]
        floor = statistics.median(f["list_seconds"] for f in floors)
        rows.append(self.row(
            works[0], "as in an empty store",
            lambda wall, peak: "met" if more <= 0 else f"{more:.3f} s more"
            + (", less than the spread" if more <= spread else "")))
        rows.append(self.row(works[1], "", lambda wall, peak:
                             f"spread {spread:.3f} s"))
        for store in (empty, full):
            shutil.rmtree(store, ignore_errors=True)
        return rows, floor

    def snapshots(self):
        disk = os.path.join(self.place, "small.raw")
        with open(disk, "wb") as out:
            out.write(os.urandom(16 * MIB))
        rows, floors = [], []
        for kind in ("encrypted", "plaintext"):
            more, floor = self.beside(kind, disk)
            rows += more
            floors.append(floor)
        os.unlink(disk)
        return report.table(HEAD, rows) + (
            f"\n\nMedians of {self.options.rounds} rounds. To read the names "
            "of that folder, by the system's call and with nothing done to "
            f"them, takes {statistics.median(floors):.3f} s.")

    def scatter(self):
        disk = os.path.join(self.place, "huge.raw")
        self.env["VMSNAP_PASSPHRASE"] = PASSPHRASE
        self.env["VMSNAP_STORE"] = os.path.join(self.place, "store")
        quiet(os.path.join(HERE, "scatter.py"), disk, "--size",
              self.options.size, "--data", self.options.data)
        quiet(self.vmsnap, "init", env=self.env)
        size, data = (f"{given[:-1]} {given[-1]}iB" for given in
                      (self.options.size, self.options.data))
        what = f"{size} sparse disk with {data} scattered"
        rows = []
        for work, *arguments in (
                ("first backup", "backup", "-q", "huge", disk),
                ("unchanged", "backup", "-q", "huge", disk),
                ("verify", "verify", "-q", "huge"),
                ("check --read-data", "check", "-q", "--read-data")):
            self.run(f"{what}: {work}", self.vmsnap, *arguments)
            rows.append(self.memory_row(f"{what}: {work}", 192))
        return report.table(HEAD, rows)

    def close(self):
        shutil.rmtree(self.place, ignore_errors=True)


def introduced(text, load):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (f"Run of {now.isoformat(timespec='seconds')}: "
            f"{os.cpu_count()} CPUs, load before {load:.2f}."
            f"\n\n{text}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--scratch", default="build/bench")
    parser.add_argument("--only", default="+".join(PARTS))
    parser.add_argument("--rounds", type=int, default=9,
                        help="of the backups beside snapshots")
    parser.add_argument("--entries", type=int, default=10**8)
    parser.add_argument("--snapshots", type=int, default=50000)
    parser.add_argument("--size", default="16T")
    parser.add_argument("--data", default="20G")
    parser.add_argument("--output", help="default: BUILD/large.json")
    parser.add_argument("--results", action="store_true")
    options = parser.parse_args()
    parts = options.only.split("+")
    if not set(parts) <= set(PARTS):
        parser.error(f"--only: parts of {'+'.join(PARTS)}")

    large = Large(options)
    failed = []
    try:
        for part in parts:
            load = os.getloadavg()[0]
            try:
                text = introduced(getattr(large, part)(), load)
            except (measure.Failed, OSError,
                    subprocess.CalledProcessError) as error:
                failed.append(f"{part}: {error}")
                print(f"large.py: {failed[-1]}", file=sys.stderr)
                continue
            print(f"{text}\n")
            # What fails leaves the figures of before, which say when.
            if options.results:
                report.rewrite(os.path.join(HERE, "RESULTS.md"), text,
                               f"large {part}")
    finally:
        large.close()
    output = options.output or os.path.join(options.build, "large.json")
    with open(output, "w", encoding="utf-8") as file:
        json.dump({"type": "large", "samples": large.samples,
                   "failures": failed}, file, indent=1)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

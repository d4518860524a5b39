#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What grows: a table of 10^8 entries, 50,000 snapshots, a disk of 16 TiB.

Each is a command of its own, measured for wall, CPU and peak RSS, since what
is claimed is that memory does not grow with the store or the disk. Needs about
45 GiB of disk for all three. --results puts the table into RESULTS.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

import measure
import report

HERE = os.path.dirname(os.path.abspath(__file__))
MIB, GIB = 1 << 20, 1 << 30
PASSPHRASE = "correct horse battery staple"


class Large:
    def __init__(self, options):
        self.options = options
        self.programs = os.path.abspath(
            os.path.join(options.build, "tests/bench"))
        self.vmsnap = os.path.abspath(os.path.join(options.build, "vmsnap"))
        os.makedirs(options.scratch, exist_ok=True)
        self.place = tempfile.mkdtemp(prefix="large.", dir=options.scratch)
        self.rows = []

    def run(self, work, *command, limit_mib=None, env=None):
        done = measure.run(list(command), env=env,
                           log=os.path.join(self.place, "log"))
        text = done.stdout.decode().strip()
        documents = []
        for line in text.splitlines():
            if line.startswith("{"):
                documents.append(json.loads(line))
        self.rows.append({"work": work, "limit_mib": limit_mib,
                          **done.as_dict(), "told": documents})
        print(f"{work}: {done.wall_s:.2f} s, "
              f"{done.peak_rss_bytes / MIB:.0f} MiB", file=sys.stderr)

    def table(self):
        place = os.path.join(self.place, "table")
        os.makedirs(place)
        self.run(f"table of {self.options.entries:,} entries",
                 os.path.join(self.programs, "table_bench"),
                 "--entries", str(self.options.entries), "--dir", place,
                 limit_mib=256)
        shutil.rmtree(place, ignore_errors=True)

    def snapshots(self):
        """`list` of many, and a backup in such a store beside an empty one."""
        disk = os.path.join(self.place, "small.raw")
        with open(disk, "wb") as out:
            out.write(os.urandom(16 * MIB))
        for kind, count in (("empty", 0), ("full", self.options.snapshots)):
            store = os.path.join(self.place, kind)
            command = [self.vmsnap, "--store", store]
            subprocess.run([*command, "init", "--plaintext"], check=True,
                           stdout=subprocess.DEVNULL)
            subprocess.run([*command, "backup", "-q", "first", disk],
                           check=True, stdout=subprocess.DEVNULL)
            if count:
                subprocess.run(
                    [os.path.join(self.programs, "snapshots_bench"), store,
                     str(count)], check=True, stdout=subprocess.DEVNULL)
                self.run(f"list of {count:,} snapshots", *command, "list",
                         limit_mib=192)
            self.run(f"backup of 16 MiB, {count:,} snapshots in the store",
                     *command, "backup", "--json", "first", disk,
                     limit_mib=192)
            shutil.rmtree(store, ignore_errors=True)
        os.unlink(disk)

    def scatter(self):
        disk = os.path.join(self.place, "huge.raw")
        env = {"VMSNAP_PASSPHRASE": PASSPHRASE,
               "VMSNAP_STORE": os.path.join(self.place, "store"),
               "VMSNAP_HOME": os.path.join(self.place, "home"),
               "XDG_CACHE_HOME": os.path.join(self.place, "cache")}
        subprocess.run([os.path.join(HERE, "scatter.py"), disk,
                        "--size", self.options.size,
                        "--data", self.options.data], check=True)
        subprocess.run([self.vmsnap, "init"], check=True,
                       env={**os.environ, **env}, stdout=subprocess.DEVNULL)
        what = f"{self.options.size} disk, {self.options.data} of data"
        for work, *arguments in (
                ("first backup", "backup", "--json", "huge", disk),
                ("unchanged", "backup", "--json", "huge", disk),
                ("verify", "verify", "--json", "huge"),
                ("check --read-data", "check", "--json", "--read-data")):
            self.run(f"{what}: {work}", self.vmsnap, *arguments, env=env,
                     limit_mib=192)

    def close(self):
        shutil.rmtree(self.place, ignore_errors=True)


def told(document):
    return ", ".join(f"{key} {value}" for key, value in document.items()
                     if isinstance(value, (int, float))
                     and key not in ("elapsed_us",))


def markdown(rows):
    cells = []
    for row in rows:
        peak = row["peak_rss_bytes"] / MIB
        limit = row["limit_mib"]
        cells.append([row["work"], f"{row['wall_s']:.2f}",
                      f"{row['cpu_s']:.2f}", f"{peak:.0f}",
                      f"<= {limit}: {report.at_most(peak, limit)}",
                      "; ".join(told(d) for d in row["told"])])
    return report.table(["work", "wall s", "CPU s", "peak RSS, MiB",
                         "budget, MiB", "told by the program"], cells)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--scratch", default="build/bench")
    parser.add_argument("--only", default="table+snapshots+scatter")
    parser.add_argument("--entries", type=int, default=10**8)
    parser.add_argument("--snapshots", type=int, default=50000)
    parser.add_argument("--size", default="16T")
    parser.add_argument("--data", default="20G")
    parser.add_argument("--output", help="default: BUILD/large.json")
    parser.add_argument("--results", action="store_true")
    options = parser.parse_args()

    large = Large(options)
    failed = []
    try:
        for name in options.only.split("+"):
            try:
                getattr(large, name)()
            except (measure.Failed, OSError,
                    subprocess.CalledProcessError) as error:
                failed.append(f"{name}: {error}")
                print(f"large.py: {failed[-1]}", file=sys.stderr)
    finally:
        large.close()
    output = options.output or os.path.join(options.build, "large.json")
    with open(output, "w", encoding="utf-8") as file:
        json.dump({"type": "large", "rows": large.rows, "failures": failed},
                  file, indent=1)
    text = "\n\n".join([markdown(large.rows)]
                       + [f"**Failed:** {failure}" for failure in failed])
    print(text)
    if options.results:
        report.rewrite(os.path.join(HERE, "RESULTS.md"), text, "large")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmark beside the peers: all sides in turn in one run.

The disks (mkdisk.sh) and the stores lie on one file system. Before each step
what is dirty is written out and the source is read once, so each side finds the
same: a warm page cache and a clean disk. Nothing is dropped. Every restored
file is held against the source. Writes bench.json, prints Markdown, draws the
chart; --results puts the tables into RESULTS.md.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile

import chart
import measure
import report
import sides

HERE = os.path.dirname(os.path.abspath(__file__))


class Bench:
    def __init__(self, options):
        self.vmsnap = os.path.abspath(os.path.join(options.build, "vmsnap"))
        self.floor = os.path.abspath(
            os.path.join(options.build, "tests/bench/floor"))
        self.default_level = options.default_level
        folder = os.path.abspath(options.disks)
        self.disks = {name: os.path.join(folder, name + ".raw")
                      for name in sides.DISKS}
        self.scratch = tempfile.mkdtemp(prefix="scratch.", dir=folder)
        self.digests = {}
        self.samples = []
        self.failures = []

    def digest_of(self, disk):
        if disk not in self.digests:
            self.digests[disk] = measure.digest(self.disks[disk])
        return self.digests[disk]

    def step(self, side, name, function, turn):
        measure.settle(self.scratch)
        for disk in sides.DISKS:
            if disk in name:
                measure.warm(self.disks[disk])
        result = function()
        done, extra = result if isinstance(result, tuple) else (result, {})
        if name.startswith("-"):
            return
        if side.restored and (measure.digest(side.restored)
                              != self.digest_of("gen2")):
            raise measure.Failed(f"{name}: what came back is not gen2")
        sample = {"side": side.name, "step": name, "round": turn,
                  **done.as_dict(), **extra}
        if "restore" not in name:
            sample["store_bytes"] = side.store_bytes()
        self.samples.append(sample)
        print(f"{turn + 1}  {side.name:16} {name:28} {done.wall_s:8.2f} s "
              f"{done.cpu_s:8.2f} s CPU", file=sys.stderr, flush=True)
        side.clean_step()

    def side(self, side, turn):
        side.begin()
        try:
            for name, function in side.steps():
                self.step(side, name, function, turn)
        except (measure.Failed, OSError, ValueError, KeyError) as error:
            self.failures.append(f"{side.name}: {error}")
            print(f"run.py: {side.name}: {error}", file=sys.stderr)
        finally:
            side.end()


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, check=False)
        return done.stdout.decode().splitlines()[0]
    except (OSError, IndexError):
        return ""


def machine():
    model = ""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
    return {"cpu": model, "cpus": len(os.sched_getaffinity(0)),
            "kernel": platform.release(),
            "load_before": round(os.getloadavg()[0], 2),
            "borg": first_line("borg", "--version"),
            "restic": first_line("restic", "version"),
            "casync": first_line("casync", "--version"),
            "qemu_img": first_line("qemu-img", "--version")}


def chosen_sides(options, bench):
    wanted = []
    for kind in sides.ALL:
        side = kind(bench)
        if options.only and side.name not in options.only.split("+"):
            continue
        if options.quick and not side.quick:
            continue
        if not side.available():
            print(f"run.py: {side.name} is left out: {side.program} is not "
                  f"there", file=sys.stderr)
            continue
        wanted.append(side)
    return wanted


def measure_all(options):
    bench = Bench(options)
    try:
        wanted = chosen_sides(options, bench)
        head = {"type": "bench", "machine": machine(),
                "time": datetime.datetime.now(datetime.timezone.utc)
                .isoformat(timespec="seconds"),
                "rounds": options.rounds,
                "default_level": options.default_level,
                "sides": {side.name: {"words": side.words,
                                      "encrypted": side.encrypted}
                          for side in wanted},
                "disks": {name: measure.data_bytes(path)
                          for name, path in bench.disks.items()}}
        for turn in range(options.rounds):
            for side in wanted:
                if turn == 0 or not side.expensive:
                    bench.side(side, turn)
        head["failures"] = bench.failures
        head["samples"] = bench.samples
        return head
    finally:
        shutil.rmtree(bench.scratch, ignore_errors=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--disks", help="default: VMSNAP_BENCH_DIR, else "
                        "build/bench/disks")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", metavar="SIDE+SIDE",
                        help="e.g. 'vmsnap+floor+borg fixed'")
    parser.add_argument("--quick", action="store_true",
                        help="vmsnap, floor, cp and qemu-img only")
    parser.add_argument("--default-level", type=int, default=1,
                        help="zstd level that vmsnap uses unasked")
    parser.add_argument("--results", action="store_true",
                        help="rewrite the run's part of RESULTS.md")
    parser.add_argument("--from", dest="source", metavar="BENCH.JSON",
                        help="measure nothing: report on an earlier run")
    parser.add_argument("--output", help="default: BUILD/bench.json")
    options = parser.parse_args()
    options.disks = (options.disks or os.environ.get("VMSNAP_BENCH_DIR")
                     or os.path.join(options.build, "bench/disks"))
    options.output = options.output or os.path.join(options.build,
                                                    "bench.json")
    return options


def main():
    options = parse()
    if options.source:
        with open(options.source, encoding="utf-8") as file:
            result = json.load(file)
    else:
        subprocess.run([os.path.join(HERE, "mkdisk.sh"), options.disks],
                       check=True)
        result = measure_all(options)
        os.makedirs(os.path.dirname(options.output) or ".", exist_ok=True)
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    text = report.markdown(result)
    print(text)
    if options.results:
        report.rewrite(os.path.join(HERE, "RESULTS.md"), text)
        chart.draw(result, os.path.join(HERE, "chart.svg"))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())

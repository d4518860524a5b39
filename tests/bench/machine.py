#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Machines: how soon a guest runs, and what its agent takes beside the RAM.

A tiny guest on this host's KVM. --results puts the table into RESULTS.md.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import large
import report

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1 << 20
GUEST_RAM = "1G"
GUEST_RAM_BYTES = 1 << 30
HEAD = ["work", "median", "least..most", "budget", ""]


class Machines:
    def __init__(self, options):
        self.rounds = options.rounds
        self.vmsnap = os.path.abspath(os.path.join(options.build, "vmsnap"))
        self.guest = os.path.abspath(
            os.path.join(options.build, "tests/kvm/echo.elf"))
        os.makedirs(options.scratch, exist_ok=True)
        self.place = os.path.abspath(
            tempfile.mkdtemp(prefix="machine.", dir=options.scratch))
        self.env = {**os.environ,
                    "VMSNAP_HOME": os.path.join(self.place, "home")}
        self.samples = []

    def quiet(self, *arguments):
        return subprocess.run([self.vmsnap, *arguments], check=True,
                              env=self.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE).stdout

    def add(self, work, value):
        self.samples.append({"work": work, "value": value})

    def timed(self, work, *arguments):
        start = time.monotonic()
        self.quiet(*arguments)
        self.add(work, (time.monotonic() - start) * 1e3)

    def first_byte(self, work, memory, net):
        """From the command's start to what the guest says first."""
        start = time.monotonic()
        child = subprocess.Popen(
            [self.vmsnap, "run", "fore", "--kernel", self.guest, "--memory",
             memory, "--net", net, "--foreground"], env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0)
        said = child.stdout.read(1)
        self.add(work, (time.monotonic() - start) * 1e3)
        if not said:
            raise RuntimeError("the guest says nothing")
        self.quiet("rm", "-q", "--force", "fore")
        child.communicate()

    def start(self):
        for _ in range(self.rounds):
            self.timed("`vmsnap --version`, ms", "--version")
            self.timed(f"`run`, {GUEST_RAM}, to its return, ms", "run", "-q",
                       "back", "--kernel", self.guest, "--memory", GUEST_RAM,
                       "--net", "none")
            self.quiet("rm", "-q", "--force", "back")
            for memory in ("64M", GUEST_RAM):
                self.first_byte(
                    f"`run`, {memory}, to the guest's first word, ms", memory,
                    "none")
            if shutil.which("passt"):
                self.first_byte("the same with passt, ms", "64M", "user")

    @staticmethod
    def own_bytes(process):
        """PSS of all that is not the guest's RAM; of the code, its share."""
        own = ram = size = 0
        with open(f"/proc/{process}/smaps", encoding="utf-8") as lines:
            for line in lines:
                word = line.split()
                if word[0] == "Size:":
                    size = int(word[1]) * 1024
                elif word[0] == "Pss:" and size >= GUEST_RAM_BYTES:
                    ram += int(word[1]) * 1024
                elif word[0] == "Pss:":
                    own += int(word[1]) * 1024
        if not ram:
            raise RuntimeError("no mapping is the guest's RAM")
        return own

    def memory(self):
        for disks in (0, 1):
            image = os.path.join(self.place, "disk.vsi")
            arguments = []
            if disks:
                self.quiet("image", "create", "-q", image, "--size", "8G")
                arguments = ["--disk", image, "--in-place"]
            self.quiet("run", "-q", "back", "--kernel", self.guest,
                       "--memory", GUEST_RAM, "--net", "none", *arguments)
            pid = os.path.join(self.place, "home/machines/back/agent.pid")
            with open(pid, encoding="utf-8") as file:
                own = self.own_bytes(int(file.read()))
            self.add(f"agent's own memory, {disks} disks, MiB", own / MIB)
            self.quiet("rm", "-q", "--force", "back")

    def row(self, work):
        values = [s["value"] for s in self.samples if s["work"] == work]
        middle = statistics.median(values)
        limit = 8 if "memory" in work else 20 if "first word" in work else None
        return [work, f"{middle:.1f}", f"{min(values):.1f}..{max(values):.1f}",
                "none" if limit is None else f"<= {limit}",
                "for comparison" if limit is None
                else report.at_most(middle, limit)]

    def table(self):
        works = list(dict.fromkeys(s["work"] for s in self.samples))
        return report.table(HEAD, [self.row(work) for work in works]) + (
            f"\n\n{self.rounds} rounds, all in turn. The guest's first word "
            "comes some instructions after its first one, and by way of its "
            "serial port; a first word within the budget is a first "
            "instruction within it.")

    def close(self):
        shutil.rmtree(self.place, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--scratch", default="build/bench")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--output", help="default: BUILD/machine.json")
    parser.add_argument("--results", action="store_true")
    options = parser.parse_args()
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("machine.py: no /dev/kvm to be used here: nothing measured",
              file=sys.stderr)
        return 0
    machines = Machines(options)
    load = os.getloadavg()[0]
    try:
        machines.start()
        machines.memory()
        text = large.introduced(machines.table(), load)
        print(text)
        if options.results:
            report.rewrite(os.path.join(HERE, "RESULTS.md"), text, "machine")
    finally:
        machines.close()
    output = options.output or os.path.join(options.build, "machine.json")
    with open(output, "w", encoding="utf-8") as file:
        json.dump({"type": "machine", "samples": machines.samples}, file,
                  indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())

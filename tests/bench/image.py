#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The live image beside raw files and qcow2, all sides in turn in one run.

Parts: direct (our driver image_bench beside qemu-img bench, the same patterns),
nbd (fio's nbd engine on our plugin beside qemu-nbd), life (create, seal,
absorb, map memory, cold reads), backup (of an image with 1% changed, beside a
rescan of the raw disk). Puts its samples into bench.json under "image", prints
Markdown; --results puts that into RESULTS.md.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

import measure
import report
from statistics import median

HERE = os.path.dirname(os.path.abspath(__file__))
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZE = 8 * GIB
COUNT, DEPTH, STEP = 20000, 16, 136 * KIB
FLUSHED = 2000
CACHED = 32 * MIB
SOLID = 4 * GIB
PASSPHRASE = "correct horse battery staple"
FORMATS = {"raw": ("raw", ()), "qcow2": ("qcow2", ()),
           "qcow2 sub-clusters": ("qcow2", ("-o", "extended_l2=on"))}
STEPS = ("fresh", "overwrite", "read", "write+flush")
# (step, limit): our rate over that of qemu on raw.
LIMITS = {"fresh": 1.0, "overwrite": 0.9, "read": 0.9, "read, cached": 0.5,
          "write+flush": 0.9}


class Image:
    def __init__(self, options):
        self.options = options
        self.vmsnap = os.path.abspath(os.path.join(options.build, "vmsnap"))
        self.driver = os.path.abspath(
            os.path.join(options.build, "tests/bench/image_bench"))
        self.place = tempfile.mkdtemp(prefix="image.",
                                      dir=os.path.abspath(options.scratch))
        self.store = os.path.join(self.place, "store")
        self.env = dict(os.environ, LC_ALL="C", VMSNAP_STORE=self.store,
                        VMSNAP_PASSPHRASE=PASSPHRASE)
        self.samples = []
        self.failures = []

    def path(self, name):
        return os.path.join(self.place, name)

    def settle(self):
        measure.settle(self.place)

    def output(self, *command, env=None):
        done = subprocess.run([str(c) for c in command], capture_output=True,
                              env={**self.env, **(env or {})}, check=False)
        if done.returncode:
            raise measure.Failed(
                f"{command[0]} {command[1]}: {done.stderr.decode()[-400:]}")
        return done.stdout.decode()

    def drive(self, *words):
        return json.loads(self.output(self.driver, *words))

    def add(self, part, side, step, turn, seconds, **more):
        self.samples.append({"part": part, "side": side, "step": step,
                             "round": turn, "seconds": round(seconds, 6),
                             **more})
        print(f"{turn + 1}  {part:7} {side:20} {step:24} {seconds:9.4f} s",
              file=sys.stderr, flush=True)

    def remove(self, name):
        for entry in os.listdir(self.place):
            if entry == name or entry.startswith(name + "."):
                os.unlink(self.path(entry))

    def blank(self, name):
        self.remove(name)
        self.output(self.vmsnap, "image", "create", "-q", self.path(name),
                    "--size", SIZE)

    def foreign(self, name, kind):
        form, flags = FORMATS[kind]
        self.remove(name)
        self.output("qemu-img", "create", "-q", "-f", form, *flags,
                    self.path(name), SIZE)
        return form

    # ---- direct ----

    def qemu_bench(self, form, name, step):
        words = ["-f", form, "-s", 4 * KIB]
        if step == "write+flush":
            words += ["-w", "-c", FLUSHED, "-d", 1, "-S", STEP,
                      "--flush-interval=1"]
        else:
            words += ["-c", COUNT, "-d", DEPTH, "-S", STEP]
            if not step.startswith("read"):
                words += ["-w"]
        told = self.output("qemu-img", "bench", *words, self.path(name))
        return float(re.search(r"in ([0-9.]+) seconds", told).group(1))

    def own_bench(self, kind, name, step):
        words = [kind, self.path(name)]
        if step == "write+flush":
            words += ["write", FLUSHED, 1, STEP, SIZE, "flush"]
        else:
            words += ["read" if step == "read" else "write", COUNT, DEPTH,
                      STEP, SIZE]
        return self.drive("ops", *words)["seconds"]

    def direct_side(self, turn, side, make, bench):
        for step in STEPS:
            if step in ("fresh", "write+flush"):
                make()
            self.settle()
            self.add("direct", side, step, turn, bench(step))

    def direct(self):
        cached = self.path("cached.raw")
        with open(cached, "wb") as out:
            out.write(random.Random(1).randbytes(CACHED))
        self.need_store()
        self.output(self.vmsnap, "backup", "-q", "cached", cached)
        self.output(self.vmsnap, "image", "create", "-q",
                    self.path("cached.vsi"), "--from", "cached")
        for turn in range(self.options.rounds):
            self.direct_side(turn, "vmsnap", lambda: self.blank("a.vsi"),
                             lambda step: self.own_bench("image", "a.vsi",
                                                         step))
            self.remove("a.vsi")
            self.direct_side(turn, "raw, our driver",
                             lambda: self.foreign("a.img", "raw"),
                             lambda step: self.own_bench("raw", "a.img",
                                                         step))
            for kind in FORMATS:
                form = FORMATS[kind][0]
                self.direct_side(turn, kind,
                                 lambda k=kind: self.foreign("a.img", k),
                                 lambda step, f=form: self.qemu_bench(
                                     f, "a.img", step))
            self.remove("a.img")
            self.add("direct", "vmsnap", "read, cached", turn, self.drive(
                "warm", self.path("cached.vsi"), CACHED,
                self.store)["seconds"])
            self.qemu_bench("raw", "cached.raw", "read")
            self.add("direct", "raw", "read, cached", turn,
                     self.qemu_bench("raw", "cached.raw", "read"))

    # ---- through NBD ----

    @contextlib.contextmanager
    def server(self, command):
        socket = self.path("socket")
        uri = f"nbd+unix:///?socket={socket}"
        with open(self.path("server.log"), "wb") as log:
            child = subprocess.Popen([str(c) for c in command], env=self.env,
                                     stdin=subprocess.DEVNULL, stdout=log,
                                     stderr=log)
            try:
                limit = time.monotonic() + 60
                while subprocess.run(["nbdinfo", "--size", uri],
                                     capture_output=True,
                                     check=False).returncode:
                    if child.poll() is not None or time.monotonic() > limit:
                        with open(self.path("server.log"), "rb") as told:
                            raise measure.Failed(
                                f"{command[0]}: {told.read()[-300:]}")
                    time.sleep(0.02)
                yield uri
            finally:
                child.terminate()
                child.wait()
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(socket)

    def fio(self, uri, step):
        words = ["--name=x", "--ioengine=nbd", f"--uri={uri}", "--bs=4k",
                 f"--size={SIZE}", "--output-format=json", "--thread"]
        gap = STEP - 4 * KIB
        if step == "write+flush":
            words += [f"--rw=write:{gap}", "--iodepth=1", "--fsync=1",
                      f"--number_ios={FLUSHED}"]
        else:
            kind = "read" if step == "read" else "write"
            words += [f"--rw={kind}:{gap}", f"--iodepth={DEPTH}",
                      f"--number_ios={COUNT}"]
        told = self.output("fio", *words)
        job = json.loads(told[told.index("{"):])["jobs"][0]
        done = job["read" if step == "read" else "write"]
        wanted = FLUSHED if step == "write+flush" else COUNT
        if job["error"] or done["total_ios"] != wanted:
            raise measure.Failed(f"fio did {done['total_ios']} of {wanted}")
        return job["job_runtime"] / 1000

    def nbd(self):
        socket = self.path("socket")
        for turn in range(self.options.nbd_rounds):
            for side in ("vmsnap", *FORMATS):
                for step in STEPS:
                    if step in ("fresh", "write+flush"):
                        if side == "vmsnap":
                            self.blank("n.img")
                            command = [self.vmsnap, "nbd", "--image",
                                       self.path("n.img"), "--writable",
                                       "--socket", socket]
                        else:
                            form = self.foreign("n.img", side)
                            command = ["qemu-nbd", "-t", "-k", socket, "-f",
                                       form, "--discard=unmap",
                                       "--cache=writeback", self.path("n.img")]
                    self.settle()
                    with self.server(command) as uri:
                        self.add("nbd", side, step, turn, self.fio(uri, step))
            self.remove("n.img")

    # ---- the rest of its life ----

    def need_store(self):
        if not os.path.exists(self.store):
            self.output(self.vmsnap, "init", "-q")

    def life(self):
        self.need_store()
        self.output(self.vmsnap, "backup", "-q", "base",
                    os.path.join(self.options.disks, "base.raw"))
        for turn in range(self.options.life_rounds):
            self.settle()
            self.add("life", "vmsnap", "create 64 TiB", turn, self.drive(
                "create", self.path("c"), "base", self.store)["seconds"])
            for size in (256 * MIB, 2 * GIB):
                self.blank("s.vsi")
                self.settle()
                told = self.drive("seal", self.path("s.vsi"), size)
                self.add("life", "vmsnap", f"seal, {size // MIB} MiB dirty",
                         turn, told["first_seconds"],
                         longest_s=told["longest_seconds"])
                self.remove("s.vsi")
            self.output(self.vmsnap, "image", "create", "-q",
                        self.path("d.vsi"), "--from", "base")
            self.settle()
            told = self.drive("absorb", self.path("d.vsi"), SIZE // 100,
                              self.store)
            self.add("life", "vmsnap", "absorb 1% of 8 GiB", turn,
                     told["seconds"])
            self.output(self.vmsnap, "image", "rm", "-q", self.path("d.vsi"))
            self.output(self.vmsnap, "image", "create", "-q",
                        self.path("d.vsi"), "--from", "base")
            self.settle()
            self.forget(self.store)
            told = self.drive("cold", self.path("d.vsi"), self.store)
            for key, step in (("store_seconds", "cold: open the store"),
                              ("image_seconds", "cold: open the image"),
                              ("first_seconds", "cold: first read"),
                              ("seconds", "cold: a read, median")):
                self.add("life", "vmsnap", step, turn, told[key])
            self.output(self.vmsnap, "image", "rm", "-q", self.path("d.vsi"))
        self.remove("m.vsi")
        self.output(self.vmsnap, "image", "create", "-q", self.path("m.vsi"),
                    "--size", 1024 * GIB)
        told = self.drive("map", self.path("m.vsi"), 1024 * GIB, 60000)
        self.add("life", "vmsnap", "map, 60,000 writes in 1 TiB", 0,
                 told["seconds"], rss_bytes=told["peak_rss_bytes"],
                 rss_before_bytes=told["rss_before_bytes"])
        self.remove("m.vsi")

    # ---- backup ----

    @staticmethod
    def forget(path):
        """Out of the page cache, if it is clean."""
        names = [path]
        if os.path.isdir(path):
            names = [os.path.join(root, name)
                     for root, _, files in os.walk(path) for name in files]
        for name in names:
            fd = os.open(name, os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)

    def make_solid(self, path):
        """4 GiB without a hole, of what is data in the newest disk."""
        source = os.path.join(self.options.disks, "gen2.raw")
        at = 0
        with open(path, "wb") as out:
            while at < SOLID:
                for fd, start, end in measure.data_extents(source):
                    start = -(-start // (64 * KIB)) * 64 * KIB
                    while start + 64 * KIB <= end and at < SOLID:
                        n = min(MIB, (end - start) // (64 * KIB) * 64 * KIB,
                                SOLID - at)
                        out.write(os.pread(fd, n, start))
                        start += n
                        at += n

    def backup_run(self, side, step, turn, name, path):
        start = time.monotonic()
        told = json.loads(self.output(self.vmsnap, "backup", "--json", name,
                                      path).splitlines()[-1])
        self.add("backup", side, step, turn, time.monotonic() - start,
                 told={k: v for k, v in told.items()
                       if isinstance(v, int) and k.endswith("_bytes")})

    def bytes_read(self, name, path):
        """By the kernel's count: plain calls, so that all are counted."""
        child = subprocess.Popen([self.vmsnap, "backup", "-q", name, path],
                                 env={**self.env, "VMSNAP_IO": "plain"},
                                 stdin=subprocess.DEVNULL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with open(f"/proc/{child.pid}/io", encoding="ascii") as told:
            count = int(told.readline().split()[1])
        if child.wait():
            raise measure.Failed(f"backup {name}: exit {child.returncode}")
        return count

    def touch(self, path, source):
        fd = os.open(path, os.O_RDWR)
        for _ in range(SOLID // 100 // (64 * KIB)):
            os.pwrite(fd, source.randbytes(64 * KIB),
                      source.randrange(SOLID // (64 * KIB)) * 64 * KIB)
        os.close(fd)

    def backup(self):
        self.need_store()
        solid, source = self.path("solid.raw"), random.Random(3)
        self.make_solid(solid)
        self.output(self.vmsnap, "backup", "-q", "solid", solid)
        for turn in range(self.options.life_rounds):
            self.remove("b.vsi")
            self.output(self.vmsnap, "image", "create", "-q",
                        self.path("b.vsi"), "--from", "solid")
            self.output(self.driver, "touch", self.path("b.vsi"), SOLID // 100,
                        self.store)
            self.touch(solid, source)
            self.settle()
            for name in os.listdir(self.place):
                if name.startswith("b.vsi") or name == "solid.raw":
                    self.forget(self.path(name))
            self.backup_run("image, 1% changed", "cold", turn, "b",
                            self.path("b.vsi"))
            self.backup_run("rescan of raw", "cold", turn, "solid", solid)
            self.touch(solid, source)
            self.output(self.driver, "touch", self.path("b.vsi"), SOLID // 100,
                        self.store)
            self.backup_run("image, 1% changed", "warm", turn, "b",
                            self.path("b.vsi"))
            self.backup_run("rescan of raw", "warm", turn, "solid", solid)
            self.settle()
        self.output(self.vmsnap, "image", "rm", "-q", self.path("b.vsi"))
        self.output(self.vmsnap, "image", "create", "-q", self.path("b.vsi"),
                    "--from", "solid")
        self.output(self.driver, "touch", self.path("b.vsi"), SOLID // 100,
                    self.store)
        for side, name, path in (("image, 1% changed", "b",
                                  self.path("b.vsi")),
                                 ("rescan of raw", "solid", solid)):
            self.add("backup", side, "bytes read", 0, 0.0,
                     bytes_read=self.bytes_read(name, path))

    def close(self):
        shutil.rmtree(self.place, ignore_errors=True)


# ---- the report ----

class Figures:
    def __init__(self, samples):
        self.samples = samples

    def all(self, part, side, step, key="seconds"):
        return {s["round"]: s[key] for s in self.samples
                if (s["part"], s["side"], s["step"]) == (part, side, step)
                and key in s}

    def of(self, part, side, step, key="seconds"):
        values = list(self.all(part, side, step, key).values())
        return median(values) if values else None

    def faster(self, part, side, peer, step):
        """How many times as fast as the peer: the median over the rounds."""
        ours, theirs = (self.all(part, s, step) for s in (side, peer))
        both = [theirs[turn] / ours[turn] for turn in ours if turn in theirs]
        return median(both) if both else None

    def steps(self, part, side):
        seen = []
        for s in self.samples:
            if (s["part"], s["side"]) == (part, side) and \
                    s["step"] not in seen:
                seen.append(s["step"])
        return seen

    def sides(self, part):
        return list(dict.fromkeys(s["side"] for s in self.samples
                                  if s["part"] == part))


def rate_table(figures, part):
    rows = []
    steps = figures.steps(part, "vmsnap")
    for side in figures.sides(part):
        cells = []
        for step in steps:
            values = figures.all(part, side, step).values()
            cells.append(f"{median(values):.3f} ({min(values):.3f}.."
                         f"{max(values):.3f})" if values else "")
        rows.append([f"**{side}**", *cells])
    return report.table(["seconds", *steps], rows)


def rate_budgets(figures, part):
    for step in figures.steps(part, "vmsnap"):
        value = figures.faster(part, "vmsnap", "raw", step)
        limit = LIMITS[step]
        yield [f"{part}: {step}", f">= {limit} x raw by qemu",
               report.number(value),
               "not measured" if value is None
               else report.at_least(value, limit),
               "; ".join(f"{report.number(v)} x {peer}" for peer, v in
                         ((p, figures.faster(part, "vmsnap", p, step))
                          for p in figures.sides(part)
                          if p not in ("vmsnap", "raw")) if v)]


def life_budgets(figures):
    for step, limit, what in (
            ("create 64 TiB", 10e-3, "<= 10 ms, scrypt apart"),
            ("seal, 256 MiB dirty", 1e-3, "<= 1 ms"),
            ("seal, 2048 MiB dirty", 1e-3, "<= 1 ms, any size"),
            ("absorb 1% of 8 GiB", None, "none"),
            ("cold: open the store", None, "none: scrypt for the most part"),
            ("cold: open the image", None, "none"),
            ("cold: first read", None, "none"),
            ("cold: a read, median", None, "none")):
        value = figures.of("life", "vmsnap", step)
        if value is None:
            continue
        yield [step, what, f"{value * 1000:.2f} ms",
               report.at_most(value, limit) if limit else "for comparison",
               ""]
    step = "map, 60,000 writes in 1 TiB"
    rss = figures.of("life", "vmsnap", step, "rss_bytes")
    if rss:
        yield [step, "peak RSS <= 128 MiB (64 of it map pages)",
               f"{rss / MIB:.0f} MiB, {figures.of('life', 'vmsnap', step):.1f}"
               " s", report.at_most(rss, 128 * MIB), ""]


def backup_budgets(figures):
    ours, theirs = "image, 1% changed", "rescan of raw"
    for step, limit in (("cold", 20), ("warm", None)):
        value = figures.faster("backup", ours, theirs, step)
        if value is None:
            continue
        yield [f"backup of an image, 1% of 4 GiB changed, {step} page cache",
               f">= {limit} x faster than a rescan of the raw disk" if limit
               else "none", report.number(value, 1),
               report.at_least(value, limit) if limit else "for comparison",
               f"{figures.of('backup', ours, step):.2f} s beside "
               f"{figures.of('backup', theirs, step):.2f} s"]
    count = figures.of("backup", ours, "bytes read", "bytes_read")
    if count:
        share = 100 * count / SOLID
        yield ["what it reads, all files", "about 1% of the disk",
               f"{share:.2f}%", report.at_most(share, 1.2),
               f"{count / MIB:.0f} MiB; the rescan " + "{:.0f} MiB".format(
                   figures.of("backup", theirs, "bytes read", "bytes_read")
                   / MIB)]


def markdown(result):
    figures = Figures(result["samples"])
    rows = []
    lines = [f"Run of {result['time']}; load before {result['load_before']}. "
             f"{COUNT:,} requests of 4 KiB, {STEP // KIB} KiB apart, depth "
             f"{DEPTH}; write+flush {FLUSHED:,} at depth 1. Medians "
             "(least..most) of sides in turn; before each step dirty data is "
             "written out. `raw` and `qcow2` by qemu-img bench with its "
             "defaults; a ratio above 1: the image is the faster."]
    for part, words in (
            ("direct", "Our driver beside qemu-img bench:"),
            ("nbd", "fio through its nbd engine, our plugin beside "
                    "qemu-nbd:")):
        if figures.sides(part):
            lines += [words, rate_table(figures, part)]
            rows += rate_budgets(figures, part)
    rows += [*life_budgets(figures), *backup_budgets(figures)]
    lines += ["Against the budgets:",
              report.table(["work", "budget", "measured", "", "beside"],
                           rows)]
    lines += [f"**Failed:** {failure}" for failure in result["failures"]]
    return "\n\n".join(lines)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--disks", help="default: VMSNAP_BENCH_DIR, else "
                        "build/bench/disks")
    parser.add_argument("--scratch", help="default: where the disks are")
    parser.add_argument("--only", default="direct+nbd+life+backup")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nbd-rounds", type=int, default=3)
    parser.add_argument("--life-rounds", type=int, default=3)
    parser.add_argument("--results", action="store_true",
                        help="rewrite the image's part of RESULTS.md")
    parser.add_argument("--output", help="default: BUILD/bench.json")
    options = parser.parse_args()
    options.disks = (options.disks or os.environ.get("VMSNAP_BENCH_DIR")
                     or os.path.join(options.build, "bench/disks"))
    options.scratch = options.scratch or options.disks
    options.output = options.output or os.path.join(options.build,
                                                    "bench.json")
    return options


def write_into(path, result):
    """Beside what run.py put there."""
    whole = {}
    with contextlib.suppress(FileNotFoundError):
        with open(path, encoding="utf-8") as file:
            whole = json.load(file)
    whole["image"] = result
    with open(path, "w", encoding="utf-8") as file:
        json.dump(whole, file, indent=1)


def main():
    options = parse()
    subprocess.run([os.path.join(HERE, "mkdisk.sh"), options.disks],
                   check=True)
    result = {"time": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
              "load_before": round(os.getloadavg()[0], 2)}
    image = Image(options)
    try:
        for part in options.only.split("+"):
            try:
                getattr(image, part)()
            except (measure.Failed, OSError, ValueError, KeyError) as error:
                image.failures.append(f"{part}: {error}")
                print(f"image.py: {image.failures[-1]}", file=sys.stderr)
    finally:
        image.close()
    result["samples"], result["failures"] = image.samples, image.failures
    write_into(options.output, result)
    text = markdown(result)
    print(text)
    if options.results:
        report.rewrite(os.path.join(HERE, "RESULTS.md"), text, "image")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""bench.json as Markdown: medians, spread, ratios, and the budgets."""

from statistics import median

MIB = 1 << 20
COLUMNS = ("base", "gen1", "gen2", "base again", "restore gen2",
           "check --read-data")


class Figures:
    """Medians by side and step; None where nothing was measured."""

    def __init__(self, result):
        self.result = result
        self.level = result["default_level"]

    def samples(self, side, step):
        return [s for s in self.result["samples"]
                if s["side"] == side and s["step"] == step]

    def of(self, side, step, key="wall_s"):
        values = [s[key] for s in self.samples(side, step) if key in s]
        return median(values) if values else None

    def spread(self, side, step):
        values = [s["wall_s"] for s in self.samples(side, step)]
        return (min(values), max(values)) if values else None

    def ratio(self, over, under):
        """Of two (side, step); the median of the ratios where both ran in
        the same rounds, else the ratio of the medians."""
        above, below = self.of(*over), self.of(*under)
        if above is None or not below:
            return None
        tops = {s["round"]: s["wall_s"] for s in self.samples(*over)}
        bottoms = {s["round"]: s["wall_s"] for s in self.samples(*under)}
        if tops.keys() == bottoms.keys():
            return median(tops[turn] / bottoms[turn] for turn in tops)
        return above / below

    def store(self, side):
        last = "base again" if side not in ("casync", "qemu-img") else (
            "gen2" if side == "casync" else "base")
        value = self.of(side, last, "store_bytes")
        return value / MIB if value else None

    def peak(self, side):
        values = [s["peak_rss_bytes"] for s in self.result["samples"]
                  if s["side"] == side]
        return max(values) / MIB if values else None

    def steps(self, side):
        seen = []
        for sample in self.result["samples"]:
            if sample["side"] == side and sample["step"] not in seen:
                seen.append(sample["step"])
        return seen


def number(value, digits=2):
    return "" if value is None else f"{value:.{digits}f}"


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(head, rows):
    return "\n".join([row(*head), row(*["---"] * len(head))]
                     + [row(*cells) for cells in rows])


def peers_table(figures):
    rows = []
    for side, about in figures.result["sides"].items():
        if side == "floor":
            continue
        cells = []
        for step in COLUMNS:
            wall, cpu = figures.of(side, step), figures.of(side, step, "cpu_s")
            cells.append("" if wall is None
                         else f"{wall:.2f} ({cpu:.1f})")
        if any(cells):
            rows.append([f"**{side}** ({about['words']})", *cells,
                         number(figures.store(side), 0),
                         number(figures.peak(side), 0)])
    return table(["wall s (CPU s)", *COLUMNS, "store, MiB", "peak RSS, MiB"],
                 rows)


def spread_table(figures):
    rows = []
    for side in figures.result["sides"]:
        for step in figures.steps(side):
            least, most = figures.spread(side, step)
            count = len(figures.samples(side, step))
            if count < 2:
                continue
            rows.append([side, step, number(figures.of(side, step), 3),
                         f"{least:.3f}..{most:.3f}",
                         number(figures.of(side, step, "cpu_s"), 3),
                         number((figures.of(side, step, "peak_rss_bytes")
                                 or 0) / MIB, 0)])
    return table(["side", "step", "median s", "min..max", "CPU s",
                  "RSS, MiB"], rows)


def at_most(value, limit):
    if value <= limit:
        return "met"
    return f"short by {100 * (value / limit - 1):.0f}%"


def at_least(value, limit):
    if value >= limit:
        return "met"
    return f"short by {100 * (1 - value / limit):.0f}%"


def budgets(figures):
    """(work, unit, value, limit, judge). Without a judge: for comparison.
    borg with fixed chunks skips holes here (--sparse), which the budgets,
    set against borg as it comes, do not know."""
    ours, three = "vmsnap", "vmsnap, level 3"
    floor = ("floor", f"base: all, level {figures.level}")

    def ratio(over, under):
        return figures.ratio(over, under)

    def beside(side, step):
        return ratio((side, step), (ours, step))

    smallest = [figures.store(side) for side in
                ("borg", "borg fixed", "restic", "casync")]
    smallest = [size for size in smallest if size]
    store3 = figures.store(three)
    content = figures.of(ours, "check --read-data", "content_bytes")
    check = figures.of(ours, "check --read-data")
    yield ("backup base", "x the floor at its level",
           ratio((ours, "base"), floor), 1.25, at_most)
    yield ("backup base", "x qemu-img -c",
           ratio((ours, "base"), ("qemu-img", "base")), 0.4, at_most)
    for peer in ("borg", "restic"):
        yield ("backup base", f"x faster than {peer}",
               beside(peer, "base"), 9, at_least)
    yield ("backup base", "x faster than borg fixed",
           beside("borg fixed", "base"), None, None)
    yield ("backup gen2 after gen1", "s", figures.of(ours, "gen2"), 1.2,
           at_most)
    yield ("backup gen2 after gen1", "x faster than restic",
           beside("restic", "gen2"), 12, at_least)
    yield ("backup base again", "s", figures.of(ours, "base again"), 0.4,
           at_most)
    yield ("backup base again", "x faster than borg",
           beside("borg", "base again"), 20, at_least)
    yield ("backup base again", "x faster than borg fixed",
           beside("borg fixed", "base again"), None, None)
    yield ("restore gen2 to a file", "s", figures.of(ours, "restore gen2"),
           2.2, at_most)
    yield ("restore gen2 to a file", "x cp --sparse=always",
           ratio((ours, "restore gen2"), ("cp", "restore gen2")), 0.5,
           at_most)
    for peer in ("borg", "borg fixed"):
        yield ("restore gen2 to a file", f"x faster than {peer}",
               beside(peer, "restore gen2"), 10, at_least)
    yield ("store after all three", "MiB at the default level",
           figures.store(ours), 625, at_most)
    yield ("store after all three", "MiB at level 3", store3, 600, at_most)
    yield ("store at level 3", "x the smallest of the peers",
           store3 / min(smallest) if store3 and smallest else None, 1.0,
           at_most)
    yield ("check --read-data", "GB/s of content",
           content / check / 1e9 if content and check else None, 2.0,
           at_least)
    yield ("peak RSS of any of them", "MiB", figures.peak(ours), 192, at_most)


def budget_table(figures):
    rows = []
    for work, unit, value, limit, judge in budgets(figures):
        shown = "" if value is None else f"{value:.2f}"
        if judge is None:
            rows.append([work, f"none: {unit}", shown, "for comparison"])
            continue
        sign = "<=" if judge is at_most else ">="
        rows.append([work, f"{sign} {limit:g} {unit}", shown,
                     "not measured" if value is None else judge(value, limit)])
    return table(["work", "budget", "measured", ""], rows)


def markdown(result):
    figures = Figures(result)
    machine = result["machine"]
    disks = ", ".join(f"`{name}` {size / 1e6:.0f} MB"
                      for name, size in result["disks"].items())
    versions = ", ".join(machine[key] for key in
                         ("borg", "restic", "casync", "qemu_img")
                         if machine[key])
    lines = [
        f"Run of {result['time']}: {machine['cpus']} CPUs "
        f"({machine['cpu']}), Linux {machine['kernel']}; load before "
        f"{machine['load_before']}. {versions}. "
        f"Data of the disks: {disks}.",
        f"{result['rounds']} rounds, all sides in turn in one run (borg, "
        "restic and casync once); medians. Before each step dirty data is "
        "written out and the source is read once; nothing is dropped, and "
        "what a restore wrote is removed, so that each side finds the same "
        "page cache. Every file that came back was held against the source. "
        "A store's size is what it takes on the disk, folders and all. "
        "A peak RSS below 27 MiB reads as that: it is the measuring "
        "program's own.",
        peers_table(figures), "Against the budgets:", budget_table(figures),
        "The spread of what ran more than once:", spread_table(figures)]
    for failure in result["failures"]:
        lines.append(f"**Failed:** {failure}")
    return "\n\n".join(lines)


def rewrite(path, text, part="run"):
    """What stands between <!-- part --> and <!-- /part --> becomes text."""
    begin, end = f"<!-- {part} -->", f"<!-- /{part} -->"
    with open(path, encoding="utf-8") as file:
        whole = file.read()
    before, found, rest = whole.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{path}: no {begin} .. {end}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{begin}\n{text}\n{end}{after}")

# SPDX-License-Identifier: Apache-2.0
"""The chart of the README: plain SVG, bars by side, a panel a work."""

from xml.sax.saxutils import escape

import report

PANELS = (("Backup, first", "base", "s"),
          ("Backup of the next generation", "gen2", "s"),
          ("Backup, unchanged", "base again", "s"),
          ("Restore", "restore gen2", "s"),
          ("Store after all", "store", "MiB"))
SIDES = ("vmsnap", "vmsnap, level 3", "qemu-img", "cp", "borg", "borg fixed",
         "restic", "casync")
WIDTH, LABEL, VALUE, BAR, GAP, TITLE = 760, 150, 80, 16, 6, 34

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #59636e; }
.title { font-weight: 600; fill: #1f2328; }
.ours { fill: #2f81f7; } .peer { fill: #9aa4af; }
@media (prefers-color-scheme: dark) {
 text { fill: #9198a1; } .title { fill: #e6edf3; } .peer { fill: #656c76; }
}"""


def values(figures, step):
    for side in SIDES:
        if step == "store":
            value = figures.store(side)
        else:
            value = figures.of(side, step)
        # qemu-img's file holds one generation of three.
        if value is not None and not (step == "store" and side == "qemu-img"):
            yield side, value


def panel(title, unit, rows, top):
    out = [f'<text class="title" x="0" y="{top + 20}">{escape(title)}, '
           f'{unit}</text>']
    longest = max(value for _, value in rows)
    y = top + TITLE
    for side, value in rows:
        width = max(1.0, (WIDTH - LABEL - VALUE) * value / longest)
        kind = "ours" if side.startswith("vmsnap") else "peer"
        shown = f"{value:.0f}" if value >= 100 else f"{value:.2f}"
        out.append(
            f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">'
            f'{escape(side)}</text>'
            f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{width:.1f}" '
            f'height="{BAR}" rx="2"/>'
            f'<text x="{LABEL + width + 6:.1f}" y="{y + 13}">{shown}</text>')
        y += BAR + GAP
    return out, y + 8


def draw(result, path):
    figures = report.Figures(result)
    body, y = [], 0
    for title, step, unit in PANELS:
        rows = list(values(figures, step))
        if rows:
            lines, y = panel(title, unit, rows, y)
            body += lines
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
            f'height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">\n'
            "<title>vmsnap beside its peers; shorter is better</title>\n"
            f"<style>{STYLE}</style>\n" + "\n".join(body) + "\n</svg>\n")

"""Draws what the gateways used during a soak: draw.py CSV SVG. For light and dark pages."""

import sys
from collections import defaultdict

LEFT, WIDTH, TOP, HEIGHT, GAP = 64, 760, 92, 100, 54
PANELS = (("memory, MiB", 3, 1 / 1024), ("descriptors", 5, 1), ("tasks", 6, 1), ("threads", 4, 1), ("requests a second", None, 1))
SHAPES = """
text { font: 13px system-ui, sans-serif } .title { font-weight: 600 } .head { font-size: 16px }
.right { text-anchor: end } .middle { text-anchor: middle }
.first, .second { fill: none; stroke-width: 1.6; stroke-linejoin: round } .mark { stroke-width: 1 }
"""


def colours(page, ink, soft, line, first, second, fault, kill):
    return (f".page {{ fill: {page} }} text {{ fill: {soft} }} .title {{ fill: {ink} }} .grid {{ stroke: {line} }} "
            f".first {{ stroke: {first} }} .second {{ stroke: {second} }} .fault {{ stroke: {fault} }} .kill {{ stroke: {kill} }}")


LIGHT = colours("#fff", "#1f2328", "#59636e", "#d1d9e0", "#0969da", "#bc4c00", "#d4d4d8", "#8250df")
DARK = colours("#0d1117", "#f0f6fc", "#9198a1", "#3d444d", "#4493f8", "#f0883e", "#30363d", "#ab7df8")


def read(path):
    samples, events = defaultdict(list), []
    with open(path) as lines:
        for line in lines:
            fields = line.strip().split(",", 2 if line.startswith("event") else -1)
            if fields[0] == "event":
                events.append((float(fields[1]), fields[2]))
            else:
                samples[fields[2]].append((float(fields[1]), fields))
    return samples, events


def series(points, column, scale):
    if column is not None:
        return [(at, float(fields[column]) * scale) for at, fields in points]
    # Over ten samples, because one alone is too short to count.
    pairs = zip(points, points[10:])
    return [(b[0], (int(b[1][7]) - int(a[1][7])) / (b[0] - a[0])) for a, b in pairs]


def step(highest):
    size = 1
    while highest / size > 4:
        size *= 2.5 if str(size)[0] == "2" else 2
    return size


def main(source, target):
    samples, events = read(source)
    seconds = max(points[-1][0] for points in samples.values())
    height, right = TOP + len(PANELS) * (HEIGHT + GAP) - 4, LEFT + WIDTH
    x = lambda at: LEFT + WIDTH * at / seconds
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right + 24} {height}" role="img" aria-label="What two gateways used over time">',
        f"<style>{SHAPES}{LIGHT}\n@media (prefers-color-scheme: dark) {{ {DARK} }}</style>",
        f'<rect class="page" width="{right + 24}" height="{height}" rx="8"/>',
        f'<text class="title head" x="{LEFT}" y="30">Two gateways during the soak</text>',
        f'<path class="first" d="M{LEFT} 50h22"/><text x="{LEFT + 28}" y="54">one gateway</text>'
        f'<path class="second" d="M{LEFT + 130} 50h22"/><text x="{LEFT + 158}" y="54">the other</text>'
        f'<path class="mark fault" d="M{LEFT + 250} 42v16"/><text x="{LEFT + 258}" y="54">a fault</text>'
        f'<path class="mark kill" d="M{LEFT + 330} 42v16"/><text x="{LEFT + 338}" y="54">the master of Redis is killed</text>',
    ]
    for number, (title, column, scale) in enumerate(PANELS):
        top = TOP + number * (HEIGHT + GAP)
        lines = [series(points, column, scale) for _, points in sorted(samples.items())][: 1 if column is None else 2]
        size = step(max(value for line in lines for _, value in line))
        highest = size * (int(max(value for line in lines for _, value in line) / size) + 1)
        y = lambda value: top + HEIGHT * (1 - value / highest)
        out.append(f'<text class="title" x="{LEFT}" y="{top - 8}">{title}</text>')
        value = 0
        while value <= highest:
            out.append(f'<path class="grid" d="M{LEFT} {y(value):.0f}h{WIDTH}"/><text class="right" x="{LEFT - 8}" y="{y(value) + 4:.0f}">{value:g}</text>')
            value += size
        for kind, is_kind in (("fault", lambda what: "pstream:" in what or "Issuer:" in what), ("kill", lambda what: "master" in what)):
            marks = "".join(f"M{x(at):.1f} {top}v{HEIGHT}" for at, what in events if is_kind(what))
            out.append(f'<path class="mark {kind}" d="{marks or "M0 0"}"/>')
        for name, line in zip(("first", "second"), lines):
            out.append(f'<path class="{name}" d="M' + "L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in line) + '"/>')
        for minute in range(0, int(seconds / 60) + 1, max(1, int(seconds / 60 / 6))):
            out.append(f'<text class="middle" x="{x(minute * 60):.0f}" y="{top + HEIGHT + 16}">{minute} min</text>')
    with open(target, "w") as svg:
        svg.write("\n".join([*out, "</svg>", ""]))


main(*sys.argv[1:])

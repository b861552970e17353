"""Draws latency over time, as an SVG for light and dark pages."""

import math

from renewal import RATE, REVOKED, ROTATING, STEADY, percentile

STEP = 100_000
LEFT, WIDTH, TOP, HEIGHT, GAP = 64, 760, 92, 120, 58
LOWEST, HIGHEST = 0.1, 100
NOTES = {
    STEADY: ("A token that lasts", None),
    ROTATING: ("The token is renewed each second", "issued"),
    REVOKED: ("The token is revoked each second: 401, renewal, second attempt", "revoked"),
}
MARKS = {"issued": "a new token", "revoked": "a revocation"}

SHAPES = """
text { font: 13px system-ui, sans-serif } .title { font-weight: 600 } .head { font-size: 16px }
.right { text-anchor: end } .middle { text-anchor: middle } .most { opacity: .5 }
.p50, .p99 { fill: none; stroke-width: 1.8; stroke-linejoin: round } .mark { stroke-width: 1.2; stroke-dasharray: 3 3 }
"""


def colours(page, ink, soft, line, p50, p99, mark):
    return (f".page {{ fill: {page} }} text {{ fill: {soft} }} .title {{ fill: {ink} }} .grid {{ stroke: {line} }} "
            f".p50 {{ stroke: {p50} }} .p99 {{ stroke: {p99} }} .most {{ fill: {p99} }} .mark {{ stroke: {mark} }}")


LIGHT = colours("#fff", "#1f2328", "#59636e", "#d1d9e0", "#0969da", "#bc4c00", "#1a7f37")
DARK = colours("#0d1117", "#f0f6fc", "#9198a1", "#3d444d", "#4493f8", "#f0883e", "#3fb950")


def chart(slices, path):
    seconds = max(math.ceil((of[-1][0] - of[0][0]) / 1e6) for of in (sorted(each.samples) for each in slices.values()))
    failures = sum(status != 200 for of_slice in slices.values() for _, status, _ in of_slice.samples)
    height = TOP + len(slices) * (HEIGHT + GAP) - 4
    right = LEFT + WIDTH
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right + 24} {height}" role="img" '
        f'aria-label="Latency over time: a lasting, a rotating and a revoked token">',
        f"<style>{SHAPES}{LIGHT}\n@media (prefers-color-scheme: dark) {{ {DARK} }}</style>",
        f'<rect class="page" width="{right + 24}" height="{height}" rx="8"/>',
        f'<text class="title head" x="{LEFT}" y="30">Latency through the gateway, in ms</text>',
        f'<text x="{LEFT}" y="50">{RATE:,} requests a second, {failures or "none"} failed; each point is {STEP // 1000} ms</text>',
        legend(right),
    ]
    for number, (name, of_slice) in enumerate(slices.items()):
        parts += panel(TOP + number * (HEIGHT + GAP), *NOTES[name], of_slice, seconds)
    path.write_text("\n".join([*parts, "</svg>", ""]))


def legend(right):
    return (f'<path class="p50" d="M{right - 226} 26h22"/><text x="{right - 198}" y="30">p50</text>'
            f'<path class="p99" d="M{right - 158} 26h22"/><text x="{right - 130}" y="30">p99</text>'
            f'<circle class="most" cx="{right - 80}" cy="26" r="2.5"/><text class="right" x="{right}" y="30">slowest</text>')


def panel(top, title, mark, of_slice, seconds):
    begin = min(when for when, _, _ in of_slice.samples)
    x = lambda micros: LEFT + WIDTH * micros / (seconds * 1e6)

    def y(micros):
        share = math.log(min(max(micros / 1000, LOWEST), HIGHEST) / LOWEST) / math.log(HIGHEST / LOWEST)
        return top + HEIGHT * (1 - share)

    yield f'<text class="title" x="{LEFT}" y="{top - 10}">{title}</text>'
    for label in (0.1, 1, 10, 100):
        at = y(label * 1000)
        yield f'<path class="grid" d="M{LEFT} {at:.0f}h{WIDTH}"/><text class="right" x="{LEFT - 8}" y="{at + 4:.0f}">{label}</text>'
    for second in range(seconds + 1):
        yield f'<text class="middle" x="{x(second * 1e6):.0f}" y="{top + HEIGHT + 18}">{second}{" s" if second == seconds else ""}</text>'
    marks = [when - begin for when in of_slice.events[mark] if begin <= when] if mark else []
    lines = "".join(f"M{x(when):.1f} {top}v{HEIGHT}" for when in marks if when < seconds * 1e6)
    if lines:
        yield f'<path class="mark" d="{lines}"/>'
        yield f'<path class="mark" d="M{LEFT + WIDTH - 118} {top - 14}h22"/>'
        yield f'<text class="right" x="{LEFT + WIDTH}" y="{top - 10}">{MARKS[mark]}</text>'
    steps = {}
    for when, _, latency in of_slice.samples:
        steps.setdefault((when - begin) // STEP, []).append(latency)
    ordered = [((step + 0.5) * STEP, sorted(latencies)) for step, latencies in sorted(steps.items())]
    yield '<g class="most">' + "".join(f'<circle cx="{x(at):.1f}" cy="{y(of[-1]):.1f}" r="1.8"/>' for at, of in ordered) + "</g>"
    for name, share in (("p99", 0.99), ("p50", 0.5)):
        yield f'<path class="{name}" d="M' + "L".join(f"{x(at):.1f} {y(percentile(of, share)):.1f}" for at, of in ordered) + '"/>'

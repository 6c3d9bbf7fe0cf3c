"""Latency over time as an SVG: a panel for each service, rotations as upright lines.

Receives figures' requests and rotations, gives the text of the picture.
"""

import math

from figures import percentile

BUCKET = 0.25
WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 960, 170, 64, 16, 46, 46
LEAST, MOST = 0.001, 10
SCALE = ((0.001, "1 ms"), (0.01, "10 ms"), (0.1, "100 ms"), (1, "1 s"), (10, "10 s"))
STYLE = """
  svg { font: 12px system-ui, sans-serif; --back: #fff; --text: #1f2328; --faint: #d8dee4;
        --half: #0969da; --most: #bc4c00; --turn: #8250df; --bad: #cf222e }
  @media (prefers-color-scheme: dark) { svg { --back: #0d1117; --text: #e6edf3; --faint: #30363d;
        --half: #58a6ff; --most: #f0883e; --turn: #a371f7; --bad: #ff7b72 } }
  .back { fill: var(--back) } text { fill: var(--text) } path { fill: none; stroke-width: 1.2 }
  .grid { stroke: var(--faint) } .turn { stroke: var(--turn); stroke-dasharray: 3 3 }
  .window { fill: var(--turn); fill-opacity: .1 } .half { stroke: var(--half) }
  .most { stroke: var(--most) } .bad { stroke: var(--bad); stroke-width: 3 }
"""


class Panel:
    """Where a moment and a latency are, in one service's part of the picture."""

    def __init__(self, top, began, ended):
        self.top, self.bottom = top, top + PANEL
        self.began, self.scale = began, (WIDTH - LEFT - RIGHT) / (ended - began)

    def x(self, moment):
        return round(LEFT + (moment - self.began) * self.scale, 1)

    def y(self, seconds):
        share = math.log(min(max(seconds, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
        return round(self.bottom - share * PANEL, 1)

    def line(self, name, points):
        path = "M" + "L".join(f"{self.x(at):g} {self.y(seconds):g}" for at, seconds in points)
        return f'<path class="{name}" d="{path}"/>' if points else ""

    def upright(self, name, moment):
        return f'<path class="{name}" d="M{self.x(moment):g} {self.top}V{self.bottom}"/>'

    def grid(self):
        for seconds, text in SCALE:
            at = self.y(seconds)
            yield f'<path class="grid" d="M{LEFT} {at:g}H{WIDTH - RIGHT}"/>'
            yield f'<text x="{LEFT - 6}" y="{at + 4:g}" text-anchor="end">{text}</text>'


def buckets(requests, began):
    """The requests by the quarter of a second in which they were due."""
    found = {}
    for each in requests:
        found.setdefault(int((each.due - began) / BUCKET), []).append(each)
    return {began + (number + 0.5) * BUCKET: found[number] for number in sorted(found)}


def drawn(panel, found, began):
    """One panel."""
    yield from panel.grid()
    for each in found.service.rotations:
        if began < each.published < found.revoked:
            ended = min(each.confirmed or found.revoked, found.revoked)
            left, right = panel.x(each.published), panel.x(ended)
            yield (f'<rect class="window" x="{left:g}" y="{panel.top}" '
                   f'width="{right - left:.1f}" height="{PANEL}"/>')
            yield panel.upright("turn", each.published)
    by_time = buckets(found.all, began)
    for name, share in (("most", 0.99), ("half", 0.5)):
        yield panel.line(name, [
            (at, percentile([each.seconds for each in some], share)) for at, some in by_time.items()
        ])
    bad = "".join(
        f"M{panel.x(at) - 1:g} {panel.top + 3}h2"
        for at, some in by_time.items() if any(each.failure for each in some)
    )
    if bad:
        yield f'<path class="bad" d="{bad}"/>'
    yield panel.upright("bad", found.revoked)
    yield f'<text x="{LEFT}" y="{panel.top - 8}" font-weight="600">{found.service.name}</text>'


def svg(figures, began, rate):
    """The whole picture."""
    height = TOP + len(figures) * (PANEL + GAP)
    ended = max(each.due for found in figures for each in found.all)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>Latency over rotations at {rate} requests a second</title><style>{STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{height}"/>', *legend(),
    ]
    for number, found in enumerate(figures):
        panel = Panel(TOP + number * (PANEL + GAP), began, ended)
        parts += drawn(panel, found, began)
        for second in range(0, int(ended - began) + 1, 10):
            parts.append(f'<text x="{panel.x(began + second):g}" y="{panel.bottom + 16}" '
                         f'text-anchor="middle">{second} s</text>')
    return "\n".join([*parts, "</svg>", ""])


def legend():
    at = LEFT
    for name, text in (
        ("half", "p50"), ("most", "p99"),
        ("turn", "a new login is published; tinted until the old one is unused"),
        ("bad", "an operator revokes the login; failed requests"),
    ):
        yield f'<path class="{name}" d="M{at} 18h18"/><text x="{at + 24}" y="22">{text}</text>'
        at += 44 + 6 * len(text)

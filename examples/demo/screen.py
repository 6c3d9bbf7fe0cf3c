"""The demo's live view: redrawn in place on a terminal, a line every few seconds elsewhere."""

import re
import shutil
import sys
import time

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
STAGES = ("issued", "published", "confirmed", "draining", "ended")
EVERY = 5


class Screen:
    """Shows one picture after the other."""

    def __init__(self, began):
        self.began = began
        self.live = sys.stdout.isatty()
        self.height = 0
        self.said = 0

    def show(self, facts):
        if self.live:
            lines = self._picture(facts)
            width = shutil.get_terminal_size().columns
            # Up to the first line of the last picture, then each line anew.
            up = f"\x1b[{self.height}A" if self.height else ""
            sys.stdout.write(up + "".join(f"\x1b[2K{fit(line, width)}\n" for line in lines) + "\x1b[J")
            sys.stdout.flush()
            self.height = len(lines)
        elif time.monotonic() - self.said >= EVERY:
            self.said = time.monotonic()
            print(self._line(facts), flush=True)

    def _line(self, facts):
        programs = ", ".join(
            f"{each.name} {each.rate():.0f} queries/s {each.counters['failures']} failures"
            for each in facts["programs"]
        )
        return (
            f"{time.monotonic() - self.began:5.1f} s  {facts['rotations']} rotations, {programs}, "
            f"{len(facts['leases'])} leases, now {short(facts['programs'][0].counters['user'])}"
        )

    def _picture(self, facts):
        lines = [
            f"\x1b[1mLeasehold demo\x1b[0m  {time.monotonic() - self.began:4.1f} s of "
            f"{facts['seconds']}   {facts['rotations']} rotations   "
            f"{len(facts['leases'])} leases   {len(facts['users'])} users",
            "",
        ]
        for each in facts["programs"]:
            counters = each.counters
            colour = "31" if counters["failures"] else "32"
            lines.append(
                f"  {each.name:17} {each.rate():4.0f} queries/s  {counters['queries']:6} done  "
                f"\x1b[{colour}m{counters['failures']} failures\x1b[0m  {short(counters['user'])}"
            )
        lines += ["", "  " + "".join(f"{stage:>10}" for stage in STAGES) + "   user"]
        newest = sorted(facts["credentials"], key=lambda held: held.published or 1e18)[-8:]
        for held in newest:
            cells = "".join(self._cell(getattr(held, stage)) for stage in STAGES)
            lines.append(f"  {cells}   {short(held.username)}")
        lines.append("")
        return lines

    def _cell(self, moment):
        return f"{'·':>10}" if moment is None else f"{moment - self.began:8.1f} s"


def short(username):
    """The part of a leased user's name that tells it from the others."""
    parts = (username or "").split("-")
    return f"v-…-{parts[-2]}" if len(parts) > 3 else username or ""


def fit(line, width):
    """`line` cut to what one row can show: a wrapped one would spoil the redrawing."""
    if len(ESCAPE.sub("", line)) < width:
        return line
    return ESCAPE.sub("", line)[: width - 1]

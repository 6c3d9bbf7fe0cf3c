"""What the load found: figures of each service, the table, and the targets that were missed.

Receives requests, rotations and sessions; gives figures and text.
"""

import math
import os

MOST_SESSIONS = 10
NEXT_SESSIONS = 10
SLACK = 0.05


def percentile(values, share):
    """The least of `values` that at least this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


class Figures:
    """Of one service: everything between `began` and the operator's revocation, and that apart."""

    def __init__(self, service, requests, slow, sessions, began, revoked):
        self.service, self.slow, self.revoked = service, slow, revoked
        self.all = [each for each in requests if each.due >= began]
        self.requests = [each for each in requests if began <= each.due and each.answered < revoked]
        self.failed = [each for each in self.requests if each.failure]
        self.rotations = [
            each for each in service.rotations
            if began < each.published < revoked and each.confirmed
        ]
        inside, outside = [], []
        for each in self.requests:
            (inside if self.rotating(each.due, each.answered) else outside).append(each.seconds)
        self.inside = percentile(inside, 0.5), percentile(inside, 0.99)
        self.outside = percentile(outside, 0.5), percentile(outside, 0.99)
        self.fewest = self._fewest(began, revoked)
        counted = [(at, count) for at, count in sessions if began <= at < revoked]
        self.sessions = max((n for at, n in counted if not self.rotating(at, at)), default=0)
        self.overlap = max((n for at, n in counted if self.rotating(at, at)), default=0)
        after = [each for each in requests if each.answered >= revoked]
        self.lost = [each for each in after if each.failure]
        self.after = len(after)
        self.gap = gap(after)

    def rotating(self, since, until):
        """Whether a rotation was under way at any moment between these."""
        return any(
            each.published <= until and since <= (each.confirmed or math.inf)
            for each in self.service.rotations
        )

    def crossed(self):
        """Rotations during the slow query."""
        return sum(self.slow.due < each.published < self.slow.answered for each in self.rotations)

    def _fewest(self, began, revoked):
        """Successful requests in the second that had the fewest; none of those seconds counts of
        which the revocation took answers."""
        ended = min((each.due for each in self.all if each.answered >= revoked), default=revoked)
        seconds = [0] * max(1, int(ended - began))
        for each in self.requests:
            second = int(each.due - began)
            if not each.failure and second < len(seconds):
                seconds[second] += 1
        return min(seconds)


def gap(requests):
    """Seconds from the first failed request to the first success with no failure after it."""
    failed = [each.due for each in requests if each.failure]
    if not failed:
        return 0.0
    good = [each.due for each in requests if each.due > max(failed)]
    return min(good) - min(failed) if good else math.inf


def missed(figures, rotations, quick):
    """What is not as the targets say. A quick run may share the machine, and judges no latency."""
    for each in figures:
        name = each.service.name
        checks = [
            (not each.failed, f"{len(each.failed)} of {len(each.requests)} requests failed: "
                              f"{sorted({bad.failure for bad in each.failed})[:3]}"),
            (len(each.rotations) >= rotations, f"{len(each.rotations)} rotations of {rotations}"),
            (each.slow.failure is None, f"the long query failed: {each.slow.failure}"),
            (each.crossed() > 0, "no rotation during the long query"),
            (each.fewest > 0, "a second without any answer"),
            (each.sessions <= MOST_SESSIONS, f"{each.sessions} sessions, {MOST_SESSIONS} at most"),
            (each.overlap <= MOST_SESSIONS + NEXT_SESSIONS,
             f"{each.overlap} sessions in a rotation"),
            (each.gap < math.inf, "no answer any more after the operator's revocation"),
        ]
        if not quick:
            most = max(2 * each.outside[1], each.outside[1] + SLACK)
            checks.append((each.inside[1] <= most,
                           f"p99 in rotations {ms(each.inside[1])} ms, {ms(most)} at most"))
        yield from (f"{name}: {text}" for good, text in checks if not good)


def ms(seconds):
    return f"{seconds * 1000:.1f}"


def table(figures, rate):
    """All of it in Markdown."""
    rows = [
        ("rotations", lambda it: str(len(it.rotations))),
        ("requests", lambda it: f"{len(it.requests):,}"),
        ("failed", lambda it: str(len(it.failed))),
        ("p50 in rotations and outside, ms", lambda it: f"{ms(it.inside[0])}, {ms(it.outside[0])}"),
        ("p99 in rotations and outside, ms", lambda it: f"{ms(it.inside[1])}, {ms(it.outside[1])}"),
        ("fewest answers in a second", lambda it: str(it.fewest)),
        ("long query", lambda it: f"{it.slow.failure or 200} after {it.slow.seconds:.1f} s, "
                                  f"rotations in it: {it.crossed()}"),
        ("sessions at most, in rotations and outside", lambda it: f"{it.overlap}, {it.sessions}"),
        ("after an operator revoked the login: failed",
         lambda it: f"{len(it.lost)} of {it.after:,}"),
        ("from the first of these to lasting success, s", lambda it: f"{it.gap:.1f}"),
    ]
    head = [each.service.name for each in figures]
    lines = [
        f"{rate} requests a second to each, {os.cpu_count()} cores.", "",
        "| | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|",
    ]
    for name, cell in rows:
        lines.append(f"| {name} | " + " | ".join(cell(each) for each in figures) + " |")
    return "\n".join(lines)

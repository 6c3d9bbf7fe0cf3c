#!/usr/bin/env python3
"""An ordinary batch job: one transaction after the other, each of eight seconds.

Each runs on a connection of its own, to the libpq service that PGSERVICEFILE and --service name.
It prints the same lines of JSON as the pool.
"""

import argparse
import json
import signal
import sys
import time

import psycopg


class Stop(Exception):
    """Somebody asked us to stop."""


def stop(*_):
    raise Stop


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--service", default="demo")
    parser.add_argument("--seconds", type=float, default=8, help="length of a transaction")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    queries = failures = transactions = 0
    user, texts = None, []

    def report():
        print(json.dumps({
            "queries": queries, "failures": failures, "user": user,
            "transactions": transactions, "texts": texts,
        }), flush=True)
        texts.clear()

    try:
        while True:
            try:
                with psycopg.connect(
                    f"service={options.service}", connect_timeout=5, application_name="long",
                ) as connection:
                    user = connection.execute("SELECT session_user").fetchone()[0]
                    ends = time.monotonic() + options.seconds
                    while time.monotonic() < ends:
                        connection.execute("INSERT INTO users (name) VALUES ('somebody')")
                        connection.execute("SELECT count(*) FROM users").fetchone()
                        queries += 2
                        report()
                        time.sleep(0.2)
                transactions += 1
            except psycopg.Error as error:
                failures += 1
                texts.append(f"{type(error).__name__}: {error}".strip())
                report()
                time.sleep(0.2)
    except Stop:
        report()
    return 0


if __name__ == "__main__":
    sys.exit(main())

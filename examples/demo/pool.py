#!/usr/bin/env python3
"""An ordinary service: several threads on one connection pool, no retry.

It connects to the libpq service that PGSERVICEFILE and --service name, and knows nothing of where
the login comes from. Every fifth of a second it prints what happened as one line of JSON.
"""

import argparse
import datetime
import json
import logging
import signal
import sys
import threading
import time

from psycopg_pool import ConnectionPool

QUERY = "SELECT session_user, (SELECT count(*) FROM memories)"
WRITE = "INSERT INTO memories (body) VALUES ('a thought')"


class Tally:
    """What happened so far, counted by all threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.queries = 0
        self.failures = 0
        self.slowest = 0.0
        self.user = None
        self.texts = []

    def query(self, user, seconds):
        with self.lock:
            self.queries += 1
            self.user = user
            self.slowest = max(self.slowest, seconds)

    def failure(self, text):
        at = datetime.datetime.now(datetime.timezone.utc).strftime("%H:%M:%S.%f")[:-3]
        with self.lock:
            self.failures += 1
            self.texts.append(f"{at} {text}")

    def report(self):
        with self.lock:
            line = {
                "queries": self.queries, "failures": self.failures, "user": self.user,
                "slowest_ms": round(self.slowest * 1000, 1), "texts": self.texts,
            }
            self.texts = []
        print(json.dumps(line), flush=True)


class PoolFailures(logging.Handler):
    """A connection that the pool's own threads could not make is a failure like any other."""

    def __init__(self, tally):
        super().__init__(logging.WARNING)
        self.tally = tally

    def emit(self, record):
        self.tally.failure(record.getMessage())


def work(pool, tally, stop, pause):
    """One thread of the service: a read, now and then a write, a short pause."""
    turn = 0
    while not stop.is_set():
        turn += 1
        started = time.monotonic()
        try:
            with pool.connection() as connection:
                user, _ = connection.execute(QUERY).fetchone()
                if turn % 10 == 0:
                    connection.execute(WRITE)
            tally.query(user, time.monotonic() - started)
        except Exception as error:
            tally.failure(f"{type(error).__name__}: {error}".strip())
        stop.wait(pause)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--service", default="demo")
    parser.add_argument("--rate", type=float, default=100, help="queries a second, all threads")
    parser.add_argument("--threads", type=int, default=5)
    parser.add_argument("--max-lifetime", type=float, default=3.5, help="of a connection, seconds")
    options = parser.parse_args()

    stop, tally = threading.Event(), Tally()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    logging.getLogger("psycopg.pool").addHandler(PoolFailures(tally))
    # Idle connections come and go in turn, so each is used, and looked at, within a second.
    pool = ConnectionPool(
        f"service={options.service}", min_size=1, max_size=10, timeout=5,
        max_lifetime=options.max_lifetime, max_idle=options.max_lifetime, reconnect_timeout=0,
        kwargs={"connect_timeout": 5, "application_name": "pool"}, open=True,
    )
    pool.wait(timeout=10)
    pause = options.threads / options.rate
    threads = [
        threading.Thread(target=work, args=(pool, tally, stop, pause), daemon=True)
        for _ in range(options.threads)
    ]
    for thread in threads:
        thread.start()
    while not stop.wait(0.2):
        tally.report()
    for thread in threads:
        thread.join(timeout=10)
    pool.close()
    tally.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Gives each memory a context that has none yet, in batches of one long transaction each.

A batch connects anew to the libpq service that PGSERVICEFILE and --service name, and takes rows
that no other job has. A line of JSON says what each batch did.
"""

import argparse
import json
import signal
import threading
import time

import psycopg

TAKE = """
    SELECT id FROM memories AS memory
    WHERE NOT EXISTS (SELECT FROM memory_contexts WHERE memory_id = memory.id)
    ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
"""
DONE = "INSERT INTO memory_contexts (memory_id) VALUES (%s)"


def batch(service, size, seconds):
    """One transaction over up to `size` rows, a share of `seconds` for each; what it did."""
    began = time.monotonic()
    with psycopg.connect(f"service={service}", connect_timeout=5) as connection:
        user = connection.execute("SELECT session_user::text").fetchone()[0]
        rows = connection.execute(TAKE, [size]).fetchall()
        for (row,) in rows:
            # Where the real work would be.
            connection.execute("SELECT pg_sleep(%s)", [seconds / size])
            connection.execute(DONE, [row])
    return {
        "session_user": user, "rows": len(rows), "seconds": round(time.monotonic() - began, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--service", default="novacore")
    parser.add_argument("--size", type=int, default=100, help="rows in a batch")
    parser.add_argument("--seconds", type=float, default=20, help="length of a full batch")
    parser.add_argument("--pause", type=float, default=5, help="when there was nothing to do")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        done = batch(options.service, options.size, options.seconds)
        print(json.dumps(done), flush=True)
        if not done["rows"]:
            stop.wait(options.pause)


if __name__ == "__main__":
    main()

"""psycopg_pool: connections are kept, but none for longer than MAX_AGE seconds."""

import os

from psycopg_pool import ConnectionPool

from tally import run

MAX_AGE = float(os.environ.get("MAX_AGE", "600"))
pool = ConnectionPool(min_size=0, max_size=4, max_lifetime=MAX_AGE, max_idle=MAX_AGE, open=True)


def query():
    with pool.connection() as connection:
        return connection.execute("SELECT session_user").fetchone()[0]


run(query, threads=3)
pool.close()

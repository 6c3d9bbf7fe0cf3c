"""psycopg 3: a connection for each piece of work. PGSERVICEFILE and PGSERVICE say where to."""

import psycopg

from tally import run


def query():
    with psycopg.connect() as connection:
        return connection.execute("SELECT session_user").fetchone()[0]


run(query)

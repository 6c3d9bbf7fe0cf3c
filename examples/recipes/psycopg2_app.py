"""psycopg 2: a connection for each piece of work. PGSERVICEFILE and PGSERVICE say where to."""

import contextlib

import psycopg2

from tally import run


def query():
    with contextlib.closing(psycopg2.connect("")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT session_user")
        return cursor.fetchone()[0]


run(query)

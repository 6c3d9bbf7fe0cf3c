"""A web application whose login is read at each connect. PGSERVICEFILE and PGSERVICE say where."""

import psycopg


def app(_environ, start_response):
    with psycopg.connect() as connection:
        user = connection.execute("SELECT session_user").fetchone()[0]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [user.encode()]

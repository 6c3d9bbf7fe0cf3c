"""A web application that reads its database's URL once: when it is loaded."""

import os

from psycopg_pool import ConnectionPool

with open(os.environ["DATABASE_URL_FILE"]) as file:
    pool = ConnectionPool(file.read(), min_size=1, max_size=2, open=False)


def app(_environ, start_response):
    pool.open()
    with pool.connection() as connection:
        user = connection.execute("SELECT session_user").fetchone()[0]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [user.encode()]

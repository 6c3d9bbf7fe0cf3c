"""How many sessions each service has at the database, looked at all the time.

Receives a server and the roles, gives counts with their moments. Never counts the agents' own.
"""

import threading
import time

import psycopg

EVERY = 0.25
# OpenBao puts eight characters of the role into a user's name.
COUNT = """
    SELECT count(*) FROM pg_stat_activity
    WHERE usename LIKE %s AND application_name <> 'leasehold'
"""


class Sessions:
    """Counts for each role, from entering to leaving."""

    def __init__(self, postgres, roles):
        self.postgres = postgres
        self.counts = {role: [] for role in roles}
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def _run(self):
        with psycopg.connect(
            host=self.postgres.host, port=self.postgres.port, user=self.postgres.superuser,
            password=self.postgres.password, dbname="postgres", autocommit=True,
        ) as connection:
            while not self.stop.wait(EVERY):
                for role, counts in self.counts.items():
                    found = connection.execute(COUNT, [f"v-%-{role[:8]}-%"]).fetchone()[0]
                    counts.append((time.monotonic(), found))

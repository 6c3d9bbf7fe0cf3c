"""What the demo knows: one record per credential, from the agent's log, the published file, and
logins of its own.

Receives log lines and looks at the servers, gives facts and the checks of the summary. Never
believes the agent where a server can be asked.
"""

import configparser
import datetime
import json
import subprocess
import threading
import time

REFUSED = ("password authentication failed", "is not permitted to log in", "does not exist")


class Lines:
    """The JSON lines of a program, read by a thread; other lines are kept as text."""

    def __init__(self, process, took):
        self.process = process
        self.other = []
        self.thread = threading.Thread(target=self._read, args=(took,), daemon=True)
        self.thread.start()

    def _read(self, took):
        for line in self.process.stdout:
            try:
                found = json.loads(line)
            except ValueError:
                self.other.append(line.rstrip())
            else:
                took(found)


class Program:
    """One of the two programs: its counters and the failures that it reported."""

    def __init__(self, name):
        self.name = name
        self.counters = {"queries": 0, "failures": 0, "user": None}
        self.texts = []
        self.history = []

    def took(self, line):
        self.counters = line
        self.texts += line["texts"]
        self.history.append((time.monotonic(), line["queries"]))

    def rate(self, seconds=2.0):
        """Queries a second, lately."""
        recent = [each for each in self.history[-50:] if each[0] > time.monotonic() - seconds]
        if len(recent) < 2:
            return 0.0
        (began, first), (ended, last) = recent[0], recent[-1]
        return (last - first) / max(ended - began, 0.01)

    def average(self):
        """Queries a second, from the first report to the last."""
        if len(self.history) < 2:
            return 0.0
        (began, first), (ended, last) = self.history[0], self.history[-1]
        return (last - first) / max(ended - began, 0.01)


class Credential:
    """One database user and when each thing happened to it, on the monotonic clock."""

    def __init__(self, username):
        self.username = username
        self.password = None
        self.issued = self.published = self.confirmed = self.draining = self.ended = None
        self.last_login = self.refused = None
        self.early = None


class Watch:
    """All credentials, by user name."""

    def __init__(self, postgres, dbname, service_file, grace):
        self.postgres, self.dbname = postgres, dbname
        self.service_file = service_file
        self.grace = grace
        self.lock = threading.Lock()
        self.credentials = {}
        self.by_lease = {}
        self.rotations = 0
        self.notable = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def took(self, line):
        """One line of the agent's log."""
        now, event, lease = moment_of(line), line.get("event"), line.get("lease")
        with self.lock:
            if event == "lease_issued":
                held = self._credential(line["username"])
                held.issued = now
                self.by_lease[lease] = held
            elif event == "rotated":
                self.rotations += 1
            elif event in ("confirmed", "draining") and lease in self.by_lease:
                setattr(self.by_lease[lease], event, now)
            elif event == "lease_ended" and lease in self.by_lease:
                self.by_lease[lease].ended = now
            if line.get("level", "").lower() in ("warn", "error"):
                self.notable.append(line)

    def _credential(self, username):
        return self.credentials.setdefault(username, Credential(username))

    def _run(self):
        while not self.stop.wait(0.1):
            self._look()
            for held in self._leaving():
                self._try(held)

    def _look(self):
        """Notes which credential the published file holds."""
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(self.service_file)
            section = parser["demo"]
        except (KeyError, configparser.Error):
            return
        with self.lock:
            held = self._credential(section["user"])
            held.password = section["password"]
            held.published = held.published or time.monotonic()

    def _leaving(self):
        with self.lock:
            return [
                held for held in self.credentials.values()
                if held.confirmed and held.password and not held.refused
            ]

    def _try(self, held):
        """Logs in with a credential that is on its way out. Not before there was evidence: until
        then a session of ours would be a session of the old user."""
        began = time.monotonic()
        found = login(self.postgres, self.dbname, held)
        if found is None:
            held.last_login = began
        elif any(word in found for word in REFUSED):
            held.refused = time.monotonic()
            if held.refused < held.confirmed + self.grace:
                held.early = found

    def all(self):
        with self.lock:
            return list(self.credentials.values())


def moment_of(line):
    """When a record was made, on the monotonic clock: a busy machine lets it wait in the pipe."""
    try:
        made = datetime.datetime.fromisoformat(line["timestamp"]).timestamp()
    except (KeyError, ValueError):
        return time.monotonic()
    return time.monotonic() - max(0.0, time.time() - made)


def login(postgres, dbname, held):
    """None when the login works, else what the server said."""
    done = subprocess.run(
        [f"{postgres.binaries}/psql", "-XqAt", "-h", postgres.host, "-p", str(postgres.port),
         "-U", held.username, "-d", dbname, "-c", "SELECT 1 FROM memories LIMIT 1"],
        env={"PGPASSWORD": held.password, "PGCONNECT_TIMEOUT": "5"}, capture_output=True, text=True,
    )
    return None if done.returncode == 0 else done.stderr.strip()


def leases(bao):
    """Leases of the service's role, as Vault lists them."""
    return bao.listing("sys/leases/lookup/database/creds/intelligence-service")


def users(postgres):
    """Leased users that PostgreSQL has."""
    found = postgres.psql(r"SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'")
    return found.splitlines()

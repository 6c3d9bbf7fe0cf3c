"""What drives a recipe and counts what came of it: a program's own lines, a steady visitor of a web
server, pgbench, and a transaction that stays open.
"""

import contextlib
import http.client
import re
import subprocess
import threading
import time

import psycopg
import servers

VISITS = 10
# A request that waits is slow; one that is refused or cut off has failed.
PATIENCE = 30
OPEN_SECONDS = 20
TRANSACTIONS = 50
CLIENTS = 8


class Row:
    """One recipe: how often it queried, what failed, as whom it was logged in, and the slowest
    visit in seconds; `logins` is how many it must see, where it cannot see all."""

    def __init__(self, name, promise="no failure", logins=None):
        self.name = name
        self.promise = promise
        self.logins = logins
        self.queries = self.failures = 0
        self.slowest = 0.0
        self.users = []
        self.texts = []

    def success(self, user):
        self.queries += 1
        self.seen(user)

    def failure(self, text):
        self.failures += 1
        self.texts.append(f"{time.strftime('%H:%M:%S')} {text}".strip())

    def took(self, line):
        """A line of a program that counts for itself."""
        self.queries, self.failures = line["queries"], line["failures"]
        self.texts += line["texts"]
        self.seen(line["user"])

    def seen(self, user):
        if user and user not in self.users:
            self.users.append(user)


@contextlib.contextmanager
def thread(work, *arguments):
    """`work`, which gets an event to stop at first, in a thread until the block is left."""
    stop = threading.Event()
    running = threading.Thread(target=work, args=(stop, *arguments), daemon=True)
    running.start()
    try:
        yield
    finally:
        stop.set()
        running.join(timeout=OPEN_SECONDS + 10)


def get(port):
    """What `/` answers, on a connection of its own; raises when that is no success."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    finally:
        connection.close()
    if answer.status != 200:
        raise http.client.HTTPException(f"{answer.status}: {body[:200]}")
    return body


def answers(port):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return get(port)


def visit(stop, row, port):
    """A steady visitor."""
    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        due = max(due + 1 / VISITS, time.monotonic() - 1)
        began = time.monotonic()
        try:
            row.success(get(port))
            row.slowest = max(row.slowest, time.monotonic() - began)
        except (OSError, http.client.HTTPException) as error:
            row.failure(f"{type(error).__name__}: {error}")


def look(stop, row, users):
    """Notes as whom somebody is logged in, twice a second."""
    while not stop.wait(0.5):
        for user in users() or ():
            row.seen(user)


def open_transactions(stop, row, login):
    """One transaction of 20 s after the other, each on a connection of its own."""
    while not stop.is_set():
        try:
            with psycopg.connect(**login, prepare_threshold=None) as connection:
                ends = time.monotonic() + OPEN_SECONDS
                while time.monotonic() < ends and not stop.is_set():
                    row.success(connection.execute("SELECT session_user").fetchone()[0])
                    time.sleep(0.2)
        except psycopg.Error as error:
            row.failure(f"{type(error).__name__}: {error}")
            time.sleep(0.2)


@contextlib.contextmanager
def pgbench(row, binaries, login, script, seconds):
    """pgbench with 8 clients for so long; the block is left when it is done."""
    command = [
        f"{binaries}/pgbench", "-n", "-c", str(CLIENTS), "-T", str(seconds), "-f", script,
        "-R", str(TRANSACTIONS), "-h", login["host"], "-p", str(login["port"]),
        "-U", login["user"], login["dbname"],
    ]
    process = subprocess.Popen(
        command, env={"PGPASSWORD": login["password"]}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=servers.dies_with_us(servers.signal.SIGTERM),
    )
    try:
        yield
        said, _ = process.communicate(timeout=seconds + 30)
    finally:
        servers.end(process, servers.signal.SIGTERM)
    done = re.search(r"actually processed: (\d+)", said)
    failed = re.search(r"failed transactions: (\d+)", said)
    row.queries = int(done.group(1)) if done else 0
    row.failures = int(failed.group(1)) if failed else 0
    if process.returncode != 0 or "aborted" in said or not done:
        row.failure(f"pgbench exited {process.returncode}: {said}")

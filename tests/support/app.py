#!/usr/bin/env python3
"""A service as the manifests expect one, and as a test likes to look at one.

Reads its login from PGSERVICEFILE or DATABASE_URL_FILE for each query, so that each would show a
login that is not there or does not work. Answers /healthz once it has one, acknowledges the agent's
notices, and says at /counts how many queries there were.

    app.py PORT
"""

import collections
import http.server
import json
import os
import signal
import sys
import threading
import time

import psycopg

lock = threading.Lock()
counts = collections.Counter()
users, failures = [], []


def dsn():
    if path := os.environ.get("DATABASE_URL_FILE"):
        with open(path) as file:
            return file.read()
    return "service=novacore"


def query():
    with psycopg.connect(dsn(), connect_timeout=5) as connection:
        return connection.execute("SELECT session_user, (SELECT count(*) FROM memories)").fetchone()[0]


def ask_on():
    while True:
        try:
            user = query()
            with lock:
                counts["queries"] += 1
                if user not in users:
                    users.append(user)
        except (OSError, psycopg.Error) as error:
            with lock:
                counts["failures"] += 1
                failures.append(str(error))
        time.sleep(0.02)


class Answers(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with lock:
            facts = {**counts, "users": users, "texts": failures}
        if self.path == "/healthz":
            self.answer(200 if facts.get("queries") else 503)
        elif self.path == "/counts":
            self.answer(200, json.dumps(facts).encode())
        else:
            self.answer(404)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        with lock:
            counts["notices"] += self.path == "/-/secrets"
        self.answer(204 if self.path == "/-/secrets" else 404)

    def log_message(self, *_):
        pass


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
threading.Thread(target=ask_on, daemon=True).start()
http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Answers).serve_forever()

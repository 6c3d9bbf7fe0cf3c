"""A small service of the old kind: it reads DATABASE_URL once, when it starts."""

import http.server
import json
import os
import signal
import sys
import urllib.parse

import psycopg
from psycopg.rows import dict_row

DATABASE_URL = os.environ["DATABASE_URL"]
ROWS = "SELECT session_user::text, id, body FROM memories ORDER BY id DESC LIMIT 10"


def ask(query, *values):
    with psycopg.connect(DATABASE_URL, connect_timeout=5, row_factory=dict_row) as connection:
        return connection.execute(query, values).fetchall()


def healthz(_):
    ask("SELECT 1")
    return {"status": "ok"}


def rows(_):
    found = ask(ROWS)
    return {
        "session_user": found[0]["session_user"] if found else None,
        "rows": [{"id": row["id"], "body": row["body"]} for row in found],
    }


def slow(asked):
    seconds = float(asked.get("seconds", ["20"])[0])
    (found,) = ask("SELECT session_user::text, pg_sleep(%s)", seconds)
    return {"session_user": found["session_user"]}


PATHS = {"/healthz": healthz, "/rows": rows, "/slow": slow}


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked = urllib.parse.urlsplit(self.path)
        found = PATHS.get(asked.path)
        if found is None:
            return self.answer(404, {"error": "no such path"})
        try:
            return self.answer(200, found(urllib.parse.parse_qs(asked.query)))
        except psycopg.Error as error:
            return self.answer(503, {"error": type(error).__name__})

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    # A stop waits for the requests that are being answered.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    address = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000"))
    with http.server.ThreadingHTTPServer(address, Answers) as server:
        server.daemon_threads = False
        server.serve_forever()


if __name__ == "__main__":
    main()

"""A web server that knows its database from PGUSER, PGPASSWORD and the like at its start."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with psycopg.connect() as connection:
            user = connection.execute("SELECT session_user").fetchone()[0]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(user.encode())

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()

"""The least that the job can take on this machine.

Receives the servers, gives the time of what no agent can do without: a process is spawned, logs in
to Vault, reads the credentials (and each KV secret), and the login is tried at PostgreSQL. The
requests go over one connection that is open already, bytes prepared ahead, one after the other; the
start of the interpreter that sends them is not part of it.
"""

import json
import socket
import time

import psycopg

from agents import DATABASE, ROLE
from process import Program


class Wire:
    """One connection to Vault, kept open."""

    def __init__(self, address):
        host, port = address.removeprefix("http://").split(":")
        self.host = f"{host}:{port}"
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, method, path, token="", body=b""):
        head = (f"{method} /v1/{path} HTTP/1.1\r\nHost: {self.host}\r\nX-Vault-Token: {token}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n")
        self.socket.sendall(head.encode() + body)
        got = b""
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self.socket.recv(65536)
        head, got = got[:end].lower(), got[end + 4:]
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(got) < length:
            got += self.socket.recv(65536)
        return json.loads(got)


def spawn():
    """Milliseconds from exec to the end of a program that does nothing."""
    nothing = Program(["/bin/true"])
    nothing.child.wait()
    return (time.monotonic_ns() - nothing.exec_at) / 1e6


def work(wire, job):
    """Milliseconds for everything behind the spawn."""
    ids = {}
    for name in ("role_id", "secret_id"):
        with open(f"{job.ids}/{name}") as file:
            ids[name] = file.read()
    login = json.dumps(ids).encode()
    begun = time.monotonic_ns()
    token = wire.ask("POST", "auth/approle/login", body=login)["auth"]["client_token"]
    for name in job.kv:
        wire.ask("GET", f"secret/data/bench/{name}", token)
    found = wire.ask("GET", f"database/creds/{ROLE}", token)["data"]
    psycopg.connect(
        host=job.postgres.host, port=job.postgres.port, dbname=DATABASE, sslmode="disable",
        user=found["username"], password=found["password"],
    ).close()
    return (time.monotonic_ns() - begun) / 1e6


def whole(job):
    """Milliseconds for one start."""
    with Wire(job.vault) as wire:
        wire.ask("GET", "sys/health")
        return spawn() + work(wire, job)

"""Runs a PgBouncer: the system's, or the one that setup.sh unpacked.

    pooler.py SETTINGS LOG PORT
"""

import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys

import servers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNPACKED = f"{ROOT}/target/tools/pgbouncer"


@contextlib.contextmanager
def pgbouncer(settings, log, ready):
    """PgBouncer with the file `settings`, as a user that is not root, which it refuses; given once
    `ready()` says that it answers."""
    identity, _ = servers.unprivileged()
    libraries = ":".join(glob.glob(f"{UNPACKED}/usr/lib/*-linux-gnu"))
    binary = f"{UNPACKED}/usr/sbin/pgbouncer"
    if not os.path.exists(binary):
        binary, libraries = shutil.which("pgbouncer"), ""
    with open(log, "w") as out:
        process = subprocess.Popen(
            [binary, settings], env={"LD_LIBRARY_PATH": libraries}, cwd="/",
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            preexec_fn=servers.dies_with_us(signal.SIGKILL), **identity,
        )
    try:
        servers.wait_until("PgBouncer answers", lambda: process.poll() is not None or ready())
        if process.poll() is not None:
            raise servers.Failed(f"PgBouncer did not start:\n{servers.tail(log)}")
        yield process
    finally:
        servers.end(process, signal.SIGTERM)


def main(settings, log, port):
    """For a test that is no Python: says when it listens, and ends with its standard input."""
    servers.raise_on_signals()

    def listens():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port))):
            return True

    with contextlib.suppress(servers.Stopped), pgbouncer(settings, log, listens):
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])

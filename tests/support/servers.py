#!/usr/bin/env python3
"""One OpenBao and one PostgreSQL for the length of a command.

Receives a command, gives it both servers' addresses in LEASEHOLD_TEST_* variables and passes its
exit code on. Never leaves a process or a file behind, however it ends: the servers die with it
even when it is killed, and the next run sweeps the directory that a killed one left.

    servers.py [--venv DIR] [--node-modules DIR] -- COMMAND [ARGUMENT…]
"""

import argparse
import contextlib
import ctypes
import fcntl
import glob
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

READY_SECONDS = 30
STOP_SECONDS = 10
PREFIX = "leasehold-servers-"
MEMORY = "/dev/shm"
# What the servers may write in a whole run; in a container there are often 64 MB.
ROOM = 512 * 1024 * 1024
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A server did not start; the text says which and why."""


class Stopped(Exception):
    """A signal asked us to stop."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


def raise_on_signals():
    """Turns SIGINT, SIGTERM and SIGHUP into `Stopped`, so that every `with` is left in order."""

    def stop(number, _frame):
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, stop)


def dies_with_us(number):
    """A `preexec_fn`: the child gets signal `number` when this process is gone."""
    parent = os.getpid()

    def arrange():
        if libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
            os._exit(126)
        if os.getppid() != parent:
            os._exit(125)

    return arrange


def wait_until(what, condition, seconds=READY_SECONDS):
    """Waits until `condition` gives something, which it returns, or fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not so after {seconds} s")
        time.sleep(0.05)


def free_port():
    """A TCP port of the loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tail(path, lines=15):
    with open(path, errors="replace") as log:
        return "".join(log.readlines()[-lines:])


def end(process, polite):
    """Ends one process that we started: politely first, then at once."""
    for number, patience in ((polite, STOP_SECONDS), (signal.SIGQUIT, 3), (signal.SIGKILL, 5)):
        if process.poll() is not None:
            return
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def roomy(directory):
    """Whether `directory` can be written and has room for both servers."""
    with contextlib.suppress(OSError):
        found = os.statvfs(directory)
        return os.access(directory, os.W_OK) and found.f_bavail * found.f_frsize >= ROOM
    return False


@contextlib.contextmanager
def memory_directory():
    """A directory that is gone afterwards, in memory where the machine has room for it there."""
    elsewhere = tempfile.gettempdir()
    for left in glob.glob(f"{MEMORY}/{PREFIX}*") + glob.glob(f"{elsewhere}/{PREFIX}*"):
        with contextlib.suppress(OSError), open(f"{left}/lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
    path = tempfile.mkdtemp(prefix=PREFIX, dir=MEMORY if roomy(MEMORY) else elsewhere)
    os.chmod(path, 0o711)
    with open(f"{path}/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


class Bao:
    """A running OpenBao; one with TLS has its certificate from `ca`."""

    def __init__(self, address, token, binary, ca=None):
        self.address = address
        self.token = token
        self.binary = binary
        self.trust = ssl.create_default_context(cafile=ca) if ca else None

    def call(self, method, path, body=None, token=None, wrap=None):
        """One request; the decoded answer, None for an empty one. Raises HTTPError."""
        request = urllib.request.Request(f"{self.address}/v1/{path}", method=method)
        request.add_header("X-Vault-Token", token or self.token)
        if wrap:
            request.add_header("X-Vault-Wrap-TTL", wrap)
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(
            request, data, timeout=30, context=self.trust,
        ) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def listing(self, path):
        """The keys below `path`; none where there is no such path."""
        try:
            return self.call("LIST", path)["data"]["keys"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise

    def healthy(self):
        with contextlib.suppress(OSError, ValueError):
            return self.call("GET", "sys/health") is not None
        return False


@contextlib.contextmanager
def openbao(directory, binary):
    """Runs `bao server -dev`; nothing of it touches a disk or a home directory."""
    log = f"{directory}/bao.log"
    for attempt in range(3):
        token = secrets.token_urlsafe(24)
        bao = Bao(f"http://127.0.0.1:{free_port()}", token, binary)
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("VAULT_", "BAO_"))
        }
        environment.update(HOME=directory, BAO_DEV_ROOT_TOKEN_ID=token)
        with open(log, "w") as out:
            process = subprocess.Popen(
                [binary, "server", "-dev", "-dev-no-store-token",
                 f"-dev-listen-address={bao.address.removeprefix('http://')}"],
                env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, preexec_fn=dies_with_us(signal.SIGKILL),
            )
        try:
            wait_until("OpenBao answers", lambda: process.poll() is not None or bao.healthy())
            if process.poll() is None:
                yield bao
                return
        finally:
            end(process, signal.SIGTERM)
        if "address already in use" not in tail(log, 100) or attempt == 2:
            raise Failed(f"OpenBao did not start:\n{tail(log)}")


class Postgres:
    """A running PostgreSQL and its superuser."""

    def __init__(self, port, password, binaries, socket_directory):
        self.host = "127.0.0.1"
        self.port = port
        self.superuser = "postgres"
        self.password = password
        self.binaries = binaries
        self.socket_directory = socket_directory

    def psql(self, sql, dbname="postgres", user=None, password=None):
        """Runs `sql` as the superuser (or `user`); its rows as text, one a line."""
        environment = dict(
            os.environ, PGPASSWORD=password or self.password, PGCONNECT_TIMEOUT="10",
        )
        done = subprocess.run(
            [f"{self.binaries}/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", self.host,
             "-p", str(self.port), "-U", user or self.superuser, "-d", dbname],
            input=sql, env=environment, text=True, capture_output=True, timeout=60,
        )
        if done.returncode != 0:
            raise Failed(done.stderr.strip())
        return done.stdout.strip()

    def ready(self):
        with contextlib.suppress(Failed):
            return self.psql("SELECT 1") == "1"
        return False


def postgres_binaries():
    """The directory of the newest PostgreSQL server on this machine."""
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb") + glob.glob("/usr/pgsql-*/bin/initdb")
    found.sort(key=lambda path: int("".join(filter(str.isdigit, path.split("/bin/")[0])) or 0))
    if found:
        return os.path.dirname(found[-1])
    initdb = shutil.which("initdb")
    if initdb is None:
        raise Failed("no PostgreSQL server on this machine; `make tools` installs one")
    return os.path.dirname(os.path.realpath(initdb))


def unprivileged():
    """`Popen` arguments that make a child somebody else than root, as PostgreSQL demands."""
    if os.geteuid() != 0:
        return {}, os.geteuid()
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            return identity, user.pw_uid
    raise Failed("running as root and neither `postgres` nor `nobody` is a user")


@contextlib.contextmanager
def postgresql(directory, max_connections=300):
    """Runs PostgreSQL on the loopback and on a socket in `directory`."""
    binaries = postgres_binaries()
    # Another version has no clients of its own.
    server_binaries = os.environ.get("LEASEHOLD_TEST_POSTGRES", binaries)
    identity, uid = unprivileged()
    home = f"{directory}/postgres"
    os.mkdir(home, 0o700)
    password = secrets.token_urlsafe(24)
    with open(os.open(f"{home}/password", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(password)
    if os.geteuid() == 0:
        os.chown(home, uid, -1)
        os.chown(f"{home}/password", uid, -1)
    log = f"{home}/log"
    initdb = subprocess.run(
        [f"{server_binaries}/initdb", "-D", f"{home}/data", "-U", "postgres", "-A", "scram-sha-256",
         f"--pwfile={home}/password", "-E", "UTF8", "--locale=C", "--no-sync"],
        cwd=home, text=True, capture_output=True, **identity,
    )
    if initdb.returncode != 0:
        raise Failed(f"initdb failed:\n{initdb.stderr}")
    os.unlink(f"{home}/password")
    settings = {
        "listen_addresses": "127.0.0.1", "unix_socket_directories": home,
        "max_connections": max_connections, "fsync": "off", "synchronous_commit": "off",
        "full_page_writes": "off", "shared_buffers": "32MB", "max_wal_size": "256MB",
        "dynamic_shared_memory_type": "mmap", "password_encryption": "scram-sha-256",
    }
    for attempt in range(3):
        server = Postgres(free_port(), password, binaries, home)
        options = [f"-c{name}={value}" for name, value in settings.items()]
        with open(log, "w") as out:
            process = subprocess.Popen(
                [f"{server_binaries}/postgres", "-D", f"{home}/data", f"-p{server.port}",
                 *options],
                cwd=home, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, preexec_fn=dies_with_us(signal.SIGQUIT), **identity,
            )
        try:
            wait_until("PostgreSQL answers", lambda: process.poll() is not None or server.ready())
            if process.poll() is None:
                yield server
                return
        finally:
            end(process, signal.SIGINT)
        if "could not bind" not in tail(log, 100) or attempt == 2:
            raise Failed(f"PostgreSQL did not start:\n{tail(log)}")


def environment_of(bao, postgres, python, node_modules):
    """What a test must know, by the names that it looks for."""
    return {
        "LEASEHOLD_TEST_VAULT_ADDR": bao.address,
        "LEASEHOLD_TEST_VAULT_TOKEN": bao.token,
        "LEASEHOLD_TEST_BAO": bao.binary,
        "LEASEHOLD_TEST_PG_HOST": postgres.host,
        "LEASEHOLD_TEST_PG_PORT": str(postgres.port),
        "LEASEHOLD_TEST_PG_SUPERUSER": postgres.superuser,
        "LEASEHOLD_TEST_PG_PASSWORD": postgres.password,
        "LEASEHOLD_TEST_PG_BIN": postgres.binaries,
        "LEASEHOLD_TEST_PYTHON": python,
        "LEASEHOLD_TEST_NODE_MODULES": node_modules,
    }


@contextlib.contextmanager
def both(venv):
    """Both servers, started side by side, and their directory."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(memory_directory())
        bao = stack.enter_context(openbao(directory, f"{venv}/bin/bao"))
        yield bao, stack.enter_context(postgresql(directory)), directory


def with_both(name, run, mode=0o700):
    """The exit code of `run(bao, postgres, directory)`, whose directory has this name and mode; that
    of a signal, or 69, where it did not come to its end."""
    raise_on_signals()
    venv = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    try:
        with both(venv) as (bao, postgres, directory):
            work = f"{directory}/{name}"
            os.mkdir(work, mode)
            return run(bao, postgres, work)
    except Stopped as stopped:
        return 128 + stopped.number
    except Failed as failed:
        print(f"{name}: {failed}", file=sys.stderr)
        return 69


def main():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", default=f"{root}/target/tools/venv")
    parser.add_argument("--node-modules", default=f"{root}/target/tools/node/node_modules")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    raise_on_signals()
    try:
        with both(options.venv) as (bao, postgres, directory):
            pauses = f"{directory}/pauses"
            found = environment_of(
                bao, postgres, f"{options.venv}/bin/python", options.node_modules
            )
            command = subprocess.Popen(
                options.command, env={**os.environ, **found, "LEASEHOLD_TEST_PAUSES": pauses},
                preexec_fn=dies_with_us(signal.SIGTERM),
            )
            try:
                code = command.wait()
            finally:
                end(command, signal.SIGTERM)
                if os.path.exists(pauses):
                    sys.stderr.write(open(pauses).read())
        return 128 - code if code < 0 else code
    except Stopped as stopped:
        return 128 + stopped.number
    except Failed as failed:
        print(f"servers.py: {failed}", file=sys.stderr)
        return 69


if __name__ == "__main__":
    sys.exit(main())

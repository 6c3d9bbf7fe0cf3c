"""Runs a real PgBouncer on rendered files and logs in through it; JSON in, JSON out."""

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile

import psycopg
from psycopg import sql

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(f"{ROOT}/tests/support")
import pooler  # noqa: E402
import servers  # noqa: E402


def attempt(**arguments):
    try:
        with psycopg.connect(connect_timeout=10, autocommit=True, **arguments) as connection:
            return connection.execute("select current_user::text").fetchone()[0]
    except psycopg.Error as error:
        return {"refused": str(error)}


@contextlib.contextmanager
def roles(job):
    """A role for each login; gone afterwards."""
    with psycopg.connect(autocommit=True, **job["superuser"]) as superuser:
        for user, password in job["logins"]:
            role = sql.Identifier(user)
            superuser.execute(sql.SQL("drop role if exists {}").format(role))
            create = sql.SQL("create role {} login password {}")
            superuser.execute(create.format(role, sql.Literal(password)))
        try:
            yield
        finally:
            for user, _ in job["logins"]:
                superuser.execute(sql.SQL("drop role {}").format(sql.Identifier(user)))


@contextlib.contextmanager
def running(directory, job):
    """PgBouncer with all the files included, as a user that is not root, which it refuses."""
    _, uid = servers.unprivileged()
    home = f"{directory}/home"
    os.mkdir(home)
    included = []
    for path in [*job["databases"].values(), job["userlist"]]:
        copy = shutil.copy(path, home)
        os.chown(copy, uid, -1)
        included.append(copy)
    userlist = included.pop()
    port = servers.free_port()
    server = " ".join(f"{key}={job['superuser'][key]}" for key in ("host", "port", "dbname"))
    lines = [f"%include {path}" for path in included]
    lines += [
        "[databases]", f"direct = {server}",
        "[pgbouncer]", "listen_addr = 127.0.0.1", f"listen_port = {port}", "unix_socket_dir =",
        "auth_type = plain", f"auth_file = {userlist}", "server_idle_timeout = 1",
        "ignore_startup_parameters = extra_float_digits",
    ]
    with open(f"{home}/pgbouncer.ini", "w") as file:
        file.write("\n".join(lines) + "\n")
    os.chmod(directory, 0o755)
    through = {"host": "127.0.0.1", "port": port, "sslmode": "disable"}
    user, password = job["logins"][0]
    probe = dict(through, dbname="direct", user=user, password=password)
    try:
        with pooler.pgbouncer(
            f"{home}/pgbouncer.ini", f"{directory}/log", lambda: attempt(**probe) == user,
        ) as process:
            yield through, process
    except servers.Failed as failed:
        sys.exit(f"{failed}\n{servers.tail(f'{directory}/log')}")


def main():
    job = json.load(sys.stdin)
    result = {"direct": [], "forced": {}}
    with roles(job), tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        with running(directory, job) as (through, process):
            for user, password in job["logins"]:
                login = dict(through, dbname="direct", user=user, password=password)
                result["direct"].append(attempt(**login))
            user, password = job["logins"][0]
            login = dict(through, dbname="direct", user=user)
            result["wrong"] = attempt(**login, password="wrong")
            login = dict(through, user=user, password=password)
            for alias in job["databases"]:
                result["forced"][alias] = attempt(**login, dbname=alias)
            # As an agent does: other content under the same name, then a reload.
            first, second = list(job["databases"])[:2]
            with open(job["databases"][second]) as file:
                text = file.read().replace(f"{second} = ", f"{first} = ")
            with open(f"{directory}/home/{os.path.basename(job['databases'][first])}", "w") as file:
                file.write(text)
            process.send_signal(signal.SIGHUP)
            expected = result["forced"][second]
            servers.wait_until(
                "PgBouncer logs in as the next user",
                lambda: attempt(**login, dbname=first) == expected,
            )
        with open(f"{directory}/log", errors="replace") as log:
            result["log"] = [line for line in log if "ERROR" in line or "WARNING" in line]
    json.dump(result, sys.stdout)


main()

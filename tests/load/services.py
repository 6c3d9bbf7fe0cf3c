"""The example services as the load meets them: each beside an agent with the example's own
configuration, NestJS also behind a PgBouncer with the example's own settings.

Receives running servers, gives started services with what their agents said. Never tells a service
more than its README does.
"""

import contextlib
import os
import shutil
import sys
import urllib.error
import urllib.request

import demo
import guide
import psycopg
import pooler
import servers
from watch import moment_of

ROOT = pooler.ROOT
EXAMPLES = f"{ROOT}/examples"
DATABASE = "novacore"
ROTATE_EVERY = 10
# The example's defaults are minutes and hours.
TERMS = {"ROTATE_EVERY": f"{ROTATE_EVERY}s", "GRACE": "5s", "LOOKUP": "1s"}
TTL, MAX_TTL = "20s", "90s"
# Two pools to a service, of together the ten connections that it may have.
POOL_MAX = 5


class Rotation:
    """One login's replacement: when the next one was in the files, and when nobody used it more."""

    def __init__(self, published):
        self.published = published
        self.confirmed = None


class Service:
    """One service: how to reach it, and what its agent did."""

    def __init__(self, name, example, role, group, paths):
        self.name, self.example, self.role, self.group = name, example, role, group
        self.paths = paths
        self.port = servers.free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.rotations = []
        self.notable = []
        self.lease = self.published = None
        self.leaving = {}

    def took(self, line):
        """One line of the agent's log."""
        event, now = line.get("event"), moment_of(line)
        if event == "published":
            self.published = now
        elif event == "rotated":
            if self.lease:
                rotation = self.leaving[self.lease] = Rotation(self.published)
                self.rotations.append(rotation)
            self.lease = line["lease"]
        elif event == "lease_issued" and self.lease is None:
            self.lease = line["lease"]
        elif event == "confirmed" and line["lease"] in self.leaving:
            self.leaving[line["lease"]].confirmed = now
        if line.get("level") in ("WARN", "ERROR"):
            self.notable.append(line)

    def healthy(self):
        with contextlib.suppress(OSError, urllib.error.URLError):
            with urllib.request.urlopen(f"{self.base}/healthz", timeout=5) as answer:
                return answer.status == 200
        return False


def fastapi():
    return Service("FastAPI", "fastapi", "intelligence-service", "intelligence_role",
                   ["/rows/pool", "/rows/sqlalchemy"])


def nestjs():
    return Service("NestJS", "nestjs", "auth-service", "auth_role", ["/rows/pg", "/rows/typeorm"])


def prepare(binary, bao, postgres, directory, services):
    """The guide's set-up with one role for each service, and rows to read."""
    guide.set_up(binary, bao, postgres, directory, DATABASE,
                 {each.role: (each.group, TTL, MAX_TTL) for each in services})
    postgres.psql(
        "INSERT INTO memories (body) SELECT 'thought ' || n FROM generate_series(1, 50) n;"
        "INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 50) n",
        dbname=DATABASE,
    )


def plain_environment():
    """This environment without anything that speaks of a secret or of a database."""
    return {
        name: value for name, value in os.environ.items()
        if not name.startswith(("VAULT_", "BAO_", "LEASEHOLD_", "PG", "DATABASE_"))
    }


class Place:
    """Where all of it runs: the servers, a directory for each service, and what to end."""

    def __init__(self, options, bao, postgres, directory, stack):
        self.options, self.bao, self.postgres = options, bao, postgres
        self.directory, self.stack = directory, stack

    def start(self, service):
        """The agent, what stands between, the service; given once it answers."""
        home = f"{self.directory}/{service.example}"
        identity, uid = servers.unprivileged()
        os.mkdir(home, 0o755)
        guide.hand_over(self.bao, service.role, home)
        for path in (home, f"{home}/role_id", f"{home}/secret_id"):
            shutil.chown(path, uid)
        pooler_port = servers.free_port()
        config = f"{EXAMPLES}/{service.example}/leasehold.yaml"
        agent, lines = self.run(
            [self.options.binary, "run", "--config", config], service.took, cwd="/", env={
                **plain_environment(), "VAULT_URL": self.bao.address, "APPROLE_DIR": home,
                "RUN_DIR": home, "DB_HOST": self.postgres.host, "DB_PORT": str(self.postgres.port),
                "DB_SSLMODE": "disable", "PGBOUNCER_PORT": str(pooler_port),
                "LEASEHOLD_INSTANCE": service.example, "LEASEHOLD_LISTEN__PROBES": "127.0.0.1:0",
                **{f"LEASEHOLD_SECRETS__DB__{key}": value for key, value in TERMS.items()},
            }, **identity,
        )

        def published():
            if agent.poll() is not None:
                lines.thread.join(timeout=5)
                said = [*lines.other, *map(str, service.notable)][-10:]
                raise servers.Failed("\n".join([f"the agent exited {agent.returncode}", *said]))
            return service.published

        servers.wait_until(f"the agent of {service.name} publishes", published)
        if service.example == "nestjs":
            self.start_pooler(home, uid, pooler_port)
            command = [shutil.which("node"), f"{self.options.nestjs}/dist/main.js"]
            more = {"DATABASE_URL": f"postgresql://app@127.0.0.1:{pooler_port}/{DATABASE}",
                    "NODE_ENV": "production"}
        else:
            command = [sys.executable, "-m", "uvicorn", "app:app", "--no-access-log",
                       "--host", "127.0.0.1", "--port", str(service.port)]
            more = {"DATABASE_URL": f"postgresql:///?service={DATABASE}",
                    "PGSERVICEFILE": f"{home}/app/db/pg_service.conf", "DATABASE_MAX_AGE": "3"}
        process, lines = self.run(
            command, lambda line: None, cwd=f"{EXAMPLES}/{service.example}", env={
                **plain_environment(), "PORT": str(service.port),
                "DATABASE_POOL_MAX": str(POOL_MAX), **more,
            },
        )

        def answers():
            if process.poll() is not None:
                lines.thread.join(timeout=5)
                raise servers.Failed("\n".join([f"{service.name} ended", *lines.other[-15:]]))
            return service.healthy()

        servers.wait_until(f"{service.name} answers", answers)
        service.said = lines.other

    def run(self, command, took, **more):
        return self.stack.enter_context(demo.running(command, took, **more))

    def start_pooler(self, home, uid, port):
        """PgBouncer with the example's two files; other places and no TLS to a server without."""
        with open(f"{EXAMPLES}/nestjs/pgbouncer.ini") as file:
            text = file.read()
        for old, new in (
            ("/run/novacore", home), ("/etc/pgbouncer", home),
            ("listen_port = 6432", f"listen_port = {port}"),
            ("server_tls_sslmode = verify-full", "server_tls_sslmode = disable"),
            ("server_tls_ca_file", ";server_tls_ca_file"),
        ):
            assert old in text, old
            text = text.replace(old, new)
        with open(f"{home}/pgbouncer.ini", "w") as file:
            file.write(text)
        shutil.copy(f"{EXAMPLES}/nestjs/userlist.txt", home)
        for name in ("pgbouncer.ini", "userlist.txt"):
            shutil.chown(f"{home}/{name}", uid)

        def ready():
            with contextlib.suppress(psycopg.Error):
                with psycopg.connect(host="127.0.0.1", port=port, user="app", dbname=DATABASE,
                                     connect_timeout=5) as connection:
                    return connection.execute("SELECT 1").fetchone()
            return None

        self.stack.enter_context(
            pooler.pgbouncer(f"{home}/pgbouncer.ini", f"{home}/pgbouncer.log", ready)
        )

#!/usr/bin/env python3
"""Runs every recipe of examples/recipes at the same time while their logins rotate.

Starts an OpenBao, a PostgreSQL and a PgBouncer of its own, one agent with
examples/recipes/leasehold.yaml, or with `--exec` an agent with exec.yaml for each program that it
starts itself. The files are used as they stand there but for addresses and times. Prints what each
recipe did, exits with 1 when one did not keep what its section promises, and leaves nothing behind.
"""

import argparse
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RECIPES = f"{ROOT}/examples/recipes"
sys.path[1:1] = [f"{ROOT}/tests/support", f"{ROOT}/examples/demo"]

import guide  # noqa: E402
import pooler  # noqa: E402
import servers  # noqa: E402
from demo import running  # noqa: E402
from load import Row, answers, look, open_transactions, pgbench, thread, visit  # noqa: E402
from watch import leases, users  # noqa: E402

ROTATE_EVERY = 8
MAX_AGE = 2
GRACE = 3
# The slowest to leave is a server whose workers are replaced one after the other; then comes GRACE.
GONE_WITHIN = 30
ROLE = "intelligence-service"
DATABASE = "novacore"
PYTHON = sys.executable


class Agent:
    """What an agent's log says."""

    def __init__(self):
        self.rotations = 0
        self.issued = {}
        self.notable = []

    def took(self, line):
        if line.get("event") == "rotated":
            self.rotations += line.get("secret") == "db"
        elif line.get("event") == "lease_issued":
            self.issued.setdefault(line["secret"], []).append(line["username"])
        if line.get("level") in ("WARN", "ERROR"):
            self.notable.append(line)


class Place:
    """The servers, and the directory with all that the files name by its place in production."""

    def __init__(self, bao, postgres, directory):
        self.bao, self.postgres, self.directory = bao, postgres, directory
        self.pooler_port = servers.free_port()
        self.passwords = {name: secrets.token_urlsafe(24) for name in ("app", "pgbouncer")}
        self.environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("VAULT_", "BAO_", "LEASEHOLD_", "PG"))
        }
        self.environment.update(
            MAX_AGE=str(MAX_AGE), PYTHONDONTWRITEBYTECODE="1", HOME=directory,
        )
        self.environment["PATH"] = f"{postgres.binaries}:{self.environment['PATH']}"

    def login(self, user, dbname):
        return {"host": "127.0.0.1", "port": self.pooler_port, "user": user,
                "password": self.passwords[user], "dbname": dbname}

    def here(self, text, run, changes):
        """`text` with the places of this machine in place of those in production."""
        changes = {**changes, "/run/": f"{run}/", "port: 6432": f"port: {self.pooler_port}",
                   "/etc/leasehold/": f"{self.directory}/"}
        found = "|".join(map(re.escape, changes))
        return re.sub(found, lambda each: changes[each.group()], text)

    def config(self, name, run):
        """The agent's configuration in examples/recipes, with short times."""
        with open(f"{RECIPES}/{name}") as file:
            config = yaml.safe_load(self.here(file.read(), run, {
                "https://vault.internal:8200": self.bao.address, "5m": f"{GRACE}s",
                "24h": f"{ROTATE_EVERY}s", "drain": "revoke",
            }))
        del config["vault"]["ca_cert"]
        config["log"] = {"level": "info", "format": "json"}
        config["secrets"]["db"]["lookup"] = "1s"
        config["secrets"]["db"]["connection"] = {
            "host": self.postgres.host, "port": self.postgres.port, "dbname": DATABASE,
            "sslmode": "disable",
        }
        return config

    def start_agent(self, stack, options, config, run, command=("run",), program=(), **more):
        """An agent with this configuration, and what it says."""
        with open(f"{run}/leasehold.json", "w") as file:
            json.dump(config, file)
        agent = Agent()
        process, lines = stack.enter_context(running(
            [options.binary, *command, "--config", file.name, *program], agent.took,
            **{"env": self.environment, **more},
        ))
        agent.process, agent.lines = process, lines

        def published():
            if process.poll() is not None:
                lines.thread.join(timeout=5)
                said = [*lines.other, *map(str, agent.notable)][-10:]
                raise servers.Failed("\n".join([f"the agent exited {process.returncode}", *said]))
            return os.path.exists(f"{run}/app/database_url")

        servers.wait_until("the agent publishes", published)
        return agent


def write(path, text, owner=None):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(text)
    if owner is not None and os.geteuid() == 0:
        os.chown(path, owner, -1)


def wait(what, condition, lines):
    """As `wait_until`; a failure also tells what the program said."""
    try:
        return servers.wait_until(what, condition)
    except servers.Failed as failed:
        raise servers.Failed("\n".join([str(failed), *lines.other[-10:]])) from None


def start_pooler(stack, place, run):
    """PgBouncer with examples/recipes/pgbouncer.ini; gives the login to its console."""
    _, uid = servers.unprivileged()
    lines = [f'"{name}" "{password}"\n' for name, password in place.passwords.items()]
    write(f"{run}/userlist.txt", "".join(lines), uid)
    with open(f"{RECIPES}/pgbouncer.ini") as file:
        text = place.here(file.read(), run, {
            "listen_port = 6432": f"listen_port = {place.pooler_port}",
            "/etc/pgbouncer/": f"{run}/",
        })
    write(f"{run}/pgbouncer.ini", text, uid)
    console = place.login("pgbouncer", "pgbouncer")
    stack.enter_context(pooler.pgbouncer(
        f"{run}/pgbouncer.ini", f"{run}/pgbouncer.log",
        lambda: pooler_users(place, console) is not None,
    ))
    return console


def pooler_users(place, console):
    """As whom PgBouncer is logged in to the database; None where it does not answer."""
    done = subprocess.run(
        [f"{place.postgres.binaries}/psql", "-XqAt", "-h", console["host"], "-p",
         str(console["port"]), "-U", console["user"], "-d", console["dbname"],
         "-c", "SHOW SERVERS"],
        env={"PGPASSWORD": console["password"]}, capture_output=True, text=True,
    )
    if done.returncode != 0:
        return None
    return {line.split("|")[1] for line in done.stdout.splitlines()}


def programs(place, run, options):
    """The programs that count for themselves: name, command and environment of each."""
    service = {"PGSERVICEFILE": f"{run}/app/pg_service.conf", "PGSERVICE": "app"}
    pooled = {
        "DATABASE_URL": f"postgresql://app:{place.passwords['app']}@127.0.0.1:"
                        f"{place.pooler_port}/app",
        "NODE_PATH": options.node_modules,
    }
    yield "psql", [f"{RECIPES}/psql.sh"], service
    for name, file in (
        ("psycopg 2", "psycopg2_app.py"), ("psycopg 3", "psycopg3_app.py"),
        ("psycopg_pool", "psycopg_pool_app.py"), ("SQLAlchemy", "sqlalchemy_app.py"),
        ("SQLAlchemy on asyncpg", "sqlalchemy_asyncpg_app.py"), ("asyncpg", "asyncpg_app.py"),
    ):
        yield name, [PYTHON, f"{RECIPES}/{file}"], service
    for name, file in (
        ("node-postgres", "node_postgres_app.js"), ("TypeORM", "typeorm_app.js"),
        ("Prisma", "prisma_app.js"),
    ):
        yield name, ["node", f"{RECIPES}/{file}"], pooled


class Server:
    """A web server: its command, and how it hears of a rotation."""

    def __init__(self, name, promise, command, environment, pid_file=None, mode=None):
        self.row = Row(name, promise)
        self.port = servers.free_port()
        self.command = [word.replace("PORT", str(self.port)) for word in command]
        self.environment = {**environment, "PORT": str(self.port)}
        self.pid_file, self.mode = pid_file, mode


def gunicorn(application, *more):
    return [PYTHON, "-m", "gunicorn", "--bind", "127.0.0.1:PORT", "--workers", "2", *more,
            application]


def uvicorn(application, workers):
    return [PYTHON, "-m", "uvicorn", "--port", "PORT", "--log-level", "warning",
            "--workers", str(workers), "--timeout-worker-healthcheck", "30", application]


NODE, CLUSTER = ["node", f"{RECIPES}/server.js"], ["node", f"{RECIPES}/cluster.js"]
SAFE, FEW, GAP, STALE = "no failure", "one now and then", "fails in the gap", "keeps the old login"
# In seconds. PgBouncer's own pause after a login that it broke off would be 15.
SLOWEST = 12
# Of a hundred requests, where the recipe says that one may fail now and then.
FEW_OF_HUNDRED = 1


def web_servers(place, run, options):
    """Those that hear by a signal, and those that need not hear at all."""
    service = {"PGSERVICEFILE": f"{run}/app/pg_service.conf", "PGSERVICE": "app"}
    url = {"DATABASE_URL_FILE": f"{run}/app/database_url"}
    stale = {"DATABASE_URL_FILE": f"{run}/app/stale_url"}
    modules = {"NODE_PATH": options.node_modules}
    pooled = {"PGHOST": "127.0.0.1", "PGPORT": str(place.pooler_port), "PGDATABASE": "app",
              "PGUSER": "app", "PGPASSWORD": place.passwords["app"], **modules}
    return [
        Server("gunicorn, HUP", SAFE, gunicorn("wsgi:app"), url, "gunicorn"),
        Server("gunicorn --preload", SAFE, gunicorn("wsgi_service:app", "--preload"), service),
        Server("gunicorn --preload, HUP", STALE, gunicorn("wsgi:app", "--preload"), stale, "stale"),
        Server("uvicorn", SAFE, uvicorn("asgi_service:app", 1), service),
        Server("uvicorn, 4 workers", SAFE, uvicorn("asgi_service:app", 4), service),
        Server("uvicorn, 4 workers, HUP", FEW, uvicorn("asgi:app", 4), url, "uvicorn"),
        Server("node", SAFE, NODE, pooled),
        Server("node, cluster, HUP", SAFE, CLUSTER, {**url, **modules}, "cluster"),
    ]


def started_servers(options):
    """Those that an agent of their own starts; RUN is a directory that each has for itself."""
    url = {"DATABASE_URL_FILE": "RUN/app/database_url"}
    modules = {"NODE_PATH": options.node_modules}
    preload = gunicorn("wsgi_service:app", "--preload")
    plain = [PYTHON, f"{RECIPES}/environment.py"]
    return [
        Server("exec: uvicorn", SAFE, uvicorn("asgi_service:app", 1), {}, mode="none"),
        Server("exec: uvicorn, 4 workers", SAFE, uvicorn("asgi_service:app", 4), {}, mode="none"),
        Server("exec: gunicorn", SAFE, gunicorn("wsgi:app"), url, mode="signal:HUP"),
        Server("exec: gunicorn --preload", SAFE, preload, {}, mode="none"),
        Server("exec: node, cluster", SAFE, CLUSTER, {**url, **modules}, mode="signal:HUP"),
        Server("exec: node", GAP, NODE, modules, mode="restart"),
        Server("exec: plain environment", GAP, plain, {}, mode="restart"),
    ]


def with_stale(config, run):
    """A second login for the one server that does not take a new one."""
    config["secrets"]["stale"] = config["secrets"]["db"]
    config["publish"]["files"]["stale_url"] = {"format": "dsn", "secret": "stale"}
    config["notify"].append({"name": "stale", "secrets": ["stale"], "signal": {
        "pid_file": f"{run}/stale.pid", "signal": "HUP",
    }})
    return config


def prepared(binary, bao, postgres, directory):
    """What the database and the agents' role need."""
    guide.set_up(binary, bao, postgres, directory, DATABASE,
                 {ROLE: ("intelligence_role", "12s", "60s")})
    guide.hand_over(bao, ROLE, directory)
    return Place(bao, postgres, directory)


def seconds_of(options):
    return (options.rotations + 1) * ROTATE_EVERY


def visited(stack, listening, behind):
    """Has each server visited as soon as all of them answer as they should; their rows."""
    for server in listening:
        wait(f"{server.row.name} answers", lambda: not behind(server, answers(server.port)),
             server.lines)
        server.row.lines = server.lines
    for server in listening:
        stack.enter_context(thread(visit, server.row, server.port))
    return [server.row for server in listening]


def beside(options, bao, postgres, directory):
    """Every recipe beside one agent; gives the facts of the summary."""
    place = prepared(options.binary, bao, postgres, directory)
    write(f"{directory}/pgbouncer-password", place.passwords["pgbouncer"])
    run = f"{directory}/run"
    os.mkdir(run)
    rows = []
    with contextlib.ExitStack() as agents, contextlib.ExitStack() as load:
        config = with_stale(place.config("leasehold.yaml", run), run)
        agent = place.start_agent(agents, options, config, run)
        console = start_pooler(agents, place, run)
        listening = web_servers(place, run, options)
        for server in listening:
            process, server.lines = load.enter_context(running(
                server.command, lambda _: None, cwd=RECIPES,
                env={**place.environment, **server.environment},
            ))
            if server.pid_file:
                wait(f"{server.row.name} answers", lambda: answers(server.port), server.lines)
                write(f"{run}/{server.pid_file}.pid", str(process.pid))
        for name, command, environment in programs(place, run, options):
            row = Row(name)
            rows.append(row)
            _, row.lines = load.enter_context(running(
                command, row.took, env={**place.environment, **environment},
            ))
        for row in rows:
            wait(f"{row.name} queries", lambda: row.users or row.failures, row.lines)

        # A signal of a rotation before there was a pid file comes with the next attempt.
        def behind(server, user):
            current = server.row.promise == STALE or user in agent.issued["db"][-2:]
            return not user or not current

        rows += visited(load, listening, behind)
        bench, long = Row("PgBouncer, pgbench"), Row("PgBouncer, open for 20 s", logins=2)
        rows += [bench, long]
        with (
            thread(look, bench, lambda: pooler_users(place, console)),
            thread(open_transactions, long, place.login("app", "app")),
            pgbench(bench, postgres.binaries, place.login("app", "app"),
                    f"{RECIPES}/pgbench.sql", seconds_of(options)),
        ):
            pass
        left = left_in_time(place, console, agent)
        load.close()
        return {"rows": rows, "agents": [agent], "exits": stopped([agent]), "left": left,
                "leases": leases(bao), "users": users(postgres)}


def started(options, bao, postgres, directory):
    """Every program that an agent of its own starts; gives the facts of the summary."""
    place = prepared(options.binary, bao, postgres, directory)
    with contextlib.ExitStack() as agents, contextlib.ExitStack() as load:
        listening, all_agents = started_servers(options), []
        for number, server in enumerate(listening):
            run = f"{directory}/{number}"
            os.mkdir(run)
            own = {name: value.replace("RUN", run) for name, value in server.environment.items()}
            agent = place.start_agent(
                agents, options, place.config("exec.yaml", run), run,
                ("exec", "--on-rotate", server.mode), ("--", *server.command),
                cwd=RECIPES, env={**place.environment, **own},
            )
            server.lines = agent.lines
            all_agents.append(agent)
        rows = visited(load, listening, lambda _, user: not user)
        time.sleep(seconds_of(options))
        load.close()
        return {"rows": rows, "agents": all_agents, "exits": stopped(all_agents), "left": set(),
                "leases": leases(bao), "users": users(postgres)}


def stopped(agents):
    """Stops the agents; their exit codes."""
    for agent in agents:
        agent.process.send_signal(signal.SIGTERM)
    return [agent.process.wait(timeout=20) for agent in agents]


def left_in_time(place, console, agent):
    """What is left, some time after the last open transaction, of the logins that were old then."""
    old = set(agent.issued["db"][:-1])

    def found():
        return old & ((pooler_users(place, console) or old) | set(users(place.postgres)))

    with contextlib.suppress(servers.Failed):
        servers.wait_until("old logins are gone", lambda: not found(), GONE_WITHIN)
    return found()


def kept(row, rotations):
    """Whether a recipe did what its section says."""
    if row.promise == STALE:
        return row.queries > 0 and len(row.users) == 1
    # Logins come and go while a program starts again.
    logins = row.logins or (2 if row.promise == GAP else rotations + 1)
    moved = row.queries > 0 and len(row.users) >= logins
    if row.promise == FEW:
        return moved and row.failures * 100 <= FEW_OF_HUNDRED * row.queries
    return moved and (row.promise == GAP or (row.failures == 0 and row.slowest < SLOWEST))


def judge(options, facts):
    """Each other check: what was looked at, what was found, whether that is right."""
    rotations = min(agent.rotations for agent in facts["agents"])
    yield "rotations", f"{rotations}, at least {options.rotations}", rotations >= options.rotations
    yield "old logins left at PgBouncer and the database", len(facts["left"]), not facts["left"]
    # An agent that started a program ends as it did, and some end by the signal.
    fine = {0, 128 + signal.SIGTERM} if options.exec else {0}
    yield "exit codes of the agents", facts["exits"], fine.issuperset(facts["exits"])
    yield "leases left in the end", len(facts["leases"]), not facts["leases"]
    yield "users left in the end", len(facts["users"]), not facts["users"]


def summary(options, facts):
    """Prints the table; gives whether every check passed."""
    passed = True
    print(f"        {'recipe':28} {'promise':20} {'queries':>8} {'failures':>8} {'logins':>7}"
          f" {'slowest, ms':>11}")
    for row in facts["rows"]:
        right = kept(row, options.rotations)
        passed = passed and right
        slowest = f"{row.slowest * 1000:11.0f}" if row.slowest else ""
        print(f"  {'ok  ' if right else 'FAIL'}  {row.name:28} {row.promise:20} "
              f"{row.queries:8} {row.failures:8} {len(row.users):7} {slowest}")
        if not right:
            said = row.lines.other if hasattr(row, "lines") else []
            for line in [*row.texts[:5], *said[-10:]]:
                print(f"          {line}")
    for what, found, right in judge(options, facts):
        passed = passed and right
        print(f"  {'ok  ' if right else 'FAIL'}  {what}: {found}")
    if not passed:
        for line in [line for agent in facts["agents"] for line in agent.notable][-10:]:
            print(f"          {line}")
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the leasehold binary")
    parser.add_argument("--rotations", type=int, default=5)
    parser.add_argument("--node-modules", default=f"{ROOT}/target/apps/recipes/node_modules")
    parser.add_argument("--exec", action="store_true", help="what agents start, and nothing else")
    options = parser.parse_args()
    options.binary = os.path.abspath(options.binary)

    def run(*servers_and_directory):
        facts = (started if options.exec else beside)(options, *servers_and_directory)
        return 0 if summary(options, facts) else 1

    return servers.with_both("recipes", run, 0o711)


if __name__ == "__main__":
    sys.exit(main())

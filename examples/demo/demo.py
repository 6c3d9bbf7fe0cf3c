#!/usr/bin/env python3
"""Rotates database credentials under two running programs, and shows that they do not notice.

Starts an OpenBao and a PostgreSQL of its own, sets up the guide's roles with short lives (a lease
of 6 s, 45 s at most, a new login every 10 s), runs the agent and two ordinary programs, and ends
with a summary. Exits with 1 when a check of the summary fails, and leaves nothing behind.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{HERE}/../../tests/support")

import guide  # noqa: E402
import servers  # noqa: E402
from screen import Screen  # noqa: E402
from watch import Lines, Program, Watch, leases, users  # noqa: E402

ROTATE_EVERY = 10
GRACE = 5
REFUSED_WITHIN = 10
LEAST_RATE = 50
ROLE = "intelligence-service"
DATABASE = "novacore"


@contextlib.contextmanager
def running(command, took, polite=signal.SIGTERM, **more):
    """A child whose JSON lines `took` gets; ended when the block is left."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, preexec_fn=servers.dies_with_us(signal.SIGTERM), **more,
    )
    lines = Lines(process, took)
    try:
        yield process, lines
    finally:
        servers.end(process, polite)
        lines.thread.join(timeout=5)


def agent_environment(bao, postgres, directory):
    kept = {
        name: value for name, value in os.environ.items()
        if not name.startswith(("VAULT_", "BAO_", "LEASEHOLD_", "PG"))
    }
    return {**kept, "DEMO_VAULT": bao.address, "DEMO_DIR": directory,
            "DEMO_PORT": str(postgres.port)}


def demonstrate(options, bao, postgres, directory):
    """The demo itself; gives the facts of the summary."""
    for name in ("run", "state"):
        os.mkdir(f"{directory}/{name}", 0o700)
    guide.set_up(options.binary, bao, postgres, directory, DATABASE,
                 {ROLE: ("intelligence_role", "6s", "45s")})
    guide.hand_over(bao, ROLE, directory)

    service_file = f"{directory}/run/db/pg_service.conf"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
        "PGSERVICEFILE": service_file,
    }
    watch = Watch(postgres, DATABASE, service_file, GRACE)
    pool, batch = Program("pool"), Program("long transaction")
    began = time.monotonic()
    screen = Screen(began)

    def facts():
        return {
            "seconds": options.seconds, "rotations": watch.rotations, "programs": [pool, batch],
            "leases": leases(bao), "users": users(postgres), "credentials": watch.all(),
        }

    with contextlib.ExitStack() as agent_stack, contextlib.ExitStack() as program_stack:
        agent, log = agent_stack.enter_context(running(
            [options.binary, "run", "--config", f"{HERE}/leasehold.yaml"], watch.took,
            env=agent_environment(bao, postgres, directory),
        ))
        agent_stack.callback(watch.stop.set)

        def published():
            if agent.poll() is not None:
                log.thread.join(timeout=5)
                said = [*log.other, *map(str, watch.notable)][-10:]
                raise servers.Failed("\n".join([f"the agent exited {agent.returncode}", *said]))
            return os.path.exists(service_file)

        servers.wait_until("the agent publishes", published)
        watch.thread.start()
        for program, file in ((pool, "pool.py"), (batch, "long_transaction.py")):
            program_stack.enter_context(running(
                [sys.executable, f"{HERE}/{file}"], program.took, env=environment,
            ))
        while time.monotonic() - began < options.seconds:
            if agent.poll() is not None:
                raise servers.Failed(f"the agent exited {agent.returncode} in the middle of it")
            screen.show(facts())
            time.sleep(0.25)
        program_stack.close()
        ended = time.monotonic()
        # The stop ends every login at once; a refusal after it is no broken promise.
        watch.stop.set()
        watch.thread.join(timeout=10)
        # A native sidecar is stopped last, when nothing uses the credentials any more.
        agent.send_signal(signal.SIGTERM)
        agent.wait(timeout=15)
        log.thread.join(timeout=5)
        screen.show(facts())
        return {**facts(), "exit": agent.returncode, "notable": watch.notable,
                "other": log.other, "ended": ended}


def judge(options, facts):
    """Each check of the summary: what was looked at, what was found, whether that is right."""
    pool, batch = facts["programs"]
    expected = max(1, (options.seconds - 5) // ROTATE_EVERY)
    yield "rotations", f"{facts['rotations']}, expected {expected}", facts["rotations"] >= expected
    for program in (pool, batch):
        found = program.counters
        yield (f"failures of {program.name}",
               f"{found['failures']} in {found['queries']} queries",
               found["failures"] == 0 and found["queries"] > 0)
    yield ("queries a second of pool", f"{pool.average():.0f}, at least {LEAST_RATE}",
           pool.average() >= LEAST_RATE)
    replaced = [held for held in facts["credentials"] if held.confirmed]
    early = [held for held in replaced if held.early]
    yield ("replaced logins that worked for their whole grace",
           f"{len(replaced) - len(early)} of {len(replaced)}", bool(replaced) and not early)
    latest = GRACE + REFUSED_WITHIN
    due = [held for held in replaced if held.refused or held.confirmed + latest < facts["ended"]]
    refused = [held for held in due if held.refused and held.refused <= held.confirmed + latest]
    yield (f"replaced logins refused within {REFUSED_WITHIN} s after their grace",
           f"{len(refused)} of {len(due)}", len(refused) == len(due))
    yield "agent's exit code", str(facts["exit"]), facts["exit"] == 0
    yield "leases left in Vault", str(len(facts["leases"])), not facts["leases"]
    yield "users left in PostgreSQL", str(len(facts["users"])), not facts["users"]


def summary(options, facts):
    """Prints the summary; gives whether every check passed."""
    print("\nSummary")
    passed = True
    for what, found, right in judge(options, facts):
        print(f"  {'ok  ' if right else 'FAIL'}  {what}: {found}")
        passed = passed and right
    if not passed:
        texts = [text for program in facts["programs"] for text in program.texts]
        early = [
            f"{held.username} refused {held.refused - held.confirmed:.2f} s after the evidence: "
            f"{held.early}"
            for held in facts["credentials"] if held.early
        ]
        for line in [*texts, *early, *map(str, facts["notable"]), *facts["other"]][-20:]:
            print(f"        {line}")
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the leasehold binary")
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    if options.seconds < 20:
        parser.error("a rotation with its grace takes 20 seconds")

    def run(*servers_and_directory):
        return 0 if summary(options, demonstrate(options, *servers_and_directory)) else 1

    return servers.with_both("demo", run)


if __name__ == "__main__":
    sys.exit(main())

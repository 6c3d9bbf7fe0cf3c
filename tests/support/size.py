#!/usr/bin/env python3
"""How big the release binary is, and how much memory the agent takes at rest.

Receives the binary; runs it against the servers that servers.py started, waits until it is ready
and has calmed down. Exits with 1 when either is above its limit.
"""

import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = f"{HERE}/../../examples/demo"
sys.path[:0] = [HERE, DEMO]

import guide  # noqa: E402
import servers  # noqa: E402

BINARY_LIMIT = 10_000_000
MEMORY_LIMIT = 10 * 1024 * 1024
REST_SECONDS = 10
ROLE = "intelligence-service"
DATABASE = "novacore"


def memory(pid):
    """Resident bytes of a process."""
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def at_rest(binary, bao, postgres, directory):
    """The most memory that a ready agent takes in ten quiet seconds."""
    for name in ("run", "state"):
        os.mkdir(f"{directory}/{name}", 0o700)
    guide.set_up(binary, bao, postgres, directory, DATABASE,
                 {ROLE: ("intelligence_role", "1h", "2h")})
    guide.hand_over(bao, ROLE, directory)
    environment = {
        "DEMO_VAULT": bao.address, "DEMO_DIR": directory, "DEMO_PORT": str(postgres.port),
        "PATH": os.environ["PATH"],
    }
    agent = subprocess.Popen(
        [binary, "run", "--config", f"{DEMO}/leasehold.yaml"], env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=servers.dies_with_us(15),
    )
    try:
        servers.wait_until(
            "the agent publishes",
            lambda: os.path.exists(f"{directory}/run/db/pg_service.conf") or agent.poll(),
        )
        if agent.poll() is not None:
            raise servers.Failed(f"the agent exited {agent.returncode}")
        most, ends = 0, time.monotonic() + REST_SECONDS
        while time.monotonic() < ends:
            most = max(most, memory(agent.pid))
            time.sleep(0.1)
        return most
    finally:
        servers.end(agent, 15)


def main():
    binary = os.path.abspath(sys.argv[1])
    servers.raise_on_signals()
    size = os.path.getsize(binary)
    venv = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    try:
        with servers.both(venv) as (bao, postgres, directory):
            work = tempfile.mkdtemp(dir=directory)
            rss = at_rest(binary, bao, postgres, work)
    except servers.Stopped as stopped:
        return 128 + stopped.number
    except servers.Failed as failed:
        print(f"size: {failed}", file=sys.stderr)
        return 69
    print(f"binary {size / 1e6:.2f} MB of {BINARY_LIMIT / 1e6:.0f}")
    print(f"memory {rss / 2**20:.2f} MiB of {MEMORY_LIMIT / 2**20:.0f}")
    return 0 if size < BINARY_LIMIT and rss < MEMORY_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())

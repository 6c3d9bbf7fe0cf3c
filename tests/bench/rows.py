"""The rows of the table.

Receives a job and both programs, gives what was measured and which targets were missed. Runs of the
two take turns, so that a busy moment of the machine meets both.
"""

import contextlib
import itertools
import os
import platform
import shutil
import statistics
import subprocess
import time

import servers
from agents import Incumbent, Ours
from floor import whole
from gate import Gate
from process import Arrivals

READY = 60
NUMBERS = itertools.count()


class Bench:
    """The two programs and where they work."""

    def __init__(self, binary, bao, work):
        self.kinds = {"ours": (Ours, binary), "theirs": (Incumbent, bao.binary)}
        self.work = work

    @contextlib.contextmanager
    def agent(self, who, job):
        """An agent that is configured and not started; it is gone afterwards."""
        kind, binary = self.kinds[who]
        agent = kind(job, f"{self.work}/{who}-{next(NUMBERS)}", binary)
        try:
            yield agent
        finally:
            if agent.program:
                agent.program.end()
            shutil.rmtree(agent.directory)

    def start(self, who, job):
        """Milliseconds from exec to the file, and of CPU."""
        with self.agent(who, job) as agent:
            return started(agent)


def started(*agents):
    """Starts all of them; milliseconds from the first exec to the last file, and of CPU of the
    last."""
    with Arrivals() as arrivals:
        for agent in agents:
            arrivals.watch(agent.run)
        by_directory = {agent.run: agent for agent in agents}
        begun = [agent.start().exec_at for agent in agents]

        def arrived(directory, name):
            agent = by_directory.get(directory)
            if agent and agent.published(name):
                del by_directory[directory]
            return not by_directory

        at = arrivals.until(arrived, READY)
        cpu = agents[-1].program.cpu()
    return (at - min(begun)) / 1e6, cpu * 1e3


class Row:
    """One line: what was measured, for each column the values."""

    def __init__(self, name, unit, digits=1):
        self.name, self.unit, self.digits = name, unit, digits
        self.columns = {"ours": [], "theirs": [], "floor": []}

    def __getitem__(self, column):
        return statistics.median(self.columns[column])

    def add(self, column, value):
        self.columns[column].append(value)

    def cell(self, column):
        values = self.columns[column]
        if not values:
            return ""
        shown = f"{self[column]:,.{self.digits}f}"
        if len(values) > 1:
            shown += f" ({min(values):,.{self.digits}f}–{max(values):,.{self.digits}f})"
        return shown

    def line(self):
        cells = [self.cell(column) for column in ("ours", "theirs", "floor")]
        return f"| {self.name}, {self.unit} | " + " | ".join(cells) + " |"


def table(binary, bao, postgres, job, work, quick):
    """Measures and prints everything; gives the missed targets."""
    bench = Bench(binary, bao, work)
    runs, rest = (5, 10) if quick else (15, 60)
    begun = time.monotonic()
    with Gate(bao.address) as gate:
        rows = [
            *starts(bench, gate, job, runs),
            *at_rest(bench, gate, job, 5 if quick else 30, rest),
            written(bench, bao, job, runs),
            *many_secrets(bench, gate, job, (1, 300) if quick else (1, 10, 100, 300),
                          3 if quick else 5, 20 if quick else 30),
            *at_once(bench, gate, job, 10 if quick else 50),
        ]
    print(facts(bao, postgres, runs))
    print("\n| | Leasehold | `bao agent` | floor |\n|---|---|---|---|")
    for row in rows:
        print(row.line())
    print(f"\n{time.monotonic() - begun:.0f} s of measuring.")
    return missed({row.name: row for row in rows})


def facts(bao, postgres, runs):
    version = subprocess.run([bao.binary, "version"], text=True, capture_output=True, check=True)
    server = postgres.psql("SHOW server_version").split()[0]
    program = version.stdout.split("(")[0].strip()
    kernel = platform.release().split("-")[0]
    return (f"{os.cpu_count()} cores, Linux {kernel}, {program}, PostgreSQL {server}. Medians of "
            f"{runs} runs (5 at most with KV secrets) and their least and most; once where nothing "
            "stands in brackets.")


def starts(bench, gate, job, runs):
    wall = Row("exec to file in place", "ms")
    cpu = Row("CPU of a start", "ms")
    requests = Row("requests to Vault until then", "each", 0)
    for who in ("ours", "theirs"):
        bench.start(who, job)
    for _ in range(runs):
        for who in ("ours", "theirs"):
            took, used = bench.start(who, job)
            wall.add(who, took)
            cpu.add(who, used)
        wall.add("floor", whole(job))
    for who in ("ours", "theirs"):
        # Apart from the times: the gate would be in them.
        address = gate.address()
        with bench.agent(who, job.through(address)) as agent:
            started(agent)
            requests.add(who, gate.requests(address, until=agent.ready_at()))
    requests.add("floor", 2)
    return wall, cpu, requests


def at_rest(bench, gate, job, settle, span):
    resident = Row(f"resident memory after {settle} s", "MiB")
    anonymous = Row(f"anonymous memory after {settle} s", "MiB")
    cpu = Row("CPU at rest", "ms a minute")
    switches = Row("voluntary context switches at rest", "a minute", 0)
    requests = Row("requests to Vault at rest", "a minute", 0)
    each = Row("switches for each request", "times")
    with contextlib.ExitStack() as stack:
        agents = {}
        for who in ("ours", "theirs"):
            address = gate.address()
            agent = stack.enter_context(bench.agent(who, job.through(address)))
            started(agent)
            agents[who] = (agent.program, address)
        time.sleep(settle)
        for who, (program, _) in agents.items():
            for row, amount in zip((resident, anonymous), program.memory()):
                row.add(who, amount / 2**20)
        before = counted(gate, agents)
        time.sleep(span)
        for who, after in counted(gate, agents).items():
            used, went, asked = (b - a for a, b in zip(before[who], after))
            cpu.add(who, used * 1e3 * 60 / span)
            switches.add(who, went * 60 / span)
            requests.add(who, asked * 60 / span)
            if asked:
                each.add(who, went / asked)
    return resident, anonymous, cpu, switches, requests, each


def counted(gate, agents):
    """CPU, voluntary switches and requests so far."""
    return {
        who: (program.cpu(), program.switches(), gate.requests(address))
        for who, (program, address) in agents.items()
    }


def written(bench, bao, job, runs):
    poll = 1
    row = Row(f"from a KV write to the file, both polling every {poll} s", "ms", 0)
    one = job.polling(1, f"{poll}s")
    for who in ("ours", "theirs"):
        with bench.agent(who, one) as agent:
            started(agent)
            for turn in range(runs):
                # At no fixed point of the interval.
                time.sleep(poll * (0.3 + 0.37 * turn % 1))
                value = f"{who}-{turn}"
                with Arrivals() as arrivals:
                    arrivals.watch(agent.run)
                    bao.call("POST", "secret/data/bench/s000", {"data": {"value": value}})
                    wrote = time.monotonic_ns()

                    def there(_directory, _name):
                        return agent.text("s000") == value

                    row.add(who, (arrivals.until(there, READY) - wrote) / 1e6)
    return row


def many_secrets(bench, gate, job, sizes, runs, span):
    rows = []
    for size in sizes:
        job_of_size = job.polling(size, "10s")
        of = f"{size} KV secrets, each a file"
        wall = Row(f"{of}: exec to file", "ms", 0)
        resident = Row(f"{of}: resident memory", "MiB")
        cpu = Row(f"{of}: CPU at a poll every 10 s", "ms a minute", 0)
        switches = Row(f"{of}: voluntary context switches", "a minute", 0)
        requests = Row(f"{of}: requests to Vault", "a minute", 0)
        for _ in range(runs):
            for who in ("ours", "theirs"):
                wall.add(who, bench.start(who, job_of_size)[0])
            wall.add("floor", whole(job_of_size))
        with contextlib.ExitStack() as stack:
            agents = {}
            for who in ("ours", "theirs"):
                address = gate.address()
                agent = stack.enter_context(bench.agent(who, job_of_size.through(address)))
                started(agent)
                agents[who] = (agent.program, address)
            # The first round of polls is the start's.
            time.sleep(10)
            before = counted(gate, agents)
            time.sleep(span)
            for who, after in counted(gate, agents).items():
                used, went, asked = (b - a for a, b in zip(before[who], after))
                cpu.add(who, used * 1e3 * 60 / span)
                switches.add(who, went * 60 / span)
                requests.add(who, asked * 60 / span)
                resident.add(who, agents[who][0].memory()[0] / 2**20)
        rows += [wall, resident, cpu, switches, requests]
    return rows


def at_once(bench, gate, job, count):
    wall = Row(f"{count} agents at once: all files in place", "ms", 0)
    requests = Row(f"{count} agents at once: requests to Vault until then", "of all", 0)
    for who in ("ours", "theirs"):
        for through_gate in (False, True):
            with contextlib.ExitStack() as stack:
                agents = {}
                for _ in range(count):
                    address = gate.address() if through_gate else job.vault
                    agent = stack.enter_context(bench.agent(who, job.through(address)))
                    agents[agent] = address
                took, _ = started(*agents)
                if through_gate:
                    requests.add(who, sum(
                        gate.requests(address, until=agent.ready_at())
                        for agent, address in agents.items()
                    ))
                else:
                    wall.add(who, took)
                # All at once too, and not one by one.
                for agent in agents:
                    agent.program.child.terminate()
    requests.add("floor", 2 * count)
    return wall, requests


def missed(rows):
    """What is not as the targets say."""

    def check(good, text):
        return [] if good else [text]

    start = rows["exec to file in place"]
    resident = next(row for name, row in rows.items() if name.startswith("resident memory"))
    anonymous = next(row for name, row in rows.items() if name.startswith("anonymous memory"))
    polls = rows["300 KV secrets, each a file: CPU at a poll every 10 s"]
    each = rows["switches for each request"]
    return [
        *check(start["ours"] <= 2 * start["floor"], "exec to file: at most twice the floor"),
        *check(6 * start["ours"] <= start["theirs"], "exec to file: six times as fast"),
        *check(resident["ours"] < 9, "resident memory under 9 MiB"),
        *check(anonymous["ours"] < 2, "anonymous memory under 2 MiB"),
        *check(not each.columns["ours"] or each["ours"] <= 3, "three switches for each request"),
        *check(polls["ours"] < 0.02 * polls["theirs"], "300 KV secrets: 2 % of the CPU"),
    ]

"""Many agents at once, and an outage of Vault for all of them.

Receives how many, gives what did not go as it must: all are ready after few requests each, an
outage makes no storm, and none of them needs inotify. Each agent has a port of its own at the gate,
which counts.
"""

import collections
import contextlib
import time

from agents import ROLE, Ours
from gate import Gate
from process import Arrivals

READY_SECONDS = 120
CALM_SECONDS = 35
OUTAGE_SECONDS = 30
AFTER_SECONDS = 60
TO_READY = 5
IN_OUTAGE = 12
EACH_SECOND = 100


def fleet(count, binary, bao, job, work):
    """Runs them all, prints figures and gives what is above its limit."""
    with contextlib.ExitStack() as stack:
        gate = stack.enter_context(Gate(bao.address))
        agents = {}
        for number in range(count):
            address = gate.address()
            agent = Ours(job.through(address), f"{work}/fleet-{number}", binary)
            agents[agent.run] = (agent, address)
        stack.callback(end, [agent for agent, _ in agents.values()])
        begun, ready = start(agents)
        first = {run: gate.requests(agents[run][1], until=at) for run, at in ready.items()}
        held = sum(agent.program.inotify() for agent, _ in agents.values())
        peak = busiest(gate, agents, begun, max(ready.values()))
        time.sleep(CALM_SECONDS)
        calm = busiest(gate, agents, max(ready.values()), time.time_ns())

        gate.away, since = True, time.time_ns()
        time.sleep(OUTAGE_SECONDS)
        gate.away = False
        time.sleep(AFTER_SECONDS)
        until = time.time_ns()
        each = [gate.requests(address, since, until) for _, address in agents.values()]
        storm = busiest(gate, agents, since, until)
        leases = len(bao.listing(f"sys/leases/lookup/database/creds/{ROLE}"))
        alive = sum(agent.program.running() for agent, _ in agents.values())

    took = (max(ready.values()) - begun) / 1e9
    print(f"{count} agents at once: all ready after {took:.1f} s, {max(first.values())} requests at "
          f"most each, {peak} in the busiest second; {held} of them have inotify")
    print(f"at rest: {calm} requests in the busiest second")
    print(f"{OUTAGE_SECONDS} s of outage and {AFTER_SECONDS} s after it: {max(each)} requests at "
          f"most each ({sum(each) / count:.1f} on average), {storm} in the busiest second; "
          f"{alive} agents alive, {leases} leases")
    limits = (
        (max(first.values()) <= TO_READY, f"at most {TO_READY} requests each to ready"),
        (max(each) <= IN_OUTAGE, f"at most {IN_OUTAGE} requests each around an outage"),
        (storm <= EACH_SECOND, f"at most {EACH_SECOND} requests in a second around an outage"),
        (alive == count, "an outage ends no agent"),
        (leases == count, "an outage costs no login"),
        (held == 0, "none has inotify"),
    )
    return [text for good, text in limits if not good]


def start(agents):
    """Starts all of them and waits until they are ready; when the first was started, and when each
    was ready."""
    with Arrivals() as arrivals:
        for run in agents:
            arrivals.watch(run)
        begun = time.time_ns()
        for agent, _ in agents.values():
            agent.start(inotify=False)
        unready = set(agents)

        def all_there(run, name):
            if agents[run][0].published(name):
                unready.discard(run)
            return not unready

        arrivals.until(all_there, READY_SECONDS)
    return begun, {run: agent.ready_at() for run, (agent, _) in agents.items()}


def busiest(gate, agents, since, until):
    """The most requests that all together made in one second of the clock."""
    seconds = collections.Counter()
    for _, address in agents.values():
        for at in gate.moments(address):
            if since <= at <= until:
                seconds[(at - since) // 10**9] += 1
    return max(seconds.values(), default=0)


def end(agents):
    """Ends all of them together."""
    for agent in agents:
        if agent.program:
            agent.program.child.terminate()
    for agent in agents:
        if agent.program:
            agent.program.end()

"""Requests at a constant rate, sent on schedule whether or not the ones before were answered.

Receives addresses and a rate, gives one record for each request. Latency counts from the moment at
which a request was due: what a late answer makes others wait is in theirs.
"""

import asyncio
import contextlib
import time
from typing import NamedTuple

import aiohttp

PATIENCE = 10


class Request(NamedTuple):
    """One request; times are those of the monotonic clock."""

    due: float
    seconds: float
    failure: str | None

    @property
    def answered(self):
        return self.due + self.seconds


class Traffic:
    """All requests to one service, `paths` in turn."""

    def __init__(self, base, paths, rate):
        self.urls = [f"{base}{path}" for path in paths]
        self.rate = rate
        self.requests = []
        self.under_way = set()

    async def run(self):
        """Sends until it is cancelled, and then waits for what is under way."""
        # Shorter than the services keep an idle connection: none of them ends under a request.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            try:
                await self._send(session)
            finally:
                await asyncio.gather(*self.under_way)

    async def _send(self, session):
        began, count = time.monotonic(), 0
        while True:
            due = began + count / self.rate
            if (early := due - time.monotonic()) > 0:
                await asyncio.sleep(early)
            task = asyncio.create_task(self._one(session, self.urls[count % len(self.urls)], due))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)
            count += 1

    async def _one(self, session, url, due):
        failure = await asked(session, url)
        self.requests.append(Request(due, time.monotonic() - due, failure))


async def asked(session, url):
    """None when the answer is 200, else what came in its place."""
    try:
        async with session.get(url) as answer:
            await answer.read()
            return None if answer.status == 200 else f"status {answer.status}"
    except TimeoutError:
        return f"no answer within {session.timeout.total} s"
    except aiohttp.ClientError as error:
        return f"{type(error).__name__}: {error}"


async def one(url, patience):
    """A single request: what came in place of 200, and when it began and ended."""
    began = time.monotonic()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=patience)) as session:
        failure = await asked(session, url)
    return Request(began, time.monotonic() - began, failure)


@contextlib.asynccontextmanager
async def flowing(traffics):
    """All of them for the length of a block."""
    tasks = [asyncio.create_task(traffic.run()) for traffic in traffics]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""What every program here does with its query: runs it again and again, and counts.

Twice a second it prints what happened as one line of JSON; SIGTERM ends it.
"""

import asyncio
import json
import signal
import threading

PAUSE = 0.1
REPORT = 0.5


class Tally:
    """What happened so far, counted by all threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.queries = self.failures = 0
        self.user = None
        self.texts = []

    def success(self, user):
        with self.lock:
            self.queries += 1
            self.user = user

    def failure(self, error):
        with self.lock:
            self.failures += 1
            self.texts.append(f"{type(error).__name__}: {error}".strip())

    def report(self):
        with self.lock:
            line = {"queries": self.queries, "failures": self.failures, "user": self.user,
                    "texts": self.texts}
            self.texts = []
        print(json.dumps(line), flush=True)


def run(query, threads=1):
    """Calls `query`, which gives the session's user, in each thread until somebody stops us."""
    tally, stop = Tally(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def work():
        while not stop.wait(PAUSE):
            try:
                tally.success(query())
            except Exception as error:
                tally.failure(error)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    while not stop.wait(REPORT):
        tally.report()
    for worker in workers:
        worker.join(timeout=5)
    tally.report()


async def run_async(query):
    """The same for a coroutine."""
    tally, stop = Tally(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    reported = loop.time()
    while not stop.is_set():
        try:
            tally.success(await query())
        except Exception as error:
            tally.failure(error)
        if loop.time() > reported + REPORT:
            reported = loop.time()
            tally.report()
        await asyncio.sleep(PAUSE)
    tally.report()

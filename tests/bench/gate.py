"""A gate before Vault that counts what passes and can play an outage.

Receives connections at one port for each agent, passes requests on and answers back, keeps the
time of each request. Never looks at what is in them. It runs in a thread of its own.
"""

import asyncio
import threading
import time

SEALED = b'{"errors":["Vault is sealed"]}'
AWAY = (b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(SEALED), SEALED))


class Gate:
    """Ports before one Vault; `seen[port]` are the moments of the requests there."""

    def __init__(self, upstream):
        self.host, self.port = upstream.removeprefix("http://").split(":")
        self.away = False
        self.seen = {}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(end_others(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def address(self):
        """The address of one more port."""
        listening = asyncio.start_server(self.serve, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(listening, self.loop).result()
        port = server.sockets[0].getsockname()[1]
        self.seen[port] = []
        return f"http://127.0.0.1:{port}"

    def requests(self, address, since=0, until=float("inf")):
        """How many requests came to `address` in this time, in nanoseconds of the wall clock."""
        return sum(1 for at in self.moments(address) if since <= at <= until)

    def moments(self, address):
        """When each request came to `address`, in nanoseconds of the wall clock."""
        return self.seen[int(address.rsplit(":", 1)[1])]

    async def serve(self, reader, writer):
        seen = self.seen[writer.get_extra_info("sockname")[1]]
        back = upstream = None
        try:
            while True:
                request = await message(reader)
                seen.append(time.time_ns())
                if self.away:
                    writer.write(AWAY)
                    continue
                if upstream is None:
                    answers, upstream = await asyncio.open_connection(self.host, self.port)
                    back = asyncio.create_task(pump(answers, writer))
                upstream.write(request)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            # Its end is the caller's, or ours.
            pass
        finally:
            if back:
                back.cancel()
                upstream.close()
            writer.close()


async def end_others():
    """Ends everything that runs in this loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def message(reader):
    """One request, head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return head + await reader.readexactly(int(value))
    return head


async def pump(reader, writer):
    """Bytes from Vault as they come, until there are no more."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()

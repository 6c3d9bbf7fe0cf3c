"""asyncpg: its pool knows no greatest age of a connection, so a task gives it one."""

import asyncio
import os

import asyncpg

from tally import run_async

MAX_AGE = float(os.environ.get("MAX_AGE", "600"))


async def renew(pool):
    while True:
        await asyncio.sleep(MAX_AGE)
        await pool.expire_connections()


async def main():
    async with asyncpg.create_pool(
        "postgresql://?service=app", min_size=0, max_size=4,
        max_inactive_connection_lifetime=MAX_AGE,
    ) as pool:
        renewing = asyncio.create_task(renew(pool))
        await run_async(lambda: pool.fetchval("SELECT session_user"))
        renewing.cancel()


asyncio.run(main())

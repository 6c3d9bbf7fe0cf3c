"""A web application with a pool that reads its login at each connect, and keeps none for long."""

import asyncio
import contextlib
import os

import asyncpg
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

MAX_AGE = float(os.environ.get("MAX_AGE", "600"))


async def renew(pool):
    while True:
        await asyncio.sleep(MAX_AGE)
        await pool.expire_connections()


@contextlib.asynccontextmanager
async def lifespan(app):
    async with asyncpg.create_pool(
        "postgresql://?service=app", min_size=0, max_size=4,
        max_inactive_connection_lifetime=MAX_AGE,
    ) as app.state.pool:
        renewing = asyncio.create_task(renew(app.state.pool))
        yield
        renewing.cancel()


async def user(request):
    return PlainTextResponse(await request.app.state.pool.fetchval("SELECT session_user"))


app = Starlette(routes=[Route("/", user)], lifespan=lifespan)

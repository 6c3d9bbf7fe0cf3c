"""A web application that reads its database's URL once: when a worker loads it."""

import contextlib
import os

import asyncpg
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

with open(os.environ["DATABASE_URL_FILE"]) as file:
    DATABASE_URL = file.read()


@contextlib.asynccontextmanager
async def lifespan(app):
    async with asyncpg.create_pool(DATABASE_URL, min_size=1, max_size=4) as app.state.pool:
        yield


async def user(request):
    return PlainTextResponse(await request.app.state.pool.fetchval("SELECT session_user"))


app = Starlette(routes=[Route("/", user)], lifespan=lifespan)

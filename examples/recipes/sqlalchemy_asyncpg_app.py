"""SQLAlchemy on asyncpg: its own URL cannot name a service, so asyncpg opens each connection."""

import asyncio
import os

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tally import run_async

MAX_AGE = float(os.environ.get("MAX_AGE", "600"))


async def connect():
    return await asyncpg.connect("postgresql://?service=app")


engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, pool_recycle=MAX_AGE)


async def query():
    async with engine.connect() as connection:
        return await connection.scalar(text("SELECT session_user"))


asyncio.run(run_async(query))

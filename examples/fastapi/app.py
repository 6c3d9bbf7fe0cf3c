"""A service with one endpoint through a pool of psycopg and one through SQLAlchemy.

Both connect to what DATABASE_URL says. libpq looks up `service=novacore` in the file that
PGSERVICEFILE names, anew for each connection.
"""

import contextlib
import os

from fastapi import FastAPI
from psycopg.rows import namedtuple_row
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import create_engine, make_url, text

DATABASE_URL = os.environ.get("DATABASE_URL", "postgresql:///?service=novacore")
POOL_MAX = int(os.environ.get("DATABASE_POOL_MAX", "10"))
# Seconds that a connection is used for; a new one then takes its place.
MAX_AGE = float(os.environ.get("DATABASE_MAX_AGE", "300"))
ROWS = "SELECT id, body, session_user::text AS session_user FROM memories ORDER BY id DESC LIMIT 10"

pool = AsyncConnectionPool(
    DATABASE_URL, min_size=1, max_size=POOL_MAX, timeout=5, max_lifetime=MAX_AGE,
    max_idle=MAX_AGE, check=AsyncConnectionPool.check_connection, open=False,
    kwargs={"connect_timeout": 5, "autocommit": True},
)
engine = create_engine(
    make_url(DATABASE_URL).set(drivername="postgresql+psycopg"), pool_size=POOL_MAX, max_overflow=0,
    pool_timeout=5, pool_recycle=MAX_AGE, pool_pre_ping=True, connect_args={"connect_timeout": 5},
)


@contextlib.asynccontextmanager
async def lifespan(_):
    async with pool:
        yield
    engine.dispose()


app = FastAPI(lifespan=lifespan)


def answer(rows):
    """The rows, and the user that they were read as."""
    return {
        "session_user": rows[0].session_user if rows else None,
        "rows": [{"id": row.id, "body": row.body} for row in rows],
    }


@app.get("/healthz")
async def healthz():
    async with pool.connection() as connection:
        await connection.execute("SELECT 1")
    return {"status": "ok"}


@app.get("/rows/pool")
async def rows_by_pool():
    async with pool.connection() as connection:
        async with connection.cursor(row_factory=namedtuple_row) as cursor:
            await cursor.execute(ROWS)
            return answer(await cursor.fetchall())


@app.get("/rows/sqlalchemy")
def rows_by_sqlalchemy():
    with engine.connect() as connection:
        return answer(connection.execute(text(ROWS)).all())


@app.get("/slow")
async def slow(seconds: float = 20):
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT session_user::text, pg_sleep(%s)", [seconds])
        return {"session_user": (await cursor.fetchone())[0]}

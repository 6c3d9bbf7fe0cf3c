"""SQLAlchemy on psycopg: the engine's pool replaces what is older than MAX_AGE seconds."""

import os

from sqlalchemy import create_engine, text

from tally import run

MAX_AGE = float(os.environ.get("MAX_AGE", "600"))
engine = create_engine("postgresql+psycopg://", pool_recycle=MAX_AGE)


def query():
    with engine.connect() as connection:
        return connection.scalar(text("SELECT session_user"))


run(query, threads=3)

"""Reads rendered files with the parsers that applications have; JSON in, JSON out."""

import json
import os
import sys
import tomllib
import urllib.parse

import dotenv
import psycopg
import yaml
from psycopg import conninfo, sql


def read_dotenv(paths):
    return [dict(dotenv.dotenv_values(path)) for path in paths]


def login(environment, **arguments):
    os.environ.update(environment)
    try:
        with psycopg.connect(connect_timeout=10, **arguments) as connection:
            return connection.execute("select current_user::text, current_database()").fetchone()
    except psycopg.Error as error:
        return str(error)
    finally:
        for name in environment:
            del os.environ[name]


def read_libpq(job):
    results = []
    with psycopg.connect(autocommit=True, **job["superuser"]) as superuser:
        name = sql.Identifier(job["dbname"])
        superuser.execute(sql.SQL("drop database if exists {}").format(name))
        superuser.execute(sql.SQL("create database {}").format(name))
        for case in job["cases"]:
            role = sql.Identifier(case["user"])
            superuser.execute(sql.SQL("drop role if exists {}").format(role))
            create = sql.SQL("create role {} login password {}")
            superuser.execute(create.format(role, sql.Literal(case["password"])))
            result = {}
            if "service" in case:
                result["service"] = login({"PGSERVICEFILE": case["service"], "PGSERVICE": "nova"})
            server = {name: job["superuser"][name] for name in ("host", "port")}
            server |= {"dbname": job["dbname"], "user": case["user"]}
            if "pgpass" in case:
                result["pgpass"] = login({"PGPASSFILE": case["pgpass"]}, **server)
            result["wrong"] = login({}, password="wrong", **server)
            superuser.execute(sql.SQL("drop role {}").format(role))
            results.append(result)
        superuser.execute(sql.SQL("drop database {}").format(name))
    return results


def read_yaml(paths):
    documents = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            documents.append(yaml.safe_load(file))
    return documents


def read_dsn(paths):
    results = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            dsn = file.read()
        parts = urllib.parse.urlsplit(dsn)
        result = {"libpq": conninfo.conninfo_to_dict(dsn)}
        # Several hosts are beyond it, and the directory of a socket is no host to it.
        if "," not in parts.netloc:
            result["urllib"] = {
                "user": urllib.parse.unquote(parts.username),
                "password": urllib.parse.unquote(parts.password),
                "host": urllib.parse.unquote(parts.hostname),
                "port": str(parts.port),
                "dbname": urllib.parse.unquote(parts.path[1:]),
                **dict(urllib.parse.parse_qsl(parts.query)),
            }
        results.append(result)
    return results


def read_quoted(paths):
    readers = {"json": json.load, "toml": tomllib.load, "yaml": yaml.safe_load}
    results = {}
    for name, path in paths.items():
        with open(path, "rb") as file:
            results[name] = readers[name](file)
    return results


READERS = {
    "dotenv": read_dotenv,
    "dsn": read_dsn,
    "libpq": read_libpq,
    "quoted": read_quoted,
    "yaml": read_yaml,
}
json.dump(READERS[sys.argv[1]](json.load(sys.stdin)), sys.stdout)

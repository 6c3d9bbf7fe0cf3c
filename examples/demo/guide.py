"""Sets up what the rotation guide describes: three group roles, the service's tables, the database
engine with one role, and an AppRole with the least policy.

Receives running servers, leaves them ready for one agent. Never runs in production as it is: a
person or a pipeline with the rights for it does there what this file does here.
"""

import json
import os
import secrets

HERE = os.path.dirname(os.path.abspath(__file__))


def text(name):
    with open(f"{HERE}/guide/{name}") as file:
        return file.read()


def database(postgres, dbname):
    """Group roles, "vault-admin" with a fresh password, and the tables; gives the password."""
    password = secrets.token_urlsafe(24)
    postgres.psql(text("groups.sql"))
    postgres.psql(f"""ALTER ROLE "vault-admin" PASSWORD '{password}'""")
    postgres.psql(f"CREATE DATABASE {dbname}")
    postgres.psql(text("tables.sql"), dbname=dbname)
    return password


def engine(bao, postgres, dbname, password, role, ttl, max_ttl):
    """The database engine with its connection and one role."""
    connection(bao, postgres, dbname, password, [role])
    database_role(bao, role, "intelligence_role", ttl, max_ttl)


def connection(bao, postgres, dbname, password, roles):
    """The database engine with its connection, for these roles."""
    bao.call("POST", "sys/mounts/database", {"type": "database"})
    bao.call("POST", "database/config/novacore-postgres", {
        "plugin_name": "postgresql-database-plugin",
        "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@{postgres.host}:"
                          f"{postgres.port}/{dbname}?sslmode=disable",
        "username": "vault-admin",
        "password": password,
        "allowed_roles": roles,
    })


def database_role(bao, role, group, ttl, max_ttl):
    """A role of the engine, whose users are members of `group`."""
    statements = json.loads(text("statements.json").replace("GROUP_ROLE", group))
    bao.call("POST", f"database/roles/{role}", {
        "db_name": "novacore-postgres", "default_ttl": ttl, "max_ttl": max_ttl, **statements,
    })


def approle(bao, role, directory):
    """An AppRole that may do what policy.hcl says; its two ids as files in `directory`."""
    if "approle/" not in bao.call("GET", "sys/auth")["data"]:
        bao.call("POST", "sys/auth/approle", {"type": "approle"})
    policy = text("policy.hcl").replace("MOUNT", "database").replace("ROLE", role)
    bao.call("POST", f"sys/policies/acl/{role}", {"policy": policy})
    bao.call("POST", f"auth/approle/role/{role}", {"token_policies": [role], "token_period": "1h"})
    role_id = bao.call("GET", f"auth/approle/role/{role}/role-id")["data"]["role_id"]
    secret_id = bao.call("POST", f"auth/approle/role/{role}/secret-id", {})["data"]["secret_id"]
    for name, value in (("role_id", role_id), ("secret_id", secret_id)):
        with open(os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(value)

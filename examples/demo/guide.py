"""Sets up what the rotation guide describes, with terms as short as whoever asks wants them: the
service's tables by its own migration, all else by `leasehold vault bootstrap apply`.

Receives running servers, leaves them ready for the agents of some roles. deploy/vault/bootstrap.yaml
has the guide's own terms and all three services.
"""

import json
import os
import subprocess

from servers import Failed

HERE = os.path.dirname(os.path.abspath(__file__))

GROUPS = {
    "intelligence_role": {"tables": "all"},
    "auth_role": {"tables": ["users", "sessions", "user_progress"]},
    "memory_role": {"tables": ["memories", "memory_contexts"]},
}


def wanted(bao, postgres, dbname, roles):
    """The file for bootstrap; `roles` has for each its group, term and greatest life."""
    host, port = postgres.host, postgres.port
    return {
        "vault": {"address": bao.address},
        "postgres": {
            "connection": {"host": host, "port": port, "dbname": dbname, "sslmode": "disable"},
            "superuser": postgres.superuser,
            "groups": GROUPS,
        },
        "database": {
            "connection": "novacore-postgres",
            "url": f"postgresql://{{{{username}}}}:{{{{password}}}}@{host}:{port}/{dbname}"
                   "?sslmode=disable",
            "roles": {
                name: {"group": group, "default_ttl": ttl, "max_ttl": max_ttl}
                for name, (group, ttl, max_ttl) in roles.items()
            },
        },
        "policies": {
            name: {
                f"database/creds/{name}": ["read"],
                # A child token for each login but the first: a kill at the wrong moment then
                # leaves nothing behind.
                "auth/token/create": ["update"],
                # For `on_stop: revoke`; without it leases are shortened to a second.
                "sys/leases/revoke": ["update"],
            }
            for name in roles
        },
        "auth": {"approle": {"type": "approle", "roles": {
            name: {"token_policies": [name], "token_period": "1h"} for name in roles
        }}},
    }


def set_up(binary, bao, postgres, directory, dbname, roles, rights=None):
    """A database with its tables, and all that the agents of `roles` need; `rights` are more rules
    for the policy of each."""
    postgres.psql(f"CREATE DATABASE {dbname}")
    with open(f"{HERE}/tables.sql") as file:
        postgres.psql(file.read(), dbname=dbname)
    file = wanted(bao, postgres, dbname, roles)
    for policy in file["policies"].values():
        policy.update(rights or {})
    path = f"{directory}/bootstrap.yaml"
    with open(path, "w") as out:
        json.dump(file, out, indent=2)
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [binary, "vault", "bootstrap", "apply", "--yes", "--config", path], text=True,
        env={**kept, "VAULT_TOKEN": bao.token, "PGPASSWORD": postgres.password},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
    )
    if done.returncode != 0:
        raise Failed(f"bootstrap exited {done.returncode}:\n{done.stdout}")


def hand_over(bao, role, directory):
    """The two ids of an AppRole as files in `directory`, as whoever may see them hands them over."""
    role_id = bao.call("GET", f"auth/approle/role/{role}/role-id")["data"]["role_id"]
    secret_id = bao.call("POST", f"auth/approle/role/{role}/secret-id", {})["data"]["secret_id"]
    for name, value in (("role_id", role_id), ("secret_id", secret_id)):
        with open(os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(value)

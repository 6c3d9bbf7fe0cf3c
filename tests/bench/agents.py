"""The two agents, configured for the same job.

Receives the servers and a job (an AppRole, one database role, some KV secrets, how often those are
polled), gives a running agent. Never gives one a setting that its documentation would not.
"""

import contextlib
import json
import os

from process import Program

ROLE = "intelligence-service"
DATABASE = "novacore"
FILE = "app.env"


def write(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


class Job:
    """What an agent is to do."""

    def __init__(self, vault, postgres, ids, kv=0, poll="15s"):
        self.vault = vault
        self.postgres = postgres
        self.ids = ids
        self.kv = [f"s{number:03}" for number in range(kv)]
        self.poll = poll

    def through(self, vault):
        """The same job with Vault at another address."""
        return Job(vault, self.postgres, self.ids, len(self.kv), self.poll)

    def polling(self, kv, poll):
        """The same job with so many KV secrets, each polled so often."""
        return Job(self.vault, self.postgres, self.ids, kv, poll)


class Agent:
    """One agent at work in a directory of its own: a file with the login, and one for each KV
    secret."""

    def __init__(self, job, directory, command):
        self.run = f"{directory}/run"
        self.directory = directory
        os.mkdir(directory, 0o700)
        os.mkdir(self.run, 0o700)
        self.configure(job)
        self.command = command
        self.program = None

    def start(self, inotify=True):
        self.program = Program(self.command, self.environment(), inotify)
        return self.program

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": self.directory}

    def ready_at(self):
        """When the file came into place, by the kernel's own note of it: nanoseconds of the wall
        clock."""
        return os.lstat(f"{self.run}/{self.marker}").st_ctime_ns

    def text(self, name):
        """What is in a published file; nothing while it is not there."""
        with contextlib.suppress(FileNotFoundError), open(f"{self.run}/{name}") as file:
            return file.read()


class Ours(Agent):
    """Leasehold."""

    marker = "current"

    def __init__(self, job, directory, binary):
        super().__init__(job, directory, [binary, "run", "--config", f"{directory}/config.yaml"])

    def published(self, name):
        """Whether every file is there, now that `name` has appeared."""
        return name == self.marker

    def configure(self, job):
        connection = {
            "host": job.postgres.host, "port": job.postgres.port, "dbname": DATABASE,
            "sslmode": "disable",
        }
        secrets = {"db": {
            "database": {"mount": "database", "role": ROLE}, "connection": connection,
        }}
        files = {FILE: {"format": "dotenv", "secrets": ["db"]}}
        for name in job.kv:
            kv = {"mount": "secret", "path": f"bench/{name}", "poll": job.poll}
            secrets[name] = {"kv": kv}
            files[name] = {"format": "raw", "secret": name, "field": "value"}
        config = {
            "instance": os.path.basename(self.directory),
            "vault": {"address": job.vault, "auth": {"approle": {
                "role_id_file": f"{job.ids}/role_id", "secret_id_file": f"{job.ids}/secret_id",
            }}},
            "secrets": secrets,
            "publish": {"directory": self.run, "allow_disk": True, "files": files},
            "state": {"directory": f"{self.directory}/state", "allow_disk": True},
            "listen": {"probes": "127.0.0.1:0", "metrics": "127.0.0.1:0"},
            "on_stop": "keep",
        }
        # JSON is YAML.
        write(f"{self.directory}/config.yaml", json.dumps(config, indent=1))


class Incumbent(Agent):
    """`bao agent`."""

    marker = FILE

    def __init__(self, job, directory, binary):
        super().__init__(job, directory, [binary, "agent", f"-config={directory}/agent.hcl"])

    def published(self, name):
        """Whether every file is there, now that `name` has appeared."""
        self.missing.discard(name)
        return not self.missing

    def configure(self, job):
        self.missing = {FILE, *job.kv}
        login = [
            f'{{{{ with secret "database/creds/{ROLE}" }}}}DB_USERNAME={{{{ .Data.username }}}}',
            "DB_PASSWORD={{ .Data.password }}{{ end }}",
            f"DB_HOST={job.postgres.host}", f"DB_PORT={job.postgres.port}", f"DB_NAME={DATABASE}",
        ]
        templates = {FILE: "\n".join(login) + "\n"}
        for name in job.kv:
            templates[name] = (f'{{{{ with secret "secret/data/bench/{name}" }}}}'
                               "{{ .Data.data.value }}{{ end }}")
        for name, text in templates.items():
            write(f"{self.directory}/{name}.tpl", text)
        stanzas = "".join(f"""
template {{
  source      = "{self.directory}/{name}.tpl"
  destination = "{self.run}/{name}"
}}""" for name in templates)
        write(f"{self.directory}/agent.hcl", f"""
vault {{ address = "{job.vault}" }}
auto_auth {{
  method "approle" {{
    config = {{
      role_id_file_path                   = "{job.ids}/role_id"
      secret_id_file_path                 = "{job.ids}/secret_id"
      remove_secret_id_file_after_reading = false
    }}
  }}
}}
template_config {{ static_secret_render_interval = "{job.poll}" }}
{stanzas}
""")

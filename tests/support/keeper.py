#!/usr/bin/env python3
"""Servers of one test's own, to seal, stop, kill and hold back as it likes.

Says in one line of JSON what it started, then takes one order a line from its standard input and
answers each with a line. At the end of the input it ends what it started, so the servers are gone
however the test ends.

    keeper.py raft NODES PORT SAID  OpenBao on raft storage; the last node's cluster port is PORT,
                                  and it says that it is SAID
    keeper.py postgres LIMIT        PostgreSQL that takes so many connections
    keeper.py replica               the same with a streaming replica, on another address

    kill NAME | start NAME          SIGKILL of an OpenBao node; its start, unsealed
    stop | start                    PostgreSQL, fast; sessions are ended
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import urllib.error

from servers import (
    Bao, Failed, Postgres, dies_with_us, end, free_port, memory_directory, postgresql,
    raise_on_signals, unprivileged, wait_until,
)


REFERENCE = f"{os.path.dirname(os.path.abspath(__file__))}/../../deploy/vault/openbao.hcl"


def certificates(directory):
    """A CA, and a certificate of it for this machine, which every node has."""
    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    with open(f"{directory}/names", "w") as file:
        file.write("subjectAltName=IP:127.0.0.1\n")
    for words in (
        f"req -x509 {key} -keyout ca.key -out ca.pem -days 3 -subj /CN=test-ca",
        f"req {key} -keyout server.key -out server.csr -subj /CN=node",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem "
        "-days 3 -extfile names",
    ):
        made = subprocess.run(["openssl", *words.split()], cwd=directory, capture_output=True)
        if made.returncode != 0:
            raise Failed(f"openssl failed:\n{made.stderr.decode()}")
    return f"{directory}/ca.pem"


class Node:
    """One OpenBao of a raft cluster, as deploy/vault/openbao.hcl has it."""

    def __init__(self, directory, number, binary, ca, cluster_port=None, said=None):
        self.name = f"node-{number}"
        self.home = f"{directory}/{self.name}"
        self.port = free_port()
        self.cluster_port = cluster_port or free_port()
        self.said = said or self.cluster_port
        self.bao = Bao(f"https://127.0.0.1:{self.port}", "", binary, ca)
        self.process = None
        os.makedirs(f"{self.home}/raft")

    def configure(self, nodes):
        """Writes the file down with this machine's places in it."""
        directory = os.path.dirname(self.home)
        here = {
            "/var/lib/openbao": f"{self.home}/raft", "/etc/openbao/tls/": f"{directory}/",
            "0.0.0.0:8200": f"127.0.0.1:{self.port}",
            "0.0.0.0:8201": f"127.0.0.1:{self.cluster_port}",
        }
        for number in range(3):
            node = nodes[min(number, len(nodes) - 1)]
            here[f"https://vault-{number}.vault.internal:8200\"\n"] = f"{node.bao.address}\"\n"
        with open(REFERENCE) as file:
            text = file.read()
        for there, place in here.items():
            if there not in text:
                raise Failed(f"{REFERENCE} has no {there.strip()}")
            text = text.replace(there, place)
        with open(f"{self.home}/config.hcl", "w") as file:
            file.write(text)

    def start(self):
        clean = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("VAULT_", "BAO_"))
        }
        own = {
            "HOME": self.home, "BAO_API_ADDR": self.bao.address, "BAO_RAFT_NODE_ID": self.name,
            "BAO_CLUSTER_ADDR": f"https://127.0.0.1:{self.said}",
        }
        with open(f"{self.home}/log", "a") as out:
            self.process = subprocess.Popen(
                [self.bao.binary, "server", "-config", f"{self.home}/config.hcl"],
                env={**clean, **own}, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, preexec_fn=dies_with_us(signal.SIGKILL),
            )
        wait_until(f"{self.name} answers", lambda: self.ask("sys/seal-status"))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ask(self, path):
        with contextlib.suppress(OSError, ValueError):
            return self.bao.call("GET", path)
        return None

    def unseal(self, key):
        def unsealed():
            with contextlib.suppress(OSError):
                return not self.bao.call("PUT", "sys/unseal", {"key": key})["sealed"]
            return False

        wait_until(f"{self.name} is unsealed", unsealed)


@contextlib.contextmanager
def raft(directory, binary, count, port, said):
    """A cluster of `count` nodes: what to say of it, and what it obeys."""
    ca = certificates(directory)
    nodes = [Node(directory, number, binary, ca) for number in range(count - 1)]
    nodes.append(Node(directory, count - 1, binary, ca, port, said))
    for node in nodes:
        node.configure(nodes)
    try:
        first = nodes[0]
        first.start()
        made = first.bao.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        token, key = made["root_token"], made["keys_base64"][0]
        first.unseal(key)
        leads = lambda node: (node.ask("sys/leader") or {}).get("is_self")
        wait_until("the first node leads", lambda: leads(first))
        first.bao.token = token
        # A node that joins votes only when it was stable for ten seconds.
        stable = {"server_stabilization_time": "1s", "cleanup_dead_servers": False}
        first.bao.call("POST", "sys/storage/raft/autopilot/configuration", stable)
        for node in nodes[1:]:
            node.start()
            node.unseal(key)
        for node in nodes:
            node.bao.token = token
            wait_until(f"{node.name} is in the cluster", lambda node=node: settled(node))
        wait_until("every node votes", lambda: voters(first) == count)
        named = {node.name: node for node in nodes}

        def start(name):
            node = named[name]
            node.start()
            node.unseal(key)
            # Else the next leader that is killed could leave no majority.
            wait_until(f"{name} is back in the cluster", lambda: settled(node))

        yield {
            "token": token, "key": key, "ca": ca,
            "nodes": [{"name": node.name, "address": node.bao.address} for node in nodes],
        }, {"kill": lambda name: named[name].kill(), "start": start}
    finally:
        for node in nodes:
            if node.process is not None:
                end(node.process, signal.SIGTERM)


def settled(node):
    """Whether this node leads, or answers by a leader that it knows."""
    with contextlib.suppress(OSError, urllib.error.HTTPError):
        return node.bao.call("GET", "auth/token/lookup-self") is not None
    return False


def voters(node):
    """How many nodes may elect a leader."""
    found = node.bao.call("GET", "sys/storage/raft/configuration")["data"]["config"]["servers"]
    return sum(server["voter"] for server in found)


class Postmaster:
    """A running PostgreSQL, to be stopped and started with the same arguments."""

    def __init__(self, home):
        self.home = home
        with open(f"/proc/{self.pid()}/cmdline") as file:
            self.command = file.read().split("\0")[:-1]
        self.process = None

    def pid(self):
        with open(f"{self.home}/data/postmaster.pid") as file:
            return int(file.readline())

    def stop(self):
        pid = self.pid()
        os.kill(pid, signal.SIGINT)
        gone = lambda: not os.path.exists(f"{self.home}/data/postmaster.pid")
        wait_until("PostgreSQL has stopped", gone)

    def start(self):
        identity, _ = unprivileged()
        with open(f"{self.home}/log", "a") as out:
            self.process = subprocess.Popen(
                self.command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, preexec_fn=dies_with_us(signal.SIGQUIT), **identity,
            )


@contextlib.contextmanager
def one_postgres(directory, limit):
    """A PostgreSQL that can be stopped and started."""
    with postgresql(directory, limit) as server:
        master = Postmaster(f"{directory}/postgres")

        def start():
            master.start()
            wait_until("PostgreSQL answers", server.ready)

        try:
            yield described(server), {"stop": master.stop, "start": start}
        finally:
            if master.process is not None:
                end(master.process, signal.SIGINT)


@contextlib.contextmanager
def replica(directory):
    """A primary, and a replica at the same port of another loopback address."""
    with postgresql(directory) as primary:
        identity, uid = unprivileged()
        home = f"{directory}/replica"
        os.mkdir(home, 0o700)
        if os.geteuid() == 0:
            os.chown(home, uid, -1)
        environment = dict(os.environ, PGPASSWORD=primary.password)
        copied = subprocess.run(
            [f"{primary.binaries}/pg_basebackup", "-D", f"{home}/data", "-h", primary.host,
             "-p", str(primary.port), "-U", primary.superuser, "-R", "-c", "fast", "--no-sync"],
            cwd=home, env=environment, text=True, capture_output=True, **identity,
        )
        if copied.returncode != 0:
            raise Failed(f"pg_basebackup failed:\n{copied.stderr}")
        server = Postgres(primary.port, primary.password, primary.binaries, home)
        server.host = ".".join(["127", *(str(random.randint(1, 254)) for _ in range(3))])
        settings = {
            "listen_addresses": server.host, "unix_socket_directories": home, "hot_standby": "on",
            "max_connections": 300, "fsync": "off", "shared_buffers": "32MB",
            "dynamic_shared_memory_type": "mmap",
        }
        options = [f"-c{name}={value}" for name, value in settings.items()]
        with open(f"{home}/log", "w") as out:
            process = subprocess.Popen(
                [f"{primary.binaries}/postgres", "-D", f"{home}/data", f"-p{server.port}", *options],
                cwd=home, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, preexec_fn=dies_with_us(signal.SIGQUIT), **identity,
            )
        try:
            wait_until("the replica answers", server.ready)
            yield {**described(primary), "replica": server.host}, {}
        finally:
            end(process, signal.SIGINT)


def described(server):
    return {"host": server.host, "port": server.port, "password": server.password}


def kept(directory, kind, arguments):
    binary = os.environ["LEASEHOLD_TEST_BAO"]
    if kind == "raft":
        return raft(directory, binary, *map(int, arguments))
    if kind == "postgres":
        return one_postgres(directory, int(arguments[0]))
    return replica(directory)


def main():
    raise_on_signals()
    with memory_directory() as directory:
        with kept(directory, sys.argv[1], sys.argv[2:]) as (facts, orders):
            print(json.dumps(facts), flush=True)
            for line in sys.stdin:
                order, *arguments = line.split()
                orders[order](*arguments)
                print(json.dumps({"done": order}), flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""One pod without Kubernetes: what the kubelet and a container runtime make of its specification.

Receives a description as a file of JSON, says on its standard output, a line of JSON each, what
becomes of the containers, and takes an order a line from its standard input. Never leaves anything
behind: all of it is in namespaces whose first process ends with this one.

There are a network with an address of its own, volumes in memory with the group that `fsGroup`
asks for, ConfigMaps and tokens as the kubelet writes them, init containers in their order with
sidecars among them, restarts, and probes from outside. `crun` runs the containers, under the filter
of system calls that is the runtime's default. There are no memory limits, no images pulled, and no
DNS: the names that a pod needs are in its /etc/hosts.

    {"do": "kill", "container": NAME, "signal": 9}
    {"do": "exec", "container": NAME, "args": […]}      said to be over in order
    {"do": "stop"}                                      as a pod is deleted; ends this process
"""

import contextlib
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from servers import dies_with_us, wait_until

SECCOMP = "/usr/share/containers/seccomp.json"
ARCHITECTURES = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"]
# What a container has that drops nothing, by the usual runtimes.
CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
]
MASKED = [
    "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
]
READ_ONLY = [f"/proc/{name}" for name in ("bus", "fs", "irq", "sys", "sysrq-trigger")]
BACK_OFF = [0, 1, 2, 5]
SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])

say_lock = threading.Lock()


def say(event, **facts):
    with say_lock:
        print(json.dumps({"event": event, **facts}), flush=True)


def run(arguments, **more):
    """Runs a command that has to work; what it printed."""
    done = subprocess.run(arguments, text=True, capture_output=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


class Namespaces:
    """Network, mounts, process ids, and their first process."""

    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--pid", "--mount", "--ipc", "--uts", "--fork", "--kill-child",
             "--mount-proc", "sleep", "infinity"],
            preexec_fn=dies_with_us(signal.SIGKILL), stdin=subprocess.DEVNULL,
        )
        children = f"/proc/{self.holder.pid}/task/{self.holder.pid}/children"

        def first():
            with open(children) as file, contextlib.suppress(IndexError, OSError):
                pid = int(file.read().split()[0])
                if os.readlink(f"/proc/{pid}/exe").endswith("/sleep"):
                    return pid
            return None

        self.first = wait_until("the namespaces", first)
        self.root = f"/proc/{self.first}/root"
        if not os.path.exists(f"{self.root}/sys/fs/cgroup/cgroup.controllers"):
            # The runtime wants the second version alone, also where it is told to use none.
            self.run(["umount", "-R", "/sys/fs/cgroup"])
            self.run(["mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"])
        self.connect()

    def connect(self):
        index = random.randrange(1 << 14)
        third, fourth = divmod(index * 4, 256)
        self.outside, self.address = (f"10.213.{third}.{fourth + n}" for n in (1, 2))
        link = f"leasehold{index}"
        run(["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns",
             str(self.first)])
        run(["ip", "address", "add", f"{self.outside}/30", "dev", link])
        run(["ip", "link", "set", link, "up"])
        for words in (["address", "add", f"{self.address}/30", "dev", "eth0"],
                      ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"],
                      ["route", "add", "default", "via", self.outside]):
            self.run(["ip", *words])

    def inside(self, arguments):
        return ["nsenter", f"--target={self.first}", "--net", "--pid", "--mount", "--ipc", "--uts",
                *arguments]

    def run(self, arguments, **more):
        return run(self.inside(arguments), **more)

    def end(self):
        self.holder.kill()
        self.holder.wait()


def copy(source, sink):
    with contextlib.suppress(OSError, ValueError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def relay(address, port, target, tls, kind):
    """Takes connections at `address`, with TLS as HTTP or as PostgreSQL begins it, to `target`."""
    listener = socket.create_server((address, port))

    def serve(connection):
        with contextlib.suppress(OSError):
            if kind == "postgres":
                if connection.recv(8, socket.MSG_WAITALL) != SSL_REQUEST:
                    return connection.close()
                connection.sendall(b"S")
            near = tls.wrap_socket(connection, server_side=True)
            far = socket.create_connection(tuple(target))
            for ends in ((near, far), (far, near)):
                threading.Thread(target=copy, args=ends, daemon=True).start()

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


class Pod:
    def __init__(self, description):
        self.description = description
        self.spec = description["pod"]
        self.context = self.spec.get("securityContext", {})
        self.namespaces = Namespaces()
        # Mounted inside only: what is in it is gone with the namespaces.
        self.base = "/run"
        self.namespaces.run(["mount", "-t", "tmpfs", "-o", "mode=0711", "none", self.base])
        self.here = f"{self.namespaces.root}{self.base}"
        for name in ("volumes", "bundles", "images", "state"):
            os.mkdir(f"{self.here}/{name}", 0o711)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(description["tls"]["cert"], description["tls"]["key"])
        for each in description["relays"]:
            relay(self.namespaces.outside, each["port"], each["to"], tls, each["kind"])
        self.write_names()
        for volume in self.spec.get("volumes", []):
            self.make_volume(volume)
        self.containers = {}
        self.stopping = threading.Event()

    def write_names(self):
        names = " ".join(self.description["hosts"])
        hosts = f"127.0.0.1 localhost\n{self.namespaces.address} {self.description['name']}\n"
        self.write("hosts", f"{hosts}{self.namespaces.outside} {names}\n")
        self.write("resolv.conf", f"nameserver {self.namespaces.outside}\n")
        self.write("hostname", f"{self.description['name']}\n")

    def write(self, name, text, mode=0o644, group=None):
        path = f"{self.here}/{name}"
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        if group is not None:
            os.chown(path, 0, group)

    def make_volume(self, volume):
        """As the kubelet does: root's, open to all, and with `fsGroup` that group's."""
        name, group = f"volumes/{volume['name']}", self.context.get("fsGroup")
        os.mkdir(f"{self.here}/{name}")
        limit = volume.get("emptyDir", {}).get("sizeLimit", "1Mi").removesuffix("i")
        self.namespaces.run(
            ["mount", "-t", "tmpfs", "-o", f"size={limit},mode=0777", "none", f"{self.base}/{name}"]
        )
        if "configMap" in volume:
            files, mode = self.description["config_maps"][volume["configMap"]["name"]], 0o644
        elif "projected" in volume:
            (source,) = volume["projected"]["sources"]
            files = {source["serviceAccountToken"]["path"]: self.description["token"]}
            mode = 0o600 if group is None else 0o640
        else:
            files, mode = {}, 0
        if files:
            os.mkdir(f"{self.here}/{name}/..one")
            os.symlink("..one", f"{self.here}/{name}/..data")
        for file, text in files.items():
            self.write(f"{name}/..one/{file}", text, mode, group)
            os.symlink(f"..data/{file}", f"{self.here}/{name}/{file}")
        if group is not None:
            os.chown(f"{self.here}/{name}", 0, group)
            os.chmod(f"{self.here}/{name}", 0o2777)

    def image(self, container):
        """The image's root as the container gets it, and what is bound into that."""
        image, name = self.description["images"][container["image"]], container["name"]
        root = f"images/{name}"
        os.mkdir(f"{self.here}/{root}", 0o755)
        if "root" not in image:
            binds = [(path, path, ["rbind", "ro"]) for path in image["here"]]
            return f"{self.base}/{root}", binds
        layers = {"upperdir": f"{root}.upper", "workdir": f"{root}.work"}
        for layer in layers.values():
            os.mkdir(f"{self.here}/{layer}", 0o755)
        options = [f"lowerdir={image['root']}"]
        options += [f"{kind}={self.base}/{layer}" for kind, layer in layers.items()]
        self.namespaces.run(
            ["mount", "-t", "overlay", "-o", ",".join(options), "none", f"{self.base}/{root}"]
        )
        return f"{self.base}/{root}", []

    def environment(self, container):
        facts = {"metadata.name": self.description["name"], "status.podIP": self.namespaces.address}
        image = self.description["images"][container["image"]]
        found = dict(each.split("=", 1) for each in image.get("env", []))
        for each in container.get("env", []):
            source = each.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            found[each["name"]] = facts[source] if source else each["value"]
        found.update(image.get("more_env", {}))
        return [f"{name}={value}" for name, value in found.items()]

    def user(self, container):
        context = {**self.context, **container.get("securityContext", {})}
        image = self.description["images"][container["image"]]
        own = (image.get("user") or "0:0").split(":")
        uid = context.get("runAsUser", int(own[0]))
        if context.get("runAsNonRoot") and uid == 0:
            raise RuntimeError(f"{container['name']} has runAsNonRoot and would run as root")
        gid = context.get("runAsGroup", int(own[1]) if len(own) > 1 else 0)
        groups = self.context.get("supplementalGroups", []) + [self.context.get("fsGroup", gid)]
        return {"uid": uid, "gid": gid, "additionalGids": groups}

    def bundle(self, container):
        """Writes what the runtime is told of a container."""
        name, context = container["name"], {**self.context, **container.get("securityContext", {})}
        image = self.description["images"][container["image"]]
        root, binds = self.image(container)
        for file in ("hosts", "resolv.conf", "hostname"):
            binds.append((f"{self.base}/{file}", f"/etc/{file}", ["rbind", "rw"]))
        for mount in container.get("volumeMounts", []):
            kind = "ro" if mount.get("readOnly") else "rw"
            source = f"{self.base}/volumes/{mount['name']}"
            binds.append((source, mount["mountPath"], ["rbind", kind]))
        command = container.get("command")
        arguments = container.get("args", [] if command else image.get("cmd", []))
        capabilities = context.get("capabilities", {})
        kept = [] if "ALL" in capabilities.get("drop", []) else CAPABILITIES
        namespaces = [{"type": "mount"}]
        if not self.spec.get("shareProcessNamespace"):
            namespaces.append({"type": "pid"})
        config = {
            "ociVersion": "1.0.2",
            "process": {
                "terminal": False, "cwd": "/", "user": self.user(container),
                "args": (command or image.get("entrypoint", [])) + arguments,
                "env": self.environment(container),
                "capabilities": {
                    kind: kept for kind in ("bounding", "effective", "permitted", "inheritable")
                },
                "noNewPrivileges": context.get("allowPrivilegeEscalation") is False,
            },
            "root": {"path": root, "readonly": context.get("readOnlyRootFilesystem", False)},
            "mounts": SYSTEM_MOUNTS + [
                {"destination": to, "type": "bind", "source": source, "options": options}
                for source, to, options in binds
            ],
            "linux": {
                "namespaces": namespaces, "maskedPaths": MASKED, "readonlyPaths": READ_ONLY,
            },
        }
        if context.get("seccompProfile", {}).get("type") == "RuntimeDefault":
            config["linux"]["seccomp"] = seccomp()
        os.mkdir(f"{self.here}/bundles/{name}")
        self.write(f"bundles/{name}/config.json", json.dumps(config))
        return config["process"]

    def crun(self, *words):
        return self.namespaces.inside(
            ["crun", f"--root={self.base}/state", "--cgroup-manager=disabled", *words]
        )

    def start(self):
        """Init containers in their order, then all others."""
        for container in self.spec.get("initContainers", []):
            own = self.containers[container["name"]] = Container(self, container)
            if container.get("restartPolicy") == "Always":
                own.keep()
                own.started.wait()
            else:
                own.until_done()
            if self.stopping.is_set():
                return
        for container in self.spec["containers"]:
            self.containers[container["name"]] = Container(self, container)
        for container in self.spec["containers"]:
            self.containers[container["name"]].keep()
        say("running")

    def stop(self):
        """Sidecars are stopped after all others, the last one first."""
        self.stopping.set()
        sidecars = [each["name"] for each in self.spec.get("initContainers", [])]
        grace = self.spec.get("terminationGracePeriodSeconds", 30)
        for names in [[n for n in self.containers if n not in sidecars],
                      *[[n] for n in reversed(sidecars) if n in self.containers]]:
            for name in names:
                self.containers[name].kill(signal.SIGTERM)
            for name in names:
                if not self.containers[name].ended.wait(grace):
                    self.containers[name].kill(signal.SIGKILL)
        say("stopped")



SYSTEM_MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc",
     "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
     "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
     "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
     "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs",
     "options": ["nosuid", "noexec", "nodev", "ro"]},
]


def seccomp():
    """The default filter for a container with no capabilities, in the runtime's words."""
    with open(SECCOMP) as file:
        profile = json.load(file)
    here = {"amd64", "x86", "x32"} if os.uname().machine == "x86_64" else {"arm64", "arm"}
    rules = []
    for rule in profile["syscalls"]:
        wanted, unwanted = (rule.get(kind) or {} for kind in ("includes", "excludes"))
        if wanted.get("caps") or not here & set(wanted.get("arches") or here):
            continue
        if here & set(unwanted.get("arches") or []):
            continue
        kept = {"names": rule["names"], "action": rule["action"], "args": rule.get("args") or []}
        if rule.get("errnoRet") is not None:
            kept["errnoRet"] = rule["errnoRet"]
        rules.append(kept)
    return {
        "defaultAction": profile["defaultAction"], "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ARCHITECTURES, "syscalls": rules,
    }


class Container:
    """One container, its restarts and its probes."""

    def __init__(self, pod, spec):
        self.pod, self.spec, self.name = pod, spec, spec["name"]
        self.process = None
        self.started, self.ended = threading.Event(), threading.Event()
        self.runs = 0
        self.settings = pod.bundle(spec)

    def launch(self):
        """Starts it; gives when that is done."""
        self.runs += 1
        pid_file = f"bundles/{self.name}/pid"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.pod.here}/{pid_file}")
        self.process = subprocess.Popen(
            self.pod.crun("run", "--bundle", f"{self.pod.base}/bundles/{self.name}",
                          "--pid-file", f"{self.pod.base}/{pid_file}", self.id()),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        threading.Thread(target=self.listen, args=(self.process.stdout,), daemon=True).start()

        def known():
            with contextlib.suppress(OSError, ValueError), open(f"{self.pod.here}/{pid_file}") as f:
                return int(f.read())
            return self.process.poll() is not None

        self.pid = wait_until(f"{self.name} starts", known)
        say("started", container=self.name, run=self.runs,
            proc=f"{self.pod.namespaces.root}/proc/{self.pid}")

    def id(self):
        return f"{self.name}-{self.runs}"

    def listen(self, stream):
        for line in stream:
            say("log", container=self.name, line=line.rstrip("\n"))

    def wait(self):
        code = self.process.wait()
        subprocess.run(self.pod.crun("delete", "--force", self.id()), capture_output=True)
        say("exited", container=self.name, run=self.runs, code=code)
        return code

    def until_done(self):
        """A container that has to succeed once."""
        while not self.pod.stopping.is_set():
            self.launch()
            if self.wait() == 0:
                self.ended.set()
                return
            time.sleep(1)

    def keep(self):
        """A container that is started again whenever it ends."""
        threading.Thread(target=self.keep_on, daemon=True).start()

    def keep_on(self):
        while not self.pod.stopping.is_set():
            self.launch()
            over = threading.Event()
            threading.Thread(target=self.probe, args=(over,), daemon=True).start()
            self.wait()
            over.set()
            pause = BACK_OFF[min(self.runs - 1, len(BACK_OFF) - 1)]
            self.pod.stopping.wait(pause)
        self.ended.set()

    def kill(self, number):
        subprocess.run(self.pod.namespaces.inside(["kill", f"-{number}", str(self.pid)]),
                       capture_output=True)

    def probe(self, over):
        """Startup first, then the two others side by side."""
        startup = self.spec.get("startupProbe")
        if startup and not self.watch("startup", startup, over, until_good=True):
            return
        self.started.set()
        for kind in ("liveness", "readiness"):
            if probe := self.spec.get(f"{kind}Probe"):
                threading.Thread(target=self.watch, args=(kind, probe, over), daemon=True).start()

    def watch(self, kind, probe, over, until_good=False):
        failures, before = 0, None
        while not over.wait(probe.get("periodSeconds", 10) if before is not None else 0.2):
            good, why = self.ask(probe)
            failures = 0 if good else failures + 1
            if good != before:
                say("probe", container=self.name, probe=kind, good=good, why=why)
            before = good
            if good and until_good:
                return True
            if kind != "readiness" and failures >= probe.get("failureThreshold", 3):
                self.kill(signal.SIGTERM)
                return False
        return False

    def ask(self, probe):
        if "exec" in probe:
            done = self.execute(probe["exec"]["command"], probe.get("timeoutSeconds", 1))
            return done.returncode == 0, done.stdout.strip()
        get = probe["httpGet"]
        ports = {port.get("name"): port["containerPort"] for port in self.spec.get("ports", [])}
        port = ports.get(get["port"], get["port"])
        url = f"http://{self.pod.namespaces.address}:{port}{get['path']}"
        try:
            with urllib.request.urlopen(url, timeout=probe.get("timeoutSeconds", 1)) as answer:
                return answer.status < 400, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            return False, error.read().decode().strip()
        except OSError as error:
            return False, str(error)

    def execute(self, arguments, seconds=20):
        """Runs a command in it as it runs itself: the same user, rights and filter."""
        process = f"bundles/{self.name}/exec.json"
        self.pod.write(process, json.dumps({**self.settings, "args": arguments}))
        return subprocess.run(
            self.pod.crun("exec", "--process", f"{self.pod.base}/{process}", self.id()),
            text=True, timeout=seconds, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )


def obey(pod, orders):
    for line in orders:
        order = json.loads(line)
        if order["do"] == "stop":
            pod.stop()
            return
        container = pod.containers[order["container"]]
        if order["do"] == "kill":
            container.kill(order["signal"])
        elif order["do"] == "exec":
            done = container.execute(order["args"])
            say("executed", code=done.returncode, output=done.stdout)


def main():
    with open(sys.argv[1]) as file:
        pod = Pod(json.load(file))

    def start():
        try:
            pod.start()
        except Exception as error:  # whoever waits for the pod has to hear of it
            say("failed", why=str(error))
            raise

    try:
        say("made", address=pod.namespaces.address, volumes=f"{pod.here}/volumes")
        threading.Thread(target=start, daemon=True).start()
        obey(pod, sys.stdin)
    finally:
        pod.namespaces.end()


if __name__ == "__main__":
    main()

"""Programs under measurement.

Receives a command line, gives its moment of exec and what the kernel counts for it: time of CPU,
voluntary switches, memory. Never leaves one behind: they die with this process.
"""

import ctypes
import os
import select
import signal
import struct
import subprocess
import time

import servers

IN_MOVED_TO = 0x80
IN_CREATE = 0x100
CLONE_NEWUSER = 0x10000000
libc = ctypes.CDLL(None, use_errno=True)


def without_inotify():
    """No instance of inotify is to be had for this process: it is in a user namespace of its own,
    whose limit is 0."""
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (
        ("self/setgroups", "deny"), ("self/uid_map", f"{user} {user} 1"),
        ("self/gid_map", f"{group} {group} 1"), ("sys/user/max_inotify_instances", "0"),
    ):
        with open(f"/proc/{name}", "w") as file:
            file.write(text)


class Program:
    """A running program."""

    def __init__(self, command, environment=None, inotify=True):
        readable, writable = os.pipe()
        dies = servers.dies_with_us(signal.SIGKILL)

        def about_to_exec():
            dies()
            if not inotify:
                without_inotify()
            os.write(writable, struct.pack("q", time.monotonic_ns()))

        self.child = subprocess.Popen(
            command, env=environment or {"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=about_to_exec,
        )
        self.pid = self.child.pid
        os.close(writable)
        self.exec_at, = struct.unpack("q", os.read(readable, 8))
        os.close(readable)

    def cpu(self):
        """Seconds of CPU so far, of all threads, also of those that ended."""
        # The kernel's name for the CPU clock of a whole process.
        return time.clock_gettime_ns((~self.pid << 3) | 2) / 1e9

    def switches(self):
        """Voluntary context switches so far, of all threads."""
        found = 0
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            found += self._number(f"task/{thread}/status", "voluntary_ctxt_switches:")
        return found

    def memory(self):
        """Resident and anonymous bytes."""
        try:
            return tuple(1024 * self._number("smaps_rollup", key) for key in ("Rss:", "Anonymous:"))
        except PermissionError:
            # Leasehold keeps its memory closed; to others than root these two are shown all the
            # same.
            return tuple(1024 * self._number("status", key) for key in ("VmRSS:", "RssAnon:"))

    def inotify(self):
        """Whether it holds an inotify instance."""
        held = f"/proc/{self.pid}/fd"
        return any("inotify" in os.readlink(f"{held}/{fd}") for fd in os.listdir(held))

    def _number(self, file, key):
        with open(f"/proc/{self.pid}/{file}") as text:
            return int(next(line for line in text if line.startswith(key)).split()[1])

    def running(self):
        return self.child.poll() is None

    def end(self):
        servers.end(self.child, signal.SIGTERM)


class Arrivals:
    """Tells when names appear in directories, as the kernel reports it: no polling beside what is
    measured."""

    def __init__(self):
        self.fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.fd < 0:
            raise servers.Failed("no inotify instance is left for this user")
        self.directories = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def watch(self, directory):
        number = libc.inotify_add_watch(self.fd, directory.encode(), IN_MOVED_TO | IN_CREATE)
        self.directories[number] = directory

    def next(self, seconds):
        """What appeared first: a list of (nanoseconds, directory, name)."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return []
        now, buffer, found = time.monotonic_ns(), os.read(self.fd, 65536), []
        while buffer:
            number, _, _, length = struct.unpack_from("iIII", buffer)
            name = buffer[16:16 + length].split(b"\0")[0].decode()
            found.append((now, self.directories[number], name))
            buffer = buffer[16 + length:]
        return found

    def until(self, arrived, seconds):
        """Waits until `arrived(directory, name)` is true for something new; when that was."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for at, directory, name in self.next(deadline - time.monotonic()):
                if arrived(directory, name):
                    return at
        raise servers.Failed(f"nothing was published within {seconds} s")

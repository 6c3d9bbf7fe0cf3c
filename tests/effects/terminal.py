"""Types at a shell in a terminal of its own, as a person would; ends with 0 where all was answered.

    terminal.py PROGRAM CONFIG DIRECTORY
"""

import os
import pty
import re
import select
import sys
import time

PATIENCE = 30


class Terminal:
    """A shell with job control, and all that it has shown."""

    def __init__(self):
        self.shown = ""
        pid, self.side = pty.fork()
        if pid == 0:
            os.environ.update(PS1="shell> ", TERM="xterm", HISTFILE="/dev/null")
            os.execlp("bash", "bash", "--norc", "--noprofile", "-i")

    def types(self, keys):
        os.write(self.side, keys.encode())

    def interrupts(self, pattern):
        """Presses Ctrl-C until it shows: a program may just be busy when the first one comes."""
        for _ in range(PATIENCE):
            self.types("\x03")
            if self.has_shown(pattern, 1):
                return
        sys.exit(f"not shown: {pattern!r}; but {self.shown[-2000:]!r}")

    def ended_with(self, code, awaited=False):
        """Waits for the shell's question, and has it say how the last command ended."""
        if not awaited:
            self.shows("shell> ")
        self.types("echo code=$?\n")
        self.shows(rf"[\r\n]code={code}\b")
        self.shows("shell> ")

    def shows(self, pattern):
        if not self.has_shown(pattern, PATIENCE):
            sys.exit(f"not shown: {pattern!r}; but {self.shown[-2000:]!r}")

    def has_shown(self, pattern, seconds):
        """Waits for it, and forgets all up to its end."""
        deadline = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.shown)
            if found:
                self.shown = self.shown[found.end():]
                return True
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.side], [], [], left)[0]:
                return False
            try:
                self.shown += os.read(self.side, 65536).decode(errors="replace")
            except OSError:
                return False


def main(program, config, directory):
    run = f"{program} exec --config {config} --"
    terminal = Terminal()
    terminal.shows("shell> ")

    # A REPL: keys, an interrupt, a stop and its end, and the exit code.
    terminal.types(f"{run} python3 -q -i -c 'import os, sys'\n")
    terminal.shows(">>> ")
    terminal.types("'login: ' + os.environ['DB_USERNAME']\n")
    terminal.shows("login: app")
    terminal.shows(">>> ")
    terminal.interrupts("KeyboardInterrupt")
    terminal.types("\x1a")
    terminal.shows("Stopped")
    terminal.shows("shell> ")
    terminal.types("fg\n")
    terminal.types("6 * 7\n")
    terminal.shows(r"\b42\b")
    terminal.types("sys.exit(3)\n")
    terminal.ended_with(3)

    # An editor, which takes the whole screen.
    terminal.types(f"{run} vi {directory}/text\n")
    terminal.shows("~")
    terminal.types("ihello\x1b:wq\r")
    terminal.ended_with(0)
    with open(f"{directory}/text") as file:
        if file.read() != "hello\n":
            sys.exit("the editor wrote something else")

    # An interrupt ends what does not take it.
    terminal.types(f"{run} sh -c 'echo rea''dy; exec sleep 600'\n")
    terminal.shows("ready")
    terminal.interrupts("shell> ")
    terminal.ended_with(130, awaited=True)

    # A shell with jobs of its own gives the terminal back.
    terminal.types(f"PS1='inner> ' {run} bash --norc -i\n")
    terminal.shows(r"[\nh]inner> ")
    terminal.types("sh -c 'echo rea''dy; exec sleep 600'\n")
    terminal.shows("ready")
    terminal.interrupts("inner> ")
    terminal.types("exit 5\n")
    terminal.ended_with(5)
    terminal.types("exit\n")


main(*sys.argv[1:])

"""Shells with our completions, on a terminal of their own."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import time
from pathlib import Path

import pytest

SECONDS = 60.0


def need(shell: str) -> str:
    """The path of `shell`; the test is skipped where there is none."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    return path


class Shell:
    """An interactive shell, whose commands print their words in brackets in place of being run.

    A line that is typed has a tab where it is to be completed. What is unique is then in the line,
    which Enter runs: so what is seen is what the user would have run.
    """

    def __init__(self, command: list[str], folder: Path, setup: str) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
            os.execve(command[0], command, {**kept, "TERM": "dumb", "HOME": str(folder)})
        self._text = ""
        self._send(setup + "\n")
        self._read_until("ready>")

    def run(self, line: str) -> list[str]:
        """The words of the command that is run once `line` was typed, and then Enter."""
        self._text = ""
        before, tab, after = line.partition("\t")
        self._send(before + tab)
        # Enter waits until the shell has completed: it would be taken with what was typed ahead.
        self._send(after + "\n")
        self._read_until("<end>")
        said = self._text.rpartition("<begin>")[2].partition("<end>")[0]
        self._read_until("ready>")
        return re.findall(r"\[(.*?)\]", said)

    def close(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)

    def _send(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def _read_until(self, mark: str) -> None:
        deadline = time.monotonic() + SECONDS
        while mark not in self._text:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.terminal], [], [], max(left, 0))
            assert ready, self._text
            self._text += os.read(self.terminal, 65536).decode("utf-8", "replace")

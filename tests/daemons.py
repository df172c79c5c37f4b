"""Daemons in processes of their own, for tests that need a real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 30.0
"""How long one may take to end."""


@contextmanager
def daemon(root: Path, *options: str) -> Iterator[str]:
    """A daemon that serves `root` on a port of its own; gives `host:port`."""
    program = str(Path(sys.executable).with_name("twistd"))
    where = ["--port=0", "--interface=127.0.0.1", f"--root={root}"]
    with subprocess.Popen(
        [program, "-n", "--pidfile=", "tcpdl", *where, *options],
        cwd=root.parent,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            text = b""
            while not (found := re.search(rb"serving .* on (\S+:\d+)\n", text)):
                data = os.read(process.stdout.fileno(), 65536)
                assert data, text
                text += data
            drain = threading.Thread(target=process.stdout.read)  # or its log would block it
            drain.start()
            yield found[1].decode()
            process.terminate()
            drain.join(SECONDS)
        finally:
            process.kill()

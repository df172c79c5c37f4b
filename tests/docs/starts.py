"""A daemon as the blocks of the documentation run it: it ends once it serves.

Called as `starts.py PROGRAM WORD...`. The daemon is given ports that are free, and stays in the
foreground; the status is 0 if it has come to serve.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

SECONDS = 60

_SERVES = re.compile(rb"Serving |serving .* on ")


def main(program: str, words: list[str]) -> int:
    real = str(Path(sys.executable).with_name(program))
    if program == "twistd" and "-n" not in words:
        words = ["-n", "--pidfile=", *words]
    ports = {word.partition("=")[0] for word in words} & {"--port", "--echo-port"}
    words = [*words, *(f"{port}=0" for port in sorted(ports or {"--port"}))]
    signal.alarm(SECONDS)
    with subprocess.Popen(
        [real, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as daemon:
        assert daemon.stdout is not None
        said = b""
        while not _SERVES.search(said) and (more := os.read(daemon.stdout.fileno(), 65536)):
            said += more
        daemon.terminate()
        said += daemon.stdout.read()
    if _SERVES.search(said) and daemon.returncode in (0, -signal.SIGTERM):
        return 0
    sys.stderr.write(said.decode("utf-8", "replace"))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

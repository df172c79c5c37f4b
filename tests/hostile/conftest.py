"""A folder with secrets all around it, and in it where they must not be seen, served in memory."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from blake3 import blake3

from tests.server.conftest import Connect, Log
from tests.server.conftest import connect as connect
from tests.server.conftest import log as log
from tests.server.front import Front
from tests.server.http_client import Client

SECRET = b"secret-5d1c9ae0f3b7: nobody is to see this"
"""What is in all that is not handed out."""

HELLO = b"hello, this is for all\n"

LINKS = {
    "up": "..",
    "top": "/",
    "link-out": "../secret",
    "link-out-and-back": "../root/hello.txt",
    "link-to-prefix": "../root-secret",
    "link-to-hidden": ".hidden",
    "link-to-link": "link-out",
    "loop": "loop",
    "passwd": "/etc/passwd",
    "self": "/proc/self",
    "environ": "/proc/self/environ",
    "descriptors": "/proc/self/fd",
    "zero": "/dev/zero",
    "null": "/dev/null",
    "terminal": "/dev/tty",
    "sub/out": "../../secret",
    "sub/out-of-two": "../../../secret",
}


def plant(top: Path) -> Path:
    """Make the folder, and all around it, below `top`; returns it."""
    root = top / "one" / "root"
    (root / "sub" / ".git").mkdir(parents=True)
    for folder in (top, root.parent):
        (folder / "etc").mkdir()
        for name in ("secret", "etc/passwd"):
            (folder / name).write_bytes(SECRET)
    for name in ("root-secret", "root.bak", "root secret", "rootsecret"):
        (root.parent / name).write_bytes(SECRET)
    for name in (".hidden", "...", "..;", "sub/.git/config", "sub/..secret"):
        (root / name).write_bytes(SECRET)
    for name in ("hello.txt", "sub/hello.txt", "%2e%2e", "..%2fsecret".replace("..", "x..")):
        (root / name).write_bytes(HELLO)
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        here = Path.cwd()
        os.chdir(root)  # the path of a socket may not be long
        try:
            sock.bind("socket")
        finally:
            os.chdir(here)
    return root


def _betrayed() -> re.Pattern[bytes]:
    """Matches whatever should be in no answer: secrets, and their digests."""
    found = [SECRET[:30], SECRET[10:]]
    for make in (hashlib.sha256, blake3):
        digest = make(SECRET).digest()
        found += [digest, digest.hex().encode(), base64.b64encode(digest)]
    for path in ("/etc/passwd", "/proc/self/environ"):
        with suppress(OSError):
            found.append(Path(path).read_bytes()[:24])
    return re.compile(b"|".join(re.escape(one) for one in found if one))


class Guarded(NamedTuple):
    """A server, and what it must not say."""

    server: Front
    root: Path
    betrayed: re.Pattern[bytes]
    log: Log

    def tell(self, *pieces: bytes, half_close: bool = False) -> bytes:
        """All that one client hears that sends `pieces` on a connection of its own."""
        connection = self.server.front()
        client = Client(connection)
        for piece in pieces:
            client.push(piece)
        if half_close and connection.transport.connected:
            connection.half_close()
        said = client.take()
        connection.close()
        return said

    def keeps(self, said: bytes, asked: bytes) -> None:
        """Fail if `said`, which answers `asked`, says what it must not: any secret, or where the
        folder is on this machine, unless that was asked for."""
        found = self.betrayed.search(said)
        assert found is None, (asked, said[max(0, found.start() - 40) : found.end() + 40])
        place = bytes(self.root.parent)
        assert place not in said or place in asked, (asked, said)

    def logged(self) -> list[str]:
        """The lines of the log, each of which is one, and shows what it holds."""
        lines = [*self.log.lines, *self.log.told]
        for line in lines:
            assert line.isprintable(), line
        return lines


@pytest.fixture
def guarded(tmp_path: Path, connect: Connect, log: Log) -> Iterator[Guarded]:
    root = plant(tmp_path)
    server = Front(root, connect)
    yield Guarded(server, root, _betrayed(), log)
    server.close()

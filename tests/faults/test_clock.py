"""Tests a clock that is set while the daemon runs: nobody is dropped, nothing freezes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.daemons import Daemon, daemon_of
from tests.faults.conftest import SIZE, bytes_of, encrypting
from tests.faults.fetching import WAYS, Fetch, How, fetch

CONTENT = bytes_of(SIZE)
CHANGED = 1_000_000_000
HOUR, YEARS = 3600, 10 * 365 * 24 * 3600
RIGHT, LONG_AGO = "+0", "@1970-01-01 00:01:00"
JUMPS = [
    *((RIGHT, f"+{HOUR}"), (RIGHT, f"-{HOUR}"), (RIGHT, f"+{YEARS}"), (RIGHT, f"-{YEARS}")),
    *((f"+{YEARS}", RIGHT), (RIGHT, LONG_AGO), (LONG_AGO, RIGHT)),
]


def expected(time_: str) -> float:
    """What libfaketime makes of what it is told, about."""
    return 60.0 if time_.startswith("@") else time.time() + float(time_)


def library() -> str | None:
    """libfaketime, which makes a program see another time."""
    found = sorted(
        path
        for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib")
        for pattern in ("faketime/libfaketime.so.1", "*/faketime/libfaketime.so.1")
        for path in Path(folder).glob(pattern)
    )
    return str(found[0]) if found else None


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    preload = library()
    if preload is None:
        pytest.skip("not installed: libfaketime")
    root = tmp_path_factory.mktemp("clock") / "root"
    root.mkdir()
    (root / "large").write_bytes(CONTENT)
    (root / "small").write_bytes(b"small")
    (root / "G").write_bytes(b"the file G")
    clock_of(root).write_text(RIGHT)
    env = {
        "LD_PRELOAD": preload,
        "FAKETIME_TIMESTAMP_FILE": str(clock_of(root)),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "TZ": "UTC",
    }
    with daemon_of(root, *encrypting(root), env=env) as running:
        yield running


def clock_of(root: Path) -> Path:
    """The file that says what time it is."""
    return root.parent / "time"


def set_clock(daemon: Daemon, to: str) -> None:
    clock = clock_of(daemon.root)
    new = clock.with_name("new-time")
    new.write_text(to)
    new.rename(clock)
    assert abs(its_time(daemon) - expected(to)) < HOUR / 2


def head(daemon: Daemon, name: str, *fields: str) -> tuple[int, dict[str, str]]:
    """The status and the fields of an answer."""
    lines = [f"HEAD /{name} HTTP/1.1", "Host: a", "Connection: close", *fields, "", ""]
    with daemon.connect() as sock:
        sock.sendall("\r\n".join(lines).encode())
        heard = b""
        while data := sock.recv(65536):
            heard += data
    start, *rest = heard.decode().split("\r\n")
    return int(start.split()[1]), dict(line.split(": ") for line in rest if line)


def its_time(daemon: Daemon) -> float:
    _, fields = head(daemon, "small")
    return parsedate_to_datetime(fields["Date"]).timestamp()


@pytest.mark.parametrize(("before", "after"), JUMPS)
def test_a_jump(daemon: Daemon, before: str, after: str) -> None:
    set_clock(daemon, before)
    running = [Fetch(daemon.port, way, "large") for way in WAYS]
    silent = [daemon.connect() for _ in range(3)]
    typing = daemon.connect()
    typing.sendall(b"G")
    kept = Fetch(daemon.port, "http", "small")
    kept.read(5)
    asking = Fetch(daemon.port, "native", "small")
    asking.read(5)
    for download in running:
        download.read(SIZE // 4)

    set_clock(daemon, after)

    for download in running:
        assert download.finish()[:2] == (How.WHOLE, CONTENT)
    # A deadline passes: what began as a request would is a name by then.
    with typing:
        assert typing.recv(100) == b"the file G"
    # A name ends, since nothing follows.
    for sock in silent:
        with sock:
            sock.sendall(b"small")
            assert sock.recv(100) == b"small"
    for idle in (kept, asking):
        with idle:
            idle.sock.sendall(idle.request.removeprefix(b"\0tcpdl\1\3"))
            assert b"small" in idle.sock.recv(1000)
    for way in WAYS:
        assert fetch(daemon.port, way, "large").content == CONTENT


@pytest.mark.parametrize("jump", [f"+{YEARS}", f"-{HOUR}", LONG_AGO])
def test_conditions(daemon: Daemon, jump: str) -> None:
    """Who has what is there is told so, and nobody else."""
    small = daemon.root / "small"
    small.write_bytes(b"small")
    os.utime(small, (CHANGED, CHANGED))
    set_clock(daemon, RIGHT)
    _, before = head(daemon, "small")
    set_clock(daemon, jump)
    status, after = head(daemon, "small")
    assert status == 200
    since = f"If-Modified-Since: {before['Last-Modified']}"
    if jump != LONG_AGO:
        assert after["Last-Modified"] == before["Last-Modified"]
        assert head(daemon, "small", since)[0] == 304
    else:
        assert "Last-Modified" not in after, "that time has not come yet"
        assert head(daemon, "small", since)[0] == 200
    assert head(daemon, "small", f"If-None-Match: {before['ETag']}")[0] == 304
    assert head(daemon, "small", 'If-None-Match: "another"')[0] == 200
    small.write_bytes(b"SMALL")
    os.utime(small, (CHANGED + 5, CHANGED + 5))
    assert head(daemon, "small", f"If-None-Match: {before['ETag']}")[0] == 200
    assert head(daemon, "small", since)[0] == 200
    assert fetch(daemon.port, "http", "small").content == b"SMALL"

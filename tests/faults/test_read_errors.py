"""Tests disks that fail, or keep readers waiting: only who asked for that file is concerned.

A library that is compiled for it and preloaded into the daemon makes reads of some files fail.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tcpdl.wire import native
from tests.daemons import Daemon, daemon_of
from tests.faults.conftest import SIZE, bytes_of, encrypting
from tests.faults.fetching import DIALECTS, SECONDS, WAYS, Fetch, How, fetch

EIO_FROM = 2 * 1024 * 1024
CONTENT = bytes_of(SIZE)
DIGEST = sha256(CONTENT).hexdigest().encode()
SMALL = b"small content"


@pytest.fixture(scope="module", params=["sendfile", "no-sendfile"])
def daemon(
    request: pytest.FixtureRequest, shim: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    root = tmp_path_factory.mktemp("faulty") / "root"
    root.mkdir()
    (root / "some").mkdir()
    for name, content in {
        "some/good": CONTENT,
        "some/bad-small": SMALL,
        "good": CONTENT,
        "small": SMALL,
        "eio-large": CONTENT,
        "bad-small": SMALL,
        "bad-large": CONTENT,
    }.items():
        (root / name).write_bytes(content)
    options = ["--no-sendfile"] if request.param == "no-sendfile" else []
    env = {"LD_PRELOAD": str(shim), "SHIM_HOLD": str(root.parent / "hold")}
    with daemon_of(root, *encrypting(root), *options, env=env) as running:
        yield running


@contextlib.contextmanager
def holding(root: Path) -> Iterator[None]:
    """Have readers of some files wait."""
    hold = root.parent / "hold"
    hold.touch()
    try:
        yield
    finally:
        hold.unlink(missing_ok=True)


def assert_others_are_served(daemon: Daemon) -> None:
    for way in WAYS:
        for name, content in (("good", CONTENT), ("small", SMALL)):
            outcome = fetch(daemon.port, way, name)
            assert (outcome.how, outcome.content) == (How.WHOLE, content), (way, name)


@pytest.mark.parametrize(
    ("name", "most"), [("eio-large", EIO_FROM), ("bad-small", 0), ("bad-large", 0)]
)
def test_a_file_that_cannot_be_read(
    daemon: Daemon, way: str, dialect: str, name: str, most: int
) -> None:
    with Fetch(daemon.port, way, "good") as other:
        other.read(SIZE // 4)
        outcome = fetch(daemon.port, way, name)
        assert CONTENT.startswith(outcome.content)
        assert len(outcome.content) <= most
        if outcome.how is not How.RESET:
            assert (dialect, outcome.how, outcome.status) == (
                *("native", How.ERROR, native.UNAVAILABLE),
            )
        assert other.finish() == (How.WHOLE, CONTENT, 200 if dialect == "http" else 0)
    assert_others_are_served(daemon)


def test_sums(daemon: Daemon) -> None:
    with urllib.request.urlopen(f"{daemon.url}/?sums=sha256", timeout=SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    assert len([line for line in lines if line[0] == "#" and "cannot be read" in line]) == 4
    assert len(lines) == 7
    assert_others_are_served(daemon)


@pytest.mark.parametrize("name", ["bad-small", "bad-large"])
def test_the_page_about_a_file(daemon: Daemon, name: str) -> None:
    with pytest.raises(HTTPError) as caught:
        urllib.request.urlopen(f"{daemon.url}/{name}?info", timeout=SECONDS)
    with caught.value:
        assert caught.value.code == 503
    assert_others_are_served(daemon)


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_an_archive(daemon: Daemon, form: str) -> None:
    """It is of no use to anybody once a part of it is missing that was announced."""
    url = f"{daemon.url}/?archive={form}"
    with (
        urllib.request.urlopen(url, timeout=SECONDS) as answer,
        pytest.raises((IncompleteRead, ConnectionResetError)),
    ):
        answer.read()
    assert_others_are_served(daemon)


def test_a_tree(daemon: Daemon, tmp_path: Path) -> None:
    """What can be read is had, and what cannot be is said."""
    copy = tmp_path / "copy"
    program = Path(sys.executable).with_name("tcpdl")
    ran = subprocess.run(
        [program, "mirror", f"{daemon.where}/some", copy],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert ran.returncode == 7
    (line,) = ran.stderr.splitlines()
    assert "bad-small" in line
    assert (copy / "good").read_bytes() == CONTENT
    assert [path.name for path in copy.iterdir()] == ["good"]
    assert_others_are_served(daemon)


def test_a_client_that_comes_again_is_told_why(daemon: Daemon) -> None:
    (daemon.root / "eio-again").write_bytes(CONTENT)
    assert fetch(daemon.port, "native", "eio-again").how is How.RESET
    again = fetch(daemon.port, "native", "eio-again")
    assert (again.how, again.status) == (How.ERROR, native.UNAVAILABLE)
    assert again.content == CONTENT[:EIO_FROM]
    (daemon.root / "eio-again").rename(daemon.root / "mended")
    assert fetch(daemon.port, "native", "mended").content == CONTENT
    (daemon.root / "mended").unlink()


def page(daemon: Daemon, target: str) -> bytes:
    with urllib.request.urlopen(f"{daemon.url}/{target}", timeout=SECONDS) as answer:
        body: bytes = answer.read()
    return body


def test_a_disk_that_keeps_readers_waiting(daemon: Daemon) -> None:
    """They keep their threads, and whoever else needs one gets others."""
    fresh = daemon.root / "fresh"  # nobody knows the digests of what is in there
    fresh.mkdir()
    for number in range(3):
        (fresh / f"held-small-{number}").write_bytes(SMALL)
        (fresh / f"held-large-{number}").write_bytes(CONTENT)
    with holding(daemon.root), ThreadPoolExecutor() as pool:
        pages = [
            pool.submit(page, daemon, f"fresh/held-large-{number}?info") for number in range(3)
        ]
        held = [
            Fetch(daemon.port, way, f"fresh/held-{size}-{number}")
            for way in WAYS
            for size in ("small", "large")
            for number in range(3)
        ]
        for size in ("small", "large"):
            daemon.log.wait_for(f"a read of (held-{size}-2) waits")
        for number in range(5):
            (fresh / f"{number}").write_bytes(CONTENT)
            assert fetch(daemon.port, "native", f"fresh/{number}").content == CONTENT
        assert DIGEST in page(daemon, "fresh/0?info")
        assert b"held-small-1" in page(daemon, "fresh/")
        assert CONTENT in page(daemon, "some/?archive=tar")
        assert_others_are_served(daemon)
        assert not any(one.done() for one in pages)
        (daemon.root.parent / "hold").unlink()
        for download in held:
            outcome = download.finish()
            assert outcome.how is How.WHOLE
            assert outcome.content in (SMALL, CONTENT)
        assert all(DIGEST in one.result(SECONDS) for one in pages)
    shutil.rmtree(fresh)


def test_a_daemon_is_stopped_while_a_disk_hangs(root: Path, shim: Path) -> None:
    (root / "held-large").write_bytes(CONTENT)
    env = {"LD_PRELOAD": str(shim), "SHIM_HOLD": str(root.parent / "hold")}
    with holding(root), daemon_of(root, "--drain=1", env=env) as running:
        downloads = [Fetch(running.port, dialect, "held-large") for dialect in DIALECTS]
        running.log.wait_for("a read of (held-large) waits")
        running.stop()
        for dialect, download in zip(DIALECTS, downloads, strict=True):
            outcome = download.finish()
            # Where a length has been told, or would have been, any end is as good.
            assert outcome.how in ((How.RESET,) if dialect == "raw" else (How.RESET, How.SHORT))
            assert outcome.content == b""

"""Tests a daemon that is killed while it sends: nothing looks whole, and clients go on where they
were once it is back."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.daemons import SECONDS, daemon_of, until
from tests.faults.between import Between, size_of
from tests.faults.conftest import SIZE, bytes_of, encrypting
from tests.faults.fetching import Fetch, How

MIB = 1 << 20
LARGE = 24 * MIB
CHUNK = MIB


def test_nothing_looks_whole(root: Path, way: str) -> None:
    content = bytes_of(SIZE)
    (root / "file").write_bytes(content)
    with daemon_of(root, *encrypting(root)) as daemon, Fetch(daemon.port, way, "file") as download:
        download.read(SIZE // 4)
        daemon.process.kill()
        daemon.process.wait()
        outcome = download.finish()
    assert outcome.how is How.RESET
    assert len(outcome.content) < SIZE
    assert content.startswith(outcome.content)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file, in a folder to be served."""
    path = tmp_path_factory.mktemp("killed") / "root/file"
    path.parent.mkdir()
    path.write_bytes(bytes_of(LARGE))
    return path


@pytest.mark.parametrize("scheme", ["tcpdl", "http"])
@pytest.mark.parametrize("share", [0.1, 0.95])
def test_a_client_goes_on_where_it_was(
    large: Path, tmp_path: Path, scheme: str, share: float
) -> None:
    copy, part = tmp_path / "copy", tmp_path / "copy.tcpdl-part"
    again = threading.Event()

    def kill() -> None:
        # What a client has not read yet is lost with a reset, and no matter of ours.
        until(lambda: size_of(part) > between.passed - CHUNK)
        daemon.process.kill()
        daemon.process.wait()
        between.target = other.port
        again.set()

    # The other one is there at once: how long it takes to start is not for the client to bear.
    with (
        daemon_of(large.parent) as other,
        daemon_of(large.parent) as daemon,
        Between(daemon.port) as between,
    ):
        daemon.wait_until_settled(large.name)
        between.at(int(LARGE * share), kill)
        program = str(Path(sys.executable).with_name("tcpdl"))
        url = f"{scheme}://127.0.0.1:{between.port}/{large.name}"
        with subprocess.Popen(
            [program, "get", url, "--connections", "1", "-o", copy],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as client:
            try:
                assert again.wait(SECONDS)
                shown, _ = client.communicate(timeout=SECONDS)
            finally:
                client.kill()
    assert client.returncode == 0, shown
    assert copy.read_bytes() == large.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"copy"}
    assert between.passed <= LARGE + 2 * CHUNK

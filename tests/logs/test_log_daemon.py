"""Tests the logs of daemons in processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.daemons import SECONDS, daemon_of, until

SERVE = (sys.executable, "-m", "tcpdl", "serve")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "small").write_bytes(b"content")
    return root


def ask(port: int, name: str) -> None:
    url = f"http://127.0.0.1:{port}/{name}"
    subprocess.run(["curl", "-s", "-o", "/dev/null", url], timeout=SECONDS, check=True)


def names(path: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return [json.loads(line)["name"] for line in path.read_text().splitlines()]
    return []


@pytest.mark.parametrize("workers", [None, 2])
def test_a_file_of_its_own(workers: int | None, root: Path, tmp_path: Path) -> None:
    """It is put away while the daemon is below its sandbox, with a signal and without."""
    folder = tmp_path / "log"
    folder.mkdir()
    path = folder / "access.log"
    options = [f"--access-log={path}", "--access-log-format=json"]
    if workers is not None:
        options.append(f"--workers={workers}")
    with daemon_of(root, *options) as daemon:
        if workers is not None:
            daemon.log.wait_for(r"(2 workers serve)")
        for number in range(3):
            ask(daemon.port, f"small?{number}")
            until(lambda number=number: f"/small?{number}" in names(path))  # type: ignore[misc]
            away = folder / f"access.log.{number}"
            path.rename(away)
            if number == 1:
                daemon.process.send_signal(signal.SIGUSR1)
            until(path.exists)
        assert "name=" not in daemon.log.text
    found = [name for one in sorted(folder.iterdir()) for name in names(one)]
    assert found == [f"/small?{number}" for number in range(3)]


def test_twistd_puts_its_own_log_away_as_well(root: Path, tmp_path: Path) -> None:
    for name in ("log", "own"):
        (tmp_path / name).mkdir()
    own, path = tmp_path / "own" / "twistd.log", tmp_path / "log" / "access.log"
    program = str(Path(sys.executable).with_name("twistd"))
    with subprocess.Popen(
        [
            *(program, "-n", "--pidfile=", f"--logfile={own}", "tcpdl", "--port=0"),
            *("--interface=127.0.0.1", f"--root={root}", f"--access-log={path}"),
        ],
        cwd=tmp_path,
    ) as process:
        try:
            until(lambda: own.exists() and "restricted:" in own.read_text())
            found = re.search(r"serving .* on \S+:(\d+)\n", own.read_text())
            assert found is not None
            path.rename(path.with_suffix(".1"))
            process.send_signal(signal.SIGUSR1)
            until(lambda: path.exists() and own.with_name("twistd.log.1").exists())
            ask(int(found[1]), "small")
            until(lambda: 'name="/small"' in path.read_text())
        finally:
            process.terminate()
            process.wait(SECONDS)


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ((), rb'^time=\S+ outcome=complete .* name="/small"'),
        (("--log-format=journald",), rb'^<6>time=\S+ outcome=complete .* name="/small"'),
        (("--log-format=json", "--access-log=-"), rb'^\{"time": .*"/small"'),
    ],
)
def test_tcpdl_serve(options: tuple[str, ...], pattern: bytes, root: Path, tmp_path: Path) -> None:
    log = tmp_path / "printed"
    command = [*SERVE, str(root), "--port=0"]
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [*command, "--interface=127.0.0.1", *options],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as process,
    ):
        try:
            until(lambda: b"restricted: " in log.read_bytes())
            found = re.search(rb"http://127.0.0.1:(\d+)/", log.read_bytes())
            assert found is not None
            ask(int(found[1]), "small")
            until(lambda: re.search(pattern, log.read_bytes(), re.MULTILINE))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS)


def test_a_file_that_cannot_be_written(root: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [*SERVE, str(root), "--port=0", f"--access-log={tmp_path}/absent/log"],
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.decode() == (
        f"tcpdl: --access-log: {tmp_path}/absent/log cannot be written: No such file or directory\n"
    )

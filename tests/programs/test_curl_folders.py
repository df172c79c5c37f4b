"""Tests what curl gets of a folder, in the programs that take it from there."""

from __future__ import annotations

import json
import subprocess
import sys
from filecmp import cmp
from pathlib import Path

import pytest

from tests.daemons import SECONDS, Daemon
from tests.programs.conftest import CURL, NAMES, Run, needs

pytestmark = needs("curl")


def piped(first: list[str], second: list[str], work: Path) -> bytes:
    """What the second program prints that reads what the first does."""
    with subprocess.Popen(first, cwd=work, stdout=subprocess.PIPE) as source:
        done = subprocess.run(
            second, cwd=work, stdin=source.stdout, capture_output=True, timeout=SECONDS, check=True
        )
        assert source.stdout is not None
        source.stdout.close()
    assert source.returncode == 0
    return done.stdout


def assert_same_tree(one: Path, other: Path) -> None:
    names = sorted(path.relative_to(one) for path in one.rglob("*"))
    assert names == sorted(path.relative_to(other) for path in other.rglob("*"))
    assert names
    for name in names:
        first, second = one / name, other / name
        assert first.is_dir() == second.is_dir()
        if first.is_file():
            assert cmp(first, second, shallow=False), name
            assert first.stat().st_mtime == second.stat().st_mtime
            assert first.stat().st_mode == second.stat().st_mode


@needs("tar")
@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
def test_tar(daemon: Daemon, work: Path, version: str) -> None:
    url = f"{daemon.url}/tree/?archive=tar"
    piped([*CURL, "-f", version, url], ["tar", "x", "--no-same-owner", "-p"], work)
    assert_same_tree(daemon.root / "tree", work / "tree")


def test_zip(daemon: Daemon, run: Run, work: Path) -> None:
    run(*CURL, "-f", "-o", "tree.zip", f"{daemon.url}/tree/?archive=zip")
    run(sys.executable, "-m", "zipfile", "-t", "tree.zip")
    run(sys.executable, "-X", "utf8", "-m", "zipfile", "-e", "tree.zip", ".")
    names = [path.relative_to(daemon.root) for path in (daemon.root / "tree").rglob("*")]
    assert len(names) == 24
    for name in names:
        if (daemon.root / name).is_file():
            assert cmp(work / name, daemon.root / name, shallow=False)


@needs("unzip")
def test_unzip(daemon: Daemon, run: Run, work: Path) -> None:
    run(*CURL, "-f", "-o", "tree.zip", f"{daemon.url}/tree/?archive=zip")
    run("unzip", "-q", "tree.zip", TZ="UTC")
    assert cmp(
        work / "tree/sub/deep/下载.bin", daemon.root / "tree/sub/deep/下载.bin", shallow=False
    )


@needs("sha256sum")
def test_sums(daemon: Daemon, work: Path) -> None:
    """What is left out is told in comments."""
    everything = 6 + len(NAMES) + 22
    for folder, count in (("tree/", 22), ("names/", len(NAMES)), ("", everything)):
        url = f"{daemon.url}/{folder}?sums=sha256"
        check = ["sha256sum", "--strict", "-c"]
        checked = piped([*CURL, "-f", url], check, daemon.root / folder)
        assert checked.count(b": OK\n") == count


def test_listings(daemon: Daemon, run: Run, work: Path) -> None:
    listing = json.loads(run(*CURL, "-f", f"{daemon.url}/names/?format=json").out)
    assert len(listing["entries"]) == len(NAMES)
    for entry in listing["entries"]:
        run(*CURL, "-f", "-o", "got", f"{daemon.url}{listing['path']}{entry['href']}")
        assert (work / "got").read_bytes().startswith(b"this is ")
        assert (work / "got").stat().st_size == entry["size"]
    ran = run(*CURL, "-f", "-H", "Accept: application/json", f"{daemon.url}/tree/")
    entries = json.loads(ran.out)["entries"]
    assert [entry["name"] for entry in entries][:4] == ["sub", *(f"file{n}.txt" for n in range(3))]


# The client that comes with the daemon.


def test_the_client_that_needs_no_installation(daemon: Daemon, run: Run, work: Path) -> None:
    run(*CURL, "-f", "-O", f"{daemon.url}/.well-known/tcpdl/tcpdl.pyz")
    python = (sys.executable, "-I", "-S", "tcpdl.pyz")
    run(*python, "get", f"127.0.0.1:{daemon.port}/medium")
    assert cmp(work / "medium", daemon.root / "medium", shallow=False)
    run(*python, "mirror", f"127.0.0.1:{daemon.port}/tree", "copy")
    assert_same_tree(daemon.root / "tree", work / "copy")

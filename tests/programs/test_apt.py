"""Tests apt against the daemon: a folder of packages is a repository.

apt has its own folders here, all of them: the system's state and settings play no part.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from filecmp import cmp
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.daemons import Daemon, daemon_of
from tests.programs.conftest import MTIME, Ran, Run, age, bytes_of, needs

pytestmark = needs("apt-get", "dpkg-deb")

COUNT = 8
VERSION = "1.0~rc1+b2"
FRONT = f"tcpdl-test-0 (= {VERSION})"


class Repository(NamedTuple):
    """What is served, and the names of the packages' files by those of the packages."""

    daemon: Daemon
    files: dict[str, Path]


Apt = Callable[..., Ran]


def make_package(root: Path, name: str, control: str, size: int) -> Path:
    """A package with one file of that many bytes."""
    tree = root.parent / "trees" / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr").mkdir()
    (tree / "usr" / name).write_bytes(bytes_of(size, name.encode()))
    (tree / "DEBIAN/control").write_text(control)
    package = root / f"pool/{name}_{VERSION}_all.deb"
    command = ["dpkg-deb", "-Znone", "--root-owner-group", "--build", str(tree), str(package)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return package


def make_repository(root: Path) -> dict[str, Path]:
    """A flat one: a list of packages, and a list of the lists."""
    (root / "pool").mkdir(parents=True)
    files = {}
    stanzas = []
    for number in range(COUNT):
        name = f"tcpdl-test-{number}"
        control = (
            f"Package: {name}\nVersion: {VERSION}\nArchitecture: all\n"
            "Maintainer: Nobody <nobody@tcpdl.example>\nDescription: a package to be fetched\n"
        )
        if number:
            control += f"Depends: {FRONT}\n"
        files[name] = file = make_package(root, name, control, 300_000 * (number + 1))
        stanzas.append(
            f"{control}Filename: ./pool/{file.name}\nSize: {file.stat().st_size}\n"
            f"SHA256: {hashlib.sha256(file.read_bytes()).hexdigest()}\n"
        )
    packages = "\n".join(stanzas).encode()
    (root / "Packages").write_bytes(packages)
    (root / "Release").write_text(
        "Suite: stable\nDate: Sun, 13 Sep 2020 12:26:40 UTC\nSHA256:\n"
        f" {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    )
    age(root)
    return files


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """A daemon for each test, so that its log is about that test alone."""
    root = tmp_path / "root"
    files = make_repository(root)
    with daemon_of(root) as daemon:
        yield Repository(daemon, files)


@pytest.fixture
def apt(repository: Repository, run: Run, work: Path) -> Apt:
    """Runs apt-get with settings and folders that are all in `work`."""
    folders = ("etc/apt", "state/lists/partial", "cache/archives/partial", "log")
    for folder in folders:
        (work / folder).mkdir(parents=True)
    (work / "state/status").touch()
    (work / "etc/apt/sources.list").write_text(f"deb [trusted=yes] {repository.daemon.url}/ ./\n")
    settings = f"""
        Dir "{work}";
        Dir::Etc "etc/apt";
        Dir::Etc::parts "none";
        Dir::State "state";
        Dir::State::status "{work}/state/status";
        Dir::Cache "cache";
        Dir::Log "log";
        Debug::NoLocking "true";
        APT::Sandbox::User "root";
        APT::Architecture "amd64";
        Acquire::Languages "none";
        Acquire::Retries "0";
        Acquire::http::Proxy "DIRECT";
        Acquire::http::Pipeline-Depth "10";
    """
    config = work / "apt.conf"
    config.write_text(settings)

    def go(*arguments: str, status: int = 0) -> Ran:
        return run("apt-get", "-qq", *arguments, status=status, APT_CONFIG=str(config))

    return go


def test_packages(repository: Repository, apt: Apt, work: Path) -> None:
    apt("update")
    apt("install", "--download-only", "--yes", *repository.files)
    for file in repository.files.values():
        assert cmp(work / "cache/archives" / file.name, file, shallow=False)
    fetched = [one for one in repository.daemon.stop() if one.target.endswith(".deb")]
    sizes = {f"/pool/{file.name}": file.stat().st_size for file in repository.files.values()}
    assert {one.target.replace("/./", "/"): one.sent for one in fetched} == sizes
    # All of them came over one connection: the requests did not wait for each other's answers.
    assert len(fetched) == COUNT
    assert len({one.peer for one in fetched}) == 1


def test_what_has_not_changed_is_not_fetched_again(
    repository: Repository, apt: Apt, work: Path
) -> None:
    apt("update")
    apt("update")
    asked = [one for one in repository.daemon.stop() if one.target.endswith("/Release")]
    assert [one.status for one in asked] == [200, 304]


def test_a_package_alone(repository: Repository, apt: Apt, work: Path) -> None:
    apt("update")
    apt("download", "tcpdl-test-3")
    file = repository.files["tcpdl-test-3"]
    assert cmp(work / file.name, file, shallow=False)


def test_a_download_that_was_broken_off(repository: Repository, apt: Apt, work: Path) -> None:
    """apt continues it if the file is the one that it has begun with."""
    begun, changed = repository.files["tcpdl-test-5"], repository.files["tcpdl-test-6"]
    partial = work / "cache/archives/partial"
    for file, seconds in ((begun, MTIME), (changed, MTIME - 1)):
        (partial / file.name).write_bytes(file.read_bytes()[:1_000_000])
        os.utime(partial / file.name, (seconds, seconds))
        repository.daemon.wait_until_settled(f"pool/{file.name}")
    apt("update")
    apt("install", "--download-only", "--yes", "tcpdl-test-5", "tcpdl-test-6")
    for file in (begun, changed):
        assert cmp(work / "cache/archives" / file.name, file, shallow=False)
    answered = repository.daemon.stop()
    for file, status, sent in (
        (begun, 206, begun.stat().st_size - 1_000_000),
        (changed, 200, changed.stat().st_size),
    ):
        found = [one for one in answered if one.target.endswith(file.name) and one.method == "GET"]
        assert [(one.status, one.sent) for one in found] == [(status, sent)]


def test_a_package_that_is_gone(repository: Repository, apt: Apt) -> None:
    apt("update")
    repository.files["tcpdl-test-2"].unlink()
    assert "404  Not Found" in apt("download", "tcpdl-test-2", status=100).err

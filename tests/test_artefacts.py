"""Tests what is published: the sdist, the wheel that pip makes of it, and an editable install.

Twisted finds the plugin in one exact place only, and an artefact that lacks it looks like any
other until `twistd tcpdl` is typed. So each is installed into an environment of its own and run.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tcpdl import __version__

PROJECT = Path(__file__).resolve().parent.parent

PLUGINS = {"twisted/plugins/tcpdl_cred.py", "twisted/plugins/tcpdl_plugin.py"}
GREETING = b"from a file\n"

# How pip words it that no package index answered, next to the package it then did not find.
_NO_INDEX = re.compile(r"after connection broken by|Failed to establish a new connection", re.I)

pytestmark = pytest.mark.skipif(
    find_spec("ensurepip") is None, reason="this Python lacks ensurepip, so venv cannot install pip"
)


def run(*command: str | Path, cwd: Path | str = "/") -> str:
    """What `command` prints. From `/` unless told otherwise, where no checkout is on the path."""
    ran = subprocess.run(
        command,
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    output = ran.stdout + ran.stderr
    if ran.returncode and "pip" in command and _NO_INDEX.search(output):
        pytest.skip(f"no package index can be reached: {output.strip().splitlines()[-1]}")
    assert ran.returncode == 0, output
    return ran.stdout


def environment() -> dict[str, str]:
    """This process's environment, without what would lead Python to other packages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    kept.pop("VIRTUAL_ENV", None)
    return kept | {"PIP_NO_INPUT": "1", "PIP_REQUIRE_VIRTUALENV": "1"}


def pip(venv: Path, *arguments: str | Path) -> None:
    run(venv / "bin/python", "-m", "pip", "--disable-pip-version-check", "-q", *arguments)


def make_venv(path: Path) -> Path:
    run(sys.executable, "-m", "venv", path)
    return path


def copy_project(to: Path) -> Path:
    """A copy of what belongs to the project, for the tools to write to."""
    listed = (
        subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=PROJECT,
            capture_output=True,
            check=False,
        )
        if shutil.which("git")
        else None
    )
    if listed is not None and listed.returncode == 0:
        for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
            if (PROJECT / name).exists():  # else it has been deleted, but not yet from the index
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, to / name)
    else:  # an unpacked sdist
        rubbish = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "dropin.cache")
        shutil.copytree(PROJECT, to, ignore=rubbish, dirs_exist_ok=True)
    return to


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that builds."""
    venv = make_venv(tmp_path_factory.mktemp("builder"))
    pip(venv, "install", "hatchling")
    return venv


@pytest.fixture(scope="session")
def sdist(builder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = copy_project(tmp_path_factory.mktemp("sdist-source"))
    # Twisted leaves this behind whenever it runs from a checkout. Published, it would replace
    # Twisted's own, and uninstalling would delete that.
    (copy / "twisted/plugins/dropin.cache").write_bytes(b"rubbish")
    out = tmp_path_factory.mktemp("dist")
    run(builder / "bin/python", "-m", "hatchling", "build", "-t", "sdist", "-d", out, cwd=copy)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="session")
def wheel(builder: Path, sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pip(builder, "wheel", "--no-deps", "-w", out, sdist)
    (built,) = out.iterdir()
    return built


def test_sdist(sdist: Path) -> None:
    assert sdist.name == f"tcpdl-{__version__}.tar.gz"
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "tcpdl/__init__.py"} <= names
    assert {name for name in names if name.startswith("twisted/")} == PLUGINS
    assert any(name.startswith("tests/") for name in names)
    assert not [name for name in names if name.endswith((".pyc", "dropin.cache"))]


def test_wheel(wheel: Path) -> None:
    assert wheel.name == f"tcpdl-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        licence = archive.read(f"tcpdl-{__version__}.dist-info/licenses/LICENSE")
    assert licence == (PROJECT / "LICENSE").read_bytes()
    assert "tcpdl/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {
        "tcpdl",
        "twisted",
        f"tcpdl-{__version__}.dist-info",
    }


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_installed(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv")
    (packages,) = venv.glob("lib/python*/site-packages")
    if kind == "editable":
        copy = copy_project(tmp_path / "copy")
        pip(venv, "install", "--no-compile", "-e", copy)
    else:
        pip(venv, "install", "--no-compile", request.getfixturevalue(kind))

    check_record(packages, editable=kind == "editable")
    for command in (["bin/tcpdl"], ["bin/python", "-m", "tcpdl"], ["bin/twistd", "tcpdl"]):
        assert run(venv / command[0], *command[1:], "--version") == f"tcpdl {__version__}\n"
    listed = re.compile(r"^ +tcpdl +Hand out the files", re.M)
    # Twice: the first run writes a cache of the plugins, the second reads it.
    assert listed.search(run(venv / "bin/twistd", "--help"))
    assert listed.search(run(venv / "bin/twistd", "--help"))
    check_serving(venv, tmp_path)

    pip(venv, "uninstall", "-y", "tcpdl")
    assert not list(packages.rglob("*tcpdl*"))
    assert not listed.search(run(venv / "bin/twistd", "--help"))
    run(venv / "bin/python", "-c", "import twisted.plugins, twisted.internet.reactor")


def check_record(packages: Path, editable: bool) -> None:
    """pip installed the plugins into Twisted's folder, and nothing else there."""
    record = (packages / f"tcpdl-{__version__}.dist-info/RECORD").read_text("utf-8")
    names = [line.partition(",")[0] for line in record.splitlines()]
    assert not [name for name in names if "dropin.cache" in name]
    # pip also records the file that Python compiles it to.
    found = [name for name in names if name.startswith("twisted/") and "__pycache__" not in name]
    assert found == ([] if editable else sorted(PLUGINS))
    # An editable install is one line that puts the checkout on the path, so that edits count.
    assert len([name for name in names if name.endswith(".pth")]) == editable


def check_serving(venv: Path, tmp_path: Path) -> None:
    """The daemon that was installed hands out a file, and ends when it is told to."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "hello.txt").write_bytes(GREETING)
    # The port is 0, any that is free; the log says which.
    serving = ["tcpdl", "--port", "0", "--interface", "127.0.0.1", "--root", str(root)]
    with subprocess.Popen(
        [venv / "bin/twistd", "-n", "--pidfile=", *serving],
        cwd="/",
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as daemon:
        try:
            assert daemon.stdout is not None
            log, found = [], None
            for line in daemon.stdout:
                log.append(line)
                found = re.search(r"on 127\.0\.0\.1:(\d+)", line)
                if found:
                    break
            assert found, "".join(log)
            with socket.create_connection(("127.0.0.1", int(found[1])), timeout=60) as client:
                client.sendall(b"hello.txt\n")
                assert b"".join(iter(lambda: client.recv(65536), b"")) == GREETING
            daemon.send_signal(signal.SIGTERM)
            rest, _ = daemon.communicate(timeout=60)
            assert "Server Shut Down." in rest
            assert daemon.returncode == -signal.SIGTERM  # twistd passes on what ended it
        finally:
            daemon.kill()

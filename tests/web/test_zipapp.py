"""Tests `web.zipapp`: the client as one file, run by Pythons that have nothing else."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tcpdl
from tcpdl.web import zipapp
from tests.daemons import daemon_of

SECONDS = 60.0
CONTENT = os.urandom(3 * 1024 * 1024 + 1)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "tcpdl.pyz"
    path.write_bytes(zipapp.build())
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon's host and port."""
    root = tmp_path_factory.mktemp("served")
    (root / "sub").mkdir()
    (root / "sub/large").write_bytes(CONTENT)
    (root / "hello.txt").write_bytes(b"hello\n")
    with daemon_of(root) as daemon:
        yield daemon.where


def bare(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[bytes]:
    """What comes of a Python that sees only its standard library, in `folder`."""
    return subprocess.run(
        [sys.executable, "-I", "-S", *command],
        cwd=folder,
        env={},
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )


def test_get(program: Path, server: str, tmp_path: Path) -> None:
    ran = bare(tmp_path, program, "get", f"{server}/sub/large", f"{server}/hello.txt")
    assert (ran.returncode, ran.stdout) == (0, b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hello.txt", "large"]
    assert (tmp_path / "large").read_bytes() == CONTENT
    ran = bare(tmp_path, program, "get", f"{server}/hello.txt", "-o", "-")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"hello\n", b"")


def test_other_commands(program: Path, server: str, tmp_path: Path) -> None:
    ran = bare(tmp_path, program, "mirror", server, "copy")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert (tmp_path / "copy/sub/large").read_bytes() == CONTENT
    ran = bare(tmp_path, program, "verify", server, "copy")
    assert ran.returncode == 0, ran.stderr
    ran = bare(tmp_path, program, "ls", server)
    assert ran.returncode == 0
    assert b"hello.txt" in ran.stdout


def test_failures_are_those_of_the_client(program: Path, server: str, tmp_path: Path) -> None:
    ran = bare(tmp_path, program, "get", f"{server}/absent")
    assert ran.returncode == 5
    assert ran.stderr.count(b"\n") == 1
    assert bare(tmp_path, program, "nonsense").returncode == 2


@pytest.mark.parametrize("command", ["get", "mirror", "ls", "verify", "echo"])
def test_help(program: Path, tmp_path: Path, command: str) -> None:
    ran = bare(tmp_path, program, command, "--help")
    assert ran.returncode == 0
    assert f"usage: tcpdl {command}".encode() in ran.stdout


def test_version_is_that_of_the_daemon(program: Path, tmp_path: Path) -> None:
    ran = bare(tmp_path, program, "--version")
    assert ran.stdout.decode() == f"tcpdl {tcpdl.__version__}\n"


def test_it_runs_by_itself(program: Path, tmp_path: Path) -> None:
    assert program.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    (tmp_path / "python3").symlink_to(sys.executable)
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run(
        [program, "--version"], env=environment, capture_output=True, check=True, timeout=SECONDS
    )
    assert ran.stdout.startswith(b"tcpdl ")


def test_serve_is_not_in_it(program: Path, tmp_path: Path) -> None:
    ran = bare(tmp_path, program, "serve", ".")
    assert (ran.returncode, ran.stdout) == (2, b"")
    (line,) = ran.stderr.decode().splitlines()
    assert line.startswith("tcpdl: this is the client alone; to serve files, install")


def test_what_serve_itself_lacks_is_not_mistaken(program: Path, tmp_path: Path) -> None:
    # A whole tcpdl without Twisted has another problem.
    path = tmp_path / "without.pyz"
    path.write_bytes(program.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tcpdl/serve.py", "import twisted\n")
    ran = bare(tmp_path, path, "serve")
    assert ran.returncode == 1
    assert b"No module named 'twisted'" in ran.stderr


# Pythons that are too old for it.


def main_source() -> str:
    with zipfile.ZipFile(io.BytesIO(zipapp.build())) as archive:
        return archive.read("__main__.py").decode("ascii")


@pytest.mark.parametrize("version", ["(3, 9, 18)", "(3, 5, 0)", "(2, 7, 18)"])
def test_old_python_gets_one_line(program: Path, tmp_path: Path, version: str) -> None:
    script = f"""
import runpy, sys
sys.version_info = {version} + ("final", 0)
runpy.run_path(sys.argv[1], run_name="__main__")
"""
    ran = bare(tmp_path, "-c", script, program)
    assert ran.returncode == 1
    shown = ".".join(re.findall(r"\d+", version)[:2])
    text = f"tcpdl: Python 3.10 or newer is needed; this is Python {shown}, at {sys.executable}\n"
    assert ran.stderr.decode() == text


def test_first_lines_are_such_that_old_pythons_understand_them() -> None:
    source = main_source()
    tree = ast.parse(source, feature_version=(3, 5))
    # What Python 2 has not: texts beyond ASCII, print(), f-strings, annotations, keyword arguments.
    assert {type(node) for node in ast.walk(tree)} <= {
        *(ast.Module, ast.Import, ast.ImportFrom, ast.alias, ast.If, ast.Expr, ast.Call),
        *(ast.Attribute, ast.Name, ast.Load, ast.Constant, ast.Tuple, ast.Subscript),
        *(ast.Compare, ast.Lt, ast.BinOp, ast.Mod),
    }
    assert "print" not in source
    # It leaves before it imports the rest.
    first, check, rest, _ = tree.body
    assert isinstance(first, ast.Import)
    assert isinstance(check, ast.If)
    assert isinstance(rest, ast.ImportFrom)


# What is in it.


def test_same_bytes_for_the_same_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    first = zipapp.build()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert zipapp.build() == first


def test_what_is_in_it(program: Path) -> None:
    package = Path(tcpdl.__file__).parent
    with zipfile.ZipFile(program) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names[0] == "__main__.py"
        assert names[1:4] == ["tcpdl/__init__.py", "tcpdl/cli.py", "tcpdl/digest.py"]
        for folder in ("wire", "client", "commands"):
            assert len(found := [name for name in names if f"/{folder}/" in name]) > 3
            assert found == sorted(found, key=lambda name: name.split("/"))
        for name in names[1:]:
            assert archive.read(name) == (package.parent / name).read_bytes()
        assert len(names) == len(set(names)) > 30
        assert {info.external_attr >> 16 for info in archive.infolist()} == {0o100644}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert program.stat().st_size < 200_000

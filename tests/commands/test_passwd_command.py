"""Tests `tcpdl passwd`: what it asks, what it writes, what it says."""

from __future__ import annotations

import getpass
import io
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tcpdl.access import users
from tcpdl.access.users import Password, parse
from tests.commands.conftest import SECONDS, Run


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make new passwords be hashed with little work."""
    monkeypatch.setattr(users, "DEFAULT", Password(4, 1, 1, b"", b""))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "users"


def type_in(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Have somebody at the terminal who answers so; returns what they are asked."""
    asked: list[str] = []
    left = list(answers)

    def answer(question: str) -> str:
        asked.append(question)
        if not left:
            raise EOFError
        return left.pop(0)

    monkeypatch.setattr(getpass, "getpass", answer)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    return asked


def give(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """Have `text` on the standard input."""
    stream: Any = io.TextIOWrapper(io.BytesIO(text))
    monkeypatch.setattr(sys, "stdin", stream)


def test_a_password(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = type_in(monkeypatch, "gehéim", "gehéim")
    assert run("passwd", file, "ann") == (0, "", "")
    assert asked == ["password of ann: ", "the same again: "]
    assert parse(file.read_bytes()).with_password("ann", "gehéim".encode())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"geh" not in file.read_bytes()


def test_the_other_lines_stay(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, b"one\n")
    assert run("passwd", file, "ann", "--stdin").status == 0
    file.write_bytes(b"# ours\n" + file.read_bytes() + b"\n# the end\n")
    before = file.read_bytes().splitlines()
    give(monkeypatch, b"two\r\nand more")
    assert run("passwd", "--stdin", file, "bob").status == 0
    give(monkeypatch, b"three")
    assert run("passwd", "--stdin", file, "ann").status == 0
    found = parse(file.read_bytes())
    assert found.with_password("ann", b"three")
    assert not found.with_password("ann", b"one")
    assert found.with_password("bob", b"two")
    after = file.read_bytes().splitlines()
    assert [line for line in after if line.startswith(b"#")] == [b"# ours", b"# the end"]
    assert len(after) == len(before) + 1


def test_a_token(run: Run, file: Path) -> None:
    ran = run("passwd", file, "ci", "--token")
    token = ran.out.strip()
    assert ran == (0, f"{token}\n", "")
    assert len(token) == 43
    assert parse(file.read_bytes()).with_token(token.encode()) == "ci"
    assert token.encode() not in file.read_bytes()
    another = run("passwd", "--token", file, "ci").out.strip()
    found = parse(file.read_bytes())
    assert found.with_token(another.encode()) == "ci"
    assert found.with_token(token.encode()) is None


def test_delete(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, b"secret")
    run("passwd", "--stdin", file, "ann")
    run("passwd", "--token", file, "ann")
    assert run("passwd", "--delete", "--token", file, "ann") == (0, "", "")
    assert parse(file.read_bytes()).with_password("ann", b"secret")
    assert run("passwd", "--delete", file, "ann") == (0, "", "")
    assert file.read_bytes() == b""
    ran = run("passwd", "--delete", file, "ann")
    assert ran == (2, "", "tcpdl: there is no user of that name\n")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ((), "nothing was entered"),
        (("one",), "nothing was entered"),
        (("one", "two"), "the two are not the same; nothing was changed"),
        (("",), "the password is empty"),
        (("x" * 1001,), "the password has 1001 bytes; 1000 is the most"),
    ],
)
def test_a_password_that_is_none(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch, answers: tuple[str, ...], why: str
) -> None:
    type_in(monkeypatch, *answers)
    assert run("passwd", file, "ann") == (2, "", f"tcpdl: {why}\n")
    assert not file.exists()


@pytest.mark.parametrize("text", [b"", b"\n", b"x" * 1001, b"x" * 5000, b"a\0b\n"])
def test_input_that_is_no_password(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    give(monkeypatch, text)
    ran = run("passwd", "--stdin", file, "ann")
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert not file.exists()


def test_nobody_is_there(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, b"secret\n")
    ran = run("passwd", file, "ann")
    assert ran.status == 2
    assert "needs somebody to type the password, or --stdin" in ran.err


@pytest.mark.parametrize("name", ["", "a b", "a:b", "users", "anyone", "x" * 65, "a\nb"])
def test_a_name_that_is_none(run: Run, file: Path, name: str) -> None:
    ran = run("passwd", "--token", file, name)
    assert (ran.status, ran.out) == (2, "")
    assert "called" in ran.err or "the name of a user has" in ran.err


def test_a_file_that_is_another(run: Run, file: Path) -> None:
    file.write_text("shopping: milk\n")
    ran = run("passwd", "--token", file, "ann")
    assert (ran.status, ran.out) == (2, "")
    assert "line 1: there is no hash after the name" in ran.err
    assert file.read_text() == "shopping: milk\n"
    link = file.parent / "link"
    link.symlink_to(file)
    ran = run("passwd", "--token", link, "ann")
    assert (ran.status, ran.out) == (6, "")
    assert "it is a symbolic link" in ran.err


def test_at_a_terminal(file: Path) -> None:
    # What is typed is not shown, and the command needs no Twisted.
    ours, theirs = pty.openpty()
    command = [sys.executable, "-W", "error", "-X", "importtime", "-m", "tcpdl", "passwd"]
    with subprocess.Popen(
        [*command, file, "ann"],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # its terminal from now on
    ) as process:
        os.close(theirs)
        shown = b""
        for question in (b"password of ann: ", b"the same again: "):
            while question not in shown:
                shown += os.read(ours, 1024)
            os.write(ours, b"secret\n")
        assert process.stderr is not None
        imported = process.stderr.read()
        assert process.wait(SECONDS) == 0
    assert b"secret" not in shown
    assert b"tcpdl.access.users" in imported
    assert b"twisted" not in imported
    os.close(ours)
    assert parse(file.read_bytes()).with_password("ann", b"secret")

"""Tests the options that say whom to trust, what to log in with, and how much to fetch."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from tcpdl.client.access import Access
from tcpdl.client.errors import BadRequest
from tcpdl.client.url import parse_url
from tcpdl.commands.access import access_of, add_access
from tcpdl.commands.common import add_most
from tests.commands.conftest import Run, Served

URL = "tcpdls://server.example/f"
AWAY = "192.0.2.1"


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests has a netrc of their own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("NETRC", "TCPDL_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_access(parser)
    add_most(parser)
    return parser.parse_args(arguments)


def access(
    *arguments: str, urls: tuple[str, ...] = (URL,), sources: tuple[str, ...] = ()
) -> Access:
    return access_of(parse(*arguments), [*map(parse_url, urls)], [*map(parse_url, sources)])


def secret_of(found: Access, url: str = URL) -> str | None:
    login = found.login_for(parse_url(url), AWAY)
    return login and login.secret


def write(path: Path, text: str) -> str:
    path.touch(0o600)
    path.write_text(text)
    return str(path)


def test_none() -> None:
    assert secret_of(access()) is None


def test_password_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCPDL_PASSWORD", "sesame")
    assert secret_of(access("--login", "ann")) == "sesame"
    monkeypatch.setenv("TCPDL_PASSWORD", "")
    with pytest.raises(BadRequest, match="a password is"):
        access("--login", "ann")


def test_password_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for once, before anything is connected."""
    asked: list[str] = []

    def getpass(prompt: str) -> str:
        asked.append(prompt)
        return "sesame"

    opened = os.open
    monkeypatch.setattr("getpass.getpass", getpass)
    monkeypatch.setattr(
        os, "open", lambda path, *rest: opened("/dev/null" if path == "/dev/tty" else path, *rest)
    )
    found = access("--login", "ann\u202e", urls=(URL, URL.replace("/f", "/g")))
    assert secret_of(found) == "sesame"
    assert asked == ["password of ann\\u202e at server.example:8080: "]


def test_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_terminal(*_: object) -> int:
        raise OSError

    monkeypatch.setattr(os, "open", no_terminal)
    with pytest.raises(BadRequest, match="set TCPDL_PASSWORD, or use --token-file"):
        access("--login", "ann")


def test_token(tmp_path: Path) -> None:
    path = write(tmp_path / "token", "abc\n")
    assert secret_of(access("--token-file", path)) == "abc"
    with pytest.raises(BadRequest, match="not both"):
        access("--token-file", path, "--login", "ann")


def test_login_is_for_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCPDL_PASSWORD", "sesame")
    with pytest.raises(BadRequest, match="a login is for one server; for several, use --netrc"):
        access("--login", "ann", urls=(URL, "tcpdls://other.example/f"))
    other = "tcpdls://other.example/f"
    assert secret_of(access("--login", "ann", sources=(other,)), other) is None


def test_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "machine server.example login ann password {}\ndefault login x password default\n"
    other = "tcpdls://other.example/f"
    write(tmp_path / ".netrc", text.format("home"))
    assert secret_of(access()) == "home"
    assert secret_of(access(urls=(other,)), other) is None
    monkeypatch.setenv("NETRC", write(tmp_path / "named", text.format("named")))
    assert secret_of(access()) == "named"
    path = write(tmp_path / "file", text.format("file"))
    found = access("--netrc-file", path, sources=(other,))
    assert secret_of(found) == "file"
    assert secret_of(found, other) == "default"
    assert secret_of(found, "tcpdls://third.example/f") is None


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("0", 0), ("1", 1), ("1k", 1024), ("1K", 1024), ("10M", 10 << 20), ("2G", 2 << 30)),
        ("999999999999999999", 10**18 - 1),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse("--max-size", text).max_size == size


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5M", "1T", "0x10", "1_0", "\u0661", "1" * 19])
def test_no_sizes(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(f"--max-size={text}")
    assert "is not a number of bytes" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--pin", "md5:0"], "is no pin"),
        (["--pin", "sha256:" + "0" * 64, "--ca-file", "x"], "leave out --ca-file"),
        (["--netrc-file", "none"], "no such file"),
        (["--token-file", "none"], "no such file"),
        (["--login", "a:b"], "no colon"),
    ],
)
@pytest.mark.parametrize("command", ["get", "mirror", "ls", "verify"])
def test_wrong(
    command: str,
    options: list[str],
    complaint: str,
    served: Served,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TCPDL_PASSWORD", "sesame")
    more = {"mirror": ["x"], "verify": [str(served.root / "a.txt")]}.get(command, [])
    name = "" if command == "mirror" else "a.txt"
    ran = run(command, f"{served.url}/{name}", *more, *options)
    assert ran.status == 2
    assert complaint in ran.err
    assert "sesame" not in ran.err
    assert ran.out == ""


def test_largest(served: Served, run: Run, tmp_path: Path) -> None:
    ran = run("get", f"{served.url}/a.txt", "-d", tmp_path, "--max-size", "5")
    assert ran.status == 6
    assert "has 6 bytes, and no more than 5 are wanted" in ran.err
    assert list(tmp_path.iterdir()) == []
    assert run("get", f"{served.url}/a.txt", "-d", tmp_path, "--max-size", "6").status == 0
    ran = run("mirror", f"{served.url}/", tmp_path / "all", "--max-size", "1M")
    assert ran.status == 7
    assert "sub/deep/large: the file has 3145729 bytes" in ran.err
    assert (tmp_path / "all/sub/deep/medium").exists()
    assert not (tmp_path / "all/sub/deep/large").exists()

"""Tests `tcpdl link`: the links it prints, the keys it makes, and what it refuses."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from tcpdl.access import keys
from tcpdl.commands.link import parse_place
from tcpdl.wire import links
from tests.commands.conftest import Run

KEY = bytes(range(32))
NOW = 1_700_000_000
TIME = 2 * 3600


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(time, "time", lambda: NOW + 0.9)
    file = tmp_path / "key"
    file.write_text(KEY.hex())
    return file


@pytest.mark.parametrize(
    ("place", "shown", "segments"),
    [
        ("notes/hello.txt", "notes/hello.txt?", (b"notes", b"hello.txt")),
        ("/notes/", "/notes/?", (b"notes",)),
        ("/", "/?", ()),
        ("./a//b/.", "a/b/?", (b"a", b"b")),
        ("a b%20?é", "a%20b%2520%3F%C3%A9?", ("a b%20?é".encode(),)),
        (".hidden", ".hidden?", (b".hidden",)),
        ("/host:80/x", "/host%3A80/x?", (b"host:80", b"x")),
        ("http://host/a%20b/", "http://host/a%20b/?", (b"a b",)),
        ("https://host:8443/a?download", "https://host:8443/a?download&", (b"a",)),
        ("https://host/a?archive=tar#top", "https://host/a?archive=tar&", (b"a",)),
        ("http://host", "http://host/?", ()),
        ("http://host?x", "http://host/?x&", ()),
        ("host:8080/a%20b", "host:8080/a%20b?", (b"a b",)),
        ("[::1]:8080/a", "[::1]:8080/a?", (b"a",)),
        ("tcpdls://host/a", "tcpdls://host/a?", (b"a",)),
        ("host:8080", "host:8080/?", ()),
    ],
)
def test_links(run: Run, key: Path, place: str, shown: str, segments: tuple[bytes, ...]) -> None:
    ran = run("link", place, "--for", "2h", "--key", key)
    query = links.sign(KEY, segments, NOW + TIME).query
    assert ran == (0, f"{shown}{query}\n", "")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("1s", 1),
        ("30m", 1800),
        ("2h", 7200),
        ("7d", 604_800),
        ("1w", 604_800),
        ("366d", 31_622_400),
    ],
)
def test_times(run: Run, key: Path, given: str, seconds: int) -> None:
    ran = run("link", "--key", key, "--for", given, "a")
    assert f"?until={NOW + seconds}&" in ran.out


@pytest.mark.parametrize(
    "given", ["", "2", "h", "0h", "-1h", "1.5h", "2H", "2 h", "367d", "53w", "9999999999s", "٢h"]
)
def test_no_time(run: Run, key: Path, given: str) -> None:
    ran = run("link", "--key", key, f"--for={given}", "a")
    assert (ran.status, ran.out) == (2, "")
    assert "is not a time such as 30m, 2h or 7d, up to 366d" in ran.err


@pytest.mark.parametrize("place", ["../a", "a/../b", "http://host/a/%2E%2E/b", "x" * 256, "a%00b"])
def test_no_place(run: Run, key: Path, place: str) -> None:
    place = place.replace("a%00b", "http://host/a%00b")
    ran = run("link", "--key", key, "--for", "2h", place)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)


def test_what_is_missing(run: Run, key: Path, tmp_path: Path) -> None:
    for arguments in ((), ("a",), ("--for", "2h")):
        ran = run("link", "--key", key, *arguments)
        assert ran.status == 2
        assert "link needs a PLACE and --for TIME" in ran.err
    ran = run("link", "a", "--for", "2h", "--key", tmp_path / "none")
    assert ran.status == 2
    assert "none: there is no such file (tcpdl link --new-key FILE makes a key)" in ran.err
    (tmp_path / "bad").write_text("secret")
    ran = run("link", "a", "--for", "2h", "--key", tmp_path / "bad")
    assert ran.status == 2
    assert "bad: line 1: not 32 bytes" in ran.err
    assert "secret" not in ran.err


def test_the_first_key_signs(run: Run, key: Path) -> None:
    before = run("link", "a", "--for", "2h", "--key", key).out
    assert run("link", "--new-key", key).status == 0
    after = run("link", "a", "--for", "2h", "--key", key).out
    assert after != before
    found = keys.parse(key.read_bytes())
    for line in (before, after):
        parted = links.split(line.strip().encode())
        assert parted is not None
        assert links.reach(found, (b"a",), parted[1]) == (b"a",)


def test_new_key(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "key"
    ran = run("link", "--new-key", file)
    assert (ran.status, ran.out) == (0, "")
    assert ran.err == f"tcpdl: links are signed with the new key in {file} from now on\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(keys.parse(file.read_bytes())[0]) == 32
    assert os.listdir(tmp_path) == ["key"]


def test_no_new_key(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_text("important\n")
    ran = run("link", "--new-key", file)
    assert (ran.status, ran.out) == (2, "")
    assert file.read_text() == "important\n"
    assert run("link", "--new-key", tmp_path / "none/key").status == 6
    assert run("link", "--new-key", tmp_path / "key", "a", "--for", "2h").status == 2
    assert not (tmp_path / "key").exists()


def test_bytes_that_are_no_text() -> None:
    place = parse_place(os.fsdecode(b"\xff"))
    assert place.name.segments == (b"\xff",)
    assert place.shown == "%FF"

"""Tests `tcpdl ls` against a daemon, and how it shows what it lists."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from tcpdl.client.listing import Listed
from tcpdl.commands.ls import as_line, as_object, iso_time

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.conftest import Run, Served

MTIME = 1_600_000_000_123_456_789


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_lines(served: Served, run: Run) -> None:
    ran = run("ls", served.url)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "-rw-r--r--               6 2020-09-13 12:26 a.txt",
        "drwxr-xr-x               - 2020-09-13 12:26 empty/",
        "drwxr-xr-x               - 2020-09-13 12:26 sub/",
        "-rw-r--r--               4 2020-09-13 12:26 下载.txt",
    ]


def test_recursive(served: Served, run: Run) -> None:
    ran = run("ls", "-R", f"{served.url}/sub")
    assert [line[44:] for line in ran.out.splitlines()] == [
        *("deep/", "link -> ../a.txt", "run.sh", "deep/large", "deep/medium"),
    ]
    assert "3,145,729" in ran.out


def test_json(served: Served, run: Run) -> None:
    ran = run("ls", "--json", f"{served.url}/sub")
    when = "2020-09-13T12:26:40.123456789Z"
    assert json.loads(ran.out) == [
        {"name": "deep", "kind": "folder", "mtime": when, "mode": "0755"},
        {"name": "link", "kind": "link", "target": "../a.txt"},
        {"name": "run.sh", "kind": "file", "size": 10, "mtime": when, "mode": "0750"},
    ]
    assert json.loads(run("ls", "--json", f"{served.url}/empty").out) == []


def test_file(served: Served, run: Run) -> None:
    ran = run("ls", f"{served.url}/sub/run.sh")
    assert ran.out == "-rwxr-x---              10 2020-09-13 12:26 run.sh\n"


def test_names_that_are_not_shown_as_they_are(served: Served, run: Run) -> None:
    odd = os.fsencode(served.root) + b"/empty/\x1b[2J\xff\n"
    with open(odd, "wb"):
        pass
    try:
        lines = run("ls", f"{served.url}/empty")
        text = run("ls", "--json", f"{served.url}/empty")
    finally:
        os.unlink(odd)
    assert lines.out.endswith(" \\x1b[2J\\xff\\n\n")
    (found,) = json.loads(text.out)
    assert found["name"] == "\x1b[2J\udcff\n"
    assert found["name_base64"] == "G1sySv8K"


def test_left_out(served: Served, run: Run, tmp_path: Path) -> None:
    os.mkfifo(served.root / "empty/pipe")
    try:
        lines = run("ls", f"{served.url}/empty")
        text = run("ls", "--json", f"{served.url}/empty")
    finally:
        (served.root / "empty/pipe").unlink()
    assert lines == (7, "", "tcpdl: pipe: it is not a regular file\n")
    assert text.status == 7
    assert json.loads(text.out) == [
        {"name": "pipe", "kind": "left out", "why": "it is not a regular file"}
    ]


def test_absent(served: Served, run: Run) -> None:
    ran = run("ls", f"{served.url}/absent")
    assert (ran.status, ran.out) == (5, "")
    assert run("ls", "--json", f"{served.url}/absent").out == ""


def test_output_that_is_full(served: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full, monkeypatch.context() as patched:
        kept = os.dup(full.fileno())
        try:
            patched.setattr("sys.stdout", full)
            assert run("ls", served.url).status == 6
        finally:
            os.close(kept)


@pytest.mark.parametrize(
    ("mtime_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        ((1 << 63) - 1, "2262-04-11T23:47:16.854775807Z"),
        (-(1 << 63), "1677-09-21T00:12:43.145224192Z"),
    ],
)
def test_iso_time(mtime_ns: int, text: str) -> None:
    assert iso_time(mtime_ns) == text
    assert as_line(Listed("file", b"x", 1, mtime_ns)).endswith(" x")


def test_link_that_is_no_text() -> None:
    listed = Listed("link", b"l", target=b"\xff\x1b")
    assert as_object(listed) == {
        "name": "l",
        "kind": "link",
        "target": "\udcff\x1b",
        "target_base64": "/xs=",
    }
    assert as_line(listed).endswith("l -> \\xff\\x1b")

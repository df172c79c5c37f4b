"""Tests the options that say what is logged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.python import usage

from tcpdl import logs
from tcpdl.options.daemon import Options


def parsed(*words: str, parent: Any = None) -> Options:
    options = Options({})
    options.parent = parent
    options.parseOptions([*words])
    return options


def test_nothing_is_said() -> None:
    options = parsed()
    assert options.access_log_file() is None
    assert options.access_log_form() == "text"
    assert options.access_log_folders() == []
    assert options.later_owner() is None


@pytest.mark.parametrize(
    ("words", "form"),
    [
        (["--access-log-format=json"], "json"),
        (["--log-format=json"], "json"),
        (["--log-format=journald"], "text"),
        (["--log-format=json", "--access-log-format=text"], "text"),
    ],
)
def test_forms(words: list[str], form: str) -> None:
    assert parsed(*words).access_log_form() == form


def test_what_twistd_has() -> None:
    parent = {"logger": logs.json, "uid": 5, "gid": None}
    options = parsed(parent=parent)
    assert options.access_log_form() == "json"
    assert options.later_owner() == (5, -1)


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = parsed("--access-log=log")
    assert options.access_log_file() == str(tmp_path / "log")
    assert options.access_log_folders() == [str(tmp_path)]
    os.mkfifo("fifo")
    assert parsed("--access-log=fifo").access_log_folders() == []
    assert parsed("--access-log=-").access_log_file() == "-"
    assert parsed("--access-log=none").access_log_file() is None
    again = parsed(*parsed("--access-log=-").words)
    assert again.access_log_file() == "-"


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("--log-format=xml", "--log-format: choose one of 'text', 'json', 'journald'"),
        ("--access-log-format=journald", "--access-log-format: choose one of 'text', 'json'"),
        ("--log-level=all", "--log-level: choose one of 'debug'"),
        ("--access-log=", "--access-log: give a file, '-' or 'none'"),
    ],
)
def test_what_is_wrong(word: str, problem: str) -> None:
    with pytest.raises(usage.UsageError, match=problem):
        parsed(word)


@pytest.mark.parametrize("word", ["--log-format=json", "--log-level=warn"])
def test_twistd_writes_its_log_itself(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(word, parent={})
    assert ended.value.code == 2
    assert "twistd --logger tcpdl.logs.json" in capsys.readouterr().err

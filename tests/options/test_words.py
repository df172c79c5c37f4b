"""Tests what options hand to another process: the configuration as words of a command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.python import usage

from tcpdl.options.daemon import Options
from tcpdl.serve import ServeOptions


def test_words_can_be_parsed_again(tmp_path: Path) -> None:
    options = Options()
    options.parseOptions([f"--root={tmp_path}", "--hidden", "-l", "tcp:1", "--max-rate", "1M"])
    again = Options()
    again.parseOptions(options.words)
    assert dict(again) == dict(options)


def test_the_folder_of_tcpdl_serve_is_among_them(tmp_path: Path) -> None:
    options = ServeOptions()
    options.parseOptions([str(tmp_path), "--hidden"])
    again = Options()
    again.parseOptions(options.words)
    assert again["root"] == str(tmp_path)
    assert again["hidden"]


def test_more_than_one_folder() -> None:
    with pytest.raises(usage.UsageError, match="one folder"):
        ServeOptions().parseOptions([".", ".."])


def test_again(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    options = Options()
    options.parseOptions([f"--root={root}", "--max-rate=1M"])
    assert dict(options.again({})) == dict(options)
    root.rmdir()
    with pytest.raises(usage.UsageError, match="--root"):
        options.again({})

"""Tests the pages for man(1): groff and mandoc have nothing to say against them, and they show what
they are made of."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tcpdl.client import errors
from tcpdl.manual.__main__ import main, today
from tcpdl.manual.model import Command
from tcpdl.manual.pages import PAGES, SERVE, Page, as_markdown, as_roff, details, programs
from tcpdl.manual.roff import Head, page
from tcpdl.options.reloads import RELOADS
from tests.manual.shells import need

DATE = "2026-11-27"
PLAIN = {"MANWIDTH": "250", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}

every_page = pytest.mark.parametrize("which", PAGES, ids=lambda which: which.file_name)


@pytest.fixture
def written(tmp_path: Path, which: Page) -> Path:
    path = tmp_path / which.file_name
    path.write_text(as_roff(which, DATE), "utf-8")
    return path


def run(*command: str | Path) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, env=PLAIN)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@every_page
def test_mandoc_has_no_complaint(written: Path) -> None:
    assert run(need("mandoc"), "-T", "lint", written) == ""


@every_page
def test_groff_has_no_warning(written: Path) -> None:
    need("groff")
    assert "NAME" in run(need("man"), "--warnings", "-l", "-E", "UTF-8", written)


@pytest.mark.parametrize(
    ("which", "shown"),
    [
        (Page("tcpdl", 1), [one for one in programs()["tcpdl"] if one.name != SERVE]),
        (Page("tcpdld", 8), programs()[SERVE]),
    ],
    ids=["tcpdl", "tcpdld"],
)
def test_options_are_shown(which: Page, shown: list[Command], written: Path) -> None:
    need("groff")
    text = re.sub(".\x08", "", run(need("man"), "-l", "-E", "UTF-8", written))
    for command in shown:
        for option in command.options:
            tag = f"{', '.join(option.names)} {option.value}".strip()
            assert re.search(rf"^ +{re.escape(tag)}( |$)", text, re.M)


def test_every_status_of_the_client_is_told() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]
    statuses = {one.status for one in kinds if issubclass(one, errors.ClientError)}
    told = as_roff(Page("tcpdl", 1), DATE).partition('"EXIT STATUS"')[2].partition(".SH")[0]
    assert {int(one) for one in re.findall(r"^\\fB(\d+)\\fR$", told, re.M)} == statuses | {0, 130}


def test_details_are_about_options_that_there_are() -> None:
    assert set(details()) <= {option.name for option in programs()[SERVE][0].options}


def lines_of(text: str) -> list[str]:
    head = Head("x", 1, DATE, "1.0")
    made = page(text, head, lambda info, content: [f"<{info}: {content}>"])
    return made.removesuffix("\n").split("\n")[4:]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("## Some name\n\ntext", ['.SH "SOME NAME"', "text"]),
        ("one\n\ntwo", [".PP", "one", ".PP", "two"]),
        ("`--a`, *b* and [c](d)", [".PP", r"\fB\-\-a\fR, \fIb\fR and c"]),
        ("`.so x` and `'b`", [".PP", r"\fB.so x\fR and \fB\(aqb\fR"]),
        ("\\.so it's \\\\x", [".PP", r"\&.so it\(aqs \ex"]),
        (
            "```sh\n.a\nb~\n```\n<!-- x -->",
            [".PP", ".RS 4", ".EX", r"\&.a", r"b\(ti", ".EE", ".RE"],
        ),
        ("- a\n- b", [r".IP \(bu 2", "a", r".IP \(bu 2", "b"]),
        ("|h|i|\n|-|-|\n|`a`|b|", [".TP", r"\fBa\fR", "b"]),
        ("```x\ny\n```", ["<x: y", ">"]),
        ("né 下", [".PP", r"n\[u00E9] \[u4E0B]"]),
    ],
)
def test_markdown_becomes_roff(text: str, lines: list[str]) -> None:
    assert lines_of(text) == lines


@pytest.mark.parametrize(
    "text", ["> quoted", "![a](b)", "1. one", "- a\n  - b", "<b>x</b>", "    code"]
)
def test_what_pages_do_not_have_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="has no"):
        lines_of(text)


def test_all_files_are_written(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found >= {"man/tcpdl.1", "man/tcpdld.8", "completions/zsh/_tcpdl"}
    assert found >= {f"completions/bash/{name}" for name in ("tcpdl", "twistd")}
    assert found >= {f"completions/fish/{name}.fish" for name in ("tcpdl", "twistd")}


@pytest.mark.parametrize("arguments", [[], ["--help"], ["a", "b"]])
def test_how_it_is_called_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "FOLDER" in capsys.readouterr().err


def test_date_of_builds_that_can_be_repeated() -> None:
    assert today({"SOURCE_DATE_EPOCH": "86400"}) == "1970-01-02"
    assert today({}) >= "2026"


def test_of_every_setting_it_is_told_what_a_reload_does() -> None:
    for text in (as_roff(Page("tcpdl.toml", 5), DATE), as_markdown(Page("tcpdl.toml", 5))):
        found = re.findall(r"^ *Changes at a (reload|restart)\b", text, re.M)
        assert len(found) == len(RELOADS)
        assert "With " in text

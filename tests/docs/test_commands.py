"""Tests what the documentation shows: commands run, and options are those that there are.

The commands of a page run one after the other in a folder of their own, against a daemon that
serves what the pages speak of. Names of machines, ports and paths stand for others there.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tcpdl.manual.daemon import twistd
from tcpdl.manual.pages import SERVE, programs
from tcpdl.options.daemon import Options
from tcpdl.options.file import parse
from tcpdl.options.settings import Problem
from tests.certificates import make
from tests.daemons import daemon_of
from tests.docs.pages import LANGUAGES, MADE, PAGES, PROJECT, PROSE, Block, blocks_of, relative

SECONDS = 120

LOADED = ("tcpdl.serve", "tcpdl.checking", "tcpdl.client.api", "twisted.scripts.twistd")
"""Modules that commands need, and that take long to load."""

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")

ASKED = {"--help", "--version", "--help-auth", "--help-auth-type"}
"""Options that are questions."""

ELSEWHERE = frozenset({"--now"})
"""Options of other programs that are spoken of: systemctl's."""

ALLOWED = {*LANGUAGES, *MADE}

OTHERS = {"curl", "nc", "openssl", "sqlite3", "tar", "sha256sum"}
"""Programs that may be missing."""

every_page = pytest.mark.parametrize("page", PAGES, ids=relative)


class World(NamedTuple):
    """What commands are run in."""

    folder: Path
    """Is the root of the file system, and home."""
    stands_for: dict[str, str]
    """Patterns of what is in a command, and what is put in its place."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    for place in ("handouts", "srv/files", "srv/tcpdl"):
        shutil.copytree(PROJECT / "examples", folder / place)
    live = folder / "etc/letsencrypt/live/files.example"
    live.mkdir(parents=True)
    certificate = make()
    (live / "fullchain.pem").write_text(certificate.pem)
    (live / "privkey.pem").write_text(certificate.key_pem)
    (live / "privkey.pem").chmod(0o600)
    (folder / "etc/tcpdl").mkdir()
    (folder / "etc/tcpdl/rules").write_text("/** anyone read\n")
    (folder / "etc/tcpdl/tcpdl.toml").write_text(f'root = "{folder}/srv/files"\n')
    shims = folder / "shims"
    shims.mkdir()
    warm, asked = Path(__file__).with_name("warm.py"), folder / "warm"
    for program in ("tcpdl", "twistd", "twist"):
        script = f'#!/bin/sh\nexec "{sys.executable}" -SE "{warm}" "{asked}" - {program} "$@"\n'
        (shims / program).write_text(script)
        (shims / program).chmod(0o755)
    with (
        subprocess.Popen([sys.executable, warm, asked, *LOADED], stdout=subprocess.PIPE) as ready,
        daemon_of(folder / "srv/files", "--echo-port=0", f"--tls-cert={live}") as daemon,
    ):
        assert ready.stdout is not None
        assert ready.stdout.readline() == b"listening\n"
        echo = daemon.log.wait_for(r"echo on \S+:(\d+)\n")
        here = f"127.0.0.1:{daemon.port}"
        try:
            yield World(
                folder,
                {
                    r"https://files\.example(:8080)?": f"https://localhost:{daemon.port}",
                    r"files\.example:443": f"localhost:{daemon.port}",
                    r"\b(server|localhost):8080": here,
                    r"nc (server|localhost) 8080": f"nc 127.0.0.1 {daemon.port}",
                    r'"localhost", 8080': f'"127.0.0.1", {daemon.port}',
                    r"localhost:8007|server:9000": f"127.0.0.1:{echo}",
                    r"(?<![\w.])/(?=(srv|etc/tcpdl|etc/letsencrypt)\b)": f"{folder}/",
                    r"\.venv/bin/|/opt/tcpdl/bin/": f"{shims}/",
                    r"tls:443": "tls:0",
                },
            )
        finally:
            ready.kill()


def run(world: World, folder: Path, block: Block) -> None:
    """Run `block` in `folder`, and assert that it comes to an end that is none of failure."""
    text = block.text
    for pattern, stands in world.stands_for.items():
        text = re.sub(pattern, stands.replace("\\", r"\\"), text)
    python = block.language == "python"
    command = [sys.executable, "-c", text] if python else ["bash", "-euo", "pipefail", "-c", text]
    ran = subprocess.run(
        command,
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("TCPDL_")},
            "PATH": f"{world.folder}/shims:{os.environ['PATH']}",
            "HOME": str(world.folder),
            "CURL_CA_BUNDLE": f"{world.folder}/etc/letsencrypt/live/files.example/fullchain.pem",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert ran.returncode == 0, f"{block}\n{text}\n{ran.stdout}\n{ran.stderr}"


def lines_of(block: Block) -> Iterator[list[str]]:
    """The commands in `block`, a list of words each, as far as programs and options go."""
    text = re.sub(r"\\\n", " ", block.text)
    for line in re.split(r"\n|\|\|?|&&|;|\(|\)", text):
        with suppress(ValueError):  # what was in quotes is of no interest
            words = shlex.split(line, comments=True)
            while words and ("=" in words[0] or words[0] in ("sudo", "exec")):
                words = words[1:]
            if words:
                yield [words[0].rpartition("/")[2], *words[1:]]


def known_to(words: list[str]) -> set[str]:
    """The options that the command in `words` takes; nothing if it is none of ours."""
    program, *rest = words
    if program == "tcpdl":
        name = f"tcpdl {next((one for one in rest if not one.startswith('-')), '')}"
        commands = programs().get(name, ())
        assert commands or name == "tcpdl ", f"there is no {name}"
        return {name for one in commands for option in one.options for name in option.names}
    if program in ("twistd", "twist"):
        both = [*programs()[SERVE][0].options, *twistd().options]
        return {name for option in both for name in option.names}
    return set()


@every_page
def test_options_of_commands_are_there(page: Path) -> None:
    for block in blocks_of(page):
        for words in lines_of(block) if block.language == "sh" else ():
            if words[0] in ("tcpdl", "twistd", "twist"):
                known = known_to(words)
                given = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
                assert given <= known | {"--version", "--help"}, block


def test_readme_has_a_row_for_each_option_of_the_daemon() -> None:
    text = (PROJECT / "README.md").read_text("utf-8")
    named = {name for row in re.findall(r"^\| .*", text, re.M) for name in OPTION.findall(row)}
    assert {option.names[-1] for option in programs()[SERVE][0].options} - named <= ASKED


@pytest.mark.parametrize("page", PROSE, ids=relative)
def test_options_that_are_spoken_of_are_there(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    ours = [*programs()["tcpdl"], twistd()]
    known = {name for command in ours for option in command.options for name in option.names}
    spoken = {name for code in re.findall("`[^`]+`", text) for name in OPTION.findall(code)}
    assert spoken - known <= ELSEWHERE


@every_page
def test_settings_are_there(page: Path) -> None:
    known = Options({}).known
    for block in blocks_of(page):
        if block.language == "toml":
            found = parse(block.text.encode(), str(block), known)
            assert [str(one) for one in found if isinstance(one, Problem)] == []


@every_page
def test_blocks_say_what_they_are(page: Path) -> None:
    assert [block for block in blocks_of(page) if block.language not in ALLOWED] == []
    without = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    assert re.findall(r"^    \S.*", without, re.M) == []


@pytest.mark.parametrize("page", [one for one in PAGES if [*blocks_of(one)]], ids=relative)
def test_commands_run(world: World, page: Path, tmp_path: Path) -> None:
    (tmp_path / "questions.txt").write_text("one\ntwo\n")
    missing = set()
    for block in blocks_of(page):
        if block.language == "python":
            compile(block.text, str(block), "exec")
        if block.why_not or block.language not in ("sh", "python"):
            continue
        programs = {words[0] for words in lines_of(block)} & OTHERS
        if lacking := {one for one in programs if shutil.which(one) is None}:
            missing |= lacking
        else:
            run(world, tmp_path, block)
    if missing:
        pytest.skip(f"not all was run, since these are not installed: {', '.join(missing)}")

"""Tests completion in the shells themselves: a line is typed, and what they make of it is seen.
And that shellcheck has nothing to say of what is written for them.

Where a shell is not installed, its tests are skipped.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcpdl.manual.__main__ import main
from tests.manual.shells import Shell, need

PROJECT = Path(__file__).resolve().parent.parent.parent

# The marks are written in two parts, so that the line as it is typed does not hold them.
SHOW = (
    'show() { printf "%s%s" "<beg" "in>"; printf "[%s]" "$@"; printf "%s%s\\n" "<en" "d>"; }; '
    'tcpdl() { show "$@"; }; twistd() { show "$@"; }; PROMPT_EOL_MARK=; PS1="rea""dy>"'
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    assert main([str(folder)]) == 0
    return folder / "completions"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shells are: what there is to be completed."""
    folder = tmp_path_factory.mktemp("folder")
    (folder / "folder x").mkdir()
    (folder / "fixed.pem").touch()
    (folder / "etc").mkdir()
    (folder / "etc" / "users").touch()
    return folder


@pytest.fixture(scope="module")
def bash(made: Path, folder: Path) -> Iterator[Shell]:
    command = [need("bash"), "--norc", "--noprofile", "-i"]
    shell = Shell(command, folder, f"source {made}/bash/tcpdl; source {made}/bash/twistd; {SHOW}")
    yield shell
    shell.close()


@pytest.fixture(scope="module")
def zsh(made: Path, folder: Path) -> Iterator[Shell]:
    setup = f"fpath=({made}/zsh $fpath); autoload -Uz compinit; compinit -u -D; {SHOW}"
    shell = Shell([need("zsh"), "-f", "-i"], folder, setup)
    yield shell
    shell.close()


LINES = [
    ("tcpdl mir\t x", ["mirror", "x"]),
    ("tcpdl get --ou\t x", ["get", "--output", "x"]),
    ("tcpdl get --output fi\t", ["get", "--output", "fixed.pem"]),
    ("tcpdl get --output=fi\t", ["get", "--output=fixed.pem"]),
    ("tcpdl get a -o fi\t", ["get", "a", "-o", "fixed.pem"]),
    ("tcpdl get --dialect n\t", ["get", "--dialect", "native"]),
    ("tcpdl get --dialect=n\t", ["get", "--dialect=native"]),
    ("tcpdl get fi\t", ["get", "fi"]),  # it takes URLs
    ("tcpdl get a --sync --sy\t", ["get", "a", "--sync", "--sy"]),  # it is there already
    ("tcpdl get --pin=a --pi\t", ["get", "--pin=a", "--pin"]),  # may be repeated
    ("tcpdl get --sync=x -d\t", ["get", "--sync=x", "-d"]),
    ("tcpdl mirror host:80/a fo\t", ["mirror", "host:80/a", "folder x"]),
    ("tcpdl mirror -n http://host:80/a fo\t", ["mirror", "-n", "http://host:80/a", "folder x"]),
    ("tcpdl passwd fi\t", ["passwd", "fixed.pem"]),
    ("tcpdl serve fo\t", ["serve", "folder x"]),
    ("tcpdl serve --root fo\t", ["serve", "--root", "folder x"]),
    ("tcpdl serve --root=fo\t", ["serve", "--root=folder x"]),
    ("tcpdl serve --tls-cert=fi\t", ["serve", "--tls-cert=fixed.pem"]),
    ("tcpdl serve --symlinks i\t", ["serve", "--symlinks", "inside"]),
    ("tcpdl serve --auth us\tx", ["serve", "--auth", "users:x"]),
    ("tcpdl serve --auth users:etc/u\t", ["serve", "--auth", "users:etc/users"]),
    ("tcpdl serve --auth=users:etc/u\t", ["serve", "--auth=users:etc/users"]),
    ("tcpdl serve --listen tcp:80 fo\t", ["serve", "--listen", "tcp:80", "folder x"]),
]


@pytest.mark.parametrize(("line", "words"), LINES)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_line_is_completed(
    request: pytest.FixtureRequest, shell: str, line: str, words: list[str]
) -> None:
    # A folder is completed with a slash, which zsh takes away again; and a long option with "=".
    found = [word.rstrip("/=") for word in request.getfixturevalue(shell).run(line)]
    assert found == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "tcpdl serve fi\t",
            ["serve", "fi"],
        ),  # it takes folders; zsh shows files if there are none
        ("twistd -n tcpdl --roo\t.", ["-n", "tcpdl", "--root", "."]),
        (
            "twistd --pidfile= tcpdl --state-dir=fo\t",
            ["--pidfile=", "tcpdl", "--state-dir=folder x/"],
        ),
        ("twistd --pidfile fi\t", ["--pidfile", "fixed.pem"]),
        ("twistd --nodae\t", ["--nodaemon"]),
        ("twistd -n tc\t", ["-n", "tcpdl"]),
    ],
)
def test_line_is_completed_by_bash_alone(bash: Shell, line: str, words: list[str]) -> None:
    # For twistd, zsh has a completion of its own, which asks Twisted.
    assert bash.run(line) == words


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tcpdl mir", ["mirror"]),
        ("tcpdl get --ou", ["--output"]),
        ("tcpdl get -o fi", ["fixed.pem"]),
        ("tcpdl get --output=fi", ["--output=fixed.pem"]),
        ("tcpdl get --dialect ", ["auto", "http", "native", "raw"]),
        ("tcpdl get fi", []),
        ("tcpdl ls get --rec", ["--recursive"]),
        ("tcpdl passwd fi", ["fixed.pem"]),
        ("tcpdl serve f", ["folder x/"]),
        ("tcpdl serve --root f", ["folder x/"]),
        ("tcpdl serve --auth us", ["users:"]),
        ("tcpdl serve --auth users:etc/", ["users:etc/users"]),
        ("twistd -n tcpdl --roo", ["--root"]),
        ("twistd --nodae", ["--nodaemon"]),
    ],
)
def test_fish_offers(made: Path, folder: Path, line: str, offered: list[str]) -> None:
    script = f"source {made}/fish/tcpdl.fish; source {made}/fish/twistd.fish; complete -C '{line}'"
    command = [need("fish"), "--no-config", "-c", script]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert sorted(one.partition("\t")[0] for one in ran.stdout.splitlines()) == offered


def test_what_is_written_for_shells_is_sound(made: Path) -> None:
    scripts = [
        *sorted((made / "bash").iterdir()),
        *sorted((PROJECT / "packaging").glob("*.sh")),
        *(PROJECT / "packaging/debian" / name for name in ("postinst", "postrm", "prerm")),
        *(PROJECT / name for name in (".ci/run", "tests/systemd/boot.sh")),
    ]
    words = [need("shellcheck"), *(str(script) for script in scripts)]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (said.stdout, said.stderr) == ("", "")

"""Tests `options.environment`: settings from environment variables."""

from __future__ import annotations

import pytest

from tcpdl.options.daemon import Options
from tcpdl.options.environment import read_environment, read_manager, split, variable
from tcpdl.options.known import Kind
from tcpdl.options.settings import Problem, Setting

KNOWN = Options({}).known


def read(**environ: str) -> list[Setting | Problem]:
    return list(read_environment(environ, KNOWN))


def values(**environ: str) -> list[tuple[str, object]]:
    return [(one.name, one.value) for one in read(**environ) if isinstance(one, Setting)]


def test_settings() -> None:
    assert values(
        TCPDL_MAX_CONNECTIONS="5", TCPDL_ROOT=" a b ", TCPDL_HIDDEN="yes", PATH="/bin"
    ) == [("max-connections", "5"), ("root", " a b "), ("hidden", True)]
    assert values(TCPDL_CONFIG="x", TCPDL_PASSWORD="y", TCPDL_PORT="", XTCPDL_PORT="1") == []


@pytest.mark.parametrize(("word", "meant"), [("1", True), ("On", True), ("NO", False)])
def test_flags(word: str, meant: bool) -> None:
    assert values(TCPDL_HIDDEN=word) == [("hidden", meant)]
    assert values(TCPDL_HIDDEN=f" {word}\n") == [("hidden", meant)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("tcp:1", ["tcp:1"]),
        (" tcp:1\nunix:/a\t b ", ["tcp:1", "unix:/a", "b"]),
        (r"tls:443:interface=\:\:1", [r"tls:443:interface=\:\:1"]),
        ("'unix:/a b' \"memory:ann:it's\" c", ["unix:/a b", "memory:ann:it's", "c"]),
        ("users:'a b'.txt # c", ["users:a b.txt", "#", "c"]),
    ],
)
def test_lists(text: str, parts: list[str]) -> None:
    assert split(text) == parts
    assert values(TCPDL_LISTEN=text) == [("listen", part) for part in parts]


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [
        ("TCPDL_HIDDEN", "maybe", "$TCPDL_HIDDEN: 'maybe' is neither true nor false"),
        ("TCPDL_LISTEN", "a 'b", "$TCPDL_LISTEN: a quote is not closed"),
        ("TCPDL_PROT", "1", "$TCPDL_PROT: it is no option; did you mean $TCPDL_PORT?"),
        ("TCPDL_XYZ", "1", "$TCPDL_XYZ: it is no option; tcpdl serve --help lists them"),
        ("TCPDL_VERSION", "1", "$TCPDL_VERSION: it is no option"),
        ("TCPDL_PORT", "tcp://10.0.0.1:80", "$TCPDL_PORT: 'tcp://10.0.0.1:80' is no setting of"),
        ("TCPDL_SERVICE_HOST", "x", "$TCPDL_SERVICE_HOST: it is no option; Kubernetes sets such"),
        ("TCPDL_PORT_80_TCP", "x", "$TCPDL_PORT_80_TCP: it is no option; Kubernetes sets such"),
    ],
)
def test_what_is_wrong_is_named(key: str, text: str, problem: str) -> None:
    (found,) = read(**{key: text})
    assert isinstance(found, Problem)
    assert str(found).startswith(problem)


def test_each_option_has_a_variable_of_its_own() -> None:
    assert len({variable(name) for name in KNOWN.kinds}) == len(KNOWN.kinds)
    assert set(KNOWN.kinds.values()) == set(Kind)


@pytest.mark.parametrize(
    ("told", "folder"),
    [
        ("/var/lib/a", "/var/lib/a"),
        ("/var/lib/a:/var/lib/b", "/var/lib/a"),
        ("", None),
        ("a", None),
    ],
)
def test_the_folder_that_systemd_has_made(told: str, folder: str | None) -> None:
    found = {one.name: str(one.value) for one in read_manager({"STATE_DIRECTORY": told}, KNOWN)}
    assert found == ({} if folder is None else {"state-dir": folder})

"""Tests that the file of settings that is installed is complete, and true."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.python import usage

from tcpdl.manual.sample import CHOSEN, sample
from tcpdl.options.daemon import Options
from tcpdl.options.file import parse
from tcpdl.options.known import Kind
from tcpdl.options.settings import Problem, Setting, merge

FILE = Path(__file__).resolve().parents[2] / "etc/tcpdl.toml"
KNOWN = Options({}).known


def read(text: str) -> list[Setting]:
    found = list(parse(text.encode(), "f", KNOWN))
    assert [one for one in found if isinstance(one, Problem)] == []
    return [one for one in found if isinstance(one, Setting)]


def test_it_is_what_the_options_say() -> None:
    assert FILE.read_text("utf-8") == sample(), (
        "write it anew: python -m tcpdl.manual.sample > etc/tcpdl.toml"
    )


def test_what_is_not_commented_out() -> None:
    chosen = {one.name: one.value for one in read(FILE.read_text("utf-8"))}
    assert chosen == CHOSEN
    assert max(map(len, FILE.read_text("utf-8").split("\n"))) <= 100


def commented() -> dict[str, str]:
    """All options' lines, by their names, without what comments them out."""
    above, _, _ = FILE.read_text("utf-8").partition("#[roots]")
    lines = (line.removeprefix("#") for line in above.split("\n"))
    return {line.partition(" = ")[0]: line for line in lines if line and line[0] not in "# "}


def test_every_option_is_there_once() -> None:
    assert sorted(commented()) == sorted(KNOWN.kinds)


@pytest.mark.parametrize("name", sorted(KNOWN.kinds))
def test_each_line_can_be_used(name: str) -> None:
    (setting,) = read(commented()[name])
    assert setting.name == name
    taken = Unchecked({})
    if name != "auth":  # whose file is not here
        taken.read(setting.words())
    default = taken.defaults.get(name)
    if name not in CHOSEN and default is not None and KNOWN.kinds[name] is not Kind.LIST:
        fresh = Unchecked({})
        assert taken[name] == fresh[name], "what is commented out is the default"


class Unchecked(Options):
    """What stands there, whether it goes together or not."""

    def checks(self) -> tuple[()]:
        return ()


def test_roots() -> None:
    _, _, below = FILE.read_text("utf-8").partition("#[roots]")
    lines = "\n".join(line.removeprefix("#") for line in f"#[roots]{below}".split("\n"))
    assert sorted(merge(read(lines))) == [
        *("mount", "mount-hidden", "mount-rules", "mount-symlinks"),
    ]


def test_it_is_said_what_is_wrong_with_one_that_has_no_example() -> None:
    with pytest.raises(usage.UsageError):
        Unchecked({}).read(["--port="])

"""Tests what the manual knows of the programs: it is what their parsers take."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from twisted.python import usage

from tcpdl.cli import COMMANDS
from tcpdl.manual import client, daemon
from tcpdl.manual.model import Argument, Completes, Option, find_options, shared, without
from tcpdl.options.daemon import Options
from tcpdl.options.told import help_of, options_of


class Few(usage.Options):
    """A few options, one of each kind."""

    optParameters: list[list[Any]] = [
        ["count", "c", 5, "How many.", int],
        ["place", None, None, "Where."],
        ["kind", None, "a", "Which."],
    ]
    optFlags = [["quick", "q", "Do it now."]]
    compData = usage.Completions(
        descriptions={"word": "TEXT"},
        multiUse=["word"],
        optActions={"place": usage.CompleteDirs(), "kind": usage.CompleteList(["a", "b"])},
    )

    def opt_word(self, word: str) -> None:
        """A word; may be
        repeated."""

    opt_w = opt_word


def test_options_of_twisted() -> None:
    found = options_of(Few())  # type: ignore[no-untyped-call]
    assert found["count"] == Option(("-c", "--count"), "N", "How many", "5")
    assert found["place"] == Option(("--place",), "DIR", "Where", completes=Completes.FOLDERS)
    assert found["kind"] == Option(("--kind",), "a|b", "Which", "a", ("a", "b"))
    assert found["quick"] == Option(("-q", "--quick"), "", "Do it now")
    word = Option(("-w", "--word"), "TEXT", "A word; may be repeated", repeatable=True)
    assert found["word"] == word
    assert set(found) == {"count", "place", "kind", "quick", "word", "help", "version"}


def test_help_of_options() -> None:
    class More(usage.Options):
        """Another subject."""

        optParameters: list[list[Any]] = [
            ["a-very-long-name-of-one", None, None, "It has a line to itself."]
        ]

    class Two(Few, More):
        """Both."""

    Few.__module__ = More.__module__ = Two.__module__ = "tcpdl.few"
    lines = help_of(Two(), 40).splitlines()  # type: ignore[no-untyped-call]
    assert lines[:6] == [
        "",
        "A few options, one of each kind:",
        "  -c, --count N           How many. [5]",
        "      --place DIR         Where.",
        "      --kind a|b          Which. [a]",
        "  -w, --word TEXT         A word; may be",
    ]
    assert lines[lines.index("Another subject:") + 1] == "      --a-very-long-name-of-one ONE"
    assert lines[lines.index("In general:") + 1].startswith("      --help")
    assert all(len(line) <= 46 for line in lines)


def test_parser_of_argparse() -> None:
    parser = argparse.ArgumentParser(description="What\nit does.", epilog="More.\n\nAnd more.")
    parser.add_argument("url", nargs="*", metavar="URL", help="where from")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to (100%%)")
    group = parser.add_argument_group("for some")
    group.add_argument("--from", action="append", metavar="URL")
    group.add_argument("--how", choices=["fast", "slow"], help="how (%(default)s)", default="fast")
    command = client.command_of("tcpdl x", "do x", parser)
    assert command.description == ("What it does.", "More.", "And more.")
    assert command.arguments == (Argument("URL", "where from", optional=True, many=True),)
    own, some = command.groups
    assert (own.title, some.title) == ("", "for some")
    output = Option(("-o", "--output"), "FILE", "where to (100%)", completes=Completes.FILES)
    assert own.options[1] == output
    assert some.options == (
        Option(("--from",), "URL", "", repeatable=True),
        Option(("--how",), "fast|slow", "how (fast)", choices=("fast", "slow")),
    )


def test_every_command_is_known() -> None:
    names = [command.name for command in client.commands()]
    assert names == [f"tcpdl {name}" for name in COMMANDS if name not in ("serve", "check-config")]


def test_every_option_of_the_daemon_is_known() -> None:
    known = {option.name for option in daemon.serve().options}
    assert known == {name.rstrip("=") for name in Options().longOpt}


@pytest.mark.parametrize("option", list(daemon.serve().options), ids=lambda option: option.name)
def test_options_of_the_daemon_are_told_well(option: Option) -> None:
    assert option.help
    assert " " not in option.value
    assert option.completes is Completes.NOTHING or not option.choices


def test_options_are_grouped_by_subject() -> None:
    groups = {group.title: [one.name for one in group.options] for group in daemon.serve().groups}
    assert {"auth", "rules", "help-auth"} <= set(groups["Who may read what"])
    assert list(groups.values())[-1] == ["config", "help", "version"]


def test_every_setting_is_known() -> None:
    known = [setting.option.name for group in daemon.settings() for setting in group.settings]
    assert sorted(known) == sorted(Options({}).known.kinds)
    told = {one.option.name: one for group in daemon.settings() for one in group.settings}
    assert told["max-connections"].variable == "TCPDL_MAX_CONNECTIONS"
    assert "true" in told["hidden"].takes


def test_shared_options_are_told_once() -> None:
    commands = list(client.commands())
    login = next(
        one
        for one in shared(commands)
        if "--login" in {name for o in one.options for name in o.names}
    )
    assert set(login.commands) == {f"tcpdl {name}" for name in ("get", "mirror", "ls", "verify")}
    get = without(commands[0], login.options)
    assert not set(login.options) & set(get.options)
    assert set(get.options) | set(login.options) == set(commands[0].options)


def test_options_are_found_in_text() -> None:
    found = [
        piece for piece, is_name in find_options("Of --max-size, or -o; not e-mail.") if is_name
    ]
    assert found == ["--max-size"]

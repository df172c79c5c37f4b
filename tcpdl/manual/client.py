"""The commands as their parsers know them. Imports `tcpdl.cli`, `tcpdl.commands` and `model`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator

from tcpdl.cli import COMMANDS
from tcpdl.commands.common import STATUSES
from tcpdl.manual.model import Argument, Command, Completes, Group, Option

_COMPLETES = {
    "FILE": Completes.FILES,
    "PEM": Completes.FILES,
    "PATH": Completes.FILES,
    "DIR": Completes.FOLDERS,
}
"""What is offered for a value that is called so."""

_OWN = ("options", "optional arguments")  # as argparse calls what is in no group, before 3.10 too


def commands() -> Iterator[Command]:
    """All commands of `tcpdl` but those whose options another library reads."""
    for name, summary in COMMANDS.items():
        if name not in ("serve", "check-config"):
            module = importlib.import_module(f"tcpdl.commands.{name.replace('-', '_')}")
            yield command_of(f"tcpdl {name}", summary, module.parser())


def command_of(name: str, summary: str, parser: argparse.ArgumentParser) -> Command:
    """What `parser` takes. Its groups and actions are not public, and yet what all programs rest
    on that document a parser; tests/manual/test_model.py watches over them."""
    arguments = [_argument(one) for one in parser._actions if not one.option_strings]
    groups = []
    for group in parser._action_groups:
        options = tuple(_option(one) for one in group._group_actions if one.option_strings)
        if options:
            groups.append(Group("" if group.title in _OWN else group.title or "", options))
    # The statuses have a section of their own.
    told = f"{parser.description or ''}\n\n{(parser.epilog or '').removesuffix(STATUSES)}"
    paragraphs = (" ".join(one.split()) for one in told.split("\n\n"))
    return Command(name, summary, tuple(filter(None, paragraphs)), tuple(arguments), tuple(groups))


def _option(action: argparse.Action) -> Option:
    value = _value(action) if action.nargs != 0 else ""
    return Option(
        names=tuple(sorted(action.option_strings, key=len)),
        value=value,
        help=_help(action),
        choices=tuple(str(one) for one in action.choices or ()),
        completes=_COMPLETES.get(value, Completes.NOTHING),
        # Of the classes of actions, the one for those that may be repeated has no public name.
        repeatable=isinstance(action, argparse._AppendAction),
    )


def _argument(action: argparse.Action) -> Argument:
    value = _value(action)
    return Argument(
        value=value,
        help=_help(action),
        completes=_COMPLETES.get(value, Completes.NOTHING),
        optional=action.nargs in ("?", "*"),
        many=action.nargs in ("*", "+"),
    )


def _value(action: argparse.Action) -> str:
    if action.choices:
        return "|".join(str(one) for one in action.choices)
    if isinstance(action.metavar, str):
        return action.metavar
    return action.dest.upper()


def _help(action: argparse.Action) -> str:
    if action.help is None or action.help == argparse.SUPPRESS:
        return ""
    return action.help % {**vars(action), "prog": "tcpdl"}

"""What there is to be said of a command line, whichever library reads it. Imports nothing."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from enum import Enum
from typing import NamedTuple


class Completes(Enum):
    """What a shell offers for a value."""

    NOTHING = "nothing"
    FILES = "files"
    FOLDERS = "folders"


class Option(NamedTuple):
    """An option of a command."""

    names: tuple[str, ...]
    """As they are written, `-o` and `--output`; the long one is last."""
    value: str
    """What its value is called, as `FILE`; nothing if it takes none."""
    help: str
    """Plain text: what it is for, without a full stop."""
    default: str = ""
    """What holds without it, as it would be given; nothing if that has no name."""
    choices: tuple[str, ...] = ()
    """What it may be, or begin with."""
    completes: Completes = Completes.NOTHING
    repeatable: bool = False

    @property
    def name(self) -> str:
        """The long name, without dashes."""
        return self.names[-1].lstrip("-")


class Argument(NamedTuple):
    """An argument of a command that is no option."""

    value: str
    help: str = ""
    completes: Completes = Completes.NOTHING
    optional: bool = False
    many: bool = False


class Group(NamedTuple):
    """Options that belong together."""

    title: str
    """Nothing for a command's own ones."""
    options: tuple[Option, ...]


class Setting(NamedTuple):
    """An option that may also stand in a file and in the environment."""

    option: Option
    takes: str
    """What stands behind `=` in the file, in a few words."""
    variable: str
    """Of the environment."""
    reload: str
    """What becomes of a change of it while the daemon runs: sentences."""


class Settings(NamedTuple):
    """Settings that belong together."""

    title: str
    settings: tuple[Setting, ...]


class Command(NamedTuple):
    """A command, or one of several of a program."""

    name: str
    """As it is typed, `tcpdl get`."""
    summary: str
    """A few words."""
    description: tuple[str, ...]
    """Paragraphs of plain text."""
    arguments: tuple[Argument, ...]
    groups: tuple[Group, ...]

    @property
    def options(self) -> Iterator[Option]:
        """Those of all groups."""
        for group in self.groups:
            yield from group.options


class Shared(NamedTuple):
    """Options that several commands take, and the names of these."""

    commands: tuple[str, ...]
    options: tuple[Option, ...]


def shared(commands: Iterable[Command]) -> list[Shared]:
    """The options that more than one of `commands` takes, by the commands that do."""
    takers: dict[Option, list[str]] = {}
    for command in commands:
        for option in command.options:
            takers.setdefault(option, []).append(command.name)
    found: dict[tuple[str, ...], list[Option]] = {}
    for option, names in takers.items():
        if len(names) > 1:
            found.setdefault(tuple(names), []).append(option)
    return [Shared(names, tuple(options)) for names, options in found.items()]


def without(command: Command, options: Container[Option]) -> Command:
    """`command` with the groups of its options that are not among `options`."""
    groups = (
        group._replace(options=tuple(one for one in group.options if one not in options))
        for group in command.groups
    )
    return command._replace(groups=tuple(group for group in groups if group.options))


_OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][A-Za-z-]*[A-Za-z]")


def find_options(text: str) -> Iterator[tuple[str, bool]]:
    """`text` in pieces, each with whether it is the name of an option."""
    end = 0
    for found in _OPTION.finditer(text):
        yield text[end : found.start()], False
        yield found[0], True
        end = found.end()
    yield text[end:], False


def spelt(option: Option) -> str:
    """The names of an option, and what its value is called, as text."""
    return f"{', '.join(option.names)} {option.value}".rstrip()


def sentence(text: str) -> str:
    """`text` as a sentence of its own, with a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")

"""The parts of the manual that are made, in Markdown as MyST reads it. Imports `manual.model`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from tcpdl.manual.model import Command, Option, Settings, find_options, sentence, shared, without
from tcpdl.manual.roff import SHOWN

Details = Callable[[Option], str]

_FENCE = re.compile(r"^```(\w+)\n(.*?)\n?```$", re.M | re.S)
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|$~])")


def page(text: str, blocks: Callable[[str, str], Iterable[str]]) -> str:
    """The page that `text` is the source of."""

    text = re.sub(r"(?<!# )\b(tcpdld?(?:\.toml)?\((\d)\))", _linked, text)

    def made(found: re.Match[str]) -> str:
        return found[0] if found[1] in SHOWN else "\n".join(blocks(found[1], found[2]))

    return _FENCE.sub(made, text)


def _linked(found: re.Match[str]) -> str:
    title = found[1].partition("(")[0]
    return f"[{found[1]}]({title}.{found[2]}.md)"


def synopsis(commands: Iterable[Command]) -> Iterator[str]:
    """How `commands` are called, a line each."""
    for command in commands:
        yield f"    {_usage(command)}"


def _usage(command: Command) -> str:
    words = [command.name, "[option ...]"]
    for argument in command.arguments:
        word = argument.value + (" ..." if argument.many else "")
        words.append(f"[{word}]" if argument.optional else word)
    return " ".join(words)


def commands(commands: Iterable[Command], details: Details) -> Iterator[str]:
    """Each of `commands` with its own options, and then those that they share."""
    common = shared(commands := list(commands))
    taken = {option for one in common for option in one.options}
    for command in commands:
        yield from (f"### {command.name}", "", f"    {_usage(command)}", "")
        for paragraph in command.description:
            yield from (_marked(sentence(paragraph)), "")
        for argument in command.arguments:
            if argument.help:
                yield from (f"`{argument.value}`", f": {_marked(sentence(argument.help))}", "")
        for group in without(command, taken).groups:
            yield from _options(group.options, details)
    for one in common:
        names = ", ".join(name.removeprefix("tcpdl ") for name in one.commands)
        yield from (f"### Options of {names}", "")
        yield from _options(one.options, details)


def options(command: Command, details: Details) -> Iterator[str]:
    """The options of `command`, group by group."""
    for group in command.groups:
        if group.title:
            yield from (f"### {group.title}", "")
        yield from _options(group.options, details)


def settings(groups: Iterable[Settings], details: Details) -> Iterator[str]:
    """What may stand in a file, by subject."""
    for group in groups:
        yield from (f"### {group.title}", "")
        for setting in group.settings:
            option = setting.option
            yield f"`{option.name}` = *{_escape(setting.takes)}*"
            yield from _told(option, details)
            yield from (f"  `${setting.variable}`", "", f"  {_marked(setting.reload)}", "")


def _options(options: Iterable[Option], details: Details) -> Iterator[str]:
    for option in options:
        names = ", ".join(f"`{name}`" for name in option.names)
        yield f"{names} *{_escape(option.value)}*" if option.value else names
        yield from _told(option, details)


def _told(option: Option, details: Details) -> Iterator[str]:
    said = _marked(sentence(option.help))
    if option.default and option.default not in option.help:
        said += f" Default: `{option.default}`."
    yield from (f": {said}", "")
    for line in details(option).splitlines():
        yield f"  {line}" if line else ""
    yield ""


def _marked(text: str) -> str:
    """Plain text, with the names of options as code."""
    pieces = find_options(text)
    return "".join(f"`{piece}`" if is_name else _escape(piece) for piece, is_name in pieces)


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)

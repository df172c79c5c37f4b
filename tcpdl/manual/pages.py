"""The pages of the manual: their texts, and what is put into them of the options' tables.

Imports the modules beside it. In a text, a fenced block stands for what is made: `synopsis` and
`options` with the name of a command, `commands` with that of a program, `settings` with that of the
daemon.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple, Protocol

import tcpdl
from tcpdl.manual import client, daemon, markdown, roff
from tcpdl.manual.model import Command, Option, Settings

_DETAILS = re.compile(r"^## --([a-z-]+)\n+(.*?)\s*(?=^## |\Z)", re.M | re.S)

Details = Callable[[Option], str]


class Page(NamedTuple):
    """A page, by its title and its section: `tcpdl`, 1."""

    title: str
    section: int

    @property
    def file_name(self) -> str:
        """As man(1) looks for it."""
        return f"{self.title}.{self.section}"


PAGES = (Page("tcpdl", 1), Page("tcpdl.toml", 5), Page("tcpdld", 8))


class Language(Protocol):
    """A language that pages are written in: the modules `roff` and `markdown`."""

    def synopsis(self, commands: Iterable[Command]) -> Iterable[str]: ...

    def commands(self, commands: Iterable[Command], details: Details) -> Iterable[str]: ...

    def options(self, command: Command, details: Details) -> Iterable[str]: ...

    def settings(self, groups: Iterable[Settings], details: Details) -> Iterable[str]: ...


def as_roff(page: Page, date: str) -> str:
    """`page` as man(1) reads it, made at `date`, ISO 8601."""
    head = roff.Head(page.title, page.section, date, tcpdl.__version__)
    return roff.page(text_of(page), head, _blocks_in(roff))


def as_markdown(page: Page) -> str:
    """`page` for the documentation."""
    return markdown.page(text_of(page), _blocks_in(markdown))


def text_of(page: Page) -> str:
    """The source of `page`, Markdown."""
    return _read(f"{page.file_name}.md")


@cache
def programs() -> Mapping[str, tuple[Command, ...]]:
    """All commands, by their names and that of the program."""
    found = [*client.commands(), daemon.serve(), daemon.check_config()]
    return {"tcpdl": tuple(found), **{command.name: (command,) for command in found}}


@cache
def details() -> Mapping[str, str]:
    """What is said of options beyond their help, in Markdown, by their long names."""
    return dict(_DETAILS.findall(_read("options.md")))


def _blocks_in(language: Language) -> Callable[[str, str], Iterable[str]]:
    def blocks(kind: str, name: str) -> Iterable[str]:
        if kind == "settings":
            return language.settings(daemon.settings(), _details)
        commands = programs()[name.strip()]
        if kind == "synopsis":
            return language.synopsis(commands)
        if kind == "commands":
            return language.commands([one for one in commands if one.name != SERVE], _no_details)
        if kind == "options":
            return language.options(commands[0], _details)
        raise ValueError(f"there is no block {kind!r}")

    return blocks


def _details(option: Option) -> str:
    return details().get(option.name, "")


def _no_details(option: Option) -> str:
    return ""


SERVE = "tcpdl serve"


def _read(name: str) -> str:
    return resources.files("tcpdl.manual").joinpath("text").joinpath(name).read_text("utf-8")

"""Settings from a file of TOML. Imports `access` and the modules beside it."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from tcpdl.access.files import FileError, read
from tcpdl.options.known import COMMANDS, Kind, Known
from tcpdl.options.roots import TABLE, Where, read_roots
from tcpdl.options.settings import Origin, Problem, Setting
from tcpdl.options.toml_lines import Place, places

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_MOST = 256 * 1024
"""Bytes that a file of settings may have."""

PARTS_MOST = 16
"""Parts that a key may have, with those of the tables and lists that it is in."""

_TOO_DEEP = (
    f"a key has more than {PARTS_MOST} parts or levels; those of settings have three at most"
)

UNKNOWN_MOST = 20
"""Keys that are no options of which each is told by itself."""

_LONG_NUMBER = re.compile(rb"[0-9A-Fa-f_]{1000}")
_AT = re.compile(r" ?\(at (?:line ([0-9]+), column [0-9]+|end of document)\)$")
_REMEDIES = {
    "invalid value": "texts stand in quotes; true and false are written like this",
    "unescaped '\\'": "write the text in single quotes, where a backslash is one",
    "expected '=' after a key": "write NAME = VALUE",
    "illegal character '\\n'": "close the quotes in the same line",
    'expected "\'"': "close the quotes in the same line",
    "invalid statement": "write NAME = VALUE; a comment begins with #",
    "expected newline": "a line has one setting, and a list stands in [brackets]",
}


class Read(NamedTuple):
    """What a file says."""

    settings: list[Setting]
    problems: list[Problem]
    warnings: list[str]


def read_file(path: str, known: Known) -> Read:
    """What the file at `path` says; the path is shown as it is given. It raises nothing."""
    try:
        # Links are how some keep several versions, Kubernetes among them.
        content, status = read(path, follow=True, most=FILE_MOST)
    except FileError as error:
        return Read([], [Problem(Origin(path), str(error).removeprefix(f"{path}: "))], [])
    try:
        found = [*parse(content, path, known)]
    except ValueError:  # Python reads and writes no integers of thousands of digits
        long = _LONG_NUMBER.search(content)
        line = content.count(b"\n", 0, long.start()) + 1 if long else 0
        found = [Problem(Origin(path, line), "a number has thousands of digits; none is so large")]
    settings = [one for one in found if isinstance(one, Setting)]
    problems = [one for one in found if isinstance(one, Problem)]
    return Read(settings, problems, [*_warnings(path, status, settings)])


def parse(content: bytes, path: str, known: Known) -> Iterator[Setting | Problem]:
    """What `content`, of the file at `path`, says, and what is wrong with it."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        yield Problem(Origin(path, line), "it is not UTF-8; save it as that")
        return
    found = []
    for place in places(text):
        if len(place.path) > PARTS_MOST:
            # To read them takes time, and memory, with the square of their number.
            yield Problem(Origin(path, place.line), _TOO_DEEP)
            return
        found.append(place)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        yield _broken(str(error), path, text, found)
        return
    except RecursionError:
        yield Problem(Origin(path, found[-1].line if found else 0), _TOO_DEEP)
        return
    where = Where(path, found)
    unknown = 0
    for key, value in document.items():
        if key == TABLE:
            yield from read_roots(value, where, known)
        elif key in known.kinds:
            yield from _settings(key, value, where, known)
        else:
            unknown += 1
            if unknown <= UNKNOWN_MOST:
                yield Problem(where.origin(key), _unknown(key, value, known))
    if unknown > UNKNOWN_MOST:
        more = unknown - UNKNOWN_MOST
        yield Problem(Origin(path), f"{more} more keys are no options; is it the right file?")


def _broken(error: str, path: str, text: str, found: list[Place]) -> Problem:
    """What is said of a text that is no TOML."""
    seen: dict[Any, int] = {}
    for place in found:
        before = seen.setdefault(place.path, place.line)
        if before != place.line:
            name = ".".join(map(str, place.path))
            return Problem(
                Origin(path, place.line),
                f"{name} is there already, in line {before}; keep one of them",
            )
    at = _AT.search(error)
    line = text.count("\n") + 1
    if at is not None and at[1]:
        line = int(at[1])
    elif found:
        line = found[-1].line  # what is not closed was opened there
    why = _AT.sub("", error)
    why = why[:1].lower() + why[1:]
    remedy = next((says for what, says in _REMEDIES.items() if why.startswith(what)), "")
    return Problem(Origin(path, line), f"not valid TOML: {why}{'; ' if remedy else ''}{remedy}")


def _settings(name: str, value: Any, where: Where, known: Known) -> Iterator[Setting | Problem]:
    kind, origin = known.kinds[name], where.origin(name)
    if kind is Kind.LIST and isinstance(value, list):
        for index, one in enumerate(value):
            place = where.origin(name, index)
            if isinstance(one, str):
                yield from _text(name, one, place)
            else:
                yield Problem(place, f"{name} takes {kind.value}, and this is none: {_shown(one)}")
    elif kind is Kind.FLAG and isinstance(value, bool):
        yield Setting(name, value, origin)
    elif kind is not Kind.FLAG and isinstance(value, str):
        yield from _text(name, value, origin)
    elif kind is Kind.VALUE and isinstance(value, (int, float)) and not isinstance(value, bool):
        yield Setting(name, str(value), origin)
    elif isinstance(value, dict):
        meant = _meant(name, value, known)
        text = f"{name} takes {kind.value}, not a table{'; ' if meant else ''}{meant}"
        yield Problem(origin, text)
    else:
        yield Problem(origin, f"{name} takes {kind.value}, not {_shown(value)}")


def _text(name: str, value: str, origin: Origin) -> Iterator[Setting | Problem]:
    if "\0" in value:
        yield Problem(origin, f"{name} has a NUL character, which nothing has")
    else:
        yield Setting(name, value, origin)


def _unknown(key: str, value: Any, known: Known) -> str:
    if key in COMMANDS:
        return f"{key} stands on the command line only"
    if isinstance(value, dict):
        meant = _meant(key, value, known)
        return f"there is no table [{key}]; {meant or 'options stand at the top, in no table'}"
    return f"{key} is no option{known.like(key) or '; tcpdl serve --help lists them'}"


def _meant(key: str, table: dict[str, Any], known: Known) -> str:
    """What could be meant by a table of that name, as the end of a sentence; may be empty."""
    if key == "mount":
        return f"folders under names stand in [{TABLE}]"
    for sub in table:
        if f"{key}-{sub}" in known.kinds:
            return f"did you mean {key}-{sub}?"
    return ""


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return "a text"
    return (
        "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else "a date"
    )


def _warnings(path: str, status: os.stat_result, settings: list[Setting]) -> Iterator[str]:
    if status.st_mode & stat.S_IWOTH:
        yield f"{path}: anyone can change it, and what the daemon does; chmod o-w ends that"
    secrets = [one for one in settings if is_secret(one)]
    if secrets and status.st_mode & stat.S_IROTH:
        where = secrets[0].origin
        name = secrets[0].name
        yield f"{where}: {name} has a secret, and anyone can read it; chmod o-r ends that"


def is_secret(setting: Setting) -> bool:
    """Whether its value may hold one, such as the password in memory:NAME:PASSWORD."""
    if setting.name != "auth" or isinstance(setting.value, bool):
        return False
    kind, found, _ = setting.value.partition(":")
    return bool(found) and kind not in ("users", "file", "unix")

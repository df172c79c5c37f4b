"""The table `[roots]` of a configuration file: folders that are served under names.

Imports the modules beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tcpdl.options.known import Known
from tcpdl.options.settings import Origin, Problem, Setting
from tcpdl.options.toml_lines import Path, Place

TABLE = "roots"

_TAKES = {"path": str, "hidden": bool, "symlinks": str, "rules": str}
_SAYS = {str: "a text in quotes", bool: "true or false, without quotes"}


class Where:
    """Where the keys of a file are."""

    def __init__(self, file: str, places: Iterable[Place]) -> None:
        self.file = file
        self._lines: dict[Path, int] = {}
        for path, line in places:
            for length in range(1, len(path) + 1):  # a table may have no line but those in it
                self._lines.setdefault(path[:length], line)

    def origin(self, *path: str | int) -> Origin:
        """The line of what is at `path`, or else of what it is in."""
        for length in range(len(path), 0, -1):
            if (line := self._lines.get(path[:length])) is not None:
                return Origin(self.file, line)
        return Origin(self.file)


def read_roots(table: Any, where: Where, known: Known) -> Iterator[Setting | Problem]:
    """The options `mount` and its like that the table stands for."""
    if not isinstance(table, dict):
        text = f'{TABLE} is a table: [{TABLE}], and below it lines such as docs = "/srv/docs"'
        yield Problem(where.origin(TABLE), text)
        return
    for name, content in table.items():
        origin = where.origin(TABLE, name)
        if isinstance(content, str):
            yield Setting("mount", f"{name}={content}", origin)
        elif isinstance(content, dict):
            yield from _root(name, content, where)
        else:
            meant = f"; if the option is meant: it stands above [{TABLE}]"
            yield Problem(
                origin,
                f"{TABLE}.{name} is a folder, which takes a text in quotes, or a table with a path"
                f"{meant if name in known.kinds else ''}",
            )


def _root(name: str, content: dict[str, Any], where: Where) -> Iterator[Setting | Problem]:
    if "path" not in content:
        yield Problem(
            where.origin(TABLE, name), f'{TABLE}.{name} has no path; write path = "/srv/{name}"'
        )
    for key, value in content.items():
        origin = where.origin(TABLE, name, key)
        kind = _TAKES.get(key)
        if kind is None:
            choices = ", ".join(_TAKES)
            yield Problem(origin, f"a folder of [{TABLE}] has no {key!r}; it has {choices}")
        elif not isinstance(value, kind):
            yield Problem(origin, f"{TABLE}.{name}.{key} takes {_SAYS[kind]}")
        elif key == "path":
            yield Setting("mount", f"{name}={value}", origin)
        elif key != "hidden":
            yield Setting(f"mount-{key}", f"{name}={value}", origin)
        elif value:
            yield Setting("mount-hidden", name, origin)

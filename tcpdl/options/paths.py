"""Paths within the values of options, and what they are relative to. Imports Twisted only."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from twisted.python import usage

Find = Callable[[str], tuple[str, str, str]]
"""Parts a value into what stands before a path, the path, and what comes after it; the path is
empty, if there is none."""


def whole(value: str) -> tuple[str, str, str]:
    """The value is the path."""
    return "", value, ""


def after(mark: str, *kinds: str) -> Find:
    """The path comes after the first `mark`; where there are `kinds`, if one of them is before."""

    def find(value: str) -> tuple[str, str, str]:
        before, found, path = value.partition(mark)
        if found and (not kinds or before in kinds):
            return before + found, path, ""
        return value, "", ""

    return find


def of_endpoint(value: str) -> tuple[str, str, str]:
    """The path of `unix:PATH` and `unix:PATH:mode=...`; other endpoints have none."""
    kind, _, rest = value.partition(":")
    if kind != "unix":
        return value, "", ""
    path, colon, more = rest.partition(":")
    head = "unix:"
    if path.startswith("address="):
        head, path = "unix:address=", path[len("address=") :]
    return head, path, colon + more


def finders(data: Any) -> dict[str, Find]:
    """The options whose whole value is a path, as `usage.Completions` say."""
    files = (usage.CompleteFiles, usage.CompleteDirs)
    return {name: whole for name, action in data.optActions.items() if isinstance(action, files)}


def rebase(value: str, find: Find | None, folder: str) -> str:
    """`value` with its path, if it has one that is relative, below `folder`."""
    if find is None:
        return value
    before, path, behind = find(value)
    if not path or not folder or os.path.isabs(path):
        return value
    joined = os.path.join(folder, path)
    # What .. leads to depends on links.
    return before + (joined if ".." in path.split("/") else os.path.normpath(joined)) + behind


def rebased(name: str, value: str | bool, where: Mapping[str, Find], folder: str) -> str | bool:
    """The same for whatever a setting has."""
    return value if isinstance(value, bool) else rebase(value, where.get(name), folder)

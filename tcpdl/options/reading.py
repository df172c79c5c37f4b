"""Reads what options are given. Imports Twisted, `content` and `wire`."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from twisted.logger import Logger
from twisted.python import usage

from tcpdl.content.directory import Symlinks
from tcpdl.wire.text import visible

_log = Logger()


def warn(problem: str) -> None:
    """Tell the log of what is wrong with a file that is read again."""
    _log.warn("{problem}", problem=visible(problem))


def number(option: str, what: str, most: int, least: int = 0) -> Callable[[str], int]:
    """What reads a whole number from `least` to `most` given to `option`; `what` says what it is a
    number of. It raises `usage.UsageError`."""

    def coerce(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise usage.UsageError(f"{option}: {text!r} is not {what} from {least} to {most}")
        return int(text)

    return coerce


def folder(option: str, path: str) -> None:
    """Raise `usage.UsageError` unless the `path` given to `option` is a folder that can be read."""
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        literal = "; ~ and $ stand for nothing here" if "/~" in f"/{path}" or "$" in path else ""
        raise usage.UsageError(f"{option}: {path!r} does not exist{literal}") from None
    except PermissionError:  # above it, already
        raise usage.UsageError(f"{option}: this user may not read {path!r}") from None
    except (OSError, ValueError) as error:  # links in circles, a disk that fails, no name at all
        why = error.strerror if isinstance(error, OSError) else error
        raise usage.UsageError(f"{option}: {path!r} cannot be looked at: {why}") from None
    if not is_folder:
        raise usage.UsageError(f"{option}: {path!r} is not a folder")
    if not os.access(path, os.R_OK | os.X_OK):
        raise usage.UsageError(f"{option}: this user may not read {path!r}")


def symlinks(option: str, choice: str) -> Symlinks:
    """What was chosen with `option`. Raises `usage.UsageError`."""
    try:
        return Symlinks(choice)
    except ValueError:
        raise usage.UsageError(f"{option}: choose 'inside' or 'never'") from None

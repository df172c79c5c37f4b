"""Options that say what is logged, where and how. Imports Twisted, and `tcpdl.logs`."""

from __future__ import annotations

import os
import stat
from typing import Any

from twisted.python import usage

from tcpdl import logs
from tcpdl.logs.destination import Destination
from tcpdl.logs.file import STDOUT
from tcpdl.logs.lines import FORMATS
from tcpdl.logs.observers import FORMS, LEVELS

NONE = "none"


def file_of(value: str) -> tuple[str, str, str]:
    """The path in the value of --access-log, for `options.paths`."""
    return ("", "", value) if value in (STDOUT, NONE) else ("", value, "")


class LogOptions(usage.Options):
    """What is logged, where and how."""

    optParameters: list[list[Any]] = [
        [
            "access-log",
            None,
            None,
            "File for a line for each answer; '-' is standard output, 'none' writes no lines. If "
            "left out, they come to the daemon's log.",
        ],
        [
            "access-log-format",
            None,
            None,
            "Those lines: 'text' or 'json'; as --log-format if left out.",
        ],
        [
            "log-format",
            None,
            None,
            "The daemon's log: 'text', 'json' or 'journald'. Text if left out, or journald if that "
            "is where it goes.",
        ],
        ["log-level", None, None, f"Least that comes to the log: {', '.join(LEVELS)}; 'info'."],
    ]

    def check_logs(self) -> None:
        """Raises `usage.UsageError`."""
        self._choose("access-log-format", FORMATS)
        self._choose("log-format", FORMS)
        self._choose("log-level", LEVELS)
        if self["access-log"] == "":
            raise usage.UsageError("--access-log: give a file, '-' or 'none'")
        if self.parent is None:
            return
        for name in ("log-format", "log-level"):
            if self[name] is not None:
                raise usage.UsageError(
                    f"--{name}: this program writes the log itself; give it an option of its own, "
                    "such as twistd --logger tcpdl.logs.json, or run tcpdl serve"
                )

    def _choose(self, name: str, known: Any) -> None:
        if self[name] is not None and self[name] not in known:
            choices = ", ".join(f"'{one}'" for one in known)
            raise usage.UsageError(f"--{name}: choose one of {choices}")

    @property
    def _above(self) -> dict[str, Any]:
        """The options of the program that this one is below."""
        return self.parent or {}

    def access_log_form(self) -> str:
        """The name of the format of the lines for answers."""
        as_json = self["log-format"] == "json" or self._above.get("logger") is logs.json
        form: str | None = self["access-log-format"]
        return form or ("json" if as_json else "text")

    def access_log_file(self) -> str | None:
        """The path of the file that lines for answers are added to, or `-`, if there is one."""
        path: str | None = self["access-log"]
        if path is None or path == NONE:
            return None
        return path if path == STDOUT else os.path.abspath(path)

    def access_log(self) -> Destination:
        """Where the lines for answers go."""
        wanted = self["access-log"] != NONE
        return Destination(self.access_log_form(), self.access_log_file(), wanted)

    def later_owner(self) -> tuple[int, int] | None:
        """The user and the group that twistd is going to become, with -1 for those that stay; if
        there are any."""
        uid, gid = self._above.get("uid"), self._above.get("gid")
        if uid is None and gid is None:
            return None
        return (-1 if uid is None else uid, -1 if gid is None else gid)

    def access_log_folders(self) -> list[str]:
        """The folder, if there is one, that a file for them is made in again when it was put
        away."""
        path = self.access_log_file()
        if path is None or path == STDOUT:
            return []
        try:
            put_away = stat.S_ISREG(os.stat(path).st_mode)
        except OSError:
            put_away = True
        return [os.path.dirname(path)] if put_away else []

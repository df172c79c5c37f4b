"""Options that say who may read what. Imports Twisted, `access`, `server` and `content`."""

from __future__ import annotations

import os
from typing import Any

from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import (
    AuthOptionMixin,
    InvalidAuthType,
    UnsupportedInterfaces,
    makeChecker,
)
from twisted.python import usage

from tcpdl.access import keys, rules
from tcpdl.access.files import FileError, Kept
from tcpdl.access.roots import KeptRootRules
from tcpdl.access.rules import READ_BY_ANYONE, READ_IF_LOGGED_IN
from tcpdl.content.directory import Directory
from tcpdl.content.mounts import Mounts
from tcpdl.options.mounts import MountOptions
from tcpdl.options.reading import warn
from tcpdl.server.admission import Admission
from tcpdl.server.credentials import IBearerToken
from tcpdl.server.logins import Logins
from tcpdl.server.working import Workers


class AccessOptions(AuthOptionMixin, MountOptions):
    """Who may read what."""

    supportedInterfaces = (IUsernamePassword, IBearerToken)

    optParameters: list[list[Any]] = [
        [
            "rules",
            None,
            None,
            "File of rules that say who may read what; if left out, anyone may read all, or, with "
            "--auth, whoever has logged in.",
        ],
        [
            "link-key",
            None,
            None,
            "File of the key that tcpdl link signs links with, which are valid for a while.",
        ],
    ]
    optFlags = [
        [
            "insecure-logins",
            None,
            "Take passwords over any connection, as when something in front of it does TLS.",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self._auth_files: list[str] = []

    def opt_auth(self, description: str) -> None:
        """Who may log in: TYPE, or TYPE:ARGUMENTS as in users:/etc/tcpdl/users; may be given
        several times. --help-auth lists the types."""
        kind, _, argument = description.partition(":")
        # Twisted's own file of passwords, ours, and whatever else names one.
        self._auth_files.append("/etc/shadow" if kind == "unix" else argument)
        try:
            self.addChecker(makeChecker(description))
        except InvalidAuthType:
            raise usage.UsageError(
                f"--auth: there is no type {kind!r}; --help-auth lists those that there are"
            ) from None
        except UnsupportedInterfaces:
            raise usage.UsageError(
                f"--auth: the type {kind!r} takes neither passwords nor tokens"
            ) from None
        except Exception as error:  # noqa: BLE001 - checkers raise what they like
            raise usage.UsageError(f"--auth {kind}: {error}") from None

    def check_access(self) -> None:
        """Raises `usage.UsageError`."""
        told = self["rules"] or self["mount-rules"] or self._someone_logs_in()
        if self["link-key"] is not None and not told:
            raise usage.UsageError(
                "--link-key needs --rules or --auth: without these, anyone may read all"
            )
        if self["insecure-logins"] and "credCheckers" not in self:
            raise usage.UsageError("--insecure-logins needs --auth: nobody could log in")
        for option, parse, secret in (
            ("rules", rules.parse, False),
            ("link-key", keys.parse, True),
        ):
            if self[option] is not None:
                try:
                    self[option] = Kept(self[option], parse, warn=warn, secret=secret)
                except FileError as error:
                    raise usage.UsageError(f"--{option}: {error}") from None

    def access_files(self) -> list[str]:
        """The files that are read again while the daemon runs."""
        kept = [self[name].path for name in ("rules", "link-key") if self[name] is not None]
        kept += [of_mount.path for of_mount in self.mount_rules.values()]
        return [*kept, *(path for path in self._auth_files if os.path.isfile(path))]

    def _someone_logs_in(self) -> bool:
        return "credCheckers" in self or self.get("tls-client-ca") is not None

    def admission(
        self, directory: Directory | Mounts, workers: Workers, reactor: Any
    ) -> Admission | None:
        """Who may read what in `directory`; nothing, if anyone may read all."""
        rules, of_mounts = self["rules"], self.mount_rules
        if rules is None and not of_mounts and not self._someone_logs_in():
            return None
        if of_mounts:
            others = READ_IF_LOGGED_IN if self._someone_logs_in() else READ_BY_ANYONE
            rules = KeptRootRules(rules, others, of_mounts)
        checkers = self.get("credCheckers")
        return Admission(
            directory,
            rules=rules,
            keys=self["link-key"],
            logins=None if checkers is None else Logins(checkers, workers, reactor),
            certificates=self.get("tls-client-ca") is not None,
            insecure=bool(self["insecure-logins"]),
        )

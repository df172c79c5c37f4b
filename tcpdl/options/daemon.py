"""The daemon's command line, put together of the modules beside it. Imports Twisted."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from twisted.python import usage

import tcpdl
from tcpdl.options.access import AccessOptions
from tcpdl.options.admin import AdminOptions
from tcpdl.options.configured import ConfiguredOptions
from tcpdl.options.front import FrontOptions
from tcpdl.options.limits import LimitOptions
from tcpdl.options.logs import LogOptions, file_of
from tcpdl.options.paths import after, of_endpoint
from tcpdl.options.processes import ProcessOptions
from tcpdl.options.rates import RateOptions
from tcpdl.options.sandbox import SandboxOptions
from tcpdl.options.serving import ServingOptions
from tcpdl.options.settings import Misconfigured
from tcpdl.options.tls import TlsOptions
from tcpdl.options.told import help_of
from tcpdl.wire.text import visible

_MOUNTS = ("mount", "mount-hidden", "mount-symlinks", "mount-rules")


class Options(
    ConfiguredOptions,
    ServingOptions,
    RateOptions,
    TlsOptions,
    AccessOptions,
    FrontOptions,
    LimitOptions,
    ProcessOptions,
    AdminOptions,
    LogOptions,
    SandboxOptions,
):
    """The daemon's command line, and what may take its place."""

    synopsis = "[options]"
    longdesc = (
        "Hands out the files below a folder over TCP: to browsers and other web clients, to tcpdl, "
        "and to any program that sends a file's name and reads the answer."
    )

    compData = usage.Completions(
        # What a value is called, in the manual too.
        descriptions={
            "interface": "ADDR",
            "listen": "ENDPOINT",
            "mount": "NAME=DIR",
            "mount-hidden": "NAME",
            "mount-symlinks": "NAME=inside|never",
            "mount-rules": "NAME=FILE",
            "echo-reply": "TEXT",
            "echo-encoding": "NAME",
            "name-encodings": "LIST",
            "quiet-period": "MS",
            "http-host": "NAME",
            "proxy-from": "NET",
            "auth": "TYPE:ARGUMENTS",
            "admin": "ADDRESS",
            "max-rate": "RATE",
            "max-rate-per-address": "RATE",
            "max-rate-per-connection": "RATE",
            "workers": "N|auto",
            "drain": "SECONDS",
            "access-log": "FILE|-|none",
        },
        optActions={
            "config": usage.CompleteFiles(descr="file"),
            "root": usage.CompleteDirs(descr="folder"),
            "state-dir": usage.CompleteDirs(descr="folder"),
            "rules": usage.CompleteFiles(descr="file"),
            "link-key": usage.CompleteFiles(descr="file"),
            "interface": usage.CompleteNetInterfaces(descr="ADDR"),
            "tls": usage.CompleteList(["self-signed"]),
            "tls-cert": usage.CompleteFiles(descr="certificate"),
            "tls-key": usage.CompleteFiles(descr="key"),
            "tls-client-ca": usage.CompleteFiles(descr="certificates"),
            "symlinks": usage.CompleteList(["inside", "never"]),
            "listen": usage.CompleteList(["tcp:", "tcp6:", "unix:", "tls:", "ssl:", "systemd:"]),
            "admin": usage.CompleteList(["unix:", "tcp:"]),
            "access-log-format": usage.CompleteList(["text", "json"]),
            "log-format": usage.CompleteList(["text", "json", "journald"]),
            "log-level": usage.CompleteList(["debug", "info", "warn", "error", "critical"]),
            "auth": usage.CompleteList(["users:", "file:", "memory:", "unix"]),
        },
        multiUse=["listen", "auth", "http-host", "proxy-from", *_MOUNTS],
    )

    paths = {
        "listen": of_endpoint,
        "auth": after(":", "users", "file"),
        "mount": after("="),
        "mount-rules": after("="),
        "admin": of_endpoint,
        "access-log": file_of,
    }

    def getUsage(self, width: int | None = None) -> str:
        """The options by subject, in lines of `width` columns, or as many as the terminal has."""
        width = width or shutil.get_terminal_size().columns
        return f"\n{textwrap.fill(self.longdesc, width)}\n{help_of(self, width)}"

    def opt_version(self) -> NoReturn:
        """Print the version of tcpdl and exit."""
        print(f"tcpdl {tcpdl.__version__}")
        sys.exit(0)

    def parseOptions(self, options: Any = None) -> None:
        """Parse `options`. Raises `usage.UsageError`; below twistd or twist, which would print
        the whole help for it, says what is wrong in one line and exits with 2."""
        try:
            self.read(sys.argv[1:] if options is None else options)
        except usage.UsageError as error:
            if self.parent is None:
                raise
            leave(advised(error, "--help"), 2)

    def checks(self) -> Iterable[Callable[[], None]]:
        yield self.check_serving
        yield self.check_tls
        yield self.check_access
        yield self.check_logs


def advised(error: usage.UsageError, help_: str) -> str:
    """What is wrong, and where to look if that is the command line."""
    if isinstance(error, Misconfigured) and not error.on_command_line:
        return str(error)
    return f"{error} (see {help_})"


def leave(message: str, status: int) -> NoReturn:
    """End the program, which says why in one line."""
    sys.stderr.write(f"tcpdl: {visible(message)}\n")
    raise SystemExit(status)

"""The daemon's command line, put together of the modules beside it. Imports Twisted."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from twisted.python import usage

import tcpdl
from tcpdl.options.access import AccessOptions
from tcpdl.options.limits import LimitOptions
from tcpdl.options.processes import ProcessOptions
from tcpdl.options.rates import RateOptions
from tcpdl.options.sandbox import SandboxOptions
from tcpdl.options.serving import ServingOptions
from tcpdl.options.tls import TlsOptions
from tcpdl.wire.text import visible

_MOUNTS = ("mount", "mount-hidden", "mount-symlinks", "mount-rules")


class Options(
    ServingOptions,
    RateOptions,
    TlsOptions,
    AccessOptions,
    LimitOptions,
    ProcessOptions,
    SandboxOptions,
):
    """The daemon's command line."""

    synopsis = "[options]"
    longdesc = (
        "Hands out the files below a folder to any program that opens a TCP connection, sends "
        "a file's name and reads the answer."
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
            "auth": "TYPE:ARGUMENTS",
            "max-rate": "RATE",
            "max-rate-per-address": "RATE",
            "max-rate-per-connection": "RATE",
        },
        optActions={
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
            "auth": usage.CompleteList(["users:", "file:", "memory:", "unix"]),
        },
        multiUse=["listen", "auth", "http-host", *_MOUNTS],
    )

    words: list[str]
    """The whole configuration as words of a command line, once it has been parsed: what another
    `Options` makes the same of, whatever its environment is. They may hold secrets."""

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
            leave(f"{error} (see --help)", 2)

    def read(self, arguments: Any) -> None:
        """Parse `arguments`. Raises `usage.UsageError`, below twistd too."""
        self.words = list(arguments)
        super().parseOptions(self.words)

    def again(self, environ: Mapping[str, str]) -> Options:
        """What the same command line means now, with `environ` for the environment.

        Raises `usage.UsageError`.
        """
        made = Options()
        made.parent = self.parent
        made.read(self.words)
        return made

    def postOptions(self) -> None:
        self.check_serving()
        self.check_tls()
        self.check_access()


def leave(message: str, status: int) -> NoReturn:
    """End the program, which says why in one line."""
    sys.stderr.write(f"tcpdl: {visible(message)}\n")
    raise SystemExit(status)

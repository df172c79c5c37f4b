"""Options that say what the daemon gives up once it runs. Imports Twisted and `tcpdl.sandbox`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from twisted.python import usage

import twisted.plugins
from tcpdl.sandbox import Needs, python_places


class SandboxOptions(usage.Options):
    """What the daemon gives up once it runs."""

    optFlags: list[list[Any]] = [
        [
            "no-sandbox",
            None,
            "Keep all rights that this user has. Without this, the daemon gives up what it does "
            "not need (Landlock).",
        ],
    ]

    def needs(
        self,
        roots: Sequence[int],
        files: Iterable[str],
        sockets: Iterable[str],
        logs: Iterable[str] = (),
    ) -> Needs:
        """What a daemon with these options needs while it runs, which serves the folders `roots`,
        descriptors, reads `files` again, removes `sockets` when it ends, and makes files for the
        access log in the folders `logs`.

        To be asked before twistd goes elsewhere, since paths may be relative.
        """
        write: dict[str, str] = {}
        remove: dict[str, str] = {}
        if self["state-dir"] is not None:
            _add(write, os.path.abspath(self["state-dir"]), "--state-dir")
        for folder in logs:
            _add(write, folder, "--access-log")
        for path in sockets:
            _add(remove, _folder(path), "--listen")
        # That of workers is their parent's.
        admin = self.get("admin") if self.get("workers") is None else None
        if admin is not None and admin.path is not None:
            _add(remove, _folder(admin.path), "--admin")
        for option, path in _files_of_twistd(self.parent or {}):
            _add(remove if option == "--pidfile" else write, _folder(path), option)
        # Files are replaced as a whole, so it is their folders that count; and of links, also that
        # of what they lead to.
        read = {_folder(one) for path in files for one in (path, os.path.realpath(path))}
        # Where types of --auth are looked for, should the configuration come to name one.
        read |= {*twisted.plugins.__path__}
        return Needs(roots, [*python_places(), *read], write, remove)


def _add(folders: dict[str, str], folder: str, option: str) -> None:
    folders[folder] = ", ".join([*filter(None, [folders.get(folder)]), option])


def _files_of_twistd(options: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The files that twistd has, or will have, and the options that name them."""
    if "nodaemon" not in options:
        return  # it is not twistd
    if options["pidfile"]:
        yield "--pidfile", options["pidfile"]
    if options["profile"]:
        yield "--profile", options["profile"]
    # As twistd finds out where it logs to.
    log = options["logfile"] or ("-" if options["nodaemon"] else "twistd.log")
    if log != "-" and not options.get("syslog") and not options.get("logger"):
        yield "--logfile", log


def _folder(path: str) -> str:
    return os.path.dirname(os.path.abspath(path))

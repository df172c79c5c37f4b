"""Options that mount several folders under names. Imports Twisted, `access` and `content`."""

from __future__ import annotations

import os
from typing import Any

from twisted.python import usage

from tcpdl.access import rules
from tcpdl.access.files import FileError, Kept
from tcpdl.access.rules import Rules
from tcpdl.content.directory import Directory, Symlinks
from tcpdl.content.mounts import Mount, Mounts, mount_name
from tcpdl.options.reading import folder, symlinks, warn
from tcpdl.wire.names import NameRefused


class MountOptions(usage.Options):
    """Several folders, each under a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self["mount"] = {}
        self["mount-hidden"] = set()
        self["mount-symlinks"] = {}
        self["mount-rules"] = {}
        self.mount_rules: dict[bytes, Kept[Rules]] = {}
        """What the files of --mount-rules say."""

    def opt_mount(self, mount: str) -> None:
        """Hand out a folder's files under a name, in place of --root; may be given several
        times."""
        name, path = _parted("--mount", mount, "DIR")
        try:
            mount_name(os.fsencode(name))
        except NameRefused as refusal:
            raise usage.UsageError(f"--mount: {name!r} cannot be a name: {refusal}") from None
        _set(self["mount"], "--mount", name, path)

    def opt_mount_hidden(self, name: str) -> None:
        """Hand out files of --mount NAME whose name, or whose folder's, begins with a dot; may be
        repeated. --hidden does so for all."""
        self["mount-hidden"].add(name)

    def opt_mount_symlinks(self, choice: str) -> None:
        """What --symlinks is, for --mount NAME; may be repeated."""
        name, what = _parted("--mount-symlinks", choice, "inside or NAME=never")
        _set(self["mount-symlinks"], "--mount-symlinks", name, symlinks("--mount-symlinks", what))

    def opt_mount_rules(self, mount: str) -> None:
        """Rules that say who may read what of --mount NAME, by patterns that begin there, in place
        of --rules; may be repeated."""
        name, path = _parted("--mount-rules", mount, "FILE")
        _set(self["mount-rules"], "--mount-rules", name, path)

    def check_mounts(self) -> None:
        """Raises `usage.UsageError`."""
        if self["mount"] and self["root"] is not None:
            raise usage.UsageError(
                "--mount and a root exclude each other: give the root a name too, as in "
                f"--mount files={self['root']}"
            )
        for name, path in self["mount"].items():
            folder(f"--mount {name}", path)
        for option in ("mount-hidden", "mount-symlinks", "mount-rules"):
            for name in self[option]:
                if name not in self["mount"]:
                    raise usage.UsageError(
                        f"--{option}: nothing is mounted as {name!r}; give --mount {name}=DIR"
                    )
        for name, path in self["mount-rules"].items():
            try:
                self.mount_rules[os.fsencode(name)] = Kept(path, rules.parse, warn=warn)
            except FileError as error:
                raise usage.UsageError(f"--mount-rules {name}: {error}") from None

    def open_content(self) -> Directory | Mounts:
        """What is handed out. Raises `OSError`."""
        if not self["mount"]:
            return Directory(self["root"], hidden=self.hidden_of(""), symlinks=self.symlinks_of(""))
        return Mounts(
            Mount(os.fsencode(name), path, self.hidden_of(name), self.symlinks_of(name))
            for name, path in self["mount"].items()
        )

    def hidden_of(self, name: str) -> bool:
        """Whether hidden files are handed out, of the folder of that name; the root has none."""
        return bool(self["hidden"]) or name in self["mount-hidden"]

    def symlinks_of(self, name: str) -> Symlinks:
        """What is done with symbolic links, in the folder of that name; the root has none."""
        chosen: Symlinks = self["mount-symlinks"].get(name, self["symlinks"])
        return chosen

    def folders(self) -> dict[str, str]:
        """The folders that are handed out, by their names; the root has none."""
        return self["mount"] or {"": self["root"]}

    def served(self) -> str:
        """What is handed out, fit for the log."""
        return ", ".join(
            f"{path!r} as {name!r}" if name else repr(path) for name, path in self.folders().items()
        )


def _parted(option: str, text: str, what: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    if not (name and equals and rest):
        raise usage.UsageError(f"{option}: {text!r} is not NAME={what}")
    return name, rest


def _set(chosen: dict[str, Any], option: str, name: str, value: Any) -> None:
    if name in chosen:
        raise usage.UsageError(f"{option}: {name!r} is given twice; choose one")
    chosen[name] = value

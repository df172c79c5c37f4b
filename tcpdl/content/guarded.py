"""Content as one visitor may see it. Imports `tcpdl.access`, `tcpdl.wire` and what is beside it.

The dialects are given a `Guarded`, for each request where who asks may change with it, and ask it
as any other source: so none of them, and none of what they do, can forget who may read what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tcpdl.access.roots import RootPermissions
from tcpdl.access.rules import Level, Permissions
from tcpdl.content.directory import Directory
from tcpdl.content.errors import NotServed
from tcpdl.content.mounts import Mounts
from tcpdl.content.source import File, Identity, Rights, Segments
from tcpdl.wire.names import Name
from tcpdl.wire.pack import Entry


class VisitorRights(NamedTuple):
    """What a visitor may do: what the rules say, and a link besides."""

    permissions: Permissions | RootPermissions
    refuse: Callable[[], NotServed]
    """Makes what is raised when something is asked for that may not be had."""
    link: Segments | None = None
    """A place that may be read, with all below it, whatever the rules say."""

    def level(self, segments: Segments) -> Level:
        """What may be done with what is there."""
        link = self.link
        if link is not None and segments[: len(link)] == link:
            return Level.READ
        return self.permissions.level(segments)

    def within(self, folder: Segments) -> Callable[[bytes], Level]:
        """The same for all that is directly in a folder, by name."""
        if self.link is None:
            return self.permissions.within(folder)
        return lambda name: self.level((*folder, name))

    def refusal(self) -> NotServed:
        """What to raise when something is asked for that may not be had."""
        return self.refuse()


class Guarded:
    """A folder, or several, as one visitor may see them. It is a `content.source.Source`."""

    def __init__(self, source: Directory | Mounts, rights: Rights) -> None:
        self._source = source
        self._rights = rights

    @property
    def hidden(self) -> bool:
        return self._source.hidden

    def open_file(self, name: Name) -> File:
        return self._source.open_file(name, rights=self._rights)

    def identify(self, name: Name) -> Identity:
        return self._source.identify(name, rights=self._rights)

    def stat(self, name: Name) -> Entry:
        return self._source.stat(name, rights=self._rights)

    def list(self, name: Name) -> Iterator[Entry]:
        return self._source.list(name, rights=self._rights)

    def walk(
        self,
        name: Name,
        *,
        recursive: bool,
        content_most: int,
        wanted: Callable[[], bool] | None = None,
    ) -> Iterator[Entry]:
        return self._source.walk(
            name,
            recursive=recursive,
            content_most=content_most,
            wanted=wanted,
            rights=self._rights,
        )

    def pick(self, name: Name, names: Sequence[bytes], *, content_most: int) -> Iterator[Entry]:
        return self._source.pick(name, names, content_most=content_most, rights=self._rights)

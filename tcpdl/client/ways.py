"""How to fetch: what all dialects and commands are told. Imports the modules beside it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from tcpdl.client.access import Access
from tcpdl.client.expected import Expected
from tcpdl.client.fetched import Begun, Note, begin_nothing, say_nothing, show_nothing
from tcpdl.client.patience import Sleep
from tcpdl.client.receiving import Progress
from tcpdl.client.url import Location

NOBODY = Access()
"""The system's authorities, and no login."""


class Ways(NamedTuple):
    """How to fetch."""

    dialect: str = "auto"
    """`native`, `http`, `raw`, or `auto`: HTTP for a URL of it; else native, and if the server does
    not understand that, HTTP or raw, by what it answers."""
    timeout: float = 30.0
    """Longest wait for a connection, and for more bytes on it, in seconds."""
    connections: int = 8
    """The most to be used at once."""
    sources: Sequence[Location] = ()
    """Further servers of the same file."""
    sync: bool = False
    """Have the bytes on the disk before the file gets its name, and its name after."""
    expected: Sequence[Expected] = ()
    """What the digests of the whole file have to be."""
    most: int | None = None
    """The most bytes that a file may have."""
    access: Access = NOBODY
    """Which servers are trusted, and what to log in with."""
    progress: Progress = show_nothing
    """Is told of bytes received, as they are."""
    begun: Begun = begin_nothing
    """Is told of the size of the file, and how much of it is there already."""
    note: Note = say_nothing
    """Is told what a person may want to know: that a file changed, that bytes were damaged."""
    sleep: Sleep = time.sleep
    """Waits for so many seconds."""

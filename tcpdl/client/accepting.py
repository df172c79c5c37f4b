"""Which names a server may have us write. Pure; imports `wire.names`, and suffixes of ours.

A listing comes folder by folder: a folder's own entry first, later all that is in it at once. What
comes out of that order is refused, so nothing is ever written through what is not a folder of the
listing. What is refused is refused alone; the rest of the tree goes on.
"""

from __future__ import annotations

from tcpdl.client.target import RECORD_SUFFIX, SUFFIX
from tcpdl.wire.names import NameRefused, check_segment, follow_link, parse_name

_OURS = (SUFFIX.decode("ascii"), RECORD_SUFFIX.decode("ascii"))


class Names:
    """The names of one listing, in the order in which they come."""

    def __init__(self) -> None:
        self.due: dict[bytes, bool] = {b"": True}
        """Folders that were announced, and whose contents have not come; and whether these are
        wanted. Each is called as names in it begin: with a slash behind it, the top with nothing.
        """
        self._seen: dict[str, bytes] = {}

    def enter(self, prefix: bytes) -> bool:
        """What comes next begins with `prefix`; return whether it is wanted.

        Raises `NameRefused`.
        """
        wanted = self.due.pop(prefix, None)
        if wanted is None:
            name = parse_name(prefix, hidden=True)
            if b"/".join((*name.segments, b"")) != prefix:
                raise NameRefused("the name holds empty segments or '.'")
            raise NameRefused("it comes out of place: its folder was not announced, or is through")
        self._seen = {}
        return wanted

    def check(self, segment: bytes) -> str:
        """`segment` as text, if it may be a name in the folder that was entered last.

        Raises `NameRefused`.
        """
        check_segment(segment, hidden=True)
        text = segment.decode("utf-8", "surrogateescape")
        if not text.isprintable():
            raise NameRefused("its name holds what a terminal would not show as itself")
        folded = _folded(text)
        if folded.endswith(_OURS):
            raise NameRefused("its name is what the part of a download is called")
        if folded in self._seen:
            raise NameRefused("another name in its folder is the same, or differs only in case")
        self._seen[folded] = segment
        return text

    def like(self, text: str) -> bytes | None:
        """The name in the folder entered last that may be the same as `text` on some systems."""
        return self._seen.get(_folded(text))


def _folded(text: str) -> str:
    """What is the same for names that a Mac, or Windows, takes for one."""
    if text.isascii():
        return text.lower()
    # The tables take a while to load, and most trees need none.
    from unicodedata import normalize

    return normalize("NFC", normalize("NFC", text).casefold())


def check_link(folder: bytes, text: bytes) -> None:
    """Raise `NameRefused` unless a link in `folder` with this text leads to a place in the tree.

    `..` may stand at the beginning only: after a name, which may be a link itself, it could lead
    anywhere.
    """
    if not text or text.startswith(b"/"):
        raise NameRefused("it is a symbolic link that does not lead from its own place")
    if not text.decode("utf-8", "surrogateescape").isprintable():
        raise NameRefused("it is a symbolic link to what a terminal would not show as itself")
    parts = [part for part in text.split(b"/") if part not in (b"", b".")]
    while parts and parts[0] == b"..":
        del parts[0]
    if b".." in parts:
        raise NameRefused("it is a symbolic link that climbs after it went down")
    try:
        follow_link(tuple(folder.split(b"/")) if folder else (), text, b"", hidden=True)
    except NameRefused:
        raise NameRefused("it is a symbolic link that leads out of the tree") from None

"""A file on a web server, and how it may be asked for. Imports the modules beside it.

One `Origin` is shared by all connections of a download, and by its attempts: that a server answers
ranges wrongly is remembered, and it is then asked for the whole file, of which what is here already
is passed over.
"""

from __future__ import annotations

from tcpdl.client.errors import Changed, Garbled, Silent
from tcpdl.client.http.asking import Asked, Fields, ask, range_fields
from tcpdl.client.http.connection import Connection, nonsense
from tcpdl.client.http.representation import (
    Answer,
    BadRange,
    Representation,
    read_answer,
)
from tcpdl.client.http.response import Head, Nonsense
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways


class Origin:
    """The file at a location."""

    def __init__(self, location: Location, ways: Ways) -> None:
        self.location = location
        self.place = location
        """Where it is in truth: elsewhere, if the server redirects."""
        self.representation: Representation
        """The version that is being fetched."""
        self.takes_ranges = True
        """Not known to answer them wrongly, or with the whole file."""
        self.may_be_begun = True
        """Not known to differ from what has its final name here."""
        self.is_unsized = False
        """It was said that nobody can tell whether all of it came."""
        self._wants_digest = True
        self._ways = ways

    @property
    def has_ranges(self) -> bool:
        """Whether a part of this version may be asked for."""
        return self.takes_ranges and self.representation.ranges

    def fields(self, start: int, end: int) -> Fields:
        """What to ask with for a part of this version, if it has any; or for all of it."""
        return range_fields(start, end, self.representation.validator) if self.has_ranges else []

    def ask_first(self, wanted: tuple[int, int] | None) -> tuple[Asked, Answer]:
        """Ask what the file is, and for the range that is `wanted`, or for all; all of it may come
        in either case.

        Raises what `asking.ask` raises.
        """
        while True:
            wanted = wanted if self.takes_ranges else None
            asked = self._ask_first(range_fields(*wanted) if wanted else [])
            self.place = asked.location
            try:
                answer = self._read_first(asked.head, wanted)
            except BaseException:
                asked.connection.close()
                raise
            if answer is not None:
                self.representation = answer.representation
                return asked, answer
            asked.connection.close()
            # Of an empty file, there is no range; nor one beyond the end of one that was longer.
            if asked.head.status == 416 and wanted and wanted[0]:
                wanted = 0, wanted[1] - wanted[0]
            else:
                self.takes_ranges = False

    def ask_again(self, start: int, end: int) -> tuple[Asked, Answer]:
        """Ask for a part of this version, or for all of it, wherever it is now.

        Raises what `asking.ask` and `read` raise.
        """
        ranged = self.has_ranges
        asked = ask(self.location, self.fields(start, end), self._ways)
        self.place = asked.location
        try:
            return asked, self.read(asked.head, (start, end) if ranged else None)
        except BaseException:
            asked.connection.close()
            raise

    def read(self, head: Head, asked: tuple[int, int] | None, *, beside: bool = False) -> Answer:
        """What the answer with `head` brings of this version; `asked` is the range that was.

        If it came `beside` others that are right, nothing is concluded from one that is wrong:
        another server may stand behind the same name.

        Raises `Changed` if it is of another version, `Garbled` if it makes no sense.
        """
        shown = self.location.label
        if head.status == 416:
            raise Changed(f"'{shown}' changed on the server")
        try:
            answer = self._read_answer(head, asked)
        except BadRange as problem:
            self.takes_ranges = self.takes_ranges and beside
            raise nonsense(problem) from None
        except Nonsense as problem:
            raise nonsense(problem) from None
        partial = head.status == 206
        if not self.representation.is_same(answer.representation, partial=partial):
            if partial:  # which must not come of another version
                self.takes_ranges = self.takes_ranges and beside
                raise Changed(f"the server sends parts of another '{shown}'")
            raise Changed(f"'{shown}' changed on the server")
        if asked is not None and not partial:
            if beside:
                raise Garbled("all of the file comes where a part was asked for")
            self.takes_ranges = False
        return answer

    def finish(self, connection: Connection) -> None:
        """All has come that an answer says that it brings. Raises `Garbled` if there is more."""
        if connection.receive(memoryview(bytearray(1))):
            self.takes_ranges = False
            raise Garbled("the server sends more than it should")

    def _ask_first(self, fields: Fields) -> Asked:
        if self._wants_digest:
            wanted = ("Want-Repr-Digest", "sha-256=10")
            try:
                return ask(self.location, [*fields, wanted], self._ways)
            except Silent:
                # It may have to read all of the file to compute that, and take too long.
                self._wants_digest = False
        return ask(self.location, fields, self._ways)

    def _read_first(self, head: Head, wanted: tuple[int, int] | None) -> Answer | None:
        """What the answer brings; nothing, if it has to be asked for in another way."""
        if head.status == 416:
            if wanted is None:
                raise Garbled("the server answers 416, and was not asked for a range")
            return None
        try:
            answer = self._read_answer(head, wanted)
        except BadRange as problem:
            if wanted is None:
                raise nonsense(problem) from None
            return None
        except Nonsense as problem:
            raise nonsense(problem) from None
        # Parts of which nobody can tell whether they belong together are no file.
        known = answer.representation.validator or head.status == 200 or answer.is_whole
        return answer if known else None

    def _read_answer(self, head: Head, asked: tuple[int, int] | None) -> Answer:
        return read_answer(head, asked, self.location.file_name, self.place.file_name)

"""Make a folder the same as one of a server. Imports `wire` and the modules beside it.

Into an empty folder the server pushes all it has, without a further question. Otherwise it lists
what it has, and what is missing here or differs is asked for while the listing still comes in.
Files appear under their names whole and verified, so a run that was broken off is continued by
running it again: what is there already is not sent again.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from tcpdl.client.comparing import Pass
from tcpdl.client.errors import (
    BadRequest,
    Busy,
    CannotConnect,
    CannotWrite,
    Changed,
    ClientError,
    ConnectionBroken,
    Damaged,
    NotAllowed,
    NothingThere,
    OtherDialect,
    SaysNothing,
    ServerFailed,
    TooLarge,
    Untrusted,
)
from tcpdl.client.filters import Filters, Rule
from tcpdl.client.listing import nonsense
from tcpdl.client.session import Session
from tcpdl.client.shares import Reader, Sessions, next_turn
from tcpdl.client.tally import Tally, Wishes
from tcpdl.client.target import Target
from tcpdl.client.tree import (
    FILE_MODE,
    LocalTree,
    cannot_go_on,
    ends_all,
    is_empty,
    open_file,
    reason,
    settle,
)
from tcpdl.client.url import Location, split_link
from tcpdl.client.ways import Ways
from tcpdl.wire import native
from tcpdl.wire.native import Pick, Tree
from tcpdl.wire.pack import Entry
from tcpdl.wire.text import printable

PICK_NAMES = 1000
PICK_BYTES = 48 * 1024
"""Names, and bytes of them, in one request."""

UNDER_WAY = 64
"""Such requests that the server holds at once: it takes 128 without making us wait."""

PAUSES = (0.1, 0.3, 1.0, 2.0)
"""Seconds before each new attempt, after one that brought no file."""

NAMES_MOST = 20_000_000
"""Names in a tree: of many of them, something is kept in memory until the end."""

DAMAGED_MOST = 3
"""How often a part of the tree may arrive damaged."""


class Mirrored(NamedTuple):
    """What a run came to. After a dry run: what it would have."""

    files: int
    """Files written."""
    size: int
    """Bytes in them."""
    unchanged: int
    """Files that were there already, with the right size and time (or digest)."""
    links: int
    """Links made."""
    links_left_out: int
    """Links on the server that were not asked for."""
    deleted: int
    """Files, links and folders deleted."""
    received: int
    """Bytes that crossed the wire."""
    left_out: tuple[tuple[bytes, str], ...]
    """Names that are on the server and were not mirrored, and why: the first thousand."""
    left_out_count: int
    """All of them."""
    kept_all: bool
    """Nothing was deleted, though that was wanted: not all of what the server has was listed."""
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether all was done that was asked for."""
        return not self.left_out_count and not self.kept_all


DEFAULT = Ways()


def mirror(
    location: Location,
    folder: str | bytes,
    ways: Ways = DEFAULT,
    *,
    delete: bool = False,
    rules: Iterable[Rule] = (),
    dry_run: bool = False,
    checksum: bool = False,
    links: bool = False,
    told: Callable[[str, bytes], None] | None = None,
) -> Mirrored:
    """Make `folder` hold what the folder at `location` does; it is made if need be.

    A file that is here with the size and the time it has on the server is taken to be the same;
    with `checksum`, one with the same digest, whatever its time. The time is compared to the
    nanosecond, so on a file system that keeps less of it all is sent each time.

    Files and folders get the permissions they have on the server, whatever the umask, but without
    setuid, setgid and sticky bits, and always with reading and writing for the owner (and
    searching, for folders), so that the next run can go on; and the time of their last change.
    `links` makes symbolic links too, if they lead to places within the tree. `rules` say what is
    wanted (see `filters`); what is not is neither written nor deleted. `delete` removes what the
    server does not have, and what is in the way, once the whole tree was listed. `dry_run` changes
    nothing.

    A name that the server should not have us write, or cannot hand out, and a file that is larger
    than is wanted, are left out and reported; the rest goes on. A connection that is lost is made
    anew, 5 times without a file in between. `told` hears of every change: `make`, `write`, `set`,
    `link` or `delete`, and the name.

    Raises `BadRequest` for a rule that matches nothing; `NothingThere`, `NotAllowed`,
    `CannotConnect`, `ConnectionBroken` and its subclasses, `Damaged`, `CannotWrite`. What was done
    until then stays, and a further run goes on from there.
    """
    try:
        filters = Filters(rules)
    except ValueError as problem:
        raise BadRequest(str(problem)) from None
    wishes = Wishes(delete, dry_run, checksum, links, filters, ways.most, told)
    return _Run(location, folder, wishes, ways).run()


class _Run:
    def __init__(self, location: Location, folder: str | bytes, wishes: Wishes, ways: Ways) -> None:
        self._location = location
        top, self._link = split_link(location.path)
        self._top = top.rstrip(b"/")
        self._folder = folder
        self._wishes = wishes
        self._ways = ways
        self._tally = Tally()
        self._tree: LocalTree | None = None
        self._received = 0

    def run(self) -> Mirrored:
        began = time.monotonic()
        tally = self._tally
        try:
            passed = self._pass_until_through()
            assert self._tree is not None
            self._fetch_large(passed, self._tree)
            passed.make_links()
            kept_all = bool(passed.extra) and not passed.complete
            if not kept_all:
                passed.delete()
            passed.settle_folders()
        finally:
            if self._tree is not None:
                self._tree.close()
        return Mirrored(
            tally.files,
            tally.size,
            max(0, tally.unchanged),
            tally.links,
            tally.links_left_out,
            tally.deleted,
            self._received,
            tuple(tally.left_out),
            tally.left_out_count,
            kept_all,
            time.monotonic() - began,
        )

    def _pass_until_through(self) -> Pass:
        """Go over the tree, anew after each connection that is lost."""
        failed = damaged = 0
        while True:
            before = self._tally.files
            self._tally.begin_pass()
            try:
                push = self._may_push()
                most = self._ways.connections if push else 1
                with Sessions(self._location, self._ways, most) as sessions:
                    everyone = list(sessions.all)
                    try:
                        return self._pass(everyone, push)
                    finally:
                        self._received += sum(session.received for session in everyone)
            except CannotConnect as error:
                if self._tree is None or isinstance(error, Untrusted):
                    raise
                problem: ClientError = error
            except ConnectionBroken as error:
                # Who is busy says so, or nothing at all.
                unsure = isinstance(error, SaysNothing) and (self._tree is not None or not failed)
                passes = unsure or isinstance(error, Busy)
                if isinstance(error, (OtherDialect, Changed, ServerFailed)) and not passes:
                    raise
                problem = error
            except Damaged as error:
                damaged += 1
                if damaged > DAMAGED_MOST:
                    raise
                problem = error
            if self._tally.files > before:
                failed = 0
            if failed == len(PAUSES):
                raise problem
            self._ways.note(f"{problem}; going on")
            self._ways.sleep(PAUSES[failed])
            failed += 1

    def _may_push(self) -> bool:
        """Whether all that the server has is wanted, so that nothing need be asked for by name."""
        wishes = self._wishes
        return not (wishes.dry_run or wishes.checksum or wishes.filters) and is_empty(self._folder)

    def _pass(self, sessions: list[Session], push: bool) -> Pass:
        wishes, top = self._wishes, self._top + self._link
        flags = native.RECURSIVE | (native.CONTENT if push else 0)
        if wishes.checksum:
            flags |= native.ROOTS
        shares = len(sessions)
        turns: deque[Session | Reader] = deque()
        with ExitStack() as stack:
            for share, one in enumerate(sessions):
                one.ask(partial(_tree, top, flags, share, shares))
                one.flush()
                turns.append(stack.enter_context(Reader(one, top)) if shares > 1 else one)
            return self._compare(sessions[0], turns, push)

    def _compare(self, session: Session, turns: deque[Session | Reader], push: bool) -> Pass:
        wishes = self._wishes
        entries = self._next_turn(turns)
        if self._tree is None:
            # Not before the server has said that there is something to write.
            self._tree = LocalTree(self._folder, make=not wishes.dry_run)
        picks = _Picks(session, self._top + self._link)
        passed = Pass(self._tree, wishes, self._tally, picks.want, pushed=push)
        passed.algorithm = session.algorithm
        left = NAMES_MOST
        while entries is not None:
            left -= len(entries) or 1
            if left < 0:
                raise nonsense(f"a tree of more than {NAMES_MOST} names")
            passed.take(entries)
            entries = self._next_turn(turns)
        passed.finish()
        for _ in picks.under_way():
            while (entries := self._next_part(session)) is not None:
                for entry in entries:
                    picks.check(entry)
                    passed.picked(entry)
        return passed

    def _next_turn(self, turns: deque[Session | Reader]) -> list[Entry] | None:
        """The next pack, of the connection whose turn it is; `None` once all have ended."""
        entries = self._next_part(turns[0])
        if entries is not None:
            turns.rotate(-1)
            return entries
        turns.popleft()
        for source in turns:
            if self._next_part(source) is not None:
                # The tree changed between two walks. What is here now is compared in the next.
                raise ConnectionBroken("the tree changed on the server while it was sent")
        return None

    def _next_part(self, source: Session | Reader) -> list[Entry] | None:
        turn = (
            source.next()
            if isinstance(source, Reader)
            else next_turn(source, self._top + self._link)
        )
        if turn.received:
            self._ways.progress(turn.received)
        return turn.entries

    def _fetch_large(self, passed: Pass, tree: LocalTree) -> None:
        """Fetch the files that are too large for packs, each by itself."""
        for entry in passed.large:
            try:
                self._fetch(entry, tree)
            except OSError as error:
                self._cannot_write(entry.name, error)
            except CannotWrite as error:
                if not isinstance(error.__cause__, OSError):
                    raise cannot_go_on(entry.name, error) from error
                self._cannot_write(entry.name, error.__cause__)
            except (NothingThere, NotAllowed, Changed, ServerFailed, TooLarge) as error:
                self._tally.leave_out(entry.name, str(error))
            else:
                passed.written(entry.name, entry.size)

    def _cannot_write(self, name: bytes, error: OSError) -> None:
        if ends_all(error):
            raise cannot_go_on(name, error) from error
        self._tally.leave_out(name, f"it cannot be written: {reason(error)}")

    def _fetch(self, entry: Entry, tree: LocalTree) -> None:
        # It takes a while to load, and many trees have no large file.
        from tcpdl.client.download import download

        folder, _, segment = entry.name.rpartition(b"/")
        fd = tree.folder(folder)
        path = b"/".join(part for part in (self._top, entry.name) if part) + self._link
        try:
            target = Target(fd, segment, resume=True)
        except CannotWrite as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise NothingThere(str(error)) from error  # this one is in the way, others may not be
        with target:
            fetched = download(self._location._replace(path=path), target, self._ways)
            self._received += fetched.received
            mode = fetched.mode | FILE_MODE
            if not fetched.unchanged:
                target.keep(mtime_ns=fetched.mtime_ns, mode=mode)
                return
        file = open_file(fd, segment)
        try:
            settle(file, mode, fetched.mtime_ns)
        finally:
            os.close(file)


def _tree(name: bytes, flags: int, share: int, shares: int, number: int) -> Tree:
    return Tree(number, name, flags, share, shares)


class _Picks:
    """Asks for files by name, many at once, and few times at once."""

    def __init__(self, session: Session, top: bytes) -> None:
        self._session = session
        self._top = top
        self._batch: list[bytes] = []
        self._size = 0
        self._batches: deque[tuple[bytes, ...]] = deque()
        self._asked: deque[tuple[bytes, ...]] = deque()
        self._due: deque[bytes] = deque()

    def want(self, name: bytes) -> None:
        """The content of the file `name` is to be asked for."""
        self._batch.append(name)
        self._size += len(name) + 1
        if len(self._batch) == PICK_NAMES or self._size > PICK_BYTES:
            self._cut()

    def under_way(self) -> Iterator[None]:
        """Once for each request, when its answer is due, until none is left."""
        self._cut()
        while self._asked:
            self._due = deque(self._asked[0])
            yield
            if self._due:
                raise nonsense("an answer ends before all that was asked for has come")
            self._asked.popleft()
            self._ask()

    def check(self, entry: Entry) -> None:
        """Raise `ConnectionBroken` unless `entry` is the next that was asked for."""
        if not self._due or self._due.popleft() != entry.name:
            raise nonsense(f"'{printable(entry.name)}' comes, which was not asked for, or not now")

    def _cut(self) -> None:
        if self._batch:
            self._batches.append(tuple(self._batch))
            self._batch = []
            self._size = 0
        self._ask()

    def _ask(self) -> None:
        while self._batches and len(self._asked) < UNDER_WAY:
            names = self._batches.popleft()
            self._session.ask(partial(self._pick, names))
            self._asked.append(names)

    def _pick(self, names: tuple[bytes, ...], number: int) -> Pick:
        return Pick(number, self._top, names)

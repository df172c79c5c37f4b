"""From a server's listing to what is to be done about it. Imports `wire` and the modules beside it.

One `Pass` goes over the whole tree once, in the order in which the server lists it: each folder is
looked at once, files whose content came along are written, others that are missing or differ are
wanted, and what must wait for the end is kept for it.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable

from tcpdl import digest
from tcpdl.client.accepting import Names, check_link
from tcpdl.client.errors import TooLarge
from tcpdl.client.listing import nonsense
from tcpdl.client.size import check_size
from tcpdl.client.tally import DELETE, JOIN, MAKE, SET, WRITE, Tally, Wishes
from tcpdl.client.target import RECORD_SUFFIX, SUFFIX, part_name
from tcpdl.client.tree import (
    FILE_MODE,
    FOLDER_MODE,
    LocalTree,
    Removal,
    cannot_go_on,
    ends_all,
    is_left_over,
    open_file,
    reason,
    settle,
)
from tcpdl.wire.names import NameRefused
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, LISTED, PACKED_FILE_MOST, Entry
from tcpdl.wire.text import printable

_UTF8 = sys.getfilesystemencoding() == "utf-8"


class Pass:
    """One pass over the tree."""

    def __init__(
        self,
        tree: LocalTree,
        wishes: Wishes,
        tally: Tally,
        want: Callable[[bytes], None],
        *,
        pushed: bool,
    ) -> None:
        """`want` is told of the files whose content is to be asked for.

        With `pushed`, the content of small files comes unasked, and the tree is empty.
        """
        self.algorithm = 0
        """The digest of the roots that the server sends."""
        self.large: list[Entry] = []
        """Files too large for packs."""
        self.links: list[tuple[bytes, bytes]] = []
        """Links to make once all files are there: names and texts."""
        self.extra: list[tuple[bytes, list[bytes]]] = []
        """Folders, and names in them which the server does not have."""
        self.complete = True
        """All that the server has was listed."""
        self._tree = tree
        self._wishes = wishes
        self._tally = tally
        self._want = want
        self._pushed = pushed
        self._dry = wishes.dry_run
        self._names = Names()
        self._made: set[bytes] = {b""} if pushed or not tree.exists else set()
        self._folders: dict[bytes, tuple[int, int]] = {}
        self._unsettled: list[tuple[bytes, int, int]] = []
        # The folder that is being listed.
        self._prefix: bytes | None = None
        self._wanted = False
        self._fd = -1
        self._here: dict[str, os.DirEntry[str]] = {}
        self._is_new = False
        self._changing = False
        self._lists_parts = False

    # The listing

    def take(self, entries: list[Entry]) -> None:
        """Go on with `entries` of the listing. Raises `CannotWrite` and `ConnectionBroken`."""
        check = self._names.check
        filters = self._wishes.filters or None
        for entry in entries:
            kind, name, mode, size, mtime_ns, content = entry
            if kind == LEFT_OUT and self._is_folder(name):
                self.complete = False
                self._tally.leave_out(name, printable(content))
                continue
            segment = name[name.rfind(b"/") + 1 :]
            prefix = name[: len(name) - len(segment)]
            if prefix != self._prefix:
                try:
                    self._enter(prefix)
                except NameRefused as refusal:
                    self.complete = False
                    self._tally.leave_out(name, str(refusal))
                    continue
            if not self._wanted:
                self._skip(kind, name)
                continue
            try:
                text = check(segment)
            except NameRefused as refusal:
                self._here.pop(_text(segment), None)
                self._tally.leave_out(name, str(refusal))
                self._skip(kind, name)
                continue
            have = self._here.pop(text, None) if self._here else None
            if filters is not None and not filters.wants(_text(name), folder=kind == FOLDER):
                self._skip(kind, name)
                continue
            try:
                if kind == FILE:
                    if not self._pushed:
                        raise nonsense("content that was not asked for")
                    if self._is_wanted(entry):
                        self._tree.write(self._fd, segment, content, mode, mtime_ns)
                        self.written(name, size)
                elif kind == LISTED:
                    self._compare(entry, segment, have)
                elif kind == FOLDER:
                    self._take_folder(entry, segment, have)
                elif kind == LINK:
                    self._take_link(entry, segment, have)
                else:
                    self._tally.leave_out(name, printable(content))
            except OSError as error:
                self._failed(name, error)
                self._skip(kind, name)

    def finish(self) -> None:
        """The listing is complete."""
        for prefix in list(self._names.due):
            if self._names.due[prefix]:
                self._enter(prefix)  # a folder with nothing in it
        self._leave()
        self._prefix = None

    def _is_folder(self, name: bytes) -> bool:
        """Whether `name` is that of a folder that was announced, or of the top."""
        prefix = name + b"/" if name else b""
        return prefix == self._prefix or prefix in self._names.due

    def _skip(self, kind: int, name: bytes) -> None:
        if kind == FOLDER:
            self._names.due.setdefault(name + b"/", False)

    def _enter(self, prefix: bytes) -> None:
        """What comes next is in another folder. Raises `NameRefused`."""
        self._leave()
        self._wanted = False
        self._prefix = None
        wanted = self._names.enter(prefix)
        self._prefix = prefix
        self._here = {}
        self._changing = self._lists_parts = False
        if not wanted:
            return
        self._is_new = prefix in self._made
        self._made.discard(prefix)
        if self._is_new and self._dry:
            self._fd = -1
        else:
            try:
                self._fd = self._tree.folder(prefix[:-1])
                if not self._is_new:
                    self._look_around()
            except OSError as error:
                self.complete = False
                self._failed(prefix[:-1], error)
                return
        self._wanted = True

    def _look_around(self) -> None:
        with os.scandir(self._fd) as found:
            # Names as text are in UTF-8 for us, whatever the system has for this user.
            self._here = {
                entry.name if _UTF8 else _text(os.fsencode(entry.name)): entry for entry in found
            }
        for name in [name for name in self._here if is_left_over(name, self._here)]:
            del self._here[name]
            if not self._dry:
                self._changing = True
                os.unlink(name, dir_fd=self._fd)

    def _leave(self) -> None:
        """All that is in the current folder has come."""
        if not self._wanted or self._prefix is None:
            return
        self._wanted = False
        name = self._prefix[:-1]
        if self._here and self._wishes.delete:
            extra = self._extra(self._prefix)
            if extra:
                self.extra.append((name, extra))
                self._changing = True
        info = self._folders.pop(self._prefix, None)
        if info is None or self._dry:
            return
        if self._changing:
            self._unsettled.append((name, *info))
            return
        try:
            if settle(self._fd, *info) and not self._is_new:
                self._tell(SET, name)
        except OSError as error:
            self._failed(name, error)

    def _extra(self, prefix: bytes) -> list[bytes]:
        """Names in the current folder that the server does not have."""
        names = [
            name.encode("utf-8", "surrogateescape")
            for name in self._here
            if not self._is_same_as(name)
        ]
        if self._lists_parts and any(name.endswith((SUFFIX, RECORD_SUFFIX)) for name in names):
            # The part of a file that is on the server will be gone on with.
            due = [entry.name for entry in self.large if entry.name.startswith(prefix)]
            for whole in (name[len(prefix) :] for name in due):
                for part in (part_name(whole), part_name(whole, RECORD_SUFFIX)):
                    if part in names:
                        names.remove(part)
        return names

    def _is_same_as(self, name: str) -> bool:
        """Whether `name` is here but another spelling of one that the server has, as it is where
        case makes no difference."""
        other = self._names.like(name)
        if other is None:
            return False
        try:
            named = self._here[name].stat(follow_symlinks=False)
            status = os.stat(other, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, status)

    # One entry of it

    def _take_folder(self, entry: Entry, segment: bytes, have: os.DirEntry[str] | None) -> None:
        name = entry.name
        prefix = name + b"/"
        if have is not None and not have.is_dir(follow_symlinks=False):
            if not self._clear(name, segment, "there is something here that is no folder"):
                self._skip(FOLDER, name)
                return
            have = None
        if have is None:
            if not self._dry:
                os.mkdir(segment, FOLDER_MODE, dir_fd=self._fd)
            self._made.add(prefix)
            self._tell(MAKE, name)
        self._names.due[prefix] = True
        self._folders[prefix] = (entry.mode | FOLDER_MODE, entry.mtime_ns)

    def _take_link(self, entry: Entry, segment: bytes, have: os.DirEntry[str] | None) -> None:
        assert self._prefix is not None
        if not self._wishes.links:
            self._tally.links_left_out += 1
            return
        try:
            check_link(self._prefix[:-1], entry.content)
        except NameRefused as refusal:
            self._tally.leave_out(entry.name, str(refusal))
            return
        if have is not None:
            if have.is_symlink() and os.readlink(segment, dir_fd=self._fd) == entry.content:
                return
            if have.is_dir(follow_symlinks=False) and not self._clear(
                entry.name, segment, "there is a folder here"
            ):
                return
        self._changing = True
        self.links.append((entry.name, entry.content))

    def _compare(self, entry: Entry, segment: bytes, have: os.DirEntry[str] | None) -> None:
        if have is not None:
            status = have.stat(follow_symlinks=False)
            kind = status.st_mode
            if stat.S_ISREG(kind):
                same_time = status.st_mtime_ns == entry.mtime_ns
                if status.st_size == entry.size and (
                    self._has_root(entry, segment) if self._wishes.checksum else same_time
                ):
                    self._tally.unchanged += 1
                    if not same_time or kind & 0o7777 != entry.mode | FILE_MODE:
                        self._set(entry, segment)
                    return
            elif stat.S_ISDIR(kind) and not self._clear(
                entry.name, segment, "there is a folder here"
            ):
                return
        if not self._is_wanted(entry):
            return
        self._changing = True
        if self._dry:
            self.written(entry.name, entry.size)
        elif entry.size > PACKED_FILE_MOST or self._pushed:
            self._lists_parts = True
            self.large.append(entry)
        else:
            self._want(entry.name)

    def _is_wanted(self, entry: Entry) -> bool:
        """Whether a file is not larger than is wanted."""
        try:
            check_size(entry.size, self._wishes.most)
        except TooLarge as error:
            self._tally.leave_out(entry.name, str(error))
            return False
        return True

    def _has_root(self, entry: Entry, segment: bytes) -> bool:
        """Whether the bytes of a file here are those that the server has."""
        file = open_file(self._fd, segment)
        try:
            shift = digest.chunk_shift(entry.size)
            chunks = range(0, entry.size, 1 << shift)
            digests = (
                digest.digest_of_range(self.algorithm, file, at, min(1 << shift, entry.size - at))
                for at in chunks
            )
            return digest.root(self.algorithm, entry.size, shift, digests) == entry.content
        except digest.FileEnded:
            return False
        finally:
            os.close(file)

    def _set(self, entry: Entry, segment: bytes) -> None:
        """The bytes of a file are right; set its mode and time."""
        if not self._dry:
            file = open_file(self._fd, segment)
            try:
                settle(file, entry.mode | FILE_MODE, entry.mtime_ns)
            finally:
                os.close(file)
        self._tell(SET, entry.name)

    def _clear(self, name: bytes, segment: bytes, what: str) -> bool:
        """Remove what is in the way of `name`, if that is wanted; return whether it is gone."""
        if not self._wishes.delete:
            self._tally.leave_out(name, f"{what}; --delete replaces it")
            return False
        self._changing = True
        if self.removal().remove(self._fd, segment, name):
            return True
        self._tally.leave_out(name, f"{what}, and some of it is excluded")
        return False

    # Afterwards

    def picked(self, entry: Entry) -> None:
        """The file that was wanted has come. Raises `CannotWrite` and `ConnectionBroken`."""
        name = entry.name
        if entry.kind == LEFT_OUT:
            self._tally.leave_out(name, printable(entry.content))
        elif entry.kind == LISTED:
            self.large.append(entry)  # it has grown
        elif entry.kind == FILE:
            if not self._is_wanted(entry):
                return
            folder, _, segment = name.rpartition(b"/")
            try:
                fd = self._tree.folder(folder)
                self._tree.write(fd, segment, entry.content, entry.mode, entry.mtime_ns)
            except OSError as error:
                self._failed(name, error)
            else:
                self.written(name, entry.size)
        else:
            raise nonsense("something else than the file that was asked for")

    def make_links(self) -> None:
        """Make the links. Raises `CannotWrite`."""
        for name, text in self.links:
            folder, _, segment = name.rpartition(b"/")
            try:
                if not self._dry:
                    self._tree.link(self._tree.folder(folder), segment, text)
            except OSError as error:
                self._failed(name, error)
            else:
                self._tally.links += 1
                self._tell(JOIN, name)

    def delete(self) -> None:
        """Remove what the server does not have. Raises `CannotWrite`."""
        removal = self.removal()
        for folder, names in self.extra:
            prefix = folder + b"/" if folder else b""
            for name in sorted(names):
                try:
                    removal.remove(self._tree.folder(folder), name, prefix + name)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    self._failed(prefix + name, error)

    def settle_folders(self) -> None:
        """Set the times and modes of folders in which something was changed."""
        for name, mode, mtime_ns in self._unsettled:
            try:
                settle(self._tree.folder(name), mode, mtime_ns)
            except OSError as error:
                self._failed(name, error)

    def removal(self) -> Removal:
        """How things are removed: what the filters exclude is not."""
        filters = self._wishes.filters

        def spare(name: bytes, folder: bool) -> bool:
            return not filters.wants(_text(name), folder=folder)

        def told(name: bytes) -> None:
            self._tally.deleted += 1
            self._tell(DELETE, name)

        return Removal(spare, told, really=not self._dry)

    def written(self, name: bytes, size: int) -> None:
        """A file was written."""
        self._tally.files += 1
        self._tally.size += size
        if self._wishes.told is not None:
            self._wishes.told(WRITE, name)

    def _tell(self, what: str, name: bytes) -> None:
        if self._wishes.told is not None:
            self._wishes.told(what, name)

    def _failed(self, name: bytes, error: OSError) -> None:
        if ends_all(error):
            raise cannot_go_on(name, error) from error
        self._tally.leave_out(name, f"it cannot be written: {reason(error)}")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")

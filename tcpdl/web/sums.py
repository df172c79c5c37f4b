"""Lists of digests that sha256sum and b3sum check. Imports `tcpdl.content`, `digest` and `wire`."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import cast

from tcpdl import digest
from tcpdl.content.digests import STEP, Digests
from tcpdl.content.errors import IsFolder, NotServed
from tcpdl.content.source import Source
from tcpdl.digest import FileEnded
from tcpdl.web.left_out import LeftOut
from tcpdl.wire.names import Name
from tcpdl.wire.native import BLAKE3, SHA256
from tcpdl.wire.pack import FOLDER, LEFT_OUT, Entry

PIECE = 32 * 1024
"""Bytes of lines given out at a time."""


def sums(source: Source, digests: Digests, name: Name, algorithm: int) -> Iterator[bytes]:
    """The digests of all files in the folder called `name`, and below: lines, some at a time.

    Names are relative to the folder, and each line is what sha256sum or b3sum prints. Links to
    files are followed, those to folders are not. Comments at the end name whatever is left out, and
    say why: sha256sum passes over them, b3sum complains of each, and both check all the rest.

    For threads: `b""` comes now and then, while there is nothing to give out. Raises `LookupError`
    for an algorithm that cannot be computed here, and a subclass of `NotServed`.
    """
    digest.hasher(algorithm)
    entries = source.walk(name, recursive=True, content_most=-1)
    # It holds a descriptor while it runs, and is one that can be closed.
    walk = cast("Generator[Entry, None, None]", entries)
    return _sums(source, digests, name, algorithm, walk)


def _sums(
    source: Source,
    digests: Digests,
    top: Name,
    algorithm: int,
    walk: Generator[Entry, None, None],
) -> Iterator[bytes]:
    left_out = LeftOut()
    lines: list[bytes] = []
    size = hashed = 0
    try:
        for entry in walk:
            if entry.kind == FOLDER:
                continue
            if entry.kind == LEFT_OUT:
                left_out.add(entry.name, entry.content.decode())
                continue
            try:
                file = source.open_file(Name((*top.segments, *entry.name.split(b"/"))))
            except IsFolder:
                left_out.add(entry.name, "it is a symbolic link to a folder")
                continue
            except NotServed as problem:
                left_out.add(entry.name, str(problem))
                continue
            try:
                found = b""
                for found in digests.hash_whole(file, algorithm):
                    if not found:
                        yield b"".join(lines)
                        lines, size, hashed = [], 0, 0
                if file.still_same():
                    lines.append(line(found, entry.name, algorithm))
                    size += len(lines[-1])
                else:
                    left_out.add(entry.name, "it changed while it was read")
            except FileEnded:
                left_out.add(entry.name, "it became shorter while it was read")
            except OSError as error:
                left_out.add(entry.name, f"it cannot be read: {error.strerror}")
            finally:
                file.close()
            hashed += file.size
            if size >= PIECE or hashed >= STEP:
                yield b"".join(lines)
                lines, size, hashed = [], 0, 0
    finally:
        walk.close()
    yield b"".join(lines) + "".join(f"# {said}\n" for said in left_out.lines()).encode()


def line(found: bytes, name: bytes, algorithm: int) -> bytes:
    """What sha256sum or b3sum prints of a file."""
    if name == b"-":
        name = b"./-"  # else they would check their standard input
    shown = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    if algorithm == SHA256:
        shown = shown.replace(b"\r", b"\\r")
    mark = b"\\" if shown != name else b""
    if algorithm == BLAKE3:
        # It reads UTF-8 only; anything else would keep it from checking the rest of the list.
        shown = shown.decode("utf-8", "replace").encode()
    return b"%b%b  %b\n" % (mark, found.hex().encode("ascii"), shown)

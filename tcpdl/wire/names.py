"""From the bytes a peer sends as a name to checked segments. Pure; imports nothing of ours.

A name is a byte string of segments separated by `/`, relative to a root that only the answering
side knows. `parse_name` is the only way from bytes to a `Name`, and files are opened, listed and
written only by a `Name`, on the server and on the client alike. Bytes are compared as they are:
no Unicode normalisation, no percent-decoding, no case folding.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_NAME = 1024
"""Longest name, in bytes. Long enough for deep trees, and four of them fit a memory page."""

MAX_SEGMENT = 255
"""Longest segment, in bytes: NAME_MAX of every common file system."""


class NameRefused(ValueError):
    """The name cannot name anything here; its text says why, for a log or a person."""


class Name(NamedTuple):
    """A name that is safe to walk, segment by segment, from a root.

    No segment is empty, `.`, `..`, longer than `MAX_SEGMENT` or holds `/` or NUL. No segments at
    all name the root itself.
    """

    segments: tuple[bytes, ...]
    folder: bool = False
    """The name ended in `/` (or `/.`): only a folder may answer to it."""


def parse_name(name: bytes, *, hidden: bool = False) -> Name:
    """Check `name` and split it into segments.

    Empty and `.` segments say nothing and are left out, so `./a//b` is `a/b`. Raises
    `NameRefused` for a name that is absolute, climbs with `..`, holds NUL, is too long in
    whole or in one segment, or, unless `hidden` is true, has a segment that begins with a dot.
    """
    if len(name) > MAX_NAME:
        raise NameRefused(f"the name has {len(name)} bytes; {MAX_NAME} is the most")
    if b"\0" in name:
        raise NameRefused("the name holds a NUL byte")
    if name.startswith(b"/"):
        raise NameRefused("the name is absolute; names are relative to the served folder")
    parts = name.split(b"/")
    segments = tuple(part for part in parts if part not in (b"", b"."))
    for segment in segments:
        check_segment(segment, hidden=hidden)
    return Name(segments, folder=parts[-1] in (b"", b"."))


def check_segment(segment: bytes, *, hidden: bool) -> None:
    """Raise `NameRefused` unless `segment` may stand in a `Name`."""
    if segment in (b"", b".") or b"/" in segment or b"\0" in segment:
        raise NameRefused("a segment is empty, '.', or holds a slash or NUL")
    if segment == b"..":
        raise NameRefused("the name climbs with '..'")
    if len(segment) > MAX_SEGMENT:
        raise NameRefused(f"a segment has {len(segment)} bytes; {MAX_SEGMENT} is the most")
    if not hidden and segment.startswith(b"."):
        raise NameRefused("a segment begins with a dot, and hidden files are not served")


def follow_link(
    parents: tuple[bytes, ...], target: bytes, root: bytes, *, hidden: bool
) -> tuple[bytes, ...]:
    """Where a symbolic link leads, as segments from the root.

    `parents` are the segments of the folder that holds the link, none of them a link; `target`
    is the text of the link; `root` is the absolute path of the root, without a trailing slash.
    An absolute target is followed only below `root`. Raises `NameRefused` if the link leaves the
    root, even to come back.
    """
    if b"\0" in target:
        raise NameRefused("a symbolic link holds a NUL byte")
    walked = list(parents)
    if target.startswith(b"/"):
        if target != root and not target.startswith(root + b"/"):
            raise NameRefused("a symbolic link leads out of the served folder")
        walked = []
        target = target[len(root) :]
    for part in target.split(b"/"):
        if part in (b"", b"."):
            continue
        if part != b"..":
            check_segment(part, hidden=hidden)
            walked.append(part)
        elif walked:
            walked.pop()
        else:
            raise NameRefused("a symbolic link leads out of the served folder")
    return tuple(walked)

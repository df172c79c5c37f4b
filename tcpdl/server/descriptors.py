"""What the descriptors that a process may have are for. Imports `content` and `server.crowd`.

Should they run out, a connection that waits can be neither accepted nor left alone. So it is known
before how many there are for connections, and how many for files.
"""

from __future__ import annotations

import os
import resource
from typing import NamedTuple

from twisted.logger import Logger

from tcpdl.content.open_files import OpenFiles
from tcpdl.server.crowd import REFUSALS_MOST, Crowd, Limits

SPARE = 16
"""For what is open for a moment, or by others: folders that are looked through, copies that threads
read by, a database and its journal, the log."""

REFUSALS_PART = 16
"""Of so many, one is for connections that are only told that there is no room."""

FILES_LEAST = 4096
"""Files for which there are descriptors before there are more for connections; or half of all."""

_UNLIMITED = 1 << 20
_LOW = "more than there are descriptors for (ulimit -n); it is {found}"

_log = Logger()


class Budget(NamedTuple):
    """How many of each may be open at a time."""

    connections: int
    refusals: int
    files: int


def share_out(free: int, connections: int, refusals: int, files: int) -> Budget:
    """What `free` descriptors are for, where so many of each are wanted; 0 stands for as many as
    there can be. What is not for connections is for files."""
    refusals = min(refusals, free // REFUSALS_PART)
    free -= refusals
    for_files = max(free - connections if connections else 0, min(free // 2, FILES_LEAST), 1)
    for_files = min(for_files, files or for_files)
    left = max(free - for_files, 1)
    return Budget(min(connections or left, left), refusals, for_files)


def free_descriptors() -> int:
    """How many this process may still open, `SPARE` left aside."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = _UNLIMITED
    return max(soft - _in_use() - SPARE, 0)


def share(crowd: Crowd, files: OpenFiles, most: int) -> None:
    """Have as many descriptors as the system allows, and share them out to connections and to
    `files`, of which `most` are wanted; the log is told what does not fit."""
    try:
        _raise_limit()
    except (OSError, ValueError) as error:
        _log.warn("the limit of open files stays as it is: {error}", error=error)
    wanted = crowd.limits.connections
    # Those that there are already have theirs.
    free = free_descriptors() + crowd.connections + crowd.refusals + len(files)
    found = share_out(free, wanted, REFUSALS_MOST, most)
    crowd.refusals_most, files.most = found.refusals, found.files
    crowd.places = 0
    if not 0 < wanted <= found.connections:
        crowd.places = found.connections
        if wanted not in (0, Limits().connections):
            _log.warn(f"--max-connections={wanted} is {_LOW}", found=found.connections)
    if found.files < most:
        _log.warn(f"--max-files={most} is {_LOW}", found=found.files)
    if found.connections < wanted or not wanted:
        _log.info(
            "{connections} connections and {files} files may be open at a time", **found._asdict()
        )


def _raise_limit() -> None:
    """Allow as many as the system lets this process ask for. Raises `OSError` and `ValueError`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _in_use() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 32  # as many as a daemon has, and some

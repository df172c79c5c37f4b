"""What of a part is there already, by its own record alone. Imports the modules beside it.

A web server says nothing of chunks. What is on record was computed here when it came; it is
computed again, so that what was lost or changed since is noticed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from tcpdl import digest
from tcpdl.client.errors import Damaged
from tcpdl.client.expected import Expected, check_file
from tcpdl.client.part import Part, copy
from tcpdl.client.plan import Plan
from tcpdl.client.receiving import cannot_write
from tcpdl.client.record import Record, Version
from tcpdl.client.target import Target


def first_missing(target: Target) -> int:
    """Where what is on record of the part ends, or its last chunk begins, if all is: what to ask
    for first. Raises `CannotWrite`."""
    if not target.has_record:
        return 0
    record = Record(target.open_record())
    record.close()
    if record.version is None:
        return 0
    plan = Plan(record.version.size, record.version.shift)
    at = 0
    while at in record.digests and at < plan.chunks - 1:
        at += 1
    return plan.chunk(at)[0]


def is_of_another(target: Target, version: Version) -> bool:
    """Whether what is on record of the part is of another version. Raises `CannotWrite`."""
    if not target.has_record:
        return False
    record = Record(target.open_record())
    record.close()
    return bool(record.digests) and record.version != version


def take_stock(part: Part, plan: Plan, expected: Sequence[Expected], *, may_be_begun: bool) -> bool:
    """Check what is there, and tell `plan`. Begins a new record, unless this version has one.

    `may_be_begun` if what has the final name may be the beginning of the file.

    Returns whether the file is complete under its final name, as it is `expected` to be: so that
    nothing is left to do. Raises `CannotWrite`.
    """
    target, record = part.target, part.record
    try:
        if record is not None and not target.is_empty and record.version == part.version:
            part.check_known(record.digests, plan)
            os.ftruncate(target.fd, min(os.fstat(target.fd).st_size, plan.size))
            return False
        os.ftruncate(target.fd, 0)
        if record is None:
            target.forget()
        else:
            record.begin(part.version)
        return bool(expected) and _take_final(part, plan, expected, may_be_begun)
    except OSError as error:
        raise cannot_write(error) from error


def _take_final(part: Part, plan: Plan, expected: Sequence[Expected], begun: bool) -> bool:
    """Look at the file that has the final name: it may be complete, or another program may have
    begun it. Of the latter, the chunks that it has in full are taken, to be checked with the whole.
    """
    target = part.target
    fd = target.open_final()
    if fd is None:
        return False
    try:
        size = os.fstat(fd).st_size
        if size == plan.size:
            with suppress(Damaged):
                check_file(fd, plan.size, expected)
                return True
        # The final name keeps its file until the new one is complete: it may be an older version.
        begun = begun and size < plan.size
        for index in range(size >> plan.shift if begun else 0):
            start, end = plan.chunk(index)
            copy(fd, target.fd, start, end)
            algorithm = part.version.algorithm
            part.right(index, digest.digest_of_range(algorithm, target.fd, start, end - start))
            plan.checked(index)
            part.kept += end - start
        return False
    finally:
        os.close(fd)

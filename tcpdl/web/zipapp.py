"""The client as one file that needs nothing but Python. Imports `tcpdl`, whose sources it packs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import tcpdl

_PARTS = ("__init__.py", "cli.py", "digest.py", "wire", "access", "client", "commands")
"""What the client consists of: ARCHITECTURE.md says what may import what."""

_MAIN = """\
# The tcpdl client. Whatever Python runs this has to understand it, even one too old for the rest.
import sys

if sys.version_info < (3, 10):
    sys.stderr.write(
        "tcpdl: Python 3.10 or newer is needed; this is Python %d.%d, at %s\\n"
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )
    sys.exit(1)

from tcpdl.cli import main

sys.exit(main())
"""

_BEGINNING_OF_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644


def build() -> bytes:
    """The program `tcpdl.pyz`, of this version; the same bytes for the same sources.

    It takes some hundredths of a second. Raises `OSError` if the sources cannot be read.
    """
    program = io.BytesIO()
    program.write(b"#!/usr/bin/env python3\n")
    with ZipFile(program, "w") as archive:
        for name, source in _sources():
            info = ZipInfo(name, _BEGINNING_OF_TIME)
            info.create_system = 3  # Unix, wherever it is built
            info.external_attr = _MODE << 16
            archive.writestr(info, source, ZIP_DEFLATED, 9)
    return program.getvalue()


def _sources() -> Iterator[tuple[str, bytes]]:
    yield "__main__.py", _MAIN.encode("ascii")
    package = Path(tcpdl.__file__).parent
    for part in _PARTS:
        path = package / part
        for file in [path] if path.suffix else sorted(path.rglob("*.py")):
            yield f"tcpdl/{file.relative_to(package).as_posix()}", file.read_bytes()

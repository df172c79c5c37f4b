"""Standard output for commands that print much. Imports `tcpdl.client`."""

from __future__ import annotations

import sys

from tcpdl.client.receiving import cannot_write
from tcpdl.commands.common import forget_output


def print_line(text: str, end: str = "\n") -> None:
    """Print `text`; what the output cannot express is shown as `?`. Raises `CannotWrite`.

    Lines may be held back until there are many of them, or `flush` is called.
    """
    try:
        try:
            sys.stdout.write(text + end)
        except UnicodeEncodeError:
            encoding = sys.stdout.encoding
            sys.stdout.write((text + end).encode(encoding, "replace").decode(encoding))
    except OSError as error:
        forget_output()
        raise cannot_write(error) from error


def flush() -> None:
    """Print what was held back. Raises `CannotWrite`."""
    try:
        sys.stdout.flush()
    except OSError as error:
        forget_output()
        raise cannot_write(error) from error

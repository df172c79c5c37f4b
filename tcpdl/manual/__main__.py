"""`python -m tcpdl.manual FOLDER`: write the manual. Imports the modules beside it.

Below the folder are then `man`, with the pages, and `completions`, with a folder for each shell, in
which files are called as the shell looks for them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tcpdl.manual import bash, daemon, fish, zsh
from tcpdl.manual.pages import PAGES, SERVE, as_roff, programs

_USAGE = "Usage: python -m tcpdl.manual FOLDER\n"


def files(date: str) -> Iterator[tuple[str, str]]:
    """All that is written: the names of the files, and what they hold. `date` is in ISO 8601."""
    for page in PAGES:
        yield f"man/{page.file_name}", as_roff(page, date)
    commands = programs()["tcpdl"]
    (serve,) = programs()[SERVE]
    yield "completions/bash/tcpdl", bash.completion("tcpdl", commands)
    yield "completions/zsh/_tcpdl", zsh.completion("tcpdl", commands)
    yield "completions/fish/tcpdl.fish", fish.completion("tcpdl", commands)
    yield "completions/bash/twistd", bash.plugin(daemon.twistd(), serve)
    yield "completions/fish/twistd.fish", fish.plugin(daemon.twistd(), serve)


def today(environ: Mapping[str, str]) -> str:
    """The date on the pages: that of $SOURCE_DATE_EPOCH, if it is set, for builds that can be
    repeated."""
    seconds = environ.get("SOURCE_DATE_EPOCH")
    return time.strftime("%Y-%m-%d", time.gmtime(float(seconds) if seconds else None))


def main(arguments: list[str]) -> int:
    """Write all; return the exit status."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write(_USAGE)
        return 2
    for name, text in files(today(os.environ)):
        path = Path(arguments[0], name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

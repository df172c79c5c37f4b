"""Soak a daemon: `python -m tests.soak [--seconds 3600] [--seed 1]`, as `make soak` does."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.soaking import Soak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tcpdl-soak-") as folder:
        soak = Soak(options.seconds, options.seed, Path(folder), say)
        try:
            soak.run()
        finally:
            say(soak.report())
    return 1 if soak.failures else 0


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())

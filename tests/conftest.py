"""What holds for all tests."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

# Shells start what runs in the background with SIGINT ignored, and so would be what tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What tests start is compiled once then, and not each time. Containers often forbid to keep it.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    compiled = Path(__file__).resolve().parent.parent / ".cache/compiled"
    os.environ["PYTHONPYCACHEPREFIX"] = str(compiled)


def pytest_collection_finish() -> None:
    """Spare the collector what is there to stay: some tests have it look for what they left."""
    gc.freeze()

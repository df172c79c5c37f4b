"""What holds for all tests."""

from __future__ import annotations

import signal

# Shells start what runs in the background with SIGINT ignored, and so would be what tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

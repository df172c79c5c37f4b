"""What the parent gives up: little of the files, since its workers start with what it has.

Imports `landlock` and `sandbox`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tcpdl import landlock
from tcpdl.landlock import Calls, Place
from tcpdl.sandbox import Outcome

_EVERYTHING = (1 << 16) - 1
_KEPT = "files, programs (it starts its workers, which give these up)"


def restrict_parent(kernel: Callable[[], Calls] = landlock.kernel) -> Outcome:
    """Give up to have more privileges, to connect to others, and to signal them. It raises nothing.

    It reads configuration that may name other files tomorrow, and starts workers, which cannot do
    what it cannot. So what it may do to files stays.
    """
    try:
        calls = kernel()
        calls.no_new_privileges()
    except OSError as error:
        return Outcome([], [f"anything ({error.strerror or error})"])
    given_up = []
    abstract_sockets = not os.environ.get("NOTIFY_SOCKET", "").startswith("@")
    try:
        root = os.open("/", os.O_PATH | os.O_CLOEXEC)
        try:
            place = Place(root, _EVERYTHING)
            done = landlock.restrict(calls, [place], abstract_sockets=abstract_sockets)
        finally:
            os.close(root)
    except OSError:
        pass  # no Landlock: the workers say so
    else:
        given_up.append(f"Landlock ABI {done.version}")
        given_up += ["makes no TCP connections"] * done.tcp
        given_up += ["signals nobody but its workers"] * done.signals
    return Outcome([*given_up, "no_new_privs"], [_KEPT])

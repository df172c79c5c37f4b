"""What becomes of a change of each option when the configuration is read again. Imports the
standard library only.

With several workers, those that serve then make way for others, which know it all anew; what
their parent is made of stays. `tcpdl.in_place` is what one process does.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple


class When(Enum):
    """When a change takes effect."""

    AT_ONCE = "at once"
    TO_COME = "for connections to come"
    RESTART = "at a restart"


class Reload(NamedTuple):
    """What becomes of a change of one option."""

    when: When
    why: str = ""
    """Why it takes a restart; or, if it mostly does not, why there are cases where it does."""
    of_parent: bool = False
    """With several workers, it is their parent's: other workers change nothing about it."""


AT_ONCE = Reload(When.AT_ONCE)
TO_COME = Reload(When.TO_COME)
_ACCESS = Reload(When.AT_ONCE, "without it, anyone may read all")
_TLS = Reload(When.TO_COME, "TLS begins and ends with the daemon")
_LOG = Reload(When.AT_ONCE, of_parent=True)
_ROOT = Reload(
    When.RESTART, "folders are opened at the start, and reading elsewhere is given up then"
)
_PORT = Reload(
    When.RESTART, "ports are opened at the start, and opening others is given up then", True
)
_STATE = Reload(When.RESTART, "it is opened at the start, and writing elsewhere is given up then")
_PROCESSES = Reload(When.RESTART, "it decides what the process is that is started", True)
_SANDBOX = Reload(When.RESTART, "rights are given up at the start, and for good")

RELOADS: Mapping[str, Reload] = {
    "port": _PORT,
    "interface": _PORT,
    "listen": _PORT,
    "echo-port": _PORT,
    "echo-reply": AT_ONCE,
    "echo-encoding": AT_ONCE,
    "root": _ROOT,
    "mount": _ROOT,
    "mount-hidden": AT_ONCE,
    "mount-symlinks": AT_ONCE,
    "mount-rules": _ACCESS,
    "hidden": AT_ONCE,
    "symlinks": AT_ONCE,
    "quiet-period": AT_ONCE,
    "name-encodings": AT_ONCE,
    "http-host": AT_ONCE,
    "index": AT_ONCE,
    "precompressed": AT_ONCE,
    "no-sendfile": TO_COME,
    "state-dir": _STATE,
    "max-rate": AT_ONCE,
    "max-rate-per-address": AT_ONCE,
    "max-rate-per-connection": TO_COME,
    "tls-cert": _TLS,
    "tls-key": _TLS,
    "tls": _TLS,
    "tls-client-ca": _TLS,
    "tls-required": _TLS,
    "rules": _ACCESS,
    "auth": _ACCESS,
    "link-key": AT_ONCE,
    "insecure-logins": AT_ONCE,
    "proxy-from": TO_COME,
    "max-connections": AT_ONCE,
    "max-connections-per-address": AT_ONCE,
    "max-connections-per-network": AT_ONCE,
    "max-accepts": AT_ONCE,
    "max-requests": TO_COME,
    "max-files": AT_ONCE,
    "request-seconds": AT_ONCE,
    "idle-seconds": AT_ONCE,
    "min-rate": AT_ONCE,
    "stall-seconds": AT_ONCE,
    "drain": AT_ONCE,
    "workers": _PROCESSES,
    "hang-seconds": Reload(When.AT_ONCE, of_parent=True),
    "admin": _PORT,
    "access-log": AT_ONCE,
    "access-log-format": AT_ONCE,
    "log-format": _LOG,
    "log-level": _LOG,
    "no-sandbox": _SANDBOX,
}
"""That of every option that may stand in a file."""


def takes_restart(name: str, *, with_workers: bool) -> bool:
    """Whether a change of the option takes effect at a restart, and not before."""
    reload = RELOADS[name]
    return reload.when is When.RESTART and (reload.of_parent or not with_workers)


def told(name: str) -> str:
    """What becomes of a change of the option, as sentences for the manual."""
    when, why, of_parent = RELOADS[name]
    if when is When.RESTART:
        workers = "" if of_parent else " With --workers, a reload is enough."
        return f"Changes at a restart: {why}.{workers}"
    come = f", {when.value}" if when is When.TO_COME else ""
    return f"Changes at a reload{come}{f', or else at a restart: {why}' if why else ''}."

"""What a service manager is told: that the daemon is ready, reads its files again, ends, lives.

Imports Twisted only. It is systemd's protocol (sd_notify(3)): lines `NAME=VALUE` in a datagram to
the Unix socket that the environment names. Where it names none, nothing is said.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_log = Logger()

STATUS_MOST = 200
"""Characters of the sentence that `systemctl status` shows."""

_WAIT_MICROSECONDS = 250_000
"""How long the manager may take to make room for what it has to know. It has room for hundreds of
messages; if it stands still, so does the machine."""

_LEEWAY_SECONDS = 5.0
"""What ending takes besides the time that transfers are given."""


class Notifier:
    """Tells the service manager, if there is one. Nothing here raises an error: who does not hear
    us does not stop us."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        pid: Callable[[], int] = os.getpid,
        nanoseconds: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Connect to the socket that `environ` names.

        At once, since the process may give up later what it takes: one that is connected already
        can be used from within another root and under any ruleset.
        """
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog = watchdog_seconds(environ, pid) if self._address else None
        self._nanoseconds = nanoseconds
        self._socket: socket.socket | None = None
        if self._address:
            self._connect()

    @property
    def heard(self) -> bool:
        """Whether there is somebody to be told."""
        return self._address is not None

    @property
    def watchdog(self) -> float | None:
        """Seconds within which the manager wants a `ping`, or else takes this process for stuck."""
        return self._watchdog

    def ready(self, status: str = "") -> None:
        """It serves; or what it was to read again has been read."""
        self._tell(f"READY=1{_status(status)}")

    def reloading(self) -> None:
        """It reads again what it has read, until it is `ready`."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={self._nanoseconds() // 1000}")

    def stopping(self, seconds: float = 0.0) -> None:
        """It ends, which may take so many seconds, in which it is not to be killed."""
        longer = ""
        if seconds > 0:
            longer = f"\nEXTEND_TIMEOUT_USEC={int((seconds + _LEEWAY_SECONDS) * 1_000_000)}"
        self._tell(f"STOPPING=1{longer}")

    def status(self, text: str) -> None:
        """A sentence about what it is at, for people."""
        self._tell(_status(text).lstrip("\n"), socket.MSG_DONTWAIT)

    def ping(self) -> None:
        """It lives."""
        self._tell("WATCHDOG=1", socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Say no more."""
        self._address = None
        self._disconnect()

    def _tell(self, text: str, flags: int = 0) -> None:
        if not text or self._address is None:
            return
        message = text.encode("utf-8", "backslashreplace")
        error = self._send(message, flags)
        if isinstance(error, ConnectionError):  # the manager has made its socket anew
            self._disconnect()
            error = self._send(message, flags)
        if error is not None:
            _log.warn(
                "the service manager was not told {what}: {error}",
                what=text.partition("\n")[0],
                error=error.strerror or str(error),
            )

    def _send(self, message: bytes, flags: int) -> OSError | None:
        if self._socket is None and (error := self._connect()):
            return error
        assert self._socket is not None
        try:
            self._socket.send(message, flags)
        except OSError as error:
            return error
        return None

    def _connect(self) -> OSError | None:
        assert self._address is not None
        sock = None
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            wait = struct.pack("@ll", 0, _WAIT_MICROSECONDS)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
            sock.connect(self._address)
        except OSError as error:
            if sock is not None:
                sock.close()
            return error
        self._socket = sock
        return None

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Watchdog(Service):
    """Pings the service manager while the reactor runs, twice as often as it wants."""

    def __init__(self, notifier: Notifier, clock: Any) -> None:
        """`clock` is an `IReactorTime`."""
        self._notifier = notifier
        self._call = LoopingCall(notifier.ping)
        self._call.clock = clock

    def startService(self) -> None:
        super().startService()
        seconds = self._notifier.watchdog
        if seconds is not None:
            self._call.start(seconds / 2)

    def stopService(self) -> None:
        super().stopService()
        if self._call.running:
            self._call.stop()


def watchdog_seconds(environ: Mapping[str, str], pid: Callable[[], int]) -> float | None:
    """Within which a sign of life is wanted of the process `pid`, if one is."""
    whose = environ.get("WATCHDOG_PID", "")
    if whose and whose != str(pid()):
        return None
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 1_000_000 if 0 < microseconds < 2**64 else None


def _address(name: str) -> str | None:
    """The address of the socket called `name`, or `None` if that is the name of none."""
    if name.startswith("@") and len(name) > 1:
        return "\0" + name[1:]
    return name if name.startswith("/") else None


def _status(text: str) -> str:
    return f"\nSTATUS={' '.join(text.split())[:STATUS_MOST]}" if text else ""

"""Opens the administrator's port. Imports `tcpdl.options` and `tcpdl.server`.

A Unix socket is made so that its owner and its group may connect, from its first moment. One that a
daemon left that was killed is replaced; one that somebody listens on is not, nor is anything else.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.python.failure import Failure

from tcpdl.options.admin import AdminAddress
from tcpdl.server.listening import CannotListen, bind, no_folder

MODE = 0o660
"""Of the Unix socket. Who may write to it may connect."""

BACKLOG = 64


class UnixPort(unix.Port):
    """A Unix socket that is removed when it is closed, if that may be done and it is still ours."""

    identity: object = None

    def connectionLost(self, reason: Failure) -> None:
        # As the base class of ours does it: ours would remove whatever has the path.
        path = os.fsdecode(self.getHost().name)
        with suppress(OSError):
            if _identity(path) == self.identity:
                os.unlink(path)
        tcp.Port.connectionLost(self, reason)


def open_admin(
    reactor: Any,
    address: AdminAddress,
    factory: IProtocolFactory,
    owner: tuple[int, int] | None = None,
) -> Any:
    """A port that listens for `factory`, and accepts nobody before its `startReading`. A Unix
    socket is given to the `owner`, a user and a group. Raises `CannotListen`."""
    try:
        if address.path is not None:
            port = _open_unix(reactor, address.path, factory, owner)
        else:
            port = _open_tcp(reactor, address, factory)
    except CannotListen as error:
        raise CannotListen(f"--admin: {error}") from None
    # twistd forks, and may change its user, between now and the start.
    port.stopReading()
    return port


def _open_tcp(reactor: Any, address: AdminAddress, factory: IProtocolFactory) -> Any:
    sock = bind(address.interface, address.port)
    with sock:
        return reactor.adoptStreamPort(sock.fileno(), sock.family, factory)


def _open_unix(
    reactor: Any, path: str, factory: IProtocolFactory, owner: tuple[int, int] | None
) -> UnixPort:
    port: Any = UnixPort(os.fsencode(path), factory, BACKLOG, MODE, reactor)
    before = os.umask(0o777 & ~MODE)
    try:
        _make_way(path)
        port.startListening()
        if owner is not None:
            _give(path, owner)
        port.identity = _identity(path)
    except CannotListenError as error:
        why = error.socketError
        raise CannotListen(f"{path} cannot be opened: {why.strerror or why}") from None
    except OSError as error:
        raise CannotListen(f"{path} cannot be opened: {error.strerror or error}") from None
    finally:
        os.umask(before)
    return port  # type: ignore[no-any-return]


def _make_way(path: str) -> None:
    """Remove a socket that nobody listens on. Raises `CannotListen`, and `OSError`."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        if not os.path.isdir(os.path.dirname(path)):
            raise CannotListen(no_folder(path)) from None
        return
    if not stat.S_ISSOCK(mode):
        raise CannotListen(f"{path} is there, and is no socket; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        except BlockingIOError:
            pass  # somebody listens, and is busy
    raise CannotListen(f"another program listens on {path}; choose another path")


def _give(path: str, owner: tuple[int, int]) -> None:
    """Give away the socket at `path`, and nothing else that somebody has put there meanwhile."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.chown(f"/proc/self/fd/{fd}", *owner)
    finally:
        os.close(fd)


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino

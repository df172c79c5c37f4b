"""Our transports, for ports where a client may begin with TLS. Imports the modules beside it.

The first byte that comes decides: that of a TLS handshake, or anything else, after which the
transport is what it is elsewhere. With TLS, everything that is written is encrypted when its turn
comes, so that records have the order in which they go out: what follows a file waits in the queue
as it was written, and the base class's buffer holds what is encrypted, and nothing else. So all
that the transports do with bytes on their way (half-closes, resets, back pressure, counts) holds
for encrypted ones as well.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet import main, unix
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from tcpdl.server.outgoing import IFileTransport, Outgoing
from tcpdl.server.peer import peer_name
from tcpdl.server.tls_session import HELLO, TlsFailure, TlsSession
from tcpdl.server.transport import FileSending

READ_MOST = 4 * 1024
"""Bytes read at a time. A client may make each 27 of them cost us 25 microseconds, and others are
to have their turn."""

_log = Logger()


class IHandshakeWatcher(IHandshakeListener):
    """A protocol that is told of a TLS handshake: when it begins, and when it is over."""

    def handshake_begun() -> None:
        """The client speaks TLS; nothing can be sent before `handshakeCompleted`."""

    def handshake_failed(why: str) -> None:  # noqa: N805
        """It did not come about, and nothing can be sent. `why` is fit to be shown."""


class _TlsSpeaking(FileSending):
    """What both kinds of transport below share."""

    _session: TlsSession | None = None

    def __init__(self, *args: Any, tls: Callable[[], ssl.SSLContext], **options: Any) -> None:
        """As the base class; `tls` gives what a new connection is encrypted with."""
        self._tls_context = tls
        super().__init__(*args, **options)

    # Receiving.

    def doRead(self) -> Any:
        try:
            data = self.socket.recv(READ_MOST)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        session = self._session
        if session is None:
            if data and data[0] == HELLO and not self._no_more:  # else, nothing can be answered
                session = self._begin()
            else:
                self.doRead = super().doRead  # type: ignore[method-assign]
                self._metrics.received += len(data)
                if data:
                    self.protocol.dataReceived(data)
                return None if data else main.CONNECTION_DONE
        if not data:
            return self._cut_off(session)
        self._metrics.received += len(data)
        return self._received(session, data)

    def _begin(self) -> TlsSession:
        session = self._session = TlsSession(self._tls_context())
        self.secure = True
        watcher = IHandshakeWatcher(self.protocol, None)
        if watcher is not None:
            watcher.handshake_begun()
        return session

    def _received(self, session: TlsSession, data: bytes) -> Any:
        established = session.established
        try:
            found = session.feed(data)
        except TlsFailure as failure:
            return self._failed(session, str(failure))
        self._put(session.take())
        if not established and session.established:
            self._metrics.handshakes += 1
            self.client_certificate = session.client_certificate()
            listener = IHandshakeListener(self.protocol, None)
            if listener is not None:
                listener.handshakeCompleted()
        if found and self.connected:
            self.protocol.dataReceived(found)
        return main.CONNECTION_DONE if session.ended and self.connected else None

    def _cut_off(self, session: TlsSession) -> Any:
        if not session.established:
            return self._failed(session, "it ended the connection")
        self.truncated = not session.ended
        return main.CONNECTION_DONE

    def _failed(self, session: TlsSession, why: str) -> Any:
        """End a connection on which no more can be said but why not."""
        self._put(session.take())
        if session.established:
            _log.debug("{peer} broke TLS: {why}", peer=peer_name(self.getPeer()), why=why)
        else:
            watcher = IHandshakeWatcher(self.protocol, None)
            if watcher is not None:
                watcher.handshake_failed(why)
            self.reset_if_lost(False)
        return main.CONNECTION_LOST

    # Sending.

    def sendFile(self, fd: int, offset: int, count: int) -> Deferred[int]:
        if self._session is not None and not self._session.established:
            raise RuntimeError("nothing can be sent before the TLS handshake is over")
        return super().sendFile(fd, offset, count)

    def write(self, data: bytes) -> None:
        session = self._session
        if session is None or (self._queue and not self._aborted):
            super().write(data)
        elif not isinstance(data, bytes):
            raise TypeError(f"bytes are written, not {type(data).__name__}")
        elif self.connected and not session.closed:
            self._put(session.encrypt(data))

    def writeSequence(self, iovec: Any) -> None:
        if self._session is None:
            super().writeSequence(iovec)
        else:
            self.write(b"".join(iovec))

    def _put(self, encrypted: bytes, *, asked: bool = False) -> None:
        """Send what is encrypted, behind all that is; if limits were `asked`, now."""
        if not encrypted:
            return
        sent, share = 0, self._share
        if not self._held and (asked or share is None or share.covers(len(encrypted))):
            with suppress(OSError):  # what is more than a full buffer will be met again
                sent = self.socket.send(encrypted)
            self.bytes_sent += sent
            self._metrics.sent_encrypted += sent
            if share is not None and (asked or sent < len(encrypted)):
                share.charge(sent if asked else sent - len(encrypted))
        if sent < len(encrypted):
            self._held = True
            super()._follow(encrypted[sent:])
        elif self.producer is not None and not self.streamingProducer:
            self.startWriting()  # the base class asks it for more when the socket is ready

    def _count_written(self, sent: int) -> None:
        if self._session is None:
            super()._count_written(sent)
        else:
            self._metrics.sent_encrypted += sent

    def _follow(self, data: bytes) -> None:
        session = self._session
        super()._follow(data if session is None else session.encrypt(data))

    def _send_piece(self, sending: Outgoing, most: int) -> int:
        if self._session is None:
            return super()._send_piece(sending, most)
        data = os.pread(sending.fd, most, sending.offset)
        if data:
            self._put(self._session.encrypt(data), asked=True)
        return len(data)

    # Ending: what says, encrypted, that this is the end is sent before it. An aborted connection,
    # and one that is lost, ends without.

    def loseConnection(self) -> None:
        if self._session is not None and not self._session.established:
            self.abortConnection()
        else:
            super().loseConnection()

    def loseWriteConnection(self) -> None:
        if self._session is not None and not self._session.established:
            self.abortConnection()
        else:
            super().loseWriteConnection()

    def _end(self) -> None:
        self._say_goodbye()
        super()._end()

    def _half_close(self) -> None:
        self._say_goodbye()
        super()._half_close()

    def connectionLost(self, reason: Failure) -> None:
        if self.connected and self._session is not None and not self._session.established:
            self._metrics.handshakes_failed += 1
        self.__dict__.pop("doRead", None)  # which refers to us, so that only a collector would help
        if self._queue and isinstance(sending := self._queue[0], Outgoing):
            # What of it was encrypted last may not have left.
            left = len(self.dataBuffer) - self.offset + self._tempDataLen
            sending.offset = max(sending.start, sending.offset - left)
        super().connectionLost(reason)

    def _say_goodbye(self) -> None:
        if self._session is not None and self.connected and not self._aborted:
            self._put(self._session.close())


@implementer(IFileTransport)
class TlsFileTransport(_TlsSpeaking):
    """A server-side TCP connection that sends files, encrypted if the client begins so."""


@implementer(IFileTransport)
class UNIXTlsFileTransport(_TlsSpeaking, unix.Server):
    """A server-side connection of a Unix socket that does the same."""

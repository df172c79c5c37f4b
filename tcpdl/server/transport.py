"""The transport that sends files: a `tcp.Server` that knows `sendfile(2)`.

Imports the modules beside it, not those of protocols. It is set as the documented `Port.transport`
after `listen()` returned, and overrides public methods only. What it adds to its base class:

- `sendFile(fd, offset, count)`, in order with everything written before and after it;
- what is written while nothing waits is offered to the socket at once, which saves a small
  answer two changes of the epoll set, a turn of the reactor and a buffer;
- it asks `server.shaping`, if there are limits of rate, before it hands bytes to the kernel;
- `bytes_sent`, so that whoever watches a connection can tell progress from a stall.

The order is kept by one rule: bytes written before a file wait in the base class's buffer, and
the file with all that comes after it in a queue of our own. The base class thus meets an empty
buffer with a half-close or a close pending only when nothing is left in that queue.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import main, tcp, unix
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tcpdl.server import outgoing, sockets
from tcpdl.server.direct import DirectTransport
from tcpdl.server.metrics import Metrics
from tcpdl.server.outgoing import FileCutShort, IFileTransport, Outgoing, Queue, Written
from tcpdl.server.peer import network
from tcpdl.server.shaping import Shaper, Share
from tcpdl.server.transfers import CHANGED
from tcpdl.server.warming import WARM_MOST, Warmer, would_wait

SEND_MOST = 64 * 1024
"""Bytes of a file sent in one call. As much as one pipe and one segment of the loopback hold, and
small enough to stay in a processor's cache from the sender's hands to the receiver's: with 1 MiB a
call, one client is served a third slower and four at once by 40 % (bench/sizes.py). It also
makes thousands of clients take their turns quickly."""

_NO_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.EBUSY}
_PEER_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ETIMEDOUT, errno.ECONNABORTED}

SendFile = Callable[[int, int, int, int], int]
"""The signature of `os.sendfile(out_fd, in_fd, offset, count)`."""

_NOTHING: Queue = deque(maxlen=0)
"""The queue of all connections that sent no file yet: an empty deque takes 600 bytes."""


class FileSending(DirectTransport, tcp.Server):
    """What both kinds of transport below share, and those of `server.tls_transport`."""

    _held = False  # the base class's buffer holds bytes, or nothing may go out any more
    _queue = _NOTHING
    _read_most = 4 * 1024  # allocating more than comes costs more than a second read
    _waiting = 0  # bytes in the queue, files not counted
    _aborted = False
    _reset: bool | None = None  # a close would not be the end of what was promised
    _calm = True  # it will be, when the buffer has run empty
    _share: Share | None = None  # what it may send of a limited rate
    _ending: Callable[[], None] | None = None  # how to end once the queue is empty
    _sendfile: SendFile | None = os.sendfile
    _no_more = False  # an end was asked for: no file may follow

    def __init__(
        self,
        sock: Any,
        protocol: Any,
        client: Any,
        server: Any,
        sessionno: int,
        reactor: Any,
        *,
        sendfile: SendFile | None = os.sendfile,
        warmer: Warmer | None = None,
        shaper: Shaper | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """As the base class; `sendfile=None` makes it read and write instead.

        With a `warmer` that runs, pages that are not in memory are read in its threads. A
        `shaper` says when it may send, and how much. What comes and goes is counted in `metrics`.
        """
        if sendfile is not os.sendfile:  # what all have costs none of them anything
            self._sendfile = sendfile
        self._warmer = warmer
        self._metrics = metrics or Metrics()
        super().__init__(sock, protocol, client, server, sessionno, reactor)
        if shaper is not None:
            self._share = shaper.join(self, network(self.getPeer()))

    def moved(self) -> None:
        """The client is another one than it seemed, as `getPeer` says now."""
        if self._share is not None:
            self._share.move(network(self.getPeer()))

    # Receiving.

    def doRead(self) -> Any:
        """As the base class does it, but with a buffer that is as large as it has to be."""
        try:
            data = self.socket.recv(self._read_most)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        if len(data) == self._read_most < self.bufferSize:
            self._read_most *= 4
        self._metrics.received += len(data)
        self.protocol.dataReceived(data)
        return None

    # Sending.

    def sendFile(self, fd: int, offset: int, count: int) -> Deferred[int]:
        if self.TLS:
            raise RuntimeError("sendFile would put plain bytes into a TLS stream")
        if offset < 0 or count < 0:
            raise ValueError(f"offset {offset} and count {count} must not be negative")
        sending = Outgoing(fd, offset, count, lambda _: self.abortConnection())
        if not self.connected or self._aborted or self.disconnecting or self._no_more:
            sending.errback(ConnectionDone("the connection is closing"))
            return sending
        idle = not self._held and not self._queue
        if self._queue is _NOTHING:
            self._queue = deque()
        self._queue.append(sending)
        if not idle or count > SEND_MOST:
            self.reset_if_lost(True)
        sent = idle and self._send_some(sending) is None and sending.offset == sending.end
        if sent and not self._held:
            self._queue.popleft()
            sending.callback(count)
        else:
            self.reset_if_lost(True)
            # What went wrong will go wrong again, where the reactor can be told.
            self.startWriting()
        return sending

    def write(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"bytes are written, not {type(data).__name__}")
        if self._queue and not self._aborted and not self.TLS:
            # Before anything else: bytes of the base class's buffer are sent before the queue.
            self._queue.append(data)
            self._waiting += len(data)
            if self._waiting > self.bufferSize:
                self._pause_producer()
        elif self._held or self.TLS or self._no_more or not self.connected:
            super().write(data)
        elif self._share is not None and not self._share.covers(len(data)):
            self._held = True
            super().write(data)
        else:
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0  # what is more than a full buffer will be met again, by the reactor
            self.bytes_sent += sent
            self._metrics.sent_by_copying += sent
            if sent < len(data):
                if self._share is not None:
                    self._share.charge(sent - len(data))
                self._held = True
                super().write(data[sent:])
            elif self.producer is not None and not self.streamingProducer:
                self.startWriting()  # the base class asks it for more when the socket is ready

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        parts = list(iovec)
        if self._queue or self._held or self.TLS or self._no_more or not self.connected:
            self.write(b"".join(parts))
            return
        if self._share is not None and not self._share.covers(sum(map(len, parts))):
            self._held = True
            super().write(b"".join(parts))
            return
        # All of it goes out as it is, without being put together first, as far as that goes.
        try:
            sent = self.socket.sendmsg(parts)
        except OSError:
            sent = 0  # as in write
        self.bytes_sent += sent
        self._metrics.sent_by_copying += sent
        left = []
        for part in parts:
            if sent < len(part):
                left.append(memoryview(part)[sent:])
            sent = max(0, sent - len(part))
        if left:
            if self._share is not None:
                self._share.charge(-sum(map(len, left)))
            self._held = True
            super().write(b"".join(left))
        elif self.producer is not None and not self.streamingProducer:
            self.startWriting()

    @property
    def unsent(self) -> int:  # type: ignore[override]
        if not (self._held or self._queue):
            return 0
        unsent: int = len(self.dataBuffer) - self.offset + self._tempDataLen + self._waiting
        return unsent

    @property
    def waiting(self) -> int:  # type: ignore[override]
        files = (one.end - one.offset for one in self._queue if isinstance(one, Outgoing))
        return self.unsent + sum(files)

    def written(self, count: int, behind: int = 0) -> Written:
        if self._queue is _NOTHING:
            self._queue = deque()
        self._queue.append(written := Written(count, behind, self, self._queue))
        return written

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """As the base class; one that comes while much is to be sent is paused at once."""
        super().registerProducer(producer, streaming)
        if self.unsent > self.bufferSize:
            self._pause_producer()

    def writeSomeData(self, data: bytes) -> int | Any:
        if not data:
            return 0  # the base class asks when it has only a close to do
        if self._share is not None:
            data = data[: self._share.ask(min(len(data), SEND_MOST))]
            if not data:
                return 0
        sent = super().writeSomeData(data)
        if isinstance(sent, int):
            self.bytes_sent += sent
            self._count_written(sent)
            if self._share is not None:
                self._share.charge(sent)
        return sent

    def _count_written(self, sent: int) -> None:
        """Bytes have gone out that were in our memory."""
        self._metrics.sent_by_copying += sent

    def doWrite(self) -> Any:
        if self._held or not self._queue:
            return super().doWrite()
        sending = self._queue[0]
        assert isinstance(sending, Outgoing)
        problem = self._send_some(sending)
        if isinstance(problem, FileCutShort):
            self._metrics.read_errors += 1
            self._queue.popleft()
            self.abortConnection()
            sending.errback(problem)
            return None
        if problem is not None or sending.offset < sending.end or self._held:
            return problem
        self._queue.popleft()
        self._move_bytes()
        if not (isinstance(sending, Written) or outgoing.holds_file(self._queue)):
            self.reset_if_lost(False)
        sending.callback(sending.end - sending.start)
        if self._queue or self._held or self._aborted or not self.connected:
            return None
        # Nothing is left: the base class stops writing, asks a producer, or ends as told.
        return super().doWrite()

    def stopWriting(self) -> None:
        # The base class says so when its buffer ran empty.
        self._held = self._aborted
        if self._reset and self._calm:
            self.reset_if_lost(False)
        if not self._queue or self._aborted:
            super().stopWriting()

    def startWriting(self) -> None:
        if not self._aborted and not self.held:
            super().startWriting()

    def reset_if_lost(self, reset: bool) -> None:
        self._calm = not reset
        if self._held and not reset:
            return  # what is still in the buffer was promised as well
        if reset is self._reset:
            return  # at first it is unknown: the listening socket may have handed an option down
        self._reset = reset
        sockets.reset_when_closed(self.socket, reset)

    def _move_bytes(self) -> None:
        """Hand the bytes that followed a file to the base class, and an end that follows them."""
        while self._queue and isinstance(data := self._queue[0], bytes):
            self._queue.popleft()
            self._waiting -= len(data)
            self._held = True
            self._follow(data)
        if not self._queue and self._ending:
            ending, self._ending = self._ending, None
            ending()

    def _follow(self, data: bytes) -> None:
        """Have the base class send `data` behind what it holds."""
        super().write(data)

    def _pause_producer(self) -> None:
        producer: Any = self.producer
        if producer is not None and self.streamingProducer and not self.producerPaused:
            self.producerPaused = True
            producer.pauseProducing()

    def _send_some(self, sending: Outgoing) -> BaseException | None:
        """Send a part of the file; return why that cannot go on, if so."""
        wanted = sending.end - sending.offset
        if wanted == 0:
            return None
        wanted = min(wanted, SEND_MOST)
        sending.read_ahead()
        if sending.offset >= sending.warm and self._warmer is not None and self._warmer.running:
            waits = would_wait(sending.fd, sending.offset + wanted - 1)
            if waits is None:
                sending.warm = sending.end  # it will not be told of the rest either
            elif waits and self._park(sending, self._warmer):
                return None
        if self._share is not None and not (wanted := self._share.ask(wanted)):
            return None
        try:
            sent = self._send_piece(sending, wanted)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            if error.errno in _PEER_GONE:
                return main.CONNECTION_LOST
            if error.errno in _NO_SENDFILE and not sending.copying:
                sending.copying = True
                return self._send_some(sending)
            return sending.cut_short(os.strerror(error.errno or 0))
        if sent == 0:
            return sending.cut_short("the file became shorter", CHANGED)
        sending.offset += sent
        return None

    def _send_piece(self, sending: Outgoing, most: int) -> int:
        """Send what comes next of a file; return how many of its bytes: 0, if it has no more."""
        if self._sendfile is None or sending.copying:
            data = os.pread(sending.fd, most, sending.offset)
            sent = self.socket.send(data) if data else 0
            self._metrics.sent_by_copying += sent
        else:
            sent = self._sendfile(self.fileno(), sending.fd, sending.offset, most)
            self._metrics.sent_by_sendfile += sent
        self.bytes_sent += sent
        if self._share is not None:
            self._share.charge(sent)
        return sent

    def _park(self, sending: Outgoing, warmer: Warmer) -> bool:
        """Send nothing more until a thread has read what comes next; false if none can."""
        count = min(sending.end - sending.offset, WARM_MOST)
        sending.warm = sending.offset + count
        try:
            warmer.warm(sending.fd, sending.offset, count, self._unpark)
        except OSError:
            return False  # descriptors have run out; better to wait for the disk than to fail
        self.hold()
        return True

    def _unpark(self) -> None:
        self.held = False
        if self.connected:
            self.startWriting()

    # What `server.shaping` says.

    def hold(self) -> None:
        self.held = True
        self.reactor.removeWriter(self)

    def resume(self) -> bool:
        self.held = False
        problem = self.doWrite()
        if problem is None:
            if self.held or self._aborted or not self.connected:
                return False
            if not self._held and not self._queue:
                return False
            if self._share is not None and not self._share.full:
                return True
        # A problem will be there again, where the reactor can be told.
        self.startWriting()
        return False

    # Ending.

    def loseConnection(self) -> None:
        self._no_more = True
        if self._queue and not self._aborted:
            self.stopReading()
            self._ending = self._end
        else:
            self._end()

    def loseWriteConnection(self) -> None:
        self._no_more = True
        if self._queue and not self._aborted:
            self._ending = self._ending or self._half_close
        else:
            self._half_close()

    def _end(self) -> None:
        """Close the connection once the base class has sent what it holds."""
        super().loseConnection()

    def _half_close(self) -> None:
        """End our stream once the base class has sent what it holds."""
        super().loseWriteConnection()

    def abortConnection(self) -> None:
        self._aborted = self._held = True
        super().abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        outgoing.settle(self._queue)
        queue, self._queue = self._queue, _NOTHING
        if self._share is not None:
            self._share.leave()
            self._share = None
        # The base class shuts a connection down first, a clean end, unless it was aborted.
        closing = Failure(ConnectionAborted()) if self._reset else reason
        try:
            super().connectionLost(closing)
        finally:
            outgoing.give_up(queue, reason)


@implementer(IFileTransport)
class FileTransport(FileSending):
    """A server-side TCP connection that sends files."""


@implementer(IFileTransport)
class UNIXFileTransport(FileSending, unix.Server):
    """A server-side connection of a Unix socket that sends files.

    A Unix socket knows no reset: to its client, an aborted connection ends like any other.
    """

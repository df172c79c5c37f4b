"""What is said to clients that come without TLS where it is required: that it is.

Imports `wire`, `web` and the modules beside it. PROTOCOL.md 6.5 is the specification.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from tcpdl.server.deadlines import Deadlines
from tcpdl.server.front import Dialects
from tcpdl.server.http import HttpFactory
from tcpdl.server.http_answers import write_refusal
from tcpdl.server.http_exchange import Exchange, Work
from tcpdl.server.lingering import LingeringProtocol
from tcpdl.server.peer import peer_name
from tcpdl.server.transfers import NO_TLS, Transfers
from tcpdl.web.request import Refusal
from tcpdl.wire import native

SENTENCE = "this server is reached with TLS only (tcpdls:// or https://)"


class Refusing(LingeringProtocol):
    """Says what it is made to say to whatever is sent, and ends."""

    def __init__(
        self, deadlines: Deadlines, said: bytes, dialect: str, transfers: Transfers
    ) -> None:
        super().__init__(deadlines)
        self._said = said
        self._dialect = dialect
        self._transfers = transfers

    def connectionMade(self) -> None:
        peer = peer_name(self.transport.getPeer())
        self._transfers.once(NO_TLS, self._dialect, peer, False, why="TLS is required here")
        if self._said:
            self.transport.write(self._said)
        self.finish()

    def dataReceived(self, data: bytes) -> None:
        self.discard(data)


class RefusingFactory(Factory):
    """Makes the `Refusing` protocols of one port and dialect."""

    noisy = False

    def __init__(
        self, deadlines: Deadlines, said: bytes, dialect: str, transfers: Transfers
    ) -> None:
        self.transfers = transfers
        self._make = partial(Refusing, deadlines, said, dialect)

    def buildProtocol(self, addr: IAddress | None) -> Refusing:
        return self._make(self.transfers)


class ToHttps:
    """Answers requests with where they are answered."""

    def answer(self, exchange: Exchange) -> Work | None:
        """Answer a request. Raises `Refusal`."""
        request = exchange.request
        if not request.host:
            sentence = f"{SENTENCE}, and the request has no Host to say where"
            raise Refusal(400, sentence, fatal=False)
        path = request.path if request.path.startswith(b"/") else b"/"
        query = b"?" + request.query if request.query else b""
        where = f"https://{request.host}{(path + query).decode('ascii')}"
        exchange.write_sentence(308, [("Location", where)], SENTENCE)
        return None

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """Say why a request is not answered."""
        write_refusal(exchange, refusal)


def refusing(deadlines: Deadlines, transfers: Transfers) -> Dialects:
    """What makes the protocols of raw, native and HTTP where nothing but TLS is to be spoken."""
    error = native.Error(0, native.NEEDS_TLS, SENTENCE)
    said = native.preface(0) + b"".join(native.parts(error))
    return Dialects(
        RefusingFactory(deadlines, b"", "raw", transfers),
        RefusingFactory(deadlines, said, "native", transfers),
        HttpFactory(ToHttps(), deadlines, transfers=transfers),
    )

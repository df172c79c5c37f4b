"""The native dialect's client for programs that are made with Twisted.

Imports Twisted, `tcpdl.wire` and `tcpdl.digest` only, and no reactor. Every byte that is delivered
was checked before; requests on one connection are pipelined, and answered in order.
docs/examples/twisted_get.py is all of a program that fetches a file:

    async def main(reactor, server, name):
        endpoint = clientFromString(reactor, server)
        client = await endpoint.connect(NativeClientFactory(reactor))
        await client.get(name, sys.stdout.buffer.write)
        client.transport.loseConnection()

    react(main, sys.argv[1:])

Under TLS, the endpoint is `tls:host:port`, or what `wrapClientTLS` makes; `NativeClient.log_in`
says who asks. What can be asked for is described with `NativeClient`, what can fail in
`tcpdl.protocol.errors`.
"""

from tcpdl.protocol.answers import FileDigests
from tcpdl.protocol.connection import NativeClient, NativeClientFactory
from tcpdl.protocol.errors import (
    BadRange,
    Changed,
    Damaged,
    Dismissed,
    GoingAway,
    IsFolder,
    NotAFolder,
    NotAllowed,
    NotServed,
    OtherDialect,
    ProtocolError,
    ServerError,
    TooLarge,
    TryLater,
    WrongUse,
)
from tcpdl.protocol.fetching import fetch_bytes
from tcpdl.wire.login import Login
from tcpdl.wire.native import ANY_TAG, TO_END, FileInfo
from tcpdl.wire.pack import Entry

__all__ = [
    "ANY_TAG",
    "TO_END",
    "BadRange",
    "Changed",
    "Damaged",
    "Dismissed",
    "Entry",
    "FileDigests",
    "FileInfo",
    "GoingAway",
    "IsFolder",
    "Login",
    "NativeClient",
    "NativeClientFactory",
    "NotAFolder",
    "NotAllowed",
    "NotServed",
    "OtherDialect",
    "ProtocolError",
    "ServerError",
    "TooLarge",
    "TryLater",
    "WrongUse",
    "fetch_bytes",
]

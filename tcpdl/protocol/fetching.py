"""A whole file over a connection of its own. Imports the modules beside it, and Twisted."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint

from tcpdl.protocol.connection import BYTES_MOST, SECONDS, NativeClientFactory


def fetch_bytes(
    endpoint: IStreamClientEndpoint,
    name: bytes | str,
    most: int = BYTES_MOST,
    *,
    reactor: Any = None,
    timeout: float | None = SECONDS,
) -> Deferred[bytes]:
    """All of the file `name` of the server at `endpoint`, by a connection of its own.

    Fails as `NativeClient.get_bytes` does, and as the endpoint does to connect.
    """

    async def fetch() -> bytes:
        client: Any = await endpoint.connect(NativeClientFactory(reactor, timeout))
        try:
            found: bytes = await client.get_bytes(name, most)
        finally:
            client.transport.loseConnection()
        return found

    return Deferred.fromCoroutine(fetch())

"""A server of all dialects on one port, without a reactor."""

from __future__ import annotations

from typing import Any

from tcpdl.server.front import FrontFactory
from tcpdl.server.native import NativeFactory
from tcpdl.server.raw import RawFactory
from tests.server.conftest import Connection
from tests.server.http_client import HttpServer


class Front(HttpServer):
    """A folder, and connections that do not say yet which dialect they speak."""

    def front(self, kind: str = "pair", *, quiet: float = 0, **options: Any) -> Connection:
        """A new connection; `quiet` is in seconds."""
        work: Any = self.work
        raw = RawFactory(self.directory, self.clock, self.deadlines, quiet=quiet)
        native = NativeFactory(self.directory, self.deadlines, self.digests, work)
        protocol = FrontFactory(self.deadlines, raw, native, self.factory).buildProtocol(None)
        return self._connect(kind, protocol=protocol, clock=self.clock, **options)

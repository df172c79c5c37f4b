"""An administrator's port that is asked without a reactor of its own."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, NamedTuple

from tests.daemons import SECONDS


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    text: str

    @property
    def document(self) -> Any:
        return json.loads(self.text)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self._path)


def ask(
    connection: http.client.HTTPConnection,
    path: str,
    method: str = "GET",
    **fields: str,
) -> Answer:
    """What `connection` answers to one request, after which it is closed."""
    try:
        connection.request(method, path, headers=fields)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read().decode())
    finally:
        connection.close()

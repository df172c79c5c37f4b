"""What the tests of TLS share: an authority, and servers under TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcpdl.client import patience
from tcpdl.client.access import Access
from tests.certificates import Certificate, make, server_context
from tests.client.http.web_server import WebServer
from tests.client.native_server import NativeServer
from tests.client.tls_front import TlsFront

Secure = Callable[..., TlsFront]


@pytest.fixture(scope="session")
def authority() -> Certificate:
    return make("authority", authority=True)


@pytest.fixture(scope="session")
def certificate(authority: Certificate) -> Certificate:
    """For `localhost` and 127.0.0.1."""
    return make(issuer=authority)


@pytest.fixture
def ca_file(authority: Certificate, tmp_path: Path) -> str:
    return str(authority.write(tmp_path, "authority")[0])


@pytest.fixture
def access(ca_file: str) -> Access:
    """Trusts the authority."""
    return Access(ca_file=ca_file)


@pytest.fixture
def secure(no_descriptor_leaks: None, certificate: Certificate) -> Iterator[Secure]:
    """Puts TLS in front of a port."""
    fronts: list[TlsFront] = []

    def start(behind: int, context: ssl.SSLContext | None = None) -> TlsFront:
        front = TlsFront(behind, context or server_context(certificate))
        fronts.append(front)
        return front

    yield start
    for front in fronts:
        front.close()
        assert front.failure is None


@pytest.fixture
def native(no_descriptor_leaks: None) -> Iterator[NativeServer]:
    server = NativeServer()
    yield server
    server.close()
    assert server.failure is None


@pytest.fixture
def web(no_descriptor_leaks: None) -> Iterator[WebServer]:
    server = WebServer()
    yield server
    server.close()
    assert server.failure is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where to download to."""
    made = tmp_path / "here"
    made.mkdir()
    return made


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", tuple(pause / 10_000 for pause in patience.PAUSES))

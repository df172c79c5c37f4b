"""Tests `client.http.download` where another page comes in place of the file that was begun."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest

from tcpdl.client.errors import ConnectionBroken
from tcpdl.client.expected import Expected
from tests.client.http.conftest import MIB, NAME, PART, RECORD, Fetch
from tests.client.http.test_http_download import DATA, some
from tests.client.http.web_server import (
    NOW,
    Asked,
    Ending,
    Hook,
    Piece,
    WebServer,
    chunked,
    reply,
)

PAGE = b"<html>log in to the network</html>"
NEW_PART = "file.bin.tcpdl-new.tcpdl-part"
NEW_RECORD = "file.bin.tcpdl-new.tcpdl-record"
OTHER = some(3 * MIB + 5, 7)


def answering(answer: bytes) -> Hook:
    return lambda _: [answer, Ending.FIN]


PORTALS = {
    "a page": reply("200 OK", ("Content-Type", "text/html"), body=PAGE),
    "with a weak tag": reply("200 OK", ("ETag", 'W/"x"'), body=PAGE),
    "just made": reply("200 OK", ("Last-Modified", NOW), ("Date", NOW), body=PAGE),
    "in chunks": reply("200 OK", ("Transfer-Encoding", "chunked"), body=chunked(PAGE)),
    "until the end": b"HTTP/1.0 200 OK\r\n\r\n" + PAGE,
}


@pytest.fixture
def begun(server: WebServer, fetch: Fetch) -> bytes:
    """A part, as it was left when the server went away."""
    server.cuts = [(2 * MIB + 500_000, Ending.FIN), *[(0, Ending.FIN)] * 20]
    with pytest.raises(ConnectionBroken):
        fetch(server.put("/f", DATA))
    assert fetch.names == {PART, RECORD}
    server.cuts = []
    server.asked.clear()
    return fetch.part.read_bytes()


@pytest.mark.parametrize("portal", PORTALS)
def test_page(portal: str, begun: bytes, server: WebServer, fetch: Fetch) -> None:
    """Nothing says that it is a version of the file: what came is kept, and gone on with later."""
    record = fetch.record.read_bytes()
    server.hook = answering(PORTALS[portal])
    for _ in range(2):
        with pytest.raises(ConnectionBroken, match=f"is not what was begun, .* remove '{PART}'"):
            fetch(server.at("/f"))
        assert fetch.names == {PART, RECORD}
        assert fetch.part.read_bytes() == begun
        assert fetch.record.read_bytes() == record
    server.hook = None
    assert fetch(server.at("/f")).kept == 2 * MIB
    assert fetch.path.read_bytes() == DATA
    assert fetch.names == {NAME}


@pytest.mark.parametrize("portal", PORTALS)
def test_page_in_the_middle(portal: str, server: WebServer, fetch: Fetch) -> None:
    def hook(asked: Asked) -> Iterable[Piece] | None:
        return [PORTALS[portal], Ending.FIN] if asked.number else None

    server.cuts = [(2 * MIB + 500_000, Ending.FIN)]
    server.hook = hook
    with pytest.raises(ConnectionBroken, match="is not what was begun"):
        fetch(server.put("/f", DATA))
    assert fetch.names == {PART, RECORD}
    server.hook = None
    assert fetch(server.at("/f")).kept == 2 * MIB
    assert fetch.path.read_bytes() == DATA


@pytest.mark.parametrize("portal", PORTALS)
def test_what_it_should_be_is_known(
    portal: str, begun: bytes, server: WebServer, fetch: Fetch
) -> None:
    """Then it can prove to be the file; and if it does not, what came is kept."""
    server.hook = answering(PORTALS[portal])
    wrong = Expected("sha256", hashlib.sha256(DATA).digest())
    with pytest.raises(Exception, match="has the sha256"):
        fetch(server.at("/f"), expected=[wrong])
    assert fetch.names == {PART, RECORD}
    assert fetch.part.read_bytes() == begun
    fetch(server.at("/f"), expected=[Expected("sha256", hashlib.sha256(PAGE).digest())])
    assert fetch.path.read_bytes() == PAGE
    assert fetch.names == {NAME}


def test_new_version(begun: bytes, server: WebServer, fetch: Fetch) -> None:
    """It is continued when it breaks, and takes the place of the part once it is complete."""
    server.put("/f", OTHER, etag='"2"')
    server.cuts = [(0, Ending.FIN)] * server.connections
    server.cuts += [(MIB + MIB // 2, Ending.FIN), *[(0, Ending.FIN)] * 20]
    with pytest.raises(ConnectionBroken):
        fetch(server.at("/f"))
    assert fetch.names == {PART, RECORD, NEW_PART, NEW_RECORD}
    assert fetch.part.read_bytes() == begun
    assert any("what was begun stays until that is complete" in note for note in fetch.notes)
    server.cuts = []
    fetched = fetch(server.at("/f"))
    assert fetched.kept >= MIB
    assert fetch.path.read_bytes() == OTHER
    assert fetch.names == {NAME}


def test_old_version_comes_back(begun: bytes, server: WebServer, fetch: Fetch) -> None:
    """Whatever was there meanwhile, what came of this one is of use."""
    server.put("/f", OTHER, etag='"2"')
    server.cuts = [(0, Ending.FIN)] * server.connections
    server.cuts += [(MIB + MIB // 2, Ending.FIN), *[(0, Ending.FIN)] * 20]
    with pytest.raises(ConnectionBroken):
        fetch(server.at("/f"))
    server.cuts = []
    assert fetch(server.put("/f", DATA)).kept == 2 * MIB
    assert fetch.path.read_bytes() == DATA
    assert fetch.names == {NAME}


def test_versions_within_one_run(begun: bytes, server: WebServer, fetch: Fetch) -> None:
    """First another, which breaks off; then the one that was begun."""

    def hook(asked: Asked) -> Iterable[Piece] | None:
        if asked.number:
            return None
        other = reply("200 OK", ("ETag", '"2"'), body=OTHER)
        return [other[: MIB + MIB // 2], Ending.FIN]

    server.hook = hook
    assert fetch(server.at("/f")).kept == 2 * MIB
    assert fetch.path.read_bytes() == DATA
    assert fetch.names == {NAME}


def test_third_version(begun: bytes, server: WebServer, fetch: Fetch) -> None:
    third = some(2 * MIB, 9)
    server.put("/f", OTHER, etag='"2"')
    server.cuts = [(0, Ending.FIN)] * server.connections
    server.cuts += [(MIB + MIB // 2, Ending.FIN), *[(0, Ending.FIN)] * 20]
    with pytest.raises(ConnectionBroken):
        fetch(server.at("/f"))
    server.cuts = []
    fetch(server.put("/f", third, etag='"3"'))
    assert fetch.path.read_bytes() == third
    assert fetch.names == {NAME}

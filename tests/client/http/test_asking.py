"""Tests `client.http.asking`: what is sent, where redirects lead, and what refusals say."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tcpdl.client.errors import (
    CannotConnect,
    ClientError,
    Garbled,
    NotAllowed,
    NothingThere,
    ServerFailed,
)
from tcpdl.client.http.asking import REDIRECTS_MOST, WAIT_MOST
from tcpdl.client.url import parse_url
from tests.client.http.conftest import Fetch
from tests.client.http.test_http_download import DATA
from tests.client.http.web_server import Asked, Piece, WebServer, reply


def redirect(to: str, status: int = 302) -> bytes:
    return reply(f"{status} Elsewhere", ("Location", to), body=b"<a>elsewhere</a>")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("to", "target"),
    [
        ("/b/f", "/b/f"),
        ("f", "/a/f"),
        ("../f?x=%20y#z", "/f?x=%20y"),
        ("?b", "/a/x?b"),
        ("//127.0.0.1:{port}/b", "/b"),
        ("http://127.0.0.1:{port}/b", "/b"),
        ("HTTP://127.0.0.1:{port}", "/"),
        ("/\u00e4 b", "/%C3%A4%20b"),
    ],
)
def test_redirect(to: str, target: str, status: int, server: WebServer, fetch: Fetch) -> None:
    to = to.format(port=server.port).encode().decode("latin-1")
    server.put(target, DATA)
    server.hook = lambda asked: [redirect(to, status)] if asked.target == "/a/x" else None
    fetch(server.at("/a/x"))
    assert fetch.path.read_bytes() == DATA
    assert [asked.target for asked in server.asked] == ["/a/x", target]


@pytest.mark.parametrize(
    ("to", "complaint"),
    [
        ("file:///etc/passwd", "no place on the web"),
        ("ftp://127.0.0.1/f", "no place on the web"),
        ("tcpdl://127.0.0.1/f", "no place on the web"),
        ("javascript:x", "no place on the web"),
        ("http://user:secret@127.0.0.1/f", "user name or password"),
        ("http://[::1/f", "redirects to"),
        ("http://127.0.0.1:0/f", "not a port"),
    ],
)
def test_redirect_to_what_is_refused(
    to: str, complaint: str, server: WebServer, fetch: Fetch
) -> None:
    server.hook = lambda _: [redirect(to)]
    with pytest.raises(NothingThere, match=complaint) as raised:
        fetch(server.at("/f"))
    assert str(raised.value).isprintable()
    assert len(server.asked) == 1


@pytest.mark.parametrize("to", ["/a/x/", "x/", "http://127.0.0.1:{port}/a/%78/"])
def test_redirect_to_the_page_of_a_folder(to: str, server: WebServer, fetch: Fetch) -> None:
    """It is not what was asked for, and would be kept as if it were."""
    to = to.format(port=server.port)
    server.hook = lambda asked: [redirect(to, 301)] if asked.target == "/a/x" else None
    with pytest.raises(NothingThere, match="'/a/x' is a folder; tcpdl mirror"):
        fetch(server.at("/a/x"))


def test_redirects_without_end(server: WebServer, fetch: Fetch) -> None:
    server.hook = lambda asked: [redirect(f"/{asked.number}")]
    with pytest.raises(Garbled, match="redirects more than 10 times"):
        fetch(server.at("/f"))
    assert len(server.asked) == 2 * (REDIRECTS_MOST + 1)


def test_as_many_redirects_as_are_followed(server: WebServer, fetch: Fetch) -> None:
    server.put(f"/{REDIRECTS_MOST - 1}", DATA)
    server.hook = lambda asked: (
        [redirect(f"/{asked.number}")] if asked.number < REDIRECTS_MOST else None
    )
    fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA


@pytest.mark.parametrize("fields", [(), (("Location", ""),), (("Location", "/a"),) * 2])
def test_redirect_to_nowhere(
    fields: tuple[tuple[str, str], ...], server: WebServer, fetch: Fetch
) -> None:
    server.hook = lambda _: [reply("302 Found", *fields)]
    with pytest.raises(Garbled, match="does not say where to"):
        fetch(server.at("/f"))


def test_redirect_that_holds_for_a_while(server: WebServer, fetch: Fetch, eager: None) -> None:
    """Where it led to is refused later; it is asked again where to, and nothing is lost."""
    server.put("/b0", DATA)
    server.put("/b1", DATA)
    turn = [0]

    def answer(asked: Asked) -> Iterable[Piece] | None:
        if asked.target == "/f":
            return [redirect(f"/b{turn[0]}")]
        if asked.target == "/b0" and asked.number > 3:
            turn[0] = 1
            return [reply("403 Expired")]
        return None

    server.hook = answer
    fetched = fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA
    assert fetched.received < len(DATA) + 10_000


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *(("404 Not Found", NothingThere), ("410 Gone", NothingThere), ("403 No", NotAllowed)),
        *(("401 Unauthorized", NotAllowed), ("405 Not Allowed", NothingThere)),
        *(("500 Oh", ServerFailed), ("502 Bad", ServerFailed), ("412 Failed", ServerFailed)),
        *(("503 Busy", ServerFailed), ("429 Too Many", ServerFailed), ("408 Slow", ServerFailed)),
        ("304 Not Modified", Garbled),
        ("204 No Content", Garbled),
        ("300 Choices", Garbled),
    ],
)
def test_status(status: str, kind: type[ClientError], server: WebServer, fetch: Fetch) -> None:
    fetch.path.write_bytes(b"precious")
    server.hook = lambda _: [reply(status, body=b"<h1>not the file</h1>")]
    with pytest.raises(kind, match=status):
        fetch(server.at("/f"))
    assert fetch.path.read_bytes() == b"precious"
    assert len(fetch.names) == 1


def test_reason_is_fit_to_be_shown(server: WebServer, fetch: Fetch) -> None:
    server.hook = lambda _: [reply("404 \x1b[2J\x9b")]
    with pytest.raises(NothingThere) as raised:
        fetch(server.at("/f"))
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_server_that_wants_to_be_asked_later(status: str, server: WebServer, fetch: Fetch) -> None:
    location = server.put("/f", DATA)
    server.hook = lambda asked: [reply(status, ("Retry-After", 7))] if asked.number < 3 else None
    fetch(location)
    assert fetch.path.read_bytes() == DATA
    assert fetch.slept == [7, 7, 7]


@pytest.mark.parametrize(
    "after", ["0", "", "-1", "soon", str(int(WAIT_MOST) + 1), "9" * 50, "\u0661"]
)
def test_server_that_wants_to_be_asked_much_later(
    after: str, server: WebServer, fetch: Fetch
) -> None:
    field = after.encode().decode("latin-1")
    server.hook = lambda _: [reply("503 Busy", ("Retry-After", field))]
    with pytest.raises(ServerFailed):
        fetch(server.at("/f"))
    assert fetch.slept == []


def test_no_server(refused: int, fetch: Fetch) -> None:
    with pytest.raises(CannotConnect):
        fetch(parse_url(f"http://127.0.0.1:{refused}/f"))
    assert fetch.names == set()

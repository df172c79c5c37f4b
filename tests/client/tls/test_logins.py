"""Tests which servers get a login, what is said of those that want one, and where links go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcpdl.client import line
from tcpdl.client.access import Access
from tcpdl.client.api import fetch, fetch_bytes, fetch_to
from tcpdl.client.credentials import Netrc
from tcpdl.client.errors import BadRequest, NotAllowed, NothingThere
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.wire.login import Login
from tcpdl.wire.native import LOGIN_NEEDED, NOT_ALLOWED
from tests.client.http import web_server
from tests.client.http.web_server import Asked, WebServer, reply
from tests.client.native_server import Ending, NativeServer

if TYPE_CHECKING:
    from tests.client.tls.conftest import Secure

MIB = 1 << 20
SECRET = "open-sesame"
BASIC = "Basic YW5uOm9wZW4tc2VzYW1l"
LINK = "?until=1704144677&signed=UeBQL3lsEfU9Pq11Phnrqvr-qWoIyUrlfYte7QAZGuk"


@pytest.fixture
def ann(ca_file: str) -> Access:
    return Access(ca_file=ca_file, login=("ann", SECRET))


def get(location: Location, folder: Path, access: Access, **more: Any) -> None:
    access.name(location)
    fetch_to(location, str(folder), b"f", Ways(timeout=5, access=access, **more))


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers are elsewhere."""
    monkeypatch.setattr(line, "peer_of", lambda _: "192.0.2.1")


@pytest.mark.parametrize("tls", [True, False])
def test_native(tls: bool, native: NativeServer, secure: Secure, ann: Access, folder: Path) -> None:
    """On each connection, before anything is asked for."""
    location = native.put(b"f", bytes(MIB))
    native.cuts = [(20_000, Ending.FIN)]
    if tls:
        location = location._replace(host="localhost", port=secure(native.port).port, tls=True)
    get(location, folder, ann)
    assert (folder / "f").read_bytes() == bytes(MIB)
    assert native.logins == [Login.with_password(b"ann", SECRET.encode())] * 2
    assert native.connections == 2


def test_native_token(native: NativeServer, folder: Path) -> None:
    get(native.put(b"f", b"hello"), folder, Access(token=SECRET))
    assert native.logins == [Login.with_token(SECRET.encode())]


def test_nothing_is_sent_in_clear(
    native: NativeServer, web: WebServer, ann: Access, folder: Path, away: None
) -> None:
    for location in (native.put(b"f", b"hello"), web.put("/f", b"hello")):
        with pytest.raises(BadRequest, match=r"not sent to 127\.0\.0\.1:\d+ in clear"):
            get(location, folder, ann)
    assert native.logins == []
    assert native.asked == []
    assert web.asked == []
    assert list(folder.iterdir()) == []


def test_what_is_in_clear_needs_no_netrc(native: NativeServer, folder: Path, away: None) -> None:
    netrc = folder / ".netrc"
    netrc.touch(0o600)
    netrc.write_text(f"machine 127.0.0.1 login ann password {SECRET}\n")
    get(native.put(b"f", b"hello"), folder, Access(netrc=Netrc(str(netrc))))
    assert native.logins == []
    assert (folder / "f").read_bytes() == b"hello"


def test_under_tls(
    native: NativeServer, secure: Secure, ann: Access, folder: Path, away: None
) -> None:
    native.put(b"f", b"hello")
    get(Location("localhost", secure(native.port).port, b"f", tls=True), folder, ann)
    assert len(native.logins) == 1


def test_not_before_the_server_is_trusted(
    native: NativeServer, secure: Secure, folder: Path
) -> None:
    native.put(b"f", b"hello")
    stranger = Access(login=("ann", SECRET))
    with pytest.raises(Exception, match="not known here"):
        get(Location("localhost", secure(native.port).port, b"f", tls=True), folder, stranger)
    assert native.connections <= 1
    assert native.logins == []


@pytest.mark.parametrize("tls", [True, False])
def test_http(tls: bool, web: WebServer, secure: Secure, ann: Access, folder: Path) -> None:
    location = web.put("/f", bytes(40 * MIB))
    if tls:
        location = location._replace(host="localhost", port=secure(web.port).port, tls=True)
    get(location, folder, ann, connections=2)
    assert (folder / "f").read_bytes() == bytes(40 * MIB)
    assert len(web.asked) > 1
    assert {asked.fields["authorization"] for asked in web.asked} == {BASIC}


def test_http_token(web: WebServer, folder: Path) -> None:
    get(web.put("/f", b"hello"), folder, Access(token=SECRET))
    assert [asked.fields["authorization"] for asked in web.asked] == [f"Bearer {SECRET}"]


@pytest.mark.parametrize("elsewhere", [True, False])
def test_redirect(elsewhere: bool, web: WebServer, ann: Access, folder: Path) -> None:
    """Another port is another server; and whoever redirects there may be no friend of the user."""
    other = WebServer()
    port = other.port if elsewhere else web.port
    (other if elsewhere else web).put("/g", b"hello")
    to = f"http://127.0.0.1:{port}/g"

    def hook(asked: Asked) -> Any:
        return [reply("302 Found", ("Location", to))] if asked.target == "/f" else None

    web.hook = hook
    get(web.at("/f"), folder, ann)
    other.close()
    assert (folder / "f").read_bytes() == b"hello"
    assert web.asked[0].fields["authorization"] == BASIC
    last = (other if elsewhere else web).asked[-1]
    assert last.target == "/g"
    assert ("authorization" in last.fields) is not elsewhere


def test_redirects_of_tls(
    web: WebServer, secure: Secure, ann: Access, ca_file: str, folder: Path
) -> None:
    """From a plain server to TLS, but not back."""
    front = secure(web.port)
    web.put("/g", b"hello")
    to = f"https://localhost:{front.port}/g"
    web.hook = lambda asked: (
        [reply("308 Permanent Redirect", ("Location", to))] if asked.target == "/f" else None
    )
    get(web.at("/f"), folder, Access(ca_file=ca_file))
    assert (folder / "f").read_bytes() == b"hello"
    (folder / "f").unlink()
    to = f"http://127.0.0.1:{web.port}/g"
    web.asked.clear()
    with pytest.raises(NothingThere, match="is not under TLS any more"):
        get(Location("localhost", front.port, b"f", "/f", tls=True), folder, ann)
    assert [asked.target for asked in web.asked] == ["/f"]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "access", "kind", "complaint"),
    [
        ("401 No", Access(), NotAllowed, "wants a login .* --login USER"),
        ("401 No", Access(token=SECRET), NotAllowed, "does not take this login"),
        ("403 No", Access(), NotAllowed, "does not hand out '/f' to us: 403 No"),
        ("403 No", Access(token=SECRET), NotAllowed, "does not hand out '/f' to us: 403 No"),
    ],
)
def test_http_refusals(
    status: str,
    access: Access,
    kind: type[Exception],
    complaint: str,
    web: WebServer,
    folder: Path,
) -> None:
    web.hook = lambda _: [reply(status)]
    with pytest.raises(kind, match=complaint) as raised:
        get(web.at("/f"), folder, access)
    assert SECRET not in str(raised.value)
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    ("code", "complaint"),
    [(LOGIN_NEEDED, "wants a login .* because; use --login"), (NOT_ALLOWED, "may not have")],
)
def test_native_refusals(
    code: int, complaint: str, native: NativeServer, ann: Access, folder: Path
) -> None:
    location = native.put(b"f", b"hello")
    native.refusals[b"f"] = (code, "because")
    with pytest.raises(NotAllowed, match=complaint) as raised:
        get(location, folder, ann)
    assert raised.value.status == 9
    assert SECRET not in str(raised.value)
    assert native.connections == 1
    assert list(folder.iterdir()) == []


def test_raw_has_no_logins(native: NativeServer, ann: Access, folder: Path) -> None:
    with pytest.raises(BadRequest, match="knows no logins"):
        get(native.put(b"f", b"hello"), folder, ann, dialect="raw")


def test_by_url(native: NativeServer, folder: Path) -> None:
    native.put(b"f", b"hello")
    url = f"127.0.0.1:{native.port}/f"
    fetch(url, folder / "f", access=Access(token=SECRET))
    assert fetch_bytes(url, access=Access(token=SECRET)) == b"hello"
    assert len(native.logins) == 2


# Links.


def test_native_link(native: NativeServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent with the name, and stands nowhere else."""
    monkeypatch.chdir(folder)
    data = bytes(3 * MIB)
    location = native.put(f"a/f{LINK}".encode(), data)
    native.cuts = [(2 * MIB, Ending.FIN), *[(0, Ending.FIN)] * 20]
    with pytest.raises(Exception, match=r"kept in 'f\.tcpdl-part'") as raised:
        fetch(f"127.0.0.1:{location.port}/a/f{LINK}", timeout=5)
    assert "signed" not in str(raised.value)
    assert {path.name for path in folder.iterdir()} == {"f.tcpdl-part", "f.tcpdl-record"}
    assert not any(b"UeBQ" in path.read_bytes() for path in folder.iterdir())
    native.cuts = []
    assert fetch(f"127.0.0.1:{location.port}/a/f{LINK}", timeout=5).kept
    assert (folder / "f").read_bytes() == data


def test_http_link(web: WebServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that was made anew leads to the same file, and what came by the last is kept."""
    monkeypatch.chdir(folder)
    data = bytes(3 * MIB)
    web.cuts = [(2 * MIB, web_server.Ending.FIN), *[(0, web_server.Ending.FIN)] * 20]
    url = f"{web.at('/a/f').root}/a/f"
    web.put(f"/a/f{LINK}", data)
    with pytest.raises(Exception, match=r"kept in 'f\.tcpdl-part'") as raised:
        fetch(url + LINK, timeout=5)
    assert "UeBQ" not in str(raised.value)
    assert not any(b"UeBQ" in path.read_bytes() for path in folder.iterdir())
    web.cuts = []
    other = LINK.replace("170", "180").replace("UeBQ", "XxXx")
    web.put(f"/a/f{other}", data)
    assert fetch(url + other, timeout=5).kept
    assert (folder / "f").read_bytes() == data

"""Tests `client.credentials` and `client.access`: where logins come from, and where they go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tcpdl.client.access import Access
from tcpdl.client.credentials import Login, Netrc, default_netrc, may_be_sent, read_token
from tcpdl.client.errors import BadRequest
from tcpdl.client.url import parse_url
from tcpdl.wire.login import PASSWORD, PROOF_MOST, TOKEN

ENTRIES = """\
# comment
machine server.example login ann password "s3cret word"
machine Upper.example
  login bob
  password hunter2
machine open.example login carl
default login anyone password swordfish
"""
SECRETS = ("s3cret", "hunter2", "swordfish")


@pytest.fixture
def netrc(tmp_path: Path) -> Path:
    path = tmp_path / "netrc"
    path.touch(0o600)
    path.write_text(ENTRIES)
    return path


def test_by_name(netrc: Path) -> None:
    logins = Netrc(str(netrc))
    assert tuple(logins.login_for("server.example") or ()) == ("s3cret word", "ann")
    for host in ("upper.example", "UPPER.example"):
        assert tuple(logins.login_for(host) or ()) == ("hunter2", "bob")


def test_default_is_for_those_who_asked_for_the_file(netrc: Path) -> None:
    assert tuple(Netrc(str(netrc)).login_for("x.server.example") or ()) == ("swordfish", "anyone")
    assert Netrc(str(netrc), asked_for=False).login_for("x.server.example") is None


def test_entry_without_a_password(netrc: Path) -> None:
    with pytest.raises(BadRequest, match=r"for open\.example: a password"):
        Netrc(str(netrc)).login_for("open.example")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_file_that_others_can_read(mode: int, netrc: Path) -> None:
    """It is in the way only of who would need it."""
    netrc.chmod(mode)
    logins = Netrc(str(netrc), asked_for=False)
    assert logins.login_for("other.example") is None
    with pytest.raises(BadRequest, match=f"chmod 600 {netrc}") as raised:
        logins.login_for("server.example")
    assert not any(secret in str(raised.value) for secret in SECRETS)


def test_file_of_another_user(netrc: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a file away")
    os.chown(netrc, 12345, -1)
    with pytest.raises(BadRequest, match="another user's"):
        Netrc(str(netrc)).login_for("server.example")


@pytest.mark.parametrize("asked_for", [True, False])
def test_file_that_is_none(asked_for: bool, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch(0o600)
    broken.write_text("machine a login b password hunter2\nhunter2 oops\n")
    with pytest.raises(BadRequest, match="is no netrc, line") as raised:
        Netrc(str(broken), asked_for=asked_for).login_for("a")
    assert "hunter2" not in str(raised.value)
    with pytest.raises(BadRequest, match="not a regular file"):
        Netrc(str(tmp_path), asked_for=asked_for).login_for("a")


def test_absent_file(tmp_path: Path) -> None:
    assert Netrc(str(tmp_path / "none"), asked_for=False).login_for("a") is None
    with pytest.raises(BadRequest, match="no such file"):
        Netrc(str(tmp_path / "none")).login_for("a")


def test_default_file(netrc: Path, tmp_path: Path) -> None:
    found = default_netrc({"NETRC": str(netrc), "HOME": "/nowhere"})
    assert found is not None
    assert found.login_for("server.example") is not None
    (tmp_path / ".netrc").symlink_to(netrc)
    found = default_netrc({"HOME": str(tmp_path)})
    assert found is not None
    assert found.login_for("server.example") is not None
    assert found.login_for("x.example") is None
    assert default_netrc({}) is None


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_token(end: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_bytes(f"abc.DEF-123_~+/={end}".encode())
    assert read_token(str(path)) == "abc.DEF-123_~+/="
    path.chmod(0o640)
    with pytest.raises(BadRequest, match="chmod 600"):
        read_token(str(path))


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"a b", b"a\nb", b"a\r\nX: y", b"\xff", b"a\0b", b"x" * 2000]
)
def test_no_token(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(BadRequest) as raised:
        read_token(str(path))
    assert str(raised.value).isprintable()


def test_longest(tmp_path: Path) -> None:
    Login("x" * (PROOF_MOST - 1)).check("")
    Login("x" * (PROOF_MOST - 4), "ann").check("")
    for login in (Login("x" * PROOF_MOST), Login("x" * (PROOF_MOST - 3), "ann")):
        with pytest.raises(BadRequest, match="more than"):
            login.check("it")


@pytest.mark.parametrize(
    ("user", "password"), [("", "x"), ("a:b", "x"), ("a\nb", "x"), ("a", ""), ("a", "x\0y")]
)
def test_login_that_cannot_be_sent(user: str, password: str) -> None:
    with pytest.raises(BadRequest, match="the login: "):
        Access(login=(user, password))


def test_as_it_is_sent() -> None:
    login = Login("open sesame", "Aladdin")
    assert login.authorization == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # as in RFC 7617
    assert tuple(login.message) == (0, PASSWORD, b"Aladdin\0open sesame")
    token = Login("mF_9.B5f-4.1JqM")
    assert token.authorization == "Bearer mF_9.B5f-4.1JqM"  # as in RFC 6750
    assert tuple(token.message) == (0, TOKEN, b"mF_9.B5f-4.1JqM")
    assert Login("\u00e4", "\u00f6").authorization == "Basic w7Y6w6Q="


def test_is_not_shown() -> None:
    for shown in (repr(Login("secret", "ann")), repr([Login("secret")]), str(Login("secret"))):
        assert "secret" not in shown
    access = Access(login=("ann", "secret"))
    assert "secret" not in repr(access)
    assert "secret" not in repr(Login("secret").message)


@pytest.mark.parametrize(
    ("peer", "stays"),
    [
        *(("127.0.0.1", True), ("127.255.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True)),
        *(("128.0.0.1", False), ("10.127.0.0", False), ("::ffff:10.0.0.1", False), ("", False)),
        *(("fe80::1%lo", False), ("::", False), ("1270::1", False), ("0.0.0.0", False)),
    ],
)
def test_what_stays_here(peer: str, stays: bool) -> None:
    assert may_be_sent(peer) is stays


LOCAL, AWAY = "127.0.0.1", "192.0.2.1"


@pytest.mark.parametrize("url", ["tcpdls://server.example/f", "https://server.example/f"])
def test_under_tls(url: str, netrc: Path) -> None:
    place = parse_url(url)
    for access in (Access(login=("ann", "x")), Access(token="x"), Access(netrc=Netrc(str(netrc)))):
        assert access.login_for(place, AWAY) is None  # nobody named the server
        access.name(place)
        assert access.login_for(place, AWAY) is not None


@pytest.mark.parametrize("url", ["server.example/f", "http://server.example/f"])
def test_in_clear(url: str, netrc: Path) -> None:
    place = parse_url(url)
    given = Access(login=("ann", "x"))
    given.name(place)
    assert given.login_for(place, LOCAL) is not None
    with pytest.raises(BadRequest, match=r"in clear, .* write tcpdls:// or https://"):
        given.login_for(place, AWAY)
    found = Access(netrc=Netrc(str(netrc)))
    found.name(place)
    assert found.login_for(place, LOCAL) is not None
    assert found.login_for(place, AWAY) is None  # it may not be wanted


@pytest.mark.parametrize(
    "other",
    [
        *(
            "https://server.example:444/f",
            "https://www.server.example/f",
            "http://server.example/f",
        ),
        *("tcpdls://server.example/f", "tcpdls://server.example:4430/f"),
    ],
)
def test_other_servers_get_none(other: str, netrc: Path) -> None:
    for access in (Access(token="x"), Access(netrc=Netrc(str(netrc)))):
        access.name(parse_url("https://server.example/a"))
        assert access.login_for(parse_url("https://Server.example:443/b"), AWAY) is not None
        assert access.login_for(parse_url(other), LOCAL) is None


def test_login_and_token() -> None:
    with pytest.raises(BadRequest, match="not both"):
        Access(login=("ann", "x"), token="x")

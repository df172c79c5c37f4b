"""Tests who may read what in the native dialect, and in the raw one, where nobody logs in."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin
from zope.interface import implementer

from tcpdl.server.admission import Everyone
from tcpdl.server.credentials import IBearerToken, IBlockingChecker
from tcpdl.server.working import Stopped
from tcpdl.wire import native, pack
from tcpdl.wire.login import Login
from tcpdl.wire.native import CONTENT, RECURSIVE, ROOTS, Get, GetDigests, Pick, Tree
from tests.server.admission.conftest import Make
from tests.server.admission.visiting import (
    ANYONE,
    CANARY,
    NOW,
    GuardedServer,
    Visitor,
    ask,
    canaries,
    content,
    error_code,
    link_to,
    read,
    visitors,
    with_password,
)
from tests.server.conftest import Log

NATIVE_THINGS = [
    Get(1, b"private/c.txt"),
    Get(1, b"private/c.txt", 2, 3),
    Get(1, b"private/c.txt", 0, 0),
    Get(1, b"private/sub/d.txt"),
    GetDigests(1, b"private/c.txt"),
    Tree(1, b"private"),
    Tree(1, b"private", CONTENT | RECURSIVE),
    Tree(1, b"private/sub/", ROOTS),
    Pick(1, b"private", (b"c.txt", b"sub/d.txt")),
]


@visitors
@pytest.mark.parametrize("thing", NATIVE_THINGS, ids=str)
def test_native(server: GuardedServer, visitor: Visitor, thing: Any) -> None:
    parts = ask(server, visitor, thing)
    assert error_code(parts) == visitor.native
    if not visitor.reads:
        assert len(parts) == 1
        assert content(parts) == b""
        return
    if not isinstance(thing, (GetDigests,)) and len(parts) > 2:
        assert content(parts)


@visitors
def test_native_what_is_not_there_looks_the_same(server: GuardedServer, visitor: Visitor) -> None:
    asked = [Get(1, name) for name in (b"private/c.txt", b"private/none", b"private/c.txt/")]
    asked += [Tree(1, b"private/none"), Pick(1, b"private/none", (b"x",))]  # type: ignore[list-item]
    parts = ask(server, visitor, *asked)
    if visitor.reads:
        assert [part.code for part in parts if isinstance(part, native.Error)] == [1, 1, 1, 1]
    else:
        assert {(part.code, part.sentence) for part in parts} == {
            (visitor.native, parts[0].sentence)
        }


@visitors
def test_native_what_is_for_everyone(server: GuardedServer, visitor: Visitor) -> None:
    parts = ask(server, visitor, Get(1, b"public/a.txt"))
    assert error_code(parts) == (0 if visitor.public else visitor.native)
    if visitor.public:
        assert canaries(content(parts)) == {"public/a.txt"}


def entries_of(parts: list[Any]) -> dict[str, int]:
    """The kinds of all entries, by name."""
    found: dict[str, int] = {}
    for part in parts:
        if isinstance(part, native.Pack):
            size = len(part.packed) - native.DIGEST_SIZE
            count = int.from_bytes(part.packed[:4], "big")
            names = bytes(part.packed[8 + 24 * count : size]).split(b"\0")[:count]
            kinds = [part.packed[8 + 24 * index] for index in range(count)]
            found |= {name.decode(): kind for name, kind in zip(names, kinds, strict=True)}
    return found


def test_native_trees(server: GuardedServer) -> None:
    anyone, ann = ANYONE, with_password("", "ann", "secret")
    parts = ask(server, anyone, Tree(1, b"", CONTENT | RECURSIVE))
    assert canaries(content(parts)) == {"public/a.txt"}
    found = entries_of(parts)
    assert found["listed/b.txt"] == pack.LEFT_OUT
    assert not [name for name in found if name.startswith(("private", "top"))]
    parts = ask(server, anyone, Tree(1, b"", RECURSIVE | ROOTS))
    found = entries_of(parts)
    assert found["listed/b.txt"] == pack.LEFT_OUT  # digests tell of content
    assert found["public/a.txt"] == pack.LISTED
    found = entries_of(ask(server, anyone, Tree(1, b"", RECURSIVE)))
    assert found["listed/b.txt"] == pack.LISTED
    assert found["public/way"] == pack.LEFT_OUT
    parts = ask(server, ann, Tree(1, b"", CONTENT | RECURSIVE))
    assert "private/sub/d.txt" in canaries(content(parts))
    parts = ask(server, anyone, Pick(1, b"", (b"private/c.txt", b"public/a.txt", b"listed/b.txt")))
    assert canaries(content(parts)) == {"public/a.txt"}


def test_logins_hold_until_the_next(server: GuardedServer) -> None:
    client = server.native()
    ann, bob = (with_password("", user, "secret").login for user in ("ann", "bob"))
    wrong = with_password("", "ann", "wrong").login
    assert ann is not None and bob is not None and wrong is not None  # noqa: PT018
    request = Get(1, b"private/c.txt", 0, 0)
    said: list[Any] = [request, ann, request, request, bob, request, ann, request, wrong, request]
    client.say(*said, ann, request)
    codes = [
        part.code if isinstance(part, native.Error) else 0
        for part in client.hear()
        if isinstance(part, (native.Error, native.End))
    ]
    assert codes == [8, 0, 0, 9, 0, 8, 0]


@implementer(IBlockingChecker)
class Changing:
    """Knows a token, until it is told otherwise."""

    credentialInterfaces = (IBearerToken,)  # noqa: N815

    def __init__(self) -> None:
        self.known = {b"t0k3n"}
        self.problem: Exception | None = None
        self.now = 0

    def version(self) -> object:
        return self.now

    def check(self, credentials: Any) -> str:
        if self.problem is not None:
            raise self.problem
        if credentials.token not in self.known:
            raise UnauthorizedLogin
        return "ci"

    def requestAvatarId(self, credentials: Any) -> Any:
        raise AssertionError("it is asked by `check`")


def test_a_login_ends_when_it_is_taken_back(make: Make) -> None:
    checker = Changing()
    server = make(checkers=(checker,))
    client = server.native()
    said: list[Any] = [Login.with_token(b"t0k3n"), Get(1, b"private/c.txt", 0, 0)]

    def code() -> int:
        client.say(*said)
        server.wait(1)
        last = client.hear()[-1]
        said[:] = said[-1:]
        return last.code if isinstance(last, native.Error) else 0

    assert code() == 0
    checker.now += 1  # as when others come and go
    assert code() == 0
    checker.now += 1
    checker.problem = Stopped()
    assert code() == native.UNAVAILABLE
    checker.problem = None
    assert code() == 0
    checker.now += 1
    checker.known.clear()
    assert code() == native.LOGIN_NEEDED
    assert code() == native.LOGIN_NEEDED


def test_another_admission_takes_the_place(make: Make) -> None:
    """Who has logged in is known to the new one, or is nobody."""
    server, other = (make(checkers=(Changing(),)) for _ in range(2))
    second, none = make(), make(checkers=None)
    client = server.native()
    said: list[Any] = [Login.with_token(b"t0k3n"), Get(1, b"private/c.txt", 0, 0)]

    def code() -> int:
        client.say(*said)
        server.wait(1)
        last = client.hear()[-1]
        said[:] = said[-1:]
        return last.code if isinstance(last, native.Error) else 0

    assert server.admission is not None
    assert code() == 0
    for one, expected in ((other, 0), (second, 0), (none, native.LOGIN_NEEDED)):
        assert one.admission is not None
        server.admission.become(one.admission)
        assert code() == expected
    assert other.admission is not None
    server.admission.become(other.admission)
    assert code() == native.LOGIN_NEEDED, "it is not remembered what was shown before"


def test_rules_come_to_a_connection_that_is_open(make: Make) -> None:
    server = make()
    client = server.native()
    factory = client.connection.protocol.factory
    admission, factory.admission = factory.admission, Everyone(server.directory)
    for expected in (0, native.LOGIN_NEEDED):
        client.say(Get(1, b"private/c.txt", 0, 0))
        last = client.hear()[-1]
        assert (last.code if isinstance(last, native.Error) else 0) == expected
        factory.admission = admission


def test_a_connection_of_nothing_but_logins(server: GuardedServer) -> None:
    # As many as a client may have under way, and more: they are taken as requests are.
    client = server.native()
    ann = with_password("", "ann", "secret").login
    assert ann is not None
    client.say(*[ann] * 300, Get(1, b"private/c.txt", 0, 0))
    said = []
    for _ in range(4):  # it reads on when there is room for more of them
        said += client.hear()
        client.connection.read()
    assert isinstance(said[-1], native.End)


def test_names_that_look_like_links(server: GuardedServer) -> None:
    # A file that really has such a name is found under it, if it may be read.
    name = f"a.txt{link_to('private')}"
    (server.root / "public" / name).write_text(f"{CANARY} odd\n")
    parts = ask(server, ANYONE, Get(1, f"public/{name}".encode()))
    assert canaries(content(parts)) == {"odd"}
    other = link_to("public")
    parts = ask(server, ANYONE, Get(1, f"public/a.txt{other}".encode()))
    assert canaries(content(parts)) == {"public/a.txt"}
    parts = ask(server, ANYONE, Get(1, f"../top.txt{link_to('')}".encode()))
    assert error_code(parts) == native.REFUSED


# The raw dialect.


@visitors
def test_raw(server: GuardedServer, visitor: Visitor) -> None:
    # There is no way to log in but to be known already.
    reads = visitor.link in (link_to("private"), link_to(""))
    reads |= visitor.reads and visitor.certificate is not None
    for name in ("private/c.txt", "private/sub/d.txt"):
        assert canaries(read(server, visitor, name)) == ({name} if reads else set())
    assert canaries(read(server, visitor, "public/a.txt")) == {"public/a.txt"}
    assert read(server, visitor, "private/none") == b""
    assert read(server, visitor, "listed/b.txt") == (
        b"" if visitor.link != link_to("") else b"CANARY listed/b.txt\n" * 3
    )


def test_raw_the_log_says_why(server: GuardedServer, log: Log) -> None:
    read(server, ANYONE, "private/c.txt")
    read(server, Visitor("", 0, 0, link=link_to("private", until=NOW)), "private/c.txt")
    assert log.told == [
        "127.0.0.1:1 raw private/c.txt: login 0, it is for those who log in",
        f"127.0.0.1:1 raw private/c.txt?until={NOW}&signed=...: denied 0, "
        "the link expired at 2023-11-14 22:13:20 UTC",
    ]

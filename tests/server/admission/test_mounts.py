"""Tests mounts in all dialects: they are as one tree, and each may have rules of its own."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpdl.access import rules
from tcpdl.access.files import LOOK_SECONDS, Kept
from tcpdl.access.roots import KeptRootRules
from tcpdl.access.rules import READ_IF_LOGGED_IN
from tcpdl.content.mounts import Mount, Mounts
from tcpdl.wire import native
from tcpdl.wire.native import CONTENT, RECURSIVE, ROOTS, Get, GetDigests, Pick, Tree
from tcpdl.wire.raw import HELP
from tests.server.admission.visiting import (
    ANYONE,
    RULES,
    GuardedServer,
    Visitor,
    ask,
    canaries,
    content,
    error_code,
    fetch,
    fill,
    link_to,
    read,
    visitors,
    with_password,
)
from tests.server.conftest import Connect
from tests.server.http_client import HttpServer, get, settle

FOLDERS = ("public", "listed", "private")
OWN = {
    b"public": b"/** anyone read",
    b"listed": b"/** anyone list",
    b"private": b"/** ann,ci read",
}
"""What `RULES` says, by the folders."""

ANN = with_password("", "ann", "secret")


def mounts_of(parent: Path) -> Mounts:
    return Mounts(Mount(name.encode(), str(parent / name)) for name in FOLDERS)


class MountServer(GuardedServer):
    """Folders under names, some of which have rules of their own."""

    def __init__(self, parent: Path, connect: Connect, own: dict[bytes, bytes], **how: Any) -> None:
        self._own = own
        super().__init__(parent, connect, content=mounts_of(parent), **how)

    def file_of(self, name: bytes) -> Path:
        return self.root.parent / f"rules of {name.decode()}"

    def _rules(self) -> KeptRootRules:
        common = super()._rules()
        assert isinstance(common, Kept | None)
        kept = {}
        for name, text in self._own.items():
            self.file_of(name).write_bytes(text)
            kept[name] = self._kept(self.file_of(name), rules.parse)
        return KeptRootRules(common, READ_IF_LOGGED_IN, kept, clock=self.clock.seconds)


Make = Callable[..., MountServer]


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settle(monkeypatch)
    fill(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def make(parent: Path, connect: Connect) -> Iterator[Make]:
    made: list[MountServer] = []

    def make_one(own: dict[bytes, bytes] = OWN, **how: Any) -> MountServer:
        made.append(MountServer(parent, connect, own, **how))
        return made[-1]

    yield make_one
    for server in made:
        server.close()


@pytest.fixture
def free(parent: Path, connect: Connect) -> Iterator[GuardedServer]:
    """A server that was told nothing of who may read what."""
    server = GuardedServer(parent, connect, content=mounts_of(parent))
    server.admission = None
    server.answers._admission = None
    yield server
    server.close()


# All that there is.


def test_raw(free: GuardedServer) -> None:
    assert read(free, ANYONE, "public/a.txt") == b"CANARY public/a.txt\n" * 3
    assert read(free, ANYONE, "private/sub/../c.txt") == b""
    for name in (".", "public", "public/", "none", "none/a.txt", "top.txt", "public/way"):
        assert read(free, ANYONE, name) == b"", name
    assert read(free, ANYONE, "?") == HELP


def names_in(parts: list[Any]) -> bytes:
    return b"".join(bytes(part.packed) for part in parts if isinstance(part, native.Pack))


def test_native(free: GuardedServer) -> None:
    parts = ask(free, ANYONE, Get(1, b"private/sub/d.txt"), GetDigests(2, b"public/a.txt"))
    assert canaries(content(parts)) == {"private/sub/d.txt"}
    assert [part.id for part in parts if isinstance(part, native.End)] == [1, 2]
    everything = {
        *("public/a.txt", "listed/b.txt", "private/c.txt", "private/index.html"),
        *("private/README.md", "private/sub/d.txt", "private/e.txt", "private/e.txt.gz"),
    }
    assert canaries(content(ask(free, ANYONE, Tree(1, b"", CONTENT | RECURSIVE)))) == everything
    listed = content(ask(free, ANYONE, Tree(1, b"", 0)))
    assert all(name.encode() in listed for name in FOLDERS)
    assert b"a.txt" not in listed
    assert b"private/sub/d.txt" in content(ask(free, ANYONE, Tree(1, b"", RECURSIVE | ROOTS)))
    asked = Pick(1, b"", (b"public/a.txt", b"private/c.txt", b"none/a", b"public", b"private/none"))
    parts = ask(free, ANYONE, asked)
    assert canaries(content(parts)) == {"public/a.txt", "private/c.txt"}
    for name, code in [(b"none", 1), (b"none/a", 1), (b"", 3), (b"public", 3), (b"public/way", 2)]:
        assert error_code(ask(free, ANYONE, Get(1, name))) == code, name


def test_http(free: GuardedServer) -> None:
    for _ in range(2):  # the second one is kept
        reply = fetch(free, ANYONE, "/public/a.txt")
        assert (reply.status, reply.body) == (200, b"CANARY public/a.txt\n" * 3)
    listing = json.loads(fetch(free, ANYONE, "/?format=json").body)
    assert listing["path"] == "/"
    found = [(entry["name"], entry["kind"]) for entry in listing["entries"]]
    assert found == [("listed", "folder"), ("private", "folder"), ("public", "folder")]
    page = fetch(free, ANYONE, "/", "Accept: text/html").body
    assert all(f'href="{name}/"'.encode() in page for name in FOLDERS)
    below = json.loads(fetch(free, ANYONE, "/private/sub/?format=json").body)
    assert [entry["name"] for entry in below["entries"]] == ["d.txt"]
    assert b"CANARY" in fetch(free, ANYONE, "/private/", "Accept: text/html").body  # its README
    with tarfile.open(fileobj=io.BytesIO(fetch(free, ANYONE, "/?archive=tar").body)) as tar:
        names = tar.getnames()
    assert {"files", "files/public/a.txt", "files/private/sub/d.txt"} <= {*names}
    assert fetch(free, ANYONE, "/?archive=zip").body[:2] == b"PK"
    sums = fetch(free, ANYONE, "/?sums=sha256").body.decode()
    assert "  private/sub/d.txt\n" in sums
    assert fetch(free, ANYONE, "/private?format=json")["location"] == "/private/?format=json"
    assert fetch(free, ANYONE, "/public/a.txt?info").status == 200
    for target in ("/none", "/none/", "/none/a.txt", "/top.txt", "/public/way", "/public/a.txt/"):
        assert fetch(free, ANYONE, target).status == 404, target


def test_one_that_goes_away(free: GuardedServer, parent: Path) -> None:
    assert fetch(free, ANYONE, "/private/e.txt").status == 200
    shutil.rmtree(parent / "private")
    for target in ("/private/e.txt", "/private/", "/private/?archive=tar", "/private/?sums=sha256"):
        assert fetch(free, ANYONE, target).status == 404
    assert error_code(ask(free, ANYONE, Tree(1, b"private"))) == native.ABSENT
    assert read(free, ANYONE, "private/e.txt") == b""
    top = fetch(free, ANYONE, "/", "Accept: text/html")
    assert b"its folder is not there any more" in top.body
    assert canaries(content(ask(free, ANYONE, Tree(1, b"", CONTENT | RECURSIVE)))) == {
        *("public/a.txt", "listed/b.txt")
    }
    assert fetch(free, ANYONE, "/public/a.txt").status == 200


# Who may read what.


@pytest.fixture(params=["rules for all", "rules of their own"])
def server(request: pytest.FixtureRequest, make: Make) -> MountServer:
    return make() if request.param == "rules of their own" else make({}, text=RULES)


@visitors
def test_visitors(server: MountServer, visitor: Visitor) -> None:
    reply = fetch(server, visitor, "/private/c.txt")
    parts = ask(server, visitor, Get(1, b"private/c.txt"))
    assert reply.status == visitor.http
    assert error_code(parts) == visitor.native
    for said in (reply.body, content(parts)):
        assert canaries(said) == ({"private/c.txt"} if visitor.reads else set())
    if visitor.reads and visitor.login is None:
        assert canaries(read(server, visitor, "private/c.txt")) == {"private/c.txt"}
    elif not visitor.reads and visitor.login is None:
        assert read(server, visitor, "private/c.txt") == b""


def test_what_is_not_for_everyone_is_not_told(server: MountServer) -> None:
    for target in ("/", "/?format=json", "/?archive=tar", "/?sums=sha256", "/?archive=zip"):
        reply = fetch(server, ANYONE, target)
        assert reply.status == 200
        assert canaries(reply.body) <= {"public/a.txt"}
        assert b"private" not in reply.body.replace(b"Cache-Control: private", b"")
        assert b"public" in reply.body
        assert b"private" in fetch(server, ANN, target).body
    parts = ask(server, ANYONE, Tree(1, b"", CONTENT | RECURSIVE))
    assert canaries(content(parts)) == {"public/a.txt"}
    assert b"private" not in names_in(parts)
    names = (b"private/c.txt", b"public/a.txt", b"listed/b.txt", b"private/none")
    assert canaries(content(ask(server, ANYONE, Pick(1, b"", names)))) == {"public/a.txt"}
    for name in (b"private/c.txt", b"private/none", b"none", b"none/c.txt", b"private"):
        assert error_code(ask(server, ANYONE, Get(1, name))) == native.LOGIN_NEEDED
        assert fetch(server, ANYONE, f"/{name.decode()}").status == 401
    parts = ask(server, ANN, Tree(1, b"", CONTENT | RECURSIVE))
    assert "private/sub/d.txt" in canaries(content(parts))


def test_a_link_to_all_of_one_and_to_a_folder_of_one(server: MountServer) -> None:
    for place in ("private", "private/sub", "private/sub/d.txt", ""):
        visitor = Visitor("", 200, 0, link=link_to(place))
        assert canaries(read(server, visitor, "private/sub/d.txt")) == {"private/sub/d.txt"}
        assert (fetch(server, visitor, "/private/c.txt").status == 200) is ("sub" not in place)
    shown = fetch(server, Visitor("", 200, 0, link=link_to("private")), "/private/?archive=tar")
    assert "private/sub/d.txt" in canaries(shown.body)


def test_rules_of_one_are_about_all_in_it_and_nothing_else(make: Make) -> None:
    server = make(
        {b"private": b"/ anyone list\n/sub/** anyone read\n/public/** anyone read\n"},
        text=b"/ anyone list\n/private/** anyone read\n/listed/** anyone read",
    )
    assert fetch(server, ANYONE, "/private/sub/d.txt").status == 200
    assert fetch(server, ANYONE, "/private/c.txt").status == 401
    assert fetch(server, ANYONE, "/public/a.txt").status == 401
    assert fetch(server, ANYONE, "/listed/b.txt").status == 200
    names = [
        entry["name"]
        for entry in json.loads(fetch(server, ANYONE, "/?format=json").body)["entries"]
    ]
    assert names == ["listed", "private"]


def test_one_that_is_readable_though_the_top_is_not(make: Make) -> None:
    server = make({b"public": OWN[b"public"]}, text=b"")
    assert fetch(server, ANYONE, "/public/a.txt").status == 200
    assert fetch(server, ANYONE, "/public/").status == 200
    assert fetch(server, ANYONE, "/").status == 401
    assert error_code(ask(server, ANYONE, Tree(1, b""))) == native.LOGIN_NEEDED
    assert error_code(ask(server, ANYONE, Pick(1, b"", (b"public/a.txt",)))) == native.LOGIN_NEEDED


def test_without_rules_for_all(make: Make) -> None:
    """Whoever has logged in may have what has no rules of its own."""
    server = make({b"public": OWN[b"public"]}, text=None)
    bob = with_password("", "bob", "secret")
    assert fetch(server, ANYONE, "/public/a.txt").status == 200
    assert fetch(server, ANYONE, "/private/c.txt").status == 401
    assert fetch(server, bob, "/private/c.txt").status == 200


def test_rules_that_change(make: Make) -> None:
    server = make()
    assert fetch(server, ANYONE, "/private/e.txt").status == 401
    assert server.admission is not None
    file = server.file_of(b"private")
    file.write_bytes(b"/** anyone read")
    os.utime(file, (1, 1))
    for _ in range(3):
        server.wait(LOOK_SECONDS)
        assert fetch(server, ANYONE, "/public/a.txt").status == 200
    assert fetch(server, ANYONE, "/private/e.txt").status == 200
    file.write_bytes(b"/** anyone nothing")
    server.admission.reload()
    assert fetch(server, ANN, "/private/e.txt").status == 403
    file.write_bytes(b"nonsense")
    server.admission.reload()
    assert fetch(server, ANN, "/private/e.txt").status == 403
    assert "line 1" in server.warnings[0]


def test_each_mount_of_many_is_found(tmp_path: Path, connect: Connect) -> None:
    names = [f"m{number:03}" for number in range(100)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    mounts = Mounts(Mount(name.encode(), str(tmp_path / name)) for name in names)
    server = HttpServer(tmp_path, connect, content=mounts)
    client = server.connect()
    for name in names[::20]:
        client.say(get(f"/{name}/file"))
        (reply,) = client.hear()
        assert reply.body == name.encode()
    client.say(get("/?format=json"))
    (reply,) = client.hear()
    assert [entry["name"] for entry in json.loads(reply.body)["entries"]] == names
    server.close()

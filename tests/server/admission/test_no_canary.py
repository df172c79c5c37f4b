"""Tests that no dialect and no verb ever shows what the rules forbid, whatever they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tcpdl.access.rules import Level, Rules, parse
from tcpdl.wire.native import CONTENT, RECURSIVE, ROOTS, Get, GetDigests, Pick, Tree
from tests.server.admission.visiting import ANYONE, GuardedServer, Visitor, read, with_password
from tests.server.conftest import Connect
from tests.server.http_client import get
from tests.server.native_client import Client

FILES = ("qaq", "qbq/qcq", "qbq/qdq/qeq", "qfq/qgq", "qfq/qhq.gz", "qfq/qhq", "qfq/index.html")
FOLDERS = ("", "qbq", "qbq/qdq", "qfq")
LINKS = {
    "qbq/qlq": "../qfq/qgq",
    "qfq/qmq": "../qbq",
    "qnq": "qbq/qdq",
    "qfq/qoq": "qmq/qcq",
    "qbq/README.md": "../qaq",
}
THROUGH = ("qfq/qmq/qcq", "qfq/qmq/qdq/qeq", "qnq/qeq", "qfq/qmq", "qnq", "none", "qbq/none")
ASKED = (*FILES, *LINKS, *THROUGH)

NAME = re.compile(rb"\bq[a-o]q\b")
CANARY = re.compile(rb"CANARY (\S+) ")

HTTP_VERBS = ("", "?info", "?download", "?archive=tar", "?archive=zip", "?sums=sha256")
FIELDS = ("Accept-Encoding: gzip", "Accept: application/json")

PATTERNS = st.sampled_from(
    [
        *("/", "/**", "/*", "/**/q?q", "/qbq", "/qbq/**", "/qbq/*", "/qbq/qdq/**", "/qfq/**"),
        *("/qfq", "/qaq", "/q[ab]q", "/qnq/**", "/qfq/qmq/**", "/**/qeq", "/**/q[cd]*", "/qb*/qlq"),
        *("/**/*.gz", "/**/index.html", "/*/*", "/qfq/q?q"),
    ]
)
RULES = st.lists(
    st.tuples(
        PATTERNS,
        st.sampled_from(["anyone", "users", "ann", "bob"]),
        st.sampled_from(["read", "read", "list", "nothing"]),
    ),
    min_size=1,
    max_size=6,
)


def fill(root: Path) -> None:
    for folder in FOLDERS:
        (root / folder).mkdir(exist_ok=True)
    for name in FILES:
        (root / name).write_text(f"CANARY {name} \n")
    for name, target in LINKS.items():
        (root / name).symlink_to(target)


def segments(name: str) -> tuple[bytes, ...]:
    return tuple(part.encode() for part in name.split("/") if part)


class Allowed:
    """What the rules let a visitor see."""

    def __init__(self, rules: Rules, user: str | None) -> None:
        permissions = rules.of(user)
        self.read = {name for name in FILES if permissions.level(segments(name)) is Level.READ}
        # A name may show as that of any place it has, and of those on the way to what may be seen.
        self.names: set[bytes] = set()
        for place in (*FILES, *FOLDERS, *LINKS, *THROUGH):
            if permissions.level(segments(place)) >= Level.LIST:
                self.names |= set(NAME.findall(place.encode()))

    def check(self, asked: str, answer: bytes) -> None:
        """Assert that nothing else is in an `answer`."""
        canaries = {found.decode() for found in CANARY.findall(answer)}
        assert canaries <= self.read, asked
        names = set(NAME.findall(answer)) - set(NAME.findall(asked.encode()))
        assert names <= self.names, asked


@pytest.mark.parametrize(
    "visitor", [ANYONE, with_password("", "ann", "secret")], ids=["anyone", "ann"]
)
@settings(
    deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=RULES)
@example(lines=[("/", "anyone", "list"), ("/qbq/**", "anyone", "read"), ("/**", "ann", "list")])
@example(lines=[("/**/qeq", "anyone", "nothing"), ("/**", "anyone", "read")])
@example(lines=[("/qnq/**", "users", "read"), ("/qfq/**", "users", "read")])
def test_nothing_that_is_forbidden_is_shown(
    tmp_path_factory: pytest.TempPathFactory, connect: Connect, visitor: Visitor, lines: Any
) -> None:
    root = tmp_path_factory.mktemp("served") / "root"
    root.mkdir()
    fill(root)
    text = "\n".join(" ".join(line) for line in lines).encode()
    allowed = Allowed(parse(text), "ann" if visitor.login else None)
    for index in (False, True):
        server = GuardedServer(root, connect, text=text, index=index, precompressed=True)
        try:
            if not index:
                in_native(server, visitor, allowed)
                in_raw(server, allowed if visitor.login is None else Allowed(parse(text), None))
            over_http(server, visitor, allowed)
        finally:
            server.close()


def over_http(server: GuardedServer, visitor: Visitor, allowed: Allowed) -> None:
    client = server.connect()
    for name in (*ASKED, *FOLDERS):
        for end in ("", "/"):
            for verb in HTTP_VERBS:
                for fields in ((), FIELDS):
                    request = get(f"/{name}{end}{verb}", *visitor.fields, *fields)
                    for reply in client.ask(request):
                        allowed.check(name, str(reply.fields).encode() + reply.body)
    client.connection.close()


def in_native(server: GuardedServer, visitor: Visitor, allowed: Allowed) -> None:
    client: Client = server.native()
    if visitor.login is not None:
        client.say(visitor.login)
    picked = tuple(name.encode() for name in (*ASKED, "../qaq"))
    for name in (*ASKED, *FOLDERS):
        asked = name.encode()
        for request in (
            *(Get(1, asked), Get(1, asked, 0, 0), GetDigests(1, asked), Tree(1, asked)),
            *(Tree(1, asked, CONTENT | RECURSIVE), Tree(1, asked, RECURSIVE | ROOTS)),
            Tree(1, asked, CONTENT | RECURSIVE, 1, 2),
        ):
            before = len(client.connection.received)
            client.ask(request)
            allowed.check(name, client.connection.received[before:])
        before = len(client.connection.received)
        client.ask(Pick(1, asked, picked))
        said = client.connection.received[before:]
        assert {found.decode() for found in CANARY.findall(said)} <= allowed.read
    client.connection.close()


def in_raw(server: GuardedServer, allowed: Allowed) -> None:
    for name in (*ASKED, *FOLDERS, *(f"{name}/" for name in ASKED)):
        allowed.check(name, read(server, ANYONE, name))

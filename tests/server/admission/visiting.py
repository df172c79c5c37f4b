"""A server of all dialects that says who may read what, and visitors of all kinds."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed

from tcpdl.access import keys, rules
from tcpdl.access.files import Kept
from tcpdl.access.roots import KeptRootRules
from tcpdl.server.admission import Admission
from tcpdl.server.credentials import IBearerToken
from tcpdl.server.direct import ClientCertificate
from tcpdl.server.logins import Logins
from tcpdl.server.native import NativeFactory
from tcpdl.server.raw import RawFactory
from tcpdl.wire import links, native
from tcpdl.wire.login import Login
from tcpdl.wire.names import parse_name
from tests.server.conftest import Connect, Connection
from tests.server.http_client import HttpServer, Reply, get
from tests.server.native_client import HELLO
from tests.server.native_client import Client as NativeClient

NOW = 1_700_000_000
KEY = bytes(range(32))
FAR = ("192.0.2.7", 9)
"""The address of a client elsewhere."""

RULES = b"""\
/ anyone list
/public/** anyone read
/listed/** anyone list
/private/** ann,ci read
"""

CANARY = "CANARY"

TREE = (
    *("top.txt", "public/a.txt", "listed/b.txt", "private/c.txt", "private/index.html"),
    *("private/README.md", "private/sub/d.txt", "private/e.txt", "private/e.txt.gz"),
)


class Checker:
    """Knows ann and bob by their passwords, and ci by a token."""

    credentialInterfaces = (IUsernamePassword, IBearerToken)  # noqa: N815

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        if IBearerToken.providedBy(credentials):
            return succeed("ci") if credentials.token == b"t0k3n" else fail(UnauthorizedLogin())
        known = {b"ann": b"secret", b"bob": b"secret"}
        if known.get(credentials.username) == credentials.password:
            return succeed(credentials.username)
        return fail(UnauthorizedLogin())


def fill(root: Path) -> None:
    """Make the tree, in which each file holds its own name and a canary."""
    for name in TREE:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{CANARY} {name}\n" * 3)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    (root / "public/way").symlink_to("../private/c.txt")
    (root / "public/ways").symlink_to("../private")


class GuardedServer(HttpServer):
    """A server with rules, logins and keys; any of them may be left out or be another."""

    def __init__(
        self,
        root: Path,
        connect: Connect,
        *,
        text: bytes | None = RULES,
        checkers: tuple[Any, ...] | None = (Checker(),),
        key: bytes | None = KEY,
        certificates: bool = True,
        insecure: bool = False,
        **options: Any,
    ) -> None:
        self.warnings: list[str] = []
        self.rules_file = root.parent / "rules"
        self._text, self._checkers, self._key_bytes = text, checkers, key
        self._certificates, self._insecure = certificates, insecure
        super().__init__(root, connect, admit=self._admit, **options)

    def _admit(self, _: Any) -> Admission:
        kept_keys: Kept[keys.Keys] | None = None
        if self._key_bytes is not None:
            file = self.root.parent / "key"
            file.write_text(self._key_bytes.hex())
            kept_keys = self._kept(file, keys.parse)
        workers: Any = self.work
        checkers = self._checkers
        return Admission(
            self.directory,
            rules=self._rules(),
            keys=kept_keys,
            logins=None if checkers is None else Logins(checkers, workers, self.clock),
            certificates=self._certificates,
            insecure=self._insecure,
            now=lambda: NOW,
        )

    def _rules(self) -> Kept[rules.Rules] | KeptRootRules | None:
        if self._text is None:
            return None
        self.rules_file.write_bytes(self._text)
        return self._kept(self.rules_file, rules.parse)

    def _kept(self, path: Path, parse: Callable[[bytes], Any]) -> Kept[Any]:
        return Kept(str(path), parse, warn=self.warnings.append, clock=self.clock.seconds)

    def native(self) -> NativeClient:
        work: Any = self.work
        factory = NativeFactory(
            self.directory, self.deadlines, self.digests, work, admission=self.admission
        )
        connection = self._connect(protocol=factory.buildProtocol(None), clock=self.clock)
        client = NativeClient(connection)
        client.say(HELLO)
        return client

    def raw(self) -> Connection:
        factory = RawFactory(
            self.directory, self.clock, self.deadlines, quiet=0, admission=self.admission
        )
        return self._connect(protocol=factory.buildProtocol(None), clock=self.clock)


class Visitor(NamedTuple):
    """Somebody who asks for what is private, and how that is answered."""

    what: str
    http: int
    """The status of what may be read by some."""
    native: int
    """The code of the error for it; 0 if there is none."""
    fields: tuple[str, ...] = ()
    login: Login | None = None
    certificate: ClientCertificate | None = None
    link: str = ""
    """Comes after a name."""
    public: bool = True
    """What is for everyone is handed out."""
    far: bool = False

    @property
    def reads(self) -> bool:
        return self.http == 200

    def arrive(self, connection: Connection) -> None:
        """The other end of `connection` is this visitor's."""
        connection.transport.client_certificate = self.certificate
        if self.far:
            connection.transport.client = FAR


def link_to(place: str, *, until: int = NOW + 60, key: bytes = KEY) -> str:
    """What a name has to end in to be a link."""
    return f"?{links.sign(key, parse_name(place.encode()).segments, until).query}"


def basic(user: str, password: str) -> str:
    return f"Authorization: Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


ANYONE = Visitor("", 401, 8)


def with_password(
    what: str, user: str, password: str, http: int = 200, native: int = 0, **more: Any
) -> Visitor:
    login = Login.with_password(user.encode(), password.encode())
    return Visitor(what, http, native, (basic(user, password),), login, **more)


GOOD = link_to("private")
TAMPERED = GOOD[:-5] + ("A" if GOOD[-5] != "A" else "B") + GOOD[-4:]

VISITORS = [
    Visitor("anonymous", 401, 8),
    with_password("wrong password", "ann", "Secret", 401, 8, public=False),
    with_password("nobody", "eve", "secret", 401, 8, public=False),
    with_password("right password", "ann", "secret", 200, 0),
    with_password("no right", "bob", "secret", 403, 9),
    Visitor("token", 200, 0, ("Authorization: Bearer t0k3n",), Login.with_token(b"t0k3n")),
    Visitor(
        *("wrong token", 401, 8, ("Authorization: Bearer token",), Login.with_token(b"token")),
        public=False,
    ),
    Visitor(
        *("unknown scheme", 401, 8, ("Authorization: Negotiate YQ==",), Login(0, 99, b"x")),
        public=False,
    ),
    Visitor("certificate", 200, 0, certificate=ClientCertificate("ann", (), ())),
    Visitor("certificate by mail", 200, 0, certificate=ClientCertificate(None, (), ("ann",))),
    Visitor("certificate of no right", 403, 9, certificate=ClientCertificate("eve", (), ("ann",))),
    Visitor("certificate of nobody", 401, 8, certificate=ClientCertificate(None, ("ann",), ())),
    Visitor("link", 200, 0, link=GOOD),
    Visitor("link to all", 200, 0, link=link_to("")),
    Visitor("expired link", 403, 9, link=link_to("private", until=NOW)),
    Visitor("link for too long", 403, 9, link=link_to("private", until=NOW + 367 * 86_400)),
    Visitor("tampered link", 403, 9, link=TAMPERED),
    Visitor("link of another key", 403, 9, link=link_to("private", key=bytes(32))),
    Visitor("link to elsewhere", 403, 9, link=link_to("public")),
    with_password("no right, and a link", "bob", "secret", 200, 0, link=GOOD),
    with_password("wrong, and a link", "ann", "wrong", 401, 8, link=GOOD, public=False),
    with_password("unencrypted", "ann", "secret", 403, 8, public=False, far=True),
    Visitor("anonymous and far", 403, 8, far=True),
    Visitor("link from far", 200, 0, link=GOOD, far=True),
]


visitors = pytest.mark.parametrize("visitor", VISITORS, ids=lambda visitor: visitor.what)


def canaries(data: bytes) -> set[str]:
    """The files of which something has come, also if it is compressed."""
    found = set()
    for part in data.split(f"{CANARY} ".encode())[1:]:
        found.add(part.split(b"\n")[0].decode())
    return found


def error_code(parts: list[Any]) -> int:
    """The code of the error that `parts` end with; 0 if it is another end."""
    return parts[-1].code if isinstance(parts[-1], native.Error) else 0


def fetch(server: GuardedServer, visitor: Visitor, target: str, *fields: str, **how: Any) -> Reply:
    """What `visitor` is answered who asks for `target`."""
    client = server.connect()
    visitor.arrive(client.connection)
    if visitor.link:
        target += visitor.link if "?" not in target else visitor.link.replace("?", "&", 1)
    client.say(get(target, *visitor.fields, *fields, **how))
    replies = client.hear()
    while not replies:  # a wrong login may have to wait
        server.wait(0.5)
        replies = client.hear()
    (reply,) = replies
    assert client.rest == b""
    client.connection.close()
    return reply


ENDS = (native.End, native.Error)


def ask(server: GuardedServer, visitor: Visitor, *requests: Any) -> list[Any]:
    """What `visitor` is answered, who sends all of it at once."""
    client = server.native()
    visitor.arrive(client.connection)
    if visitor.login is not None:
        client.say(visitor.login)
    asked = [one._replace(name=one.name + visitor.link.encode()) for one in requests]
    client.say(*asked)
    parts = client.hear()
    while len([part for part in parts if isinstance(part, (native.End, native.Error))]) < len(
        asked
    ):
        server.wait(0.5)
        parts += client.hear()
    client.connection.close()
    return parts


def content(parts: list[Any]) -> bytes:
    """All bytes that came."""
    runs = [part for part in parts if isinstance(part, bytes)]
    return b"".join(runs + [bytes(part.packed) for part in parts if isinstance(part, native.Pack)])


def read(server: GuardedServer, visitor: Visitor, name: str) -> bytes:
    """What `visitor` is sent in the raw dialect who asks for `name`."""
    connection = server.raw()
    visitor.arrive(connection)
    connection.say(f"{name}{visitor.link}\n".encode())
    came = connection.drain(to_the_end=True)
    connection.close()
    return came

"""What clients do while the daemon is soaked, when all goes well, or is refused as it should be.

Each of `ACTIONS` takes a `Visitor`, and asserts that what came is right.
"""

from __future__ import annotations

import http.client
import io
import json
import random
import socket
import tarfile
import time
import zipfile
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tcpdl.client import fetch_bytes, listdir, mirror
from tcpdl.client.access import Access
from tcpdl.client.errors import NotAllowed
from tcpdl.client.url import parse_native
from tcpdl.client.verify import verify
from tcpdl.client.ways import Ways
from tcpdl.wire import native
from tcpdl.wire.links import sign
from tests.faults.fetching import TLS, WAYS, Damaged, Fetch, How, anybody
from tests.soak.served import LARGE_NAMES, PRIVATE_NAMES, Book

SECONDS = 120.0
"""How long anything may take before it is taken for stuck: beside slow disks, and much else."""

PASSWORD = "right, and long enough"
PIPELINED = 60
ADDRESSES = 200
"""From which wrong passwords come: of each, one is checked at a time, and then others wait."""


class Site(NamedTuple):
    """What is to be known of the daemon."""

    port: int
    echo: int
    paced: int
    """The port of one that sends slowly."""
    book: Book
    pin: str
    token: str
    key: bytes
    """That of links."""
    folder: Path
    """For what clients fetch."""


class Visitor:
    """Whoever acts: by chance, the same each time."""

    def __init__(self, site: Site, seed: str) -> None:
        self.site = site
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        """What was done: requests, or things that have names of their own."""
        self.received = 0
        """Bytes of files."""
        self.kept: list[Fetch] = []
        """Downloads that go on slowly."""

    def any_name(self) -> str:
        """Of a file that anyone may read."""
        folder = self.random.choice(("fixed/small", "fixed/small", "fixed/large", "moving", "torn"))
        return self.random.choice(self.site.book.names(folder))

    def steady_name(self) -> str:
        """Of a small one that stays as it is."""
        return self.random.choice(self.site.book.names("fixed/small"))

    def got(self, data: bytes) -> None:
        self.received += len(data)
        self.counts["requests"] += 1

    def http(self, *, tls: bool | None = None, source: str = "") -> http.client.HTTPConnection:
        """A connection to the daemon."""
        tls = self.random.random() < 0.3 if tls is None else tls
        host, port, come = "127.0.0.1", self.site.port, (source, 0) if source else None
        if not tls:
            return http.client.HTTPConnection(host, port, timeout=SECONDS, source_address=come)
        return http.client.HTTPSConnection(
            host, port, timeout=SECONDS, source_address=come, context=anybody()
        )

    def access(self, **login: object) -> Access:
        """Trust in the daemon's certificate, and a login."""
        return Access(pins=[self.site.pin], **login)  # type: ignore[arg-type]

    def url(self, name: str) -> str:
        """For the client, as it is or under TLS."""
        scheme = self.random.choice(("tcpdl", "tcpdls"))
        return f"{scheme}://127.0.0.1:{self.site.port}/{name}"


def ask(
    connection: http.client.HTTPConnection,
    target: str,
    method: str = "GET",
    **fields: str,
) -> tuple[http.client.HTTPResponse, bytes]:
    """Ask, and read the answer."""
    shown = {name.replace("_", "-"): value for name, value in fields.items()}
    connection.request(method, target, headers=shown)
    answer = connection.getresponse()
    return answer, answer.read()


def whole_file(visitor: Visitor) -> None:
    """A file, in any dialect."""
    name, way = visitor.any_name(), visitor.random.choice(WAYS)
    asked = time.monotonic()
    visitor.counts[way] += 1
    try:
        outcome = Fetch(visitor.site.port, way, name, buffer=None).finish()
    except Damaged:
        # It was cut short when its bytes were in the kernel's hands (see `Book.check`).
        assert name.startswith("torn/"), (name, way)
        visitor.counts["torn"] += 1
        return
    changes = not name.startswith("fixed/")
    if changes and outcome.how is How.ERROR:
        assert outcome.status == native.CHANGED
    elif name.startswith("torn/") and outcome.how is How.RESET:
        visitor.counts["torn"] += 1
    else:
        assert outcome.how is How.WHOLE, (name, way, outcome.how, outcome.status)
        visitor.site.book.check(name, outcome.content, asked)
    if outcome.content:
        visitor.site.book.check(name, outcome.content, asked, whole=False)
    visitor.got(outcome.content)


def refused_names(visitor: Visitor) -> None:
    """What is not there, or not for anyone."""
    name = visitor.random.choice(("absent", "fixed/absent", "../key", "private/1", ".hidden"))
    way = visitor.random.choice(WAYS)
    outcome = Fetch(visitor.site.port, way, name, buffer=None).finish()
    dialect = way.removesuffix(TLS)
    if dialect == "raw":
        assert (outcome.how, outcome.content) == (How.WHOLE, b"")
    elif dialect == "http":
        allowed = (401,) if name.startswith("private") else (401, 404)
        assert outcome.status in allowed, (name, outcome.status)
    else:
        refusals = native.ABSENT, native.REFUSED, native.LOGIN_NEEDED
        assert outcome.how is How.ERROR
        assert outcome.status in refusals, (name, outcome.status)
    visitor.got(b"")


def library(visitor: Visitor) -> None:
    """A file by the client, with its eight connections and all that it checks."""
    name = visitor.random.choice((visitor.steady_name(), visitor.random.choice(LARGE_NAMES)))
    data = fetch_bytes(
        visitor.url(name),
        dialect=visitor.random.choice(("native", "http")),
        access=visitor.access(),
        timeout=SECONDS,
    )
    assert data == visitor.site.book.of(name), name
    visitor.got(data)


def tree(visitor: Visitor) -> None:
    """A folder by the client: listed, fetched, verified, damaged, fetched again."""
    site, access = visitor.site, visitor.access()
    names = site.book.names("fixed/small")
    url = visitor.url("fixed/small")
    listed = listdir(url, access=access, timeout=SECONDS)
    assert sorted(f"fixed/small/{one.name.decode()}" for one in listed) == names
    with TemporaryDirectory(dir=site.folder) as folder:
        result = mirror(url, folder, access=access, timeout=SECONDS)
        assert result.complete
        assert result.files == len(names)
        for name in names:
            data = Path(folder, Path(name).name).read_bytes()
            assert data == site.book.of(name), name
        visitor.received += result.size
        spoilt = Path(folder, Path(visitor.steady_name()).name)
        spoilt.write_bytes(b"something else")
        found = verify(parse_native(url, "verify"), folder, Ways(access=access, timeout=SECONDS))
        assert [one.name for one in found.differences] == [spoilt.name.encode()]
        assert mirror(url, folder, checksum=True, access=access, timeout=SECONDS).files == 1
        assert spoilt.read_bytes() == site.book.of(f"fixed/small/{spoilt.name}")
    visitor.counts["requests"] += 4 + len(names)


def ranges(visitor: Visitor) -> None:
    """Parts of files, and conditions, on one connection."""
    connection = visitor.http()
    try:
        for _ in range(visitor.random.randint(2, 20)):
            name = visitor.any_name()
            size = visitor.site.book.size(name)
            if name.startswith("torn/") or size < 2:
                continue
            start = visitor.random.randrange(size // 2)
            end = visitor.random.randrange(start, min(size, start + 300_000))
            asked = time.monotonic()
            answer, body = ask(connection, f"/{name}", Range=f"bytes={start}-{end}")
            if answer.status == 206:
                assert answer.headers["Content-Range"].startswith(f"bytes {start}-")
                visitor.site.book.check(name, body, asked, start=start, whole=False)
            else:
                assert answer.status == 416, answer.status
                assert name.startswith("moving/")  # it was replaced by a shorter one
            visitor.got(body)
            steady = visitor.steady_name()
            answer, body = ask(connection, f"/{steady}", "HEAD")
            assert (answer.status, body) == (200, b"")
            assert int(answer.headers["Content-Length"]) == visitor.site.book.size(steady)
            tag = answer.headers["ETag"]
            answer, body = ask(connection, f"/{steady}", If_None_Match=tag)
            if (
                answer.status == 200
            ):  # while it is new, its tag is weak, and may become a strong one
                assert body == visitor.site.book.of(steady)
            else:
                assert (answer.status, body) == (304, b"")
            visitor.counts["requests"] += 2
    finally:
        connection.close()


def pages(visitor: Visitor) -> None:
    """What is made of folders and files."""
    connection = visitor.http()
    book = visitor.site.book
    names = book.names("fixed/small")
    try:
        for target in visitor.random.sample(
            ["html", "json", "info", "sums", "tar", "zip", "client"], 3
        ):
            if target == "html":
                answer, body = ask(connection, "/fixed/small/", Accept="text/html")
                assert Path(names[-1]).name.encode() in body
            elif target == "json":
                answer, body = ask(connection, "/fixed/small/", Accept="application/json")
                assert json.loads(body)
            elif target == "info":
                name = visitor.steady_name()
                answer, body = ask(connection, f"/{name}?info")
                assert sha256(book.of(name)).hexdigest().encode() in body
            elif target == "sums":
                answer, body = ask(connection, "/fixed/?sums=sha256")
                lines = body.decode().splitlines()
                sums = {line[66:]: line[:64] for line in lines if not line.startswith("#")}
                for name in (visitor.steady_name(), LARGE_NAMES[0]):
                    shown = name.removeprefix("fixed/")
                    digest = sha256(book.of(name)).hexdigest()
                    assert digest in (sums.get(shown), sums.get(f"./{shown}")), lines[:3]
            elif target == "client":
                answer, body = ask(connection, "/.well-known/tcpdl/tcpdl.pyz")
                assert zipfile.ZipFile(io.BytesIO(body)).testzip() is None
            else:
                answer, body = ask(connection, f"/fixed/small/?archive={target}")
                found = members(target, body)
                assert len(found) == len(names)
                assert all(found[Path(name).name] == book.of(name) for name in names)
            assert answer.status == 200
            visitor.counts[target] += 1
            visitor.got(body)
    finally:
        connection.close()


def members(form: str, archive: bytes) -> dict[str, bytes]:
    """The files of an archive, by the last segment of their names."""
    if form == "zip":
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return {
                Path(name).name: opened.read(name)
                for name in opened.namelist()
                if not name.endswith("/")
            }
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if member.isreg() and file is not None:
                found[Path(member.name).name] = file.read()
    return found


def pipelined(visitor: Visitor) -> None:
    """Many requests at once, whose answers come in their order."""
    names = [visitor.steady_name() for _ in range(PIPELINED)]
    plain = socket.create_connection(("127.0.0.1", visitor.site.port), SECONDS)
    with anybody().wrap_socket(plain) if visitor.random.random() < 0.3 else plain as sock:
        sock.sendall(
            b"".join(f"GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for name in names)
        )
        with sock.makefile("rb") as stream:
            for name in names:
                assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
                fields = http.client.parse_headers(stream)
                body = stream.read(int(fields["Content-Length"]))
                assert body == visitor.site.book.of(name), name
                visitor.got(body)


def echo(visitor: Visitor) -> None:
    """Text comes back."""
    text = b"echo " + visitor.random.randbytes(visitor.random.randint(1, 200_000))
    with socket.create_connection(("127.0.0.1", visitor.site.echo), SECONDS) as sock:
        sock.sendall(text[:60_000])
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as stream:
            assert stream.read() == text[:60_000]
    visitor.counts["requests"] += 1


def logins(visitor: Visitor) -> None:
    """Passwords and tokens, right and wrong, over HTTP and natively."""
    name = visitor.random.choice(PRIVATE_NAMES)
    content = visitor.site.book.of(name)
    kind = visitor.random.choice(("password", "token", "wrong", "none", "native", "native wrong"))
    visitor.counts[f"login: {kind}"] += 1
    visitor.counts["requests"] += 1
    if kind.startswith("native"):
        token = visitor.site.token if kind == "native" else "a-token-that-nobody-has"
        try:
            data = fetch_bytes(
                visitor.url(name),
                dialect="native",
                access=visitor.access(token=token),
                timeout=SECONDS,
            )
        except NotAllowed:
            assert kind == "native wrong"
        else:
            assert (kind, data) == ("native", content)
        return
    basic = b64encode(f"ann:{PASSWORD}".encode()).decode()
    source = ""
    fields = {"Authorization": f"Basic {basic}"}
    if kind == "token":
        fields["Authorization"] = f"Bearer {visitor.site.token}"
    elif kind == "wrong":
        fields["Authorization"] = "Basic " + b64encode(b"ann:wrong").decode()
        source = f"127.0.2.{visitor.random.randint(1, ADDRESSES)}"
    elif kind == "none":
        fields = {}
    connection = visitor.http(source=source)
    try:
        answer, body = ask(connection, f"/{name}", **fields)
        if kind in ("wrong", "none"):
            assert answer.status == 401, (kind, answer.status)
        else:
            assert (answer.status, body) == (200, content), (kind, answer.status)
    finally:
        connection.close()


def links(visitor: Visitor) -> None:
    """Links that are valid, that are over, and that end at about this moment."""
    name = visitor.random.choice(PRIVATE_NAMES)
    until = int(time.time()) + visitor.random.choice((-60, -1, 1, 60, 3600))
    link = sign(visitor.site.key, tuple(name.encode().split(b"/")), until)
    connection = visitor.http()
    try:
        before = time.time()
        answer, body = ask(connection, f"/{name}?{link.query}")
        after = time.time()
    finally:
        connection.close()
    valid, over = after < until, before >= until + 1
    assert answer.status in (200, 401, 403)
    assert not (valid and answer.status != 200), answer.status
    assert not (over and answer.status == 200)
    if answer.status == 200:
        assert body == visitor.site.book.of(name)
    visitor.counts["links"] += 1
    visitor.got(body)


ACTIONS: dict[Callable[[Visitor], None], int] = {
    whole_file: 30,
    refused_names: 15,
    library: 4,
    tree: 1,
    ranges: 10,
    pages: 4,
    pipelined: 25,
    echo: 5,
    logins: 8,
    links: 8,
}
"""What is done, and how often beside the others."""

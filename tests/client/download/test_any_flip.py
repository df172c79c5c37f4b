"""Tests `client.download` and `client.stream` with one bit of a conversation damaged, anywhere.

What comes out is right, or it is an error: never other bytes, nor those of another name or offset.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tcpdl.client.errors import ClientError
from tcpdl.client.fetched import Fetched
from tcpdl.client.stream import stream
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tests.client.download.conftest import BETWEEN, CHUNK, DIGEST, NAME, PART, RECORD, Fetch, some
from tests.client.native_server import MTIME, Ending, Line, NativeServer

TIMEOUT = 0.06
"""Of a wait for what does not come."""

HANGS = 30.0
"""Seconds."""

MENDED = {"says": 60, "hears": 20}
"""Of 100 times, how often a damaged answer, or request, is but asked for again. Of a request, most
bytes are a name, a tag and an offset: that there is none such is what the server says then."""

WANTED = b"f"
TAG = b"the tag of all!!"
SHORT, TWO_CHUNKS = 70, CHUNK + 4321


class Scene(NamedTuple):
    """A download, and which of its connections is damaged."""

    size: int
    there: int = 0
    """Bytes that an earlier one has left."""
    connection: int = 0

    @property
    def data(self) -> bytes:
        return some(self.size)


SCENES = {
    "a short file": Scene(SHORT),
    "two chunks": Scene(TWO_CHUNKS),
    "the rest of two chunks": Scene(TWO_CHUNKS, there=CHUNK + 99),
    "the second connection": Scene(TWO_CHUNKS, connection=1),
}

AFRESH = {name: scene for name, scene in SCENES.items() if not scene.there}
"""As a stream is."""


def near(name: bytes) -> Iterator[bytes]:
    """All names that damage may make of this one, but for those that are longer."""
    yield b"\0" + name
    for at in range(len(name)):
        for bit in range(8):
            yield name[:at] + bytes([name[at] ^ 1 << bit]) + name[at + 1 :]


@pytest.fixture(params=SCENES.values(), ids=list(SCENES))
def scene(request: pytest.FixtureRequest, server: NativeServer) -> Scene:
    scene: Scene = request.param
    # Whoever is misunderstood gets what looks just as good.
    for number, name in enumerate(near(WANTED)):
        server.put(name, some(scene.size, 1 + number), tag=TAG)
    return scene


@pytest.fixture
def one(server: NativeServer) -> Iterator[Callable[[Scene], Location]]:
    """Makes the server ready for a scene."""

    def ready(scene: Scene) -> Location:
        server.forget()
        server.cuts = []
        if scene.connection:
            server.cuts = [(BETWEEN + 8 + CHUNK + DIGEST, Ending.FIN)]
        return server.put(WANTED, scene.data, tag=TAG)

    yield ready
    server.says = server.hears = None


def recorder(scene: Scene, into: bytearray) -> Line:
    def record(connection: int, at: int, data: bytes) -> bytes:
        if connection == scene.connection:
            into[at:] = data
        return data

    return record


def damage(scene: Scene, where: int, mask: int) -> Line:
    def spoil(connection: int, at: int, data: bytes) -> bytes:
        if connection != scene.connection or not 0 <= where - at < len(data):
            return data
        spoiled = bytearray(data)
        spoiled[where - at] ^= mask
        return bytes(spoiled)

    return spoil


def spots(scene: Scene, said: bytes) -> list[int]:
    """Where to damage what was `said`: anywhere, but of long runs only here and there."""
    if len(said) < 300:
        return list(range(len(said)))
    found, at = [], 0
    while at < len(said):
        run = scene.data.find(said[at : at + 16])
        if run < 0 or at + 16 > len(said):
            found.append(at)
            at += 1
        else:
            end = at + min(CHUNK - run % CHUNK, len(scene.data) - run)
            found += [at, (at + end) // 2, end - 1]
            at = end
    # Of each kind of message there is more than one by now.
    return found[::3]


def each_flip(server: NativeServer, scene: Scene, side: str, run: Callable[[], bool]) -> int:
    """Call `run` for each damaged bit; return how often, of 100 times, all came right."""
    heard = bytearray()
    setattr(server, side, recorder(scene, heard))
    assert run(), "without any damage"
    assert len(heard) > 40
    right = 0
    where = spots(scene, bytes(heard))
    for at in where:
        setattr(server, side, damage(scene, at, 1 << (at * 3 + scene.there) % 8))
        began = time.monotonic()
        try:
            right += run()
        except AssertionError as error:
            raise AssertionError(
                f"byte {at} of {len(heard)}: {heard[max(0, at - 8) : at + 8].hex()}"
            ) from error
        assert time.monotonic() - began < HANGS, at
    return 100 * right // len(where)


@pytest.mark.parametrize("side", ["says", "hears"])
def test_download(
    side: str, scene: Scene, server: NativeServer, one: Callable[[Scene], Location], fetch: Fetch
) -> None:
    def check(fetched: Fetched) -> None:
        assert fetch.path.read_bytes() == scene.data
        assert (fetched.size, fetched.mtime_ns, fetched.mode) == (scene.size, MTIME, 0o644)
        assert fetch.names == {NAME}

    def run() -> bool:
        location = one(scene)
        fetch.slept.clear()
        for path in (fetch.path, fetch.part, fetch.record):
            path.unlink(missing_ok=True)
        if scene.there:
            fetch.part.write_bytes(scene.data[: scene.there])
        try:
            check(fetch(location, timeout=TIMEOUT))
        except ClientError:
            assert fetch.names <= {PART, RECORD}
        else:
            return True
        # What is left does no harm.
        damaging = server.says, server.hears
        server.says = server.hears = None
        check(fetch(location, timeout=10.0))
        server.says, server.hears = damaging
        return False

    assert each_flip(server, scene, side, run) > MENDED[side]


@pytest.mark.parametrize("side", ["says", "hears"])
@pytest.mark.parametrize("scene", AFRESH.values(), ids=AFRESH, indirect=True)
def test_stream(
    side: str, scene: Scene, server: NativeServer, one: Callable[[Scene], Location], fetch: Fetch
) -> None:
    def run() -> bool:
        location = one(scene)
        fetch.slept.clear()
        got: list[bytes] = []
        try:
            ways = Ways(timeout=TIMEOUT, sleep=fetch.sleep)
            fetched = stream(location, got.append, ways)
        except ClientError:
            assert scene.data.startswith(b"".join(got))
            return False
        assert b"".join(got) == scene.data
        assert (fetched.size, fetched.mtime_ns, fetched.mode) == (scene.size, MTIME, 0o644)
        return True

    assert each_flip(server, scene, side, run) > MENDED[side]

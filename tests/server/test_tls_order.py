"""Tests that what goes over an encrypted connection keeps its order, whatever else happens."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.certificates import client_context, server_context
from tests.server.conftest import Connect
from tests.server.key_updates import KeyUpdating
from tests.server.tls_client import TlsClient

CONTENT = random.Random(7).randbytes(300_000)
CONTEXT, CLIENT = server_context(), client_context()

SIZES = st.sampled_from([0, 1, 100, 16_384, 16_385, 65_536, 70_000, 200_000])
STEPS = st.one_of(
    st.tuples(st.just("write"), SIZES),
    st.tuples(st.just("sequence"), SIZES),
    st.tuples(st.just("file"), SIZES),
    st.tuples(st.just("take"), st.sampled_from([1, 1000, 100_000])),
    st.tuples(st.just("turn"), st.just(0)),
    st.tuples(st.just("say"), st.sampled_from([1, 5000])),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(STEPS, max_size=25), st.sampled_from(["loseWriteConnection", "loseConnection"]))
def test_order(
    connect: Connect,
    open_file: Callable[[bytes], int],
    steps: list[tuple[str, int]],
    end: str,
) -> None:
    client = TlsClient(connect(tls=lambda: CONTEXT, sndbuf=1), CLIENT).shake()
    transport, fd = client.transport, open_file(CONTENT)
    expected, said, outcomes = [], b"", []
    for what, size in steps:
        if what == "take":
            client.connection.take(size)
            continue
        if what == "turn":
            client.connection.write_turn()
            continue
        if what == "say":
            said += CONTENT[:size]
            client.say(CONTENT[:size])
            continue
        expected.append(CONTENT[:size])
        if what == "write":
            transport.write(CONTENT[:size])
        elif what == "sequence":
            transport.writeSequence([CONTENT[: size // 2], b"", CONTENT[size // 2 : size]])
        else:
            outcomes.append((client.connection.send(fd, 0, size), size))
    getattr(transport, end)()
    assert client.hear() == b"".join(expected)
    assert client.ended
    assert client.protocol.data == said
    assert all(outcome == [size] for outcome, size in outcomes)
    assert not client.connection.wants_to_write


@pytest.mark.parametrize("requested", [False, True])
def test_key_updates_within_a_file(
    requested: bool, connect: Connect, open_file: Callable[[bytes], int]
) -> None:
    """What TLS itself answers goes out between two records, and the file after it is whole."""
    updating = KeyUpdating()
    connection = connect(tls=lambda: CONTEXT, sndbuf=1)
    connection.say(updating.shake(b""))
    connection.say(updating.shake(connection.drain()))
    fed = len(connection.received)
    sent: list[Any] = connection.send(open_file(CONTENT), 0, len(CONTENT))
    got = b""
    while not sent:
        connection.write_turn()
        connection.take(30_000)
        got += updating.decrypt(connection.received[fed:])
        fed = len(connection.received)
        if len(got) % 3 == 0:
            connection.say(updating.update(1, requested=requested))
    got += updating.decrypt(connection.drain()[fed:])
    assert got == CONTENT
    updating.close()

"""Tests `client.connect`: which of a host's addresses is taken, and what is said when none is."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.client import connect as module
from tcpdl.client.connect import Address, connect, first_to_answer, interleave, peer_of
from tcpdl.client.errors import CannotConnect

if TYPE_CHECKING:
    from tests.client.conftest import Pair, Serve

V4, V6 = socket.AF_INET, socket.AF_INET6
LONG = 20.0
"""Seconds within which what is to succeed does, however slow the machine."""


def v4(number: int) -> Address:
    return (V4, (f"192.0.2.{number}", 80))


def v6(number: int) -> Address:
    return (V6, (f"2001:db8::{number}", 80))


@pytest.mark.parametrize(
    ("addresses", "order"),
    [
        ([], []),
        ([v4(1)], [v4(1)]),
        ([v4(1), v4(2)], [v4(1), v4(2)]),
        ([v6(1), v6(2), v4(1), v4(2)], [v6(1), v4(1), v6(2), v4(2)]),
        ([v4(1), v4(2), v6(1)], [v4(1), v6(1), v4(2)]),
        ([v6(1), v4(1), v4(2), v4(3)], [v6(1), v4(1), v4(2), v4(3)]),
    ],
)
def test_interleave(addresses: list[Address], order: list[Address]) -> None:
    assert interleave(iter(addresses)) == order


@given(st.lists(st.one_of(st.builds(v4, st.integers(0, 9)), st.builds(v6, st.integers(0, 9)))))
def test_interleave_keeps_all_in_order(addresses: list[Address]) -> None:
    order = interleave(addresses)
    for family in (V4, V6):
        assert [a for a in order if a[0] == family] == [a for a in addresses if a[0] == family]
    families = [family for family, _ in order]
    fewest = min(families.count(V4), families.count(V6))
    assert all(a != b for a, b in pairwise(families[: 2 * fewest]))
    assert families[:1] == [family for family, _ in addresses[:1]]  # the preferred one is first


class Outcomes:
    """Stands for connecting: what happens at each address is written down beforehand."""

    def __init__(self, stack: ExitStack) -> None:
        self.tried: list[Address] = []
        self.made: list[socket.socket] = []
        self._stack = stack
        self._outcomes: dict[Address, Callable[[], socket.socket]] = {}

    def __call__(self, address: Address) -> socket.socket:
        self.tried.append(address)
        sock = self._outcomes[address]()
        self.made.append(sock)
        return sock

    def answers(self, address: Address) -> None:
        """Connected at once."""
        self._outcomes[address] = self._pair

    def silent(self, address: Address) -> None:
        """Never writable, as a connection whose first packet was lost."""
        self._outcomes[address] = self._full

    def raises(self, address: Address, code: int) -> None:
        """Fails before it begins, as for a family the machine has no route for."""

        def fail() -> socket.socket:
            raise OSError(code, "made up")

        self._outcomes[address] = fail

    def refuses(self, address: Address) -> None:
        """Fails a moment later: a connection to a port of this machine that is closed."""

        def refused() -> socket.socket:
            with socket.socket() as held:
                held.bind(("127.0.0.1", 0))
                return module._attempt((V4, held.getsockname()))

        self._outcomes[address] = refused

    def _pair(self) -> socket.socket:
        ours, peer = socket.socketpair()
        self._stack.callback(peer.close)
        return ours

    def _full(self) -> socket.socket:
        ours = self._pair()
        ours.setblocking(False)
        try:
            while True:
                ours.send(bytes(65536))
        except BlockingIOError:
            return ours

    def open(self) -> list[socket.socket]:
        return [sock for sock in self.made if sock.fileno() >= 0]


@pytest.fixture
def script(no_descriptor_leaks: None) -> Iterator[Outcomes]:
    with ExitStack() as stack:
        yield Outcomes(stack)


@pytest.fixture
def never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second attempt would come too late for any test."""
    monkeypatch.setattr(module, "ATTEMPT_DELAY", 3600.0)


@pytest.mark.usefixtures("never_waits")
def test_first_address_that_answers_is_the_only_one_tried(script: Outcomes) -> None:
    script.answers(v4(1))
    script.answers(v4(2))
    with first_to_answer([v4(1), v4(2)], LONG, script) as sock:
        assert script.made == [sock]
        assert script.tried == [v4(1)]


@pytest.mark.usefixtures("never_waits")
@pytest.mark.parametrize("how", ["refuses", "raises"])
def test_refusal_makes_the_next_one_tried_at_once(script: Outcomes, how: str) -> None:
    if how == "raises":
        script.raises(v6(1), errno.ENETUNREACH)
    else:
        script.refuses(v6(1))
    script.answers(v4(1))
    with first_to_answer([v6(1), v4(1)], LONG, script) as sock:
        assert script.tried == [v6(1), v4(1)]
        assert script.open() == [sock]  # the refused one is closed


@pytest.mark.usefixtures("never_waits")
def test_refusal_beside_a_silent_one_makes_the_next_one_tried(
    script: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The delay ends for the second, and then would never end for the third.
    script.silent(v6(1))
    script.refuses(v4(1))
    script.answers(v6(2))
    delays = iter([0.0])

    class Delay(float):
        def __radd__(self, now: float) -> float:
            return now + next(delays, 3600.0)

    monkeypatch.setattr(module, "ATTEMPT_DELAY", Delay())
    with first_to_answer([v6(1), v4(1), v6(2)], LONG, script) as sock:
        assert script.tried == [v6(1), v4(1), v6(2)]
        assert script.open() == [sock]


def test_silent_address_is_overtaken_and_closed(
    script: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPT_DELAY", 0.01)
    script.silent(v6(1))
    script.silent(v4(1))
    script.answers(v6(2))
    with first_to_answer([v6(1), v4(1), v6(2)], LONG, script) as sock:
        assert script.tried == [v6(1), v4(1), v6(2)]
        assert sock is script.made[2]
        assert script.open() == [sock]


def test_all_refused(script: Outcomes) -> None:
    script.refuses(v4(1))
    script.raises(v6(1), errno.ENETUNREACH)
    script.refuses(v4(2))
    with pytest.raises(CannotConnect) as raised:
        first_to_answer([v4(1), v6(1), v4(2)], LONG, script)
    assert sorted(str(raised.value).split("; ")) == [
        "connection refused (192.0.2.1)",
        "connection refused (192.0.2.2)",
        "network is unreachable (2001:db8::1)",
    ]
    assert script.open() == []


def test_same_refusal_is_named_once(script: Outcomes) -> None:
    script.refuses(v4(1))
    with pytest.raises(CannotConnect) as raised:
        first_to_answer([v4(1), v4(1)], LONG, script)
    assert str(raised.value) == "connection refused (192.0.2.1)"
    assert len(script.tried) == 2


def test_none_answers(script: Outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTEMPT_DELAY", 0.001)
    script.silent(v4(1))
    script.silent(v6(1))
    with pytest.raises(CannotConnect, match=r"^no answer within 0\.05 s$"):
        first_to_answer([v4(1), v6(1)], 0.05, script)
    assert script.made
    assert script.open() == []


def test_who_was_stopped_past_the_deadline_looks_at_what_has_come(script: Outcomes) -> None:
    script.answers(v4(1))
    first_to_answer([v4(1)], 0.0, script).close()
    script.refuses(v4(2))
    with pytest.raises(CannotConnect, match=r"^connection refused \(192\.0\.2\.2\)$"):
        first_to_answer([v4(2)], 0.0, script)


@pytest.mark.usefixtures("never_waits")
def test_refusals_are_named_beside_the_silence(script: Outcomes) -> None:
    script.refuses(v4(1))
    script.silent(v4(2))
    with pytest.raises(CannotConnect) as raised:
        first_to_answer([v4(1), v4(2)], 0.05, script)
    assert str(raised.value).endswith("no answer within 0.05 s")


def test_not_wanted_any_more(script: Outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTEMPT_DELAY", 0.0)
    monkeypatch.setattr(module, "LOOK", 0.001)
    script.silent(v4(1))
    script.silent(v4(2))
    with pytest.raises(CannotConnect, match="not wanted any more"):
        first_to_answer([v4(1), v4(2)], LONG, script, lambda: len(script.made) < 2)
    assert len(script.made) == 2
    assert script.open() == []


def test_interruption_closes_all(script: Outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    script.silent(v4(1))
    monkeypatch.setattr(module, "ATTEMPT_DELAY", 0.0)

    def interrupted(address: Address) -> socket.socket:
        if address == v4(2):
            raise KeyboardInterrupt
        return script(address)

    with pytest.raises(KeyboardInterrupt):
        first_to_answer([v4(1), v4(2)], LONG, interrupted)
    assert len(script.made) == 1
    assert script.open() == []


# Real connections.


def names(monkeypatch: pytest.MonkeyPatch, addresses: list[tuple[int, Any]]) -> None:
    """Let every host have `addresses`."""

    def getaddrinfo(*_args: Any, **_options: Any) -> list[Any]:
        return [(family, socket.SOCK_STREAM, 6, "", where) for family, where in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_connects(serve: Serve) -> None:
    port = serve(lambda sock: sock.sendall(b"hello"))
    with connect("127.0.0.1", port, LONG) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)
        assert sock.gettimeout() is None  # blocking
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.recv(5, socket.MSG_WAITALL) == b"hello"


def test_connects_to_a_name(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    port = serve(lambda sock: sock.sendall(b"hello"))
    names(monkeypatch, [(V4, ("127.0.0.1", port))])
    with connect("host.example", port, LONG) as sock:
        assert sock.recv(5, socket.MSG_WAITALL) == b"hello"


@pytest.mark.usefixtures("never_waits")
def test_second_address_of_a_name(
    serve: Serve, refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = serve(lambda sock: sock.sendall(b"hello"))
    names(monkeypatch, [(V4, ("127.0.0.1", refused)), (V4, ("127.0.0.1", port))])
    with connect("host.example", port, LONG) as sock:
        assert sock.recv(5, socket.MSG_WAITALL) == b"hello"


def test_connects_over_ipv6() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=V6)
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    with listener, connect("::1", listener.getsockname()[1], LONG) as sock:
        assert sock.family == V6


def test_refused(refused: int) -> None:
    with pytest.raises(CannotConnect) as raised:
        connect("127.0.0.1", refused, LONG)
    assert str(raised.value) == (
        f"cannot connect to 127.0.0.1:{refused}: connection refused (127.0.0.1)"
    )


def test_refused_by_every_address_of_a_name(refused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, [(V4, ("127.0.0.1", refused)), (V4, ("127.0.0.2", refused))])
    with pytest.raises(CannotConnect) as raised:
        connect("host.example", refused, LONG)
    for address in ("127.0.0.1", "127.0.0.2"):
        assert str(raised.value).count(f"connection refused ({address})") == 1
    assert f"host.example:{refused}" in str(raised.value)


def test_full_queue_does_not_answer(no_descriptor_leaks: None) -> None:
    # A listener whose queue is full drops the first packet of further connections.
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            stack.enter_context(module._attempt((V4, listener.getsockname())))
        with pytest.raises(CannotConnect, match=r"no answer within 0\.05 s"):
            connect("127.0.0.1", listener.getsockname()[1], 0.05)


def test_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_args: Any, **_options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(CannotConnect, match=r"cannot find the host 'nowhere\.example': Name or"):
        connect("nowhere.example", 80, LONG)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b"])
def test_no_host_name_at_all(host: str) -> None:
    with pytest.raises(CannotConnect, match="is not a host name"):
        connect(host, 80, LONG)


def test_peer(tcp_pair: Pair) -> None:
    assert [peer_of(sock) for sock in tcp_pair] == ["127.0.0.1"] * 2
    with socket.socket() as sock:
        assert peer_of(sock) == ""


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        (("192.0.2.1", 80), "192.0.2.1"),
        (("2001:db8::1", 80, 0, 0), "2001:db8::1"),
        (("fe80::1", 80, 0, 3), "fe80::1%3"),
    ],
)
def test_peer_in_a_zone(name: object, peer: str) -> None:
    class Sock:
        def getpeername(self) -> object:
            return name

    assert peer_of(Sock()) == peer  # type: ignore[arg-type]

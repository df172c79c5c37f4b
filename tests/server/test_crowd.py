"""Tests who may have another connection."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from tcpdl.server.crowd import REFUSALS_EACH, REFUSALS_MOST, Address, Crowd, Full, Limits

FEW = Limits(connections=6, per_address=2, per_network=4)


def peer(host: str) -> IPv4Address | IPv6Address:
    kind = IPv6Address if ":" in host else IPv4Address
    return kind("TCP", host, 1234)


def enter(crowd: Crowd, *hosts: str) -> list[Address]:
    return [crowd.enter(peer(host)) for host in hosts]


def test_so_many_of_one_address() -> None:
    crowd = Crowd(FEW)
    first, second = enter(crowd, "192.0.2.1", "192.0.2.1")
    assert first is second
    with pytest.raises(Full, match="its address has 2 connections"):
        enter(crowd, "192.0.2.1")
    enter(crowd, "192.0.2.2")
    crowd.leave(first)
    enter(crowd, "192.0.2.1")
    assert crowd.connections == 3


def test_so_many_of_one_network() -> None:
    crowd = Crowd(FEW)
    enter(crowd, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.254")
    with pytest.raises(Full, match="its network has 4 connections"):
        enter(crowd, "192.0.2.5")
    enter(crowd, "192.0.3.5")


def test_so_many_in_all() -> None:
    crowd = Crowd(FEW)
    there = enter(crowd, *(f"192.0.{number}.1" for number in range(6)))
    with pytest.raises(Full, match="there are 6 connections"):
        enter(crowd, "198.51.100.1")
    crowd.leave(there[3])
    enter(crowd, "198.51.100.1")


@pytest.mark.parametrize(
    ("one", "other", "address", "network"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", True, True),
        ("192.0.2.1", "192.0.2.2", False, True),
        ("192.0.2.1", "192.0.3.1", False, False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True, True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False, True),
        ("2001:db8:1:2::1", "2001:db8:2:2::1", False, False),
        ("fe80::1%eth0", "fe80::2%eth0", False, True),
    ],
)
def test_what_counts_as_one(one: str, other: str, address: bool, network: bool) -> None:
    crowd = Crowd()
    first, second = enter(crowd, one, other)
    assert (first is second) is address
    assert (first.network == second.network) is network


LOCAL = [peer("127.0.0.1"), peer("127.1.2.3"), peer("::1"), UNIXAddress(b"/run/socket"), None]


@pytest.mark.parametrize("local", LOCAL)
def test_a_proxy_on_this_machine_has_as_many_as_it_wants(local: object) -> None:
    crowd = Crowd(FEW._replace(connections=0))
    for _ in range(100):
        assert crowd.enter(local).local


@pytest.mark.parametrize("local", LOCAL)
def test_a_number_that_was_given_holds_for_this_machine(local: object) -> None:
    crowd = Crowd(FEW._replace(local_address=3, connections=0))
    for _ in range(3):
        crowd.enter(local)
    with pytest.raises(Full):
        crowd.enter(local)
    crowd = Crowd(FEW._replace(local_network=3, connections=0))
    for _ in range(3):
        crowd.enter(local)
    with pytest.raises(Full):
        crowd.enter(local)


def test_no_limits() -> None:
    crowd = Crowd(Limits(0, 0, 0))
    enter(crowd, *["192.0.2.1"] * 20_000)
    assert crowd.room > 0


def test_what_others_have_counts() -> None:
    crowd = Crowd(FEW)
    elsewhere = crowd.elsewhere
    for host in (1, 1, 7, 8):
        key = bytes([192, 0, 2, host])
        elsewhere.set(key, elsewhere.addresses.get(key, 0) + 1)
    elsewhere.set(bytes([192, 0, 2, 1]), 1)
    assert (elsewhere.connections, elsewhere.networks) == (3, {bytes([192, 0, 2]): 3})
    enter(crowd, "192.0.2.1")
    with pytest.raises(Full, match="its address has 2"):
        enter(crowd, "192.0.2.1")
    with pytest.raises(Full, match="its network has 4"):
        enter(crowd, "192.0.2.2")
    enter(crowd, "198.51.100.1", "198.51.100.2")
    with pytest.raises(Full, match="there are 6"):
        enter(crowd, "203.0.113.1")
    for key in list(elsewhere.addresses):
        elsewhere.set(key, 0)
    assert (elsewhere.connections, elsewhere.addresses, elsewhere.networks) == (0, {}, {})
    enter(crowd, "203.0.113.1")


def test_each_change_is_told() -> None:
    crowd = Crowd(Limits(10, 4, 10))
    told: list[tuple[bytes, int]] = []
    crowd.on_change = lambda address: told.append((address.key[-1:], address.connections))
    first, _ = enter(crowd, "192.0.2.1", "192.0.2.2")
    crowd.leave(crowd.move(first, peer("192.0.2.3")))
    assert told == [(b"\1", 1), (b"\2", 1), (b"\1", 0), (b"\3", 1), (b"\3", 0)]


@pytest.mark.parametrize("limits", [Limits(6, 0, 0), Limits(0, 6, 0), Limits(0, 0, 6)])
def test_it_is_close_from_half_on(limits: Limits) -> None:
    crowd = Crowd(limits)
    (address,) = enter(crowd, "192.0.2.1")
    crowd.elsewhere.set(address.key, 1)
    assert not crowd.is_close(address)
    crowd.elsewhere.set(address.key, 2)
    assert crowd.is_close(address)
    assert not Crowd(Limits(0, 0, 0)).is_close(address)


def test_a_connection_turns_out_to_be_another_clients() -> None:
    crowd = Crowd(FEW)
    (proxy,) = enter(crowd, "127.0.0.1")
    moved = crowd.move(proxy, peer("192.0.2.1"))
    assert (proxy.connections, moved.connections, crowd.connections) == (0, 1, 1)
    enter(crowd, "192.0.2.1")
    (proxy,) = enter(crowd, "127.0.0.1")
    with pytest.raises(Full):
        crowd.move(proxy, peer("192.0.2.1"))
    assert (proxy.connections, crowd.connections) == (1, 3)
    crowd.leave(proxy)
    assert crowd.connections == 2
    assert crowd.move(moved, peer("192.0.2.1")).connections == 2


def test_those_who_wait_are_told_of_room() -> None:
    crowd = Crowd()
    crowd.places = 2
    told: list[int] = []
    crowd.on_leave = lambda: told.append(crowd.room)
    one, other = enter(crowd, "192.0.2.1", "192.0.2.2")
    assert crowd.room == 0
    crowd.leave(one)
    crowd.leave(other)
    assert told == [1, 2]


def test_few_refusals_at_a_time() -> None:
    crowd = Crowd(FEW)
    one = [crowd.refuse(peer("192.0.2.1")) for _ in range(REFUSALS_EACH + 1)]
    assert one.count(None) == 1
    for number in range(REFUSALS_MOST - REFUSALS_EACH):
        assert crowd.refuse(peer(f"198.51.{number}.1")) is not None
    assert crowd.refuse(peer("203.0.113.1")) is None
    assert crowd.connections == 0
    assert one[0] is not None
    crowd.refused(one[0])
    assert crowd.refuse(peer("203.0.113.1")) is not None


def test_a_proxy_on_this_machine_has_all_refusals() -> None:
    crowd = Crowd(FEW)
    for _ in range(REFUSALS_MOST):
        assert crowd.refuse(peer("127.0.0.1")) is not None
    assert crowd.refuse(peer("127.0.0.1")) is None


HOSTS = st.sampled_from(
    [
        *("192.0.2.1", "192.0.2.2", "192.0.3.1", "::ffff:192.0.2.1", "127.0.0.1", "::1"),
        *("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db8:9::1"),
    ]
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "leave", "move", "refuse", "refused"]), HOSTS),
    max_size=60,
)


@given(STEPS)
def test_the_books_balance(steps: list[tuple[str, str]]) -> None:
    """Whatever comes and goes, no limit is exceeded, and nothing is left in the end."""
    crowd = Crowd(FEW)
    there: list[Address] = []
    turned: list[Address] = []
    for step, host in steps:
        try:
            if step == "enter":
                there.append(crowd.enter(peer(host)))
            elif step == "leave" and there:
                crowd.leave(there.pop(0))
            elif step == "move" and there:
                there.append(crowd.move(there[0], peer(host)))
                del there[0]
            elif step == "refuse" and (address := crowd.refuse(peer(host))) is not None:
                turned.append(address)
            elif step == "refused" and turned:
                crowd.refused(turned.pop())
        except Full:
            pass
        assert crowd.connections == len(there) <= FEW.connections
        each = Counter(address.key for address in there)
        assert all(address.connections == each[address.key] for address in there)
        assert all(each[one.key] <= FEW.per_address for one in there if not one.local)
        blocks = Counter(address.network for address in there if not address.local)
        assert all(count <= FEW.per_network for count in blocks.values())
    for address in there:
        crowd.leave(address)
    for address in turned:
        crowd.refused(address)
    assert (crowd.connections, crowd.refusals) == (0, 0)
    assert not crowd._addresses
    assert not crowd._networks

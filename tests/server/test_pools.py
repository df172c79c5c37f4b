"""Tests how much one address may have of what there is for all."""

from __future__ import annotations

from tcpdl.server.crowd import Address
from tcpdl.server.pools import Pool

ONE = Address(bytes([192, 0, 2, 1]))
OTHER = Address(bytes([192, 0, 2, 2]))
LOCAL = Address(bytes([127, 0, 0, 1]))


def test_one_address_has_a_part() -> None:
    pool = Pool(12)
    assert [pool.take(ONE) for _ in range(4)] == [True, True, True, False]
    assert [pool.take(OTHER) for _ in range(4)] == [True, True, True, False]
    pool.give(ONE)
    assert [pool.take(ONE) for _ in range(2)] == [True, False]
    assert pool.taken == 6


def test_there_is_so_much_for_all() -> None:
    pool = Pool(5)
    for number in range(5):
        assert pool.take(Address(bytes([198, 51, 100, number])))
    assert not pool.take(ONE)
    assert not pool.take(None)


def test_this_machine_and_who_is_not_counted_may_have_all() -> None:
    for address in (LOCAL, Address(b""), Address(bytes(8)), None):
        pool = Pool(8)
        assert [pool.take(address) for _ in range(9)] == [True] * 8 + [False]
        for _ in range(8):
            pool.give(address)
        assert pool.take(address, 8)


def test_each_may_have_one() -> None:
    pool = Pool(2)
    assert pool.take(ONE)
    assert not pool.take(ONE)


def test_more_than_one_at_a_time() -> None:
    pool = Pool(100, least=60)
    assert not pool.take(ONE, 61)
    assert pool.take(ONE, 40)
    assert pool.take(ONE, 20)
    assert not pool.take(OTHER, 41)
    assert pool.take(OTHER, 40)
    pool.give(ONE, 60)
    pool.give(ONE, 0)
    pool.give(OTHER, 40)
    assert (pool.taken, pool._by) == (0, {})

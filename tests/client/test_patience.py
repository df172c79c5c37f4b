"""Tests `client.patience`: what is tried again, and how long is waited before."""

from __future__ import annotations

import pytest

from tcpdl.client.errors import (
    Busy,
    CannotConnect,
    ClientError,
    ConnectionBroken,
    Garbled,
    OtherDialect,
    SaysNothing,
    ServerFailed,
    Silent,
    SpeaksHttp,
    Unanswered,
    Untrusted,
)
from tcpdl.client.patience import PAUSES, Patience


def tries(error: ClientError, *, known: bool, restored: int = 0) -> tuple[list[float], ClientError]:
    """The pauses before it is given up, and what is raised then."""
    pauses: list[float] = []
    patience = Patience(pauses.append, known=known)
    while True:
        try:
            patience.bear(error)
        except ClientError as raised:
            return pauses, raised
        if restored:
            restored -= 1
            patience.restore()


@pytest.mark.parametrize("error", [ConnectionBroken("x"), CannotConnect("x"), Garbled("x")])
def test_server_that_was_there(error: ClientError) -> None:
    assert tries(error, known=True) == (list(PAUSES), error)
    assert tries(error, known=True, restored=3) == ([*PAUSES[:1] * 3, *PAUSES], error)


@pytest.mark.parametrize(
    "error",
    [CannotConnect("x"), SpeaksHttp("x"), Silent("x"), OtherDialect("x"), ServerFailed("x")],
)
def test_server_that_was_not(error: ClientError) -> None:
    assert tries(error, known=False) == ([], error)


def test_nonsense_is_asked_for_once_more() -> None:
    assert tries(Garbled("x"), known=False)[0] == [PAUSES[0]]


@pytest.mark.parametrize("known", [True, False])
def test_server_that_says_how_long(known: bool) -> None:
    error = ServerFailed("x")
    error.wait = 3.0
    assert tries(error, known=known)[0] == [max(pause, 3.0) for pause in PAUSES]


@pytest.mark.parametrize("kind", [OtherDialect, SpeaksHttp])
def test_dialect_is_not_forgotten(kind: type[ClientError]) -> None:
    pauses, raised = tries(kind("it says"), known=True)
    assert (type(raised), str(raised), len(pauses)) == (ConnectionBroken, "it says", len(PAUSES))


@pytest.mark.parametrize("error", [ConnectionBroken("x"), Busy("x")])
def test_server_that_may_be_busy(error: ClientError) -> None:
    assert tries(error, known=False) == (list(PAUSES), error)


@pytest.mark.parametrize("error", [Unanswered("x"), SaysNothing("x")])
def test_silence_is_asked_once_more(error: ClientError) -> None:
    assert tries(error, known=False) == ([PAUSES[0]], error)


@pytest.mark.parametrize("known", [True, False])
def test_server_that_is_another(known: bool) -> None:
    error = Untrusted("x")
    assert tries(error, known=known) == ([], error)


def test_server_that_broke_off_is_away_for_a_moment() -> None:
    patience = Patience(lambda _: None, known=False)
    patience.bear(ConnectionBroken("x"))
    for _ in PAUSES[1:]:
        patience.bear(CannotConnect("x"))
    with pytest.raises(CannotConnect):
        patience.bear(CannotConnect("x"))


def test_server_for_one_connection() -> None:
    """What it said on that tells more than that there is no other."""
    patience = Patience(lambda _: None, known=False)
    said = SaysNothing("x")
    patience.bear(said)
    with pytest.raises(SaysNothing) as raised:
        patience.bear(CannotConnect("x"))
    assert raised.value is said


def test_server_for_one_connection_that_lets_another_one_wait() -> None:
    """Its listener is closed only once it is done with the first: that resets the next one."""
    patience = Patience(lambda _: None, known=False)
    said = SaysNothing("x")
    patience.bear(said)
    patience.bear(ConnectionBroken("x"))
    for _ in PAUSES[2:]:
        patience.bear(CannotConnect("x"))
    with pytest.raises(SaysNothing) as raised:
        patience.bear(CannotConnect("x"))
    assert raised.value is said

"""Tests `server.logins`: who is asked, what is remembered, who waits for whom, on a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from tcpdl.access.proof import Proof
from tcpdl.server import logins as logins_module
from tcpdl.server.credentials import IBearerToken, IBlockingChecker
from tcpdl.server.failures import Origin
from tcpdl.server.logins import KEPT_SECONDS, Busy, Logins, WrongLogin
from tcpdl.server.working import Stopped
from tests.server.conftest import Log, move
from tests.server.native_client import Work

ANN = Proof(b"ann", b"secret")
TOKEN = Proof(None, b"t0k3n")
HERE = b"\xc0\0\2\1"


@implementer(IBlockingChecker)
class Slow:
    """Knows some users, and remembers who asked."""

    credentialInterfaces: Any = (IUsernamePassword, IBearerToken)  # noqa: N815

    def __init__(self, known: dict[Any, Any] | None = None) -> None:
        self.known = known if known is not None else {(b"ann", b"secret"): "ann", b"t0k3n": "ci"}
        self.asked: list[Any] = []
        self.now = 0

    def version(self) -> object:
        return self.now

    def check(self, credentials: Any) -> Any:
        if IBearerToken.providedBy(credentials):
            key = credentials.token
        else:
            key = (credentials.username, credentials.password)
        self.asked.append(key)
        found = self.known.get(key)
        if found is None:
            raise UnauthorizedLogin
        if isinstance(found, Exception):
            raise found
        return found

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        raise AssertionError("it is asked in a thread")


@implementer(ICredentialsChecker)
class Quick:
    """Answers as any checker of Twisted's does."""

    credentialInterfaces = (IUsernamePassword,)  # noqa: N815

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer

    def requestAvatarId(self, credentials: Any) -> Any:
        return self.answer()


class Server:
    """Logins, on a clock moved by hand."""

    def __init__(self, *checkers: Any) -> None:
        self.clock = Clock()
        self.work = Work()
        workers: Any = self.work
        self.checkers = checkers or (Slow(),)
        self.logins = Logins(self.checkers, workers, self.clock)

    def find(
        self, proof: Proof, address: bytes = HERE, wanted: Callable[[], bool] = lambda: True
    ) -> list[Any]:
        """What asking comes to: a name, or the kind of an exception, will be in the list."""
        came: list[Any] = []
        found = self.logins.find(proof, Origin(address, "192.0.2.1:1", secure=True), wanted)
        found.addCallbacks(came.append, lambda failure: came.append(failure.type))
        return came


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    # Those that still wait would have each other go on whenever their frames are collected.
    server.work.release()
    move(server.clock, 600)
    assert server.logins._under_way == {}


def test_right_and_wrong(server: Server) -> None:
    assert server.find(ANN) == ["ann"]
    assert server.find(TOKEN) == ["ci"]
    assert server.find(Proof(b"ann", b"Secret"), b"1") == [WrongLogin]
    assert server.find(Proof(b"bob", b"secret"), b"2") == [WrongLogin]
    assert server.find(Proof(b"ann", b"t0k3n"), b"3") == [WrongLogin]


def test_of_a_wrong_login_it_is_told_whose_it_was_and_how_it_came(server: Server) -> None:
    told: list[tuple[object, ...]] = []
    server.logins.failures.on_wrong = lambda *what: told.append(what)
    server.find(Proof(b"ann", b"Secret"))
    server.find(Proof(None, b"Secret"), b"2")
    assert told == [("192.0.2.1:1", True, "ann"), ("192.0.2.1:1", True, "")]


def test_what_was_right_is_known_for_a_minute(server: Server) -> None:
    (checker,) = server.checkers
    assert server.logins.known(ANN) is None
    server.find(ANN)
    assert server.logins.known(ANN) == "ann"
    for other in (
        *(Proof(b"ann", b"secre"), Proof(b"an", b"nsecret"), Proof(None, b"secret")),
        *(Proof(b"ann\0secret", b""), Proof(None, b"ann\0secret"), Proof(b"", b"secret")),
    ):
        assert server.logins.known(other) is None
    server.clock.advance(KEPT_SECONDS)
    assert server.logins.known(ANN) == "ann"
    server.clock.advance(1)
    assert server.logins.known(ANN) is None
    assert checker.asked == [(b"ann", b"secret")]


def test_it_is_forgotten_when_the_users_change(server: Server) -> None:
    (checker,) = server.checkers
    server.find(ANN)
    checker.now = 1
    assert server.logins.known(ANN) is None
    assert server.logins.known(ANN) is None


def test_nothing_that_was_shown_is_kept(server: Server) -> None:
    server.find(ANN)
    server.find(TOKEN)
    kept = repr(server.logins._kept)
    assert "secret" not in kept
    assert "t0k3n" not in kept


def test_few_are_kept(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins_module, "KEPT_MOST", 2)
    (checker,) = server.checkers
    proofs = [Proof(None, b"%d" % number) for number in range(3)]
    for proof in proofs:
        checker.known[proof.secret] = "ci"
        assert server.find(proof) == ["ci"]
    assert [server.logins.known(proof) for proof in proofs] == [None, "ci", "ci"]


def test_who_asks_the_same_at_the_same_time_is_answered_together(server: Server) -> None:
    (checker,) = server.checkers
    server.work.hold = True
    came = [server.find(ANN), server.find(ANN, b"other"), server.find(ANN)]
    assert came == [[], [], []]
    server.work.release()
    assert came == [["ann"]] * 3
    assert len(checker.asked) == 1


def test_several_checkers_are_asked_in_turn(log: Log) -> None:
    first, second = Slow({(b"ann", b"1"): "ann"}), Slow({(b"ann", b"2"): "other ann"})
    server = Server(first, second)
    assert server.find(Proof(b"ann", b"2")) == ["other ann"]
    assert server.find(Proof(b"ann", b"1")) == ["ann"]
    assert len(first.asked) == 2
    assert len(second.asked) == 1
    assert log.lines == [
        "192.0.2.1:1 has logged in as other ann",
        "192.0.2.1:1 has logged in as ann",
    ]


def test_checkers_are_asked_only_what_they_know(server: Server) -> None:
    passwords = Slow()
    passwords.credentialInterfaces = (IUsernamePassword,)
    server = Server(passwords)
    assert not server.logins.takes_tokens
    assert server.logins.takes_passwords
    came = server.find(TOKEN)
    move(server.clock, 1)
    assert came == [WrongLogin]
    assert passwords.asked == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda: b"ann", "ann"),
        (lambda: succeed("änn"), "änn"),
        (lambda: succeed("änn".encode()), "änn"),
        (lambda: fail(UnauthorizedLogin()), WrongLogin),
        (lambda: (), WrongLogin),  # what stands for nobody in particular
        (lambda: b"\xff", WrongLogin),
        (lambda: "", WrongLogin),
        (lambda: "a\nb", WrongLogin),
        (lambda: None, WrongLogin),
    ],
)
def test_what_checkers_answer(answer: Callable[[], Any], expected: Any) -> None:
    assert Server(Quick(answer)).find(ANN) == [expected]


def test_a_checker_that_takes_its_time() -> None:
    waiting: Deferred[str] = Deferred()
    server = Server(Quick(lambda: waiting))
    came = server.find(ANN)
    assert came == []
    waiting.callback("ann")
    assert came == ["ann"]


def test_a_checker_that_fails(log: Log) -> None:
    server = Server(Slow({(b"ann", b"secret"): ValueError("secret")}))
    for _ in range(3):
        assert server.find(ANN) == [Busy]
    assert log.lines == ["no login can be checked: Slow raised ValueError"]


def test_the_daemon_stops() -> None:
    server = Server(Slow({(b"ann", b"secret"): Stopped()}))
    assert server.find(ANN) == [Busy]


def wrong(number: int = 0) -> Proof:
    return Proof(b"ann", b"wrong %d" % number)


def test_who_guesses_waits(server: Server, log: Log) -> None:
    (checker,) = server.checkers
    times = []
    for number in range(9):
        came = server.find(wrong(number))
        began = server.clock.seconds()
        while not came:
            server.clock.advance(0.25)
        times.append(server.clock.seconds() - began)
        assert came == [WrongLogin]
    # What is forgotten in the meantime makes it no faster than once in half a minute.
    assert times == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert len(checker.asked) == 9
    assert log.lines[:2] == [
        "192.0.2.1:1 is not ann: the login was wrong; 1 lately from there",
        "192.0.2.1:1 is not ann: the login was wrong; 2 lately from there",
    ]
    assert "wrong 0" not in str(log.lines)


def test_one_password_of_an_address_is_checked_at_a_time(server: Server) -> None:
    (checker,) = server.checkers
    came = [server.find(wrong(number)) for number in range(5)]
    came.append(server.find(ANN))
    assert [len(one) for one in came] == [1, 0, 0, 0, 0, 0]
    move(server.clock, 0.5 + 1 + 2 + 4 + 8)
    assert came == [[WrongLogin]] * 5 + [["ann"]]
    assert len(checker.asked) == 6


def test_others_wait_for_nothing(server: Server) -> None:
    for number in range(3):
        server.find(wrong(number))
    assert server.find(ANN, b"elsewhere") == ["ann"]
    assert server.find(TOKEN) == ["ci"]  # which nobody can guess
    assert server.logins.known(ANN) == "ann"


def test_few_wait(server: Server) -> None:
    came = [server.find(wrong(number)) for number in range(30)]
    # One was checked at once; sixteen wait.
    assert came[1:] == [[]] * 16 + [[Busy]] * 13
    assert server.find(ANN, b"elsewhere") == ["ann"]
    move(server.clock, 600)
    assert came[1:17] == [[WrongLogin]] * 16
    assert server.logins._under_way == {}


def test_wrong_tokens_wait_for_their_answer(server: Server) -> None:
    came = [server.find(Proof(None, b"wrong %d" % number)) for number in range(20)]
    assert came[0] == []
    assert came[16:] == [[WrongLogin]] * 4  # no more than sixteen are kept waiting
    move(server.clock, 31)
    assert came == [[WrongLogin]] * 20
    assert server.logins._under_way == {}


def test_wrong_tokens_keep_no_password_from_waiting(server: Server) -> None:
    for number in range(17):
        server.find(Proof(None, b"wrong %d" % number))
    came = server.find(ANN)
    assert came == []
    move(server.clock, 31)
    assert came == ["ann"]


def test_who_has_gone_is_not_checked(server: Server) -> None:
    (checker,) = server.checkers
    server.find(wrong())
    there = [True, True]
    came = [
        server.find(wrong(1), wanted=lambda: there[0]),
        server.find(wrong(2), wanted=lambda: there[1]),
        server.find(wrong(2), b"other", wanted=lambda: False),
    ]
    there[0] = False
    move(server.clock, 3)
    assert came == [[WrongLogin]] * 3
    assert checker.asked == [(b"ann", b"wrong 0"), (b"ann", b"wrong 2")]


def test_few_are_checked_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins_module, "QUEUE_MOST", 3)
    server.work.hold = True
    count = logins_module.AT_ONCE + 5
    came = [server.find(wrong(number), b"%d" % number) for number in range(count)]
    assert len(server.work.jobs) == logins_module.AT_ONCE
    assert came[-2:] == [[Busy]] * 2
    assert came[:-2] == [[]] * (count - 2)
    server.work.hold = False
    server.work.release()
    assert came[:-2] == [[WrongLogin]] * (count - 2)


def test_few_are_under_way(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins_module, "UNDER_WAY_MOST", 3)
    server.work.hold = True
    came = [server.find(wrong(number), b"%d" % number) for number in range(4)]
    assert came[3] == [Busy]
    server.work.release()
    assert came[:3] == [[WrongLogin]] * 3
    assert server.find(ANN, b"elsewhere") == []
    server.work.release()
    assert server.logins.known(ANN) == "ann"


def test_tokens_do_not_wait_for_passwords(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses guess, programs log in."""
    monkeypatch.setattr(logins_module, "QUEUE_MOST", 2)
    monkeypatch.setattr(logins_module, "UNDER_WAY_MOST", 4)
    server.work.hold = True
    for number in range(8):
        server.find(wrong(number), b"%d" % number)
    assert server.find(ANN, b"elsewhere") == [Busy]
    assert server.find(TOKEN, b"elsewhere") == ["ci"]
    server.work.hold = False
    server.work.release()


def test_few_wrong_tokens_wait(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins_module, "UNDER_WAY_MOST", 3)
    came = [server.find(Proof(None, b"%d" % number), b"%d" % number) for number in range(5)]
    assert came == [[]] * 3 + [[WrongLogin]] * 2
    move(server.clock, 1)
    assert came == [[WrongLogin]] * 5


def test_who_goes_while_others_are_checked_is_not_checked(server: Server) -> None:
    (checker,) = server.checkers
    server.work.hold = True
    for number in range(logins_module.AT_ONCE):
        server.find(wrong(number), b"%d" % number)
    there = [True]
    came = server.find(ANN, b"elsewhere", wanted=lambda: there[0])
    there[0] = False
    server.work.release()
    assert came == [Busy]
    assert (b"ann", b"secret") not in checker.asked
    assert server.logins._under_way == {}

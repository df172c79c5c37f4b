"""Tests `server.checkers`: our checker and Twisted's, and how each is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.cred.checkers import FilePasswordDB, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.strcred import findCheckerFactory, makeChecker
from twisted.internet import threads
from twisted.internet.defer import Deferred, succeed
from zope.interface.verify import verifyObject

from tcpdl.access import users
from tcpdl.access.files import FileError
from tcpdl.access.users import Password
from tcpdl.server.checkers import StockChecker, UsersChecker, adapted
from tcpdl.server.credentials import (
    BearerToken,
    IBearerToken,
    IBlockingChecker,
    UsernamePassword,
)

TOKEN = "n5s2Yd-9mY9dNVQm5x0-3G4bWQ1vJ0h7m2bC8sYJ4xk"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(users, "DEFAULT", Password(4, 1, 1, b"", b""))
    path = tmp_path / "users"
    hashed = users.hash_password(b"secret")
    path.write_text(f"ann:{hashed}\nci:{users.token_line(TOKEN)}\n")
    path.chmod(0o600)
    return path


def check(checker: Any, credentials: Any) -> Any:
    try:
        return checker.check(credentials)
    except UnauthorizedLogin:
        return None


def test_users(file: Path) -> None:
    checker = UsersChecker(str(file))
    assert verifyObject(IBlockingChecker, checker)
    assert check(checker, UsernamePassword(b"ann", b"secret")) == "ann"
    assert check(checker, UsernamePassword(b"ci", TOKEN.encode())) == "ci"
    assert check(checker, BearerToken(TOKEN.encode())) == "ci"
    for wrong in (
        *(UsernamePassword(b"ann", b"Secret"), UsernamePassword(b"bob", b"secret")),
        *(UsernamePassword(b"\xff", b"secret"), UsernamePassword(b"", b"")),
        *(BearerToken(b"secret"), BearerToken(b"")),
    ):
        assert check(checker, wrong) is None


def test_the_version_changes_with_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checker = UsersChecker(str(file))
    before = checker.version()
    file.write_text(f"bob:{users.hash_password(b'secret')}\n")
    for _ in range(2):
        monkeypatch.setattr(checker.file, "_look_at", 0.0)
        now = checker.version()
    assert now != before
    assert check(checker, UsernamePassword(b"ann", b"secret")) is None
    assert check(checker, UsernamePassword(b"bob", b"secret")) == "bob"


def test_no_users(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no such file"):
        UsersChecker(str(tmp_path / "none"))


def test_other_programs_ask_in_a_thread(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checker: Any = makeChecker(f"users:{file}")
    asked: list[Any] = []

    def defer(work: Any, *args: Any) -> Deferred[Any]:
        asked.append(work)
        return succeed(work(*args))

    monkeypatch.setattr(threads, "deferToThread", defer)
    came: list[Any] = []
    checker.requestAvatarId(BearerToken(TOKEN.encode())).addCallback(came.append)
    assert (came, asked) == (["ci"], [checker.check])


def test_the_plugin() -> None:
    factory: Any = findCheckerFactory("users")
    assert factory.credentialInterfaces == (IUsernamePassword, IBearerToken)
    assert factory.credentialInterfaces == UsersChecker.credentialInterfaces
    with pytest.raises(ValueError, match="the file is missing"):
        factory.generateChecker("")


def test_from_memory() -> None:
    checker: Any = adapted(makeChecker("memory:ann:secret:bob:pässword"))
    assert isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse)
    came: list[Any] = []
    for user, password in ((b"ann", b"secret"), (b"bob", "pässword".encode()), (b"ann", b"x")):
        asked = UsernamePassword(user, password)
        checker.requestAvatarId(asked).addCallbacks(came.append, lambda _: came.append(None))
    assert came == [b"ann", b"bob", None]


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    path.write_text("ann:secret\n")
    assert isinstance(makeChecker(f"file:{path}"), FilePasswordDB)
    checker: Any = adapted(makeChecker(f"file:{path}"))
    assert isinstance(checker, StockChecker)
    assert verifyObject(IBlockingChecker, checker)
    assert checker.version() == checker.version()
    assert check(checker, UsernamePassword(b"ann", b"secret")) == b"ann"
    assert check(checker, UsernamePassword(b"ann", b"wrong")) is None
    assert check(checker, UsernamePassword(b"bob", b"secret")) is None


def test_of_the_system() -> None:
    checker: Any = adapted(makeChecker("unix"))
    assert isinstance(checker, StockChecker)
    try:
        assert check(checker, UsernamePassword(b"nobody-of-that-name", b"secret")) is None
    except NotImplementedError:
        pytest.skip("this Python has no crypt")


def test_passwords_are_compared_in_the_same_time() -> None:
    credentials = UsernamePassword(b"ann", b"secret")
    assert credentials.checkPassword(b"secret")
    assert not credentials.checkPassword(b"secre")
    assert "secret" not in repr(credentials)
    assert "secret" not in repr(BearerToken(b"secret"))

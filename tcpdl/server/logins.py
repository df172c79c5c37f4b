"""Who somebody is who logs in: asks the checkers, remembers the answers for a minute.

Imports `access` and the modules beside it. A password takes a thread some tenths of a second, so
few are checked at once and few wait; who has a token, or asks again with what was right a moment
ago, waits for nothing. Nothing of what anybody shows is kept here, but a digest under a key that
ends with the process. A connection keeps what was shown on it last while it is open: native ones to
look again once who can log in has changed, HTTP's since the same request often comes again.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, DeferredSemaphore, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpdl.access.files import Kept
from tcpdl.access.proof import Proof
from tcpdl.access.users import Users
from tcpdl.server.checkers import UsersChecker, adapted
from tcpdl.server.credentials import (
    BearerToken,
    IBearerToken,
    IBlockingChecker,
    UsernamePassword,
)
from tcpdl.server.failures import WAITING_MOST, Failures, Origin
from tcpdl.server.working import THREADS, Stopped, Workers
from tcpdl.wire.text import printable

KEPT_SECONDS = 60.0
"""For how long who has shown the right thing need not be checked again."""

KEPT_MOST = 4096
"""Logins that are kept."""

AT_ONCE = max(1, THREADS // 2)
"""Passwords checked at once: each takes 32 MiB, and threads have other things to do."""

QUEUE_MOST = 64
"""Passwords that wait for a thread: the last of them for some seconds."""

UNDER_WAY_MOST = 1024
"""Logins that are being checked, or wait for it, from all clients. If there are more, passwords are
not checked, and who has shown a wrong token is told at once."""

_log = Logger()


class WrongLogin(Exception):
    """It is nobody's."""


class Busy(Exception):
    """So many logins are being checked that no other is."""


class _Kept(NamedTuple):
    """What was found out."""

    user: str
    until: float
    version: Callable[[], object]
    """Of the checker that has said so; and what it was then."""
    was: object


class Logins:
    """Knows who clients are."""

    def __init__(
        self, checkers: Sequence[ICredentialsChecker], workers: Workers, clock: IReactorTime
    ) -> None:
        self._checkers = [adapted(checker) for checker in checkers]
        self._workers = workers
        self._clock: Any = clock
        self.failures = Failures(lambda: self._clock.seconds())  # which is set when it runs
        self._slots = DeferredSemaphore(AT_ONCE)
        self._key = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._under_way: dict[bytes, _Task] = {}
        self._said: set[tuple[str, str]] = set()
        self.right = 0
        """Logins that were checked, and are somebody's; and nobody's."""
        self.wrong = 0
        self.takes_passwords = self._takes(IUsernamePassword)
        self.takes_tokens = self._takes(IBearerToken)

    def _takes(self, interface: Any) -> bool:
        return any(interface in checker.credentialInterfaces for checker in self._checkers)

    @property
    def files(self) -> list[Kept[Users]]:
        """What checkers have read, which is to be looked at in case nobody asks them."""
        return [one.file for one in self._checkers if isinstance(one, UsersChecker)]

    def version(self) -> object:
        """Another one whenever who could log in may not be able to any more."""
        return [self._key, *(_version_of(checker)() for checker in self._checkers)]

    def known(self, proof: Proof) -> str | None:
        """Whose `proof` it is, if that was found out a moment ago."""
        return self._recall(self._digest(proof))

    def find(self, proof: Proof, origin: Origin, wanted: Callable[[], bool]) -> Deferred[str]:
        """Whose `proof` it is. Fails with `WrongLogin` or `Busy`.

        Once `wanted` says no, nothing is begun any more, and this fails with `WrongLogin`.
        """
        digest = self._digest(proof)
        done: Deferred[str] = Deferred()
        task = self._under_way.get(digest)
        if task is not None:
            task.waiting.append((wanted, done))
            return done
        if proof.user is not None and len(self._under_way) >= UNDER_WAY_MOST:
            done.errback(Failure(Busy()))
            return done
        task = self._under_way[digest] = _Task([(wanted, done)])
        Deferred.fromCoroutine(self._do(task, digest, proof, origin))
        return done

    async def _do(self, task: _Task, digest: bytes, proof: Proof, origin: Origin) -> None:
        found: str | Failure
        try:
            if proof.user is None:
                # A token cannot be guessed, so that nobody has to wait for those who try.
                found = await self._with_token(task, digest, proof, origin)
            else:
                found = await self._in_turn(task, digest, proof, origin)
        except Exception:  # noqa: BLE001 - whatever it is, it is for those who wait
            found = Failure()
        del self._under_way[digest]
        for _, done in task.waiting:
            done.callback(found)  # a failure is as good
        del found  # whose traceback leads back to this frame

    async def _with_token(self, task: _Task, digest: bytes, proof: Proof, origin: Origin) -> str:
        try:
            return await self._check(task, digest, proof, origin.peer)
        except WrongLogin:
            self.wrong += 1
            where = self.failures.of(origin.address)
            self.failures.say(origin, "", self.failures.failed(origin.address))
            if where.tokens_waiting == WAITING_MOST or len(self._under_way) > UNDER_WAY_MOST:
                raise
            where.tokens_waiting += 1
            await deferLater(self._clock, where.delay(self._clock.seconds()))
            where.tokens_waiting -= 1
            raise

    async def _in_turn(self, task: _Task, digest: bytes, proof: Proof, origin: Origin) -> str:
        """Check a password once it is the turn of the address it comes from."""
        where = self.failures.of(origin.address)
        if where.waiting == WAITING_MOST:
            raise Busy
        where.waiting += 1
        await where.turn.acquire()
        try:
            delay = where.delay(self._clock.seconds())
            if delay:
                await deferLater(self._clock, delay)
            if not task.wanted():
                raise WrongLogin
            try:
                return await self._check(task, digest, proof, origin.peer)
            except WrongLogin:
                self.wrong += 1
                user = printable(proof.user or b"", 64)
                self.failures.say(origin, user, self.failures.failed(origin.address))
                raise
        finally:
            where.waiting -= 1
            where.turn.release()

    async def _check(self, task: _Task, digest: bytes, proof: Proof, peer: str) -> str:
        """Ask the checkers, one after the other. Raises `WrongLogin`, and `Busy` if there is one
        that cannot tell now, or nobody wants to know any more."""
        interface: Any = IBearerToken if proof.user is None else IUsernamePassword
        for checker in self._checkers:
            if interface not in checker.credentialInterfaces:
                continue
            version = _version_of(checker)
            was = version()
            try:
                avatar = await self._ask(task, checker, proof)
            except UnauthorizedLogin:
                continue
            except (Busy, Stopped):
                raise Busy from None
            except Exception as problem:  # noqa: BLE001 - checkers raise what they like
                self._say_once(checker, problem)
                raise Busy from None
            user = _name(avatar)
            if user is not None:
                self.right += 1
                _log.info("{peer} has logged in as {user}", peer=peer, user=printable(user, 64))
                self._keep(digest, _Kept(user, self._until(), version, was))
                return user
        raise WrongLogin

    async def _ask(self, task: _Task, checker: Any, proof: Proof) -> Any:
        credentials: Any = (
            BearerToken(proof.secret)
            if proof.user is None
            else UsernamePassword(proof.user, proof.secret)
        )
        if not IBlockingChecker.providedBy(checker):
            return await maybeDeferred(checker.requestAvatarId, credentials)
        if proof.user is None:
            return checker.check(credentials)  # which takes no time, however many passwords wait
        if len(self._slots.waiting) >= QUEUE_MOST:
            raise Busy
        await self._slots.acquire()
        try:
            if not task.wanted():
                raise Busy  # many may come and go while others are checked
            return await self._workers.run(checker.check, credentials)
        finally:
            self._slots.release()

    def _say_once(self, checker: Any, problem: Exception) -> None:
        """Tell the log that a checker does not work."""
        kind = type(checker).__name__, type(problem).__name__
        if kind not in self._said:
            self._said.add(kind)
            # Its text may hold what was shown, so it stays untold.
            _log.error("no login can be checked: {kind[0]} raised {kind[1]}", kind=kind)

    # What is kept.

    def _digest(self, proof: Proof) -> bytes:
        kind = b"t" if proof.user is None else b"p%d:" % len(proof.user) + proof.user
        return hmac.digest(self._key, kind + b"\0" + proof.secret, "sha256")

    def _until(self) -> float:
        now: float = self._clock.seconds()
        return now + KEPT_SECONDS

    def _keep(self, digest: bytes, kept: _Kept) -> None:
        self._kept[digest] = kept
        if len(self._kept) > KEPT_MOST:
            self._kept.popitem(last=False)

    def _recall(self, digest: bytes) -> str | None:
        kept = self._kept.get(digest)
        if kept is None:
            return None
        if kept.until < self._clock.seconds() or kept.version() != kept.was:
            del self._kept[digest]
            return None
        return kept.user


class _Task:
    """A login that is being checked, and who waits for it."""

    def __init__(self, waiting: list[tuple[Callable[[], bool], Deferred[str]]]) -> None:
        self.waiting = waiting

    def wanted(self) -> bool:
        return any(wanted() for wanted, _ in self.waiting)


def _version_of(checker: Any) -> Callable[[], object]:
    found: Callable[[], object] = (
        checker.version if IBlockingChecker.providedBy(checker) else lambda: None
    )
    return found


def _name(avatar: Any) -> str | None:
    """The name of the user that a checker has told of; `None` if it is none that can be one."""
    if isinstance(avatar, bytes):
        try:
            avatar = avatar.decode("utf-8")
        except UnicodeDecodeError:
            return None
    return avatar if isinstance(avatar, str) and avatar and avatar.isprintable() else None

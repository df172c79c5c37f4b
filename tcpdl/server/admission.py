"""Who may read what, as the dialects ask it. Imports `access`, `content` and what is beside it.

An `Admission` holds what the daemon was told: rules, logins, keys of links. A `Visit` is a
connection, or a request over HTTP, and knows who makes it; it gives out the source that this
visitor may see. Where nothing was told, there is no admission, and all see the folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from tcpdl.access.files import Kept
from tcpdl.access.keys import Keys
from tcpdl.access.proof import Proof
from tcpdl.access.roots import KeptRootRules, RootRules
from tcpdl.access.rules import READ_IF_LOGGED_IN, Rules
from tcpdl.content.directory import Directory
from tcpdl.content.errors import LoginNeeded, NotAllowed, NotServed, Unavailable
from tcpdl.content.guarded import Guarded, VisitorRights
from tcpdl.content.mounts import Mounts
from tcpdl.content.source import Segments, Source
from tcpdl.server.direct import DirectTransport, encrypted, is_local, wire
from tcpdl.server.failures import Origin
from tcpdl.server.logins import Busy, Logins, WrongLogin
from tcpdl.server.peer import network, peer_name
from tcpdl.wire.links import LONGEST_SECONDS, Link, reach, split
from tcpdl.wire.names import Name, NameRefused, parse_name

SOURCES_MOST = 1024
"""Sources that are kept for visitors who come again."""

OVER_TLS = "a password or token is taken over TLS only: this connection can be read by others"


class Admission:
    """What the daemon was told of who may read what."""

    def __init__(
        self,
        directory: Directory | Mounts,
        *,
        rules: Kept[Rules] | KeptRootRules | None = None,
        keys: Kept[Keys] | None = None,
        logins: Logins | None = None,
        certificates: bool = False,
        insecure: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Without `rules`, who has logged in may read all. `certificates`: clients may show one, as
        a login. `insecure`: passwords are taken over any connection; something else encrypts it."""
        self.logins = logins
        self._directory = directory
        self._rules = rules
        self._keys = keys
        self._certificates = certificates
        self._insecure = insecure
        self._now = now
        self._sources: dict[tuple[str | None, bool], Guarded] = {}
        self._of: Rules | RootRules | None = None

    def become(self, other: Admission) -> None:
        """From now on, what `other` was told holds, also for whoever is there already: whoever has
        logged in has to be known to it as well."""
        if self.logins is not None and other.logins is not None:
            other.logins.failures = self.logins.failures  # whoever has to wait goes on waiting
        self.logins = other.logins
        self._rules = other._rules
        self._keys = other._keys
        self._certificates = other._certificates
        self._insecure = other._insecure
        self._sources.clear()
        self._of = None

    def look(self) -> None:
        """Read files again that have changed: what is wrong with one comes to the log."""
        for kept in self._files:
            kept.look()

    def reload(self) -> None:
        """Read all files again."""
        for kept in self._files:
            kept.reload()

    @property
    def _files(self) -> list[Any]:
        files = [self._rules, self._keys, *(self.logins.files if self.logins else ())]
        return [kept for kept in files if kept is not None]

    def visit(self, transport: Any) -> Visit:
        """Whoever is at the other end of `transport`."""
        return Visit(self, transport)

    def is_secure(self, transport: Any) -> bool:
        """Whether nobody between can read what comes over `transport`."""
        return self._insecure or encrypted(transport) or is_local(transport)

    def certified(self, transport: Any) -> str | None:
        """Whose certificate the client has shown, and proven to be its own."""
        below = wire(transport) if self._certificates else None
        certificate = below.client_certificate if isinstance(below, DirectTransport) else None
        if certificate is None:
            return None
        if certificate.common_name:
            return certificate.common_name
        return certificate.emails[0] if len(certificate.emails) == 1 else None

    def source(self, user: str | None, secure: bool) -> Guarded:
        """What the rules let `user` see."""
        rules = self._rules.get() if self._rules is not None else READ_IF_LOGGED_IN
        if rules is not self._of or len(self._sources) > SOURCES_MOST:
            self._sources.clear()
            self._of = rules
        found = self._sources.get((user, secure))
        if found is None:
            refuse = partial(self._refusal, user, secure)
            rights = VisitorRights(rules.of(user), refuse)
            found = self._sources[user, secure] = Guarded(self._directory, rights)
        return found

    def _refusal(self, user: str | None, secure: bool) -> NotServed:
        if user is not None:
            return NotAllowed("whoever is logged in here may not have it")
        if self.logins is None:
            if self._certificates:
                return LoginNeeded("it is for those who show a client certificate", here=False)
            return NotAllowed("it is not for everyone")
        if not secure:
            return LoginNeeded(f"it is for those who log in; {OVER_TLS}", here=False)
        return LoginNeeded("it is for those who log in", here=True)

    def by_link(
        self, user: str | None, secure: bool, segments: Segments, link: Link | None
    ) -> tuple[Guarded, int | None]:
        """What `link` lets whoever has it see, and the rules besides; and how many segments the
        place has that it is for, if it is valid. `segments` is what is asked for with it; `None` is
        a link that is not even formed as one."""
        rules = self._rules.get() if self._rules is not None else READ_IF_LOGGED_IN
        problem, place = self._judge(segments, link)
        refuse: Callable[[], NotServed] = partial(NotAllowed, problem)
        if place is not None:
            refuse = partial(self._refusal, user, secure)
        source = Guarded(self._directory, VisitorRights(rules.of(user), refuse, place))
        return source, None if place is None else len(place)

    def _judge(self, segments: Segments, link: Link | None) -> tuple[str, Segments | None]:
        """The place that `link` is for, or what is wrong with it."""
        place = None
        if self._keys is not None and link is not None:
            place = reach(self._keys.get(), segments, link)
        if link is None or place is None:
            return "the link is for another place, or was changed", None
        left = link.until - self._now()
        if left <= 0:
            return f"the link expired at {_utc(link.until)}", None
        if left > LONGEST_SECONDS:
            return "the link is valid for too long to be valid at all", None
        return "", place

    @property
    def takes_links(self) -> bool:
        """Whether names may end in a link."""
        return self._keys is not None


class Everyone:
    """Stands for an admission and all visits where nothing was told: all see the same."""

    user: str | None = None

    def __init__(self, source: Source) -> None:
        self._source = source

    def visit(self, transport: Any) -> Everyone:
        """Whoever is at the other end of `transport`."""
        return self

    def log_in(self, proof: Proof | None) -> bool:
        """Passes over it: no logins are known here."""
        return True

    def outdated(self) -> Proof | None:
        """Nothing: nobody has logged in."""
        return None

    def find_out(self, proof: Proof, wanted: Callable[[], bool]) -> Deferred[None]:
        raise AssertionError("what was settled is asked")

    def look_up(self, name: bytes) -> tuple[Source, Name]:
        """The source, and what is asked for as `name`. Raises `NameRefused`."""
        return self._source, parse_name(name, hidden=self._source.hidden)


class Visit:
    """Somebody who asks, and who that is."""

    def __init__(self, admission: Admission, transport: Any) -> None:
        self.secure = admission.is_secure(transport)
        self.user = admission.certified(transport)
        """Who it is; `None` if that is not known."""
        self._trouble: Callable[[], NotServed] | None = None
        """Makes what everything is answered with, since a login was wrong: anew each time, as what
        is raised keeps those whom it passed."""
        self.takes_links = admission.takes_links
        self._admission = admission
        self._transport = transport
        self._proof: Proof | None = None
        self._version: object = None  # of who can log in, when it was shown; none if that failed

    def log_in(self, proof: Proof | None) -> bool:
        """From now on, it is who `proof` shows; `None` is one that is not understood.

        Returns whether that is settled; if not, `find_out` has to be awaited.
        """
        logins = self._admission.logins
        if logins is None:  # as by a server that knows of no logins
            if self._proof is not None:  # but did
                self.user, self._proof = self._admission.certified(self._transport), None
            return True
        self.user = self._proof = None
        if not self.secure:
            self._trouble = partial(LoginNeeded, OVER_TLS, here=False)
            return True
        if proof is None:
            why = "the login is of a kind that is not known here"
            self._trouble = partial(LoginNeeded, why, here=True)
            return True
        self._trouble = None
        self._proof, self._version = proof, logins.version()
        self.user = logins.known(proof)
        return self.user is not None

    def outdated(self) -> Proof | None:
        """What was shown, if one has to `log_in` with it again: who can do so has changed since, or
        could not be told."""
        logins = self._admission.logins
        if self._proof is None or (logins is not None and logins.version() == self._version):
            return None
        return self._proof

    def find_out(self, proof: Proof, wanted: Callable[[], bool]) -> Deferred[None]:
        """Have the checkers find out who it is; see `Logins.find`."""
        logins = self._admission.logins
        assert logins is not None
        peer = self._transport.getPeer()
        origin = Origin(network(peer), peer_name(peer), encrypted(self._transport))
        found = logins.find(proof, origin, wanted)
        return found.addCallbacks(self._found, self._not_found)

    def _found(self, user: str) -> None:
        self.user = user

    def _not_found(self, failure: Any) -> None:
        failure.trap(WrongLogin, Busy)
        if failure.check(Busy):
            self._version = None
            why = "too many logins are being checked; try again later"
            self._trouble = partial(Unavailable, why)
        else:
            self._trouble = partial(LoginNeeded, "the login is wrong", here=True)

    def source(self) -> Source:
        """What this visitor may see. Raises `NotServed` if a login was wrong."""
        if self._trouble is not None:
            raise self._trouble()
        return self._admission.source(self.user, self.secure)

    def by_link(self, name: Name, link: Link | None) -> tuple[Source, int | None]:
        """The same, with a link to `name`, or to what it is in; see `Admission.by_link`."""
        if self._trouble is not None:
            raise self._trouble()
        return self._admission.by_link(self.user, self.secure, name.segments, link)

    def look_up(self, name: bytes) -> tuple[Source, Name]:
        """What is asked for as `name`, which may end in a link, and the source that has it.

        Raises `NotServed` and `NameRefused`.
        """
        source = self.source()
        parted = split(name) if self.takes_links else None
        if parted is not None and not _has(source, name):
            rest, link = parted
            safe = parse_name(rest, hidden=source.hidden)
            return self.by_link(safe, link)[0], safe
        return source, parse_name(name, hidden=source.hidden)


def _has(source: Source, name: bytes) -> bool:
    """Whether something really has this name, though it looks like a link."""
    try:
        source.stat(parse_name(name, hidden=source.hidden))
    except (NotServed, NameRefused):
        return False
    return True


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))

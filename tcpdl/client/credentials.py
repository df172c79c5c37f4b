"""What the client logs in with, and where it has that from. Imports `wire` and `client.errors`.

Passwords and tokens stand in no argument, message, file or `repr`.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Mapping
from typing import NamedTuple

from tcpdl.client.errors import BadRequest
from tcpdl.wire import login
from tcpdl.wire.login import PROOF_MOST
from tcpdl.wire.text import printable

LOG_IN = "use --login USER, --token-file FILE or ~/.netrc"
"""How to."""


class Login(NamedTuple):
    """A password and the name of its user, or a token."""

    secret: str
    user: str | None = None
    """`None` for a token, which names nobody."""

    def __repr__(self) -> str:
        return "Login(...)"

    def check(self, where: str) -> Login:
        """This login, which is from `where`, if it can be sent. Raises `BadRequest`."""
        if self.user is None:
            is_one = self.secret.isascii() and self.secret.isprintable() and self.secret
            if not is_one or " " in self.secret:
                raise BadRequest(f"{where}: a token is one line, without spaces, in ASCII")
        elif not _is_line(self.user) or ":" in self.user:
            raise BadRequest(f"{where}: the name of a user has no colon, and is not empty")
        elif not _is_line(self.secret):
            raise BadRequest(f"{where}: a password is one line, and is not empty")
        if len(f"{self.user or ''}\0{self.secret}".encode("utf-8", "surrogateescape")) > PROOF_MOST:
            raise BadRequest(f"{where}: more than {PROOF_MOST} bytes")
        return self

    @property
    def message(self) -> login.Login:
        """What says so in the native dialect."""
        secret = self.secret.encode("utf-8", "surrogateescape")
        if self.user is None:
            return login.Login.with_token(secret)
        return login.Login.with_password(self.user.encode("utf-8", "surrogateescape"), secret)

    @property
    def authorization(self) -> str:
        """The value of HTTP's field (RFC 7617, RFC 6750)."""
        if self.user is None:
            return f"Bearer {self.secret}"
        from binascii import b2a_base64

        both = f"{self.user}:{self.secret}".encode("utf-8", "surrogateescape")
        return "Basic " + b2a_base64(both, newline=False).decode("ascii")


def _is_line(text: str) -> bool:
    """Whether there is a `text`, without control characters."""
    return bool(text) and min(text) >= " " and "\x7f" not in text


def may_be_sent(peer: str) -> bool:
    """Whether what is sent in clear to the address `peer` stays on this machine."""
    return peer == "::1" or peer.removeprefix("::ffff:").startswith("127.")


def read_token(path: str) -> str:
    """The token in the file `path`: its only line. Raises `BadRequest`."""
    shown = printable(path)
    with open(_open(path), "rb") as file:
        if problem := _exposure(file.fileno(), path):
            raise BadRequest(f"'{shown}' is not used: {problem}")
        token = file.read(PROOF_MOST + 2).decode("utf-8", "surrogateescape")
    token = token.removesuffix("\n").removesuffix("\r")
    Login(token).check(f"'{shown}'")
    return token


class Netrc:
    """Logins by the name of their server, in the file that ftp, curl and git read. It is read when
    the first is looked up; safe for threads."""

    def __init__(self, path: str, *, asked_for: bool = True) -> None:
        """One that was not `asked_for` need not be there, and its `default` is for nobody: it was
        written for other programs."""
        self._path = path
        self._asked_for = asked_for
        self._lock = threading.Lock()
        self._logins: dict[str, tuple[str, str]] | None = None
        self._problem = ""

    def login_for(self, host: str) -> Login | None:
        """The login for the server called `host`. Raises `BadRequest` if the file cannot be read,
        or others can read what it has for this one."""
        with self._lock:
            if self._logins is None:
                self._logins = self._read()
        found = self._logins.get(host.lower())
        if found is None and self._asked_for:
            found = self._logins.get("default")
        if found is None:
            return None
        shown = printable(self._path)
        if self._problem:
            raise BadRequest(f"'{shown}' is not used: {self._problem}")
        return Login(found[1], found[0]).check(f"'{shown}', for {printable(host)}")

    def _read(self) -> dict[str, tuple[str, str]]:
        if not self._asked_for and not os.path.exists(self._path):
            return {}
        import netrc  # it takes a while to import, and few have such a file

        fd = _open(self._path)
        try:
            self._problem = _exposure(fd, self._path)
            hosts = netrc.netrc(f"/dev/fd/{fd}").hosts
        except (netrc.NetrcParseError, UnicodeError, OSError) as error:
            # What the parser says may quote what stands there.
            line = f", line {error.lineno}" if isinstance(error, netrc.NetrcParseError) else ""
            raise BadRequest(f"'{printable(self._path)}' is no netrc{line}") from None
        finally:
            os.close(fd)
        return {host.lower(): (found[0], found[2] or "") for host, found in hosts.items()}


def default_netrc(environment: Mapping[str, str]) -> Netrc | None:
    """The netrc of this user: $NETRC, or ~/.netrc."""
    if path := environment.get("NETRC"):
        return Netrc(path, asked_for=False)
    home = environment.get("HOME")
    return Netrc(os.path.join(home, ".netrc"), asked_for=False) if home else None


def _open(path: str) -> int:
    """A descriptor of the regular file `path`. Raises `BadRequest`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
    else:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        why = "it is not a regular file"
    raise BadRequest(f"'{printable(path)}': {why}")


def _exposure(fd: int, path: str) -> str:
    """Why others may know what is in the file `fd`, and what helps; empty if they do not."""
    status = os.fstat(fd)
    if status.st_uid not in (os.geteuid(), 0):
        return "it is another user's"
    if status.st_mode & 0o077:
        return f"others can read it, or write it; chmod 600 {printable(path)}"
    return ""

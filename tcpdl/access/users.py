"""A file of users, with hashes of their passwords and tokens. Imports nothing of ours.

A line is `NAME:scrypt$ln=15,r=8,p=3$SALT$KEY`, which a password leads to, or `NAME:sha256$HEX`,
which a token does: 32 random bytes need no slow hash. A user has one password at most, and any
number of tokens; a token is as good as the password. Blank lines, and those that begin with `#`,
say nothing.
"""

from __future__ import annotations

import binascii
import hmac
import re
import secrets
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import scrypt, sha256
from typing import NamedTuple

NAME_MOST = 64
"""Characters of a name."""

PASSWORD_MOST = 1000
"""Bytes of a password: with a name, it has to fit a login."""

USERS_MOST = 10_000
"""Lines: they are read in one go."""

TOKEN_SIZE = 32
"""Random bytes of a token."""

MEMORY_MOST = 128 * 1024 * 1024
"""Bytes that checking a password may take: the file must not make the daemon take any number."""

WORK_MOST = 1 << 21
"""The same for time, in what n, r and p come to multiplied: a second or so."""

_RESERVED = ("anyone", "users")
_PASSWORD = re.compile(
    r"scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,3}),p=([0-9]{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
_TOKEN = re.compile(r"sha256\$([0-9a-f]{64})")


class UsersError(ValueError):
    """The text is not that of users; what this says names the line, and the remedy."""


class Password(NamedTuple):
    """What tells whether a password is the right one. The parameters are those of RFC 7914."""

    log_n: int
    r: int
    p: int
    salt: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"Password(log_n={self.log_n}, r={self.r}, p={self.p})"

    def __str__(self) -> str:
        """As it is written in the file."""
        salt, key = (b64encode(one).decode("ascii").rstrip("=") for one in self[3:])
        return f"scrypt$ln={self.log_n},r={self.r},p={self.p}${salt}${key}"

    def fits(self, password: bytes) -> bool:
        """Whether it is this one. It takes some tenths of a second, and other threads may run."""
        # To HMAC, and so to scrypt, zeros at the end are none.
        return b"\0" not in password and hmac.compare_digest(
            self._derive(password, len(self.key)), self.key
        )

    def filled(self, password: bytes, size: int = 32) -> Password:
        """The same, for `password`."""
        return self._replace(key=self._derive(password, size))

    def _derive(self, password: bytes, size: int) -> bytes:
        n, r, p = 1 << self.log_n, self.r, self.p
        most = 128 * r * (n + p + 2) + 65536
        return scrypt(_normal(password), salt=self.salt, n=n, r=r, p=p, maxmem=most, dklen=size)


class Users:
    """All users of a file."""

    def __init__(self, passwords: Mapping[str, Password], tokens: Mapping[bytes, str]) -> None:
        """`tokens` has names by the SHA-256 of tokens."""
        self._passwords = passwords
        self._tokens = tokens
        # For names that nobody has: to check theirs has to take as long.
        like = next(iter(passwords.values()), DEFAULT)
        self._nobody = like._replace(salt=secrets.token_bytes(16), key=secrets.token_bytes(32))

    @property
    def names(self) -> frozenset[str]:
        return frozenset((*self._passwords, *self._tokens.values()))

    def with_token(self, token: bytes) -> str | None:
        """Whose `token` it is."""
        # By its digest, which nobody can choose: how long that takes tells nothing of any token.
        return self._tokens.get(sha256(token).digest())

    def with_password(self, name: str, password: bytes) -> bool:
        """Whether `password` is that of the user `name`, or a token of theirs. It takes some tenths
        of a second, and as long if there is no such user."""
        if self.with_token(password) == name:
            return True
        found = self._passwords.get(name, self._nobody)
        return found.fits(password) and found is not self._nobody


DEFAULT = Password(15, 8, 3, b"", b"")
"""What new passwords are hashed with: 32 MiB and a fifth of a second."""


def hash_password(password: bytes) -> Password:
    """What is kept of a new password."""
    return DEFAULT._replace(salt=secrets.token_bytes(16)).filled(password)


def new_token() -> str:
    """A token that nobody has."""
    return secrets.token_urlsafe(TOKEN_SIZE)


def token_line(token: str) -> str:
    """What is kept of a token."""
    return f"sha256${sha256(token.encode()).hexdigest()}"


def check_name(name: str) -> None:
    """Raise `UsersError` unless `name` can be that of a user."""
    if not 0 < len(name) <= NAME_MOST or not name.isprintable():
        raise UsersError(f"the name of a user has 1 to {NAME_MOST} characters that can be shown")
    if any(character in ' :,"\\#' or character.isspace() for character in name):
        raise UsersError(r'the name of a user has no blank, and none of : , " \ #')
    if name in _RESERVED:
        raise UsersError(f"nobody can be called {name}: rules say that of all")


def check_password(password: bytes) -> None:
    """Raise `UsersError` unless `password` can be one."""
    if not password:
        raise UsersError("the password is empty")
    if len(password) > PASSWORD_MOST:
        raise UsersError(f"the password has {len(password)} bytes; {PASSWORD_MOST} is the most")
    if b"\0" in password or b"\n" in password:
        raise UsersError("the password holds a NUL or the end of a line")


def parse(text: bytes) -> Users:
    """The users that are written in `text`. Raises `UsersError`, which tells no hash."""
    passwords: dict[str, Password] = {}
    tokens: dict[bytes, str] = {}
    for number, line in enumerate(_decoded(text).split("\n"), 1):
        try:
            name, _, hashed = line.rstrip("\r").partition(":")
            if _says_nothing(line):
                continue
            check_name(name)
            token = _TOKEN.fullmatch(hashed)
            if token is not None:
                tokens[bytes.fromhex(token[1])] = name
            elif name in passwords:
                raise UsersError(f"{name} has two passwords; delete one of the lines")
            else:
                passwords[name] = _parse_password(hashed)
            if len(passwords) + len(tokens) > USERS_MOST:
                raise UsersError(f"there are more than {USERS_MOST} passwords and tokens")
        except UsersError as problem:
            raise UsersError(f"line {number}: {problem}") from None
    return Users(passwords, tokens)


def _parse_password(hashed: str) -> Password:
    found = _PASSWORD.fullmatch(hashed)
    if found is None:
        raise UsersError(
            "there is no hash after the name; tcpdl passwd FILE NAME writes such lines"
        )
    log_n, r, p = (int(found[index]) for index in (1, 2, 3))
    n = 1 << min(log_n, 40)
    if not (log_n and r and p) or 128 * r * (n + p) > MEMORY_MOST or n * r * p > WORK_MOST:
        raise UsersError(
            "to check that hash takes too much memory or time; make it with tcpdl passwd"
        )
    try:
        salt, key = (b64decode(found[index] + "==") for index in (4, 5))
    except binascii.Error:
        raise UsersError("the hash is cut off; make it with tcpdl passwd") from None
    if not 8 <= len(salt) <= 64 or not 16 <= len(key) <= 64:
        raise UsersError("the hash is cut off; make it with tcpdl passwd")
    return Password(log_n, r, p, salt, key)


def with_line(text: bytes, name: str, hashed: str) -> bytes:
    """`text`, in which the user `name` has `hashed` for a password or token, in place of those of
    its kind. All other lines stay as they are."""
    kind = hashed.partition("$")[0]
    lines, at = _without(text, name, kind)
    lines.insert(len(lines) if at is None else at, f"{name}:{hashed}")
    return _encoded(lines)


def without(text: bytes, name: str, kind: str = "") -> bytes:
    """`text` without the user `name`; of one `kind`, `scrypt` or `sha256`, if it is given. Raises
    `UsersError` if there is none."""
    lines, at = _without(text, name, kind)
    if at is None:
        raise UsersError(f"there is no {'token' if kind == 'sha256' else 'user'} of that name")
    return _encoded(lines)


def _without(text: bytes, name: str, kind: str) -> tuple[list[str], int | None]:
    """The lines that stay, and where the first one stood that does not."""
    kept: list[str] = []
    at = None
    lines = _decoded(text).split("\n")
    for line in lines[:-1] if not lines[-1] else lines:
        if not _says_nothing(line) and line.startswith(f"{name}:{kind}"):
            at = len(kept) if at is None else at
        else:
            kept.append(line)
    return kept, at


def _encoded(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def _says_nothing(line: str) -> bool:
    return not line.strip() or line.startswith("#")


def _normal(password: bytes) -> bytes:
    """`password` in the one of its spellings that all are made to: keyboards of different systems
    write the same letters in different characters (RFC 8265)."""
    try:
        return unicodedata.normalize("NFC", password.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return password

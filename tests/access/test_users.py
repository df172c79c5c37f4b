"""Tests `access.users`: who a password or token is that of, and how the file is read and edited."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from hashlib import scrypt, sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.access import users
from tcpdl.access.users import Password, UsersError, parse


def line_of(password: bytes, salt: bytes = b"saltsalt") -> str:
    key = scrypt(password, salt=salt, n=16, r=8, p=1, dklen=32)
    return f"scrypt$ln=4,r=8,p=1${b64(salt)}${b64(key)}"


def b64(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")


TOKEN = b"n5s2Yd-9mY9dNVQm5x0-3G4bWQ1vJ0h7m2bC8sYJ4xk"
FILE = f"""\
# the team
ann:{line_of(b"secret")}

bob:{line_of("Straße".encode())}
ci:sha256${sha256(TOKEN).hexdigest()}
ann@example.org:{line_of(b"other")}
bob:sha256${sha256(b"bobs").hexdigest()}
""".encode()


def test_default_costs_what_is_recommended() -> None:
    # OWASP's Password Storage Cheat Sheet: n of 2**15, r of 8, p of 3.
    source = users.__file__
    with open(source, encoding="utf-8") as text:
        assert "DEFAULT = Password(15, 8, 3, " in text.read()


def test_passwords() -> None:
    found = parse(FILE)
    assert found.names == {"ann", "bob", "ci", "ann@example.org"}
    assert found.with_password("ann", b"secret")
    assert found.with_password("bob", "Straße".encode())
    for name, password in [
        *(("ann", b"Secret"), ("ann", b""), ("ann", b"secret\0"), ("ann", b"secret\n")),
        *(("Ann", b"secret"), ("ann@example.org", b"secret"), ("nobody", b"secret"), ("", b"")),
    ]:
        assert not found.with_password(name, password)


def test_tokens() -> None:
    found = parse(FILE)
    assert found.with_token(TOKEN) == "ci"
    assert found.with_token(b"bobs") == "bob"
    for token in (b"", TOKEN[:-1], TOKEN + b"\n", b"secret", sha256(TOKEN).hexdigest().encode()):
        assert found.with_token(token) is None


def test_a_token_is_as_good_as_the_password() -> None:
    found = parse(FILE)
    assert found.with_password("ci", TOKEN)
    assert found.with_password("bob", b"bobs")
    assert not found.with_password("ann", TOKEN)  # whose it is not


def test_the_same_letters_in_other_characters() -> None:
    hashed = users.hash_password("e\N{COMBINING ACUTE ACCENT}".encode())
    assert parse(f"ann:{hashed}".encode()).with_password("ann", "é".encode())


def test_a_password_that_is_no_text() -> None:
    hashed = users.hash_password(b"\xff\xfe")
    found = parse(f"ann:{hashed}".encode())
    assert found.with_password("ann", b"\xff\xfe")
    assert not found.with_password("ann", b"\xff")


def test_whom_nobody_knows_takes_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def record(password: bytes, **how: Any) -> bytes:
        asked.append({name: how[name] for name in ("n", "r", "p", "dklen")})
        return scrypt(password, **how)

    monkeypatch.setattr(users, "scrypt", record)
    found = parse(FILE)
    for name in ("ann", "bob", "nobody", "ci"):  # `ci` has only a token
        found.with_password(name, b"wrong")
    assert asked == [{"n": 16, "r": 8, "p": 1, "dklen": 32}] * 4
    asked.clear()
    assert not parse(b"").with_password("ann", b"")
    assert len(asked) == 1


def test_hash_password() -> None:
    one, two = users.hash_password(b"secret"), users.hash_password(b"secret")
    assert one.salt != two.salt
    assert len(one.salt) == 16
    assert len(one.key) == 32
    assert one.fits(b"secret")
    assert not one.fits(b"Secret")
    assert parse(f"ann:{one}".encode()).with_password("ann", b"secret")


def test_tokens_that_are_made() -> None:
    token = users.new_token()
    assert len(token) == 43
    assert token != users.new_token()
    line = users.token_line(token)
    assert line == f"sha256${sha256(token.encode()).hexdigest()}"
    assert parse(f"ci:{line}".encode()).with_token(token.encode()) == "ci"


def test_a_hash_is_not_shown() -> None:
    password = parse(FILE)._passwords["ann"]
    shown = repr(password)
    assert shown == "Password(log_n=4, r=8, p=1)"
    assert password.fits(b"secret")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ann", "no hash after the name; tcpdl passwd FILE NAME"),
        ("ann:", "no hash after the name"),
        ("ann:secret", "no hash after the name"),
        ("ann:sha256$abc", "no hash after the name"),
        ("ann:sha256$" + "A" * 64, "no hash after the name"),
        ("ann:$6$salt$hash", "no hash after the name"),
        (f"ann: {line_of(b'x')}", "no hash after the name"),
        (f"ann:{line_of(b'x')} ", "no hash after the name"),
        (f":{line_of(b'x')}", "1 to 64 characters"),
        (f"{'n' * 65}:{line_of(b'x')}", "1 to 64 characters"),
        (f"a\x1bn:{line_of(b'x')}", "1 to 64 characters"),
        (f"a b:{line_of(b'x')}", "no blank"),
        (f"a\N{NO-BREAK SPACE}b:{line_of(b'x')}", "characters that can be shown"),
        (f"a,b:{line_of(b'x')}", "none of"),
        (f"users:{line_of(b'x')}", "nobody can be called users"),
        (f"anyone:{line_of(b'x')}", "nobody can be called anyone"),
        (f"ok:{line_of(b'x')}", "ok has two passwords"),
        ("ann:scrypt$ln=4,r=8,p=1$c2FsdA$" + "A" * 43, "cut off"),
        ("ann:scrypt$ln=4,r=8,p=1$c2FsdHNhbHQ$AAAA", "cut off"),
        ("ann:scrypt$ln=4,r=8,p=1$c2FsdHNhbHQ$" + "A" * 41, "cut off"),
        ("ann:scrypt$ln=0,r=8,p=1$c2FsdHNhbHQ$" + "A" * 43, "too much memory or time"),
        ("ann:scrypt$ln=4,r=0,p=1$c2FsdHNhbHQ$" + "A" * 43, "too much"),
        ("ann:scrypt$ln=18,r=8,p=1$c2FsdHNhbHQ$" + "A" * 43, "too much"),
        ("ann:scrypt$ln=99,r=1,p=1$c2FsdHNhbHQ$" + "A" * 43, "too much"),
        ("ann:scrypt$ln=17,r=9,p=1$c2FsdHNhbHQ$" + "A" * 43, "too much"),
        ("ann:scrypt$ln=14,r=8,p=17$c2FsdHNhbHQ$" + "A" * 43, "too much"),
        ("ann:scrypt$ln=2,r=999,p=999$c2FsdHNhbHQ$" + "A" * 43, "too much"),
    ],
)
def test_errors(line: str, why: str) -> None:
    text = f"# first\nok:{line_of(b'x')}\n{line}\n".encode()
    with pytest.raises(UsersError, match=why) as caught:
        parse(text)
    assert str(caught.value).startswith("line 3: ")
    assert "AAAA" not in str(caught.value)


def test_as_much_as_there_may_be() -> None:
    for one in ("ln=16,r=8,p=4", "ln=15,r=8,p=8", "ln=10,r=8,p=1"):
        parse(f"ann:scrypt${one}$c2FsdHNhbHQ${'A' * 43}".encode())


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "USERS_MOST", 2)
    text = b"".join(b"ci:sha256$%064x\n" % number for number in range(3))
    with pytest.raises(UsersError, match="line 3: there are more than 2"):
        parse(text)


def test_with_line() -> None:
    changed = users.with_line(FILE, "bob", "scrypt$new")
    assert changed == FILE.replace(f"bob:{line_of('Straße'.encode())}".encode(), b"bob:scrypt$new")
    changed = users.with_line(FILE, "bob", "sha256$new")
    assert changed.splitlines()[-1] == b"bob:sha256$new"
    assert changed.splitlines()[:-1] == FILE.splitlines()[:-1]
    assert users.with_line(FILE, "eve", "scrypt$new") == FILE + b"eve:scrypt$new\n"
    assert users.with_line(b"", "eve", "scrypt$new") == b"eve:scrypt$new\n"
    assert users.with_line(b"# no end", "eve", "x$") == b"# no end\neve:x$\n"
    twice = b"ci:sha256$1\n# between\nci:sha256$2\n"
    assert users.with_line(twice, "ci", "sha256$3") == b"ci:sha256$3\n# between\n"
    other = b"#bob:scrypt$1\nbobby:scrypt$1\n\xff\n"
    assert users.with_line(other, "bob", "scrypt$2") == other + b"bob:scrypt$2\n"


def test_without() -> None:
    assert users.without(FILE, "bob") == b"".join(
        line for line in FILE.splitlines(keepends=True) if not line.startswith(b"bob:")
    )
    assert users.without(FILE, "bob", "sha256") == b"\n".join(FILE.split(b"\n")[:-2]) + b"\n"
    with pytest.raises(UsersError, match="no user"):
        users.without(FILE, "eve")
    with pytest.raises(UsersError, match="no token"):
        users.without(FILE, "ann", "sha256")


@pytest.mark.parametrize("password", [b"", b"x" * 1001, b"a\0b", b"a\nb"])
def test_no_password(password: bytes) -> None:
    with pytest.raises(UsersError):
        users.check_password(password)
    users.check_password(b"x" * 1000)


@given(st.binary(max_size=80) | st.just(FILE).map(lambda text: text[:60]))
def test_any_bytes_are_users_or_not(text: bytes) -> None:
    with suppress(UsersError):
        parse(text)


def test_parameters_are_within_what_openssl_takes() -> None:
    # Its own bound on memory has to be raised, or it refuses what was allowed here.
    for log_n, r, p in ((4, 8, 1), (1, 1, 999), (10, 64, 1)):
        password = Password(log_n, r, p, b"saltsalt", b"").filled(b"secret")
        assert password.fits(b"secret")

"""Tests `access.proof`: what a login of either dialect shows, and that it is not shown further."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.access.proof import Proof, of_authorization, of_login
from tcpdl.wire.login import Login


def basic(said: bytes) -> str:
    return f"Basic {b64encode(said).decode()}"


@pytest.mark.parametrize(
    ("login", "proof"),
    [
        (Login.with_password(b"ann", b"secret"), Proof(b"ann", b"secret")),
        (Login.with_password("änn".encode(), b"a\0b"), Proof("änn".encode(), b"a\0b")),
        (Login.with_password(b"", b""), Proof(b"", b"")),
        (Login(0, 1, b"no end"), Proof(b"no end", b"")),
        (Login.with_token(b"t\0k"), Proof(None, b"t\0k")),
        (Login(0, 0, b"x"), None),
        (Login(0, 3, b"x"), None),
        (Login(0, 255, b"x"), None),
    ],
)
def test_login(login: Login, proof: Proof | None) -> None:
    assert of_login(login) == proof


@pytest.mark.parametrize(
    ("value", "proof"),
    [
        (basic(b"ann:secret"), Proof(b"ann", b"secret")),
        (basic(b"ann:se:cret"), Proof(b"ann", b"se:cret")),
        (basic("änn:pässwörd".encode()), Proof("änn".encode(), "pässwörd".encode())),
        (basic(b":"), Proof(b"", b"")),
        ("bAsIc   YTpi", Proof(b"a", b"b")),
        ("  Basic YTpi\t", Proof(b"a", b"b")),
        ("Bearer t0k-._~+/==", Proof(None, b"t0k-._~+/==")),
        ("bearer x", Proof(None, b"x")),
        (f"Bearer {'t' * 1024}", Proof(None, b"t" * 1024)),
        (basic(b"a:" + b"p" * 1022), Proof(b"a", b"p" * 1022)),
    ],
)
def test_authorization(value: str, proof: Proof) -> None:
    assert of_authorization(value) == proof


@pytest.mark.parametrize(
    "value",
    [
        *("", "Basic", "Basic ", "Bearer", "YTpi", "Basic YTpi YTpi", "Basic: YTpi"),
        *("Basic YT", "Basic YTp", "Basic Y*pi", "Basic YW5u"),
        *("Digest username=x", "Negotiate YTpi", "Bearer a b", "Bearer =", "Bearer ü", "Basic é"),
        *(f"Bearer {'t' * 1025}", basic(b"a:" + b"p" * 1023), "Basic YTpi, Bearer x", "\0"),
        "Basic\tYTpi",
    ],
)
def test_no_authorization(value: str) -> None:
    assert of_authorization(value) is None


@given(st.binary(max_size=40).filter(lambda user: b":" not in user), st.binary(max_size=40))
def test_what_is_said_is_understood(user: bytes, password: bytes) -> None:
    assert of_authorization(basic(user + b":" + password)) == Proof(user, password)


def test_no_proof_is_kept() -> None:
    shown = basic(b"ann:secret")
    assert of_authorization(shown) is not of_authorization(shown)


def test_a_proof_is_not_shown() -> None:
    for proof in (Proof(b"ann", b"secret"), Proof(None, b"secret")):
        assert "secret" not in f"{proof} {proof!r} {[proof]}"

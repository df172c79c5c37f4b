"""Tests `access.keys`: what is a key, and what making a new one leaves."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

import pytest

from tcpdl.access.keys import KeysError, parse, with_new_key

KEY = bytes(range(0xE0, 0x100)) + b"\xfb\xff"
OLD = bytes(32)


@pytest.mark.parametrize(
    "written",
    [
        KEY.hex(),
        KEY.hex().upper(),
        b64encode(KEY).decode(),
        b64encode(KEY).decode().rstrip("="),
        urlsafe_b64encode(KEY).decode(),
        f"  {KEY.hex()}\r",
    ],
)
def test_one(written: str) -> None:
    assert parse(f"# a key\n\n{written}\n".encode()) == (KEY,)


def test_several() -> None:
    text = f"{KEY.hex()}\n# older\n{b64encode(OLD).decode()}".encode()
    assert parse(text) == (KEY, OLD)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no key; tcpdl link --new-key FILE makes one"),
        ("# nothing\n", "holds no key"),
        ("\n".join([KEY.hex()] * 5), "more than 4 keys"),
        (f"{KEY.hex()}\nsecret", "line 2: not 32 bytes or more"),
        (OLD[1:].hex(), "line 1: not 32 bytes"),
        (b64encode(OLD[1:]).decode(), "line 1: not 32 bytes"),
        ("é" * 64, "line 1: not 32 bytes"),
        ("A" * 45, "line 1: not 32 bytes"),
        (f"{KEY.hex()} {KEY.hex()}", "line 1: not 32 bytes"),
    ],
)
def test_errors(text: str, why: str) -> None:
    with pytest.raises(KeysError, match=why) as caught:
        parse(text.encode())
    assert "secret" not in str(caught.value)


def test_new_key() -> None:
    first = with_new_key(b"")
    assert len(parse(first)[0]) == 32
    assert first != with_new_key(b"")
    second = with_new_key(b"# of the team\n" + first)
    assert parse(second)[1:] == parse(first)
    assert second.endswith(b"\n# of the team\n" + first)
    text = second
    for _ in range(4):
        text = with_new_key(text)
    assert len(parse(text)) == 4
    assert parse(first)[0] not in parse(text)
    assert b"# of the team\n" in text


def test_new_key_in_something_else() -> None:
    with pytest.raises(KeysError, match="line 1"):
        with_new_key(b"important notes")

"""The keys that links are signed with, as they are written in a file. Imports `wire.links`.

A line is a key of 32 bytes or more, in base64 or hexadecimal. The first is the one that signs;
links signed with the others are still valid.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode

from tcpdl.wire.links import KEY_LEAST

KEYS_MOST = 4
"""Keys in a file: each link is held against all of them."""

_HEX = re.compile(r"[0-9A-Fa-f]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+=*")

Keys = tuple[bytes, ...]


class KeysError(ValueError):
    """The text is not that of keys; what this says names the line, and the remedy."""


def parse(text: bytes) -> Keys:
    """The keys that are written in `text`, one at least. Raises `KeysError`."""
    found: list[bytes] = []
    for number, line in enumerate(text.decode("latin-1").split("\n"), 1):
        word = line.strip()
        if word and not word.startswith("#"):
            key = _parse(word)
            if key is None:
                raise KeysError(
                    f"line {number}: not {KEY_LEAST} bytes or more in base64 or hexadecimal; "
                    "tcpdl link --new-key FILE makes a key"
                )
            found.append(key)
    if not found:
        raise KeysError("it holds no key; tcpdl link --new-key FILE makes one")
    if len(found) > KEYS_MOST:
        raise KeysError(f"it holds more than {KEYS_MOST} keys; delete the last ones")
    return tuple(found)


def _parse(word: str) -> bytes | None:
    try:
        if _HEX.fullmatch(word):  # no 32 bytes are so in base64, but by a miracle
            key = bytes.fromhex(word)
        elif _BASE64.fullmatch(word):
            key = urlsafe_b64decode(word.replace("+", "-").replace("/", "_").rstrip("=") + "==")
        else:
            return None
    except ValueError:
        return None
    return key if len(key) >= KEY_LEAST else None


def with_new_key(text: bytes) -> bytes:
    """`text` with a new key before all others, as many of which stay as there may be. Raises
    `KeysError`."""
    lines = text.decode("latin-1").split("\n")
    if text.strip():
        parse(text)
    kept, count = [], 1
    for line in lines[:-1] if not lines[-1] else lines:
        is_key = bool(line.strip()) and not line.strip().startswith("#")
        count += is_key
        if not is_key or count <= KEYS_MOST:
            kept.append(line)
    new = urlsafe_b64encode(secrets.token_bytes(KEY_LEAST)).decode("ascii")
    return "".join(f"{line}\n" for line in (new, *kept)).encode("latin-1")

"""Tests that the messages by which problems are looked up are the ones that are given."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import PROJECT

TEXT = (PROJECT / "docs/troubleshooting.md").read_text("utf-8")

TOLD = [
    message
    for term in re.findall(r"^(.+)\n: ", TEXT, re.M)
    for message in re.findall(r"`([^`]+)`", term)
    if " " in message and not message.startswith(("tcpdl ", "nc "))
]

# Messages in the source, put together where they go on in the next line.
SOURCE = re.sub(
    r'"\s*\n\s*f?"',
    "",
    "\n".join(path.read_text("utf-8") for path in sorted((PROJECT / "tcpdl").rglob("*.py"))),
)

ELSEWHERE = {"Connection reset by peer"}
"""What other programs say."""


@pytest.mark.parametrize("message", sorted({*TOLD} - ELSEWHERE))
def test_message_is_one_of_ours(message: str) -> None:
    # What differs each time: numbers, what is quoted, and what is left out.
    parts = re.split(r"[0-9][\w.:]*|'[^']*'|/[\w/.-]+|\.\.\.", message)
    words = [part.strip(" ;:?") for part in parts]
    said = [part for part in words if len(part) > 3]
    assert said
    assert [part for part in said if part not in SOURCE] == []


def test_messages_are_found() -> None:
    assert len({*TOLD} - ELSEWHERE) >= 8

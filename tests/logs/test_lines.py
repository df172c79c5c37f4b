"""Tests the lines for answers: what is in them, and that none of it is taken for another part."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tcpdl.logs.lines import as_json, as_text
from tcpdl.server.transfers import COMPLETE, OUTCOMES, Ended, Transfers

PROJECT = Path(__file__).resolve().parents[2]

LINE = re.compile(
    r"time=(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) outcome=(?P<outcome>[a-z-]+) "
    r"sent=(?P<sent>\d+) seconds=(?P<seconds>\d+\.\d{3}) client=(?P<client>\S+) "
    r"port=(?P<port>\d+|-) dialect=(?P<dialect>[a-z]+|-) tls=(?P<tls>yes|no) "
    r'user=(?P<user>-|"(?:[^"\\ ]|\\.)*") method=(?P<method>[A-Z]+|-) status=(?P<status>\d{3}|-) '
    r'name="(?P<name>(?:[^"\\]|\\.)*)"(?: range=(?P<range>\d+--?\d+))?(?: size=(?P<size>\d+))?'
    r'(?: agent="(?P<agent>(?:[^"\\]|\\.)*)")?(?: why="(?P<why>(?:[^"\\]|\\.)*)")?'
)
ESCAPE = re.compile(r'\\(?:[\\"nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})')


def ended(**values: Any) -> Ended:
    found: list[Ended] = []
    transfers = Transfers(Clock())
    transfers.on_end.append(found.extend)
    transfers.begin("raw", "192.0.2.7:40204", False).end(COMPLETE)
    transfers.flush()
    return found[0]._replace(**values)


def test_text() -> None:
    transfer = ended(
        dialect="http",
        secure=True,
        user="ann b",
        method="GET",
        status=206,
        asked=b'/a "b"\\',
        sent=5,
        span=(5, 10),
        size=13,
        agent=b"curl/8.5.0",
        began=1.0,
        ended=3.5,
        why="so",
    )
    assert as_text(transfer, 1_777_889_468.845) == (
        "time=2026-05-04T10:11:12.345Z outcome=complete sent=5 seconds=2.500 client=192.0.2.7 "
        r'port=40204 dialect=http tls=yes user="ann\x20b" method=GET status=206 '
        r'name="/a \"b\"\\" range=5-9 size=13 agent="curl/8.5.0" why="so"'
    )
    assert json.loads(as_json(transfer, 1_777_889_468.845)) == {
        "time": "2026-05-04T10:11:12.345Z",
        "outcome": "complete",
        "sent": 5,
        "seconds": 2.5,
        "client": "192.0.2.7",
        "port": 40204,
        "dialect": "http",
        "tls": True,
        "user": "ann b",
        "method": "GET",
        "status": 206,
        "name": '/a "b"\\\\',
        "range": "5-9",
        "size": 13,
        "agent": "curl/8.5.0",
        "why": "so",
    }


def test_what_is_not_there() -> None:
    text = as_text(ended(dialect="-", peer="a Unix socket"), 0)
    assert text == (
        "time=1970-01-01T00:00:00.000Z outcome=complete sent=0 seconds=0.000 client=unix port=- "
        'dialect=- tls=no user=- method=- status=- name=""'
    )
    line = json.loads(as_json(ended(dialect="-", peer="a Unix socket"), 0))
    assert line["dialect"] is None
    assert [line[name] for name in ("port", "user", "method", "status")] == [None] * 4


@pytest.mark.parametrize(
    ("peer", "client", "port"),
    [
        ("[2001:db8::1]:80", "2001:db8::1", 80),
        ("192.0.2.1:1", "192.0.2.1", 1),
        ("some address: 3", r"some\x20address:\x203", None),
    ],
)
def test_clients(peer: str, client: str, port: int | None) -> None:
    found = LINE.fullmatch(as_text(ended(peer=peer), 0))
    assert found is not None
    assert (found["client"], found["port"]) == (client, "-" if port is None else str(port))
    line = json.loads(as_json(ended(peer=peer), 0))
    assert (line["client"], line["port"]) == (client, port)


any_text = st.text() | st.text(alphabet='\\" =x\n\x1b\u202e\U000e0001\udcff', max_size=300)


@given(
    asked=st.binary(max_size=3000) | any_text.map(lambda text: text.encode("utf-8", "replace")),
    user=st.none() | any_text,
    agent=st.none() | st.binary(max_size=3000),
    why=any_text,
    outcome=st.sampled_from(sorted(OUTCOMES)),
)
def test_whatever_a_client_says(
    asked: bytes, user: str | None, agent: bytes | None, why: str, outcome: str
) -> None:
    transfer = ended(asked=asked, user=user, agent=agent, why=why, outcome=outcome)
    text, line = as_text(transfer, 0), as_json(transfer, 0)
    for one in (text, line):
        assert one.isprintable()
        assert len(one.encode()) < 4095
    found = LINE.fullmatch(text)
    assert found is not None
    assert found["outcome"] == outcome
    assert len(text.split(" ")[:11]) == 11
    assert text.split(" ")[10].startswith("status=")
    for name in ("name", "agent", "why", "user"):
        left = ESCAPE.sub("", found[name] or "")
        assert "\\" not in left, "every escape is whole"
    parsed = json.loads(line)
    assert parsed["outcome"] == outcome
    assert (parsed["user"] is None) is (user is None)


def bans(line: str) -> str | None:
    """The address that fail2ban finds in `line`, as its filter has it: it takes the time out."""
    config = configparser.ConfigParser()
    config.read(PROJECT / "etc/fail2ban/filter.d/tcpdl.conf")
    date = config["Definition"]["datepattern"]
    for letter, digits in (("Y", r"\d{4}"), ("f", r"\d{1,6}"), ("z", r"(?:Z|[+-]\d{4})")):
        date = date.replace(f"%{letter}", digits)
    line = re.sub(re.sub("%[mdHMS]", lambda _: r"\d{2}", date), "", line, count=1)
    rule = config["Definition"]["failregex"].replace("<ADDR>", r"(?P<addr>[\d.]+|[0-9A-Fa-f:]+)")
    found = re.search(rule, line)
    return found["addr"] if found else None


def test_wrong_logins_are_found_by_fail2ban() -> None:
    wrong: list[Ended] = []
    transfers = Transfers(Clock())
    transfers.on_end.append(wrong.extend)
    forged = 'x" outcome=wrong-login sent=0 seconds=0.000 client=192.0.2.99 port=1 dialect=- "'
    transfers.wrong_login("192.0.2.7:1", True, "ann")
    transfers.wrong_login("[2001:db8::1]:1", True, forged)
    transfers.wrong_login("192.0.2.8:1", False, "")
    transfers.wrong_login("[fe80::1%eth0]:1", False, forged)
    transfers.flush()
    assert [" tls=yes " in as_text(one, 0) for one in wrong] == [True, True, False, False]
    assert [bans(as_text(one, 0)) for one in wrong] == [
        *("192.0.2.7", "2001:db8::1", "192.0.2.8", "fe80::1")
    ]
    assert bans(as_text(ended(user=forged, asked=forged.encode(), why=forged), 0)) is None


def test_all_outcomes_are_in_the_table() -> None:
    table = (PROJECT / "docs/observing.md").read_text().partition("| outcome | meaning |")[2]
    rows = table.partition("\n\n")[0].splitlines()[2:]
    assert {word for row in rows for word in re.findall("`([a-z-]+)`", row.split("|")[1])} == {
        *OUTCOMES
    }

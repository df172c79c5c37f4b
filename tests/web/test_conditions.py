"""Tests `web.conditions`: dates, lists of tags, and what follows from them."""

from __future__ import annotations

import calendar
from email.utils import formatdate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.web.conditions import (
    NOT_MODIFIED,
    OK,
    PRECONDITION_FAILED,
    evaluate,
    parse_date,
    parse_tags,
    range_holds,
)
from tcpdl.web.fields import http_date

unhurried = settings(deadline=None)

MODIFIED = 784111777
AT = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"

IN_2026 = calendar.timegm((2026, 11, 27, 12, 0, 0))


@pytest.mark.parametrize(
    "value",
    [
        *(AT, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", f"\t{AT} "),
        "Sun Nov 06 08:49:37 1994",
        "Mon, 06 Nov 1994 08:49:37 GMT",  # it was a Sunday, but nothing hangs on that
    ],
)
def test_dates(value: str) -> None:
    assert parse_date(value) == MODIFIED


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
        ("Tue, 29 Feb 2000 00:00:00 GMT", 951782400),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800),  # a leap second
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799),
    ],
)
def test_unusual_dates(value: str, seconds: int) -> None:
    assert parse_date(value) == seconds


@pytest.mark.parametrize(
    ("value", "year"),
    [
        ("Friday, 27-Nov-26 12:00:00 GMT", 2026),
        ("Friday, 01-Jan-27 00:00:00 GMT", 2027),
        ("Friday, 27-Nov-76 12:00:00 GMT", 2076),  # 50 years and not more
        ("Friday, 27-Nov-76 12:00:01 GMT", 1976),
        ("Friday, 01-Jan-77 00:00:00 GMT", 1977),
        ("Friday, 31-Dec-99 23:59:59 GMT", 1999),
        ("Friday, 01-Jan-00 00:00:00 GMT", 2000),
    ],
)
def test_years_of_two_digits(value: str, year: int) -> None:
    seconds = parse_date(value, IN_2026)
    assert seconds is not None
    assert http_date(seconds)[12:16] == str(year)


@pytest.mark.parametrize(
    "value",
    [
        *("", "0", "-1", "x", "784111777", "1994-11-06T08:49:37Z"),
        *(f"{AT}, {AT}", f"{AT}; length=5"),
        *(AT.lower(), AT.upper(), AT.replace("GMT", "UTC"), AT.replace("GMT", "+0000"), AT[:-4]),
        *(AT.replace("06", " 6"), AT.replace("06", "6")),
        *(AT.replace("06", "00"), AT.replace("06", "32")),
        *(AT.replace("Nov", "Nox"), AT.replace("Sun", "Sux"), AT.replace("Sun", "Sunday")),
        *(AT.replace("1994", "94"), AT.replace("1994", "0000"), AT.replace("1994", "01994")),
        *(AT.replace("08:", "24:"), AT.replace("49", "60")),
        *(AT.replace(":37", ":61"), AT.replace("08", "8")),
        *("Wed, 31 Nov 1994 00:00:00 GMT", "Wed, 29 Feb 1900 00:00:00 GMT", AT.replace(" ", "  ")),
        *("Sunday, 06-Nov-1994 08:49:37 GMT"),
        *("Sun, 06-Nov-94 08:49:37 GMT", "Sun Nov 6 08:49:37 1994"),
        *("Sun Nov  6 08:49:37 1994 GMT", "Sun, ٠٦ Nov 1994 08:49:37 GMT", AT + "\n", AT + "\0"),
    ],
)
def test_no_dates(value: str) -> None:
    assert parse_date(value) is None


@given(st.integers(-62135596800, 253402300799))
def test_dates_there_and_back(seconds: int) -> None:
    assert parse_date(http_date(seconds)) == seconds
    if seconds >= 0:
        assert http_date(seconds) == formatdate(seconds, usegmt=True)


@unhurried
@given(st.text())
def test_any_text_is_a_date_or_none(text: str) -> None:
    parse_date(text)
    parse_tags(text)
    range_holds(text, '"a"', MODIFIED)


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ("*", ["*"]),
        (" *\t", ["*"]),
        ('"a"', ['"a"']),
        ('""', ['""']),
        ('W/"a"', ['W/"a"']),
        ('"a", W/"b" ,"c"', ['"a"', 'W/"b"', '"c"']),
        ('"a,b","c d"', None),  # a tag may hold a comma, but no space
        ('"a,b","c"', ['"a,b"', '"c"']),
        (',, "a" , ,\t,"b", ,', ['"a"', '"b"']),
        ('"\xe9!#~"', ['"\xe9!#~"']),
        *(
            (value, None)
            for value in ("", " ", ",", ", ,", "a", '"a', 'a"', '"a"b', '"a" "b"', '"a";"b"')
        ),
        *(
            (value, None)
            for value in ('w/"a"', 'W /"a"', 'W/ "a"', "W/a", "W/", '*, "a"', '"a", *', "**")
        ),
        *(
            (value, None)
            for value in ('"a"x', '"a\tb"', '"a\x7f"', '"a\0"', "'a'", '"a\\"b"', '"a"\n')
        ),
    ],
)
def test_tags(value: str, tags: list[str] | None) -> None:
    assert parse_tags(value) == tags


def test_no_more_tags_are_read_than_a_client_has_a_use_for() -> None:
    """One head may have thousands, and each would cost more than the rest of a request."""
    assert parse_tags('"a",' * 999) == ['"a"'] * 999
    assert parse_tags('"a",' * 1000) is None
    assert parse_tags("," * 15_000) is None


def status(etag: str = '"a"', modified: int | None = MODIFIED, **fields: str) -> int:
    names = {name.replace("_", "-").encode("ascii"): value for name, value in fields.items()}
    return evaluate(names.get, etag, modified)


def test_no_condition() -> None:
    assert status() == OK
    assert status(modified=None) == OK


@pytest.mark.parametrize(
    ("value", "etag", "expected"),
    [
        ("*", '"a"', OK),
        ("*", 'W/"a"', OK),
        ('"a"', '"a"', OK),
        ('"x", "a"', '"a"', OK),
        ('"x"', '"a"', PRECONDITION_FAILED),
        ('"A"', '"a"', PRECONDITION_FAILED),
        ('W/"a"', '"a"', PRECONDITION_FAILED),  # compared strongly
        ('W/"a"', 'W/"a"', PRECONDITION_FAILED),
        ('"a"', 'W/"a"', PRECONDITION_FAILED),
        ("a", '"a"', PRECONDITION_FAILED),
        ("", '"a"', PRECONDITION_FAILED),
    ],
)
def test_if_match(value: str, etag: str, expected: int) -> None:
    assert status(etag, if_match=value) == expected
    # It is what counts then.
    assert status(etag, if_match=value, if_unmodified_since=BEFORE) == expected
    assert status(etag, if_match=value, if_unmodified_since=AFTER) == expected


@pytest.mark.parametrize(
    ("value", "etag", "expected"),
    [
        ("*", '"a"', NOT_MODIFIED),
        ('"a"', '"a"', NOT_MODIFIED),
        ('"x", "a"', '"a"', NOT_MODIFIED),
        ('W/"a"', '"a"', NOT_MODIFIED),  # compared weakly
        ('W/"a"', 'W/"a"', NOT_MODIFIED),
        ('"a"', 'W/"a"', NOT_MODIFIED),
        ('"x"', '"a"', OK),
        ('"A"', '"a"', OK),
        ("a", '"a"', OK),
        ("", '"a"', OK),
    ],
)
def test_if_none_match(value: str, etag: str, expected: int) -> None:
    assert status(etag, if_none_match=value) == expected
    # It is what counts then.
    assert status(etag, if_none_match=value, if_modified_since=BEFORE) == expected
    assert status(etag, if_none_match=value, if_modified_since=AFTER) == expected


@pytest.mark.parametrize(
    ("value", "modified_since", "unmodified_since"),
    [
        (BEFORE, OK, PRECONDITION_FAILED),
        (AT, NOT_MODIFIED, OK),
        (AFTER, NOT_MODIFIED, OK),
        ("Fri, 31 Dec 9999 23:59:59 GMT", NOT_MODIFIED, OK),
        *(
            (value, OK, OK)
            for value in ("x", "", "0", BEFORE.replace("GMT", "UTC"), f"{BEFORE}, {AT}")
        ),
    ],
)
def test_dates_as_conditions(value: str, modified_since: int, unmodified_since: int) -> None:
    assert status(if_modified_since=value) == modified_since
    assert status(if_unmodified_since=value) == unmodified_since
    assert status(modified=None, if_modified_since=value) == OK
    assert status(modified=None, if_unmodified_since=value) == OK


def test_what_forbids_comes_first() -> None:
    assert status(if_match='"x"', if_none_match='"a"') == PRECONDITION_FAILED
    assert status(if_unmodified_since=BEFORE, if_none_match='"a"') == PRECONDITION_FAILED
    assert status(if_unmodified_since=AT, if_modified_since=AT) == NOT_MODIFIED


TAGS = st.sampled_from(['"a"', '"b"', 'W/"a"', 'W/"b"'])
LISTS = st.none() | st.just("*") | st.lists(TAGS, min_size=1, max_size=3).map(", ".join)
WHEN = st.none() | st.integers(MODIFIED - 2, MODIFIED + 2)


def model(
    etag: str, modified: int | None, match: str | None, none: str | None, dates: list[int | None]
) -> int:
    """Section 13.2.2, step by step."""
    unmodified_since, modified_since = dates
    tags = [] if match is None else match.split(", ")
    opaque = etag.split('"')[1]
    if match is not None:
        step_1 = match == "*" or any(tag == etag and tag[0] == '"' for tag in tags)
    else:
        step_1 = unmodified_since is None or modified is None or modified <= unmodified_since
    if not step_1:
        return 412
    if none is not None:
        step_3 = none != "*" and all(tag.split('"')[1] != opaque for tag in none.split(", "))
    else:
        step_3 = modified_since is None or modified is None or modified > modified_since
    return 200 if step_3 else 304


@unhurried
@given(TAGS, WHEN, LISTS, LISTS, st.lists(WHEN, min_size=2, max_size=2))
@example('"a"', None, None, None, [None, None])
def test_as_a_model(
    etag: str, modified: int | None, match: str | None, none: str | None, dates: list[int | None]
) -> None:
    fields = {b"if-match": match, b"if-none-match": none}
    fields[b"if-unmodified-since"], fields[b"if-modified-since"] = (
        None if date is None else http_date(date) for date in dates
    )
    assert evaluate(fields.get, etag, modified) == model(etag, modified, match, none, dates)


@pytest.mark.parametrize(
    ("value", "etag", "holds"),
    [
        (None, '"a"', True),
        (None, 'W/"a"', True),
        ('"a"', '"a"', True),
        (' "a"\t', '"a"', True),
        ('"b"', '"a"', False),
        ('W/"a"', '"a"', False),
        ('W/"a"', 'W/"a"', False),
        ('"a"', 'W/"a"', False),
        ('"a", "b"', '"a"', False),  # one tag it is, not a list
        ("*", '"a"', False),
        ("a", '"a"', False),
        ("", '"a"', False),
        (AT, '"a"', True),
        ("Sunday, 06-Nov-94 08:49:37 GMT", '"a"', True),
        (AT, 'W/"a"', False),  # it may change again within that second
        (BEFORE, '"a"', False),
        (AFTER, '"a"', False),
        (AT.replace("GMT", "UTC"), '"a"', False),
    ],
)
def test_if_range(value: str | None, etag: str, holds: bool) -> None:
    assert range_holds(value, etag, MODIFIED) is holds
    if value is not None and ":" in value:
        assert range_holds(value, etag, None) is False


def test_if_range_with_no_date_on_either_side() -> None:
    assert range_holds("x", '"a"', None) is False


@pytest.mark.parametrize("value", ['"a",{}x', '"a"{}"', "{}W", '"a"{},'])
def test_time_does_not_grow_with_the_square_of_blanks(value: str) -> None:
    """It did, and one request kept all others waiting; of so many, this would never end."""
    parse_tags(value.format(" \t" * 500_000))

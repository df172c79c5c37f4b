"""Tests `options.toml_lines`: the lines of keys are those where tomllib finds them, too."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.options.toml_lines import Path, places

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def lines(text: str) -> dict[Path, int]:
    return {place.path: place.line for place in places(text)}


def test_keys_tables_and_elements() -> None:
    text = """\
# a = 1
port = 80 # b = 2
'quoted key' = 'its'
"es\\u0063aped" = "a \\" b = 1"
dotted . "sub" = 1

list = [
    # c = 3
    "one", "two # no comment",

    [ 1,
      2, ],
    { key = 'x', other = [
        3] }, # TOML 1.0 knows no line end but within brackets
]
text = \"\"\"
d = 4
\\\"\"\" e = 5 \"\"\"\"\"
after = '''
f = 6'''''
date = 1979-05-27 07:32:00Z
[ table . name ]
key = true
[[many]]
a = 1
[[many]]
a = 2
"""
    tomllib.loads(text)
    assert lines(text) == {
        ("port",): 2,
        ("quoted key",): 3,
        ("escaped",): 4,
        ("dotted", "sub"): 5,
        ("list",): 7,
        ("list", 0): 9,
        ("list", 1): 9,
        ("list", 2): 11,
        ("list", 2, 0): 11,
        ("list", 2, 1): 12,
        ("list", 3): 13,
        ("list", 3, "key"): 13,
        ("list", 3, "other"): 13,
        ("list", 3, "other", 0): 14,
        ("text",): 16,
        ("after",): 19,
        ("date",): 21,
        ("table", "name"): 22,
        ("table", "name", "key"): 23,
        ("many", 0): 24,
        ("many", 0, "a"): 25,
        ("many", 1): 26,
        ("many", 1, "a"): 27,
    }


def test_line_ends() -> None:
    assert lines("a = 1\r\n\r\nb = '''\r\n'''\r\nc = 3") == {("a",): 1, ("b",): 3, ("c",): 5}
    assert lines("") == lines("\n# nothing\n") == {}


def test_a_key_that_is_there_twice_comes_twice() -> None:
    assert [place.line for place in places("a = 1\nb = 2\na = 3")] == [1, 2, 3]


@pytest.mark.parametrize(
    "text",
    ["a = 1\nb", "a = 1\n= 2", "a = 1\n]", "a = 1\n[b", "a = 1\n'b", "a = 1\n\0"],
)
def test_it_ends_where_the_text_makes_no_sense(text: str) -> None:
    assert lines(text) == {("a",): 1}


@given(st.text(alphabet="ab=.,[]{}\"'\\#\n \r\0", max_size=40))
def test_any_text(text: str) -> None:
    for place in places(text):
        assert 1 <= place.line <= text.count("\n") + 1


@given(st.integers(1, 5000))
def test_depth(depth: int) -> None:
    assert next(iter(places("a = " + "[" * depth))) == (("a",), 1)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.integers() | st.booleans() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """`value` in TOML, with blanks, comments and line ends wherever they may be."""
    if isinstance(value, list):
        gap = st.sampled_from(["", " ", "\n", "# [x\n", "\n\n"])
        parts = [draw(gap) + draw(written(one)) + draw(gap) for one in value]
        return "[" + ",".join(parts) + draw(gap) + "]"
    if isinstance(value, dict):
        pairs = [f"{json_key(key)} = {draw(written(one))}" for key, one in value.items()]
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, str):
        if draw(st.booleans()) and not set(value) & set("'\r") and value.isprintable():
            return f"'''\n{value}'''"
        return json_key(value)
    return json.dumps(value)


def json_key(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@given(st.dictionaries(texts, values, max_size=4), st.data())
def test_they_are_those_of_what_is_there(document: dict[str, Any], data: st.DataObject) -> None:
    gap = st.sampled_from(["", "\n", "# x = 1\n", "  "])
    text = "".join(
        f"{data.draw(gap)}{json_key(key)} = {data.draw(written(value))}\n"
        for key, value in document.items()
    )
    assert tomllib.loads(text) == document
    found = list(places(text))
    assert [place.path for place in found] == list(paths(document))
    for place in found:
        # Cut off before that line, the text has none of it; whatever is before begins earlier.
        assert place.line <= text.count("\n") + 1
    top = [place for place in found if len(place.path) == 1]
    for place in top:
        assert json_key(str(place.path[0])) in text.split("\n")[place.line - 1]


def paths(value: Any, above: Path = ()) -> Iterator[Path]:
    """All paths of a document, from top to bottom."""
    if isinstance(value, (dict, list)):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*above, key)
            yield from paths(one, (*above, key))

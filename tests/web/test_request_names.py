"""Tests `web.request`: what the path and the query of a request name."""

from __future__ import annotations

import pytest

from tcpdl.web.request import ARGUMENTS_MOST, Refusal, Request, parse
from tcpdl.wire.names import NameRefused


def get(target: bytes) -> Request:
    request, _ = parse(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
    return request


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        (b"/", ()),
        (b"/a/b", (b"a", b"b")),
        (b"//a//b", (b"a", b"b")),
        (b"/./a/.", (b"a",)),
        (b"/%61%2E%2e.txt", (b"a...txt",)),
        (b"/a+b", (b"a+b",)),
        (b"/a%20b%0A", (b"a b\n",)),
        (b"/%252e%252e/x", (b"%2e%2e", b"x")),  # decoded once
        (b"/a%5C..%5Cb", (b"a\\..\\b",)),
        (b"/%FF", (b"\xff",)),
        (b"/a;b=c", (b"a;b=c",)),
    ],
)
def test_names(path: bytes, segments: tuple[bytes, ...]) -> None:
    name = get(path).name(hidden=False)
    assert name.segments == segments
    assert name.folder is (path[-1:] in b"/.")


@pytest.mark.parametrize(
    "path",
    [
        *(b"/..", b"/a/../b", b"/%2e%2e/a", b"/.%2E", b"/a/%2e./", b"//../a", b"/./.."),
        *(b"/%2f", b"/a%2Fb", b"/..%2f..%2fetc", b"/%00", b"/a%00.txt", b"/.a", b"/%2ea"),
        *(b"/" + b"a" * 256, b"/" + b"a/" * 513),
    ],
)
def test_names_that_are_refused(path: bytes) -> None:
    with pytest.raises(NameRefused):
        get(path).name(hidden=False)


def test_hidden_names() -> None:
    request = get(b"/.a")
    for _ in range(2):
        assert request.name(hidden=True).segments == (b".a",)
        with pytest.raises(NameRefused):
            request.name(hidden=False)


@pytest.mark.parametrize("path", [b"/%", b"/%2", b"/%zz", b"/a%%20", b"/%u0041", b"/100%/x"])
def test_broken_escapes(path: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        get(path).name(hidden=False)
    assert caught.value.status == 400
    assert not caught.value.fatal


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        (b"", {}),
        (b"download", {"download": ""}),
        (b"a=1&a=2&b=", {"a": "2", "b": ""}),
        (b"a=b+c%20d%26", {"a": "b c d&"}),
        (b"a=%E4%B8%8B", {"a": "下"}),
        ("a=下".encode(), {"a": "下"}),
        (b"a=\xff%ff", {"a": "��"}),
        (b"a=%zz&&", {"a": "%zz"}),
    ],
)
def test_arguments(query: bytes, arguments: dict[str, str]) -> None:
    found = get(b"/?" + query).arguments()
    assert found == arguments
    "".join(found.values()).encode("utf-8")  # no half characters


def test_too_many_arguments() -> None:
    assert len(get(b"/?" + b"&".join(b"%d" % n for n in range(20))).arguments()) == 20
    with pytest.raises(Refusal) as caught:
        get(b"/?" + b"&" * ARGUMENTS_MOST).arguments()
    assert caught.value.status == 400
    assert not caught.value.fatal

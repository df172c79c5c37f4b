"""Tests how names are written in URLs: nothing in them means anything to whoever reads them."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st

from tcpdl.web.urls import escaped, folder_path

SEGMENTS = st.binary(min_size=1, max_size=30).filter(
    lambda name: not set(name) & {0, 0x2F} and name not in (b".", b"..")
)


@given(st.lists(SEGMENTS, max_size=4).map(tuple))
def test_folder_paths(segments: tuple[bytes, ...]) -> None:
    path = folder_path(segments)
    assert path.startswith("/")
    assert path.endswith("/")
    assert not path.startswith("//")  # that would be another host
    assert not set(path) & set(" \"'<>`$&;|*?#\\()[]{}!:\r\n\0")
    assert path.isascii()
    assert [unquote_to_bytes(part) for part in path.split("/") if part] == list(segments)


def test_common_names() -> None:
    assert escaped(b"a/b-c_d.e+f,g@h") == "a/b-c_d.e+f,g@h"
    assert folder_path((b"a b", "é".encode())) == "/a%20b/%C3%A9/"
    assert folder_path(()) == "/"

"""Tests `web.shell`: the lines that people copy, in a shell and with the programs they name."""

from __future__ import annotations

import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.web.shell import (
    Place,
    check_line,
    client_lines,
    file_lines,
    folder_lines,
    quoted,
)
from tcpdl.web.urls import PageLink

BASH = shutil.which("bash")
needs_bash = pytest.mark.skipif(BASH is None, reason="bash is not installed")
needs_sha256sum = pytest.mark.skipif(
    BASH is None or shutil.which("sha256sum") is None, reason="sha256sum is not installed"
)

NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: not {0, 47} & set(name))
TRICKY = st.sampled_from(
    [
        *(b"$(id)", b"`id`", b"'", b'"', b"\\", b"\n", b"-", b" ", b"~", b"*", b"!", b"\xff", b"#"),
        *("\u202e".encode(), "文".encode(), b"\\x41", b"\x1b[31m", b"%s", b"a\xff9", b"\r"),
    ]
)
ANY = st.lists(TRICKY | NAMES, min_size=1, max_size=5).map(b"".join)


def place(*segments: bytes, host: str = "h.example:8080", scheme: str = "http") -> Place:
    return Place(scheme, host, segments, False)


def texts(place: Place, digest: bytes | None = None) -> dict[str, str]:
    return {line.title: line.text for line in file_lines(place, digest)}


def bash(script: str, folder: Path | None = None) -> bytes:
    assert BASH is not None
    ran = subprocess.run(
        [BASH, "--norc", "-c", script], capture_output=True, timeout=60, cwd=folder, check=False
    )
    assert ran.returncode == 0, ran
    return ran.stdout


@needs_bash
@given(st.lists(ANY, min_size=1, max_size=20))
@example([b"a", b"", b"\n", b"'\xff'", b"$'", b"\\\xff", b"\xffa"])
@settings(deadline=None, max_examples=40)
def test_a_quoted_name_is_one_word_and_the_same(names: list[bytes]) -> None:
    script = r"printf '%s\0' " + " ".join(map(quoted, names))
    assert bash(script).split(b"\0")[:-1] == names


@given(ANY)
def test_a_quoted_name_is_printable_ascii_or_text_on_one_line(name: bytes) -> None:
    assert quoted(name).isprintable()


@needs_sha256sum
@given(ANY)
@example(b"plain.txt")
@example(b"a\\b\nc")
@example(b"-rf")
@settings(deadline=None, max_examples=30)
def test_what_has_arrived_is_checked(tmp_path_factory: pytest.TempPathFactory, name: bytes) -> None:
    folder = tmp_path_factory.mktemp("checked")
    target = Path(f"{folder}/{name.decode('utf-8', 'surrogateescape')}")
    if name in (b".", b".."):
        return
    target.write_bytes(b"right")
    line = check_line(place(name).local, sha256(b"right").digest())
    bash(line, folder)
    target.write_bytes(b"wrong")
    with pytest.raises(AssertionError):
        bash(line, folder)


def test_lines_of_a_plain_file_are_plain() -> None:
    assert texts(place(b"a", b"b.txt"), bytes(32)) == {
        "tcpdl": "tcpdl get h.example:8080/a/b.txt",
        "curl": "curl -fo b.txt http://h.example:8080/a/b.txt",
        "wget": "wget -O b.txt http://h.example:8080/a/b.txt",
        "nc": r"printf '%s\n' a/b.txt | nc -N h.example 8080 > b.txt",
        "check": rf"printf '%s\n' '{'00' * 32}  b.txt' | sha256sum -c",
    }


def test_a_name_that_begins_with_a_dash_is_no_option() -> None:
    lines = texts(place(b"-rf"), bytes(32))
    assert lines["curl"] == "curl -fo ./-rf http://h.example:8080/-rf"
    assert lines["nc"] == r"printf '%s\n' -rf | nc -N h.example 8080 > ./-rf"
    assert "  ./-rf'" in lines["check"]


@pytest.mark.parametrize("name", [b"a\nb", b"a\r"])
def test_raw_is_not_offered_for_what_it_cannot_ask_for(name: bytes) -> None:
    assert "nc" not in texts(place(name))
    assert "nc" not in texts(place(name, b"x")) or name == b"a\r"


@pytest.mark.parametrize(
    ("host", "scheme", "native", "raw"),
    [
        ("h", "http", "h:80/f", "nc -N h 80"),
        ("h:", "http", "h:80/f", "nc -N h 80"),
        ("[::1]:8080", "http", "'[::1]:8080/f'", "nc -N ::1 8080"),
        ("[::1]", "http", "'[::1]:80/f'", "nc -N ::1 80"),
        ("", "http", "localhost:80/f", "nc -N localhost 80"),
        (":81", "http", "localhost:81/f", "nc -N localhost 81"),
        ("h", "https", "tcpdls://h:443/f", "openssl s_client -quiet -connect h:443"),
        ("h:99999", "http", "h:99999/f", "nc -N h 99999"),
        ("$(id)", "http", "'$(id):80/f'", "nc -N '$(id)' 80"),
        ("h'", "http", """'h'"'"':80/f'""", """nc -N 'h'"'"'' 80"""),
    ],
)
def test_servers(host: str, scheme: str, native: str, raw: str) -> None:
    lines = texts(place(b"f", host=host, scheme=scheme))
    assert lines["tcpdl"] == f"tcpdl get {native}"
    assert lines["nc"] == rf"printf '%s\n' f | {raw} > f"


@given(st.text(max_size=30))
def test_no_host_breaks_a_line(host: str) -> None:
    for line in file_lines(place(b"f", host=host), None):
        assert line.text.isprintable()


def test_lines_of_a_folder() -> None:
    folder = Place("http", "h:81", (b"a", b"b c"), True)
    assert {line.title: line.text for line in folder_lines(folder)} == {
        "tcpdl": "tcpdl mirror h:81/a/b%20c 'b c'",
        "tar": "curl -f 'http://h:81/a/b%20c/?archive=tar' | tar x",
    }
    root = Place("http", "h:81", (), True)
    assert {line.title: line.text for line in folder_lines(root)} == {
        "tcpdl": "tcpdl mirror h:81/ files",
        "tar": "curl -f 'http://h:81/?archive=tar' | tar x",
    }


def test_the_client_is_fetched_checked_and_used() -> None:
    lines = client_lines(place(b"f"), "ab" * 32)
    assert [line.text for line in lines] == [
        "curl -fO http://h.example:8080/.well-known/tcpdl/tcpdl.pyz &&\n"
        rf"printf '%s\n' '{'ab' * 32}  tcpdl.pyz' | sha256sum -c &&"
        "\npython3 tcpdl.pyz get h.example:8080/f"
    ]
    folder = client_lines(Place("http", "h", (b"d",), True), "ab" * 32)
    assert folder[0].text.endswith("python3 tcpdl.pyz mirror h:80/d d")


def test_lines_for_what_is_asked_for_with_a_link() -> None:
    link = PageLink("until=99&signed=a-_b", 1)
    query = "?until=99&signed=a-_b"
    found = texts(Place("http", "h:81", (b"a", b"b?c"), False, link), b"\0" * 32)
    assert found["tcpdl"] == f"tcpdl get 'h:81/a/b%3Fc{query}'"
    assert found["curl"] == f"curl -fo 'b?c' 'http://h:81/a/b%3Fc{query}'"
    assert found["wget"] == f"wget -O 'b?c' 'http://h:81/a/b%3Fc{query}'"
    assert found["nc"] == f"printf '%s\\n' 'a/b?c{query}' | nc -N h 81 > 'b?c'"
    assert "signed" not in found["check"]
    folder = Place("http", "h:81", (b"a",), True, link)
    assert {line.title: line.text for line in folder_lines(folder)} == {
        "tcpdl": f"tcpdl mirror 'h:81/a{query}' a",
        "tar": f"curl -f 'http://h:81/a/{query}&archive=tar' | tar x",
    }

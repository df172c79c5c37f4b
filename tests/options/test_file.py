"""Tests `options.file`: what a file of settings says, and what is said of one that is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.options.daemon import Options
from tcpdl.options.file import FILE_MOST, UNKNOWN_MOST, parse, read_file
from tcpdl.options.known import Known
from tcpdl.options.settings import Problem, Setting

KNOWN: Known = Options({}).known


def said(text: str | bytes) -> list[tuple[int, str, Any]]:
    """The settings, with their lines."""
    content = text.encode() if isinstance(text, str) else text
    found = list(parse(content, "f", KNOWN))
    assert [one for one in found if isinstance(one, Problem)] == []
    return [(one.origin.line, one.name, one.value) for one in found if isinstance(one, Setting)]


def wrong(text: str | bytes) -> list[str]:
    """What is wrong."""
    content = text.encode() if isinstance(text, str) else text
    return [str(one) for one in parse(content, "f", KNOWN) if isinstance(one, Problem)]


def test_settings() -> None:
    text = """
        # the port
        port = 9000
        max-accepts = "100"
        quiet-period = 1_0
        "root" = '/srv/files'
        listen = [
            "tcp:8081", # another

            "unix:/run/a.sock",
        ]
        http-host = "one.example"
        hidden = true
        index = false
        max-rate = "50M"
        max-rate-per-address = 400000
    """
    assert said(text) == [
        (3, "port", "9000"),
        (4, "max-accepts", "100"),
        (5, "quiet-period", "10"),
        (6, "root", "/srv/files"),
        (8, "listen", "tcp:8081"),
        (10, "listen", "unix:/run/a.sock"),
        (12, "http-host", "one.example"),
        (13, "hidden", True),
        (14, "index", False),
        (15, "max-rate", "50M"),
        (16, "max-rate-per-address", "400000"),
    ]


def test_how_files_are_saved() -> None:
    assert said(b"\xef\xbb\xbfport = 1\r\n\r\nroot = 'a'\r\n") == [
        (1, "port", "1"),
        (3, "root", "a"),
    ]
    assert said("") == said("# nothing") == []


def test_roots() -> None:
    text = """
        [roots]
        docs = "/srv/docs"
        "two words" = "b"
        inline = { path = "c", symlinks = "never" }
        [roots.music]
        path = "/srv/music"
        hidden = true
        symlinks = "inside"
        rules = "music.rules"
        [roots.plain]
        path = "d"
        hidden = false
    """
    assert said(text) == [
        (3, "mount", "docs=/srv/docs"),
        (4, "mount", "two words=b"),
        (5, "mount", "inline=c"),
        (5, "mount-symlinks", "inline=never"),
        (7, "mount", "music=/srv/music"),
        (8, "mount-hidden", "music"),
        (9, "mount-symlinks", "music=inside"),
        (10, "mount-rules", "music=music.rules"),
        (12, "mount", "plain=d"),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\nmax-conections = 5", "f, line 2: max-conections is no option; did you mean max-conn"),
        ("Max_Connections = 5", "f, line 1: Max_Connections is no option; did you mean max-conn"),
        ("zzz = 5", "f, line 1: zzz is no option; tcpdl serve --help lists them"),
        ("config = 'x'", "f, line 1: config stands on the command line only"),
        (
            "[tls]\ncert = 'x'",
            "f, line 1: tls takes a text in quotes, not a table; did you mean tls-cert?",
        ),
        ("[max]\nrate = 1", "f, line 1: there is no table [max]; did you mean max-rate?"),
        ("[other]\n", "f, line 1: there is no table [other]; options stand at the top, in no t"),
        (
            "[mount]\na='b'",
            "f, line 1: mount takes a list of texts in quotes, not a table; folders",
        ),
        ("; a comment", "f, line 1: not valid TOML: invalid statement; write NAME = VALUE; a comm"),
        ("listen = 'a', 'b'", "f, line 1: not valid TOML: expected newline or end of document aft"),
        (
            "root = 'a\nport = 1",
            'f, line 1: not valid TOML: expected "\'"; close the quotes in the',
        ),
        ("\nhidden = 'yes'", "f, line 2: hidden takes true or false, not a text"),
        ("hidden = 1", "f, line 1: hidden takes true or false, not 1"),
        ("port = true", "f, line 1: port takes a number, or a text in quotes, not true"),
        ("port = [80]", "f, line 1: port takes a number, or a text in quotes, not a list"),
        ("root = 5", "f, line 1: root takes a text in quotes, not 5"),
        ("root = 1979-05-27", "f, line 1: root takes a text in quotes, not a date"),
        ("\nroot = '\0'", "f, line 2: not valid TOML: "),
        ('root = "\\u0000"', "f, line 1: root has a NUL character"),
        ("listen = [\n'a',\n\n5]", "f, line 4: listen takes a list of texts in quotes, and this"),
        ("listen = 5", "f, line 1: listen takes a list of texts in quotes, not 5"),
        ("port = 1\n\nport = 2", "f, line 3: port is there already, in line 1; keep one of them"),
        ("[roots]\na='b'\n[roots]", "f, line 3: roots is there already, in line 1"),
        ("port = 1\nroot = /srv", "f, line 2: not valid TOML: invalid value; texts stand in quo"),
        ("hidden = True", "f, line 1: not valid TOML: invalid value; texts stand in quotes; true"),
        ("\nport: 8080", "f, line 2: not valid TOML: expected '=' after a key in a key/value pair"),
        ('root = "C:\\srv"', "f, line 1: not valid TOML: unescaped '\\' in a string; write the"),
        ("a = 1\nlisten = [\n\n'b'\n\n", "f, line 4: not valid TOML: "),
        (b"port = 1\n# caf\xe9", "f, line 2: it is not UTF-8; save it as that"),
        ("a = " + "[" * 100_000, "f, line 1: a key has more than 16 parts or levels; those of set"),
        ("\na" + ".a" * 100_000 + " = 1", "f, line 2: a key has more than 16 parts or levels"),
        ("[a" + ".a" * 100_000 + "]", "f, line 1: a key has more than 16 parts or levels"),
        ("a = " + "{a=" * 1000 + "1" + "}" * 1000, "f, line 1: a key has more than 16 parts"),
        ("\nmax.rate = 1", "f, line 2: there is no table [max]; did you mean max-rate?"),
        ("roots = 5", "f, line 1: roots is a table: [roots]"),
        ("[roots]\ndocs = 5", "f, line 2: roots.docs is a folder, which takes a text in quotes"),
        (
            "[roots]\na = 'b'\nport = 5",
            "f, line 3: roots.port is a folder, which takes a text in quotes, or a table with a "
            "path; if the option is meant: it stands above [roots]",
        ),
        ("[roots.a]\nhidden = true", 'f, line 1: roots.a has no path; write path = "/srv/a"'),
        ("[roots.a]\npath = 'b'\nx = 1", "f, line 3: a folder of [roots] has no 'x'; it has path"),
        ("[roots.a]\npath = 5", "f, line 2: roots.a.path takes a text in quotes"),
        ("[roots.a]\npath='b'\nhidden='x'", "f, line 3: roots.a.hidden takes true or false"),
    ],
    ids=range(41),
)
def test_what_is_wrong_is_named(text: str | bytes, problem: str) -> None:
    (found,) = wrong(text)
    assert found[: len(problem)] == problem
    assert "\n" not in found


def test_all_that_is_wrong_is_named() -> None:
    text = "port = true\nhidden = 1\nx = 5\n[roots]\na = 1"
    assert [one.partition(":")[0] for one in wrong(text)] == [
        *("f, line 1", "f, line 2", "f, line 3", "f, line 5"),
    ]


@given(st.binary(max_size=60) | st.text(alphabet="port=[]'\"\n #a1.", max_size=40).map(str.encode))
def test_any_content(content: bytes) -> None:
    for one in parse(content, "f", KNOWN):
        assert one.origin.source == "f"


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "f"
    assert [str(one) for one in read_file(str(path), KNOWN).problems] == [
        f"{path}: there is no such file"
    ]
    (tmp_path / "folder").mkdir()
    (problem,) = read_file(str(tmp_path / "folder"), KNOWN).problems
    assert str(problem) == f"{tmp_path}/folder: it is a folder, and no file"
    path.write_text("port = 1")
    (tmp_path / "link").symlink_to(path)
    assert len(read_file(str(tmp_path / "link"), KNOWN).settings) == 1
    os.mkfifo(tmp_path / "pipe")
    (problem,) = read_file(str(tmp_path / "pipe"), KNOWN).problems
    assert problem.text == "it is not a regular file"
    path.write_bytes(b"#" * (FILE_MOST + 1))
    assert [one.text for one in read_file(str(path), KNOWN).problems] == [
        f"it has more than {FILE_MOST} bytes"
    ]


def test_a_file_that_is_something_else() -> None:
    found = wrong("".join(f"x{number} = 1\n" for number in range(UNKNOWN_MOST + 1000)))
    assert len(found) == UNKNOWN_MOST + 1
    assert found[-1] == "f: 1000 more keys are no options; is it the right file?"


def test_what_others_may_do_is_told(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("auth = ['users:u']\n")
    path.chmod(0o644)
    assert read_file(str(path), KNOWN).warnings == []
    path.write_text("\nauth = ['users:u', 'memory:ann:secret']\n")
    assert read_file(str(path), KNOWN).warnings == [
        f"{path}, line 2: auth has a secret, and anyone can read it; chmod o-r ends that"
    ]
    path.chmod(0o642)
    assert len(read_file(str(path), KNOWN).warnings) == 1
    path.chmod(0o640)
    assert read_file(str(path), KNOWN).warnings == []


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000])
def test_numbers_that_python_does_not_write(tmp_path: Path, number: str) -> None:
    path = tmp_path / "tcpdl.toml"
    path.write_text(f"\nport = {number}\n")
    (problem,) = read_file(str(path), KNOWN).problems
    assert str(problem).startswith(f"{path}, line 2: a number has thousands of digits")

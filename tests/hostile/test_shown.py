"""Tests that nothing a command prints controls a terminal: not what a hostile server names or says,
and not what stands on the command line, which may come from a server's list.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tcpdl.cli import main
from tcpdl.client import patience
from tcpdl.client.progress import ProgressLine
from tcpdl.options.daemon import Options
from tcpdl.service import makeService
from tcpdl.wire import native
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, LISTED, Entry
from tcpdl.wire.text import visible
from tests.client.http.web_server import Asked, WebServer
from tests.client.mirror.conftest import Honest, Make, Server
from tests.hostile.texts import texts

TEXTS = list(dict.fromkeys(texts()))
WORDS = [os.fsdecode(text) for text in TEXTS]

Said = Callable[..., str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(patience, "PAUSES", (0.0, 0.0))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs a command; what it prints, each line of which can be seen."""

    def run(*words: str, command: Callable[[list[str]], object] = main) -> str:
        with suppress(SystemExit):
            command(list(words))
        printed = "".join(capsys.readouterr())
        for line in printed.split("\n"):
            assert line.isprintable(), (words, line)
        return printed

    return run


@contextmanager
def native_server(answer: Callable[[Any], Iterable[bytes]]) -> Iterator[str]:
    """The address of a server that gives these answers."""
    server = Server(answer)
    try:
        yield server.location.server
    finally:
        server.close()
    assert server.failure is None


def test_names_of_a_server(said: Said, here: Path) -> None:
    make = Make()
    entries = [make.folder("d")]
    for number, text in enumerate(TEXTS):
        for kind in (FILE, LISTED, FOLDER, LINK, LEFT_OUT):
            content = text if kind in (FILE, LINK, LEFT_OUT) else b""
            size = len(content) if kind == FILE else 0
            name = b"d/%d-%d-" % (kind, number) + text
            entries.append(Entry(kind, name, 0o644, size, 1, content))
            entries.append(Entry(kind, b"d/%d-%d" % (kind, number), 0o644, size, 1, content))
    with native_server(Honest(entries)) as where:
        assert said("ls", where).count("\n") == len(entries)
        assert said("ls", "-R", where).count("\n") == len(entries)
        assert said("ls", "--json", where).count("\n") == len(entries)
        for options in ([], ["-v"], ["-n"], ["--links", "-v"], ["-n", "--delete", "--checksum"]):
            assert "left out" in said("mirror", f"{where}/d", "there", *options)
        assert said("verify", where, "there")
    assert not [name for name in os.listdir(here / "there") if not name.isprintable()]


@pytest.mark.parametrize("code", [native.ABSENT, native.REFUSED, native.IS_FOLDER, 99])
def test_sentences_of_a_server(said: Said, code: int) -> None:
    make = Make()
    at: list[str] = []

    def answer(request: Any) -> Iterable[bytes]:
        return [make.error(request.id, code, at[0])]

    with native_server(answer) as where:
        for text in TEXTS:
            at[:] = [text.decode("utf-8", "replace")]
            quoted = "".join(f"%{byte:02x}" for byte in text)
            assert said("ls", f"{where}/{quoted}").startswith("tcpdl: ")
            if code < native.FATAL:
                assert said("get", f"{where}/{quoted}", "--connections", "1").startswith("tcpdl: ")


def test_web_servers(said: Said) -> None:
    server = WebServer()
    at: list[bytes] = []

    def hook(asked: Asked) -> Iterable[bytes]:
        end = b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        line = at[0].replace(b"\n", b"").replace(b"\r", b"")
        return [
            {
                "/status": b"HTTP/1.1 404 " + line + end,
                "/redirect": b"HTTP/1.1 302 Found\r\nLocation: http://[" + line + end,
                "/path": b"HTTP/1.1 302 Found\r\nLocation: ftp:" + line + end,
                "/coding": b"HTTP/1.1 200 OK\r\nContent-Encoding: " + line + end,
            }[asked.target]
        ]

    server.hook = hook
    try:
        for text in TEXTS:
            at[:] = [text]
            for target in ("status", "redirect", "path", "coding"):
                url = f"http://127.0.0.1:{server.port}/{target}"
                said("get", url, "-o", "-", "--timeout", "2", "--connections", "1")
    finally:
        server.close()


COMMANDS = [
    ["{}"],
    ["get", "{}"],
    ["get", "--{}"],
    ["get", "--dialect={}", "localhost:1/x"],
    ["get", "--digest", "{}", "localhost:1/x"],
    ["get", "--connections", "{}", "localhost:1/x"],
    ["get", "--timeout", "{}", "localhost:1/x"],
    ["get", "{}://localhost:1/x"],
    ["get", "localhost:{}/x"],
    ["get", "[{}]:1/x"],
    ["get", "127.0.0.1:1/{}"],
    ["get", "http://127.0.0.1:1/{}"],
    ["get", "127.0.0.1:1/{}", "127.0.0.1:1/x/{}"],
    ["get", "127.0.0.1:1/x", "-o", "absent/{}"],
    ["get", "127.0.0.1:1/x", "-d", "/dev/null/{}"],
    ["mirror", "127.0.0.1:1/{}", "{}"],
    ["mirror", "127.0.0.1:1/x", "/dev/null/{}"],
    ["mirror", "127.0.0.1:1/x", "y", "--exclude", "[{}"],
    ["ls", "127.0.0.1:1/{}"],
    ["verify", "127.0.0.1:1/x", "{}"],
    ["echo", "{}:1", "x"],
    ["echo", "127.0.0.1:1", "{}"],
    ["echo", "127.0.0.1:1", "x", "--encoding", "{}"],
    ["passwd", "absent/{}", "{}", "--token"],
    ["link", "{}", "--for", "{}"],
    ["link", "x", "--for", "1h", "--key", "absent/{}"],
    ["link", "--new-key", "absent/{}"],
    ["serve", "{}"],
    ["serve", "--{}"],
    ["serve", "--port", "{}"],
    ["serve", "--interface", "{}"],
    ["serve", "--listen", "{}"],
    ["serve", "--listen", "unix:absent/{}"],
    ["serve", "--symlinks", "{}"],
    ["serve", "--name-encodings", "{}"],
    ["serve", "--port", "0", "--echo-port", "0", "--echo-reply", "x", "--echo-encoding", "{}"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_command_lines(said: Said, command: list[str]) -> None:
    for word in WORDS:
        assert said(*(part.replace("{}", word) for part in command))


def twistd(words: list[str]) -> None:
    """What twistd does with the options of its plugin."""
    options = Options()
    options.parent = {}  # type: ignore[assignment]  # not None: so it is below twistd
    options.parseOptions(words)
    makeService(options)


@pytest.mark.parametrize("command", [part[1:] for part in COMMANDS if part[0] == "serve"][1:])
def test_options_below_twistd(said: Said, command: list[str]) -> None:
    for word in WORDS:
        line = said(*(part.replace("{}", word) for part in command), command=twistd)
        assert line.startswith("tcpdl: ")
        assert line.count("\n") == 1


def test_notes_above_a_progress_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = ProgressLine("x")
    for word in WORDS:
        line.say(word)
    line.close()
    printed = capsys.readouterr().err
    assert printed.count("\n") == len(WORDS)
    assert printed.replace("\n", "").isprintable()


def test_what_can_be_seen_stays() -> None:
    assert visible("größe 下载 C:\\x\\n'") == "größe 下载 C:\\x\\n'"
    assert visible("a\x1b[31m\n\u202eb\udcff") == r"a\x1b[31m\n\u202eb\xff"

"""Tests that curl is refused what is not handed out, and what is not done here, at once."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import PROT_READ, mmap
from pathlib import Path

import pytest

from tests.daemons import SECONDS, Daemon, daemon_of
from tests.programs.conftest import CANARY, CURL, SAY_STATUS, Run, bytes_of, needs

pytestmark = needs("curl")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("-T", "{big}"), 405),
        (("-T", "-"), 405),  # chunked
        (("-d", "@{big}"), 405),
        (("-d", "a=b"), 405),
        (("-d", "@{big}", "-H", "Expect:"), 405),  # which does not wait for leave
        (("-d", "@{big}", "-H", "Transfer-Encoding: chunked"), 405),
        (("-F", "file=@{big}"), 405),
        (("-X", "DELETE"), 405),
        (("-X", "TRACE"), 405),
        (("-X", "PROPFIND"), 501),
        (("-X", "get"), 501),
        (("-X", "GET", "-d", "@{big}"), 413),
    ],
)
def test_methods(
    daemon: Daemon, run: Run, tmp_path: Path, arguments: tuple[str, ...], status: int
) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes_of(300_000))
    filled = [argument.replace("{big}", str(big)) for argument in arguments]
    url = f"{daemon.url}/hello.txt"
    ran = run(*CURL, "--expect100-timeout", str(SECONDS), *filled, *SAY_STATUS, url, data=b"x" * 99)
    assert ran.out.startswith(str(status).encode())
    assert (daemon.root / "hello.txt").read_bytes() == b"hello\n"


def test_options(daemon: Daemon, run: Run) -> None:
    ran = run(*CURL, "-X", "OPTIONS", "--request-target", "*", "-i", daemon.url)
    assert ran.out.startswith(b"HTTP/1.1 204 ")
    assert b"Allow: GET, HEAD, OPTIONS\r\n" in ran.out


def test_a_body_that_nobody_asked_for_is_passed_over(daemon: Daemon, run: Run) -> None:
    """The next request is found behind it."""
    url = f"{daemon.url}/hello.txt"
    more = ("--next", "-sS", "-w", "%{num_connects}", url)
    ran = run(*CURL, "-X", "GET", "-d", "GET /secret HTTP/1.1", url, *more)
    assert ran.out == b"hello\nhello\n0"


CLIMBING = [
    *("../outside/secret", "tree/../../outside/secret", "tree/../hello.txt", "tree/.."),
    *("%2e%2e/outside/secret", "%2E%2E%2Foutside%2Fsecret", "..%2foutside/secret"),
    *(".%2e/outside/secret", "tree/..%2f..%2foutside/secret", "..%5coutside%5csecret"),
    *("..%00/outside/secret", "..;/outside/secret", "%252e%252e/outside/secret"),
    *("....//outside/secret", "..\\outside\\secret", "%c0%ae%c0%ae/outside/secret"),
    *("//../outside/secret", "./../outside/secret", "/proc/self/environ", "/etc/passwd"),
    *("hello.txt/..", "hello.txt/../hello.txt", "../root/hello.txt", "..?archive=tar", ".."),
]
HIDDEN = [".hidden", "%2ehidden", ".hidden-folder/file", ".hidden-folder/", ".hidden?info"]
ODD = [
    *("link-out", "link-absolute", "link-to-folder-out/secret", "link-to-folder-out/"),
    *("link-dangling", "link-loop", "link-to-device", "fifo", "socket", "fifo?download"),
    *("fifo?info", "missing", "link-out?info", "link-out?download", "link-out/?archive=tar"),
    *("hello.txt/", "hello.txt%00.html", "hello.txt%2f", "tree%2ffile0.txt"),
]


@pytest.fixture(scope="module")
def daemon_that_hides_nothing(daemon: Daemon) -> Iterator[Daemon]:
    """One for which names that begin with a dot are names like any other."""
    with daemon_of(daemon.root, "--hidden") as running:
        yield running


def assert_refused(daemon: Daemon, run: Run, work: Path, path: str) -> None:
    url = f"{daemon.url}/{path}"
    for more in ((), ("-r", "0-9"), ("--http1.0",)):
        assert run(*CURL, "--path-as-is", *more, *SAY_STATUS, url).out[:3] in (b"404", b"400")
        assert CANARY[:6] not in (work / "body").read_bytes()
        assert b"hello\n" not in (work / "body").read_bytes()
    assert run(*CURL, "--path-as-is", "-I", *SAY_STATUS, url).out[:3] in (b"404", b"400")


@pytest.mark.parametrize("path", CLIMBING + HIDDEN + ODD)
def test_what_is_not_handed_out(daemon: Daemon, run: Run, work: Path, path: str) -> None:
    assert_refused(daemon, run, work, path)


@pytest.mark.parametrize("path", CLIMBING + ODD)
def test_what_is_not_handed_out_where_nothing_is_hidden(
    daemon_that_hides_nothing: Daemon, run: Run, work: Path, path: str
) -> None:
    assert_refused(daemon_that_hides_nothing, run, work, path)


def test_folders_hold_nothing_of_it(daemon: Daemon, run: Run, work: Path) -> None:
    for query in ("", "?format=json", "?archive=tar", "?archive=zip", "?sums=sha256"):
        run(*CURL, "-f", "-o", "body", f"{daemon.url}/{query}")
        with (work / "body").open("rb") as file, mmap(file.fileno(), 0, prot=PROT_READ) as body:
            assert body.find(b"hello.txt") >= 0
            for word in (CANARY[:6], b".hidden", b"secret"):
                assert body.find(word) < 0, (query, word)
    (work / "body").unlink()

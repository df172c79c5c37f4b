"""Tests curl against the daemon: files whole, in ranges, continued, under any name, and refused."""

from __future__ import annotations

import gzip
import json
import re
from email import message_from_bytes
from email.message import Message
from filecmp import cmp
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.daemons import Daemon, daemon_of
from tests.programs.conftest import CURL, NAMES, SAY_STATUS, Run, age, needs, path_in

pytestmark = needs("curl")


def test_a_file(daemon: Daemon, run: Run, work: Path) -> None:
    assert run(*CURL, "-f", f"{daemon.url}/hello.txt").out == b"hello\n"
    assert run(*CURL, "-f", f"{daemon.url}/empty").out == b""
    run(*CURL, "-f", "-o", "medium", f"{daemon.url}/medium")
    assert cmp(work / "medium", daemon.root / "medium", shallow=False)


def test_a_large_file(daemon: Daemon, run: Run, work: Path) -> None:
    run(*CURL, "-f", "-o", "huge", f"{daemon.url}/huge")
    assert cmp(work / "huge", daemon.root / "huge", shallow=False)
    (work / "huge").unlink()


def test_a_slow_client_gets_all(daemon: Daemon, run: Run, work: Path) -> None:
    run(*CURL, "-f", "--limit-rate", "3M", "-o", "medium", f"{daemon.url}/medium")
    assert cmp(work / "medium", daemon.root / "medium", shallow=False)


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2"])
def test_versions(daemon: Daemon, run: Run, version: str) -> None:
    """Of the last, only an offer to change to it is made, and not taken."""
    ran = run(*CURL, "-f", version, "-w", "%{http_version}", f"{daemon.url}/hello.txt")
    assert ran.out == b"hello\n1.1"


def test_the_head_alone_says_what_the_answer_would(daemon: Daemon, run: Run) -> None:
    head = run(*CURL, "-f", "-I", f"{daemon.url}/medium").out.decode()
    got = run(*CURL, "-f", "-o", "medium", "-D", "-", f"{daemon.url}/medium").out.decode()
    without_date = re.compile(r"Date: [^\r]*\r\n")
    assert without_date.sub("", head) == without_date.sub("", got)
    assert "Content-Length: 3000001\r\n" in head
    assert "Last-Modified: Sun, 13 Sep 2020 12:26:40 GMT\r\n" in head


def test_several_files_over_one_connection(daemon: Daemon, run: Run, work: Path) -> None:
    names = ["hello.txt", "empty", "missing", "medium", "hello.txt"]
    command: list[str] = [*CURL, "-w", "%{num_connects} "]
    for number, name in enumerate(names):
        command += ["-o", str(number), f"{daemon.url}/{name}"]
    assert run(*command).out == b"1 0 0 0 0 "
    for number, name in enumerate(names):
        if name != "missing":
            assert cmp(work / str(number), daemon.root / name, shallow=False)


def test_in_parallel(daemon: Daemon, run: Run, work: Path) -> None:
    run(*CURL, "-f", "-Z", f"{daemon.url}/tree/file[0-19].txt", "-o", "#1")
    for number in range(20):
        assert cmp(work / str(number), daemon.root / f"tree/file{number}.txt", shallow=False)


# Ranges.


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        *(("0-0", 0, 1), ("1000-70000", 1000, 70001), ("-5", 2_999_996, 3_000_001)),
        *(("2999999-", 2_999_999, 3_000_001), ("2999999-9999999", 2_999_999, 3_000_001)),
        *(("0-", 0, 3_000_001), ("-9999999", 0, 3_000_001)),
    ],
)
def test_a_range(daemon: Daemon, run: Run, asked: str, start: int, end: int) -> None:
    whole = (daemon.root / "medium").read_bytes()
    ran = run(*CURL, "-f", "-r", asked, "-D", "head", f"{daemon.url}/medium", "-o", "-")
    assert ran.out == whole[start:end]
    head = run("cat", "head").out.decode()
    assert head.startswith("HTTP/1.1 206 ")
    assert f"Content-Range: bytes {start}-{end - 1}/{len(whole)}\r\n" in head


def test_several_ranges(daemon: Daemon, run: Run) -> None:
    whole = (daemon.root / "medium").read_bytes()
    asked = "100-199,1000000-1499999,-7"
    ran = run(*CURL, "-f", "-r", asked, "-D", "head", f"{daemon.url}/medium", "-o", "-")
    head = run("cat", "head").out
    assert head.startswith(b"HTTP/1.1 206 ")
    fields = head.partition(b"\r\n")[2]
    parts = message_from_bytes(fields + ran.out).get_payload()
    assert isinstance(parts, list)
    ranges = [(100, 200), (1_000_000, 1_500_000), (len(whole) - 7, len(whole))]
    assert len(parts) == len(ranges)
    assert message_from_bytes(fields)["Content-Length"] == str(len(ran.out))
    boundary = message_from_bytes(fields).get_boundary()
    assert boundary is not None
    # The parser of mail changes the line ends of what it parses, so the bytes are cut out here.
    *pieces, tail = ran.out.split(b"--" + boundary.encode())[1:]
    assert tail == b"--\r\n"
    for part, piece, (start, end) in zip(parts, pieces, ranges, strict=True):
        assert isinstance(part, Message)
        assert part["Content-Range"] == f"bytes {start}-{end - 1}/{len(whole)}"
        assert piece.partition(b"\r\n\r\n")[2] == whole[start:end] + b"\r\n"


@pytest.mark.parametrize("asked", ["3000001-", "9999999-99999999"])
def test_a_range_beyond_the_end(daemon: Daemon, run: Run, asked: str) -> None:
    ran = run(*CURL, "-r", asked, "-D", "-", "-o", "body", f"{daemon.url}/medium")
    assert ran.out.startswith(b"HTTP/1.1 416 ")
    assert b"Content-Range: bytes */3000001\r\n" in ran.out


@pytest.mark.parametrize("have", [1, 1_234_567, 3_000_000])
def test_a_download_that_was_cut_off_is_continued(
    daemon: Daemon, run: Run, work: Path, have: int
) -> None:
    (work / "medium").write_bytes((daemon.root / "medium").read_bytes()[:have])
    ran = run(*CURL, "-f", "-C", "-", "-O", "-w", "%{size_download}", f"{daemon.url}/medium")
    assert ran.out == str(3_000_001 - have).encode()
    assert cmp(work / "medium", daemon.root / "medium", shallow=False)


def test_a_download_that_is_complete_is_not_made_again(
    daemon: Daemon, run: Run, work: Path
) -> None:
    (work / "medium").write_bytes((daemon.root / "medium").read_bytes())
    # What comes with the 416 is not to be written, whatever else curl makes of it.
    run(*CURL, "-C", "-", "-O", f"{daemon.url}/medium")
    assert cmp(work / "medium", daemon.root / "medium", shallow=False)


# Only if it changed.


def test_what_has_not_changed_is_not_sent_again(
    run: Run, work: Path, tmp_path: Path, daemon: Daemon
) -> None:
    url = f"{daemon.url}/hello.txt"
    run(*CURL, "-f", "--etag-save", "tag", "-o", "first", url)
    assert re.fullmatch(rb'"[\w-]+"\n', (work / "tag").read_bytes())
    assert run(*CURL, "--etag-compare", "tag", *SAY_STATUS, url).out.startswith(b"304 0 ")
    (work / "tag").write_text('"another"\n')
    assert run(*CURL, "--etag-compare", "tag", *SAY_STATUS, url).out.startswith(b"200 6 ")


def test_times(daemon: Daemon, run: Run, work: Path) -> None:
    url = f"{daemon.url}/hello.txt"
    run(*CURL, "-f", "-R", "-o", "copy", url)  # with the server's time
    assert (work / "copy").stat().st_mtime == (daemon.root / "hello.txt").stat().st_mtime
    assert run(*CURL, "-z", "copy", *SAY_STATUS, url).out.startswith(b"304 0 ")
    assert run(*CURL, "-z", "13 Sep 2020 12:26:39 GMT", *SAY_STATUS, url).out.startswith(b"200 6 ")
    # curl makes a 304 of what is answered to its own kind of this question.
    for second, status in ((39, b"412"), (40, b"200"), (41, b"200")):
        field = f"If-Unmodified-Since: Sun, 13 Sep 2020 12:26:{second} GMT"
        assert run(*CURL, "-H", field, *SAY_STATUS, url).out.startswith(status)


def test_a_file_that_is_replaced_is_sent_anew(run: Run, tmp_path: Path, work: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    file = root / "file"
    with daemon_of(root) as daemon:
        for content in (b"one", b"two", b"six"):
            (root / "new").write_bytes(content)
            (root / "new").rename(file)
            run(
                *(*CURL, "--etag-compare", "tag", "--etag-save", "tag"),
                *("-f", "-o", "got", f"{daemon.url}/file"),
            )
            assert (work / "got").read_bytes() == content
        file.unlink()
        assert run(*CURL, *SAY_STATUS, f"{daemon.url}/file").out.startswith(b"404 ")


# Names.


@pytest.mark.parametrize("name", NAMES)
def test_names(daemon: Daemon, run: Run, work: Path, name: bytes) -> None:
    ran = run(*CURL, "-f", "-o", "got", f"{daemon.url}/names/{quote(name, safe='')}")
    assert ran.out == b""
    assert (work / "got").read_bytes() == path_in(daemon.root / "names", name).read_bytes()


def test_names_that_are_not_escaped(daemon: Daemon, run: Run) -> None:
    """Some programs send them as they were typed."""
    for name in ("下载文件.txt".encode(), b"latin-\xe9.txt", b"c++.txt", b"semi;colon&and=.txt"):
        url = f"{daemon.url}/names/".encode() + name
        assert run(*CURL, "-f", url).out == b"this is " + name


def test_a_name_to_save_under(daemon: Daemon, run: Run, work: Path) -> None:
    escaped = quote("下载文件.txt")
    # curl knows `filename`, not `filename*`, so the name is a stand-in that is fit for any disk.
    run(*CURL, "-f", "-OJ", "-D", "head", f"{daemon.url}/names/{escaped}?download")
    head = (work / "head").read_bytes().decode()
    assert f"filename*=UTF-8''{escaped}\r\n" in head
    (saved,) = [path for path in work.iterdir() if path.name != "head"]
    assert re.fullmatch(r"[ -~]+\.txt", saved.name)
    assert saved.read_bytes() == "this is 下载文件.txt".encode()
    run(*CURL, "-f", "-OJ", f"{daemon.url}/hello.txt?download")
    assert (work / "hello.txt").read_bytes() == b"hello\n"


def test_a_redirect_to_the_folder(daemon: Daemon, run: Run) -> None:
    ran = run(*CURL, "-f", "-L", "-w", "%{url_effective}", f"{daemon.url}/tree/sub?format=json")
    listing, _, url = ran.out.rpartition(b"\n")
    assert url.decode() == f"{daemon.url}/tree/sub/?format=json"
    assert json.loads(listing)["path"] == "/tree/sub/"


# Compressed files beside the files.


def test_compressed_siblings(run: Run, tmp_path: Path, work: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    text = b"the same over and over\n" * 10_000
    (root / "page.txt").write_bytes(text)
    (root / "page.txt.gz").write_bytes(gzip.compress(text))
    (root / "alone.txt").write_bytes(text)
    age(root)
    said = ("-o", "got", "-D", "-", "-f", "-w", "%{size_download}")
    with daemon_of(root, "--precompressed") as daemon:
        ran = run(*CURL, "--compressed", *said, f"{daemon.url}/page.txt").out.decode()
        assert "Content-Encoding: gzip\r\n" in ran
        assert ran.endswith(f"\n{(root / 'page.txt.gz').stat().st_size}")
        assert (work / "got").read_bytes() == text
        for arguments in ((f"{daemon.url}/page.txt",), ("--compressed", f"{daemon.url}/alone.txt")):
            ran = run(*CURL, *said, *arguments).out.decode()
            assert "Content-Encoding" not in ran
            assert ran.endswith(f"\n{len(text)}")
            assert (work / "got").read_bytes() == text
        # What is asked for under its own name is a file like any other.
        run(*CURL, "--compressed", *said, f"{daemon.url}/page.txt.gz")
        assert (work / "got").read_bytes() == (root / "page.txt.gz").read_bytes()

"""Tests wget against the daemon: continuing, by time, under a name it is told, and whole trees."""

from __future__ import annotations

from filecmp import cmp
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.daemons import SECONDS, Daemon, daemon_of
from tests.programs.conftest import Run, fill, needs

pytestmark = needs("wget")

WGET = ("wget", "--tries=1", f"--timeout={SECONDS}", "--local-encoding=UTF-8")


def test_a_file(daemon: Daemon, run: Run, work: Path) -> None:
    run(*WGET, f"{daemon.url}/medium")
    assert cmp(work / "medium", daemon.root / "medium", shallow=False)
    assert (work / "medium").stat().st_mtime == (daemon.root / "medium").stat().st_mtime


@pytest.mark.parametrize("have", [1, 1_234_567, 3_000_000])
def test_a_broken_download_is_continued(daemon: Daemon, run: Run, work: Path, have: int) -> None:
    (work / "medium").write_bytes((daemon.root / "medium").read_bytes()[:have])
    said = run(*WGET, "-c", "-S", f"{daemon.url}/medium").err
    assert "HTTP/1.1 206 Partial Content" in said
    assert f"Content-Length: {3_000_001 - have}\n" in said
    assert cmp(work / "medium", daemon.root / "medium", shallow=False)


def test_what_is_complete_is_left(daemon: Daemon, run: Run, work: Path) -> None:
    (work / "medium").write_bytes((daemon.root / "medium").read_bytes())
    said = run(*WGET, "-c", f"{daemon.url}/medium").err
    assert "416 Range Not Satisfiable" in said
    assert "already fully retrieved" in said
    assert cmp(work / "medium", daemon.root / "medium", shallow=False)


@pytest.mark.parametrize("option", ["--timestamping", "-N"])
def test_what_is_not_newer_is_not_sent_again(
    daemon: Daemon, run: Run, work: Path, option: str
) -> None:
    url = f"{daemon.url}/medium"
    assert "HTTP/1.1 200 OK" in run(*WGET, option, "-S", url).err
    assert "HTTP/1.1 304 Not Modified" in run(*WGET, option, "-S", url).err
    said = run(*WGET, option, "-S", "--no-if-modified-since", url).err  # asks with HEAD
    assert said.count("HTTP/1.1 200 OK") == 1
    assert "not modified" in said or "not retrieving" in said
    assert cmp(work / "medium", daemon.root / "medium", shallow=False)


@pytest.mark.parametrize("name", ["hello.txt", "names/with space.txt", "names/下载文件.txt"])
def test_the_name_that_is_told(daemon: Daemon, run: Run, work: Path, name: str) -> None:
    run(*WGET, "--content-disposition", f"{daemon.url}/{quote(name)}?download")
    (saved,) = work.iterdir()
    assert saved.name == Path(name).name
    assert cmp(saved, daemon.root / name, shallow=False)


@pytest.mark.parametrize("path", ["missing", "fifo", "link-out", "../outside/secret", ".hidden"])
def test_what_is_not_there(daemon: Daemon, run: Run, work: Path, path: str) -> None:
    said = run(*WGET, f"{daemon.url}/{path}", status=8).err  # the server issued an error
    assert "ERROR 404: Not Found" in said
    assert list(work.iterdir()) == []


def test_a_post(daemon: Daemon, run: Run) -> None:
    said = run(*WGET, "--post-data=a=b", f"{daemon.url}/hello.txt", status=8).err
    assert "ERROR 405: Method Not Allowed" in said


def test_a_spider(daemon: Daemon, run: Run) -> None:
    assert "Remote file exists" in run(*WGET, "--spider", f"{daemon.url}/huge").err
    run(*WGET, "--spider", f"{daemon.url}/missing", status=8)


# Trees, by the links of the pages.


def saved(top: Path) -> dict[str, Path]:
    return {str(path.relative_to(top)): path for path in top.rglob("*") if path.is_file()}


def test_a_tree_without_the_pages(daemon: Daemon, run: Run, work: Path) -> None:
    """What people ask for who have done this before."""
    tell = ("-r", "-np", "-nH", "--reject-regex=[?]", "-R", "index.html*")
    run(*WGET, *tell, f"{daemon.url}/tree/")
    got = saved(work)
    assert len(got) == 22
    for name, path in got.items():
        assert cmp(path, daemon.root / name, shallow=False)


def test_a_tree_with_all_that_the_pages_lead_to(run: Run, tmp_path: Path, work: Path) -> None:
    """It ends, has each file, and asks for each thing once: no link leads on and on."""
    root = tmp_path / "root"
    root.mkdir()
    fill(root)
    with daemon_of(root) as served:
        run(*WGET, "-r", "-np", "-nH", f"{served.url}/tree/")
        asked = [one.target for one in served.stop()]
    got = saved(work)
    files = saved(root / "tree")
    for name, path in files.items():
        assert cmp(work / "tree" / name, path, shallow=False)
    assert not [name for name in got if not name.startswith("tree/") and name != "robots.txt"]
    assert len(asked) == len(set(asked))
    folders = 3
    assert len(asked) <= len(files) + folders + 1  # robots.txt

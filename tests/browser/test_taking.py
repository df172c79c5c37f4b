"""Tests that what the pages offer is what is served: downloads, archives, lines for a shell."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import time
import urllib.request
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from tests.browser.conftest import HOSTILE, SECONDS, Site
from tests.browser.webdriver import Browser

LINES = """
    const found = {};
    for (const title of document.querySelectorAll('.ways h3'))
      found[title.innerText.split(/[, ]/)[0]] =
        title.nextElementSibling.querySelector('code').textContent;
    return found;
"""


def lines(page: Browser) -> dict[str, str]:
    """The lines for a shell, by the first word of what is said of them."""
    found = page.run(LINES)
    assert isinstance(found, dict)
    return found


def downloaded(page: Browser, name: str) -> bytes:
    """The bytes of a file that the browser was made to download, once they are all there."""
    end = time.monotonic() + SECONDS
    path = page.downloads / name
    while not path.exists() or not path.stat().st_size or [*page.downloads.glob("*.crdownload")]:
        assert time.monotonic() < end, os.listdir(page.downloads)
    content = path.read_bytes()
    path.unlink()
    return content


def bash(line: str, folder: Path) -> None:
    ran = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, timeout=60)
    assert ran.returncode == 0, ran


def test_a_file_is_downloaded(site: Site, page: Browser) -> None:
    page.open(f"{site.url}/")
    page.go("[action='file2.txt'] button")
    assert page.url == f"{site.url}/file2.txt?info="
    page.click(".button.first")
    assert downloaded(page, "file2.txt") == (site.root / "file2.txt").read_bytes()


def test_archives_hold_what_is_there(site: Site, page: Browser) -> None:
    page.open(f"{site.url}/sub/")
    expected = {
        "sub/small.txt": (site.root / "sub/small.txt").read_bytes(),
        "sub/deeper/large.bin": (site.root / "sub/deeper/large.bin").read_bytes(),
    }
    page.click("[value=tar]")
    with tarfile.open(fileobj=io.BytesIO(downloaded(page, "sub.tar"))) as tar:
        members = [member for member in tar if member.isfile()]
        found = {member.name: tar.extractfile(member) for member in members}
        assert {name: file.read() for name, file in found.items() if file} == expected
    page.click("[value=zip]")
    with zipfile.ZipFile(io.BytesIO(downloaded(page, "sub.zip"))) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        assert {name: archive.read(name) for name in names} == expected


def test_json_and_digests_are_what_is_linked(site: Site, page: Browser) -> None:
    page.open(f"{site.url}/sub/")
    asked = page.run(
        "return [...document.querySelectorAll('.links button')].map(b => `${b.name}=${b.value}`)"
    )
    with urllib.request.urlopen(f"{site.url}/sub/?{asked[0]}") as answer:
        digest = sha256((site.root / "sub/small.txt").read_bytes()).hexdigest()
        assert f"{digest}  small.txt\n" in answer.read().decode()
    with urllib.request.urlopen(f"{site.url}/sub/?{asked[2]}") as answer:
        listing = json.load(answer)
    assert listing["path"] == "/sub/"
    assert [entry["name"] for entry in listing["entries"]] == ["deeper", "small.txt"]


def test_page_of_a_file(site: Site, page: Browser) -> None:
    page.open(f"{site.url}/picture.png?info")
    content = (site.root / "picture.png").read_bytes()
    assert page.run("return document.querySelector('.facts code').textContent") == (
        sha256(content).hexdigest()
    )
    assert page.run("return document.querySelector('.preview img').naturalWidth") == 40
    page.press("Backspace")
    assert page.url == f"{site.url}/"


@pytest.mark.parametrize(
    ("program", "word"), [("curl", "curl"), ("wget", "wget"), ("nc", "nc"), ("python3", "Nothing")]
)
@pytest.mark.parametrize("name", ["names", "sub/small.txt"])
def test_lines_fetch_the_file_under_its_name(
    site: Site, page: Browser, tmp_path: Path, program: str, word: str, name: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    names = HOSTILE if name == "names" else [b"small.txt"]
    if program == "python3":
        names = names[:3]  # each begins a client, which takes a while
    folder = name.partition("/")[0]
    page.open(f"{site.url}/{folder}/")
    links = page.run("return [...document.querySelectorAll('td a')].map(a => a.href)")
    fetched = 0
    for link in links:
        if fetched == len(names):
            break
        page.open(link)
        offered = lines(page)
        if word not in offered:
            assert word == "nc"
            assert "%0A" in link
            continue
        bash(f"{offered[word]}\n{offered['Check']}", tmp_path)
        fetched += 1
    arrived = set(os.listdir(os.fsencode(tmp_path))) - {b"tcpdl.pyz"}
    assert len(arrived) == fetched
    assert arrived <= set(names if program != "python3" else [*HOSTILE, b"small.txt"])


@pytest.mark.parametrize("word", ["curl", "Nothing"])
def test_lines_fetch_the_folder(site: Site, page: Browser, tmp_path: Path, word: str) -> None:
    for program in ("curl", "tar", "python3"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    page.open(f"{site.url}/sub/")
    bash(lines(page)[word], tmp_path)
    assert (tmp_path / "sub/small.txt").read_bytes() == b"small\n"
    assert (tmp_path / "sub/deeper/large.bin").stat().st_size == 300_000


def test_what_is_not_there_has_a_page(site: Site, window: Browser) -> None:
    window.open(f"{site.url}/nothing/here")
    assert window.get("/title") == "404 Not Found"
    assert "404" in window.run("return document.querySelector('main').innerText")
    window.click("main a")
    assert window.url == f"{site.url}/"
    window.open(f"{site.url}/?sort=nonsense")
    assert window.get("/title") == "400 Bad Request"
    complaints = window.complaints()  # of the status alone
    assert len(complaints) == 2
    assert all("Failed to load resource" in complaint for complaint in complaints)

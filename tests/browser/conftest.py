"""What the tests of the pages share: a daemon with files worth looking at, and a browser.

They are skipped where Chromium or its driver is missing.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.browser.webdriver import CHROMEDRIVER, CHROMIUM, Browser, browser
from tests.daemons import daemon_of

SECONDS = 60.0
MTIME = 1_600_000_000

MANY = 10_000

README = """\
# Weather

See [how to use it](#how-to-use-it), and ![a picture](picture.png).

<script>document.title = "README"</script> ![tracker](https://tracker.example/x.png)

## How to use it

| Year | Stations |
|:-----|---------:|
| 2025 | 120 |
"""

HOSTILE = [
    b"<script>document.title = 'name'<",
    b'"><img src=x onerror="document.title=\'name\'">.txt',
    b"' onclick='document.title=1' x='.txt",
    b"javascript:document.title=1",
    b"&lt;b&gt;.txt",
    b"a:b?c#d%41.txt",
    "photo\u202egnp.exe".encode(),
    b"line\nbreak.txt",
    b"invalid-\xff\xfe.txt",
    b"back\\slash",
    b" spaces  within ",
    b"-rf",
    "下载文件.txt".encode(),
    "ملف مهم.pdf".encode(),
    b"x" * 250,
]


class Site(NamedTuple):
    """A daemon and what it serves."""

    root: Path
    url: str


def picture(width: int, height: int) -> bytes:
    """A PNG of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))
        )

    pixels = (b"\0" + b"\x20\x70\x90" * width) * height
    head = struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n"
    return (
        start + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    )


def fill(root: Path) -> None:
    """Make the tree that is looked at."""
    for folder in ("sub/deeper", "empty", "names", "readme", "many"):
        (root / folder).mkdir(parents=True)
    sizes = {
        "file10.txt": 20,
        "file2.txt": 3000,
        "Alpha.tar.gz": 100,
        "beta.py": 5,
        "LICENSE": 1071,
    }
    for number, (name, size) in enumerate(sizes.items()):
        (root / name).write_bytes(os.urandom(size))
        os.utime(root / name, (MTIME + number * 86400, MTIME + number * 86400))
    (root / "picture.png").write_bytes(picture(40, 30))
    os.utime(root / "picture.png", (MTIME - 86400, MTIME - 86400))
    os.mkfifo(root / "pipe")
    (root / "sub/deeper/large.bin").write_bytes(os.urandom(300_000))
    (root / "sub/small.txt").write_bytes(b"small\n")
    (root / "readme/README.md").write_text(README)
    (root / "readme/picture.png").write_bytes(picture(1600, 300))
    for hostile in HOSTILE:
        (root / "names" / os.fsdecode(hostile)).write_bytes(b"<b>" + hostile)
    for number in range(MANY):
        (root / f"many/measurement-{number:05}.dat").touch()
    for number, folder in enumerate(("many", "sub", "empty", "readme", "names")):
        os.utime(root / folder, (MTIME - number, MTIME - number))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not CHROMIUM.exists() or not CHROMEDRIVER.exists():
        pytest.skip("Chromium and chromedriver are needed: apt install chromium-driver")
    root = tmp_path_factory.mktemp("site") / "root"
    fill(root)
    with daemon_of(root) as daemon:
        yield Site(root, daemon.url)


@pytest.fixture(scope="session")
def window(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def page(window: Browser) -> Iterator[Browser]:
    """The browser, as it is when it has just been started; it must have nothing to complain of."""
    window.devtools("Emulation.clearDeviceMetricsOverride")
    window.prefer("light")
    window.complaints()
    yield window
    assert window.complaints() == []
    window.open("data:,")  # so that nothing of this page happens later


@pytest.fixture
def plain(site: Site, tmp_path: Path) -> Iterator[Browser]:
    """A browser that runs no script."""
    with browser(tmp_path, script=False) as opened:
        yield opened

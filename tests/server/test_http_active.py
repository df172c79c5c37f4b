"""Tests that what is served cannot act in a browser on behalf of this server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcpdl.server.http_kept import FILE_MOST
from tcpdl.web.fields import SANDBOX
from tests.server.conftest import Connect
from tests.server.http_client import HttpServer

FILES = {
    "page.html": True,
    "page.HTM": True,
    "picture.svg": True,
    "feed.xml": True,
    "page.xhtml": True,
    "text.txt": False,
    "picture.png": False,
    "script.js": False,
    "data.bin": False,
}


@pytest.mark.parametrize("size", [10, FILE_MOST + 1])
@pytest.mark.parametrize("is_site", [False, True])
def test_pages_act_as_those_of_no_site(
    size: int, is_site: bool, tmp_path: Path, connect: Connect
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for name in FILES:
        (root / name).write_bytes(b"<" * size)
    server = HttpServer(root, connect, index=is_site)
    client = server.connect()
    for name, is_active in FILES.items():
        for fields in ([], ["Range: bytes=0-1"]):
            expected = SANDBOX if is_active and not is_site else None
            assert client.fetch(f"/{name}", *fields).get("content-security-policy") == expected
    server.close()

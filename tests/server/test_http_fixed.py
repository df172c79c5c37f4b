"""Tests what HTTP always answers, whatever is in the folder."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tcpdl
from tcpdl.web import page
from tests.server.conftest import Connect
from tests.server.http_client import Client, HttpServer

WHERE = "/.well-known/tcpdl"


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[HttpServer]:
    root = tmp_path / "root"
    shadow = root / ".well-known" / "tcpdl"
    shadow.mkdir(parents=True)
    (shadow / "health").write_bytes(b"a file of the folder")
    (shadow / "other").write_bytes(b"a file of the folder")
    (root / ".well-known" / "file").write_bytes(b"content")
    server = HttpServer(root, connect, hidden=True)
    yield server
    server.close()


@pytest.fixture
def client(server: HttpServer) -> Client:
    return server.connect()


@pytest.mark.parametrize(
    ("name", "kind", "body"),
    [
        ("health", "text/plain; charset=utf-8", b"ok\n"),
        ("version", "text/plain; charset=utf-8", f"tcpdl {tcpdl.__version__}\n".encode()),
        *((name, kind, body) for name, (kind, body) in page.ASSETS.items()),
    ],
)
def test_what_is_there(name: str, kind: str, body: bytes, client: Client) -> None:
    for query in ("", "?123"):
        reply = client.fetch(f"{WHERE}/{name}{query}")
        assert (reply.status, reply.body, reply["content-type"]) == (200, body, kind)
        assert reply["x-content-type-options"] == "nosniff"
        assert reply["cache-control"] == "no-cache"
        assert client.fetch(f"{WHERE}/{name}", method="HEAD").steady == reply.steady
        field = f"If-None-Match: {reply['etag']}"
        again = client.fetch(f"{WHERE}/{name}", field)
        assert (again.status, again["etag"]) == (304, reply["etag"])
        assert client.fetch(f"{WHERE}/{name}", 'If-Match: "x"').status == 412
    assert not client.ended


def test_what_pages_load_is_kept_for_good(client: Client) -> None:
    """But only under its own address, which changes with it."""
    addresses = re.findall(rb'="(/\.well-known/tcpdl/[^"]+\?[0-9a-f]+)[#"]', client.fetch("/").body)
    assert len(addresses) >= 2
    for address in addresses:
        assert "immutable" in client.fetch(address)["cache-control"]
        for other in (address + b"0", address[:-1], address[:-3] + b"xyz"):
            assert client.fetch(other)["cache-control"] == "no-cache"


def test_the_client_as_one_file(client: Client) -> None:
    reply = client.fetch(f"{WHERE}/tcpdl.pyz")
    assert "tcpdl/cli.py" in zipfile.ZipFile(io.BytesIO(reply.body)).namelist()
    assert reply["content-type"] == "application/octet-stream"
    assert client.fetch(f"{WHERE}/tcpdl.pyz", f"If-None-Match: {reply['etag']}").status == 304


def test_it_is_made_once(server: HttpServer, client: Client) -> None:
    client.fetch(f"{WHERE}/tcpdl.pyz")
    server.work.hold = True
    assert client.fetch(f"{WHERE}/tcpdl.pyz").status == 200


def test_no_folder_stands_in_its_place(client: Client) -> None:
    assert client.fetch(f"{WHERE}/health").body == b"ok\n"
    assert client.fetch(f"{WHERE}/other").status == 404
    assert client.fetch(f"{WHERE}/").status == 404
    assert client.fetch("/.well-known/file").body == b"content"
    assert b"tcpdl" in client.fetch("/.well-known/").body

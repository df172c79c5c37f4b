"""Tests how HTTP answers for a folder: pages, JSON, redirects, index.html."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.server import http_folders
from tests.server.conftest import Connect
from tests.server.http_client import Client, HttpServer, get, settle

HTML = "text/html; charset=utf-8"


@pytest.fixture(autouse=True)
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)


def make_tree(root: Path) -> None:
    (root / "folder" / "below").mkdir(parents=True)
    (root / "evil.example").mkdir()
    (root / "a b").mkdir()
    (root / "file").write_bytes(b"content")
    (root / ".hidden").write_bytes(b"hidden")
    (root / "folder" / "index.html").write_bytes(b"<p>index")
    (root / "folder" / "README.md").write_bytes(b"# Read *me*")
    (root / "to-file").symlink_to("file")
    (root / "to-folder").symlink_to("folder")
    (root / "nowhere").symlink_to("nothing")
    (root / "out").symlink_to("/etc")
    os.mkfifo(root / "fifo")


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[HttpServer]:
    root = tmp_path / "root"
    make_tree(root)
    server = HttpServer(root, connect)
    yield server
    server.close()


@pytest.fixture
def client(server: HttpServer) -> Client:
    return server.connect()


# To the slash.


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("/folder", "/folder/"),
        ("/folder?sort=size&x=%22", "/folder/?sort=size&x=%22"),
        ("/folder?", "/folder/"),
        ("/a%20b", "/a%20b/"),
        ("/%66older/below", "/folder/below/"),
        ("/to-folder", "/to-folder/"),
        ("//evil.example", "/evil.example/"),
        ("///evil.example", "/evil.example/"),
        ("http://other.example/folder", "/folder/"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_redirects(target: str, where: str, method: str, client: Client) -> None:
    """Never to another host, which `//evil.example/` would be."""
    fields = ["Host: other.example"] if "other" in target else []
    request = get(target, method=method)
    if fields:
        request = request.replace(b"Host: files.example:8080", b"Host: other.example")
    (reply,) = client.ask(request)
    assert (reply.status, reply["location"]) == (301, where)
    assert reply["content-length"] == "0"
    assert not client.ended


@given(
    slashes=st.integers(1, 4),
    before=st.sampled_from(["", "./", "%2e/", "%5c", "\\", "%2f", "%09", "%0d%0a"]),
    query=st.sampled_from(["", "?", "?//evil.example", "?%0d%0aX:y"]),
)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_redirect_leads_away(slashes: int, before: str, query: str, server: HttpServer) -> None:
    reply = server.connect().fetch("/" * slashes + before + "evil.example" + query)
    assert reply.status in (301, 404)
    if reply.status == 301:
        assert reply["location"].partition("?")[0] == "/evil.example/"


# Pages and JSON.


@pytest.mark.parametrize(
    ("fields", "query", "kind"),
    [
        ([], "", HTML),
        (["Accept: */*"], "", HTML),
        (["Accept: text/html"], "", HTML),
        (["Accept: application/json"], "", "application/json"),
        (["Accept: application/json, */*"], "", "application/json"),
        (["Accept: application/json;q=0.5, text/html"], "", HTML),
        (["Accept: text/html;q=0.5, application/json"], "", "application/json"),
        (["Accept: text/html"], "?format=json", "application/json"),
        (["Accept: application/json"], "?format=html", HTML),
    ],
)
def test_which_form(fields: list[str], query: str, kind: str, client: Client) -> None:
    reply = client.fetch(f"/{query}", *fields)
    assert (reply.status, reply["content-type"]) == (200, kind)
    assert reply["vary"] == "Accept"
    assert reply["cache-control"] == "no-cache"
    assert reply["x-content-type-options"] == "nosniff"
    assert reply.get("etag") is None
    head = client.fetch(f"/{query}", *fields, method="HEAD")
    assert head.steady == reply.steady
    if kind == HTML:
        assert "default-src 'none'" in reply["content-security-policy"]
        assert reply["referrer-policy"] == "no-referrer"


def test_what_is_listed(client: Client, descriptors: Callable[[], int]) -> None:
    before = descriptors()
    found = json.loads(client.fetch("/?format=json").body)
    assert found["path"] == "/"
    assert {entry["name"]: entry["kind"] for entry in found["entries"]} == {
        **dict.fromkeys(("a b", "evil.example", "folder", "to-folder"), "folder"),
        **dict.fromkeys(("file", "to-file"), "file"),
        "nowhere": "link",
        **dict.fromkeys(("fifo", "out"), "left-out"),
    }
    for entry in found["entries"]:
        if entry["kind"] in ("file", "folder"):
            assert client.fetch("/" + entry["href"]).status == 200
    assert descriptors() == before


def test_a_page_lists_the_same(client: Client) -> None:
    page = client.fetch("/").body
    for name in (b"a b", b"folder", b"to-file", b"nowhere", b"fifo"):
        assert name in page
    assert b".hidden" not in page
    assert b"files.example:8080" in page


def test_sorted_and_filtered(client: Client) -> None:
    found = json.loads(client.fetch("/?format=json&filter=TO-&sort=-name").body)
    assert [entry["name"] for entry in found["entries"]] == ["to-folder", "to-file"]


def test_hidden_names(server: HttpServer, connect: Connect) -> None:
    other = HttpServer(server.root, connect, hidden=True)
    found = json.loads(other.connect().fetch("/?format=json").body)
    assert ".hidden" in [entry["name"] for entry in found["entries"]]
    assert other.connect().fetch("/.hidden").body == b"hidden"
    other.close()


def test_a_readme_is_shown(server: HttpServer, client: Client) -> None:
    assert b"Read <em>me</em>" in client.fetch("/folder/").body
    assert b"Read" not in client.fetch("/folder/?format=json").body
    (server.root / "folder" / "README.md").unlink()
    (server.root / "folder" / "README.md").symlink_to("/etc/passwd")
    assert b"root:" not in client.fetch("/folder/").body


def test_a_long_readme_is_not(server: HttpServer, client: Client) -> None:
    path = server.root / "folder" / "README.md"
    path.write_bytes(b"x" * (http_folders.README_MOST + 1))
    assert b"xxxx" not in client.fetch("/folder/").body


def test_a_folder_with_very_many_names(
    client: Client, monkeypatch: pytest.MonkeyPatch, descriptors: Callable[[], int]
) -> None:
    monkeypatch.setattr(http_folders, "ENTRIES_MOST", 3)
    before = descriptors()
    found = json.loads(client.fetch("/?format=json").body)["entries"]
    assert len(found) == 4
    assert [entry["why"] for entry in found if not entry["name"]] == [
        "it holds more than 3 names: tcpdl ls shows them all"
    ]
    assert descriptors() == before


@given(names=st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_name_that_is_listed_can_be_had(names: list[bytes], server: HttpServer) -> None:
    folder = server.root / "folder" / "below"
    made = {name for name in names if not set(name) & {0, 47} and name not in (b".", b"..")}
    for name in made:
        (folder / os.fsdecode(name)).write_bytes(name)
    client = server.connect()
    found = json.loads(client.fetch("/folder/below/?format=json").body)
    page = client.fetch("/folder/below/")
    bodies = {
        client.fetch(f"/folder/below/{entry['href']}").body
        for entry in found["entries"]
        if entry["kind"] == "file"
    }
    for name in made:
        (folder / os.fsdecode(name)).unlink()
    assert page.status == 200
    assert bodies <= made
    assert {name for name in made if name.isalnum()} <= bodies


def test_a_folder_that_is_gone_meanwhile(server: HttpServer, client: Client) -> None:
    server.work.hold = True
    client.say(get("/folder/below/"))
    (server.root / "folder" / "below").rmdir()
    server.work.release()
    assert [reply.status for reply in client.hear()] == [404]


def test_a_folder_that_became_a_file_meanwhile(server: HttpServer, client: Client) -> None:
    server.work.hold = True
    client.say(get("/folder/below/"))
    (server.root / "folder" / "below").rmdir()
    (server.root / "folder" / "below").touch()
    server.work.release()
    assert [reply.status for reply in client.hear()] == [404]


# index.html


def test_index(server: HttpServer, connect: Connect, descriptors: Callable[[], int]) -> None:
    other = HttpServer(server.root, connect, index=True)
    client = other.connect()
    before = descriptors()
    reply = client.fetch("/folder/")
    assert (reply.body, reply["content-type"]) == (b"<p>index", HTML)
    assert client.fetch("/folder/", f"If-None-Match: {reply['etag']}").status == 304
    assert client.fetch("/folder/", method="HEAD").steady == reply.steady
    assert client.fetch("/folder").status == 301
    assert b"index.html" in client.fetch("/folder/?sort=name").body, "with a query, it is listed"
    assert b"to-file" in client.fetch("/").body, "there is none here"
    (server.root / "index.html").symlink_to("/etc/passwd")
    assert b"to-file" in client.fetch("/").body
    (server.root / "index.html").unlink()
    (server.root / "index.html").mkdir()
    assert b"to-file" in client.fetch("/").body
    assert descriptors() == before
    other.close()


def test_no_index(client: Client) -> None:
    assert b"README.md" in client.fetch("/folder/").body

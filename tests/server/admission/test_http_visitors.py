"""Tests who may read what over HTTP: each kind of visitor asks for each kind of thing."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.server.admission.conftest import Make
from tests.server.admission.visiting import (
    ANYONE,
    CANARY,
    VISITORS,
    GuardedServer,
    Visitor,
    canaries,
    fetch,
    link_to,
    visitors,
    with_password,
)
from tests.server.http_client import Reply, get

HTTP_THINGS: list[tuple[str, tuple[str, ...], str]] = [
    ("/private/c.txt", (), "GET"),
    ("/private/c.txt", (), "HEAD"),
    ("/private/c.txt", ("Range: bytes=0-3",), "GET"),
    ("/private/c.txt", ("Range: bytes=0-3,5-6",), "GET"),
    ("/private/c.txt", ('If-None-Match: "x"',), "GET"),
    ("/private/c.txt", ("Want-Repr-Digest: sha-256=1",), "HEAD"),
    ("/private/c.txt?download", (), "GET"),
    ("/private/c.txt?info", (), "GET"),
    ("/private/c.txt?info&digest=sha256", (), "GET"),
    ("/private/e.txt", ("Accept-Encoding: gzip",), "GET"),
    ("/private/e.txt.gz", (), "GET"),
    ("/private/sub/d.txt", (), "GET"),
    ("/private/%63.txt", (), "GET"),
    ("//private/./c.txt", (), "GET"),
    ("/private/", (), "GET"),
    ("/private/", (), "HEAD"),
    ("/private/sub/", (), "GET"),
    ("/private/?sort=-name", (), "GET"),
    ("/private/?filter=c", (), "GET"),
    ("/private/", ("Accept: application/json",), "GET"),
    ("/private/?format=json", (), "GET"),
    ("/private/?archive=tar", (), "GET"),
    ("/private/?archive=zip", (), "GET"),
    ("/private/?archive=tar", (), "HEAD"),
    ("/private/?sums=sha256", (), "GET"),
    ("/private/sub/?sums=sha256", (), "HEAD"),
]


@visitors
@pytest.mark.parametrize("thing", HTTP_THINGS, ids=lambda thing: f"{thing[2]} {thing[0]}")
def test_http(server: GuardedServer, visitor: Visitor, thing: tuple[str, Any, str]) -> None:
    target, fields, method = thing
    reply = fetch(server, visitor, target, *fields, method=method)
    if not visitor.reads:
        check_refused(reply, visitor)
        return
    assert reply.status in (200, 206)
    assert "private" in reply["cache-control"]
    assert reply["referrer-policy"] == "no-referrer"
    if not visitor.link:
        assert reply["cross-origin-resource-policy"] == "same-origin"
    if method == "GET" and target.endswith(".txt"):
        assert reply.body


def check_refused(reply: Reply, visitor: Visitor) -> None:
    assert reply.status == visitor.http
    assert CANARY not in reply.body.decode()
    assert "etag" not in reply.fields
    challenges = reply.get("www-authenticate")
    if reply.status == 401:
        wrong = ', error="invalid_token"' if "Bearer" in str(visitor.fields) else ""
        assert challenges == f'Basic realm="files", charset="UTF-8", Bearer realm="files"{wrong}'
    else:
        assert challenges is None
    assert reply["vary"] == "Accept, Authorization"


@visitors
def test_what_is_not_there_looks_the_same(server: GuardedServer, visitor: Visitor) -> None:
    targets = ("/private/c.txt", "/private/none", "/private/none/", "/private/c.txt/", "/private")
    replies = [fetch(server, visitor, target) for target in targets]
    if visitor.reads:
        assert [reply.status for reply in replies] == [200, 404, 404, 404, 301]
        return
    first = replies[0].steady
    assert [(reply.steady, reply.body) for reply in replies] == [(first, replies[0].body)] * 5


@visitors
def test_what_is_for_everyone(server: GuardedServer, visitor: Visitor) -> None:
    reply = fetch(server, visitor, "/public/a.txt")
    assert reply.status == (200 if visitor.public else visitor.http)
    page = fetch(server, visitor, "/public/")
    assert page.status == reply.status
    if not visitor.public:
        return
    assert canaries(reply.body) == {"public/a.txt"}
    known = visitor.login is not None or visitor.reads or visitor.certificate is not None
    if not known and not visitor.link:
        assert reply.get("cache-control") is None
    assert page["vary"] == "Accept, Authorization"


@visitors
def test_what_is_always_there(server: GuardedServer, visitor: Visitor) -> None:
    for name in ("health", "version", "page.css", "tcpdl.pyz"):
        assert fetch(server, visitor, f"/.well-known/tcpdl/{name}").status == 200


def test_what_archives_hold(server: GuardedServer) -> None:
    ann = with_password("", "ann", "secret")
    everything = {name for name in names_below(server.root) if not name.startswith("listed")}
    everything -= {"top.txt", "public/ways", "public/way"}
    tar = fetch(server, ann, "/?archive=tar").body
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        found = {name.removeprefix("files/") for name in archive.getnames()}
        assert everything <= found
        assert not [name for name in found if name.startswith("top")]
        told = archive.extractfile("files/NOT-INCLUDED.txt")
        assert told is not None
        assert b"listed/b.txt: it may be listed, but not read" in told.read()
    assert canaries(tar) == everything
    anyone = ANYONE
    body = fetch(server, anyone, "/?archive=zip").body
    with zipfile.ZipFile(io.BytesIO(body)) as archive_:
        assert archive_.testzip() is None
        names = archive_.namelist()
    assert canaries(body) == {"public/a.txt"}
    assert not [name for name in names if "private" in name or "top" in name]
    sums = fetch(server, anyone, "/?sums=sha256").body.decode()
    assert [line[66:] for line in sums.splitlines() if line[0] != "#"] == ["public/a.txt"]
    assert "private" not in sums
    assert "# listed/b.txt: it is for those who log in" in sums


def names_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_what_listings_show(server: GuardedServer) -> None:
    def shown(visitor: Visitor, target: str) -> dict[str, str]:
        reply = fetch(server, visitor, target, "Accept: application/json")
        return {entry["name"]: entry["kind"] for entry in json.loads(reply.body)["entries"]}

    anyone, ann = ANYONE, with_password("", "ann", "secret")
    assert shown(anyone, "/") == {"listed": "folder", "public": "folder"}
    assert shown(ann, "/") == {"listed": "folder", "private": "folder", "public": "folder"}
    assert shown(anyone, "/listed/") == {"b.txt": "file"}
    assert shown(anyone, "/public/") == {"a.txt": "file", "way": "left-out", "ways": "left-out"}
    assert shown(ann, "/public/") == {"a.txt": "file", "way": "file", "ways": "folder"}


def test_what_may_be_listed_only(server: GuardedServer) -> None:
    anyone = ANYONE
    for target in ("/listed/b.txt", "/listed/b.txt?info", "/listed/b.txt?download"):
        reply = fetch(server, anyone, target)
        assert reply.status == 401
        assert CANARY not in reply.body.decode()
    assert fetch(server, anyone, "/listed").status == 301
    page = fetch(server, anyone, "/listed/").body.decode()
    assert ">b.txt<" in page
    assert CANARY not in page


def test_links_lead_nowhere_else(server: GuardedServer) -> None:
    anyone, ann = ANYONE, with_password("", "ann", "secret")
    for target in ("/public/way", "/public/ways", "/public/ways/", "/public/ways/c.txt"):
        assert fetch(server, anyone, target).status == 401
    assert canaries(fetch(server, ann, "/public/way").body) == {"private/c.txt"}
    assert canaries(fetch(server, ann, "/public/ways/c.txt").body) == {"private/c.txt"}


def test_kept_answers_are_for_those_who_may_have_them(server: GuardedServer) -> None:
    ann, anyone = with_password("", "ann", "secret"), ANYONE
    for _ in range(2):  # the second time, the file is not opened
        reply = fetch(server, ann, "/private/c.txt")
        assert (reply.status, reply["cache-control"]) == (200, "private")
        check_refused(fetch(server, anyone, "/private/c.txt"), anyone)
        reply = fetch(server, anyone, "/public/a.txt")
        assert (reply.status, reply.get("cache-control")) == (200, None)
        reply = fetch(server, ann, "/public/a.txt")
        assert (reply.status, reply["cache-control"]) == (200, "private")


def test_a_page_for_people(server: GuardedServer) -> None:
    reply = fetch(server, ANYONE, "/private/", "Accept: text/html")
    assert reply.status == 401
    assert reply["content-type"] == "text/html; charset=utf-8"
    assert "It is for those who log in." in reply.body.decode()


@pytest.mark.parametrize("last", ["tampered link", "expired link", "link for too long"])
def test_why_a_link_opens_nothing(server: GuardedServer, last: str) -> None:
    (visitor,) = [one for one in VISITORS if one.what == last]
    said = fetch(server, visitor, "/private/c.txt").body.decode()
    assert (
        said
        == {
            "tampered link": "the link is for another place, or was changed\n",
            "expired link": "the link expired at 2023-11-14 22:13:20 UTC\n",
            "link for too long": "the link is valid for too long to be valid at all\n",
        }[last]
    )


@pytest.mark.parametrize(
    "query",
    [
        *("?until=1", "?signed=x", "?until=1&signed=", "?until=x&signed=" + "A" * 43),
        *("?signed=" + "A" * 43 + "&until=1", "?until=1&until=2&signed=x&signed=y"),
    ],
)
def test_queries_that_are_no_links(server: GuardedServer, query: str) -> None:
    reply = fetch(server, ANYONE, "/private/c.txt" + query)
    assert reply.status == (403 if "until" in query and "signed" in query else 401)
    assert fetch(server, ANYONE, "/public/a.txt" + query).status == 200


def test_too_many_arguments(server: GuardedServer) -> None:
    query = "&".join(["a=b"] * 21)
    assert fetch(server, ANYONE, f"/public/a.txt?signed=x&{query}").status == 400


def test_a_link_opens_what_its_page_leads_to(make: Make) -> None:
    server = make()
    link = link_to("private")
    page = fetch(server, ANYONE, f"/private/{link}").body.decode()
    query = link[1:].replace("&", "&amp;")
    assert f'href="c.txt?{query}"' in page
    assert f'href="sub/?{query}"' in page
    for target in ("/private/c.txt", "/private/sub/", "/private/c.txt?info", "/private/?sort=size"):
        joint = "&" if "?" in target else ""
        reply = fetch(server, ANYONE, target + (joint + link[1:] if joint else link))
        assert reply.status == 200
    listed = fetch(server, ANYONE, f"/private/{link}&format=json").body
    hrefs = {entry["name"]: entry["href"] for entry in json.loads(listed)["entries"]}
    assert hrefs["c.txt"] == f"c.txt{link}"
    assert hrefs["sub"] == f"sub/{link}"


def test_a_folders_index_by_link(server: GuardedServer) -> None:
    reply = fetch(server, Visitor("", 200, 0, link=link_to("private")), "/private/")
    assert canaries(reply.body) == {"private/index.html"}
    moved = fetch(server, Visitor("", 200, 0, link=link_to("private")), "/private")
    assert moved.status == 301
    assert moved["location"] == "/private/" + link_to("private")


def test_one_connection_and_several_visitors(server: GuardedServer) -> None:
    # Over HTTP, each request is by itself, and answers come in order however long logins take.
    client = server.connect()
    ann = with_password("", "ann", "secret").fields
    wrong = with_password("", "ann", "wrong").fields
    server.work.hold = True
    replies = client.ask(
        get("/private/c.txt"),
        get("/private/c.txt", *ann),
        get("/private/c.txt", *wrong),
        get("/private/c.txt", *ann, method="HEAD"),
        get("/private/c.txt"),
    )
    assert [reply.status for reply in replies] == [401, 200, 401, 200, 401]


def test_two_authorizations_are_refused(server: GuardedServer) -> None:
    ann = with_password("", "ann", "secret").fields
    (reply,) = server.connect().ask(get("/public/a.txt", *ann, *ann))
    assert reply.status == 400


def test_a_link_that_leads_away_is_answered_with_all_challenges(server: GuardedServer) -> None:
    visitor = ANYONE._replace(link=link_to("public"))
    reply = fetch(server, visitor, "/public/way")
    assert reply.status == 401
    assert reply["www-authenticate"].count("realm=") == 2
    assert reply["cache-control"] == "private"

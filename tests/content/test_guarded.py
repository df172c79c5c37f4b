"""Tests `content.guarded`: a visitor is shown what the rules allow, and nothing beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.access.rules import Level, parse
from tcpdl.content.directory import Directory
from tcpdl.content.errors import Absent, IsFolder, NotAFolder, NotAllowed, NotServed
from tcpdl.content.guarded import Guarded, VisitorRights
from tcpdl.wire.names import Name, parse_name
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, LISTED, Entry

RULES = b"""\
/ anyone list
/pub/** anyone read
/shown/** anyone list
/team/*/secret* ann nothing
/team/** ann read
/deep/down/** anyone read
"""

TREE = (
    *("top.txt", "pub/a.txt", "pub/sub/b.txt", "shown/c.txt", "shown/sub/d.txt"),
    *("team/e.txt", "team/x/f.txt", "team/x/secret.txt", "team/x/secrets/g.txt"),
    *("deep/h.txt", "deep/down/i.txt"),
)
LINKS = {
    "pub/inside": "a.txt",
    "pub/to-team": "../team/e.txt",
    "pub/team": "../team",
    "pub/by-way": "../team/back",
    "team/back": "../pub/a.txt",
    "pub/shown": "../shown/c.txt",
    "pub/nowhere": "../team/none",
    "team/pub": "../pub",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    for name in TREE:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(f"CANARY {name}")
    for name, target in LINKS.items():
        (made / name).symlink_to(target)
    return made


@pytest.fixture
def seen(root: Path) -> Iterator[Callable[..., Guarded]]:
    """Makes what a visitor sees."""
    directory = Directory(root)

    def make(user: str | None, link: str | None = None, rules: bytes = RULES) -> Guarded:
        place = None if link is None else parse_name(link.encode()).segments
        permissions = parse(rules).of(user)
        return Guarded(directory, VisitorRights(permissions, lambda: NotAllowed("no"), place))

    yield make
    directory.close()


def name_of(name: str) -> Name:
    return parse_name(name.encode())


def content_of(source: Guarded, name: str) -> str | type[NotServed]:
    """What the file holds, or why it is not handed out; all ways to ask must agree."""
    try:
        file = source.open_file(name_of(name))
    except NotServed as problem:
        with pytest.raises(type(problem)):
            source.identify(name_of(name))
        return type(problem)
    try:
        assert source.identify(name_of(name)) == file.identity
        return os.pread(file.fd, file.size, 0).decode()
    finally:
        file.close()


def names(entries: Iterator[Entry], *kinds: int) -> list[str]:
    return [entry.name.decode() for entry in entries if not kinds or entry.kind in kinds]


@pytest.mark.parametrize(
    ("user", "name", "expected"),
    [
        (None, "pub/a.txt", "CANARY pub/a.txt"),
        (None, "pub", IsFolder),
        (None, "pub/none", Absent),
        (None, "", IsFolder),
        (None, "top.txt", NotAllowed),
        (None, "none.txt", NotAllowed),
        (None, "shown/c.txt", NotAllowed),
        (None, "shown", IsFolder),
        (None, "shown/none", Absent),  # who lists the folder knows
        (None, "team", NotAllowed),
        (None, "team/e.txt", NotAllowed),
        (None, "team/none", NotAllowed),
        (None, "deep", NotAllowed),
        (None, "deep/h.txt", NotAllowed),
        (None, "deep/down/i.txt", "CANARY deep/down/i.txt"),
        ("ann", "team/e.txt", "CANARY team/e.txt"),
        ("ann", "team/x/f.txt", "CANARY team/x/f.txt"),
        ("ann", "team/x/secret.txt", NotAllowed),
        ("ann", "team/x/secrets", NotAllowed),
        ("ann", "team/x/secrets/g.txt", "CANARY team/x/secrets/g.txt"),  # as the rules say
        ("bob", "team/e.txt", NotAllowed),
        # Through links.
        (None, "pub/inside", "CANARY pub/a.txt"),
        (None, "pub/to-team", NotAllowed),
        (None, "pub/team", NotAllowed),
        (None, "pub/team/e.txt", NotAllowed),
        (None, "pub/team/none", NotAllowed),
        (None, "pub/by-way", NotAllowed),  # though it comes back
        (None, "pub/shown", NotAllowed),
        (None, "pub/nowhere", NotAllowed),
        ("ann", "pub/team/e.txt", "CANARY team/e.txt"),
        ("ann", "pub/team/x/secret.txt", NotAllowed),
        ("ann", "pub/nowhere", Absent),
        ("ann", "team/pub/a.txt", "CANARY pub/a.txt"),
    ],
)
def test_files(
    seen: Callable[..., Guarded], user: str | None, name: str, expected: str | type[NotServed]
) -> None:
    assert content_of(seen(user), name) == expected


@pytest.mark.parametrize(
    ("link", "name", "expected"),
    [
        ("team", "team/e.txt", "CANARY team/e.txt"),
        ("team", "team/x/secret.txt", "CANARY team/x/secret.txt"),
        ("team", "top.txt", NotAllowed),
        ("team", "teams", NotAllowed),
        ("team", "pub/a.txt", "CANARY pub/a.txt"),
        ("team", "pub/team/e.txt", "CANARY team/e.txt"),
        ("team/e.txt", "team/e.txt", "CANARY team/e.txt"),
        ("team/e.txt", "team/x/f.txt", NotAllowed),
        ("team/e.txt", "team", NotAllowed),
        ("team/back", "team/back", "CANARY pub/a.txt"),
        ("", "team/e.txt", "CANARY team/e.txt"),
    ],
)
def test_links_that_were_signed(
    seen: Callable[..., Guarded], link: str, name: str, expected: str | type[NotServed]
) -> None:
    assert content_of(seen(None, link), name) == expected


def test_a_link_that_leads_away_from_its_place(root: Path, seen: Callable[..., Guarded]) -> None:
    (root / "team/away").symlink_to("../top.txt")
    assert content_of(seen(None, "team"), "team/away") is NotAllowed
    assert content_of(seen(None, ""), "team/away") == "CANARY top.txt"


def test_stat(seen: Callable[..., Guarded]) -> None:
    anyone = seen(None)
    for name in ("shown/c.txt", "pub/a.txt", "pub/shown"):
        entry = anyone.stat(name_of(name))
        assert (entry.kind, entry.content) == (LISTED, b"")
        assert entry.size > 0
    assert anyone.stat(name_of("shown")).kind == FOLDER
    for name in ("team", "team/e.txt", "none", "pub/team", "pub/nowhere"):
        with pytest.raises(NotAllowed):
            anyone.stat(name_of(name))


def test_list(seen: Callable[..., Guarded]) -> None:
    anyone, ann = seen(None), seen("ann")
    assert names(anyone.list(name_of(""))) == ["pub", "shown"]
    assert names(ann.list(name_of(""))) == ["pub", "shown", "team"]
    assert names(anyone.list(name_of("shown"))) == ["c.txt", "sub"]
    assert names(ann.list(name_of("team/x"))) == ["f.txt"]
    assert names(anyone.list(name_of("deep/down"))) == ["i.txt"]
    for name in ("team", "none", "deep", "pub/team", "pub/nowhere", "team/e.txt"):
        with pytest.raises(NotAllowed):
            anyone.list(name_of(name))
    with pytest.raises(NotAFolder):
        anyone.list(name_of("shown/c.txt"))


def test_links_are_shown_if_what_they_lead_to_may_be(seen: Callable[..., Guarded]) -> None:
    listed = {entry.name.decode(): entry for entry in seen(None).list(name_of("pub"))}
    assert {name for name in listed if listed[name].kind == LINK} == {"inside", "shown"}
    hidden = [entry for entry in listed.values() if entry.kind == LEFT_OUT]
    assert [entry.name for entry in hidden] == [b"by-way", b"nowhere", b"team", b"to-team"]
    assert {entry.content for entry in hidden} == {
        b"it is a symbolic link to what is not for whoever asks"
    }
    listed = {entry.name.decode(): entry for entry in seen("ann").list(name_of("pub"))}
    assert {name for name in listed if listed[name].kind == LINK} == {
        *("by-way", "inside", "nowhere", "shown", "team", "to-team"),
    }


def test_walk(seen: Callable[..., Guarded]) -> None:
    def walk(user: str | None, name: str = "", **how: Any) -> list[Entry]:
        how = {"recursive": True, "content_most": 100, **how}
        return list(seen(user).walk(name_of(name), **how))

    found = {entry.name.decode(): entry for entry in walk(None)}
    assert {name for name in found if "CANARY" in found[name].content.decode()} == {
        *("pub/a.txt", "pub/sub/b.txt"),
    }
    assert found["shown/c.txt"].kind == LEFT_OUT
    assert found["shown/c.txt"].content == b"it may be listed, but not read"
    assert not [name for name in found if name.startswith(("team", "deep", "top"))]
    listed = {entry.name.decode(): entry.kind for entry in walk(None, content_most=-1)}
    assert listed["shown/c.txt"] == listed["shown/sub/d.txt"] == LISTED
    assert names(iter(walk("ann", "team")), FILE) == ["e.txt", "x/f.txt"]
    # By way of a link, what is forbidden where it really is stays so.
    assert names(iter(walk("ann", "pub/team")), FILE) == ["e.txt", "x/f.txt"]
    # What is forbidden by the name asked for stays so where it really is allowed.
    rules = b"/pub/team/x/** anyone nothing\n/** anyone read\n"
    entries = seen(None, None, rules).walk(name_of("pub/team"), recursive=True, content_most=100)
    assert names(entries, FILE) == ["e.txt"]


def test_no_folder_is_opened_of_which_nothing_may_be_listed(
    root: Path, seen: Callable[..., Guarded], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    really = Directory._open_folder

    def record(self: Directory, segments: tuple[bytes, ...]) -> int:
        opened.append(segments)
        return really(self, segments)

    monkeypatch.setattr(Directory, "_open_folder", record)
    list(seen(None).walk(name_of(""), recursive=True, content_most=100))
    assert opened == [(), (b"pub",), (b"pub", b"sub"), (b"shown",), (b"shown", b"sub")]


def test_names_too_long_of_what_may_not_be_listed(root: Path, seen: Callable[..., Guarded]) -> None:
    for folder in ("deep", "pub"):
        (root / folder / ("n" * 255)).touch()
    rules = b"/*/nnn* anyone nothing\n/** anyone read"
    deep = seen(None, None, rules).list(name_of("deep"))
    assert names(deep) == ["down", "h.txt"]


def test_pick(seen: Callable[..., Guarded]) -> None:
    asked = (
        b"a.txt",
        b"none",
        b"team/e.txt",
        b"to-team",
        b"shown",
        b"inside",
        b"../top.txt",
        b"sub",
    )
    picked = list(seen(None).pick(name_of("pub"), asked, content_most=100))
    assert [entry.name for entry in picked] == list(asked)
    assert [entry.kind for entry in picked] == [
        *(FILE, LEFT_OUT, LEFT_OUT, LEFT_OUT, LEFT_OUT, FILE, LEFT_OUT, LEFT_OUT),
    ]
    assert {entry.content for entry in picked if entry.kind == FILE} == {b"CANARY pub/a.txt"}
    assert picked[2].content == picked[3].content == b"no"
    with pytest.raises(NotAllowed):
        seen(None).pick(name_of("team"), (b"e.txt",), content_most=100)
    picked = list(seen(None).pick(name_of("shown"), (b"c.txt",), content_most=100))
    assert [entry.content for entry in picked] == [b"no"]


def test_hidden_stays_hidden(root: Path, seen: Callable[..., Guarded]) -> None:
    (root / "pub/.hidden").write_text("CANARY")
    source = seen(None, "")
    assert isinstance(content_of(source, "pub/a.txt"), str)
    with pytest.raises(NotServed):
        source.open_file(Name((b"pub", b".hidden")))
    assert ".hidden" not in names(source.list(name_of("pub")))


PLACES = ["a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/a", "a/b/a"]
LEADS = st.sampled_from(["a", "b", "../a", "../b", "../a/b", "b/a", "a/a", "../../b/a", ".", ".."])
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "**"]), max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
RULE_LINES = st.lists(
    st.tuples(PATTERNS, st.sampled_from(["read", "read", "list", "nothing"])), max_size=5
)


@settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data(), RULE_LINES)
def test_no_canary_is_ever_shown(tmp_path_factory: Any, data: Any, lines: Any) -> None:
    """Whatever the tree, its links and the rules: what comes out was allowed by the name that was
    asked for, and where it really is."""
    root = Path(os.path.realpath(tmp_path_factory.mktemp("maze")))
    for place in PLACES:
        path = root / place
        if path.parent.is_symlink() or not path.parent.is_dir() or os.path.lexists(path):
            continue
        kind = data.draw(st.sampled_from(["folder", "file", "link"]), label=place)
        if kind == "folder":
            path.mkdir()
        elif kind == "file":
            path.write_text(f"CANARY /{place}")
        else:
            path.symlink_to(data.draw(LEADS, label=f"{place} leads to"))
    rules = parse("\n".join(f"{pattern} anyone {access}" for pattern, access in lines).encode())
    permissions = rules.of(None)

    def level(path: str) -> Level:
        return permissions.level(tuple(part.encode() for part in path.split("/") if part))

    def check(asked: str, canary: bytes) -> None:
        really = canary.decode().removeprefix("CANARY ")
        assert level(asked) is Level.READ, (asked, really)
        assert level(really) is Level.READ, (asked, really)

    directory = Directory(root)
    source = Guarded(directory, VisitorRights(permissions, lambda: NotAllowed("no")))
    try:
        for asked in ["", *PLACES, "a/a/b", "b/a/a", "a/a/a/a"]:
            outcome = _tried(source.open_file, asked)
            if isinstance(outcome, NotServed):
                if not os.path.lexists(root / asked) or (root / asked).is_file():
                    plain = os.path.realpath(root / asked) == str(root / asked)
                    if plain and level(asked) is Level.READ:
                        assert not (root / asked).is_file()
            else:
                check(asked, os.pread(outcome.fd, 100, 0))
                outcome.close()
            for method in (source.identify, source.stat):
                outcome = _tried(method, asked)
                if not isinstance(outcome, NotServed):
                    least = Level.READ if method == source.identify else Level.LIST
                    assert level(asked) >= least
                    real = os.path.realpath(root / asked).removeprefix(str(root))
                    assert level(real) >= least
            for most in (-1, 100):
                walked = _tried(source.walk, asked, recursive=True, content_most=most)
                if isinstance(walked, NotServed):
                    continue
                for entry in walked:
                    where = f"{asked}/{entry.name.decode()}"
                    assert level(where) >= Level.LIST
                    real = os.path.realpath((root / where).parent).removeprefix(str(root))
                    assert level(f"{real}/{entry.name.rpartition(b'/')[2].decode()}") >= Level.LIST
                    if entry.kind == FILE:
                        check(where, entry.content)
            picked = _tried(source.pick, asked, (b"a", b"b", b"a/a"), content_most=100)
            if not isinstance(picked, NotServed):
                for entry in picked:
                    if entry.kind == FILE:
                        check(f"{asked}/{entry.name.decode()}", entry.content)
    finally:
        directory.close()


def _tried(method: Callable[..., Any], asked: str, *args: Any, **how: Any) -> Any:
    try:
        return method(name_of(asked), *args, **how)
    except NotServed as problem:
        return problem

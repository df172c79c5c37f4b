"""Tests `content.mounts`: folders under names are as one that holds them, and lead to no others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.access.rules import parse
from tcpdl.content.directory import Directory, Symlinks
from tcpdl.content.errors import Absent, IsFolder, NotAllowed, NotServed, Refused, Unavailable
from tcpdl.content.guarded import Guarded, VisitorRights
from tcpdl.content.mounts import Mount, Mounts, mount_name
from tcpdl.wire.names import MAX_NAME, NameRefused, parse_name
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, Entry

TREE = ("a/one", "a/sub/two", "a/sub/deep/three", "b/four", "b/.hidden/five", "c.d/six")
LINKS = {
    "a/in": "sub/two",
    "a/sub/up": "../one",
    "a/way": "sub",
    "b/loop": "loop",
    "b/nowhere": "none",
}
NAMES = (
    *("", ".", "/a", "a", "a/", "b", "c.d", "none", "none/one", "none/", "a/one", "a/one/"),
    *("a/one/two", "a/none", "a/sub", "a/sub/", "a/sub/two", "a/sub/deep/three", "a/in", "a/way"),
    *("a/way/deep/three", "a/sub/up", "b/loop", "b/nowhere", "b/.hidden/five", ".a", ".hidden"),
    *("a/" + "x" * 255, "a/" + "x" * 256, "a/sub/" + "y/" * 508 + "z", "a/one\n", "A/one"),
)
RULES = b"""\
/ anyone list
/a/sub/deep anyone nothing
/a/** anyone read
/c.d anyone list
/b/** ann read
"""


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A folder that holds the others, which are mounted."""
    made = tmp_path / "parent"
    for name in TREE:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(f"{name}\n")
    for name, target in LINKS.items():
        (made / name).symlink_to(target)
    return made


Open = Callable[..., Mounts]


@pytest.fixture
def mounted(parent: Path) -> Iterator[Open]:
    with ExitStack() as opened:

        def make(*names: str, **options: Any) -> Mounts:
            names = names or tuple(os.listdir(parent))
            found = Mounts(Mount(os.fsencode(n), str(parent / n), **options) for n in names)
            opened.callback(found.close)
            return found

        yield make


def outcome_of(ask: Any, name: str, **how: Any) -> Any:
    """What a method of a source that is asked for `name` comes to, so that it can be compared."""
    try:
        found = ask(parse_name(os.fsencode(name), hidden=ask.__self__.hidden), **how)
    except (NotServed, NameRefused) as problem:
        return type(problem), str(problem)
    if hasattr(found, "fd"):
        try:
            return os.pread(found.fd, 100, 0), found._replace(fd=0, among=None)
        finally:
            found.close()
    return found if isinstance(found, tuple) else list(found)


def all_outcomes(source: Any, name: str) -> list[Any]:
    walks = [
        outcome_of(source.walk, name, recursive=recursive, content_most=most)
        for recursive, most in [(False, -1), (True, -1), (True, 5), (True, 1000)]
    ]
    names = [os.fsencode(one) for one in NAMES]
    return [
        *(outcome_of(ask, name) for ask in (source.open_file, source.identify, source.list)),
        outcome_of(source.pick, name, names=names, content_most=1000),
        *walks,
    ]


@pytest.mark.parametrize("user", [None, "ann", "everyone"])
@pytest.mark.parametrize("name", NAMES)
def test_they_are_as_one_folder_that_holds_them(
    name: str, user: str | None, parent: Path, mounted: Open
) -> None:
    whole = Directory(parent)
    sources: list[Any] = [whole, mounted()]
    if user != "everyone":
        rights = VisitorRights(parse(RULES).of(user), lambda: NotAllowed("it is not for you"))
        sources = [Guarded(source, rights) for source in sources]
    try:
        of_one, of_many = (all_outcomes(source, name) for source in sources)
        stats = [outcome_of(source.stat, name) for source in sources]
    finally:
        whole.close()
    assert of_many == of_one
    if name in ("", "."):
        assert [stat.kind for stat in stats] == [FOLDER, FOLDER]
    else:
        assert stats[1] == stats[0]


@pytest.mark.parametrize("length", [MAX_NAME - 1, MAX_NAME, MAX_NAME + 1, MAX_NAME + 6])
def test_names_that_are_too_long_with_that_of_the_mount(length: int, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    deep = "mount/" + ("x" * 200 + "/") * 4
    deep += "y" * (length - len(deep) - len("/file"))
    os.makedirs(parent / deep)
    (parent / deep / "file").write_bytes(b"!")
    asked = deep[:700].rpartition("/")[0]
    whole = Directory(parent)
    mounts = Mounts([Mount(b"mount", str(parent / "mount"))])
    try:
        for name in ("", "mount", asked):
            found = all_outcomes(mounts, name)
            assert found == all_outcomes(whole, name)
            assert (b"!" in repr(found).encode()) is (length <= MAX_NAME)
            tail = f"{deep}/file"[len(name) + 1 if name else 0 :].encode()
            picked = [
                list(s.pick(parse_name(name.encode()), [tail], content_most=9))
                for s in (mounts, whole)
            ]
            assert picked[0] == picked[1]
    finally:
        mounts.close()
        whole.close()


def test_a_link_leads_neither_into_another_nor_out(parent: Path, mounted: Open) -> None:
    (parent / "a/to-b").symlink_to("../b/four")
    (parent / "a/to-b-absolute").symlink_to(parent / "b/four")
    (parent / "a/to-b-folder").symlink_to("../b")
    (parent / "a/to-itself").symlink_to("../a/one")
    (parent / "a/out").symlink_to("../../outside")
    (parent / "a/absolute").symlink_to(parent / "a/one")
    (parent.parent / "outside").write_text("CANARY")
    mounts = mounted()
    for name in ("to-b", "to-b-absolute", "to-b-folder", "to-b-folder/four", "to-itself", "out"):
        assert outcome_of(mounts.open_file, f"a/{name}")[0] is Refused
        assert outcome_of(mounts.stat, f"a/{name}")[0] is Refused
    assert outcome_of(mounts.open_file, "a/absolute")[0] == b"a/one\n"
    links = {entry.name: entry.kind for entry in outcome_of(mounts.list, "a")}
    assert [links[name] for name in (b"to-b", b"out", b"in")] == [LEFT_OUT, LEFT_OUT, LINK]


def test_each_has_its_own_options(parent: Path) -> None:
    mounts = Mounts(
        [
            Mount(b"a", str(parent / "a"), symlinks=Symlinks.NEVER),
            Mount(b"b", str(parent / "b"), hidden=True),
            Mount(b"again", str(parent / "b"), symlinks=Symlinks.NEVER),
        ]
    )
    try:
        assert mounts.hidden
        assert outcome_of(mounts.open_file, "a/in")[0] is Refused
        assert outcome_of(mounts.open_file, "b/.hidden/five")[0] == b"b/.hidden/five\n"
        assert outcome_of(mounts.open_file, "again/.hidden/five")[0] is Refused
        names = [
            entry.name for entry in outcome_of(mounts.walk, "", recursive=True, content_most=-1)
        ]
        assert b"b/.hidden/five" in names
        assert b"again/.hidden" not in names
    finally:
        mounts.close()


@given(st.binary(max_size=300))
def test_names_of_mounts(name: bytes) -> None:
    try:
        assert mount_name(name) == name
    except NameRefused:
        assert not name or name[:1] == b"." or {0, 47} & {*name} or len(name) > 255
    else:
        assert parse_name(name).segments == (name,)
        assert not {0, 47} & {*name}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    name=st.binary(max_size=40)
    | st.lists(st.sampled_from(["a", "b", "..", "one", ""])).map(
        lambda parts: "/".join(parts).encode()
    )
)
def test_whatever_is_asked_for_is_below_a_mount(name: bytes, parent: Path, mounted: Open) -> None:
    try:
        file = mounted("a").open_file(parse_name(name))
    except (NameRefused, NotServed):
        return
    try:
        assert os.path.realpath(f"/proc/self/fd/{file.fd}").startswith(f"{parent}/a/")
    finally:
        file.close()


def test_one_that_is_removed_and_others(parent: Path, mounted: Open) -> None:
    mounts = mounted("a", "b")
    shutil.rmtree(parent / "a")
    assert outcome_of(mounts.open_file, "a/one")[0] is Absent
    assert outcome_of(mounts.list, "a")[0] is Absent
    assert outcome_of(mounts.open_file, "b/four")[0] == b"b/four\n"
    for recursive in (False, True):
        found = outcome_of(mounts.walk, "", recursive=recursive, content_most=100)
        gone = Entry(LEFT_OUT, b"a", content=b"its folder is not there any more")
        assert found[:2] == [gone, mounts.stat(parse_name(b"b"))._replace(name=b"b")]
        assert (FILE, b"b/four") in [entry[:2] for entry in found] or not recursive


def test_one_that_is_removed_while_it_is_gone_through(parent: Path, mounted: Open) -> None:
    entries = mounted("a", "b").walk(parse_name(b""), recursive=True, content_most=-1)
    assert [next(entries).name, next(entries).name] == [b"a", b"b"]
    shutil.rmtree(parent / "a")
    assert (entry := next(entries)).kind == LEFT_OUT
    assert entry.name == b"a"
    assert next(entries).name == b"b/four"
    entries.close()  # type: ignore[attr-defined]


def test_one_that_is_renamed_is_served_on(parent: Path, mounted: Open) -> None:
    mounts = mounted()
    (parent / "a").rename(parent / "renamed")
    (parent / "a").mkdir()
    assert outcome_of(mounts.open_file, "a/one")[0] == b"a/one\n"


def test_one_that_is_missing_at_first(parent: Path) -> None:
    """What was opened until then is closed, which the fixture of all tests here asserts."""
    with pytest.raises(FileNotFoundError):
        Mounts([Mount(b"a", str(parent / "a")), Mount(b"b", str(parent / "none"))])


def test_open_files_are_counted_together(mounted: Open) -> None:
    mounts = mounted()
    mounts.files.most = 1
    file = mounts.open_file(parse_name(b"a/one"))
    for ask in (mounts.open_file, mounts.list):
        assert outcome_of(ask, "b/four" if ask == mounts.open_file else "b")[0] is Unavailable
    assert outcome_of(mounts.list, "")[0] is Unavailable
    file.close()
    assert outcome_of(mounts.open_file, "b/four")[0] == b"b/four\n"


def test_the_top(mounted: Open) -> None:
    mounts = mounted()
    assert outcome_of(mounts.open_file, "")[0] is IsFolder
    assert mounts.stat(parse_name(b"")) == mounts.stat(parse_name(b"."))
    assert [entry.name for entry in mounts.list(parse_name(b""))] == [b"a", b"b", b"c.d"]
    assert len(mounts.descriptors()) == 3
    assert all(os.path.isdir(f"/proc/self/fd/{fd}") for fd in mounts.descriptors())
    mounts.close()
    mounts.close()


def test_what_one_more_may_lead_to(parent: Path) -> None:
    paths = {b"all": parent, b"a": parent / "a", b"again": parent / "a", b"b": parent / "b"}
    mounts = Mounts(Mount(name, str(path)) for name, path in paths.items())
    (parent / "all").symlink_to(parent)
    try:
        nested = {*mounts.nested()}
    finally:
        mounts.close()
    assert nested == {(b"a", b"all"), (b"again", b"all"), (b"b", b"all"), (b"again", b"a")}

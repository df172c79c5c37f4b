"""Tests `client.target`: a download appears under its name when it is whole, and harms nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.client.errors import BadRequest, CannotWrite
from tcpdl.client.target import RECORD_SUFFIX, SUFFIX, Target, local_name, part_name
from tcpdl.wire.names import MAX_SEGMENT

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")

NAME = b"file.txt"
PART = "file.txt.tcpdl-part"
RECORD = "file.txt.tcpdl-record"


class Broken(Exception):
    """Stands for what goes wrong with a download."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def download(folder: Path, data: bytes, name: bytes = NAME) -> None:
    with Target(os.fsencode(folder), name) as target:
        os.write(target.fd, data)
        target.keep()


def fail(folder: Path, data: bytes) -> None:
    with suppress(Broken), Target(os.fsencode(folder), NAME) as target:
        os.write(target.fd, data)
        raise Broken


def refused(folder: Path, name: bytes = NAME) -> str:
    """Why a download could not begin."""
    with pytest.raises(CannotWrite) as raised:
        Target(os.fsencode(folder), name)
    return str(raised.value)


def test_appears_only_when_it_is_kept(tmp_path: Path) -> None:
    with Target(str(tmp_path), NAME) as target:
        os.write(target.fd, b"hello")
        assert contents(tmp_path) == {PART: b"hello"}
        assert target.part == PART
        target.keep()
        assert contents(tmp_path) == {"file.txt": b"hello"}
    assert contents(tmp_path) == {"file.txt": b"hello"}


def test_empty_file_can_be_kept(tmp_path: Path) -> None:
    download(tmp_path, b"")
    assert contents(tmp_path) == {"file.txt": b""}


def test_part_stays_after_a_failure(tmp_path: Path) -> None:
    fail(tmp_path, b"hel")
    assert contents(tmp_path) == {PART: b"hel"}


def test_nothing_stays_if_nothing_was_written(tmp_path: Path) -> None:
    fail(tmp_path, b"")
    assert contents(tmp_path) == {}


def test_left_part_is_written_anew(tmp_path: Path) -> None:
    fail(tmp_path, b"a longer part")
    download(tmp_path, b"hello")
    assert contents(tmp_path) == {"file.txt": b"hello"}


def test_existing_file_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"old")
    fail(tmp_path, b"")
    fail(tmp_path, b"new")
    assert contents(tmp_path) == {"file.txt": b"old", PART: b"new"}
    with path.open("rb") as reader:
        download(tmp_path, b"new")
        assert reader.read() == b"old"  # replaced, not written over
    assert contents(tmp_path) == {"file.txt": b"new"}


def test_new_file_is_made_as_the_umask_has_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        download(tmp_path, b"hello")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == 0o640


def test_symlink_under_the_final_name_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    (folder / "file.txt").symlink_to(tmp_path / "precious")
    download(folder, b"hello")
    assert not (folder / "file.txt").is_symlink()
    assert contents(folder) == {"file.txt": b"hello"}
    assert (tmp_path / "precious").read_bytes() == b"precious"


@pytest.mark.parametrize("target", ["precious", "absent"])
def test_part_that_is_a_symlink_is_refused(target: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    (folder / PART).symlink_to(tmp_path / target)
    assert "symbolic link" in refused(folder)
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "absent").exists()
    assert (folder / PART).is_symlink()


def test_part_that_is_a_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / PART)  # opening one waits for a reader, unless one takes care
    assert "not a regular file" in refused(tmp_path)


def test_part_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / PART).mkdir()
    assert "is a directory" in refused(tmp_path)
    assert (tmp_path / PART).is_dir()


def test_final_name_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.txt").mkdir()
    assert "is a folder here" in refused(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_final_name_that_becomes_a_folder_is_refused(tmp_path: Path) -> None:
    with Target(str(tmp_path), NAME) as target:
        os.write(target.fd, b"hello")
        (tmp_path / "file.txt").mkdir()
        with pytest.raises(CannotWrite, match="is a directory"):
            target.keep()
    assert (tmp_path / PART).read_bytes() == b"hello"


def test_part_that_was_removed_cannot_be_kept(tmp_path: Path) -> None:
    with Target(str(tmp_path), NAME) as target:
        os.write(target.fd, b"hello")
        (tmp_path / PART).unlink()
        with pytest.raises(CannotWrite, match="was taken away"):
            target.keep()
    assert contents(tmp_path) == {}


def test_folder_is_made(tmp_path: Path) -> None:
    download(tmp_path / "a" / "b", b"hello")
    assert contents(tmp_path / "a" / "b") == {"file.txt": b"hello"}


def test_folder_may_be_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    download(tmp_path / "link", b"hello")
    assert contents(tmp_path / "real") == {"file.txt": b"hello"}


@pytest.mark.parametrize("below", ["", "deeper"])
def test_folder_that_is_a_file_is_refused(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"precious")
    assert "the folder " in refused(tmp_path / "file" / below)
    assert (tmp_path / "file").read_bytes() == b"precious"


def test_folder_may_be_moved_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with Target(str(folder), NAME) as target:
        os.write(target.fd, b"hello")
        folder.rename(tmp_path / "moved")
        target.keep()
    assert contents(tmp_path / "moved") == {"file.txt": b"hello"}
    assert not folder.exists()


# Two at once.


def test_second_download_of_the_same_name_is_refused(tmp_path: Path) -> None:
    with Target(str(tmp_path), NAME) as first:
        os.write(first.fd, b"hello")
        assert f"another download is writing '{PART}'" in refused(tmp_path)
        assert contents(tmp_path) == {PART: b"hello"}  # not cut short by the second
        download(tmp_path, b"other", b"other.txt")
        first.keep()
    download(tmp_path, b"again")
    assert contents(tmp_path) == {"file.txt": b"again", "other.txt": b"other"}


def between_open_and_lock(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Let something happen once, after the next part file is opened and before it is locked."""
    flock = fcntl.flock
    pending = [happens]

    def late(fd: int, operation: int) -> None:
        if pending:
            pending.pop()()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)


def test_first_is_kept_before_the_second_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Target(str(tmp_path), NAME)

    def finish() -> None:
        with first:
            os.write(first.fd, b"first")
            first.keep()

    # What the second opened has become the finished file: it must not be cut to nothing.
    between_open_and_lock(monkeypatch, finish)
    with Target(str(tmp_path), NAME) as second:
        assert contents(tmp_path) == {"file.txt": b"first", PART: b""}
        os.write(second.fd, b"second")
        assert contents(tmp_path) == {"file.txt": b"first", PART: b"second"}
        second.keep()
    assert contents(tmp_path) == {"file.txt": b"second"}


def test_first_is_kept_and_a_third_begins_before_the_second_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Target(str(tmp_path), NAME)
    third: list[Target] = []

    def finish() -> None:
        with first:
            os.write(first.fd, b"first")
            first.keep()
        third.append(Target(str(tmp_path), NAME))
        os.write(third[0].fd, b"third")

    between_open_and_lock(monkeypatch, finish)
    assert "another download" in refused(tmp_path)
    with third[0]:
        assert contents(tmp_path) == {"file.txt": b"first", PART: b"third"}
        third[0].keep()


def test_record_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    """By its own name: the part is not in the way."""
    (tmp_path / "precious").write_bytes(b"precious")
    record = part_name(b"file.txt", RECORD_SUFFIX).decode()
    with Target(str(tmp_path), b"file.txt") as target:
        (tmp_path / record).symlink_to("precious")
        with pytest.raises(CannotWrite, match=f"^'{record}' is in the way: it is a symbolic link$"):
            target.open_record()
    assert (tmp_path / "precious").read_bytes() == b"precious"


@pytest.mark.parametrize("kind", ["file", "absent", "folder", "link", "fifo"])
def test_what_has_the_final_name(kind: str, tmp_path: Path, no_descriptor_leaks: None) -> None:
    """It is read only if it is a file, and nobody is waited for."""
    path = tmp_path / "file.txt"
    with Target(str(tmp_path), b"file.txt") as target:
        if kind == "file":
            path.write_bytes(b"hello")
        elif kind == "folder":
            path.mkdir()
        elif kind == "link":
            path.symlink_to(__file__)
        elif kind == "fifo":
            os.mkfifo(path)
        fd = target.open_final()
        assert (fd is not None) == (kind == "file")
        if fd is not None:
            assert os.pread(fd, 10, 0) == b"hello"
            os.close(fd)


def test_part_replaced_by_a_symlink_before_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "precious").write_bytes(b"precious")

    def plant() -> None:
        (tmp_path / PART).unlink()
        (tmp_path / PART).symlink_to("precious")

    between_open_and_lock(monkeypatch, plant)
    assert "symbolic link" in refused(tmp_path)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "made up")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert "no locks available" in refused(tmp_path)


def test_interruption_while_locking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    between_open_and_lock(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        Target(str(tmp_path), NAME)


# Names.


@pytest.mark.parametrize(
    "name",
    [
        *(b"a", b"file.txt", b".bashrc", b"...", b"-rf", b"~", b"~name", b"file:", b"a:b", b"*"),
        *(b"a b", b" ", b"a\\b", b"%2f", "下载文件.txt".encode(), "e\u0301".encode(), b"a" * 255),
    ],
)
def test_local_name(name: bytes) -> None:
    assert local_name(name) is name


@pytest.mark.parametrize(
    "name",
    [
        *(b"", b".", b"..", b"/", b"a/b", b"../a", b"/etc/passwd", b"a/", b"..\0", b"a\0b"),
        *(b"a\nb", b"a\r", b"\t", b"\x7f", b"\x1b[2J", "\u009b2J".encode()),
        *("\u202egpj.exe".encode(), "\u2066a".encode(), "a\u200bb".encode()),
        *("\u2028".encode(), "\u3000".encode(), "\ufeffa".encode()),
        *(b"\xff", b"a\x80", b"\xed\xb3\xbf", "下载".encode("gbk"), b"\xc0\xaf"),
        *(b"a" * 256, "下".encode() * 86),
    ],
)
def test_refused_local_name(name: bytes) -> None:
    with pytest.raises(BadRequest) as raised:
        local_name(name)
    assert str(raised.value).isprintable()  # it is shown on a terminal


@given(st.binary(max_size=300))
def test_any_local_name_is_one_plain_segment(name: bytes) -> None:
    try:
        local_name(name)
    except BadRequest:
        return
    assert name not in (b"", b".", b"..")
    assert not {b"/"[0], 0} & set(name)
    assert name.decode("utf-8").isprintable()
    assert len(name) <= MAX_SEGMENT


SEGMENTS = st.one_of(
    st.binary(min_size=1, max_size=MAX_SEGMENT),
    # Long ones that differ at their end only.
    st.builds(
        lambda end, size: b"a" * (size - len(end)) + end, st.binary(max_size=4), st.just(255)
    ),
    st.integers(235, 255).map(lambda size: b"a" * size),
)


@given(SEGMENTS, SEGMENTS)
def test_part_names(one: bytes, other: bytes) -> None:
    for name in (one, other):
        assert len(part_name(name)) <= MAX_SEGMENT
        assert part_name(name) != name
        assert part_name(name).endswith(SUFFIX)
    assert (part_name(one) == part_name(other)) == (one == other)


@pytest.mark.parametrize("size", [242, 243, 244, 254, 255])
def test_long_names(size: int, tmp_path: Path) -> None:
    name, other = b"a" * size, b"a" * (size - 1) + b"b"
    with Target(str(tmp_path), name) as target:
        os.write(target.fd, b"hello")
        download(tmp_path, b"other", other)  # at the same time
        assert (tmp_path / target.part).exists()
        target.keep()
    assert contents(tmp_path) == {name.decode(): b"hello", other.decode(): b"other"}


def test_name_that_is_too_long_for_the_file_system(tmp_path: Path) -> None:
    with Target(str(tmp_path), b"a" * 256) as target, pytest.raises(CannotWrite, match="too long"):
        target.keep()


@pytest.mark.usefixtures("no_descriptor_leaks")
def test_a_part_that_cannot_be_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int, length: int) -> None:
        raise OSError(errno.EIO, "the disk fails")

    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(CannotWrite):
        Target(str(tmp_path), NAME)


def begun(folder: Path) -> Target:
    """A target of which a part is there, and a record."""
    (folder / PART).write_bytes(b"old")
    (folder / RECORD).write_bytes(b"record")
    return Target(str(folder), b"file.txt", resume=True)


def test_new_version_beside_what_was_begun(tmp_path: Path) -> None:
    with begun(tmp_path) as target:
        target.begin_anew()
        assert target.is_empty
        assert not target.has_record
        os.write(target.fd, b"new")
        os.close(target.open_record())
        assert target.has_record
        target.keep()
    assert contents(tmp_path) == {"file.txt": b"new"}


def test_new_version_that_is_given_up(tmp_path: Path) -> None:
    with begun(tmp_path) as target:
        target.begin_anew()
        os.close(target.open_record())
        target.go_back()
        assert os.read(target.fd, 9) == b"old"
        assert target.has_record
    assert contents(tmp_path) == {PART: b"old", RECORD: b"record"}
    with begun(tmp_path) as target:
        target.begin_anew()
        os.write(target.fd, b"new")
    assert len(contents(tmp_path)) == 3
    with begun(tmp_path) as target:
        target.begin_anew()
        assert os.read(target.fd, 9) == b"new"
        target.go_back()
        target.keep()
    assert contents(tmp_path) == {"file.txt": b"old"}


def test_new_version_where_something_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file.txt.tcpdl-new.tcpdl-part").symlink_to("elsewhere")
    with begun(tmp_path) as target:
        with pytest.raises(CannotWrite, match="in the way"):
            target.begin_anew()
        assert os.read(target.fd, 9) == b"old"
        assert target.has_record

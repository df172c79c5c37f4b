"""Tests `web.tar` and `web.zip`: the standard library reads what was written, at any size."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.web import tar
from tcpdl.web.zip import Zip, directory_size

PATHS = (
    st.lists(
        st.one_of(st.binary(min_size=1, max_size=255), st.text(min_size=1).map(str.encode)),
        min_size=1,
        max_size=6,
    )
    .map(b"/".join)
    .filter(lambda path: b"\0" not in path and not path.endswith(b"/"))
)
MODES = st.integers(0, 0o777)
TIMES = st.integers(-(2**63) // 10**9, 2**63 // 10**9)


def text(encoded: bytes) -> str:
    return encoded.decode("utf-8", "surrogateescape")


@given(
    kind=st.sampled_from([tar.FILE, tar.FOLDER, tar.LINK]),
    name=PATHS,
    mode=MODES,
    mtime=TIMES,
    size=st.integers(0, 2**63 - 1),
    link=PATHS,
)
def test_tar_header(
    kind: bytes, name: bytes, mode: int, mtime: int, size: int, link: bytes
) -> None:
    size = size if kind == tar.FILE else 0
    link = link if kind == tar.LINK else b""
    header = tar.header(kind, name, mode, mtime, size=size, link=link)
    assert len(header) % tar.BLOCK == 0
    member = tarfile.TarFile(fileobj=io.BytesIO(header + tar.END), encoding="utf-8").next()
    assert member is not None
    assert (member.type, member.name) == (kind, text(name).rstrip("/"))
    assert (member.mode, member.mtime, member.size) == (mode, mtime, size)
    assert (member.linkname, member.uid, member.gid) == (text(link), 0, 0)


@pytest.mark.parametrize(
    ("name", "charset"),
    [(b"n" * 200, False), (b"\xc3\xbc" * 99, False), (b"\xff" * 200, True)],
)
def test_tar_says_what_is_not_utf8(name: bytes, charset: bool) -> None:
    header = tar.header(tar.FILE, name, 0, 0)
    assert (b"21 hdrcharset=BINARY\n" in header) == charset
    # GNU tar warns of that field, so it is left out where none is needed.
    assert tar.header(tar.FILE, b"\xff", 0, 0)[:2] == b"\xff\0"


def test_tar_folder_ends_in_a_slash() -> None:
    assert tar.header(tar.FOLDER, b"folder", 0, 0)[:8] == b"folder/\0"


@pytest.mark.parametrize("length", [1, 80, 86, 87, 88, 99, 100, 101, 985, 986, 987, 9900, 10000])
def test_length_of_an_extended_field(length: int) -> None:
    name = b"n" * length
    with tarfile.open(fileobj=io.BytesIO(tar.header(tar.FILE, name, 0, 0) + tar.END)) as opened:
        assert opened.getnames() == [name.decode()]


@pytest.mark.parametrize(("size", "length"), [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)])
def test_padding(size: int, length: int) -> None:
    assert tar.padding(size) == bytes(length)


@given(
    name=PATHS,
    mode=MODES,
    mtime=TIMES,
    content=st.binary(max_size=100),
    known=st.booleans(),
)
def test_zip_member(name: bytes, mode: int, mtime: int, content: bytes, known: bool) -> None:
    archive = Zip()
    pieces = [archive.folder(b"folder", 0o750, mtime)]
    if known:
        pieces += archive.file(name, mode, mtime, content), content
    else:
        pieces += archive.begin(name, mode, mtime, len(content)), content
        pieces.append(archive.finish(crc32(content)))
    *directory, end = archive.end()
    assert sum(map(len, directory)) <= directory_size(b"folder") + directory_size(name)
    with zipfile.ZipFile(io.BytesIO(b"".join((*pieces, *directory, end)))) as opened:
        folder, file = opened.infolist()
        assert (folder.filename, folder.is_dir()) == ("folder/", True)
        assert (folder.external_attr >> 16, file.external_attr >> 16) == (0o40750, 0o100000 | mode)
        assert opened.read(file) == content
        encoding = "utf-8" if file.flag_bits & 0x800 else "cp437"
        assert file.orig_filename.encode(encoding) == name
        assert (1980, 1, 1, 0, 0, 0) <= file.date_time <= (2107, 12, 31, 23, 59, 59)


@pytest.mark.parametrize(
    ("name", "flag"), [(b"ascii", 0), ("ü".encode(), 0x800), (b"\xff", 0), (b"\xc3\xbc\xff", 0)]
)
def test_zip_says_what_is_utf8(name: bytes, flag: int) -> None:
    archive = Zip()
    header = archive.file(name, 0o644, 0, b"")
    assert int.from_bytes(header[6:8], "little") == flag
    with zipfile.ZipFile(io.BytesIO(b"".join((header, *archive.end())))) as opened:
        assert opened.infolist()[0].flag_bits == flag


@pytest.mark.parametrize(
    ("mtime", "shown"),
    [
        (1_600_000_000, (2020, 9, 13, 12, 26, 40)),
        (1_600_000_001, (2020, 9, 13, 12, 26, 40)),
        (-1, (1980, 1, 1, 0, 0, 0)),
        (1 << 40, (2107, 12, 31, 23, 59, 58)),
    ],
)
def test_zip_times(mtime: int, shown: tuple[int, ...]) -> None:
    archive = Zip()
    header = archive.file(b"file", 0, mtime, b"")
    with zipfile.ZipFile(io.BytesIO(b"".join((header, *archive.end())))) as opened:
        (file,) = opened.infolist()
        assert file.date_time == shown
        stamp = b"UT\5\0\1" + (mtime & 0xFFFFFFFF).to_bytes(4, "little")
        assert file.extra == (stamp if abs(mtime) < 1 << 31 else b"")


@pytest.mark.parametrize("size", [(1 << 32) - 2, (1 << 32) - 1, 1 << 32, (5 << 30) + 1])
def test_zip_with_a_large_file(tmp_path: Path, size: int) -> None:
    path, archive = tmp_path / "archive.zip", Zip()
    try:
        with path.open("wb") as out:
            out.write(archive.begin(b"large", 0o644, 0, size))
            out.seek(size, os.SEEK_CUR)  # a hole
            out.write(archive.finish(12345))
            out.write(archive.file(b"behind", 0o644, 0, b"1") + b"1")
            out.writelines(archive.end())
    except OSError as error:
        pytest.skip(f"no sparse files of this size here: {error}")
    with zipfile.ZipFile(path) as opened:
        large, behind = opened.infolist()
        assert (large.file_size, large.compress_size, large.CRC) == (size, size, 12345)
        with opened.open(large) as file:
            assert file.read(100) == bytes(100)
        assert opened.read(behind) == b"1"


@pytest.mark.parametrize("count", [65_534, 65_535, 65_536])
def test_zip_with_many_files(count: int) -> None:
    archive = Zip()
    headers = [archive.file(b"%d" % number, 0o644, 0, b"") for number in range(count)]
    with zipfile.ZipFile(io.BytesIO(b"".join((*headers, *archive.end())))) as opened:
        assert len(opened.namelist()) == count
        assert opened.read(str(count - 1)) == b""


def test_zip_directory_comes_in_pieces() -> None:
    archive = Zip()
    for _ in range(3000):
        archive.file(b"n" * 200, 0o644, 0, b"")
    sizes = [len(piece) for piece in archive.end()]
    assert len(sizes) > 3
    assert max(sizes) <= 256 * 1024

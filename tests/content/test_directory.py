"""Tests `content.directory`: which files below a folder are opened, on real trees of files."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpdl.content.directory import MAX_LINKS, Directory, Symlinks
from tcpdl.content.errors import Absent, IsFolder, NotServed, Refused, Unavailable
from tcpdl.wire.names import NameRefused, parse_name
from tcpdl.wire.pack import LEFT_OUT

CANARY = b"CANARY: this must never be read"
REAL = b"real contents"
HIDDEN = b"hidden contents"

Outcome = bytes | type[NotServed]


def make_tree(base: Path) -> Path:
    """A root with files and folders, and beside it what must not be reached. Returns the root."""
    root = base / "root"
    for folder in (root / "folder/deeper", root / ".hidden", root / "links", base / "outside"):
        folder.mkdir(parents=True)
    (root / "file.txt").write_bytes(REAL)
    (root / "empty").touch()
    (root / "folder/file.txt").write_bytes(REAL)
    (root / "folder/deeper/file.txt").write_bytes(REAL)
    (root / ".hidden/file.txt").write_bytes(HIDDEN)
    (root / ".file").write_bytes(HIDDEN)
    (base / "root-secret").mkdir()
    for canary in (base / "file.txt", base / "outside/file.txt", base / "root-secret/file.txt"):
        canary.write_bytes(CANARY)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tree(tmp_path)


def read(directory: Directory, name: str | bytes) -> Outcome:
    """The contents of the file called `name`, or the kind of refusal.

    What is said of the file without opening it must agree with that.
    """
    safe = parse_name(os.fsencode(name), hidden=directory.hidden)
    try:
        file = directory.open_file(safe)
    except NotServed as problem:
        refusal = problem
        with pytest.raises(NotServed) as other:
            directory.identify(safe)
        assert (other.type, str(other.value)) == (type(refusal), str(refusal))
    else:
        try:
            assert directory.identify(safe) == file.identity
            contents = b"".join(iter(lambda: os.read(file.fd, 65536), b""))
            assert len(contents) == file.size
            return contents
        finally:
            file.close()
    assert str(refusal).isprintable()
    assert os.fsdecode(directory.path) not in str(refusal)
    return type(refusal)


def look(root: Path | str, name: str | bytes, **options: bool | Symlinks) -> Outcome:
    """As `read`, of a directory opened for this one name."""
    hidden = bool(options.get("hidden", False))
    symlinks = Symlinks(options.get("symlinks", Symlinks.INSIDE))
    directory = Directory(root, hidden=hidden, symlinks=symlinks)
    try:
        return read(directory, name)
    finally:
        directory.close()


def run(script: str, *arguments: str | Path) -> list[str]:
    """The lines that `script` prints in a process of its own, whose limits and user it may set."""
    prologue = """
        import os, resource, sys
        from pathlib import Path
        from tcpdl.content.directory import Directory
        from tcpdl.content.errors import NotServed
        from tcpdl.wire.names import parse_name
        def report(directory, name):
            try:
                file = directory.open_file(parse_name(name.encode()))
            except NotServed as problem:
                print(type(problem).__name__)
            else:
                print(os.read(file.fd, 100).decode())
                file.close()
    """
    source = textwrap.dedent(prologue) + textwrap.dedent(script)
    command = [sys.executable, "-c", source, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("file.txt", REAL),
        ("./file.txt", REAL),
        ("empty", b""),
        ("folder/file.txt", REAL),
        ("folder//./file.txt", REAL),
        ("folder/deeper/file.txt", REAL),
        ("absent", Absent),
        ("absent/file.txt", Absent),
        ("folder/absent", Absent),
        ("file.txt/", Absent),
        ("file.txt/.", Absent),
        ("file.txt/file.txt", Absent),
        ("FILE.TXT", Absent),
        ("folder", IsFolder),
        ("folder/", IsFolder),
        ("folder/deeper", IsFolder),
        ("", IsFolder),
        (".", IsFolder),
        ("./", IsFolder),
    ],
)
def test_names(root: Path, name: str, outcome: Outcome) -> None:
    assert look(root, name) == outcome
    assert look(root, name, symlinks=Symlinks.NEVER) == outcome


def test_names_are_bytes(root: Path) -> None:
    for name in (b"\xff\xfe", "下载文件.txt".encode(), "下载文件.txt".encode("gbk"), b"a\nb\\"):
        Path(os.fsdecode(os.path.join(os.fsencode(root), name))).write_bytes(name)
        assert look(root, name) == name


def test_longest_segment(root: Path) -> None:
    (root / ("s" * 255)).write_bytes(REAL)
    assert look(root, "s" * 255) == REAL
    assert look(root, "t" * 255) == Absent


def test_deep_tree(root: Path) -> None:
    deep = "d/" * 300
    (root / deep).mkdir(parents=True)
    (root / deep / "file.txt").write_bytes(REAL)
    (root / "shortcut").symlink_to(deep)
    assert look(root, deep + "file.txt") == REAL
    assert look(root, "shortcut/file.txt") == REAL
    assert look(root, deep) == IsFolder
    assert look(root, deep + "d") == Absent


def test_hidden_only_if_asked_for(root: Path) -> None:
    assert look(root, ".file", hidden=True) == HIDDEN
    assert look(root, ".hidden/file.txt", hidden=True) == HIDDEN
    with pytest.raises(NameRefused, match="hidden"):
        look(root, ".file")
    with pytest.raises(NameRefused, match="hidden"):
        look(root, ".hidden/file.txt")


@pytest.mark.parametrize("suffix", ["", "/", "/file.txt"])
@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_neither_file_nor_folder(root: Path, kind: str, suffix: str) -> None:
    if kind == "fifo":
        os.mkfifo(root / "odd")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            folder = os.open(root, os.O_RDONLY)
            listener.bind(f"/dev/fd/{folder}/odd")  # tmp_path may be too long for an address
            os.close(folder)
    assert look(root, "odd" + suffix) == (Absent if suffix == "/file.txt" else Refused)


def test_fifo_does_not_wake_its_writer(root: Path) -> None:
    os.mkfifo(root / "fifo")
    script = "import sys; print(flush=True); open(sys.argv[1], 'w').write('payload')"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(root / "fifo")], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        while not _state(writer.pid).startswith("S"):  # until it is blocked, which is all it does
            os.sched_yield()
        blocked = _state(writer.pid)
        assert look(root, "fifo") == Refused
        # It sleeps, and has not slept, run and slept again.
        assert _state(writer.pid) == blocked
        assert (root / "fifo").read_text() == "payload"
    assert writer.returncode == 0


def _state(pid: int) -> str:
    """Whether a process runs or sleeps, and how often it has gone to sleep so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines)
    return fields["State"] + fields["voluntary_ctxt_switches"]


@pytest.mark.parametrize("name", ["null", "zero", "tty"])
def test_device(root: Path, name: str) -> None:
    assert look("/dev", name) == Refused
    (root / "device").symlink_to(f"/dev/{name}")
    assert look(root, "device") == Refused


def test_what_the_user_may_not_read(root: Path) -> None:
    (root / "file.txt").chmod(0)
    (root / "folder").chmod(0)
    (root / "searchable").mkdir()
    (root / "searchable/file.txt").write_text("found")
    (root / "searchable").chmod(0o111)
    script = """
        directory = Directory(sys.argv[1])
        if os.geteuid() == 0:  # root may read everything
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        report(directory, "file.txt")
        report(directory, "folder/file.txt")
        report(directory, "folder/absent")
        report(directory, "searchable/file.txt")
        report(directory, "empty")
    """
    root.chmod(0o755)
    try:
        assert run(script, root) == ["Refused", "Refused", "Refused", "found", ""]
    finally:
        (root / "folder").chmod(0o755)
        (root / "searchable").chmod(0o755)


# Where a link in root/links leads, to a folder; with what is then found there.
LINKS: list[tuple[str, Outcome, Outcome]] = [
    ("../folder", REAL, REAL),
    (".././/folder/", REAL, REAL),
    ("../folder/deeper/../../folder", REAL, REAL),
    ("..", REAL, REAL),
    ("{root}", REAL, REAL),
    ("{root}/", REAL, REAL),
    ("{root}/folder", REAL, REAL),
    ("../.hidden", Refused, HIDDEN),
    ("{root}/.hidden", Refused, HIDDEN),
    ("../absent", Absent, Absent),
    ("{root}/absent", Absent, Absent),
    ("../file.txt", Absent, Absent),
    ("../..", Refused, Refused),
    ("../../outside", Refused, Refused),
    ("../../outside/", Refused, Refused),
    ("../../root/folder", Refused, Refused),
    ("../../outside/../root/folder", Refused, Refused),
    ("../folder/../../root/folder", Refused, Refused),
    ("../../absent", Refused, Refused),
    ("/", Refused, Refused),
    ("{root}/..", Refused, Refused),
    ("{root}/../outside", Refused, Refused),
    ("{root}/../root/folder", Refused, Refused),
    ("{root}-secret", Refused, Refused),
    ("{base}/outside", Refused, Refused),
    ("/{root}/folder", Refused, Refused),
    ("{base}/./root/folder", Refused, Refused),
    ("/absent", Refused, Refused),
]


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize(("target", "outcome", "with_hidden"), LINKS)
def test_link(
    root: Path, target: str, outcome: Outcome, with_hidden: Outcome, absolute: bool
) -> None:
    target = target.format(root=root, base=root.parent)
    (root / "links/folder").symlink_to(target)
    (root / "links/file").symlink_to(target + "/file.txt")
    for name in ("links/folder/file.txt", "links/file"):
        assert look(root, name) == outcome
        assert look(root, name, hidden=True) == with_hidden
        assert look(root, name, symlinks=Symlinks.NEVER) == Refused
        assert look(root, name, hidden=True, symlinks=Symlinks.NEVER) == Refused


# O_NOFOLLOW follows a link all the same when a slash comes after it.
@pytest.mark.parametrize("suffix", ["/", "//", "/.", "/./", "//.//"])
def test_slash_after_a_link(root: Path, suffix: str) -> None:
    (root / "in").symlink_to("folder")
    (root / "in_file").symlink_to("file.txt")
    (root / "out").symlink_to("../outside")
    (root / "out_file").symlink_to("../outside/file.txt")
    (root / "slash").symlink_to("../outside/")
    (root / "via").symlink_to("out" + suffix)
    assert look(root, "in" + suffix) == IsFolder
    assert look(root, "in" + suffix + "/file.txt") == REAL
    assert look(root, "in_file" + suffix) == Absent
    for name in ("out", "out_file", "slash", "via"):
        assert look(root, name + suffix) == Refused
        assert look(root, name + suffix + "/file.txt") == Refused


def test_link_to_a_folder_is_one(root: Path) -> None:
    (root / "in").symlink_to("folder")
    (root / "self").symlink_to(".")
    assert look(root, "in") == IsFolder
    assert look(root, "self") == IsFolder
    assert look(root, "self/self/self/in/file.txt") == REAL


def test_loops(root: Path) -> None:
    (root / "self").symlink_to("self")
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("folder/../one")
    (root / "grows").symlink_to("grows/x/x/x/x")
    for name in ("self", "self/file.txt", "self/", "one", "one/file.txt", "grows", "grows/x"):
        assert look(root, name) == Absent


@pytest.mark.parametrize("last", ["file.txt", "folder"])
def test_chain_of_links(root: Path, last: str) -> None:
    assert MAX_LINKS == 16
    (root / "link0").symlink_to(last)
    for number in range(1, 17):
        (root / f"link{number}").symlink_to(f"link{number - 1}")
    suffix = "" if last == "file.txt" else "/file.txt"
    assert look(root, "link15" + suffix) == REAL  # 16 links
    assert look(root, "link16" + suffix) == Absent


def test_links_that_lead_up_and_down(root: Path) -> None:
    """Each is short enough, and all together would keep the reactor."""
    deep = root.joinpath(*["d"] * 300)
    os.makedirs(deep)
    for number in range(4):
        onward = f"link{number + 1}" if number < 3 else "folder/file.txt"
        (root / f"link{number}").symlink_to("d/" * 300 + f"up{number}")
        (deep / f"up{number}").symlink_to("../" * 300 + onward)
    assert look(root, "link1") == REAL
    assert look(root, "link0") == Absent


def test_magic_links_behind_links(root: Path) -> None:
    with open(root.parent / "outside/file.txt", "rb") as canary:
        for target in ("environ", "root", "cwd", "exe", "fd", f"fd/{canary.fileno()}", "status"):
            (root / "links" / target.replace("/", "-")).symlink_to(f"/proc/self/{target}")
        for link in os.listdir(root / "links"):
            for suffix in ("", "/", "/0", "/etc/passwd", f"/{canary.fileno()}"):
                assert look(root, f"links/{link}{suffix}") == Refused


def test_magic_links_below_a_served_proc(root: Path) -> None:
    proc = Directory("/proc")
    folder = os.open(root.parent / "outside", os.O_RDONLY)
    reader, writer = os.pipe()
    deleted = os.open(root.parent / "deleted", os.O_RDWR | os.O_CREAT)
    os.write(deleted, CANARY)
    os.unlink(root.parent / "deleted")
    try:
        with open(root.parent / "outside/file.txt", "rb") as canary:
            for name in ("root", "root/etc/passwd", "cwd", "cwd/pyproject.toml", "exe"):
                assert read(proc, f"self/{name}") == Refused
            for fd in (canary.fileno(), folder, deleted):
                assert read(proc, f"self/fd/{fd}") == Refused
                assert read(proc, f"self/fd/{fd}/file.txt") == Refused
            # Its text is `pipe:[...]`, which would be a name in the same folder.
            assert read(proc, f"self/fd/{reader}") == Absent
            # A link like any other: its text is that of a folder in /proc.
            assert read(proc, "self") == IsFolder
    finally:
        proc.close()
        for fd in (folder, reader, writer, deleted):
            os.close(fd)


def test_root_reached_through_a_link(root: Path) -> None:
    (root.parent / "way").symlink_to(root)
    (root / "links/in").symlink_to(root / "file.txt")
    (root / "links/out").symlink_to(root.parent / "outside/file.txt")
    for way in (root.parent / "way", f"{root.parent}/way/", f"{root}/../way/.", f"{root}//"):
        assert look(way, "file.txt") == REAL
        assert look(way, "links/in") == REAL
        assert look(way, "links/out") == Refused


def test_absolute_link_below_the_root_of_all(root: Path) -> None:
    (root / "links/in").symlink_to(root / "file.txt")
    assert look("/", f"{root}/links/in".lstrip("/")) == REAL


def test_renaming_the_root_changes_nothing(root: Path) -> None:
    (root / "links/in").symlink_to("../file.txt")
    (root / "links/absolute").symlink_to(root / "file.txt")
    directory = Directory(root)
    try:
        root.rename(root.parent / "moved")
        for stand_in in ("nothing", "folder", "link"):
            if stand_in == "folder":
                root.mkdir()
                (root / "file.txt").write_bytes(CANARY)
            elif stand_in == "link":
                root.rename(root.parent / "moved-too")
                root.symlink_to("outside")
            assert read(directory, "file.txt") == REAL
            assert read(directory, "folder/file.txt") == REAL
            assert read(directory, "links/in") == REAL
            assert read(directory, "links/absolute") == REAL
    finally:
        directory.close()


def test_removing_the_root_is_told_from_an_empty_one(root: Path) -> None:
    """Whoever mirrors it would else remove all that was there."""
    directory = Directory(root)
    top = parse_name(b"")
    try:
        walk = directory.walk(top, recursive=True, content_most=-1)
        shutil.rmtree(root)
        assert [entry.kind for entry in walk] == [LEFT_OUT]
        for ask in (directory.list, lambda name: directory.pick(name, [b"a"], content_most=9)):
            with pytest.raises(Absent):
                ask(top)
        root.mkdir()
        with pytest.raises(Absent):
            directory.list(top)
    finally:
        directory.close()


def test_root_that_cannot_be_opened(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Directory(root / "absent")
    with pytest.raises(NotADirectoryError):
        Directory(root / "file.txt")


def test_closing(root: Path) -> None:
    directory = Directory(root)
    file = directory.open_file(parse_name(b"file.txt"))
    directory.close()
    directory.close()
    assert os.read(file.fd, 100) == REAL
    file.close()
    # The current directory must not stand in for the root.
    assert read(directory, "pyproject.toml") == Unavailable


def test_opened_file(root: Path) -> None:
    directory = Directory(root)
    file = directory.open_file(parse_name(b"file.txt"))
    with open(root / "file.txt", "ab") as grown:
        grown.write(b"more")
    assert file.size == len(REAL)
    assert not os.get_inheritable(file.fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(file.fd, b"x")
    file.close()
    directory.close()


def test_no_descriptors_left(root: Path) -> None:
    (root / "in").symlink_to("folder")
    script = """
        directory = Directory(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        spare = []
        while True:
            try:
                spare.append(os.dup(0))
            except OSError:
                break
        report(directory, "folder/deeper/file.txt")
        report(directory, "file.txt")
        report(directory, "absent")
        os.close(spare.pop())
        report(directory, "file.txt")
        report(directory, "folder/file.txt")
        os.close(spare.pop())
        report(directory, "folder/file.txt")
        # However deep: a walk holds one folder and opens one more. None may stay behind.
        os.close(spare.pop())
        for name in ("folder/deeper/file.txt", "in/file.txt", "folder/absent", "in", "file.txt/x"):
            for _ in range(100):
                try:
                    directory.open_file(parse_name(name.encode())).close()
                except NotServed:
                    pass
            report(directory, name)
    """
    real = REAL.decode()
    assert run(script, root) == [
        *["Unavailable", "Unavailable", "Absent"],  # none left: looking needs none
        *[real, "Unavailable"],  # one left
        real,  # two left
        *[real, real, "Absent", "IsFolder", "Absent"],
    ]


@pytest.fixture(scope="module")
def maze(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    """A tree with links in every direction, in which almost every name leads somewhere."""
    root = make_tree(tmp_path_factory.mktemp("maze"))
    for folder in (root, root / "folder", root / "links"):
        for number, (target, _, _) in enumerate(LINKS):
            (folder / f"{number}").symlink_to(target.format(root=root, base=root.parent))
    directory = Directory(root)
    yield directory
    directory.close()


STEPS = st.sampled_from(["folder", "links", "deeper", "file.txt", ".", ""]) | st.integers(
    0, len(LINKS) - 1
).map(str)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=8).map("/".join).filter(lambda name: not name.startswith("/")))
def test_no_name_leads_out(maze: Directory, name: str) -> None:
    outcome = read(maze, name)
    assert outcome in (REAL, Absent, Refused, IsFolder)

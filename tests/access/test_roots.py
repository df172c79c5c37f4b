"""Tests `access.roots`: which rules decide, and that files are read again together."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.access.files import LOOK_SECONDS, Kept
from tcpdl.access.roots import KeptRootRules, RootRules
from tcpdl.access.rules import READ_BY_ANYONE, Level, Rules, parse

OWN = b"/ anyone list\n/a/** anyone read\n/b ann read\n"
COMMON = b"/ anyone list\n/other/** anyone read\n/own/** anyone read\n/other/b/** anyone nothing\n"

segments = st.lists(st.sampled_from([b"own", b"other", b"a", b"b", b""]), max_size=4).map(tuple)


@given(segments, st.sampled_from([None, "ann", "bob"]))
def test_which_rules_decide(where: tuple[bytes, ...], user: str | None) -> None:
    own, common = parse(OWN), parse(COMMON)
    permissions = RootRules(common, {b"own": own}).of(user)
    if where[:1] == (b"own",):
        expected = own.of(user).level(where[1:])
    else:
        expected = common.of(user).level(where)
    assert permissions.level(where) == expected
    level_of = permissions.within(where)
    for name in (b"own", b"other", b"a", b"b"):
        assert level_of(name) == permissions.level((*where, name))


class Files:
    """Files of rules that are kept together, and a clock."""

    def __init__(self, folder: Path, *, common: bool) -> None:
        self.now = 0.0
        self.warnings: list[str] = []
        self.own, self.common = folder / "own", folder / "common"
        self.own.write_bytes(OWN)
        self.common.write_bytes(COMMON)
        self.kept = KeptRootRules(
            self._kept(self.common) if common else None,
            READ_BY_ANYONE,
            {b"own": self._kept(self.own)},
            clock=lambda: self.now,
        )

    def _kept(self, path: Path) -> Kept[Rules]:
        return Kept(str(path), parse, warn=self.warnings.append, clock=lambda: self.now)

    def level(self, *where: bytes) -> Level:
        return self.kept.get().of(None).level(where)


@pytest.mark.parametrize("common", [True, False])
def test_without_rules_for_all(common: bool, tmp_path: Path) -> None:
    files = Files(tmp_path, common=common)
    assert files.level(b"own", b"b") == Level.NOTHING
    assert files.level(b"third", b"b") == (Level.NOTHING if common else Level.READ)
    assert files.level() == (Level.LIST if common else Level.READ)


@pytest.mark.usefixtures("settled")
def test_they_are_the_same_until_one_changes(tmp_path: Path) -> None:
    files = Files(tmp_path, common=True)
    first = files.kept.get()
    for _ in range(3):
        files.now += LOOK_SECONDS
        assert files.kept.get() is first
    files.kept.reload()
    assert files.kept.get() is not first, "whatever they say, they were read again"
    for path in (files.own, files.common):
        before = files.kept.get()
        path.write_bytes(b"# nothing more\n")
        assert files.kept.get() is before, "it is not looked at all the time"
        for _ in range(2):  # it has to be seen twice
            files.now += LOOK_SECONDS
            files.kept.get()
        assert files.kept.get() is not before
    assert files.level() == files.level(b"own", b"a") == Level.NOTHING


def test_one_that_is_broken_changes_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path, common=True)
    files.own.write_bytes(b"nonsense")
    files.common.write_bytes(b"/** anyone read")
    files.kept.reload()
    assert files.level(b"own", b"a") == Level.READ
    assert files.level(b"own", b"b") == Level.NOTHING
    assert files.level(b"third") == Level.READ
    assert len(files.warnings) == 1

"""Rules of several roots: each decides by its own, or by those for all. Imports what is beside it.

Patterns of a root's own rules are relative to that root. Those for all have its name before them,
and decide for the roots that have none of their own, and for what is above all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic

from tcpdl.access.files import LOOK_SECONDS, Kept
from tcpdl.access.patterns import Segments
from tcpdl.access.rules import Level, Rules


class RootPermissions:
    """What one visitor may do in all roots; used as `Permissions` are, by any thread."""

    def __init__(self, rules: RootRules, user: str | None) -> None:
        self._common = rules.common.of(user)
        self._own = rules.own
        self._user = user

    def level(self, segments: Segments) -> Level:
        """What may be done with the place at these segments, the first of which is a root."""
        own = self._own.get(segments[0]) if segments else None
        if own is None:
            return self._common.level(segments)
        return own.of(self._user).level(segments[1:])

    def within(self, folder: Segments) -> Callable[[bytes], Level]:
        """The same for what is directly in a folder, by its names: for going through many."""
        own = self._own.get(folder[0]) if folder else None
        if own is not None:
            return own.of(self._user).within(folder[1:])
        level_of = self._common.within(folder)
        if folder:
            return level_of
        return lambda name: self.level((name,)) if name in self._own else level_of(name)


class RootRules:
    """Rules of several roots; used as `Rules` are."""

    def __init__(self, common: Rules, own: Mapping[bytes, Rules]) -> None:
        """`own` are those of roots by their names, and `common` holds for all others."""
        self.common = common
        self.own = own

    def of(self, user: str | None) -> RootPermissions:
        """What `user` may do; `None` is whoever has not logged in."""
        return RootPermissions(self, user)


class KeptRootRules:
    """What several files of rules say; used as one that is `Kept`."""

    def __init__(
        self,
        common: Kept[Rules] | None,
        otherwise: Rules,
        own: Mapping[bytes, Kept[Rules]],
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Without a file for what is `common`, the rules are those `otherwise` given."""
        self._common = common
        self._otherwise = otherwise
        self._own = own
        self._clock = clock
        self._look_at = clock()
        self.value = self._together()
        """What they said when they were last read."""

    def get(self) -> RootRules:
        """What the files say, as of some seconds ago at most; the same as before if that is so."""
        if self._clock() >= self._look_at:
            self.look()
        return self.value

    def look(self) -> None:
        """Read again those files that have changed; see `Kept.look`."""
        self._look_at = self._clock() + LOOK_SECONDS
        for kept in self._files():
            kept.look()
        self._take()

    def reload(self) -> None:
        """Read all files again."""
        for kept in self._files():
            kept.reload()
        self._take()

    def _files(self) -> list[Kept[Rules]]:
        return [*([] if self._common is None else [self._common]), *self._own.values()]

    def _take(self) -> None:
        found = self._together()
        if (found.common, found.own) != (self.value.common, self.value.own):
            self.value = found

    def _together(self) -> RootRules:
        common = self._otherwise if self._common is None else self._common.value
        return RootRules(common, {name: kept.value for name, kept in self._own.items()})

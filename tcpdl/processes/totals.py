"""How many connections there are of each address, in several processes together. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping


class Totals:
    """Adds up what processes tell, and knows what each of them has to be told of the others."""

    def __init__(self) -> None:
        self._counts: dict[Hashable, dict[str, int]] = {}
        self._sums: dict[str, int] = {}
        self._news: dict[Hashable, set[str]] = {}
        self._said: dict[Hashable, set[str]] = {}  # what it knows that others have

    def join(self, who: Hashable) -> None:
        """Here is another process."""
        self._counts[who] = {}
        self._news[who] = {*self._sums}
        self._said[who] = set()

    def told(self, who: Hashable, counts: Mapping[str, int]) -> None:
        """It has so many now, for each of these addresses."""
        ours = self._counts[who]
        for key, count in counts.items():
            more = count - ours.get(key, 0)
            _put(ours, key, count)
            _put(self._sums, key, self._sums.get(key, 0) + more)
        for other, news in self._news.items():
            if other != who:
                said = self._said[other]
                for key in counts:
                    # What has come and gone is no news to who does not ask: there is no end of it.
                    (news.add if key in self._sums or key in said else news.discard)(key)

    def size(self, who: Hashable) -> int:
        """For how many addresses it has told of connections."""
        return len(self._counts[who])

    def leave(self, who: Hashable) -> None:
        """The process is gone."""
        self.told(who, dict.fromkeys(self._counts[who], 0))
        del self._counts[who], self._news[who], self._said[who]

    def news(self, who: Hashable, most: int) -> dict[str, int]:
        """What the others have, as far as it has changed since it was asked for last: of `most`
        addresses, and of further ones when it is asked for again."""
        keys, ours, said = self._news[who], self._counts[who], self._said[who]
        found: dict[str, int] = {}
        while keys and len(found) < most:
            key = keys.pop()
            count = found[key] = self._sums.get(key, 0) - ours.get(key, 0)
            (said.add if count else said.discard)(key)
        return found


def _put(counts: dict[str, int], key: str, count: int) -> None:
    if count:
        counts[key] = count
    else:
        counts.pop(key, None)

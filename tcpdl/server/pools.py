"""What there is for all clients together, and how much of it one address may have.

Imports `server.crowd`. Pure. Slow readers of one address could else keep from all others what there
is for all. This machine's own address may have all of it: it may be a proxy's.
"""

from __future__ import annotations

from tcpdl.server.crowd import Address

PART = 4
"""One address may have one of so many parts."""


class Pool:
    """So much of something."""

    def __init__(self, most: int, *, least: int = 1) -> None:
        """`most` for all together, and `least` for each, if that is more than its part."""
        self.most = most
        self.each = max(most // PART, least)
        self.taken = 0
        self._by: dict[bytes, int] = {}

    def take(self, address: Address | None, count: int = 1) -> bool:
        """Take `count` for a client at `address`, if there is so much for it."""
        if self.taken + count > self.most:
            return False
        if address is not None and not address.local and count:
            taken = self._by.get(address.key, 0) + count
            if taken > self.each:
                return False
            self._by[address.key] = taken
        self.taken += count
        return True

    def give(self, address: Address | None, count: int = 1) -> None:
        """Give back what was taken for that client."""
        self.taken -= count
        if address is not None and not address.local and count:
            left = self._by[address.key] - count
            if left:
                self._by[address.key] = left
            else:
                del self._by[address.key]

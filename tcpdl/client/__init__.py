"""The client. Imports the standard library, `tcpdl.wire` and `tcpdl.digest` only.

As a library, all of it synchronous; every failure is a `tcpdl.client.errors.ClientError`:

- `fetch(url, path)` fetches a file, verified, and continues what was begun;
- `fetch_bytes(url)` gives its bytes;
- `mirror(url, folder)` makes a folder the same as one on a server;
- `listdir(url)` lists one.

What they trust under TLS, and log in with, is a `tcpdl.client.access.Access`.

Importing Twisted takes twenty times as long as fetching a small file does, so nothing here does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tcpdl.client.api import fetch, fetch_bytes, listdir, mirror

__all__ = ["fetch", "fetch_bytes", "listdir", "mirror"]


def __getattr__(name: str) -> Any:
    # The command line imports what it needs of this package, and must not wait for the rest.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tcpdl.client import api

    return getattr(api, name)

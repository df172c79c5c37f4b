"""Options that say what is served, and where. Imports Twisted, `server`, `web` and `wire`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from twisted.python import usage

from tcpdl.options.endpoints import check_endpoint
from tcpdl.options.mounts import MountOptions
from tcpdl.options.reading import folder, number, symlinks
from tcpdl.server.activation import ECHO, handed_over
from tcpdl.server.raw import QUIET_MILLISECONDS
from tcpdl.web.hosts import host_name
from tcpdl.wire.raw import DEFAULT_ENCODINGS, parse_encodings

DEFAULT_PORT = 8080


class ServingOptions(MountOptions):
    """What is served, and where."""

    optParameters: list[list[Any]] = [
        [
            "port",
            "p",
            None,
            f"Port to serve files on ({DEFAULT_PORT} unless --listen is given, or systemd hands "
            "over sockets).",
            number("--port", "a port number", 65535),
        ],
        [
            "interface",
            "i",
            None,
            "Address to listen on; every address, IPv4 and IPv6, if left out.",
        ],
        [
            "root",
            "r",
            None,
            "Folder whose files are handed out; the working directory if left out, unless there is "
            "--mount.",
        ],
        [
            "echo-port",
            None,
            None,
            "Port for the echo service (RFC 862); none if left out.",
            number("--echo-port", "a port number", 65535),
        ],
        ["echo-reply", None, None, "Answer every message on the echo port with this text instead."],
        ["echo-encoding", None, "utf-8", "Encoding of the text of --echo-reply."],
        [
            "quiet-period",
            None,
            QUIET_MILLISECONDS,
            "Milliseconds of silence that end a name which nothing else ended; 0: wait on.",
            number("--quiet-period", "a whole number of milliseconds", 60_000),
        ],
        [
            "name-encodings",
            None,
            ",".join(DEFAULT_ENCODINGS),
            "Encodings that names are read in; the first under which a file has the name wins.",
        ],
        [
            "symlinks",
            None,
            "inside",
            "Symbolic links: 'inside' follows those that stay below the root, 'never' none.",
        ],
        [
            "state-dir",
            None,
            None,
            "Folder to keep the digests of files in; if left out, that of systemd's "
            "StateDirectory=, or else they are kept in memory.",
        ],
    ]
    optFlags: list[list[Any]] = [
        ["index", None, "Over HTTP, be a web site: a folder's index.html is its page."],
        [
            "precompressed",
            None,
            "Send NAME.zst or NAME.gz for NAME over HTTP, to who takes it, unless it is older.",
        ],
        ["hidden", None, "Hand out files whose name, or whose folder's, begins with a dot."],
        [
            "no-sendfile",
            None,
            "Read and write files instead of sendfile(2), if a kernel's is faulty.",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []
        self["http-host"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Serve files on this Twisted endpoint too, as in tcp:8081:interface=127.0.0.1 or
        unix:/run/tcpdl.sock; may be given several times."""
        check_endpoint(endpoint)
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def opt_http_host(self, name: str) -> None:
        """Answer HTTP requests for this host, addresses and localhost only; may be repeated."""
        try:
            self["http-host"].append(host_name(name))
        except ValueError as error:
            raise usage.UsageError(f"--http-host: {error}") from None

    def handed_over(self) -> Sequence[str]:
        """What is to be served on each socket that this process was given. Raises `ValueError`."""
        return handed_over(os.environ)

    def check_serving(self) -> None:
        """Raises `usage.UsageError`."""
        self["handed"] = []
        if not any(endpoint.startswith("systemd:") for endpoint in self["listen"]):
            try:
                self["handed"] = self.handed_over()
            except ValueError as error:
                raise usage.UsageError(str(error)) from None
        if self["port"] is None and not self["listen"] and not self["handed"]:
            self["port"] = DEFAULT_PORT
        self.check_mounts()
        if not self["mount"]:
            if self["root"] is None:
                self["root"] = "."
            folder("--root", self["root"])
        try:
            self["name-encodings"] = parse_encodings(self["name-encodings"])
        except ValueError as error:
            raise usage.UsageError(f"--name-encodings: {error}") from None
        self["symlinks"] = symlinks("--symlinks", self["symlinks"])
        if self["echo-reply"] is not None:
            if self["echo-port"] is None and ECHO not in self["handed"]:
                raise usage.UsageError("--echo-reply needs --echo-port")
            if not self["echo-reply"]:
                raise usage.UsageError("--echo-reply: the text is empty; leave the option out")
            try:
                self["echo-reply"] = self["echo-reply"].encode(self["echo-encoding"])
            except (LookupError, UnicodeError) as error:
                raise usage.UsageError(f"--echo-encoding: {error}") from None

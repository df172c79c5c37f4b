"""What `twistd tcpdl` runs: its options and the service made of them.

Imports `tcpdl.server` and `tcpdl.content`. The reactor is looked up when the service is made,
since twistd has installed the one that was chosen by then.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python import usage

import tcpdl
from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory, Symlinks
from tcpdl.server import epoll
from tcpdl.server.access import AccessLog
from tcpdl.server.deadlines import Deadlines, run_on_monotonic_clock
from tcpdl.server.echo import EchoFactory
from tcpdl.server.front import FrontFactory
from tcpdl.server.http import HttpFactory
from tcpdl.server.http_answers import HttpAnswers
from tcpdl.server.listening import CannotListen, Listening, adopt, bind
from tcpdl.server.native import NativeFactory
from tcpdl.server.raw import QUIET_MILLISECONDS, RawFactory
from tcpdl.server.warming import Warmer
from tcpdl.server.working import Workers
from tcpdl.wire.raw import DEFAULT_ENCODINGS, parse_encodings

DEFAULT_PORT = 8080

_log = Logger()


def _number(option: str, what: str, most: int) -> Callable[[str], int]:
    def coerce(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) > most:
            raise usage.UsageError(f"{option}: {text!r} is not {what} from 0 to {most}")
        return int(text)

    return coerce


_MILLISECONDS = _number("--quiet-period", "a whole number of milliseconds", 60_000)


class Options(usage.Options):
    """The daemon's command line."""

    synopsis = "[options]"
    longdesc = (
        "Hands out the files below a folder to any program that opens a TCP connection, sends "
        "a file's name and reads the answer."
    )

    optParameters = [
        [
            "port",
            "p",
            None,
            f"Port to serve files on ({DEFAULT_PORT} unless --listen is given).",
            _number("--port", "a port number", 65535),
        ],
        [
            "interface",
            "i",
            None,
            "Address to listen on; every address, IPv4 and IPv6, if left out.",
        ],
        ["root", "r", ".", "Folder whose files are handed out."],
        [
            "echo-port",
            None,
            None,
            "Port for the echo service (RFC 862); none if left out.",
            _number("--echo-port", "a port number", 65535),
        ],
        ["echo-reply", None, None, "Answer every message on the echo port with this text instead."],
        ["echo-encoding", None, "utf-8", "Encoding of the text of --echo-reply."],
        [
            "quiet-period",
            None,
            QUIET_MILLISECONDS,
            "Milliseconds of silence that end a name which nothing else ended; 0: wait on.",
            _MILLISECONDS,
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
            "Folder to keep the digests of files in; they are kept in memory if left out.",
        ],
    ]
    optFlags = [
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
    compData = usage.Completions(
        descriptions={"echo-reply": "text", "quiet-period": "milliseconds"},
        optActions={
            "root": usage.CompleteDirs(descr="folder"),
            "state-dir": usage.CompleteDirs(descr="folder"),
            "interface": usage.CompleteNetInterfaces(descr="address"),
            "symlinks": usage.CompleteList(["inside", "never"]),
            "listen": usage.CompleteList(["tcp:", "tcp6:", "unix:", "ssl:", "systemd:"]),
        },
        multiUse=["listen"],
    )

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Serve files on this Twisted endpoint too, as in tcp:8081:interface=127.0.0.1 or
        unix:/run/tcpdl.sock; may be given several times."""
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def opt_version(self) -> NoReturn:
        """Print the version of tcpdl and exit."""
        print(f"tcpdl {tcpdl.__version__}")
        sys.exit(0)

    def parseOptions(self, options: Any = None) -> None:
        """Parse `options`. Raises `usage.UsageError`; below twistd or twist, which would print
        the whole help for it, says what is wrong in one line and exits with 2."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            if self.parent is None:
                raise
            _exit(f"{error} (see --help)", 2)

    def postOptions(self) -> None:
        if self["port"] is None and not self["listen"]:
            self["port"] = DEFAULT_PORT
        if not os.path.isdir(self["root"]):
            problem = "is not a folder" if os.path.exists(self["root"]) else "does not exist"
            raise usage.UsageError(f"--root: {self['root']!r} {problem}")
        if not os.access(self["root"], os.R_OK | os.X_OK):
            raise usage.UsageError(f"--root: this user may not read {self['root']!r}")
        try:
            self["name-encodings"] = parse_encodings(self["name-encodings"])
        except ValueError as error:
            raise usage.UsageError(f"--name-encodings: {error}") from None
        try:
            self["symlinks"] = Symlinks(self["symlinks"])
        except ValueError:
            raise usage.UsageError("--symlinks: choose 'inside' or 'never'") from None
        if self["echo-reply"] is not None:
            if self["echo-port"] is None:
                raise usage.UsageError("--echo-reply needs --echo-port")
            if not self["echo-reply"]:
                raise usage.UsageError("--echo-reply: the text is empty; leave the option out")
            try:
                self["echo-reply"] = self["echo-reply"].encode(self["echo-encoding"])
            except (LookupError, UnicodeError) as error:
                raise usage.UsageError(f"--echo-encoding: {error}") from None


class Daemon(MultiService):
    """All ports of one daemon, and what their connections share."""

    def __init__(self, reactor: Any, *, sendfile: bool = True) -> None:
        super().__init__()
        self.deadlines = Deadlines(reactor)
        self._reactor = reactor
        self._sendfile = os.sendfile if sendfile else None
        self._connections: Any = None
        self._to_close: list[Callable[[], None]] = []
        self._warmer = Warmer(reactor)
        self.workers = Workers(reactor)
        self.addService(self._warmer)
        self.addService(self.workers)

    def listen(self, endpoint: IStreamServerEndpoint, factory: IProtocolFactory) -> None:
        """Open the port of `endpoint`, and serve `factory` on it while the daemon runs.

        Raises `CannotListen`.
        """
        self.addService(
            Listening(
                endpoint,
                factory,
                self._shared_connections,
                sendfile=self._sendfile,
                warmer=self._warmer,
            )
        )

    def startService(self) -> None:
        run_on_monotonic_clock(self._reactor)
        _raise_descriptor_limit()
        _collect_seldom()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Stop all, and then close what was given to `close_at_end`."""
        stopped: Deferred[Any] = maybeDeferred(super().stopService)
        return stopped.addCallback(lambda _: self._close())

    def close_at_end(self, close: Callable[[], None]) -> None:
        """Call `close` once all services have stopped."""
        self._to_close.append(close)

    def _close(self) -> None:
        while self._to_close:
            self._to_close.pop()()

    def _shared_connections(self) -> Any:
        if self._connections is None:
            available = epoll.available()
            self._connections = epoll.EpollSet(self._reactor) if available else self._reactor
        return self._connections


def makeService(options: Options) -> IService:
    """The daemon that `options` describe, its root and its ports open already.

    Raises `CannotListen`; below twistd or twist, says so in one line and exits with 1.
    """
    from twisted.internet import reactor

    try:
        return make_daemon(options, reactor)
    except CannotListen as error:
        if options.parent is None:
            raise
        _exit(str(error), 1)


def make_daemon(options: Options, reactor: Any) -> Daemon:
    """The daemon that `options` describe, on `reactor`. Raises `CannotListen`."""
    directory = Directory(options["root"], hidden=options["hidden"], symlinks=options["symlinks"])
    daemon = Daemon(reactor, sendfile=not options["no-sendfile"])
    try:
        _open_ports(daemon, directory, options, reactor)
    except CannotListen:
        daemon.stopService()
        directory.close()
        raise
    return daemon


def _open_ports(daemon: Daemon, directory: Directory, options: Options, reactor: Any) -> None:
    raw = RawFactory(
        directory,
        reactor,
        daemon.deadlines,
        quiet=options["quiet-period"] / 1000,
        encodings=options["name-encodings"],
    )
    digests = Digests(options["state-dir"], warn=_warn)
    daemon.close_at_end(digests.close)
    native = NativeFactory(directory, daemon.deadlines, digests, daemon.workers)
    access = AccessLog(reactor)
    daemon.close_at_end(access.close)
    answers = HttpAnswers(
        directory,
        digests,
        daemon.workers,
        index=options["index"],
        precompressed=options["precompressed"],
    )
    http = HttpFactory(answers, daemon.deadlines, access)
    front = FrontFactory(daemon.deadlines, raw, native, http)
    if options["port"] is not None:
        sock = bind(options["interface"], options["port"])
        _log.info("serving {root!r} on {where}", root=options["root"], where=_where(sock))
        daemon.listen(adopt(reactor, sock), front)
    if options["echo-port"] is not None:
        sock = bind(options["interface"], options["echo-port"])
        _log.info("echo on {where}", where=_where(sock))
        daemon.listen(adopt(reactor, sock), EchoFactory(daemon.deadlines, options["echo-reply"]))
    for description in options["listen"]:
        try:
            endpoint = serverFromString(reactor, description)
        except Exception as error:  # parsers of endpoints raise what they like
            raise CannotListen(f"--listen {description}: {error}") from error
        try:
            daemon.listen(endpoint, front)
        except CannotListen as error:
            raise CannotListen(f"--listen {description}: {error}") from error


def _warn(problem: str) -> None:
    _log.warn("{problem}", problem=problem)


def _where(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _raise_descriptor_limit() -> None:
    """Allow as many open connections as the system allows this process to ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            _log.warn("the limit of open files stays at {soft}: {error}", soft=soft, error=error)


def _collect_seldom() -> None:
    """Look for garbage less often: a page of 10,000 names is a fifth faster for it, and hardly
    anything here is garbage that refers to itself."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _exit(message: str, status: int) -> NoReturn:
    sys.stderr.write(f"tcpdl: {message}\n")
    raise SystemExit(status)

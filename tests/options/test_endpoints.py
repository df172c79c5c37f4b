"""Tests what is said of descriptions of endpoints: if one is wrong, how it is to be written."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage

from tcpdl.options.endpoints import check_endpoint
from tcpdl.ports import endpoint
from tcpdl.server.listening import CannotListen
from tests.certificates import make

TCP = "write tcp:PORT[:interface=ADDR][:backlog=N]"
COLONS = r", with \: for each colon within a value"
UNIX = "write unix:PATH[:mode=OCTAL][:backlog=N][:lockfile=0]"
KINDS = "write tcp:, tcp6:, tls:, unix: or systemd:"


def use(description: str) -> Any:
    check_endpoint(description)
    return endpoint(MemoryReactorClock(), description)


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("tcp:8081:bogus=1", f"tcp has no 'bogus'; {TCP}"),
        ("haproxy:tcp:8081:bogus=1", f"tcp has no 'bogus'; {TCP}"),
        ("tcp", f"it names no port; {TCP}"),
        ("tcp:interface=127.0.0.1", f"it names no port; {TCP}"),
        ("tcp:", "'' is not a port number from 0 to 65535"),
        ("tcp:65536", "'65536' is not a port number from 0 to 65535"),
        ("tcp:1:127.0.0.1:9:x", f"'x' has no name; {TCP}{COLONS}"),
        ("tcp:1:interface=::1", f"'' has no name; {TCP}{COLONS}"),
        ("tcp:1:port=2", f"port is given twice; {TCP}"),
        ("tcp:1:backlog=0", "'0' is not a number of connections from 1 to 2147483647"),
        ("unix:", f"it names no socket; {UNIX}"),
        ("unix:/a:mode=9", "'9' is no mode such as 660, in octal digits"),
        ("unix:/a:lockfile=no", "'no' is neither 0 nor 1"),
        ("systemd:index=0", "it names no domain; write systemd:domain=INET:index=N, or systemd:"),
        ("systemd:domain=INET", "it names no socket, or two; write systemd:domain=INET:index=N"),
        ("systemd:domain=X:index=0", "choose the domain INET, INET6 or UNIX, not 'X'"),
        ("systemd:domain=INET:index=9", "systemd has handed over no such socket; see the unit"),
        ("ssl:1:privateKey=none", "'none' cannot be read: No such file or directory; write ssl:P"),
        ("ssl:1:privateKey=f:certKey=f", "its key and certificate are of no use: "),
        ("nonsense:1", f"there is no kind of endpoint 'nonsense'; {KINDS}"),
        ("8081", "there is no kind of endpoint '8081'; write tcp:8081"),
        ("", f"there is no kind of endpoint ''; {KINDS}"),
    ],
)
def test_what_is_wrong(
    description: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").write_text("nothing")
    with pytest.raises((usage.UsageError, CannotListen)) as raised:
        use(description)
    told = str(raised.value).replace(f"{tmp_path}/", "")
    assert told.startswith(f"--listen {description}: {said}")
    assert "argument" not in told


@pytest.mark.parametrize(
    "description",
    [
        "tcp:0",
        r"tcp:port=1:interface=\:\:1:backlog=9",
        "tcp:1:127.0.0.1:9",
        "tcp6:1:interface=localhost",
        "haproxy:tcp:1",
        r"unix:/run/a\:b:mode=660:backlog=9:lockfile=0",
        "unix:address=a",
        "ssl:1:privateKey=server.pem:certKey=server.pem:interface=127.0.0.1",
    ],
)
def test_what_twisted_takes(
    description: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    certificate = make()
    Path("server.pem").write_text(certificate.pem + certificate.key_pem)
    assert use(description) is not None


class Odd:
    """A parser of a plugin's, which does what it likes."""

    prefix = "odd"

    def parseStreamServer(self, reactor: object, *args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError


def test_what_a_plugin_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from twisted.internet import endpoints

    monkeypatch.setattr(endpoints, "getPlugins", lambda _: [Odd()])
    with pytest.raises(CannotListen, match="what reads 'odd' endpoints says: ZeroDivisionError"):
        use("odd:1")


@given(st.lists(st.sampled_from([*"tcp:=\\1", "tcp", "unix", "systemd:", "port="])).map("".join))
def test_any_description(description: str) -> None:
    with suppress(usage.UsageError):
        check_endpoint(description)

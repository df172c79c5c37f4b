"""Tests of the options that concern TLS, and of the daemon made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage

from tcpdl.server.listening import CannotListen, Listening
from tcpdl.service import Options, make_daemon
from tests.certificates import localhost, make


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    certificate, key = localhost().write(tmp_path)
    return f"--tls-cert={certificate}", f"--tls-key={key}"


def parsed(*options: str) -> Options:
    made = Options()
    made.parseOptions([*options])
    return made


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (["--tls-cert=absent"], "--tls-cert: there is no file 'absent'"),
        (["--tls-cert=/", "--tls-key=absent"], "--tls-key: there is no file 'absent'"),
        (["--tls=self-signed", "--tls-client-ca=absent"], "--tls-client-ca: there is no file"),
        (["--tls=yes"], "--tls: 'self-signed' is all there is to choose"),
        (["--tls-key=/"], "--tls-key needs --tls-cert"),
        (["--tls=self-signed", "--tls-cert=/"], "choose one"),
        (["--tls-required"], "--tls-required needs a certificate: give --tls-cert, or"),
        (["--tls-client-ca=/"], "--tls-client-ca needs a certificate"),
        (["--listen=tls:8443"], "--listen tls:8443 needs a certificate"),
    ],
)
def test_wrong_options(bad: list[str], said: str) -> None:
    with pytest.raises(usage.UsageError) as caught:
        parsed(*bad)
    (line,) = str(caught.value).splitlines()
    assert said in line


@pytest.mark.parametrize(
    "endpoint",
    [
        "tls:",
        "tls:x",
        "tls:65536",
        "tls:-1",
        "tls:1:",
        "tls:1:interface=",
        "tls:1:port=2",
        "tls:1:interface=::1",
        "tls:1:interface=a:interface=b",
        "tls:1:privateKey=/",
    ],
)
def test_ports_that_make_no_sense(endpoint: str) -> None:
    with pytest.raises(usage.UsageError, match=f"--listen {endpoint}"):
        parsed("--tls=self-signed", f"--listen={endpoint}")


def test_ports() -> None:
    options = parsed(
        "--tls=self-signed",
        "--listen=tls:1",
        "--listen=tcp:2",
        "--listen=tls:3:interface=127.0.0.1",
        r"--listen=tls:4:interface=\:\:1",
    )
    assert options["listen-tls"] == [(1, None), (3, "127.0.0.1"), (4, "::1")]
    assert options["listen"] == ["tcp:2"]
    assert options["port"] is None


def test_it_makes_a_certificate(tmp_path: Path) -> None:
    state = tmp_path / "state"
    options = parsed(f"--root={tmp_path}", "--tls=self-signed", f"--state-dir={state}")
    credentials = options.credentials()
    assert credentials is not None
    assert credentials.pin.startswith("sha256:")
    again = options.credentials()
    assert again is not None
    assert again.pin == credentials.pin


def test_in_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "kept"))
    assert parsed(f"--root={tmp_path}", "--tls=self-signed").credentials() is not None
    assert [path.name for path in (tmp_path / "kept/tcpdl").iterdir()] == ["self-signed.pem"]


def test_without(tmp_path: Path) -> None:
    assert parsed(f"--root={tmp_path}").credentials() is None


def test_a_key_that_does_not_fit(tmp_path: Path, pair: tuple[str, str]) -> None:
    _, other = make().write(tmp_path, "other")
    reactor: Any = MemoryReactorClock()
    options = parsed(f"--root={tmp_path}", pair[0], f"--tls-key={other}")
    with pytest.raises(CannotListen, match=r"no TLS: the key in .* is not that of"):
        make_daemon(options, reactor)
    assert reactor.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("endpoint", "ours"),
    [
        ("tcp:0", True),
        ("unix:{folder}/socket", True),
        ("ssl:0:privateKey={key}:certKey={certificate}", False),
        ("haproxy:tcp:0", False),
    ],
)
def test_endpoints_of_twisted(
    endpoint: str, ours: bool, tmp_path: Path, pair: tuple[str, str]
) -> None:
    """Where a layer lies between the port and us, the first byte is that layer's."""
    from twisted.internet import reactor

    certificate, key = (option.partition("=")[2] for option in pair)
    described = endpoint.format(folder=tmp_path, certificate=certificate, key=key)
    daemon = make_daemon(parsed(f"--root={tmp_path}", *pair, f"--listen={described}"), reactor)
    (listening,) = (service for service in daemon if isinstance(service, Listening))
    assert listening.tls is ours
    daemon.stopService()
    listening.port.stopListening()

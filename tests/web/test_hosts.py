"""Tests which names a server answers to."""

from __future__ import annotations

import pytest

from tcpdl.web.hosts import Hosts, host_name

HOSTS = Hosts([host_name("Files.Example."), host_name("xn--bcher-kva.example")])


@pytest.mark.parametrize(
    "host",
    [
        *("files.example", "FILES.EXAMPLE", "files.example:8080", "files.example.:8080", ""),
        *("localhost", "localhost:1", "LocalHost.", "192.0.2.1", "192.0.2.1:8080", "[::1]"),
        *("[2001:db8::1]:8080", "127.0.0.1", "xn--bcher-kva.example", "files.example:"),
    ],
)
def test_what_is_meant_for_us(host: str) -> None:
    assert host in HOSTS


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "files.example.evil.example", "evilfiles.example", "sub.files.example"),
        *("localhost.evil.example", "192.0.2.1.evil.example", "192.0.2", "0x7f000001", "[evil]"),
        *("2001:db8::1x", "files.example:80:80", "files", "1.2.3.4.5", "[::1"),
    ],
)
def test_what_is_meant_for_others(host: str) -> None:
    assert host not in HOSTS


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        "http://files.example",
        "files.example:80",
        "files.example/",
        "-a",
        "é",
        "a b",
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="is no name of a host"):
        host_name(text)

"""Tests what --admin takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.python import usage

from tcpdl.options.admin import AdminAddress, admin_address


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("unix:/run/tcpdl/admin.sock", AdminAddress("/run/tcpdl/admin.sock"), None),
        ("tcp:9100", AdminAddress(port=9100), "tcp:127.0.0.1:9100"),
        ("tcp:0:interface=127.0.0.2", AdminAddress(None, 0, "127.0.0.2"), "tcp:127.0.0.2:0"),
        ("tcp:1:interface=\\:\\:1", AdminAddress(None, 1, "::1"), "tcp:[::1]:1"),
        ("tcp:1:interface=localhost", AdminAddress(port=1), "tcp:127.0.0.1:1"),
    ],
)
def test_addresses(text: str, address: AdminAddress, shown: str | None) -> None:
    assert admin_address(address.option) == address
    assert admin_address(text) == address
    assert str(address) == (shown or text)


def test_path_is_one_of_the_folder_that_it_was_given_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert admin_address("unix:admin.sock").path == str(tmp_path / "admin.sock")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("unix:", "no address"),
        ("/run/admin.sock", "no address"),
        ("9100", "no address"),
        ("tcp:", "port number"),
        ("tcp:65536", "port number"),
        ("tcp:1:interface=0.0.0.0", "proxy that asks for a login"),
        ("tcp:1:interface=\\:\\:", "unix:PATH"),
        ("tcp:1:interface=192.0.2.1", "others could reach 192.0.2.1"),
        ("tcp:1:interface=example.org", "no IP address"),
        ("tcp:1:interface=", "no IP address"),
        ("tcp:1:backlog=5", "no address"),
        ("tcp:1:interface=::1", "no address"),
    ],
)
def test_what_is_refused_is_told_with_the_remedy(text: str, why: str) -> None:
    with pytest.raises(usage.UsageError, match=why):
        admin_address(text)

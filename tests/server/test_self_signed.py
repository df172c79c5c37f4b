"""Tests of the certificate that the daemon makes for itself."""

from __future__ import annotations

import os
import socket
import ssl
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509

from tcpdl.server.addresses import machine_addresses
from tcpdl.server.certificate import BadCertificate, Credentials, locate
from tcpdl.server.self_signed import self_signed, state_folder
from tests.server.conftest import Log


def test_it_is_made_once(tmp_path: Path, log: Log) -> None:
    folder = tmp_path / "state" / "tcpdl"
    path = self_signed(str(folder))
    assert Path(path).parent == folder
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    pin = Credentials(locate(path)).pin
    assert self_signed(str(folder)) == path
    assert Credentials(locate(path)).pin == pin
    assert os.listdir(folder) == ["self-signed.pem"]
    assert log.lines == []


def test_what_it_says(tmp_path: Path) -> None:
    made = x509.load_pem_x509_certificate(Path(self_signed(str(tmp_path))).read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [socket.gethostname(), "localhost"]
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert addresses == {*machine_addresses(), "127.0.0.1", "::1"}
    now = datetime.now(timezone.utc)
    assert made.not_valid_before_utc < now
    assert timedelta(days=3650) < made.not_valid_after_utc - now < timedelta(days=3653)


def test_a_strict_client_takes_it(tmp_path: Path) -> None:
    path = self_signed(str(tmp_path))
    client = ssl.create_default_context(cafile=path)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    server = Credentials(locate(path)).context()
    ends = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(*ends, server_hostname="localhost")
    other = server.wrap_bio(ends[1], ends[0], server_side=True)
    for end in (one, other, one, other):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert one.version() is not None


def test_another_daemon_made_one_this_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both then have the same: the first one."""
    monkeypatch.setattr(os.path, "exists", lambda _: False)
    first = Path(self_signed(str(tmp_path))).read_bytes()
    assert Path(self_signed(str(tmp_path))).read_bytes() == first
    assert os.listdir(tmp_path) == ["self-signed.pem"]


@pytest.mark.parametrize("name", ["名字", "x" * 300, ""])
def test_a_host_whose_name_is_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    made = x509.load_pem_x509_certificate(Path(self_signed(str(tmp_path))).read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]


def test_it_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadCertificate, match="choose another folder with --state-dir"):
        self_signed(str(tmp_path / "file" / "below"))


def test_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert state_folder({}) == "/home/ann/.local/state/tcpdl"
    assert state_folder({"XDG_STATE_HOME": ""}) == "/home/ann/.local/state/tcpdl"
    assert state_folder({"XDG_STATE_HOME": "relative"}) == "/home/ann/.local/state/tcpdl"
    assert state_folder({"XDG_STATE_HOME": "/srv/state"}) == "/srv/state/tcpdl"

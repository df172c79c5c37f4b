"""Tests of certificates and keys in files: reading them, complaints, renewal."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from twisted.internet.task import Clock

from tcpdl.server.certificate import (
    BadCertificate,
    Credentials,
    Files,
    locate,
)
from tcpdl.server.renewing import LOOK_SECONDS, Renewing
from tests.certificates import Certificate, localhost, make
from tests.server.conftest import Log


@pytest.fixture
def files(tmp_path: Path) -> Files:
    certificate, key = localhost().write(tmp_path)
    return locate(str(certificate), str(key))


def test_two_files(files: Files, log: Log) -> None:
    credentials = Credentials(files)
    assert credentials.pin == localhost().pin
    context = credentials.context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert log.lines == []


def test_ciphers(files: Files) -> None:
    names = {cipher["name"] for cipher in Credentials(files).context().get_ciphers()}
    assert {name for name in names if not name.startswith(("ECDHE-", "TLS_"))} == set()
    assert {name for name in names if "GCM" not in name and "CHACHA20" not in name} == set()
    assert "ECDHE-RSA-AES128-GCM-SHA256" in names


@pytest.mark.parametrize("key_first", [False, True])
def test_one_file(key_first: bool, tmp_path: Path) -> None:
    path = tmp_path / "both.pem"
    parts = [localhost().pem, localhost().key_pem]
    path.write_text("A comment\n" + "".join(reversed(parts) if key_first else parts))
    path.chmod(0o600)
    assert Credentials(locate(str(path))).pin == localhost().pin


def test_a_chain(tmp_path: Path) -> None:
    authority = make("An authority", authority=True)
    made = make(issuer=authority)
    path = tmp_path / "fullchain.pem"
    path.write_text(made.pem + authority.pem)
    (tmp_path / "privkey.pem").write_text(made.key_pem)
    (tmp_path / "privkey.pem").chmod(0o600)
    assert Credentials(locate(str(tmp_path))).pin == made.pin, "of the first one"


def test_locate(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert locate(folder) == (f"{folder}/fullchain.pem", f"{folder}/privkey.pem", None)
    assert locate(folder, "key") == (f"{folder}/fullchain.pem", "key", None)
    assert locate("cert", None, "ca") == ("cert", "cert", "ca")


# What is no good.


def refused(files: Files) -> str:
    with pytest.raises(BadCertificate) as caught:
        Credentials(files)
    (line,) = str(caught.value).splitlines()
    return line


def test_no_file(files: Files, tmp_path: Path) -> None:
    os.unlink(files.key)
    assert refused(files) == f"there is no file {files.key}"
    assert refused(locate(str(tmp_path))) == f"there is no file {tmp_path}/fullchain.pem"


def test_it_cannot_be_read(files: Files, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert refused(files._replace(key=str(folder))) == f"{folder} cannot be read: Is a directory"


@pytest.mark.parametrize("content", ["", "garbage", "-----BEGIN CERTIFICATE-----\n", "\0\xff"])
def test_no_certificate(content: str, files: Files) -> None:
    Path(files.certificate).write_text(content, encoding="latin-1")
    assert refused(files) == f"{files.certificate} holds no certificate in PEM"


def test_no_key(files: Files) -> None:
    Path(files.key).write_text(localhost().pem)
    assert refused(files) == f"{files.key} holds no private key in PEM"
    assert refused(locate(files.certificate)).endswith("name the file that does with --tls-key")


@pytest.mark.parametrize("which", ["certificate", "key"])
def test_garbage_in_pem(which: str, files: Files) -> None:
    path = Path(getattr(files, which))
    first, *_, last = path.read_text().splitlines()
    path.write_text(f"{first}\nAAAA\n{last}\n")
    assert str(path) in refused(files)
    path.write_text(f"{first}\n!!\n{last}\n")
    assert str(path) in refused(files)


def test_another_key(files: Files) -> None:
    Path(files.key).write_text(make().key_pem)
    expected = f"the key in {files.key} is not that of the certificate in {files.certificate}"
    assert refused(files) == expected


def test_an_encrypted_key(files: Files) -> None:
    """It is not asked for, which would be for good."""
    secret = localhost().key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    Path(files.key).write_bytes(secret)
    assert refused(files).startswith("the key is encrypted; decrypt it with: openssl pkey")


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_no_authority(content: str, files: Files, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    assert refused(files._replace(client_ca=str(path))) == f"there is no file {path}"
    path.write_text(content)
    assert str(path) in refused(files._replace(client_ca=str(path)))


def test_authorities(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(make("One", authority=True).pem + make("Two", authority=True).pem)
    context = Credentials(files._replace(client_ca=str(path))).context()
    assert context.verify_mode == ssl.CERT_OPTIONAL
    assert len(context.get_ca_certs()) == 2


# What is not as it should be.


def test_a_key_for_all_to_read(files: Files, log: Log) -> None:
    os.chmod(files.key, 0o640)
    Credentials(files).begin()
    assert log.lines == [f"the certificate is {localhost().pin}"]
    os.chmod(files.key, 0o644)
    Credentials(files).begin()
    assert log.lines[2:] == [f"{files.key} can be read by all: chmod o-r {files.key}"]


@pytest.mark.parametrize(
    ("days", "said"), [((-10, -1), "ended 2"), ((1, 10), "begins 2"), ((-1, 1), None)]
)
def test_at_another_time(days: tuple[int, int], said: str | None, tmp_path: Path, log: Log) -> None:
    certificate, key = make(days=days).write(tmp_path)
    Credentials(locate(str(certificate), str(key))).begin()
    assert len(log.lines) == 1 + (said is not None)
    assert said is None or said in log.lines[1]


# Renewal.


class Renewed:
    """Files that are renewed as certbot does it: links that come to lead to others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        (folder / "live").mkdir()
        self.put(localhost())
        self.files = locate(str(folder / "live"))

    def put(self, certificate: Certificate, key: Certificate | None = None) -> None:
        self.put_one("fullchain.pem", certificate.pem)
        self.put_one("privkey.pem", (key or certificate).key_pem)

    def put_one(self, name: str, content: str) -> None:
        self._count += 1
        target = self._folder / f"{self._count}-{name}"
        target.write_text(content)
        target.chmod(0o600)
        (self._folder / "new").symlink_to(target)
        (self._folder / "new").rename(self._folder / "live" / name)


@pytest.fixture
def renewed(tmp_path: Path) -> Renewed:
    return Renewed(tmp_path)


def test_renewal(renewed: Renewed, log: Log) -> None:
    credentials = Credentials(renewed.files)
    before = credentials.context()
    clock = Clock()
    renewing = Renewing(credentials, clock)
    renewing.startService()
    clock.pump([LOOK_SECONDS] * 3)
    assert credentials.context() is before, "nothing is read that did not change"
    assert log.lines == []

    new = make()
    renewed.put_one("fullchain.pem", new.pem)
    clock.advance(LOOK_SECONDS)
    assert credentials.context() is before, "more may follow, as it does"
    renewed.put_one("privkey.pem", new.key_pem)
    clock.advance(LOOK_SECONDS)
    assert credentials.pin == localhost().pin
    clock.advance(LOOK_SECONDS)
    assert credentials.pin == new.pin
    assert credentials.context() is not before
    assert log.lines == [f"the certificate is {new.pin}"]

    renewing.stopService()
    assert clock.getDelayedCalls() == []


def test_a_pair_that_does_not_fit(renewed: Renewed, log: Log) -> None:
    credentials = Credentials(renewed.files)
    before = credentials.context()
    new = make()
    renewed.put(new, key=make())
    for _ in range(5):
        credentials.look()
    assert credentials.context() is before
    assert credentials.pin == localhost().pin
    (line,) = log.lines
    assert line.startswith("the certificate stays what it was: the key in ")

    os.unlink(renewed.files.key)
    for _ in range(5):
        credentials.look()
    assert credentials.context() is before
    assert len(log.lines) == 2
    assert log.lines[1].endswith(f"there is no file {renewed.files.key}")

    renewed.put(new)
    credentials.look()
    credentials.look()
    assert credentials.pin == new.pin


def test_told_to(renewed: Renewed) -> None:
    """What was asked for is not put off until it is clear that nothing follows."""
    credentials = Credentials(renewed.files)
    new = make()
    renewed.put(new)
    credentials.reload()
    assert credentials.pin == new.pin
    context = credentials.context()
    credentials.look()
    credentials.look()
    assert credentials.context() is context

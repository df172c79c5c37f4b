"""Tests who may read what of a daemon in a process of its own, with files that change meanwhile."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tcpdl.access.users import Password, token_line
from tests.certificates import make
from tests.daemons import SECONDS, Daemon, daemon_of

RULES = "/ anyone list\n/public/** anyone read\n/private/** ann,ci read\n"
QUICK = Password(4, 1, 1, os.urandom(16), b"")


def line(name: str, password: bytes) -> str:
    return f"{name}:{QUICK.filled(password)}\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    root = folder / "root"
    for name in ("public/a.txt", "private/b.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"this is {name}\n")
    (folder / "rules").write_text(RULES)
    (folder / "users").write_text(line("ann", b"secret one"))
    (folder / "users").chmod(0o604)
    tcpdl("link", "--new-key", folder / "key")
    options = ("--rules=rules", "--auth=users:users", "--link-key=key")
    with daemon_of(root, *options) as running:
        yield running


def tcpdl(*arguments: str | Path) -> str:
    """What a command prints."""
    command = [sys.executable, "-W", "error", "-m", "tcpdl", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def fetch(daemon: Daemon, target: str, authorization: str = "") -> tuple[int, str]:
    request = urllib.request.Request(f"{daemon.url}{target}")
    if authorization:
        request.add_header("Authorization", authorization)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def until(daemon: Daemon, target: str, authorization: str, status: int) -> None:
    """Wait until this is how it is answered."""
    deadline = time.monotonic() + SECONDS
    while fetch(daemon, target, authorization)[0] != status:
        assert time.monotonic() < deadline


def test_visitors(daemon: Daemon) -> None:
    assert fetch(daemon, "/public/a.txt") == (200, "this is public/a.txt\n")
    assert fetch(daemon, "/private/b.txt") == (401, "")
    ann = basic("ann", "secret one")
    assert fetch(daemon, "/private/b.txt", ann) == (200, "this is private/b.txt\n")
    assert fetch(daemon, "/private/b.txt", basic("ann", "secret two")) == (401, "")
    with daemon.connect() as sock:
        sock.sendall(b"private/b.txt\n")
        assert sock.recv(100) == b""


def test_a_link_that_the_command_makes(daemon: Daemon, tmp_path: Path) -> None:
    key = daemon.root.parent / "key"
    link = tcpdl("link", "--key", key, "--for", "1h", f"{daemon.url}/private/").strip()
    query = link.partition("?")[2]
    assert fetch(daemon, f"/private/b.txt?{query}") == (200, "this is private/b.txt\n")
    with daemon.connect() as sock:
        sock.sendall(f"private/b.txt?{query}\n".encode())
        assert sock.recv(100) == b"this is private/b.txt\n"
    file = tmp_path / "b.txt"
    tcpdl("get", f"{daemon.where}/private/b.txt?{query}", "-o", file)
    assert file.read_text() == "this is private/b.txt\n"


def test_users_that_change(daemon: Daemon) -> None:
    file = daemon.root.parent / "users"
    token = tcpdl("passwd", "--token", file, "ci").strip()
    until(daemon, "/private/b.txt", f"Bearer {token}", 200)
    tcpdl("passwd", "--delete", file, "ci")
    until(daemon, "/private/b.txt", f"Bearer {token}", 401)  # though it was right a moment ago
    file.write_text("nonsense\n")
    daemon.log.wait_for(r"(no hash after the name.*what it said before still holds)")
    assert fetch(daemon, "/private/b.txt", basic("ann", "secret one"))[0] == 200


def test_the_log_has_no_secrets(daemon: Daemon) -> None:
    daemon.log.wait_for(r"(users: others can read or change it; chmod 600 ends that)")
    daemon.log.wait_for(r"(has logged in as ann)")
    fetch(daemon, "/private/b.txt", basic("ann", "secret three"))
    daemon.log.wait_for(r"(is not ann: the login was wrong)")
    for secret in ("secret one", "secret two", "secret three", "Basic", "Bearer"):
        assert secret not in daemon.log.text
    assert "signed=..." in daemon.log.text


class Encrypted(NamedTuple):
    """A daemon that speaks TLS, and what its clients need."""

    daemon: Daemon
    folder: Path

    def ask(self, said: bytes, certificate: str = "") -> bytes:
        """What is answered to somebody who has this certificate, to the end of the stream."""
        context = ssl.create_default_context(cafile=str(self.folder / "server.pem"))
        if certificate:
            file = str(self.folder / certificate)
            context.load_cert_chain(f"{file}.pem", f"{file}-key.pem")
        plain = self.daemon.connect()
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(said)
            return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("encrypted")
    root = folder / "root"
    (root / "private").mkdir(parents=True)
    (root / "private/b.txt").write_text("this is private/b.txt\n")
    authority = make("authority", authority=True)
    authority.write(folder, "authority")
    make().write(folder)
    for name in ("ann", "eve"):
        make(name, issuer=authority).write(folder, name)
    (folder / "rules").write_text(RULES)
    (folder / "users").write_text(line("ann", b"secret") + f"ci:{token_line('t0k3n')}\n")
    (folder / "users").chmod(0o600)
    with daemon_of(
        root,
        *(f"--tls-cert={folder}/server.pem", f"--tls-key={folder}/server-key.pem"),
        *(f"--tls-client-ca={folder}/authority.pem", "--rules=rules", "--auth=users:users"),
    ) as running:
        yield Encrypted(running, folder)


def test_certificates(encrypted: Encrypted) -> None:
    request = b"GET /private/b.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for certificate, status in (("", b"401"), ("eve", b"403"), ("ann", b"200")):
        assert encrypted.ask(request, certificate)[9:12] == status
    assert encrypted.ask(b"private/b.txt\n", "ann") == b"this is private/b.txt\n"
    assert encrypted.ask(b"private/b.txt\n", "eve") == b""
    assert encrypted.ask(b"private/b.txt\n") == b""


def test_the_client_logs_in(encrypted: Encrypted, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0k3n\n")
    (tmp_path / "token").chmod(0o600)
    url = f"tcpdls://localhost:{encrypted.daemon.port}/private"
    trust = ("--ca-file", encrypted.folder / "server.pem", "--token-file", tmp_path / "token")
    tcpdl("get", *trust, f"{url}/b.txt", "-o", tmp_path / "b.txt")
    tcpdl("mirror", *trust, url, tmp_path / "mirrored")
    for file in (tmp_path / "b.txt", tmp_path / "mirrored/b.txt"):
        assert file.read_text() == "this is private/b.txt\n"

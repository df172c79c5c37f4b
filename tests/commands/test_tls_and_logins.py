"""Tests the commands with a real daemon that wants TLS and logins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tcpdl.cli import main
from tests.certificates import Certificate, make
from tests.commands.conftest import Run, fill
from tests.daemons import Daemon, daemon_of

RULES = """\
/a.txt    anyone  read
/sub/**   ann     read
"""


class Guarded(NamedTuple):
    """A daemon that wants TLS, and lets few in."""

    daemon: Daemon
    root: Path
    ca_file: str
    pin: str
    token: str
    """The file with the token of `ann`."""
    certificate: str
    """The file with the certificate of `ann`, and its key."""
    link: str
    """To the folder `sub`."""

    @property
    def tls(self) -> str:
        return f"tcpdls://localhost:{self.daemon.port}"

    @property
    def https(self) -> str:
        return f"https://localhost:{self.daemon.port}"

    @property
    def trust(self) -> tuple[str, ...]:
        return "--ca-file", self.ca_file


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    top = tmp_path_factory.mktemp("guarded")
    root = top / "root"
    root.mkdir()
    fill(root)
    authority = make("authority", authority=True)
    own = make(issuer=authority)
    pem, key = own.write(top)
    ca_file, _ = authority.write(top, "authority")
    (top / "rules").write_text(RULES)
    users, links = str(top / "users"), str(top / "links")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", (top / "printed").open("w"))
        assert main(["passwd", "--token", users, "ann"]) == 0
        assert main(["link", "--new-key", links]) == 0
        assert main(["link", "--key", links, "--for", "1h", "/sub/"]) == 0
        __import__("sys").stdout.close()
    token, link = [
        line for line in (top / "printed").read_text().split("\n") if line and " " not in line
    ]
    (top / "token").touch(0o600)
    (top / "token").write_text(token + "\n")
    options = [f"--tls-cert={pem}", f"--tls-key={key}", "--tls-required", f"--rules={top}/rules"]
    options += [f"--auth=users:{users}", f"--link-key={links}", f"--tls-client-ca={ca_file}"]
    with daemon_of(root, *options) as daemon:
        yield Guarded(
            daemon, root, str(ca_file), own.pin, f"{top}/token", shown(authority, top), link
        )


def shown(authority: Certificate, folder: Path) -> str:
    """The file with the certificate of `ann`, and its key."""
    path = folder / "ann.pem"
    ann = make("ann", issuer=authority)
    path.write_text(ann.pem + ann.key_pem)
    return str(path)


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("scheme", ["tcpdls", "https"])
def test_get(scheme: str, guarded: Guarded, run: Run) -> None:
    url = f"{scheme}://localhost:{guarded.daemon.port}/a.txt"
    for trust in (guarded.trust, ("--pin", guarded.pin)):
        Path("a.txt").unlink(missing_ok=True)
        ran = run("get", url, *trust)
        assert (ran.status, ran.err) == (0, "")
        assert Path("a.txt").read_bytes() == b"alpha\n"


def test_raw(guarded: Guarded, run: Run) -> None:
    ran = run("get", f"{guarded.tls}/a.txt", "--dialect=raw", *guarded.trust)
    assert (ran.status, ran.err) == (0, "")
    assert Path("a.txt").read_bytes() == b"alpha\n"


@pytest.mark.parametrize("scheme", ["tcpdls", "https"])
def test_large_file(scheme: str, guarded: Guarded, run: Run) -> None:
    """It is continued, too."""
    url = f"{scheme}://localhost:{guarded.daemon.port}/sub/deep/large"
    login = *guarded.trust, "--token-file", guarded.token
    right = (guarded.root / "sub/deep/large").read_bytes()
    assert run("get", url, *login).status == 0
    assert Path("large").read_bytes() == right
    Path("large").write_bytes(right[: 2 << 20])
    assert run("get", url, *login).status == 0
    assert Path("large").read_bytes() == right


def test_trees(guarded: Guarded, run: Run) -> None:
    url = f"{guarded.tls}/sub"
    login = *guarded.trust, "--token-file", guarded.token
    assert run("mirror", url, "here", *login).status == 0
    assert Path("here/deep/large").read_bytes() == (guarded.root / "sub/deep/large").read_bytes()
    ran = run("ls", url, "-R", "--json", *login)
    assert {entry["name"] for entry in json.loads(ran.out)} >= {"deep/large", "run.sh"}
    assert run("verify", url, "here", *login).status == 0
    Path("here/run.sh").write_bytes(b"#!/bin/ls\n")
    assert run("verify", url, "here", *login).status == 7
    assert run("verify", "--repair", url, "here", *login).status == 0
    assert Path("here/run.sh").read_bytes() == b"#!/bin/sh\n"


def test_certificate(guarded: Guarded, run: Run) -> None:
    """It is a login, in the raw dialect too."""
    for more in ((), ("--dialect=raw",)):
        login = *guarded.trust, "--cert", guarded.certificate
        assert run("get", f"{guarded.tls}/sub/run.sh", *login, *more).status == 0
        assert Path("run.sh").read_bytes() == b"#!/bin/sh\n"
        Path("run.sh").unlink()


@pytest.mark.parametrize("content", [None, "", "garbage"])
def test_certificate_that_cannot_be_read(content: str | None, guarded: Guarded, run: Run) -> None:
    if content is not None:
        Path("own.pem").write_text(content)
    ran = run("get", f"{guarded.tls}/a.txt", *guarded.trust, "--cert", "own.pem")
    assert ran.status == 2
    assert "--cert 'own.pem': " in ran.err


@pytest.mark.parametrize("url", ["{tls}/sub/run.sh", "{https}/sub/run.sh"])
def test_without_a_login(url: str, guarded: Guarded, run: Run) -> None:
    where = url.format(tls=guarded.tls, https=guarded.https)
    ran = run("get", where, *guarded.trust)
    assert ran.status == 9
    assert "--login USER" in ran.err
    Path("token").touch(0o600)
    Path("token").write_text("wrong")
    ran = run("get", where, *guarded.trust, "--token-file", "token")
    assert ran.status == 9
    assert "wrong:" not in ran.err
    assert not Path("run.sh").exists()


def test_netrc(guarded: Guarded, run: Run) -> None:
    """A token may stand there as a password: what is wrong is refused all the same."""
    Path("home").mkdir()
    Path("home/.netrc").touch(0o600)
    Path("home/.netrc").write_text("machine localhost login ann password wrong\n")
    ran = run("get", f"{guarded.tls}/a.txt", *guarded.trust)
    assert ran.status == 9
    Path("home/.netrc").chmod(0o644)
    ran = run("get", f"{guarded.tls}/a.txt", *guarded.trust)
    assert ran.status == 2
    assert "chmod 600" in ran.err


@pytest.mark.parametrize("scheme", ["tcpdls", "https"])
def test_link(scheme: str, guarded: Guarded, run: Run) -> None:
    place, _, link = guarded.link.partition("?")
    url = f"{scheme}://localhost:{guarded.daemon.port}{place}run.sh?{link}"
    ran = run("get", url, *guarded.trust)
    assert (ran.status, ran.err) == (0, "")
    assert [path.name for path in Path().iterdir()] == ["run.sh"]
    other = url.replace("/sub/run.sh", "/%E4%B8%8B%E8%BD%BD.txt")
    ran = run("get", other, *guarded.trust)
    assert ran.status == 9
    assert link.partition("signed=")[2] not in ran.err


def test_link_to_a_tree(guarded: Guarded, run: Run) -> None:
    place, _, link = guarded.link.partition("?")
    url = f"{guarded.tls}{place}?{link}"
    ran = run("mirror", url, "here", *guarded.trust)
    assert (ran.status, ran.err.count("\n")) == (0, 1)  # of a link that leads out of it
    assert Path("here/deep/large").read_bytes() == (guarded.root / "sub/deep/large").read_bytes()
    ran = run("ls", url, *guarded.trust)
    assert ran.status == 0
    assert "run.sh" in ran.out
    Path("here/deep/large").write_bytes(b"x" * (3 * 1024 * 1024 + 1))
    assert run("verify", "--repair", url, "here", *guarded.trust).status == 0
    assert Path("here/deep/large").read_bytes() == (guarded.root / "sub/deep/large").read_bytes()


def test_without_tls(guarded: Guarded, run: Run) -> None:
    ran = run("get", f"localhost:{guarded.daemon.port}/a.txt")
    assert ran.status == 2
    assert "the server wants TLS" in ran.err
    assert "tcpdls://" in ran.err
    ran = run("mirror", f"localhost:{guarded.daemon.port}/", "here")
    assert ran.status == 2
    ran = run("get", f"http://localhost:{guarded.daemon.port}/a.txt", *guarded.trust)
    assert (ran.status, ran.err) == (0, "")  # it redirects
    assert Path("a.txt").read_bytes() == b"alpha\n"


def test_not_trusted(guarded: Guarded, run: Run) -> None:
    for url in (guarded.tls, guarded.https):
        ran = run("get", f"{url}/a.txt")
        assert ran.status == 3
        assert "--ca-file, or" in ran.err
        ran = run("get", f"{url}/a.txt", "--pin", "sha256:" + "0" * 64)
        assert ran.status == 3
        assert guarded.pin in ran.err

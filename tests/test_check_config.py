"""Tests `tcpdl check-config`: what is said of a configuration, and that nothing is done."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tcpdl import checking
from tcpdl.checking import check_config
from tcpdl.cli import main
from tests.certificates import make


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test runs in a folder with a root, and an environment without settings."""
    for name in [name for name in os.environ if name.startswith("TCPDL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("root").mkdir()
    return tmp_path


Check = Callable[..., "Said"]


class Said:
    """What a run has said."""

    def __init__(self, status: int, out: str, err: str, folder: Path) -> None:
        self.status = status
        self.out = out.replace(str(folder), "D").splitlines()
        self.err = err.replace(str(folder), "D").splitlines()


@pytest.fixture
def check(folder: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    def run(text: str, *arguments: str) -> Said:
        Path("f").write_text(text)
        Path("f").chmod(0o600)
        status = check_config(["f", *arguments])
        return Said(status, *capsys.readouterr(), folder)

    return run


def test_what_would_be_served(check: Check, folder: Path) -> None:
    make().write(folder)
    Path("users").touch(0o600)
    Path("rules").write_text("/** users read\n")
    said = check(
        "root = 'root'\nport = 9000\ninterface = '127.0.0.1'\necho-port = 7\ntls-required = true\n"
        "listen = ['tls:443', 'unix:a']\ntls-cert = 'server.pem'\ntls-key = 'server-key.pem'\n"
        "rules = 'rules'\nauth = ['users:users', 'memory:ann:secret']\n"
    )
    assert (said.status, said.err) == (0, [])
    (tls,) = [line for line in said.out if "TLS: " in line]
    assert tls.startswith("  TLS: sha256:")
    assert ", until 20" in tls
    assert tls.endswith(" UTC; nothing without it")
    said.out.remove(tls)
    assert said.out == [
        "D/f: ok",
        "  serves D/root",
        "  on port 9000 of 127.0.0.1",
        "  on port 443 of every address, over TLS only",
        "  on port 7 of 127.0.0.1, the echo service",
        "  on unix:D/a",
        "  read by whoever D/rules says; logins: users:D/users, memory:...",
    ]


def test_addresses_that_are_not_there(check: Check, folder: Path) -> None:
    """Yet: it is worth a warning."""
    make().write(folder)
    said = check(
        "port = 8080\ninterface = 'eth0'\nlisten = ['tls:1:interface=198.51.100.1']\n"
        "tls-cert = 'server.pem'\ntls-key = 'server-key.pem'\n"
    )
    assert said.status == 0
    assert "  on port 8080 of eth0" in said.out
    first, second = said.err
    assert first.startswith("warning: 'eth0' is no address of this machine: ")
    assert first.endswith("; it has to be one when the daemon starts")
    assert second == (
        "warning: 198.51.100.1 is no address of this machine; it has to be one when the daemon "
        "starts"
    )


def test_the_least(check: Check) -> None:
    said = check("")
    assert (said.status, said.err) == (0, [])
    assert said.out == [
        "D/f: ok",
        "  serves D",
        "  on port 8080 of every address",
        "  TLS: none",
        "  read by anyone",
    ]


def test_several_folders(check: Check) -> None:
    Path("rules").write_text("/** anyone read\n")
    said = check("[roots]\na = 'root'\n[roots.b]\npath = '.'\nrules = 'rules'\n")
    assert said.out[1:3] == ["  serves D/root as a/", "  serves D as b/"]
    assert said.out[-1] == "  read by whoever D/rules says (b/)"


def test_nothing_is_done(check: Check, folder: Path) -> None:
    """No port is opened, and no certificate is made."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        said = check(f"port = {port}\ninterface = '127.0.0.1'\ntls = 'self-signed'\nstate-dir='s'")
    assert said.status == 0
    assert "  TLS: a certificate of its own, made when it starts" in said.out
    assert sorted(os.listdir(folder)) == ["f", "root"]


def test_all_that_is_wrong(check: Check, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCPDL_PROT", "1")
    said = check("port = 99999\n\nhidden = 'yes'\nx = 1")
    assert (said.status, said.out) == (2, [])
    assert [line.partition(": ")[0] for line in said.err] == [
        *("$TCPDL_PROT", "D/f, line 1", "D/f, line 3", "D/f, line 4"),
    ]


def test_files_that_it_names(check: Check, folder: Path) -> None:
    make().write(folder, "one")
    make().write(folder, "two")
    said = check("listen = ['nonsense:1']\ntls-cert = 'one.pem'\ntls-key = 'two-key.pem'")
    assert (said.status, said.out) == (2, [])
    assert said.err == [
        "D/f, line 1: listen nonsense:1: there is no kind of endpoint 'nonsense'; write tcp:, "
        "tcp6:, tls:, unix: or systemd:",
        "D/f, line 3: tls-key: the key in D/two-key.pem is not that of the certificate in "
        "D/one.pem",
    ]
    said = check("\nrules = 'none'")
    assert said.err == ["D/f, line 2: rules: D/none: there is no such file"]


@pytest.mark.parametrize("port", ["", ":", ":abc", ":99999999", ":-1", ":port=65536:backlog=5"])
@pytest.mark.parametrize("kind", ["tcp", "tcp6", "ssl", "haproxy:tcp"])
def test_ports_of_endpoints(kind: str, port: str, check: Check) -> None:
    """None is taken that would be another one, as 99999999 is 57599 to getaddrinfo(3)."""
    said = check(f"listen = ['tcp:0', '{kind}{port}']")
    assert said.status == 2
    assert said.err[0].startswith(f"D/f, line 1: listen {kind}{port}: ")
    problem = " is not a port number from 0 to 65535" if port else ": it names no port; write "
    assert problem in said.err[0]


def test_a_folder_for_state_that_is_of_no_use(check: Check) -> None:
    assert check("\nstate-dir = 'f'").err == ["D/f, line 2: state-dir: D/f is not a folder"]
    assert check("state-dir = 'to-be-made'").status == 0


def test_unix_socket_without_a_path(check: Check) -> None:
    assert check("listen = 'unix:'").err == [
        "D/f, line 1: listen unix:: it names no socket; write "
        "unix:PATH[:mode=OCTAL][:backlog=N][:lockfile=0]"
    ]


def test_what_the_daemon_would_write(check: Check, folder: Path) -> None:
    said = check("access-log = 'root'")
    assert (said.status, said.err) == (
        2,
        ["D/f, line 1: access-log: D/root is a folder; give a file in it"],
    )
    said = check("access-log = 'none/log'\nadmin = 'unix:gone/socket'")
    assert said.status == 0
    assert said.err == [
        "warning: access-log: there is no folder D/none; it has to be there when the daemon starts",
        "warning: admin: there is no folder D/gone; it has to be there when the daemon starts",
    ]
    said = check("access-log = 'log'\nadmin = 'unix:socket'")
    assert (said.status, said.err) == (0, [])


def test_warnings(check: Check, folder: Path) -> None:
    Path("users").touch(0o604)
    Path("users").chmod(0o604)
    make(days=(-2, -1)).write(folder)
    said = check("auth = ['users:users']\ntls-cert = 'server.pem'\ntls-key = 'server-key.pem'")
    assert said.status == 0
    assert len(said.err) == 2
    assert said.err[0].startswith("warning: the certificate D/server.pem ended ")
    assert said.err[1] == ("warning: D/users: others can read or change it; chmod 600 ends that")


def test_print(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCPDL_MAX_FILES", "5")
    text = "root = 'root'\nauth = ['memory:ann:secret']\n\nlisten = ['tcp:1', 'tcp:2']"
    said = check(text, "--print", "--hidden", "--max-rate=1M")
    lines = [tuple(line.split(" # ", 1)) for line in said.out]
    found = {left.rstrip(): right for left, right in lines}
    assert (
        found.items()
        >= {
            'root = "D/root"': "D/f, line 1",
            'auth = ["memory:..."]': "D/f, line 2",
            'listen = ["tcp:1", "tcp:2"]': "D/f, line 4",
            "max-files = 5": "$TCPDL_MAX_FILES",
            "hidden = true": "the command line",
            'max-rate = "1M"': "the command line",
            "index = false": "default",
            "max-accepts = 5000": "default",
            "# rules": "unset",
        }.items()
    )
    assert "secret" not in "".join(said.out)


def test_which_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checking, "DEFAULT", "/nowhere/tcpdl.toml")
    assert main(["check-config"]) == 2
    assert capsys.readouterr().err == "/nowhere/tcpdl.toml: there is no such file\n"
    Path("g").write_text("x = 1")
    monkeypatch.setenv("TCPDL_CONFIG", "g")
    assert main(["check-config"]) == 2
    assert f"{folder}/g, line 1: x is no option" in capsys.readouterr().err
    assert main(["check-config", "--nonsense"]) == 2
    assert main(["check-config", "a", "b"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "tcpdl: option --nonsense not recognized (see tcpdl check-config --help)",
        "tcpdl: give one file of settings (see tcpdl check-config --help)",
    ]

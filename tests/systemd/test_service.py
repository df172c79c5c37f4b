"""Tests of the service in a system of its own: it starts, serves, is held back, and comes again.

They follow each other on one machine: each leaves the service running as the first one started it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.systemd.busy import busy, until
from tests.systemd.machine import PROJECT, SECONDS, Machine

UNIT, PORT, TLS_PORT, ECHO_PORT = "tcpdl.service", 8080, 443, 8007

BIG = 8 * 1024 * 1024
"""Bytes of the file that is fetched all the time."""

CONFIGURATION = 'root = "/srv/tcpdl"\n'


@pytest.fixture(scope="module", autouse=True)
def served(machine: Machine) -> str:
    """The digest of the file that is fetched all the time."""
    machine.write("/etc/tcpdl/tcpdl.toml", CONFIGURATION)
    content = hashlib.shake_128(b"tcpdl").digest(BIG)
    folder = machine.root / "srv/tcpdl"
    (folder / "hello.txt").write_text("hello\n")
    (folder / "big").write_bytes(content)
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def sound(machine: Machine) -> Iterator[None]:
    """Assert of each test that nothing was said that speaks of a mistake."""
    machine.run("journalctl", "--rotate", "--vacuum-time=1s", "-q")
    yield
    journal = machine.run("journalctl", "-o", "cat", "--no-pager", "-t", "tcpdl")
    assert "Traceback" not in journal, journal
    assert "nhandled" not in journal, journal


def pid(machine: Machine, unit: str = UNIT) -> str:
    return machine.shown(unit, "MainPID")


def workers(machine: Machine) -> set[str]:
    """The processes that the daemon's parent has started."""
    return set(machine.run("pgrep", "-P", pid(machine), check=False).split())


def get(machine: Machine, *options: str, url: str = f"http://127.0.0.1:{PORT}/hello.txt") -> str:
    return machine.run("curl", "-sS", *options, url)


def client(machine: Machine, *words: str) -> str:
    return machine.near("env", f"PYTHONPATH={PROJECT}", sys.executable, "-m", "tcpdl", *words)


def test_the_socket_starts_it(machine: Machine) -> None:
    machine.run("systemctl", "enable", "--now", "tcpdl.socket", "tcpdl-echo.socket")
    assert machine.shown(UNIT, "ActiveState") == "inactive"
    assert get(machine) == "hello\n"
    assert machine.shown(UNIT, "ActiveState") == "active"
    # Its own sandbox has room within that of the unit.
    assert re.search(r"\brestricted: Landlock ABI \d+, reads what is", machine.journal(UNIT))
    assert "Ctrl-C" not in machine.journal(UNIT)
    assert machine.run("systemctl", "is-system-running").strip() == "running"


def test_all_dialects(machine: Machine) -> None:
    assert client(machine, "get", f"http://127.0.0.1:{PORT}/hello.txt", "-o", "-") == "hello\n"
    assert client(machine, "get", f"127.0.0.1:{PORT}/hello.txt", "-o", "-") == "hello\n"
    raw = f"printf 'hello.txt\\n' | nc 127.0.0.1 {PORT}"
    assert machine.run("bash", "-c", raw) == "hello\n"
    assert client(machine, "echo", f"127.0.0.1:{ECHO_PORT}", "back").strip() == "back"
    assert client(machine, "ls", f"127.0.0.1:{PORT}/").split()[-1] == "hello.txt"


def test_systemd_has_nothing_to_say_of_the_units(machine: Machine) -> None:
    units = [unit.name.replace("@.", "@web.") for unit in (PROJECT / "etc/systemd").iterdir()]
    assert len(units) > 4
    assert machine.run("systemd-analyze", "verify", "--man=no", *units) == ""


def test_exposure(machine: Machine) -> None:
    for unit, most in ((UNIT, 0.4), ("tcpdl@tcpdl.service", 1.3)):
        said = machine.run("systemd-analyze", "security", unit)
        found = re.search(r"exposure level for \S+: ([\d.]+)", said)
        assert found is not None
        assert float(found[1]) <= most


PROBE = """
import ctypes, errno, json, mmap, os, socket, subprocess, sys

def attempt(do):
    try:
        do()
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]

def write(path):
    open(path, "w").close()
    os.unlink(path)

ones = (socket.AF_INET, socket.SOCK_STREAM), (socket.AF_NETLINK, socket.SOCK_RAW)
code = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

print(json.dumps({
    "write in /srv": attempt(lambda: write("/srv/tcpdl/new")),
    "write in /etc": attempt(lambda: write("/etc/tcpdl/new")),
    "write in /usr": attempt(lambda: write("/usr/local/new")),
    "write in /opt": attempt(lambda: write("/opt/tcpdl/new")),
    "write in /var": attempt(lambda: write("/var/new")),
    "write in its own": attempt(lambda: write("/var/lib/tcpdl/new")),
    "see a home": attempt(lambda: os.stat("/root/secret")),
    "see another's /tmp": attempt(lambda: os.stat("/tmp/secret")),
    "see another's process": attempt(lambda: os.stat("/proc/1")),
    "see the kernel's settings": attempt(lambda: os.stat("/proc/sys")),
    "see a device": attempt(lambda: os.stat("/dev/net/tun")),
    "make a socket": attempt(lambda: socket.socket(*ones[0])),
    "make a socket of the kernel's": attempt(lambda: socket.socket(*ones[1])),
    "run a program from elsewhere": attempt(lambda: subprocess.run(["/srv/tcpdl/program"])),
    "change the root": attempt(lambda: os.chroot("/")),
    "leave a namespace": attempt(lambda: call("unshare", 0x10000000)),
    "have code made": attempt(lambda: mmap.mmap(-1, 4096, prot=code)),
}))
"""


def test_what_it_cannot_do(machine: Machine) -> None:
    machine.write("/root/secret", "")
    machine.write("/tmp/secret", "")
    machine.write("/srv/tcpdl/program", "#!/bin/sh\n", 0o755)
    machine.write("/opt/probe.py", PROBE)
    modes = {"srv/tcpdl": 0o755, "var/lib/tcpdl": 0o750, "etc/tcpdl": 0o755, "var": 0o755}
    for folder in modes:
        (machine.root / folder).chmod(0o777)  # that it may not is not for want of rights
    python = "/opt/tcpdl/bin/python"
    properties = machine.run("systemctl", "cat", UNIT)
    section = properties.partition("\n[Service]\n")[2].partition("\n[Install]\n")[0]
    leave_out = re.compile(
        r"^(#|$|Exec(Start|Reload)=|Type=|Watchdog|Restart|KillMode|TimeoutStop|OOMPolicy)"
    )
    given = [line for line in section.splitlines() if not leave_out.match(line)]
    free = json.loads(machine.run(python, "/opt/probe.py"))
    options = [f"-p{line}" for line in given]
    said = machine.run(
        "systemd-run", "--pipe", "--wait", "--quiet", *options, python, "/opt/probe.py"
    )
    held = json.loads(said)
    (machine.root / "srv/tcpdl/program").unlink()
    for folder, mode in modes.items():
        (machine.root / folder).chmod(mode)
    assert held.pop("write in its own") == free.pop("write in its own") == "done"
    assert {what: how for what, how in free.items() if how != "done"} == {}
    assert {what: how for what, how in held.items() if how == "done"} == {}


def test_a_daemon_that_is_stuck_is_replaced(machine: Machine) -> None:
    machine.write("/run/systemd/system/tcpdl.service.d/watch.conf", "[Service]\nWatchdogSec=2\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)
    before = pid(machine)
    machine.run("kill", "-STOP", before)
    until(lambda: pid(machine) not in ("0", before))
    assert get(machine) == "hello\n"
    assert "Watchdog timeout" in machine.journal(UNIT)
    (machine.root / "run/systemd/system/tcpdl.service.d/watch.conf").unlink()
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)


def test_a_daemon_that_is_killed_is_replaced(machine: Machine) -> None:
    before = pid(machine)
    machine.run("kill", "-KILL", before)
    assert get(machine) == "hello\n"  # who comes meanwhile waits in the socket
    assert pid(machine) not in ("0", before)


def test_it_reads_its_configuration_again(machine: Machine) -> None:
    before = pid(machine)
    machine.write("/srv/tcpdl/site/index.html", "index\n")
    url = f"http://127.0.0.1:{PORT}/site/"
    assert get(machine, url=url) != "index\n"
    machine.write("/etc/tcpdl/tcpdl.toml", CONFIGURATION + "index = true\n")
    machine.run("systemctl", "reload", UNIT)
    until(lambda: get(machine, url=url) == "index\n")
    machine.write("/etc/tcpdl/tcpdl.toml", CONFIGURATION + "indes = true\n")
    machine.run("systemctl", "reload", UNIT)
    until(lambda: "indes" in machine.journal(UNIT))
    assert get(machine, url=url) == "index\n"
    machine.write("/etc/tcpdl/tcpdl.toml", CONFIGURATION)
    machine.run("systemctl", "reload", UNIT)
    until(lambda: get(machine, url=url) != "index\n")
    assert machine.shown(UNIT, "ActiveState") == "active"
    assert pid(machine) == before


def test_nothing_is_lost_when_it_is_restarted_under_load(machine: Machine, served: str) -> None:
    with busy(machine, served):
        for _ in range(3):
            before = pid(machine)
            machine.run("systemctl", "restart", UNIT)
            assert pid(machine) not in ("0", before)


def test_nothing_is_lost_when_it_is_killed_under_load(machine: Machine, served: str) -> None:
    with busy(machine, served):
        before = pid(machine)
        machine.run("kill", "-KILL", before)
        until(lambda: pid(machine) not in ("0", before))
        until(lambda: machine.shown(UNIT, "ActiveState") == "active")


def test_a_transfer_has_time_to_end(machine: Machine) -> None:
    url = f"http://127.0.0.1:{PORT}/big"
    slow = machine.start("curl", "-sS", "--limit-rate", "2M", "-o", "/dev/null", url)
    with slow as process:
        until(lambda: machine.journal(UNIT) and process.poll() is None)
        machine.run("systemctl", "restart", UNIT)
        said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said


def test_workers_are_replaced_one_by_one_under_load(machine: Machine, served: str) -> None:
    machine.write("/etc/tcpdl/tcpdl.toml", CONFIGURATION + "workers = 2\n")
    machine.run("systemctl", "restart", UNIT)
    before = pid(machine)
    with busy(machine, served):
        for _ in range(2):
            children = workers(machine)
            assert len(children) == 2
            machine.run("systemctl", "reload", UNIT)
            until(lambda before=children: not set(before) & workers(machine))  # type: ignore[misc]
            until(lambda: machine.shown(UNIT, "ActiveState") == "active")
    assert pid(machine) == before
    machine.write("/etc/tcpdl/tcpdl.toml", CONFIGURATION)
    machine.run("systemctl", "restart", UNIT)


def test_tls(machine: Machine) -> None:
    key = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    pem = PROJECT / ".cache/systemd/pem"
    pem.mkdir(exist_ok=True)
    subprocess.run(
        [*key.split(), "-keyout", pem / "key", "-out", pem / "cert"],
        check=True,
        capture_output=True,
    )
    machine.write("/etc/tcpdl/cert.pem", (pem / "cert").read_text())
    machine.write("/etc/tcpdl/key.pem", (pem / "key").read_text(), 0o600)  # for root alone
    drop_in = """[Service]
LoadCredential=cert.pem:/etc/tcpdl/cert.pem
LoadCredential=key.pem:/etc/tcpdl/key.pem
Environment=TCPDL_TLS_CERT=%d/cert.pem TCPDL_TLS_KEY=%d/key.pem
"""
    machine.write("/etc/systemd/system/tcpdl.service.d/tls.conf", drop_in)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "stop", UNIT)  # or it would not take another socket
    machine.run("systemctl", "start", "tcpdl-tls.socket", UNIT)
    trust = "--cacert", "/etc/tcpdl/cert.pem"
    for port in (PORT, TLS_PORT):
        assert get(machine, *trust, url=f"https://localhost:{port}/hello.txt") == "hello\n"
    where = f"tcpdls://localhost:{TLS_PORT}/hello.txt"
    assert client(machine, "get", where, "--ca-file", str(pem / "cert"), "-o", "-") == "hello\n"
    plain = get(machine, "-o/dev/null", "-w%{http_code}", url=f"http://localhost:{TLS_PORT}/")
    assert plain in ("301", "302", "307", "308", "400", "403", "426")
    machine.run("systemctl", "stop", "tcpdl-tls.socket", UNIT)
    (machine.root / "etc/systemd/system/tcpdl.service.d/tls.conf").unlink()
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", UNIT)
    assert get(machine) == "hello\n"


def test_an_instance_opens_its_own_ports(machine: Machine, served: str) -> None:
    text = CONFIGURATION + "port = 9000\necho-port = 9007\n"
    machine.write("/etc/tcpdl/web.toml", text)
    unit = "tcpdl@web.service"
    machine.run("systemctl", "start", unit)
    assert get(machine, url="http://127.0.0.1:9000/hello.txt") == "hello\n"
    assert client(machine, "get", "127.0.0.1:9000/hello.txt", "-o", "-") == "hello\n"
    assert client(machine, "echo", "127.0.0.1:9007", "back").strip() == "back"
    assert re.search(r"\brestricted: Landlock ABI \d+, reads what is", machine.journal(unit))
    machine.write("/etc/tcpdl/web.toml", text + "workers = 2\n")
    machine.run("systemctl", "restart", unit)
    with busy(machine, served, 9000):
        machine.run("systemctl", "reload", unit)
        until(lambda: machine.shown(unit, "ActiveState") == "active")
    machine.run("systemctl", "stop", unit)
    assert machine.shown(unit, "Result") == "success"


def test_it_ends_cleanly(machine: Machine) -> None:
    machine.run("systemctl", "stop", UNIT)
    assert machine.shown(UNIT, "ActiveState") == "inactive"
    assert machine.shown(UNIT, "Result") == "success"
    assert get(machine) == "hello\n"  # the socket starts it again
    machine.write("/etc/tcpdl/tcpdl.toml", "no-such-option = 1\n")
    machine.run("systemctl", "restart", UNIT, check=False)
    assert machine.shown(UNIT, "ExecMainStatus") == "2"
    assert "no-such-option" in machine.journal(UNIT)
    machine.write("/etc/tcpdl/tcpdl.toml", CONFIGURATION)
    machine.run("systemctl", "reset-failed", UNIT, "tcpdl.socket", check=False)
    machine.run("systemctl", "restart", "tcpdl.socket", UNIT)
    assert get(machine) == "hello\n"


def test_it_is_uninstalled(machine: Machine) -> None:
    machine.run("systemctl", "enable", "--now", UNIT, "tcpdl-echo.socket")
    machine.write("/etc/tcpdl/web.toml", CONFIGURATION + "port = 9000\n")
    machine.run("systemctl", "enable", "tcpdl@web.service")
    for folder in ("packaging", "etc"):
        shutil.copytree(PROJECT / folder, machine.root / "opt/source" / folder)
    machine.run("sh", "/opt/source/packaging/unstage.sh", "", "/usr/local")
    shutil.rmtree(machine.root / "opt/source")
    assert machine.run("pgrep", "-f", "/opt/tcpdl", check=False) == ""
    found = machine.run(
        *("find", "/etc", "/opt", "/srv", "/usr", "/var", "-xdev", "-name", "*tcpdl*"),
        *("-not", "-path", "/var/l*/tcpdl-*"),  # what instances have left there
    )
    assert set(found.split()) == {
        *("/etc/tcpdl", "/etc/tcpdl/tcpdl.toml", "/etc/systemd/system/tcpdl.service.d"),
        *("/srv/tcpdl", "/var/lib/tcpdl", "/var/log/tcpdl"),
    }
    assert machine.run("systemctl", "is-system-running").strip() == "running"

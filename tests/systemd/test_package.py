"""Tests of the Debian package: what it is, and that it is installed, upgraded under load, removed,
installed again and purged, in a system of its own."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.busy import busy, until
from tests.systemd.conftest import PYTHON, wanted
from tests.systemd.machine import CACHE, PROJECT, Machine, Unfit, booted

UNIT, PORT = "tcpdl.service", 8080
CONTENT = hashlib.shake_128(b"tcpdl").digest(8 * 1024 * 1024)


def make(source: Path, folder: Path, umask: int = 0o022, **environ: str) -> Path:
    """The package that is made of a checkout, in a folder that has no other."""
    subprocess.run(
        ["sh", source / "packaging/deb.sh", folder, PYTHON],
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000", **environ},
        umask=umask,
        check=True,
    )
    (made,) = folder.glob("*.deb")
    return made


@pytest.fixture(scope="module")
def packages() -> list[Path]:
    """The package, and one that is the same but for a later version."""
    wanted()
    folder = CACHE / "packages"
    shutil.rmtree(folder, ignore_errors=True)
    made = make(PROJECT, folder)
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "-R", made, tree], check=True)
    control = tree / "DEBIAN/control"
    text = control.read_text()
    (version,) = (line for line in text.splitlines() if line.startswith("Version: "))
    control.write_text(text.replace(version, f"{version}.1"))
    # By which it is known which version a process runs.
    (package,) = tree.glob("opt/tcpdl/lib/python3.*/site-packages/tcpdl/__init__.py")
    package.write_text(package.read_text().replace('__version__ = "', '__version__ = "9'))
    later = folder / "later.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, later], check=True)
    return [made, later]


@pytest.fixture(scope="module")
def machine(packages: list[Path]) -> Iterator[Machine]:
    try:
        with booted() as made:
            for number, package in enumerate(packages):
                shutil.copy(package, made.root / f"opt/{number}.deb")
            yield made
    except Unfit as why:
        pytest.skip(str(why))


def get(machine: Machine) -> str:
    return machine.run("curl", "-sS", f"http://127.0.0.1:{PORT}/hello.txt")


def pid(machine: Machine) -> str:
    return machine.shown(UNIT, "MainPID")


def workers(machine: Machine) -> set[str]:
    return set(machine.run("pgrep", "-P", pid(machine), check=False).split())


def test_it_is_the_same_wherever_it_is_made(packages: list[Path], tmp_path: Path) -> None:
    elsewhere = tmp_path / "another" / "checkout"
    leave = shutil.ignore_patterns(".*", "build", "dist", "__pycache__", "dropin.cache")
    shutil.copytree(PROJECT, elsewhere, ignore=leave)
    python = {"PYTHONHASHSEED": "1", "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}
    made = make(elsewhere, tmp_path / "dist", 0o077, TZ="Asia/Tokyo", **python)
    assert made.name == packages[0].name
    assert made.read_bytes() == packages[0].read_bytes()


def test_the_notes_on_plugins_are_believed(packages: list[Path]) -> None:
    (plugins,) = packages[0].parent.glob(
        "tree/opt/tcpdl/lib/python3*/site-packages/twisted/plugins"
    )
    noted = (plugins / "dropin.cache").stat().st_mtime
    assert max(plugin.stat().st_mtime for plugin in plugins.glob("*.py")) < noted


@pytest.mark.skipif(shutil.which("lintian") is None, reason="lintian is not installed")
def test_it_is_as_packages_should_be(packages: list[Path]) -> None:
    said = subprocess.run(
        ["lintian", "--allow-root", packages[0]], capture_output=True, text=True, check=False
    )
    assert (said.stdout, said.returncode) == ("", 0)


def test_it_is_installed_and_serves(machine: Machine) -> None:
    machine.run("dpkg", "--install", "/opt/0.deb")
    assert machine.shown(UNIT, "ActiveState") == "active"
    assert machine.shown(UNIT, "UnitFileState") == "enabled"
    (machine.root / "srv/tcpdl/hello.txt").write_text("hello\n")
    (machine.root / "srv/tcpdl/big").write_bytes(CONTENT)
    assert get(machine) == "hello\n"
    assert "restricted: Landlock" in machine.journal(UNIT)
    assert machine.run("tcpdl", "--version").startswith("tcpdl 0.")
    assert machine.run("systemctl", "is-system-running").strip() == "running"
    verified = machine.run("dpkg", "--verify", "tcpdl")
    assert verified == ""


@pytest.mark.parametrize("how", ["restarted", "with workers"])
def test_an_upgrade_drops_nobody(machine: Machine, how: str) -> None:
    machine.run("dpkg", "--install", "/opt/0.deb")
    shipped = (machine.root / "etc/tcpdl/tcpdl.toml").read_text()
    count = "workers = 2" if how == "with workers" else "# one process"
    configuration = re.sub(r"(?m)^workers = .*$|^# one process$", count, shipped)
    assert count in configuration
    machine.write("/etc/tcpdl/tcpdl.toml", configuration)
    machine.run("systemctl", "restart", UNIT)
    before, old = pid(machine), workers(machine)
    url = f"http://127.0.0.1:{PORT}/big"
    words = "curl", "-sS", "--limit-rate", "1M", "-o", "/dev/null", url
    with busy(machine, hashlib.sha256(CONTENT).hexdigest()), machine.start(*words) as curl:
        machine.run("dpkg", "--install", "/opt/1.deb")
        if how == "with workers":
            assert len(old) == 2
            until(lambda: not old & workers(machine) and len(workers(machine)) == 2)
            assert pid(machine) == before
            assert "until a restart" in machine.shown(UNIT, "StatusText")
        else:
            assert pid(machine) not in ("0", before)
        said, _ = curl.communicate(timeout=60)
    assert curl.returncode == 0, said
    assert (machine.root / "etc/tcpdl/tcpdl.toml").read_text() == configuration
    assert machine.run("tcpdl", "--version").startswith("tcpdl 90.")
    assert get(machine) == "hello\n"


def test_it_is_removed_and_installed_again(machine: Machine) -> None:
    machine.write("/etc/tcpdl/web.toml", 'root = "/srv/tcpdl"\nport = 9000\n')
    units = UNIT, "tcpdl-echo.socket", "tcpdl@web.service"
    machine.run("systemctl", "enable", "--now", "tcpdl@web.service")
    machine.run("systemctl", "enable", "tcpdl-echo.socket")
    configuration = (machine.root / "etc/tcpdl/tcpdl.toml").read_text()
    machine.run("dpkg", "--remove", "tcpdl")
    assert [machine.shown(unit, "ActiveState") for unit in units] == ["inactive"] * 3
    assert not (machine.root / "opt/tcpdl").exists()
    machine.run("dpkg", "--install", "/opt/1.deb")
    assert [machine.shown(unit, "ActiveState") for unit in units] == ["active"] * 3
    assert get(machine) == "hello\n"
    assert (machine.root / "etc/tcpdl/tcpdl.toml").read_text() == configuration


def test_what_was_disabled_stays_so(machine: Machine) -> None:
    units = "tcpdl-echo.socket", "tcpdl.socket", UNIT, "tcpdl@web.service"
    machine.run("systemctl", "disable", "--now", *units)
    machine.run("dpkg", "--install", "/opt/1.deb")
    machine.run("dpkg", "--remove", "tcpdl")
    machine.run("dpkg", "--install", "/opt/1.deb")
    for unit in units:
        assert machine.shown(unit, "ActiveState") == "inactive"
        assert machine.run("systemctl", "is-enabled", unit, check=False).strip() == "disabled"
    machine.run("systemctl", "enable", "--now", *units)


def test_it_is_removed_and_purged(machine: Machine) -> None:
    machine.run("dpkg", "--remove", "tcpdl")
    assert machine.shown(UNIT, "ActiveState") == "inactive"
    assert (machine.root / "etc/tcpdl/tcpdl.toml").exists()
    machine.run("dpkg", "--purge", "tcpdl")
    (machine.root / "etc/tcpdl/web.toml").unlink()
    (machine.root / "etc/tcpdl").rmdir()
    for gone in ("etc/tcpdl", "var/lib/tcpdl", "var/log/tcpdl", "usr/bin/tcpdl"):
        assert not (machine.root / gone).exists(), gone
    assert (machine.root / "srv/tcpdl/hello.txt").read_text() == "hello\n"
    assert "tcpdl" not in machine.run("systemctl", "list-unit-files", "--no-pager")
    assert machine.run("systemctl", "is-system-running").strip() == "running"
    assert machine.run("find", "/etc", "-name", "*tcpdl*") == ""

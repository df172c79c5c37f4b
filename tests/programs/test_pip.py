"""Tests pip against the daemon: a folder of wheels is a package index, as its page lists it."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Daemon, daemon_of
from tests.programs.conftest import Run, age

PIP = (sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-cache-dir")

pytestmark = pytest.mark.skipif(
    bool(subprocess.run([*PIP, "--version"], stdout=subprocess.DEVNULL).returncode),
    reason="not installed: pip",
)


def make_wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """A wheel of one module, which says its version."""
    module = name.replace("-", "_").lower()
    info = f"{module}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{module}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {other}\n" for other in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text.encode())}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    root = tmp_path_factory.mktemp("index") / "root"
    for version in ("1.0", "2.0", "10.0", "11.0rc1"):
        make_wheel(root / "simple/tcpdl-test-app", "TCPdl-Test-App", version, "tcpdl-test-lib>=1")
    make_wheel(root / "simple/tcpdl-test-lib", "tcpdl-test-lib", "1.5+local.2")
    make_wheel(root / "wheels", "tcpdl-test-lib", "1.5")
    make_wheel(root / "wheels", "TCPdl-Test-App", "3.0", "tcpdl-test-lib")
    (root / "wheels/notes.txt").write_text("not a wheel\n")
    age(root)
    with daemon_of(root) as daemon:
        yield daemon


def versions(run: Run, work: Path) -> list[str]:
    """What was installed says, once imported."""
    program = "import tcpdl_test_app as a, tcpdl_test_lib as b; print(a.VERSION, b.VERSION)"
    ran = run(sys.executable, "-c", program, PYTHONPATH=str(work / "site"))
    return ran.out.decode().split()


def install(run: Run, *arguments: str) -> None:
    run(*PIP, "install", "-q", "--no-compile", "--target", "site", *arguments)


def test_an_index(index: Daemon, run: Run, work: Path) -> None:
    install(run, "--index-url", f"{index.url}/simple/", "tcpdl-test-app")
    assert versions(run, work) == ["10.0", "1.5+local.2"]


def test_an_index_of_which_a_version_is_wanted(index: Daemon, run: Run, work: Path) -> None:
    install(run, "--index-url", f"{index.url}/simple", "Tcpdl.Test_App<10")
    assert versions(run, work) == ["2.0", "1.5+local.2"]


def test_a_download(index: Daemon, run: Run, work: Path) -> None:
    where = ("--index-url", f"{index.url}/simple/", "--pre")
    run(*PIP, "download", "-q", "--no-deps", *where, "tcpdl-test-app")
    (wheel,) = work.glob("*.whl")
    assert wheel.name == "tcpdl_test_app-11.0rc1-py3-none-any.whl"
    served = index.root / "simple/tcpdl-test-app" / wheel.name
    assert wheel.read_bytes() == served.read_bytes()


def test_hashes(index: Daemon, run: Run, work: Path) -> None:
    where = ("--index-url", f"{index.url}/simple/", "--require-hashes", "-r", "requirements.txt")
    lines = []
    for folder, version in (("app", "1.0"), ("lib", "1.5+local.2")):
        wheel = f"tcpdl-test-{folder}/tcpdl_test_{folder}-{version}-py3-none-any.whl"
        digest = hashlib.sha256((index.root / "simple" / wheel).read_bytes()).hexdigest()
        lines.append(f"tcpdl-test-{folder}=={version} --hash=sha256:{digest}\n")
    (work / "requirements.txt").write_text("".join(lines))
    install(run, *where)
    assert versions(run, work) == ["1.0", "1.5+local.2"]
    (work / "requirements.txt").write_text(f"tcpdl-test-app==2.0 --hash=sha256:{'0' * 64}\n")
    ran = run(*PIP, "download", "-q", *where, status=1)
    assert "DO NOT MATCH THE HASHES" in ran.err


def test_a_folder_of_wheels(index: Daemon, run: Run, work: Path) -> None:
    install(run, "--no-index", "--find-links", f"{index.url}/wheels/", "tcpdl-test-app")
    assert versions(run, work) == ["3.0", "1.5"]


def test_what_is_not_in_the_index(index: Daemon, run: Run) -> None:
    where = ("--index-url", f"{index.url}/simple/")
    ran = run(*PIP, "download", "-q", *where, "tcpdl-test-missing", status=1)
    assert "No matching distribution found for tcpdl-test-missing" in ran.err

"""A system of its own on this machine, with systemd as its first process: what units are tried in.

It is systemd-nspawn's, on a tree of Debian that debootstrap makes once and that is kept below
.cache. Nothing of this machine is changed but for a control group, which is removed again.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).resolve().parent.parent.parent
CACHE = PROJECT / ".cache" / "systemd"

PACKAGES = "systemd,systemd-sysv,dbus,procps,python3,curl,netcat-openbsd"
"""What the system has; `procps` for /bin/kill, which units call."""

SECONDS = 120.0
"""How long anything may take before it is taken for stuck."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Unfit(Exception):
    """No system can be booted here, and why."""


def tree() -> Path:
    """Debian's files, as debootstrap leaves them, made if need be. Raises `Unfit`."""
    if os.geteuid() != 0:
        raise Unfit("it takes root to boot a system")
    if shutil.which("apt-get") is None:
        raise Unfit("it takes Debian's packages to make a system")
    made = CACHE / "tree"
    mark = made / ".packages"
    if mark.exists() and mark.read_text() == PACKAGES:
        return made
    shutil.rmtree(made, ignore_errors=True)
    (CACHE / "debs").mkdir(parents=True, exist_ok=True)
    program, environ = _tool("debootstrap")
    with open(CACHE / "debootstrap.log", "wb") as log:
        words = ["--variant=minbase", f"--cache-dir={CACHE}/debs", f"--include={PACKAGES}"]
        ran = subprocess.run(
            [*program, *words, _suite(), made, _mirror()],
            env=environ,
            stdout=log,
            stderr=log,
            check=False,
        )
    if ran.returncode:
        raise Unfit(f"debootstrap failed; see {CACHE}/debootstrap.log")
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"):
        (made / "etc/systemd/system" / unit).symlink_to("/dev/null")
    (made / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    mark.write_text(PACKAGES)
    return made


def _tool(name: str) -> tuple[list[str], dict[str, str]]:
    """What runs debootstrap or systemd-nspawn: what is installed, or else what is in Debian's
    packages, which are unpacked and not installed."""
    environ = dict(os.environ)
    if (found := shutil.which(name)) is not None:
        return [found], environ
    tools = CACHE / "tools"
    if not (tools / ".done").exists():
        shutil.rmtree(tools, ignore_errors=True)
        tools.mkdir(parents=True)
        packages = ["debootstrap", "systemd-container", "libsystemd-shared"]
        fetch = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *packages]
        if subprocess.run(fetch, cwd=tools, check=False).returncode:
            raise Unfit(f"there is no {name}, and it cannot be fetched")
        for package in tools.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, tools], check=True)
        (tools / ".done").touch()
    environ["DEBOOTSTRAP_DIR"] = str(tools / "usr/share/debootstrap")
    library = next(tools.rglob("libsystemd-shared-*.so"))
    environ["LD_LIBRARY_PATH"] = str(library.parent)
    return [str(next(tools.glob(f"usr/*bin/{name}")))], environ


def _suite() -> str:
    """The release whose Python is this machine's, since what is tried was made with that."""
    release = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    if release.get("ID") != "debian" or "VERSION_CODENAME" not in release:
        raise Unfit("this machine is no Debian, whose Python could be used in another")
    return release["VERSION_CODENAME"]


def _mirror() -> str:
    ran = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"],
        capture_output=True,
        text=True,
        check=True,
    )
    if not ran.stdout.strip():
        raise Unfit("there is no package registry")
    return ran.stdout.split()[0]


class Machine:
    """A system that runs."""

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self.root = Path(f"/proc/{leader}/root")
        """Its files, as it sees them."""

    def run(self, *words: str, check: bool = True) -> str:
        """What a program says that is run inside, as root. `check` asserts that it succeeds."""
        environ = ["env", "-i", "LANG=C.UTF-8", "SYSTEMD_PAGER=", f"PATH={_PATH}"]
        ran = subprocess.run(
            [*self._enter("-m", "-u", "-i", "-n", "-p", "-C"), *environ, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert not check or ran.returncode == 0, f"{' '.join(words)}: {ran.stdout}"
        return ran.stdout

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A program of this machine that runs in the network of that one."""
        return subprocess.Popen(
            [*self._enter("-n"), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def near(self, *words: str) -> str:
        """What such a program says; asserts that it succeeds."""
        with self.start(*words) as process:
            said, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, f"{' '.join(words)}: {said}"
        return said

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def shown(self, unit: str, what: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "-P", what, unit).strip()

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "-u", unit, "-o", "cat", "--no-pager")

    def _enter(self, *namespaces: str) -> list[str]:
        return ["nsenter", "-t", str(self._leader), *namespaces, "--"]


@contextmanager
def booted(*layers: Path) -> Iterator[Machine]:
    """A system that has booted, with the files of `layers` above those of the tree.

    Raises `Unfit`.
    """
    lower = ":".join(str(layer) for layer in [*layers, tree()])
    program, environ = _tool("systemd-nspawn")
    with TemporaryDirectory(prefix="tcpdl-systemd-") as state:
        name = f"tcpdl-{os.getpid()}-{secrets.token_hex(4)}"  # no underscores, as that of `state`
        boot = [str(Path(__file__).with_name("boot.sh")), state, name, lower, *program]
        with subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "unshare", "--mount", "bash", *boot],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield Machine(_leader(process))
            finally:
                process.terminate()
                process.communicate()


def _leader(process: subprocess.Popen[str]) -> int:
    """The first process of the system that `process` boots, once it has booted."""
    assert process.stdout is not None
    said: list[str] = []
    while not (line := process.stdout.readline()).startswith("nspawn "):
        if not line:
            raise Unfit(f"no system boots here: {''.join(said).strip()}")
        said.append(line)
    nspawn = int(line.split()[1])
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for child in _children(nspawn):
            if _is_first(child):
                state = Machine(child).run("systemctl", "is-system-running", check=False).strip()
                if state in ("running", "degraded"):
                    return child
        time.sleep(0.05)
    process.terminate()
    raise Unfit(f"no system boots here: {process.stdout.read().strip()}")


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _is_first(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid") and (
            Path(f"/proc/{pid}/comm").read_text() == "systemd\n"
        )
    except OSError:
        return False

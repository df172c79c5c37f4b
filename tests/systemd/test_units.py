"""Tests of the units as they are written: what they leave the daemon, and that they agree."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parent.parent.parent / "etc" / "systemd"

EXPOSURE = {"tcpdl.service": 0.4, "tcpdl@.service": 1.3}
"""The most that `systemd-analyze security` may find, of 10, for each unit."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze"
)


def settings(unit: str) -> list[str]:
    """The lines of a unit's section on the service, without comments."""
    text = (UNITS / unit).read_text("utf-8")
    section = text.partition("\n[Service]\n")[2].partition("\n[Install]\n")[0]
    return [line for line in section.splitlines() if line and not line.startswith("#")]


def test_an_instance_is_the_service_but_for_the_network() -> None:
    one = []
    for line in settings("tcpdl.service"):
        line = re.sub(r"^((State|Runtime|Logs)Directory=tcpdl)$", r"\1-%i", line)
        one.append(line.replace("tcpdl.toml", "%i.toml"))
    many = settings("tcpdl@.service")
    assert [line for line in one if line not in many] == [
        "PrivateNetwork=yes",
        "RestrictAddressFamilies=AF_UNIX",
        "IPAddressDeny=any",
    ]
    assert [line for line in many if line not in one] == [
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "SocketBindDeny=any",
        "SocketBindAllow=tcp",
    ]


@pytest.mark.parametrize("unit", EXPOSURE)
def test_no_setting_is_made_over_the_administrators_head(unit: str) -> None:
    """What a unit sets in the environment counts more than what stands in the file."""
    assert not [line for line in settings(unit) if "TCPDL_" in line]
    assert any(line.startswith("StateDirectory=") for line in settings(unit))


@needs_systemd
@pytest.mark.parametrize("unit", EXPOSURE)
def test_exposure(unit: str) -> None:
    ran = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", UNITS / unit],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in ran.stderr:
        pytest.skip("this systemd-analyze rates only units that are installed")
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", ran.stdout)
    assert found is not None, ran.stderr
    assert float(found[1]) <= EXPOSURE[unit]

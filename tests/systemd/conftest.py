"""What the tests share that boot a system: one for all, in which the service is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import CACHE, PROJECT, Machine, Unfit, booted

PYTHON = "/usr/bin/python3"
"""The interpreter of the system that is booted, which is of the same release as this one."""


def wanted() -> None:
    """Skip the test unless it was asked for: to make and to install a system takes minutes."""
    if not os.environ.get("TCPDL_SYSTEMD_TEST"):
        pytest.skip("it boots a system: make systemd-test does")


@pytest.fixture(scope="session")
def installed() -> Path:
    """The files of the service, as `make install-service` lays them out, whatever the umask is."""
    wanted()
    stage = CACHE / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    lay_out = PROJECT / "packaging/stage.sh"
    subprocess.run(["sh", lay_out, stage, "/usr/local", PYTHON], umask=0o077, check=True)
    return stage


@pytest.fixture(scope="session")
def machine(installed: Path) -> Iterator[Machine]:
    """A system that has the service and has started none of it."""
    try:
        with booted(installed) as made:
            yield made
    except Unfit as why:
        pytest.skip(str(why))

"""Tests that an endpoint whose certificate cannot be read is an error like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from tcpdl.server.listening import CannotListen
from tcpdl.service import Options, make_daemon


@pytest.mark.parametrize("content", [None, "garbage", ""])
def test_a_certificate_that_cannot_be_read(content: str | None, tmp_path: Path) -> None:
    pem = tmp_path / "certificate.pem"
    if content is not None:
        pem.write_text(content)
    options = Options()
    options.parseOptions([f"--root={tmp_path}", f"--listen=ssl:0:privateKey={pem}"])
    reactor: Any = MemoryReactorClock()
    with pytest.raises(CannotListen, match="--listen"):
        make_daemon(options, reactor)

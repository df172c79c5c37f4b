"""A browser that tests drive: chromedriver's side of W3C WebDriver, as little of it as they need.

https://www.w3.org/TR/webdriver2/ is the specification; what is below /goog/ is chromedriver's own.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = Path("/usr/bin/chromium")
CHROMEDRIVER = Path("/usr/bin/chromedriver")
SECONDS_MOST = 60
"""How long any command may take: a page of 10,000 rows on a busy machine."""

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_KEYS = {
    "Enter": "\ue007",
    "Escape": "\ue00c",
    "Backspace": "\ue003",
    "Tab": "\ue004",
    "ArrowUp": "\ue013",
    "ArrowDown": "\ue015",
    "Home": "\ue011",
    "End": "\ue010",
}
_OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--lang=en",
    "--window-size=1280,900",
]


class Failed(Exception):
    """The browser could not do what it was told."""


class Browser:
    """One window of a browser."""

    def __init__(self, port: int, capabilities: dict[str, Any], downloads: Path) -> None:
        self.downloads = downloads
        """Where it puts what it downloads."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS_MOST)
        asked = {"capabilities": {"alwaysMatch": capabilities}}
        self._session = f"/session/{self._send('POST', '/session', asked)['sessionId']}"

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, sent, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        value = json.loads(response.read())["value"]
        if response.status != 200:
            raise Failed(f"{value['error']}: {value['message']}")
        return value

    def post(self, path: str, **body: Any) -> Any:
        return self._send("POST", self._session + path, body)

    def get(self, path: str) -> Any:
        return self._send("GET", self._session + path)

    def close(self) -> None:
        self._send("DELETE", self._session)
        self._connection.close()

    def open(self, url: str) -> None:
        """Go to `url`, and wait until it is loaded."""
        self.post("/url", url=url)

    @property
    def url(self) -> str:
        return str(self.get("/url"))

    def run(self, script: str, *arguments: Any) -> Any:
        """What `script` returns, awaited if it is a promise. It is subject to no policy."""
        return self.post("/execute/sync", script=script, args=list(arguments))

    def find(self, selector: str) -> str:
        """The first element that `selector` finds. Raises `Failed`."""
        return str(self.post("/element", using="css selector", value=selector)[_ELEMENT])

    def click(self, selector: str) -> None:
        self.post(f"/element/{self.find(selector)}/click")

    def go(self, selector: str) -> None:
        """Click on what leads to another page, and wait until that is loaded: what a form asks for
        comes a moment after the click."""
        before, end = self.url, time.monotonic() + SECONDS_MOST
        self.click(selector)
        while self.url == before or self.run("return document.readyState") != "complete":
            assert time.monotonic() < end, f"still at {before}"

    def press(self, *keys: str) -> None:
        """Press keys one after the other, by name or character, wherever the focus is."""
        actions = []
        for key in keys:
            value = _KEYS.get(key, key)
            actions += [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        self.post("/actions", actions=[{"type": "key", "id": "keys", "actions": actions}])

    def devtools(self, command: str, **parameters: Any) -> Any:
        """Do a command of the DevTools protocol."""
        return self.post("/goog/cdp/execute", cmd=command, params=parameters)

    def screen(self, width: int, height: int, *, phone: bool = False) -> None:
        """Show pages on a screen of this size."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def prefer(self, scheme: str) -> None:
        """Have the system prefer `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def complaints(self) -> list[str]:
        """What the browser has written to its console since it was asked last: errors of scripts,
        what the policy has blocked, what could not be loaded."""
        return [entry["message"] for entry in self.post("/se/log", type="browser")]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.get("/screenshot")))


@contextmanager
def browser(folder: Path, *, script: bool = True) -> Iterator[Browser]:
    """A browser with a profile in `folder`; without `script`, it runs that of no page."""
    port = _free_port()
    driver = subprocess.Popen(
        [CHROMEDRIVER, f"--port={port}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    downloads = folder / "downloads"
    preferences: dict[str, Any] = {"download": {"default_directory": str(downloads)}}
    if not script:
        preferences["profile"] = {"default_content_setting_values": {"javascript": 2}}
    options = {
        "binary": str(CHROMIUM),
        "args": [*_OPTIONS, f"--user-data-dir={folder / 'profile'}"],
        "prefs": preferences,
    }
    capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    try:
        _wait_for(port, driver)
        opened = Browser(port, capabilities, downloads)
        try:
            yield opened
        finally:
            opened.close()
    finally:
        driver.terminate()
        driver.wait(SECONDS_MOST)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, driver: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS_MOST
    while time.monotonic() < end and driver.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
    raise Failed("chromedriver does not listen")

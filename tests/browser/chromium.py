# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium, spoken to over a pipe (the DevTools protocol), so that it needs no driver
and no Python package.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # as root there is no other way; it opens our own file only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)
PATIENCE = 60.0  # seconds


def find_chromium() -> str | None:
    """The program that CHROMIUM names, or one that is in the PATH."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab. errors collects uncaught errors, refusals of the content policy, failed loads."""

    def __init__(self, writes: BinaryIO, reads: BinaryIO) -> None:
        self._writes, self._reads = writes, reads
        self._number, self._session = 0, ""
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = str(attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._writes.write(json.dumps(message).encode() + b"\0")
        self._writes.flush()
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def open(self, file: Path) -> None:
        """Open a file, and return when it says that it is ready."""
        self.call("Page.navigate", url=file.resolve().as_uri())
        self.wait_for("document.readyState === 'complete'")

    def wait_for(self, expression: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.value(expression):
            assert time.monotonic() < deadline, f"waited in vain for {expression}; {self.errors}"
            time.sleep(0.05)

    def value(self, expression: str) -> Any:  # noqa: ANN401
        """What a JavaScript expression comes to; a promise is waited for."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def look(self, *, width: int, height: int = 900, dark: bool = False, media: str = "") -> None:
        """Set the window, the colour scheme, and screen or print."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **text,
            )

    def screenshot(self, file: Path, clip: Mapping[str, float] | None = None) -> None:
        """A PNG of the window, or of a part of the page."""
        area = {"clip": {**clip, "scale": 1}, "captureBeyondViewport": True} if clip else {}
        shot = self.call("Page.captureScreenshot", format="png", **area)
        file.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, file: Path) -> None:
        done = self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        file.write_bytes(base64.b64decode(done["data"]))

    def _receive(self) -> dict[str, Any]:
        parts = bytearray()
        while (byte := self._reads.read(1)) != b"\0":
            assert byte, "Chromium has ended"
            parts += byte
        message: dict[str, Any] = json.loads(parts)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, said: Mapping[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.errors.append(said["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning"):
            self.errors.append(str(said["args"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Page]:
    """A browser with one tab; profile is an empty folder for its files."""
    (for_it, ours_out), (ours_in, from_it) = os.pipe(), os.pipe()
    # It reads from descriptor 3 and writes to 4
    command = 'exec "$0" "$@" 3<&"$IN" 4>&"$OUT"'
    process = subprocess.Popen(
        ["bash", "-c", command, program, *OPTIONS, f"--user-data-dir={profile}"],
        env={**os.environ, "IN": str(for_it), "OUT": str(from_it)},
        pass_fds=(for_it, from_it),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(for_it)
    os.close(from_it)
    try:
        with os.fdopen(ours_out, "wb") as writes, os.fdopen(ours_in, "rb") as reads:
            page = Page(writes, reads)
            yield page
            with suppress(AssertionError, OSError):
                page.call("Browser.close")
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()

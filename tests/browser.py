"""A headless Chromium that shows a page: what is on it, and what its console says.

It is spoken to in the DevTools protocol over two pipes, messages in JSON with a zero byte behind.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-extensions", "--disable-background-networking", "--remote-debugging-pipe",
)  # fmt: skip
_FREE = 30  # file descriptors from here on are nobody's


def find() -> str | None:
    """The program, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One page in a running browser."""

    def __init__(self, read: Any, write: Any) -> None:
        self._read, self._write = read, write
        self._number, self._session = 0, ""
        self._buffer = b""
        self.events: list[dict] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict:
        """Send a command and return its result; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        self._write.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict:
        while b"\0" not in self._buffer:
            part = os.read(self._read.fileno(), 1 << 20)
            assert part, "the browser has gone"
            self._buffer += part
        text, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(text)

    def show(self, path: Path, width: int, height: int) -> None:
        """Open a file on a screen of this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._next())
        self.events = [e for e in self.events if e.get("method") != "Page.loadEventFired"]

    def value(self, expression: str) -> Any:
        """Evaluate JavaScript on the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def complaints(self) -> list[str]:
        """What the console and the log said so far."""
        names = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(e["params"])[:400] for e in self.events if e.get("method") in names]

    def requests(self) -> list[str]:
        """What was fetched."""
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [e["params"]["request"]["url"] for e in sent]

    def picture(self) -> bytes:
        """The whole page as PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        return base64.b64decode(found["data"])

    def printed(self) -> bytes:
        """The page as it is printed: PDF."""
        return base64.b64decode(self.call("Page.printToPDF")["data"])


@contextlib.contextmanager
def opened() -> Iterator[Page]:
    """Start the browser; end it afterwards."""
    program = find()
    assert program is not None
    to_read, to_us = os.pipe(), os.pipe()
    ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, _FREE) for fd in (to_read[0], to_us[1])]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        command = [
            "bash", "-c", f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}', "sh",
            program, *FLAGS, f"--user-data-dir={home}",
        ]  # fmt: skip
        child = subprocess.Popen(
            command, pass_fds=ends, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL, env={**os.environ, "HOME": home},
        )  # fmt: skip
        for fd in (to_read[0], to_us[1], *ends):
            os.close(fd)
        try:
            with os.fdopen(to_us[0], "rb") as read, os.fdopen(to_read[1], "wb") as write:
                yield Page(read, write)
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

"""A headless Chromium spoken to over its debugging pipe, with nothing but the standard library."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
    "--remote-debugging-pipe",
)
_PATIENCE = 90.0  # seconds; a busy machine starts Chromium slowly


def executable() -> str | None:
    """Return the path of a Chromium, None if none is installed."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab: what it loads is recorded, and what it says on its console."""

    def __init__(self, profile: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._count, self._buffer = 0, b""
        self._session: str | None = None
        self._process = self._start(profile)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def _start(self, profile: Path) -> int:
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()
        # Moved out of the way first: a pipe end that is number 3 or 4 already would be overwritten.
        high_in, high_out = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 50) for end in (theirs_in, theirs_out))
        silent = os.open(os.devnull, os.O_RDWR)
        program = executable()
        assert program is not None
        process = os.posix_spawn(
            program,
            [program, *_FLAGS, f"--user-data-dir={profile}"],
            dict(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, silent, 1),
                (os.POSIX_SPAWN_DUP2, silent, 2),
                (os.POSIX_SPAWN_DUP2, high_in, 3),
                (os.POSIX_SPAWN_DUP2, high_out, 4),
            ],
        )
        for end in (theirs_in, theirs_out, high_in, high_out, silent):
            os.close(end)
        return process

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events that arrive meanwhile are kept."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, "Chromium does not answer"
            part = os.read(self._read, 1 << 16)
            assert part, "Chromium went away"
            self._buffer += part
        head, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(head))

    def open(self, path: Path) -> None:
        """Load a report and wait until all of its charts are drawn."""
        self.call("Page.navigate", url=path.as_uri())
        self.wait("document.documentElement && document.documentElement.dataset.drawn")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + _PATIENCE
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.05)

    def forget(self) -> None:
        """Leave the page, drop what was recorded, and return to a light theme."""
        self.call("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")
        self.theme(dark=False)
        self.events.clear()

    def theme(self, dark: bool) -> None:
        """Set which colours the reader's system prefers."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def resize(self, width: int, height: int) -> None:
        """Give the window a size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def click(self, x: float, y: float) -> None:
        """Click at a place in the window, as a mouse does."""
        place = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.call("Input.dispatchMouseEvent", type="mousePressed", **place)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **place)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key."""
        stroke = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **stroke, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **stroke)

    def seen(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of all events of a kind so far."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def close(self) -> None:
        """End the browser."""
        self._session = None
        try:
            self.call("Browser.close")
        except (AssertionError, OSError):
            os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._write)
        os.close(self._read)

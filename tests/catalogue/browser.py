"""A headless Chromium, controlled with its DevTools protocol over two pipes."""

import fcntl
import itertools
import json
import os
import select
import shutil
import tempfile
from pathlib import Path
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run")
FLAGS += ("--disable-dev-shm-usage", "--remote-debugging-pipe", "--hide-scrollbars")

SECONDS = 60  # to wait for a message before a test fails


class Browser:
    """A new browser with one page; a context manager."""

    def __init__(self, width: int, height: int, *, touch: bool = False):
        """Sets the size of the window in px; with ``touch`` it is a phone's."""
        self._size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self._touch = touch
        self._numbers = itertools.count(1)
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> "Browser":
        """Starts the browser and opens an empty page."""
        assert CHROMIUM
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        ours, theirs = os.pipe(), os.pipe()
        # Chromium reads from 3 and writes to 4; our numbers must be others.
        reader, writer = (
            fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (ours[0], theirs[1])
        )
        self._process = os.posix_spawn(
            CHROMIUM,
            [CHROMIUM, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, reader, 3),
                (os.POSIX_SPAWN_DUP2, writer, 4),
            ],
        )
        for fd in (reader, writer, ours[0], theirs[1]):
            os.close(fd)
        self._out, self._in = ours[1], theirs[0]
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", mobile=self._touch, **self._size
        )
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes the browser and deletes its profile."""
        self._session = ""
        self.call("Browser.close")
        os.waitpid(self._process, 0)
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command and returns its result; stores events that arrive."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], SECONDS)
            assert ready, f"no message from Chromium for {SECONDS} s"
            chunk = os.read(self._in, 1 << 20)
            assert chunk, "Chromium has ended"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, path: Path) -> None:
        """Opens a file and waits until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            self._read()

    def evaluate(self, script: str) -> Any:
        """Returns the value of a script, or of its promise."""
        result = self.call(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, script: str, seconds: float = 20.0) -> Any:
        """Returns the value of a script as soon as it is true."""
        return self.evaluate(
            f"""new Promise((resolve, reject) => {{
              const end = Date.now() + {1000 * seconds};
              const look = () => {{
                const value = {script};
                if (value) resolve(value instanceof Node || value);
                else if (Date.now() > end) reject(new Error("timed out"));
                else setTimeout(look, 30);
              }};
              look();
            }})"""
        )

    def move(self, x: float, y: float) -> None:
        """Moves the mouse."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x: float, y: float) -> None:
        """Clicks the left button of the mouse."""
        for kind in ("mousePressed", "mouseReleased"):
            options = {"type": kind, "button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", x=x, y=y, **options)

    def complaints(self) -> list[str]:
        """Returns the console's errors and warnings."""
        said = []
        for event in self.events:
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                said.append(json.dumps(params["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled":
                if params["type"] in ("error", "warning", "assert"):
                    said.append(json.dumps(params["args"]))
            elif event["method"] == "Log.entryAdded":
                if params["entry"]["level"] in ("error", "warning"):
                    said.append(json.dumps(params["entry"]))
        return said

    def requests(self) -> list[str]:
        """Returns the addresses of all requests."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]

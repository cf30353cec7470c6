"""A real browser, driven over WebDriver (https://www.w3.org/TR/webdriver2/): Chromium, headless."""

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of a reference, by the standard
_ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
)
_PATIENCE = 60  # seconds for any command

TAB, ENTER, SPACE, UP, DOWN = "\ue004", "\ue007", " ", "\ue013", "\ue015"


def missing() -> str:
    """Return which program is not there, "" when all are."""
    return next((name for name in ("chromium", "chromedriver") if not shutil.which(name)), "")


class Browser:
    """One window of a phone's size, with a profile of its own that goes at the end."""

    def __init__(self, width: int = 360, height: int = 740) -> None:
        """Start the driver and open a window."""
        self._folder = Path(tempfile.mkdtemp(prefix="piot-browser-"))
        self._log = (self._folder / "driver.log").open("w+")
        argv = ["chromedriver", "--port=0", "--log-level=WARNING"]
        self._driver = subprocess.Popen(argv, stdout=self._log, stderr=self._log)
        try:
            self._base = f"http://127.0.0.1:{self._port()}"
            arguments = [*_ARGUMENTS, f"--user-data-dir={self._folder / 'profile'}"]
            # Of a phone: without, a headless window has a least width of about 500 pixels.
            metrics = {"width": width, "height": height, "pixelRatio": 2, "mobile": True}
            options = {
                "args": arguments,
                "mobileEmulation": {"deviceMetrics": metrics},
            }
            wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
            session = self._call("POST", "/session", {"capabilities": wanted})["sessionId"]
        except BaseException:
            self._end()
            raise
        self._session = f"/session/{session}"

    def __enter__(self) -> Self:
        """Return the browser."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the window and end the driver."""
        try:
            self._call("DELETE", self._session)
        finally:
            self._end()

    def go(self, url: str) -> None:
        """Load a page."""
        self._call("POST", f"{self._session}/url", {"url": url})

    @contextmanager
    def next_page(self) -> Iterator[None]:
        """Wait, after what is done within, until another page has been loaded."""
        self.run("window.here = true")
        yield
        until = time.monotonic() + _PATIENCE
        script = "return !window.here && document.readyState === 'complete'"
        while not self._after_a_change(script):
            if time.monotonic() > until:
                raise TimeoutError("no other page comes")
            time.sleep(0.02)

    def _after_a_change(self, script: str) -> bool:
        """Run a script that may meet a page which is just going."""
        try:
            return bool(self.run(script))
        except RuntimeError:
            return False

    @property
    def url(self) -> str:
        """Return where the page came from."""
        return str(self._call("GET", f"{self._session}/url"))

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a function's body in the page and return its value."""
        body = {"script": script, "args": list(arguments)}
        return self._call("POST", f"{self._session}/execute/sync", body)

    def keys(self, text: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        steps = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": steps}]
        self._call("POST", f"{self._session}/actions", {"actions": actions})

    def click(self, selector: str) -> None:
        """Tap the middle of an element."""
        body = {"using": "css selector", "value": selector}
        found = self._call("POST", f"{self._session}/element", body)[_ELEMENT]
        self._call("POST", f"{self._session}/element/{found}/click", {})

    def dark(self, on: bool) -> None:
        """Prefer dark colours, or light ones."""
        value = "dark" if on else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        body = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}}
        self._call("POST", f"{self._session}/goog/cdp/execute", body)

    def screenshot(self, path: Path) -> None:
        """Save what the window shows, the whole page."""
        params = {"captureBeyondViewport": True}
        body = {"cmd": "Page.captureScreenshot", "params": params}
        shot = self._call("POST", f"{self._session}/goog/cdp/execute", body)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _port(self) -> int:
        """Wait for the driver to say where it listens."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until and self._driver.poll() is None:
            text = (self._folder / "driver.log").read_text()
            if match := re.search(r"started successfully on port (\d+)", text):
                return int(match[1])
            time.sleep(0.05)
        raise RuntimeError(f"chromedriver does not start: {text}")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        """Give the driver a command and return what it answers."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._base + path, data, method=method)
        # No proxy of this workplace may come between.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            said = json.loads(error.read())["value"]
            raise RuntimeError(f"{method} {path}: {said['error']}: {said['message']}") from None

    def _end(self) -> None:
        """End the driver, and with it the browser; remove the profile."""
        self._driver.terminate()
        self._driver.wait(_PATIENCE)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

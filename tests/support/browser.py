"""Headless Chromium through its DevTools protocol: requests and errors are written down."""

import base64
import json
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import websocket

OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--remote-debugging-port=0",
    "--remote-allow-origins=*", "--allow-file-access-from-files", "--hide-scrollbars",
)  # fmt: skip
#: Seconds that anything may take; a busy machine fails no test.
PATIENCE = 120


class Browser:
    """``with Browser() as browser``: one page with a fresh profile.

    requests : addresses that pages asked for
    errors : what was written to the console as an error, and what was thrown or not found
    """

    def __enter__(self) -> "Browser":
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = ["chromium", *OPTIONS, f"--user-data-dir={self.profile.name}", "about:blank"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        port = Path(self.profile.name, "DevToolsActivePort")
        self.wait(lambda: port.exists() and port.read_text().count("\n"))
        address = f"http://127.0.0.1:{port.read_text().splitlines()[0]}/json"
        targets = json.load(urllib.request.urlopen(address))
        page = next(target for target in targets if target["type"] == "page")
        self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=PATIENCE)
        self.requests: list[str] = []
        self.named: dict[str, str] = {}
        self.errors: list[str] = []
        self.events: list[str] = []
        self.count = 0
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait()
        self.profile.cleanup()

    def wait(self, done: Any) -> Any:
        """What ``done`` returns as soon as that is something."""
        end = time.monotonic() + PATIENCE
        while not (result := done()):
            assert time.monotonic() < end, "nothing came of it"
            time.sleep(0.1)
        return result

    def call(self, method: str, **params: Any) -> dict:
        """One command and its result; events on the way are kept."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        while (message := json.loads(self.socket.recv())).get("id") != self.count:
            self.keep(message)
        assert "error" not in message, message
        return message["result"]

    def keep(self, event: dict) -> None:
        name, params = event["method"], event["params"]
        self.events.append(name)
        if name == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
            self.named[params["requestId"]] = self.requests[-1]
        elif name == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"].get("exception", {}).get("description"))
        elif name == "Network.loadingFailed" and not params.get("canceled"):
            self.errors.append(f"{params['errorText']}: {self.named.get(params['requestId'])}")
        elif name == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif name == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(str(params["args"]))

    def open(self, address: str, width: int = 1200, height: int = 900) -> None:
        """Show a page in a window of that size, and wait until it is loaded."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.events.clear()
        self.call("Page.navigate", url=address)
        while "Page.loadEventFired" not in self.events:
            self.keep(json.loads(self.socket.recv()))
        # Formulas are set after that.
        self.evaluate("window.MathJax && MathJax.startup && MathJax.startup.promise")

    def evaluate(self, code: str) -> Any:
        """The value of an expression of JavaScript, awaited if it is a promise."""
        result = self.call(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, code: str) -> Any:
        """The value of an expression as soon as it is true."""
        return self.wait(lambda: self.evaluate(code))

    def tap(self, element: str) -> None:
        """Touch what an expression of JavaScript is, as a finger does."""
        self.evaluate(f"{element}.scrollIntoView({{block: 'center'}})")
        self.evaluate("new Promise((done) => setTimeout(done, 500))")  # until nothing moves
        box = f"{element}.getClientRects()[0]"
        place = self.evaluate(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
        points = [{"x": place[0], "y": place[1]}]
        self.call("Emulation.setTouchEmulationEnabled", enabled=True)
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=points)
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.call("Emulation.setTouchEmulationEnabled", enabled=False)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        image = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(image["data"]))

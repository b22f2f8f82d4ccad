"""A server of the apps and a headless Chromium to time them in.

The browser is driven over its own debugging protocol, because a test driver that forwards every
message of a websocket would slow down what is measured. The page itself keeps the time.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tornado.websocket import websocket_connect

from tests.support.chromium import OPTIONS, find
from tests.support.serving import serving

WORDS = "the king said to the old man that he would go down to the river and see what was there "

# What both benchmarks do in the page. `drawCount` is the number of drawings of a selector's panel.
PAGE = """
(() => {
  const drawCount = (selector) => Number(document.querySelector(selector)?.dataset.drawn ?? 0);
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  async function until(missing, limit = 20000) {
    const start = performance.now();
    while (missing().length) {
      if (performance.now() - start > limit) throw new Error(`not drawn in time: ${missing()}`);
      await frame();
    }
  }
  const slider = (label) =>
    [...document.querySelectorAll(".widget-slider")].find((s) => s.textContent.includes(label));
  globalThis.bench = {
    drawCount, frame, until, slider,
    ready: (selectors) => until(() => selectors.filter((name) => drawCount(name) === 0)),
    async edit(change, selectors) {
      const before = selectors.map(drawCount);
      const start = performance.now();
      change();
      await until(() => selectors.filter((name, i) => drawCount(name) === before[i]));
      await frame();
      return performance.now() - start;
    },
    type(text) {
      const area = document.querySelector(".rv-area-text textarea");
      const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set;
      set.call(area, text);
      area.dispatchEvent(new Event("input", { bubbles: true }));
    },
    // Of a long text only some stand in the strip.
    tokens() {
      const options = document.querySelectorAll(".rv-strip [role=option]");
      return Number(options[0]?.getAttribute("aria-setsize") ?? options.length);
    },
    press(label, among = ".rv-modes") {
      const buttons = [...document.querySelectorAll(`${among} button`)];
      buttons.find((button) => button.textContent === label).click();
    },
  };
})()
"""


class Browser:
    """A page of Chromium, driven by its debugging protocol."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._count = 0

    @classmethod
    async def connect(cls, socket: str) -> Browser:
        """The page whose debugging socket this is."""
        return cls(await websocket_connect(socket, max_message_size=2**28))

    async def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol and wait for its result."""
        self._count += 1
        request = {"id": self._count, "method": method, "params": parameters}
        await self._connection.write_message(json.dumps(request))
        while True:
            answer = json.loads(await self._connection.read_message())
            if answer.get("id") == self._count:
                return answer["result"]

    async def run(self, script: str) -> Any:
        """Evaluate a script in the page; promises are awaited."""
        result = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    async def set_length(self, length: int, selectors: list[str]) -> str:
        """Type a text of which `length` tokens are shown, and wait until it is drawn; the text."""
        text = (WORDS * (length // 19 + 2)).rstrip()
        await self.run(f"bench.edit(() => bench.type({json.dumps(text)}), {selectors})")
        while extra := await self.run("bench.tokens()") - length:
            if extra < 0 and await self.run("document.querySelector('.rv-warn') !== null"):
                raise ValueError(f"the app shows no text of {length} tokens")
            text = text[: -4 * max(1, extra // 2)].rstrip() if extra > 0 else text + " a"
            await self.run(f"bench.edit(() => bench.type({json.dumps(text)}), ['.rv-strip'])")
        return text

    async def choose_mode(self, mode: str, selectors: list[str]) -> None:
        """Switch to a mode, named as its button is, and wait until it is drawn."""
        current = await self.run("document.querySelector('.rv-modes .mod-active').textContent")
        if current != mode:
            await self.run(f"bench.edit(() => bench.press('{mode}'), {selectors})")


@contextmanager
def browsing() -> Iterator[tuple[str, str]]:
    """The address of a server of the apps, and the debugging socket of a browser's page."""
    with ExitStack() as stack:
        url = stack.enter_context(serving("explore", "--no-browser", "--port", "0"))
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        browser, socket = start_browser(folder)
        stack.callback(end, browser)
        yield url, socket


def end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    process.wait(30)


def start_browser(folder: str) -> tuple[subprocess.Popen[bytes], str]:
    browser = subprocess.Popen(
        [
            find(),
            "--headless",
            *OPTIONS,
            "--remote-debugging-port=0",
            f"--user-data-dir={folder}",
            "--window-size=1280,800",
            "about:blank",
        ],
        stderr=subprocess.DEVNULL,
    )
    port_file = Path(folder) / "DevToolsActivePort"
    deadline = time.monotonic() + 60
    while not port_file.exists() or not port_file.read_text().strip():
        if time.monotonic() > deadline:
            raise RuntimeError("the browser did not start")
        time.sleep(0.1)
    port = port_file.read_text().split()[0]
    pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
    return browser, next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")


def machine() -> str:
    """What the figures were measured on."""
    return f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"


def percentile(times: list[float], share: float) -> float:
    """The time that this share of the times does not exceed."""
    return sorted(times)[min(len(times) - 1, round(share * len(times)))]


def summary(times: list[float]) -> str:
    """Median, 95th percentile and number of the times, as columns of a table."""
    return f"{statistics.median(times):8.0f} {percentile(times, 0.95):8.0f}   {len(times)}"

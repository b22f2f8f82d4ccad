"""How long the explorer takes from an edit to repainted panels, in a real browser.

    .venv/bin/python benchmarks/ui.py [--repeat 30]

Starts the dashboard and a headless Chromium, opens the page, and makes edits inside the page: a
keystroke, a step of the layer slider, a switch of the mode. A measurement ends when every panel
that the edit changes has been drawn and the frame after that has begun. The page itself keeps the
time; the browser is driven over its own debugging protocol, because a test driver that forwards
every message of a websocket would slow down what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from tornado.websocket import websocket_connect

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))
from chromium import find  # noqa: E402

PAGE = """
(() => {
  const panels = {
    strip: ".rv-strip", decay: ".rv-area-decay .rv-matrix", weights: ".rv-area-weights",
    norms: ".rv-area-norms", next: ".rv-area-next",
  };
  const drawn = (name) => Number(document.querySelector(panels[name])?.dataset.drawn ?? 0);
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  async function until(missing, limit = 20000) {
    const start = performance.now();
    while (missing().length) {
      if (performance.now() - start > limit) throw new Error(`not drawn in time: ${missing()}`);
      await frame();
    }
  }
  globalThis.bench = {
    ready: () => until(() => Object.keys(panels).filter((name) => drawn(name) === 0)),
    async edit(change, names) {
      const before = names.map(drawn);
      const start = performance.now();
      change();
      await until(() => names.filter((name, i) => drawn(name) === before[i]));
      await frame();
      return performance.now() - start;
    },
    type(text) {
      const area = document.querySelector(".rv-area-text textarea");
      const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set;
      set.call(area, text);
      area.dispatchEvent(new Event("input", { bubbles: true }));
    },
    text: () => document.querySelector(".rv-area-text textarea").value,
    tokens: () => document.querySelectorAll(".rv-strip [role=option]").length,
    press(label) {
      const buttons = [...document.querySelectorAll(".rv-modes button")];
      buttons.find((button) => button.textContent === label).click();
    },
    layer(step) {
      const handle = [...document.querySelectorAll(".widget-slider")]
        .find((s) => s.textContent.includes("layer")).querySelector(".noUi-handle");
      const key = step > 0 ? "ArrowRight" : "ArrowLeft";
      handle.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    },
  };
})()
"""
ALL = '["strip", "decay", "weights", "norms", "next"]'
LAYER = '["strip", "decay", "weights", "norms"]'  # the next token is the same whatever is shown
WORDS = "the king said to the old man that he would go down to the river and see what was there "


class Browser:
    """A page of Chromium, driven by its debugging protocol."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._count = 0

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


def start_server() -> tuple[subprocess.Popen[str], str]:
    command = [str(Path(sys.executable).with_name("retnet-viz")), "explore"]
    server = subprocess.Popen(
        [*command, "--no-browser", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    for line in server.stdout:
        if found := re.search(r"http://\S+", line):
            return server, found[0]
    raise RuntimeError("the server did not start")


def start_browser(folder: str) -> tuple[subprocess.Popen[bytes], str]:
    browser = subprocess.Popen(
        [
            find(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
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


async def measure(
    url: str, socket: str, repeat: int, lengths: list[int]
) -> list[tuple[str, list[float]]]:
    browser = Browser(await websocket_connect(socket, max_message_size=2**28))
    rows: list[tuple[str, list[float]]] = []
    opening = []
    for _ in range(3):
        await asyncio.sleep(4)  # until the server has the next kernel ready, as a visitor finds it
        start = time.perf_counter()
        await browser.call("Page.navigate", url=url)
        while not await browser.run("document.querySelector('.rv-explorer') !== null"):
            await asyncio.sleep(0.02)
        await browser.run(PAGE)
        await browser.run("bench.ready()")
        opening.append(1000 * (time.perf_counter() - start))
    rows.append(("open the page, all panels drawn", opening))
    for length in lengths:
        text = (WORDS * (length // 19 + 2)).rstrip()
        await browser.run(f"bench.edit(() => bench.type({json.dumps(text)}), {ALL})")
        while extra := await browser.run("bench.tokens()") - length:  # until the length is right
            text = text[: -4 * max(1, extra // 2)].rstrip() if extra > 0 else text + " a"
            await browser.run(f"bench.edit(() => bench.type({json.dumps(text)}), ['strip'])")
        for mode in ("Parallel", "Recurrent", "Chunkwise"):
            switched = f"document.querySelector('.rv-modes .mod-active').textContent !== '{mode}'"
            if await browser.run(switched):
                await browser.run(f"bench.edit(() => bench.press('{mode}'), {ALL})")
            keys, slides, picks = [], [], []
            for i in range(repeat + repeat % 2):  # in pairs: what one does the next undoes
                change = f"bench.type({json.dumps(text)} + '{'.' if i % 2 == 0 else ''}')"
                keys.append(await browser.run(f"bench.edit(() => {change}, {ALL})"))
                step = 1 if i % 2 == 0 else -1
                slides.append(await browser.run(f"bench.edit(() => bench.layer({step}), {LAYER})"))
                pick = f"document.querySelectorAll('.rv-strip [role=option]')[{5 + i % 2}].click()"
                picks.append(
                    await browser.run(f"bench.edit(() => {pick}, ['strip', 'weights', 'next'])")
                )
            rows.append((f"T = {length}, {mode.lower()}: keystroke", keys))
            rows.append((f"T = {length}, {mode.lower()}: layer slider", slides))
            rows.append((f"T = {length}, {mode.lower()}: select a token", picks))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 512], help="tokens")
    options = parser.parse_args()
    server, url = start_server()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser, socket = start_browser(folder)
        try:
            rows = asyncio.run(measure(url, socket, options.repeat, options.lengths))
        finally:
            for process in (browser, server):
                process.terminate()
                process.wait(30)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"{'milliseconds':44} {'median':>8} {'p95':>8}   runs")
    for name, times in rows:
        p95 = sorted(times)[min(len(times) - 1, round(0.95 * len(times)))]
        print(f"{name:44} {statistics.median(times):8.0f} {p95:8.0f}   {len(times)}")


if __name__ == "__main__":
    main()

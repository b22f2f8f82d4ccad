"""How long the plane of a long text takes from a gesture to its sharp picture, in a real browser.

    .venv/bin/python -m benchmarks.pan [--length 131072] [--trips 6] [--scale linear]

Serves a page with the first layer's retention plane of a text that the shipped model read, all
heads in a panel of 1,280 x 700 pixels. Each trip zooms from the whole triangle to single cells, by
the wheel around a random place of the diagonal, and drags by up to a fifth of the window on the
way. A measurement begins with the browser's input event and ends with the frame after the one in
which every head is drawn from the picture that the kernel computed for the new window.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import nbformat

from benchmarks.browser import WORDS, Browser, end, machine, percentile, start_browser
from retnet_viz.figures.base.scale import SCALES

BUDGETS = 200, 400  # milliseconds, median and 95th percentile
FLOORS = (65_536, 8192, 1024, 128, 0)  # tokens along a square from which a row of figures counts
DRAGS = 2  # after every turn of the wheel
WHEEL = -250  # zooms by a factor of 1.6

NOTEBOOK = """
import ipywidgets, torch
from IPython.display import display
import retnet_viz as rv
from retnet_viz.model.observe import listening
from retnet_viz.trace.tiles.pictures import Plane
from retnet_viz.ui.core.host_bridge import HostBridge
from retnet_viz.ui.panels.tiled.tiled_heatmap import TiledHeatmap

torch.set_num_threads({threads})
model, found = rv.load(), {{"retention.q": [], "retention.k": []}}
ids = torch.tensor(model.tokenizer.encode({words!r} * 40))
ids = ids.repeat({length} // len(ids) + 1)[:{length}]

def keep(name, tensor):
    if name in found:
        found[name].append(tensor[0])

state = None
with torch.inference_mode(), listening(keep):
    for piece in ids.split(4096):
        state = model(piece[None], mode="chunkwise", state=state).state
q, k = (torch.cat(parts[:: model.config.n_layers], 1).clone() for parts in found.values())
plane = Plane(q, k, model.blocks[0].retention.gamma)
tiled = TiledHeatmap(str, selected=0, layout=ipywidgets.Layout(height="680px"))
names = [model.tokenizer.piece(token) for token in ids.tolist()]
tiled.show(plane, range(plane.n_heads), scale={scale!r}, pieces=lambda a, b: names[a:b])
box = ipywidgets.VBox([HostBridge(theme="light"), tiled])
box.add_class("rv-explorer")
display(box)
"""

PAGE = """
(() => {
  const el = document.querySelector(".rv-tiled");
  const canvas = el.querySelector(".rv-canvas-box canvas");
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const tokens = () => JSON.parse(el.dataset.view)[2];
  async function measure(start, before) {
    while (el.dataset.sharp === before) {
      if (performance.now() - start > 30000) throw new Error("not drawn in time");
      await frame();
    }
    await frame();
    return performance.now() - start;
  }
  globalThis.bench = {
    duration: null,
    tokens,
    view: () => el.dataset.view,
    async whole() {
      if (el.querySelector("[data-act=whole]").disabled) return;
      const before = el.dataset.sharp;
      el.querySelector("[data-act=whole]").click();
      await measure(performance.now(), before);
    },
    // Left, top and side of the first square.
    square() {
      const [x, y, side] = JSON.parse(el.dataset.squares)[0];
      const box = canvas.getBoundingClientRect();
      return [box.x + x, box.y + y, side];
    },
  };
  for (const name of ["pointermove", "wheel"]) {
    canvas.addEventListener(name, (event) => {
      if (name === "wheel" || event.buttons) {
        bench.duration = measure(performance.now(), el.dataset.sharp);
      }
    }, { capture: true });
  }
})()
"""


class Panel:
    """The panel in the page: its gestures, and what each took in milliseconds."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    async def mouse(self, kind: str, x: float, y: float, **options: object) -> None:
        await self.browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **options)

    async def duration(self) -> float:
        """How long the last gesture took."""
        return float(await self.browser.run("bench.duration"))

    async def tokens(self) -> float:
        return float(await self.browser.run("bench.tokens()"))

    async def zoom(self, x: float, y: float) -> float:
        await self.mouse("mouseWheel", x, y, deltaX=0, deltaY=WHEEL)
        return await self.duration()

    async def drag(self, x: float, y: float, by: float) -> float | None:
        """Drag by so many pixels both ways; None where the window stayed where it was."""
        before = await self.browser.run("bench.view()")
        button = {"button": "left", "buttons": 1, "clickCount": 1}
        await self.mouse("mousePressed", x, y, **button)
        await self.mouse("mouseMoved", x + by, y + by, **button)
        await self.mouse("mouseReleased", x + by, y + by, **(button | {"buttons": 0}))
        duration = await self.duration()
        return duration if await self.browser.run("bench.view()") != before else None


def serve(stack: ExitStack, options: argparse.Namespace) -> str:
    """Start a server of the page; its address."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
    code = NOTEBOOK.format(
        threads=options.threads, words=WORDS, length=options.length, scale=options.scale
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    path = Path(folder) / "pan.ipynb"
    nbformat.write(notebook, path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    connection = "retnet_viz.server.websocket.PromptWebsocketConnection"
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "voila", str(path), "--no-browser", f"--port={port}"),
            f"--Voila.kernel_websocket_connection_class={connection}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(end, server)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return f"http://127.0.0.1:{port}/"
        time.sleep(0.1)
    raise RuntimeError("the server did not start")


async def until(browser: Browser, condition: str, seconds: float = 180) -> None:
    """Wait until a script in the page is true."""
    deadline = time.monotonic() + seconds
    while not await browser.run(condition):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the page did not come to this in time: {condition}")
        await asyncio.sleep(0.2)


async def measure(url: str, debugging: str, trips: int) -> list[tuple[str, float, float]]:
    """(gesture, tokens along a square after it, milliseconds) of every gesture."""
    browser = await Browser.connect(debugging)
    await browser.call("Page.navigate", url=url)
    await until(browser, "!!document.querySelector('.rv-tiled')?.dataset.sharp")
    await until(browser, "document.querySelector('.rv-tiled-status').hidden")
    await browser.run(PAGE)
    panel, rng, gestures = Panel(browser), random.Random(0), []
    left, top, side = await browser.run("bench.square()")
    middle = left + side / 2, top + side / 2
    for _ in range(trips):
        await browser.run("bench.whole()")
        share = rng.uniform(0.1, 0.9)
        x, y = left + share * side, top + share * side
        while await panel.tokens() > 8:
            duration = await panel.zoom(x, y)
            gestures.append(("zoom", await panel.tokens(), duration))
            for _ in range(DRAGS):
                # Along the diagonal, where there is something to see; at an edge a window stops.
                by = round(rng.choice((-1, 1)) * rng.uniform(0.05, 0.2) * side)
                if (duration := await panel.drag(*middle, by)) is not None:
                    gestures.append(("pan", await panel.tokens(), duration))
    return gestures


def report(gestures: list[tuple[str, float, float]]) -> None:
    """Print a row for each gesture and size of the window, and one for each gesture in all."""
    print(f"{'milliseconds':42} {'median':>8} {'budget':>8} {'p95':>8} {'budget':>8}   runs")
    ceilings = (10**9, *FLOORS)
    rows = [
        (gesture, name, low, high)
        for gesture in ("zoom", "pan")
        for name, low, high in (
            *(
                (f"from {low:,} tokens", low, high)
                for low, high in zip(FLOORS, ceilings, strict=False)
            ),
            ("all", 0, 10**9),
        )
    ]
    for gesture, name, low, high in rows:
        times = [
            duration
            for kind, tokens, duration in gestures
            if kind == gesture and low <= tokens < high
        ]
        if times:
            print(
                f"{gesture + ', ' + name:42} {statistics.median(times):8.0f} {BUDGETS[0]:8} "
                f"{percentile(times, 0.95):8.0f} {BUDGETS[1]:8}   {len(times)}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=131_072, help="tokens")
    parser.add_argument("--trips", type=int, default=6)
    parser.add_argument("--scale", choices=SCALES, default="linear")
    parser.add_argument("--threads", type=int, default=1, help="of the kernel")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        url = serve(stack, options)
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        browser, debugging = start_browser(folder)
        stack.callback(end, browser)
        gestures = asyncio.run(measure(url, debugging, options.trips))
    # On a machine that has other work to do the figures say little.
    print(f"{machine()}, {os.cpu_count()} cores, load before {load:.1f}, ", end="")
    print(f"T = {options.length}, {options.scale} scale, kernel with {options.threads} thread(s)")
    report(gestures)


if __name__ == "__main__":
    main()

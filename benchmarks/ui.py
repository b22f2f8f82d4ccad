"""How long the explorer takes from an edit to repainted panels, in a real browser.

    .venv/bin/python -m benchmarks.ui [--repeat 30]

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
import time

from benchmarks.browser import PAGE, Browser, browsing, machine, summary

LAYER_SLIDER = """
bench.layer = (step) => {
  const key = step > 0 ? "ArrowRight" : "ArrowLeft";
  const handle = bench.slider("layer").querySelector(".noUi-handle");
  handle.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
}
"""
STRIP, WEIGHTS, NEXT = ".rv-strip", ".rv-area-weights .rv-heatmap", ".rv-area-next"
# The next token is the same whatever layer is shown.
LAYER = [STRIP, ".rv-area-decay .rv-heatmap", WEIGHTS, ".rv-area-norms"]
ALL = [*LAYER, NEXT]


async def measure(
    url: str, socket: str, repeat: int, lengths: list[int]
) -> list[tuple[str, list[float]]]:
    browser = await Browser.connect(socket)
    rows: list[tuple[str, list[float]]] = []
    opening = []
    for _ in range(3):
        await asyncio.sleep(4)  # until the server has the next kernel ready, as a visitor finds it
        start = time.perf_counter()
        await browser.call("Page.navigate", url=url)
        while not await browser.run("document.querySelector('.rv-explorer') !== null"):
            await asyncio.sleep(0.02)
        await browser.run(PAGE)
        await browser.run(f"bench.ready({ALL})")
        opening.append(1000 * (time.perf_counter() - start))
    rows.append(("open the page, all panels drawn", opening))
    await browser.run(LAYER_SLIDER)
    for length in lengths:
        text = await browser.set_length(length, ALL)
        for mode in ("Parallel", "Recurrent", "Chunkwise"):
            await browser.choose_mode(mode, ALL)
            keys, slides, picks = [], [], []
            for i in range(repeat + repeat % 2):  # in pairs: what one does the next undoes
                change = f"bench.type({json.dumps(text)} + '{'.' if i % 2 == 0 else ''}')"
                keys.append(await browser.run(f"bench.edit(() => {change}, {ALL})"))
                step = 1 if i % 2 == 0 else -1
                slides.append(await browser.run(f"bench.edit(() => bench.layer({step}), {LAYER})"))
                pick = f"document.querySelectorAll('.rv-strip [role=option]')[{5 + i % 2}].click()"
                picks.append(
                    await browser.run(f"bench.edit(() => {pick}, {[STRIP, WEIGHTS, NEXT]})")
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
    with browsing() as (url, socket):
        rows = asyncio.run(measure(url, socket, options.repeat, options.lengths))
    print(machine())
    print(f"{'milliseconds':44} {'median':>8} {'p95':>8}   runs")
    for name, times in rows:
        print(f"{name:44} {summary(times)}")


if __name__ == "__main__":
    main()

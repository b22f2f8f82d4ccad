"""How long a text file of 131,072 tokens takes to open in the explorer, in a real browser.

    .venv/bin/python -m benchmarks.long [--repeat 3]

Gives a file to the page's file control and waits until the text is read, until every panel of the
chosen layer is drawn, and until the matrix is. Then types at the end of the text, opens another
file and cancels that. Counts the page's elements for a short, a middling and the long text.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

import retnet_viz as rv
from benchmarks.browser import PAGE, WORDS, Browser, browsing, machine, summary

LENGTH = 131_072
KEYS = "and so"
STRIP, NORMS, NEXT = ".rv-strip", ".rv-area-norms", ".rv-area-next"
SHORT = [STRIP, NORMS, NEXT, ".rv-area-decay .rv-heatmap", ".rv-area-weights .rv-heatmap"]
OPENING = """
Object.assign(bench, {
  elements: () => document.querySelectorAll(".rv-explorer *").length,
  // Seconds until `done` from the moment that the file control has a file.
  watch(done) {
    bench.outcome = new Promise((resolve) => {
      document.querySelector(".rv-file input").addEventListener("change", async () => {
        const start = performance.now();
        const times = [];
        for (const each of done()) {
          await bench.until(() => (each() ? [] : [String(each)]), 300000);
          times.push((performance.now() - start) / 1000);
        }
        resolve(times);
      }, { once: true, capture: true });
    });
  },
  opened() {
    const before = ["STRIP", "NORMS"].map(bench.drawCount);
    const tiled = ".rv-area-weights .rv-tiled";
    const status = () => document.querySelector(`${tiled} .rv-tiled-status`);
    return [
      () => bench.tokens() > 1024 && bench.drawCount("STRIP") > before[0],
      () => bench.drawCount("NORMS") > before[1] && !document.querySelector("NORMS.rv-stale"),
      () => status()?.hidden && document.querySelector(tiled).dataset.sharp,
    ];
  },
  async cancel() {
    const row = () => document.querySelector(".rv-reading");
    await bench.until(() => (row()?.offsetParent ? [] : ["the progress of a reading"]), 60000);
    const start = performance.now();
    row().querySelector("button").click();
    await bench.until(() => (row().offsetParent ? ["cancelled"] : []), 60000);
    return performance.now() - start;
  },
})
""".replace("STRIP", STRIP).replace("NORMS", NORMS)


async def choose(browser: Browser, path: Path) -> None:
    control = await browser.call(
        "Runtime.evaluate", expression="document.querySelector('.rv-file input')"
    )
    await browser.call(
        "DOM.setFileInputFiles", files=[str(path)], objectId=control["result"]["objectId"]
    )


async def measure(url: str, socket: str, repeat: int, folder: Path) -> None:
    tokenizer = rv.load().tokenizer
    ids = tokenizer.encode(WORDS * (LENGTH // len(WORDS.split())))
    text = tokenizer.decode(ids[: LENGTH - 2 * len(KEYS)])  # room for what is typed
    path = folder / "long.txt"
    path.write_text(text)
    browser = await Browser.connect(socket)
    steps: list[list[float]] = [[], [], []]
    keys, cancels, elements = [], [], {}
    for _ in range(repeat):
        await asyncio.sleep(4)  # until the server has the next kernel ready
        await browser.call("Page.navigate", url=url)
        while not await browser.run("document.querySelector('.rv-explorer') !== null"):
            await asyncio.sleep(0.05)
        await browser.run(PAGE)
        await browser.run(OPENING)
        await browser.run(f"bench.ready({SHORT})")
        for length in (64, 512):
            await browser.set_length(length, [STRIP, NEXT])
            elements[length] = await browser.run("bench.elements()")
        await browser.run("bench.watch(bench.opened)")
        await choose(browser, path)
        for times, seconds in zip(steps, await browser.run("bench.outcome"), strict=True):
            times.append(1000 * seconds)
        elements[await browser.run("bench.tokens()")] = await browser.run("bench.elements()")
        box = "document.querySelector('.rv-area-text textarea').value"
        for key in KEYS:
            typed = f"bench.type({box} + {key!r})"
            keys.append(await browser.run(f"bench.edit(() => {typed}, {[STRIP, NEXT]})"))
        path.write_text(text[5:])
        await choose(browser, path)
        cancels.append(await browser.run("bench.cancel()"))
        path.write_text(text)
    print(machine())
    print(f"{f'T = {max(elements):,}, milliseconds':48} {'median':>8} {'p95':>8}   runs")
    for name, times in (
        ("file chosen -> text read, next token drawn", steps[0]),
        ("file chosen -> norms of the layer drawn", steps[1]),
        ("file chosen -> matrix drawn", steps[2]),
        ("a key at the end -> next token drawn", keys),
        ("cancel -> the page is as before", cancels),
    ):
        print(f"{name:48} {summary(times)}")
    for length, count in elements.items():
        print(f"elements of the page at {length:,} tokens: {count:,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with browsing() as (url, socket), tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(url, socket, options.repeat, Path(folder)))


if __name__ == "__main__":
    main()

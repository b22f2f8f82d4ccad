"""How fast the mode at work plays, steps and is scrubbed, in a real browser.

    .venv/bin/python -m benchmarks.stage [--repeat 30] [--lengths 64 512 2048]

Starts the server of the apps and a headless Chromium of 1280 x 800, opens the modes' dashboard at
its step by step view, and moves the stage inside the page: plays at 30 steps a second, steps by
the arrow keys, scrubs to random steps. A step ends when the stage has drawn another token and the
frame after that has begun. No scene is asked for twice: before each run the head is switched, so
that the page forgets all scenes. Parallel mode has one step, so that it is not played, and what is
measured by key there is selecting the next token.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.browser import PAGE, Browser, browsing, machine, percentile

APP = "voila/render/modes.ipynb"
STAGE, STRIP = ".rv-step-player", ".rv-strip"
CASES = (("Parallel", 8), ("Recurrent", 8), ("Chunkwise", 8), ("Chunkwise", 64))
LONG = 2048  # tokens from which on the larger chunk size is measured too
RUNS = 4  # of playing, each in another head
PLAY_SECONDS = 3
STEP_BUDGET = {512: 100}  # milliseconds, median
PLAY_BUDGET = {64: 30}  # steps a second

ON_STAGE = """
(() => {
  const stage = () => document.querySelector(".rv-step-player");
  const range = () => stage().querySelector("input[type=range]");
  const current = () => `${stage().dataset.step} ${stage().dataset.token}`;
  const count = () => Number(stage().dataset.drawn ?? 0);
  const press = (key) =>
    stage().dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const idle = (name, before) =>
    bench.until(() => (bench.drawCount(name) === before ? [name] : []));
  const totalDrawCount = () => bench.drawCount(".rv-step-player") + bench.drawCount(".rv-strip");
  async function quiet() {
    for (let [frames, before] = [15, totalDrawCount()]; frames > 0; frames--) {
      await bench.frame();
      if (totalDrawCount() !== before) [frames, before] = [15, totalDrawCount()];
    }
  }
  Object.assign(bench, {
    steps: () => Number(range().max) + 1,
    step: () => Number(stage().dataset.step),
    async chunk(size) {
      const readout = bench.slider("chunk size").querySelector(".widget-readout");
      if (readout.textContent === String(size)) return;
      readout.textContent = String(size);
      const blur = new Event("blur", { bubbles: true });
      await bench.edit(() => readout.dispatchEvent(blur), [".rv-strip"]);
    },
    // Another head at the first step, with no scenes kept; done when it stands there.
    async fresh() {
      const heads = [...stage().querySelectorAll("[role=radio]")];
      const now = heads.findIndex((head) => head.getAttribute("aria-checked") === "true");
      await bench.edit(() => heads[(now + 1) % heads.length].click(), [".rv-strip"]);
      await quiet();
      if (bench.steps() > 1) {
        if (bench.step() > 0) await bench.move(() => press("Home"));
      } else if (Number(stage().dataset.token) > 0) {
        await bench.move(() => document.querySelector(".rv-strip [role=option]").click());
      }
      await quiet();
    },
    // Milliseconds until another step or token is drawn. Returns when the rest of the page has
    // followed, so that the next move finds the kernel idle.
    async move(change) {
      const [before, drawn, strip] = [current(), count(), bench.drawCount(".rv-strip")];
      const start = performance.now();
      change();
      await bench.until(() => (current() === before || count() === drawn ? ["the step"] : []));
      await bench.frame();
      const duration = performance.now() - start;
      await idle(".rv-strip", strip);
      await bench.frame();
      return duration;
    },
    key: (key) => bench.move(() => press(key)),
    scrub: (step) =>
      bench.move(() => {
        range().value = String(step);
        range().dispatchEvent(new Event("input", { bubbles: true }));
      }),
    // Plays for some seconds or to the end: the moments of the frames in which a step was drawn.
    async play(rate, seconds) {
      stage().querySelector("select").value = String(rate);
      const frames = [performance.now()];
      const drawn = count();
      let before = current();
      press(" ");
      do {
        const now = await bench.frame();
        if (current() !== before) frames.push(now);
        before = current();
      } while (stage().dataset.playing === "true" && frames.at(-1) - frames[0] < 1000 * seconds
        && performance.now() - frames[0] < 3000 * seconds);
      if (stage().dataset.playing === "true") press(" ");
      await bench.frame();
      return { frames, drawn: count() - drawn };
    },
  });
})()
"""


@dataclass
class Case:
    """What was measured of one mode at one length."""

    name: str
    length: int
    moved_by: str = "step by key"
    playing: list[list[float]] = field(default_factory=list)  # frames in which a step was drawn
    drawn: int = 0  # drawings while playing: as many as steps, where no step is drawn twice
    keys: list[float] = field(default_factory=list)
    scrubs: list[float] = field(default_factory=list)

    def rates(self) -> list[float]:
        """Steps drawn a second in each run of playing."""
        return [
            1000 * (len(frames) - 1) / (frames[-1] - frames[0])
            for frames in self.playing
            if len(frames) > 1
        ]

    def gaps(self) -> list[float]:
        """Milliseconds from each step drawn while playing to the next."""
        return [after - before for frames in self.playing for before, after in pairwise(frames)]


async def measure_case(browser: Browser, case: Case, repeat: int) -> None:
    """Fill in the measurements of the mode and the text that the page shows."""
    steps = await browser.run("bench.steps()")
    for _ in range(RUNS if steps > 1 else 0):
        await browser.run("bench.fresh()")
        run = await browser.run(f"bench.play(30, {PLAY_SECONDS})")
        case.playing.append(run["frames"][1:])  # the first is the start, not a step
        case.drawn += run["drawn"]
    key, last = ("ArrowRight", steps - 1) if steps > 1 else ("ArrowDown", case.length - 1)
    case.moved_by = "step by key" if steps > 1 else "select next token by key"
    steps_left = 0
    while len(case.keys) < repeat:
        if steps_left == 0:
            await browser.run("bench.fresh()")
            steps_left = last
        case.keys.append(await browser.run(f"bench.key('{key}')"))
        steps_left -= 1
    rng = random.Random(0)
    unvisited: list[int] = []
    while len(case.scrubs) < repeat and steps > 1:
        if not unvisited:
            await browser.run("bench.fresh()")
            unvisited = rng.sample(range(1, steps), steps - 1)
        case.scrubs.append(await browser.run(f"bench.scrub({unvisited.pop()})"))


async def measure(url: str, socket: str, repeat: int, lengths: list[int]) -> list[Case]:
    browser = await Browser.connect(socket)
    await browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=1280,
        height=800,
        deviceScaleFactor=1,
        mobile=False,
    )
    await browser.call("Page.navigate", url=f"{url.rstrip('/')}/{APP}")
    while not await browser.run(f"document.querySelector('{STAGE}') !== null"):
        await asyncio.sleep(0.05)
    await browser.run(PAGE)
    await browser.run(ON_STAGE)
    await browser.run("document.querySelector('.rv-step-player').scrollIntoView()")
    await browser.run(f"bench.ready({[STAGE, STRIP]})")
    cases = []
    for length in lengths:
        await browser.set_length(length, [STRIP])
        for mode, chunk in CASES:
            if chunk != 8 and length < LONG:
                continue
            await browser.choose_mode(mode, [STRIP])
            await browser.run(f"bench.chunk({chunk})")
            name = f"T = {length}, {mode.lower()}"
            if mode == "Chunkwise":
                name += f", chunk size {chunk}"
            cases.append(Case(name, length))
            await measure_case(browser, cases[-1], repeat)
    return cases


def report(cases: list[Case]) -> None:
    """Print what was measured, with the budgets."""
    head = f"{'playing at 30 steps a second':56} {'rate':>8} {'budget':>8} {'longest gap':>12}"
    print(f"{head}   steps  drawings")
    for case in cases:
        if case.playing:
            budget = PLAY_BUDGET.get(case.length, "")
            gaps = case.gaps()
            print(
                f"{case.name:56} {statistics.median(case.rates()):8.1f} {budget:>8} "
                f"{max(gaps):9.0f} ms   {sum(map(len, case.playing)):5}  {case.drawn:8}"
            )
    print(f"\n{'milliseconds':56} {'median':>8} {'budget':>8} {'p95':>8}   runs")
    for case in cases:
        for what, times in ((case.moved_by, case.keys), ("scrub", case.scrubs)):
            if times:
                budget = STEP_BUDGET.get(case.length, "")
                print(
                    f"{f'{case.name}: {what}':56} {statistics.median(times):8.0f} {budget:>8} "
                    f"{percentile(times, 0.95):8.0f}   {len(times)}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 512, 2048], help="tokens")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with browsing() as (url, socket):
        cases = asyncio.run(measure(url, socket, options.repeat, options.lengths))
    # On a machine that has other work to do the figures say little.
    print(f"{machine()}, {os.cpu_count()} cores, load before {load:.1f}")
    report(cases)


if __name__ == "__main__":
    main()

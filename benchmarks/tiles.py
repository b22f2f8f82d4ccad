"""How fast the retention plane of a long text is drawn: what is computed, without a browser.

    .venv/bin/python -m benchmarks.tiles [--length 131072] [--repeat 40] [--threads 2] [--slow]

Makes random q and k (d_k = 64) for heads with the decays of the paper, prepares each head once, and
asks for pictures of 800 x 800 pixels: of the whole triangle, of three zooms at random places along
the diagonal, and of windows moved at random by up to a fifth of their size. "new" forgets all
tiles before each picture; "kept" does not. --slow adds the slowest decay of a paper's head and
scores, which do not decay, so that far views of them are bounds.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time

import torch

from benchmarks.browser import machine, percentile
from retnet_viz.trace.tiles.pictures import Plane

PIXELS = 800
WIDTH = 64  # d_k
ZOOMS = (16_000, 3200, 800)  # tokens
BUDGET = 100  # milliseconds, median


def milliseconds(plane: Plane, window: range) -> float:
    start = time.perf_counter()
    plane.view(0, window, window, PIXELS, PIXELS)
    return 1000 * (time.perf_counter() - start)


def along_the_diagonal(length: int, tokens: int, count: int, rng: random.Random) -> list[range]:
    starts = [rng.randint(0, length - tokens) for _ in range(count)]
    return [range(start, start + tokens) for start in starts]


def moved_windows(length: int, tokens: int, count: int, rng: random.Random) -> list[range]:
    start, windows = (length - tokens) // 2, []
    for _ in range(count):
        start += rng.randint(-tokens // 5, tokens // 5)
        start = min(max(start, 0), length - tokens)
        windows.append(range(start, start + tokens))
    return windows


def measure(name: str, plane: Plane, repeat: int) -> None:
    """Print the rows of one head."""
    start = time.perf_counter()
    plane.prepare(0)
    preparation = 1000 * (time.perf_counter() - start)
    length = plane.length
    full_view = plane.view(0, range(length), range(length), PIXELS, PIXELS)
    reach = f"reach {full_view.reach}" if full_view.reach is not None else "no reach"
    print(f"{name}, {reach}: {'preparation, once':24} {preparation:8.0f}")
    rng = random.Random(0)
    jobs = [("whole text", [range(length)] * repeat, False)]
    for tokens in ZOOMS:
        windows = along_the_diagonal(length, tokens, repeat, rng)
        jobs.append((f"{tokens} tokens, new", windows, True))
    for tokens in ZOOMS:
        windows = moved_windows(length, tokens, repeat, rng)
        jobs.append((f"{tokens} tokens moved, new", windows, True))
        jobs.append((f"{tokens} tokens moved, kept", windows, False))
    for job, windows, forget in jobs:
        times = []
        view = plane.view(0, windows[0], windows[0], PIXELS, PIXELS)
        for window in windows:
            if forget:
                plane._tiles.clear()
            times.append(milliseconds(plane, window))
        note = f"{view.tokens_per_pixel} a pixel" + ("" if view.exact else ", bounds")
        print(
            f"    {job:36} {note:20} {statistics.median(times):8.1f} {BUDGET:8} "
            f"{percentile(times, 0.95):8.1f}   {len(times)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=131_072, help="tokens")
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--slow", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, options.length, WIDTH, generator=generator)
    k = k * WIDTH**-0.5
    # On a machine that has other work to do the figures say little.
    print(f"{machine()}, {os.cpu_count()} cores, load before {load:.1f}, ", end="")
    print(f"{options.threads} threads, T = {options.length}, d_k = {WIDTH}")
    print(f"{'milliseconds':61} {'median':>8} {'budget':>8} {'p95':>8}   runs")
    heads = [("retention", 5), ("retention", 6), ("retention", 7), ("retention", 8)]
    for kind, power in heads + [("retention", 12), ("scores", 0)] * options.slow:
        name = f"gamma = 1 - 2**-{power}" if kind == "retention" else "scores"
        gamma = torch.tensor([1 - 2.0**-power if power else 1.0], dtype=torch.float64)
        measure(name, Plane(q, k, gamma, kind), options.repeat)


if __name__ == "__main__":
    main()

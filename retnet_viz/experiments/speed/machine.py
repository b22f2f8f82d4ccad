"""The peak rates of this machine, measured, in the terms of the calculator's cards."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch

from retnet_viz.experiments.cost_model import Card

THIS_MACHINE = "this machine, measured"
BUDGET = 1.0  # seconds of runs after which no further run starts
LARGEST = 2048  # rows and columns of the largest matrices that are multiplied
_SIDE = 8192  # of a float32 matrix of 268 MB, more than any cache holds
_PRODUCT = 1024


@torch.inference_mode()
def measured_card(repeats: int = 5) -> Card:
    """This machine as a card, with the threads that torch has now.

    The bandwidth is that of reading a large matrix once, multiplying it by a vector, as a step does
    with its weights; the arithmetic is a product of two square matrices, smaller ones where that
    takes long. Both are medians. Takes about a second, some more where a processor has no 16-bit
    arithmetic, and 268 MB. Raises ValueError where `repeats` is below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be 1 or more, not {repeats}")
    matrix, vector = torch.ones(_SIDE, _SIDE), torch.ones(_SIDE)
    seconds = median_seconds(lambda: torch.mv(matrix, vector), repeats)
    return Card(
        THIS_MACHINE,
        bandwidth=matrix.nbytes / seconds,
        memory=float(psutil.virtual_memory().total),
        flops=product_flops(torch.bfloat16, _PRODUCT, repeats)[0],
        flops32=product_flops(torch.float32, _PRODUCT, repeats)[0],
    )


def product_flops(
    dtype: torch.dtype, largest: int = LARGEST, repeats: int = 9
) -> tuple[float, int]:
    """(operations a second, n) of a product of two n x n matrices.

    n is `largest`, or less where one product takes long: 2,048 x 2,048 numbers of 16 bits take 20 s
    on a processor without arithmetic for them.
    """
    n = min(128, largest)
    while True:
        a = torch.ones(n, n, dtype=dtype)
        product = partial(torch.matmul, a, a)
        # One of twice the size takes eight times as long, more where it leaves the caches.
        if n == largest or min(_seconds(product), _seconds(product)) > BUDGET / 16:
            return 2 * n**3 / median_seconds(product, repeats), n
        n = min(2 * n, largest)


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
    """Median of `repeats` runs, or of those that begin within BUDGET."""
    run()  # the first run finds no thread and no page ready
    times: list[float] = []
    while len(times) < repeats and sum(times) < BUDGET:
        times.append(_seconds(run))
    return statistics.median(times)


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start

"""What this machine can do, measured as the calculator's cards are described."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch

from retnet_viz.lab.cost_model import Card

THIS_MACHINE = "this machine, measured"
_SIDE = 8192  # of a float32 matrix of 268 MB, more than any cache holds
_PRODUCT = 1024


@torch.inference_mode()
def measured_card(repeats: int = 5) -> Card:
    """This machine as a card, with the threads that torch has now.

    The bandwidth is that of reading a large matrix once, multiplying it by a vector, as a step does
    with its weights; the arithmetic is a product of two square matrices. Both are medians. Takes
    about a second and 268 MB. Raises ValueError where `repeats` is below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be 1 or more, not {repeats}")
    matrix, vector = torch.ones(_SIDE, _SIDE), torch.ones(_SIDE)
    seconds = _median(lambda: torch.mv(matrix, vector), repeats)
    flops = {}
    for dtype in (torch.bfloat16, torch.float32):
        a = torch.ones(_PRODUCT, _PRODUCT, dtype=dtype)
        flops[dtype] = 2 * _PRODUCT**3 / _median(lambda a=a: a @ a, repeats)  # type: ignore[misc]
    return Card(
        THIS_MACHINE,
        bandwidth=matrix.nbytes / seconds,
        memory=float(psutil.virtual_memory().total),
        flops=flops[torch.bfloat16],
        flops32=flops[torch.float32],
    )


def _median(run: Callable[[], Any], repeats: int) -> float:
    run()  # the first run finds no thread and no page ready
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)

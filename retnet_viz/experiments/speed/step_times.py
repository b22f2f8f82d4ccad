"""How long each step of a layer's retention takes, measured step by step."""

from __future__ import annotations

import statistics
import time

from torch import Tensor

from retnet_viz.model.observe import also_listening
from retnet_viz.model.retention import retain
from retnet_viz.trace import Trace


def step_times(trace: Trace, layer: int, mode: str, repeats: int = 5) -> tuple[float, ...]:
    """Milliseconds of every step of the retention of `layer` (all heads) in `mode`.

    The queries, keys and values are those of the trace; each time is the median of `repeats` runs
    after one to warm up. A step ends when its state is published, and the last one when the run
    does, so the steps together are the whole retention. In recurrent mode the output of a token is
    computed after its state, thus in the next token's time; the last step of the recurrent and the
    chunkwise form also joins the outputs of all steps into one tensor.

    Parallel is 1 step, recurrent T, chunkwise one per chunk. Raises ValueError on an unknown mode
    or where `repeats` is below 1, IndexError on a layer that the model lacks.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be 1 or more, not {repeats}")
    q, k, v = (x[None] for x in (trace.q(layer), trace.k(layer), trace.v(layer)))
    gamma = trace.gamma(layer)

    def run() -> list[float]:
        stamps: list[float] = []

        def stamp(name: str, _: Tensor) -> None:
            if name == "retention.state":
                stamps.append(time.perf_counter())

        with also_listening(stamp):
            start = time.perf_counter()
            retain(q, k, v, gamma, None, mode, trace.chunk_size)
            stamps[-1] = time.perf_counter()
        return [1000 * (end - begin) for begin, end in zip([start, *stamps], stamps, strict=False)]

    run()
    steps = zip(*(run() for _ in range(repeats)), strict=True)
    return tuple(statistics.median(times) for times in steps)

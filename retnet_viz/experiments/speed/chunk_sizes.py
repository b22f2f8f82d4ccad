"""What the chunk size costs: time and memory of one layer's retention, measured and predicted.

Chunk size 1 does what the recurrent form does, one token after the other; a chunk as long as the
text is the parallel form. What lies between trades steps for arithmetic: n = T / B steps, each with
blocks of B x B.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from retnet_viz.model.retention import chunkwise
from retnet_viz.trace import Trace
from retnet_viz.trace.views.cost import measure

Progress = Callable[[int, int], None]

MOST_ROUNDS = 9
# By default no size is measured that needs more than this, so that a text of any length has a curve
MEMORY_BUDGET = 2**30  # bytes
STEP_BUDGET = 2**11  # steps one after the other; metering them takes seconds


@dataclass(frozen=True)
class ChunkCurve:
    """Time and memory of the chunkwise form over its chunk size, for one layer and all its heads.

    sizes                   chunk sizes, in ascending order; `length` is the one-chunk form
    milliseconds            measured: the median over rounds that run every size once
    peak_bytes              measured: most bytes held at once beyond q, k and v, outputs included
    predicted_milliseconds  steps * step_milliseconds + flops / flops_per_second, flops as the meter
                            of trace.cost counts them. The two constants are fitted to the smallest
                            and the largest size alone, so at those two it equals what was measured,
                            and all between is foretold. It knows nothing of caches: blocks that fit
                            into them are quicker than the largest, which sets the rate.
    predicted_bytes         from shapes alone, see `predicted_bytes`
    layer, length           the layer, and T, the tokens of the text
    step_milliseconds       what a step costs whatever its size
    flops_per_second        operations per second of the arithmetic; infinite where the two ends
                            show no time that grows with it (a single size, or noise)
    """

    sizes: tuple[int, ...]
    milliseconds: tuple[float, ...]
    peak_bytes: tuple[int, ...]
    predicted_milliseconds: tuple[float, ...]
    predicted_bytes: tuple[int, ...]
    layer: int
    length: int
    step_milliseconds: float
    flops_per_second: float

    @property
    def best(self) -> int:
        """The measured size that takes the least time."""
        return self.sizes[self.milliseconds.index(min(self.milliseconds))]


def chunk_curve(
    trace: Trace,
    layer: int,
    sizes: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> ChunkCurve:
    """Run the retention of `layer`, all heads, at each chunk size on the trace's q, k and v.

    `sizes` are 1, 2, 4, ... and T, the length of the text, and the trace's own chunk size unless
    given; by default those are left out that take more than MEMORY_BUDGET or STEP_BUDGET. A size
    above T counts as T, which does the same.
    Every size is metered once, then timed in rounds that run each size once, so that whatever else
    the machine does hits all alike: 3 to 9 rounds, or 1 where a round takes more than a second.
    `progress(done, total)` is called after each run; `total` may shrink once the first round shows
    how many are needed. What it raises, or a listener (see model.observe), ends the measuring.
    Raises ValueError on a size below 1, IndexError on a layer that the model lacks.
    """
    q, k, v = (x[None] for x in (trace.q(layer), trace.k(layer), trace.v(layer)))
    gamma = trace.gamma(layer)
    chosen = _default_sizes(trace, layer) if sizes is None else _checked(sizes, trace.length)
    done, total = 0, len(chosen) * (1 + MOST_ROUNDS)

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    metered = []
    for size in chosen:
        metered.append(measure(partial(chunkwise, q, k, v, gamma, None, size)))
        advance()

    times: list[list[float]] = [[] for _ in chosen]
    rounds = MOST_ROUNDS
    while len(times[-1]) < rounds:
        for size, found in zip(chosen, times, strict=True):
            start = time.perf_counter()
            with torch.no_grad():  # as it was metered
                chunkwise(q, k, v, gamma, None, size)
            found.append(time.perf_counter() - start)
            if found is times[-1] and len(found) == 1:  # the end of the first round
                rounds = _rounds(sum(first for (first,) in times))
                total = len(chosen) * (1 + rounds)
            advance()
    milliseconds = [1000 * statistics.median(found) for found in times]

    steps = [-(-trace.length // size) for size in chosen]
    flops = [count for count, _ in metered]
    per_step, per_flop = _calibrated(steps, flops, milliseconds)
    return ChunkCurve(
        sizes=tuple(chosen),
        milliseconds=tuple(milliseconds),
        peak_bytes=tuple(peak for _, peak in metered),
        predicted_milliseconds=tuple(
            n * per_step + f * per_flop for n, f in zip(steps, flops, strict=True)
        ),
        predicted_bytes=tuple(_bytes_of(trace, layer, size) for size in chosen),
        layer=layer,
        length=trace.length,
        step_milliseconds=per_step,
        flops_per_second=1000 / per_flop if per_flop else float("inf"),
    )


def predicted_bytes(
    length: int, size: int, heads: int, d_k: int, d_v: int, dtype: torch.dtype
) -> int:
    """The peak of the chunkwise form, in bytes, from its shapes alone.

    With B tokens in a chunk, T in the text, a number of e bytes and one of the state of w (4 at
    least), a head holds all along

        S  = d_k d_v w                    the state
        D  = B² e + (2B + 1) w            the decay: B x B, and the powers ξ, ζ, γ^B; that of a
                                          shorter last chunk stands beside it
        O  = d_v e for every token that has been read

    and beside that, one after the other,

        inner         B² e + B d_v e      scores, which become the weights, and what they give
        cross         B d_k w + B d_v w   Q times ξ with its product
        next state    B d_k w + S, or 2 S   K times ζ with its product; γ^B S, to be added to it
        joining       T d_v e             the outputs again, as one tensor

    with `cross` of a chunk, B d_v e, held until the next chunk's replaces it (`inner`, to which it
    is added, becomes the output), and for 16-bit numbers copies of q, k and v in 32. The peak is
    the largest of these moments in the last chunk, or in the one before where the last is shorter.
    What is left out are the making of D, in vectors as long as a chunk, and the logarithms of
    gamma, which only count where texts and heads are tiny.
    """
    e, w = dtype.itemsize, max(dtype.itemsize, 4)
    widened = w if w != e else 0  # 16-bit numbers are copied before they meet the state
    size = min(size, length)
    last = length - (length - 1) // size * size
    state = d_k * d_v * w

    def decay(b: int) -> int:
        return b * b * e + (2 * b + 1) * w

    moments = []
    for b, read in ((size, length - last - size), (last, length - last)):
        if read < 0:
            continue
        held = state + decay(size) + (decay(b) if b < size else 0) + read * d_v * e
        part = b * d_v * e
        earlier = min(size, read) * d_v * e  # cross of the chunk before
        inner = earlier + b * b * e + part
        scaled = b * d_k * (widened + w)  # Q times ξ, or K times ζ
        product = b * d_k * w + b * d_v * w
        cross = part + earlier + max(scaled, product, b * d_v * (w + (e if widened else 0)))
        summed = 2 * part + max(scaled, b * (d_k * w + d_v * widened) + state, 2 * state)
        moments += [held + moment for moment in (inner, cross, summed)]
    tables = decay(size) + (decay(last) if last < size else 0)
    moments.append(state + tables + (2 * length + last) * d_v * e)  # joining
    return heads * max(moments)


def _bytes_of(trace: Trace, layer: int, size: int) -> int:
    config, dtype = trace.config, trace.q(layer).dtype
    return predicted_bytes(
        trace.length, size, config.n_heads, config.head_dim, config.value_dim, dtype
    )


def _default_sizes(trace: Trace, layer: int) -> list[int]:
    length, own = trace.length, min(trace.chunk_size, trace.length)
    powers = (2**i for i in range(length.bit_length()))
    return [
        size
        for size in sorted({*powers, length, own})
        if -(-length // size) <= STEP_BUDGET and _bytes_of(trace, layer, size) <= MEMORY_BUDGET
    ] or [own]


def _checked(sizes: Sequence[int], length: int) -> list[int]:
    for size in sizes:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"a chunk size must be a whole number of 1 or more, not {size!r}")
    if not sizes:
        raise ValueError("sizes names no chunk size; give at least one")
    return sorted({min(size, length) for size in sizes})


def _rounds(seconds: float) -> int:
    """How many rounds to run when one takes so long."""
    return 1 if seconds > 1 else min(MOST_ROUNDS, max(3, int(1.5 / seconds)))


def _calibrated(
    steps: list[int], flops: list[int], milliseconds: list[float]
) -> tuple[float, float]:
    """Milliseconds per step and per operation that give the first and the last time exactly.

    Neither is let below 0: where noise asks for that, the other one carries all.
    """
    (n, m), (f, g), (s, t) = ((values[0], values[-1]) for values in (steps, flops, milliseconds))
    determinant = n * g - m * f
    if determinant <= 0:  # a single size
        return s / n, 0.0
    per_step, per_flop = (s * g - t * f) / determinant, (n * t - m * s) / determinant
    if per_step < 0:
        return 0.0, t / g
    if per_flop < 0:
        return s / n, 0.0
    return per_step, per_flop

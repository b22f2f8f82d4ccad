"""The cost of a chunk size: time and memory of one layer's retention, measured and predicted.

Chunk size 1 is the recurrent form, one token after the other; a chunk as long as the text is the
parallel form. Sizes between trade steps for arithmetic: n = T / B steps, each with blocks of B x B.
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
from retnet_viz.trace.views.pass_cost import measure

Progress = Callable[[int, int], None]

MAX_ROUNDS = 9
# Limits of the default sizes, so that a text of any length has a curve.
MEMORY_BUDGET = 2**30  # bytes
STEP_BUDGET = 2**11  # steps one after the other; measuring them takes seconds


@dataclass(frozen=True)
class ChunkCurve:
    """Time and memory of the chunkwise form over its chunk size, for one layer and all its heads.

    sizes                   chunk sizes, in ascending order; `length` is the one-chunk form
    milliseconds            measured: the median over rounds that run every size once
    peak_bytes              measured: most bytes held at once beyond q, k and v, outputs included
    predicted_milliseconds  steps * step_milliseconds + flops / flops_per_second, flops as the meter
                            of trace.cost counts them. The two constants are fitted to the smallest
                            and the largest size alone, so it is exact at those two and predicts
                            those between. It ignores caches: blocks that fit into them are quicker
                            than the largest, which sets the rate.
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
    Every size is measured once, then timed in rounds that run each size once, so that whatever else
    the machine does hits all alike: 3 to 9 rounds, or 1 where a round takes more than a second.
    `progress(done, total)` is called after each run; `total` may shrink once the first round shows
    how many are needed. What it raises, or a listener (see model.observe), ends the measuring.
    Raises ValueError on a size below 1, IndexError on a layer that the model lacks.
    """
    q, k, v = (x[None] for x in (trace.q(layer), trace.k(layer), trace.v(layer)))
    gamma = trace.gamma(layer)
    if sizes is None:
        chunk_sizes = _default_sizes(trace, layer)
    else:
        chunk_sizes = _check_sizes(sizes, trace.length)
    done, total = 0, len(chunk_sizes) * (1 + MAX_ROUNDS)

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    measurements = []
    for size in chunk_sizes:
        measurements.append(measure(partial(chunkwise, q, k, v, gamma, None, size)))
        advance()

    seconds_by_size: list[list[float]] = [[] for _ in chunk_sizes]
    rounds = MAX_ROUNDS
    while len(seconds_by_size[-1]) < rounds:
        for size, seconds in zip(chunk_sizes, seconds_by_size, strict=True):
            start = time.perf_counter()
            with torch.no_grad():  # as it was measured
                chunkwise(q, k, v, gamma, None, size)
            seconds.append(time.perf_counter() - start)
            if seconds is seconds_by_size[-1] and len(seconds) == 1:  # the end of the first round
                rounds = _count_rounds(sum(first for (first,) in seconds_by_size))
                total = len(chunk_sizes) * (1 + rounds)
            advance()
    milliseconds = [1000 * statistics.median(seconds) for seconds in seconds_by_size]

    steps = [-(-trace.length // size) for size in chunk_sizes]
    flops = [count for count, _ in measurements]
    per_step, per_flop = _fit_costs(steps, flops, milliseconds)
    return ChunkCurve(
        sizes=tuple(chunk_sizes),
        milliseconds=tuple(milliseconds),
        peak_bytes=tuple(peak for _, peak in measurements),
        predicted_milliseconds=tuple(
            n * per_step + f * per_flop for n, f in zip(steps, flops, strict=True)
        ),
        predicted_bytes=tuple(_layer_bytes(trace, layer, size) for size in chunk_sizes),
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
    for b, n_read in ((size, length - last - size), (last, length - last)):
        if n_read < 0:
            continue
        base = state + decay(size) + (decay(b) if b < size else 0) + n_read * d_v * e
        part = b * d_v * e
        earlier = min(size, n_read) * d_v * e  # cross of the chunk before
        inner = earlier + b * b * e + part
        scaled = b * d_k * (widened + w)  # Q times ξ, or K times ζ
        product = b * d_k * w + b * d_v * w
        cross = part + earlier + max(scaled, product, b * d_v * (w + (e if widened else 0)))
        next_state = 2 * part + max(scaled, b * (d_k * w + d_v * widened) + state, 2 * state)
        moments += [base + extra for extra in (inner, cross, next_state)]
    tables = decay(size) + (decay(last) if last < size else 0)
    moments.append(state + tables + (2 * length + last) * d_v * e)  # joining
    return heads * max(moments)


def _layer_bytes(trace: Trace, layer: int, size: int) -> int:
    config, dtype = trace.config, trace.q(layer).dtype
    return predicted_bytes(
        trace.length, size, config.n_heads, config.head_dim, config.value_dim, dtype
    )


def _default_sizes(trace: Trace, layer: int) -> list[int]:
    length, trace_size = trace.length, min(trace.chunk_size, trace.length)
    powers = (2**i for i in range(length.bit_length()))
    return [
        size
        for size in sorted({*powers, length, trace_size})
        if -(-length // size) <= STEP_BUDGET and _layer_bytes(trace, layer, size) <= MEMORY_BUDGET
    ] or [trace_size]


def _check_sizes(sizes: Sequence[int], length: int) -> list[int]:
    for size in sizes:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"a chunk size must be a whole number of 1 or more, not {size!r}")
    if not sizes:
        raise ValueError("sizes names no chunk size; give at least one")
    return sorted({min(size, length) for size in sizes})


def _count_rounds(seconds: float) -> int:
    """How many rounds to run when one takes so long."""
    return 1 if seconds > 1 else min(MAX_ROUNDS, max(3, int(1.5 / seconds)))


def _fit_costs(
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

"""The steps in which each mode computes one head's retention, and what each step costs.

Shapes: T tokens, B tokens of a chunk, d_k and d_v the widths of a head's keys and values.

The counts are those of `retnet_viz.model.retention`, operation by operation, for one head alone:
two operations for each multiply-add of a matrix product, one for each element of an elementwise
result, as `trace.cost.Meter` counts them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.trace.views.observables import Trace

_NOTHING = range(0)


@dataclass(frozen=True)
class Step:
    """What one step of a mode computes for one head, and what it costs.

    index          number of the step, from 0
    tokens         positions n whose outputs the step gives
    cells          positions m; the step computes the cells (n, m) for n in `tokens`, m in `cells`,
                   and masks those with m > n to 0. Empty where the mode builds no cells
    carried_from   last token that the state which the step reads holds; -1 where that state is the
                   empty one before the text, None where the step reads no state
    reads, writes  names of the quantities that the step uses and makes, as a `Trace` names them
    flops          floating-point operations, tables of powers of gamma included in the step that
                   makes them (a pass through all layers makes them once for those of the same
                   gammas)
    held_bytes     bytes of the scores, decay and weights that the step works on and of the state
                   that it reads and the one that it writes; q, k, v and the outputs, which every
                   mode has, are not counted. A pass that nobody watches writes the weights over
                   the scores, and holds that much less
    carried_bytes  bytes of the state that it hands on
    """

    index: int
    tokens: range
    cells: range
    carried_from: int | None
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    flops: int
    held_bytes: int
    carried_bytes: int


@dataclass(frozen=True)
class Schedule:
    """The steps of one head's retention over a text of `length` tokens, in the order they run."""

    mode: str
    layer: int
    head: int
    length: int
    chunk_size: int
    steps: tuple[Step, ...]

    def __len__(self) -> int:
        return len(self.steps)

    def step_of(self, n: int) -> int:
        """Index of the step that gives the output of token n. IndexError where there is none."""
        if not 0 <= n < self.length:
            raise IndexError(f"position {n} is outside a text of {self.length} tokens")
        return n // FORMS[self.mode].stride(self.length, self.chunk_size)


def schedule(trace: Trace, layer: int, head: int) -> Schedule:
    """The steps in which the trace's mode computed the retention of one head.

    One step in parallel mode (equation 5), one per token in recurrent mode (equation 6), one per
    chunk in chunkwise mode (equation 7). Raises IndexError on a layer or head that there is not.
    """
    check_head(trace, head)
    k, v = trace.k(layer), trace.v(layer)
    counts = _Counts(
        d_k=k.shape[-1],
        d_v=v.shape[-1],
        cell_bytes=v.element_size(),
        state_bytes=torch.promote_types(v.dtype, torch.float32).itemsize,
    )
    steps = {"parallel": _parallel, "recurrent": _recurrent, "chunkwise": _chunkwise}[trace.mode]
    return Schedule(
        mode=trace.mode,
        layer=layer,
        head=head,
        length=trace.length,
        chunk_size=trace.chunk_size,
        steps=tuple(steps(trace.length, trace.chunk_size, counts)),
    )


def check_head(trace: Trace, head: int) -> None:
    """Raise IndexError on a head that the model lacks; heads are counted from 0."""
    if not 0 <= head < trace.n_heads:
        raise IndexError(f"head {head} is outside 0 .. {trace.n_heads - 1}")


def check_position(trace: Trace, n: int) -> None:
    """Raise IndexError on a token that the text lacks; tokens are counted from 0."""
    if not 0 <= n < trace.length:
        raise IndexError(f"position {n} is outside a text of {trace.length} tokens")


@dataclass(frozen=True)
class _Counts:
    """Operations and bytes of the parts of the three forms, for B tokens."""

    d_k: int
    d_v: int
    cell_bytes: int  # of one score, decay or weight
    state_bytes: int  # of one entry of the state

    @property
    def state(self) -> int:
        """Bytes of one state."""
        return self.d_k * self.d_v * self.state_bytes

    def blocks(self, b: int) -> int:
        """Bytes of the scores, the decay and the weights."""
        return 3 * b * b * self.cell_bytes

    def tables(self, b: int) -> int:
        """chunk_decay: log, product and exp of the powers 0 .. B, and of those that D is made of.

        These are 2 B - 1, with those that the mask sets to 0. The logarithm is that of the head's
        one gamma.
        """
        return (1 + 3 * (2 * b - 1)) + (1 + 2 * (b + 1))

    def inner(self, b: int) -> int:
        """(Q K^T * D) V."""
        return 2 * b * b * self.d_k + b * b + 2 * b * b * self.d_v

    def cross(self, b: int) -> int:
        """(Q * xi) S, and its sum with the inner part."""
        return b * self.d_k + 2 * b * self.d_k * self.d_v + b * self.d_v

    def update(self, b: int) -> int:
        """(K * zeta)^T V."""
        return b * self.d_k + 2 * b * self.d_k * self.d_v

    @property
    def decay_and_add(self) -> int:
        """gamma S, and its sum with the update."""
        return 2 * self.d_k * self.d_v

    @property
    def query(self) -> int:
        """q S for one token."""
        return 2 * self.d_k * self.d_v


def _parallel(length: int, _: int, counts: _Counts) -> list[Step]:
    return [
        Step(
            index=0,
            tokens=range(length),
            cells=range(length),
            carried_from=None,
            reads=("q", "k", "v"),
            writes=("decay", "scores", "retention", "head_output", "state"),
            flops=counts.tables(length) + counts.inner(length) + counts.update(length),
            held_bytes=counts.blocks(length) + counts.state,
            carried_bytes=counts.state,
        )
    ]


def _recurrent(length: int, _: int, counts: _Counts) -> list[Step]:
    flops = counts.decay_and_add + counts.query
    return [
        Step(
            index=n,
            tokens=range(n, n + 1),
            cells=_NOTHING,
            carried_from=n - 1,
            reads=("q", "k", "v", "state"),
            writes=("state", "head_output"),
            flops=flops,
            held_bytes=2 * counts.state,
            carried_bytes=counts.state,
        )
        for n in range(length)
    ]


def _chunkwise(length: int, chunk_size: int, counts: _Counts) -> list[Step]:
    steps = []
    for index, first in enumerate(range(0, length, chunk_size)):
        tokens = range(first, min(first + chunk_size, length))
        b = len(tokens)
        # The tables of the first chunk serve all that are as long.
        tables = index == 0 or b < chunk_size
        reads: tuple[str, ...] = ("q", "k", "v", "state")
        writes: tuple[str, ...] = ("scores", "retention", "inner", "cross", "head_output", "state")
        steps.append(
            Step(
                index=index,
                tokens=tokens,
                cells=tokens,
                carried_from=first - 1,
                reads=reads if tables else (*reads, "decay"),
                writes=("decay", *writes) if tables else writes,
                flops=tables * counts.tables(b)
                + counts.inner(b)
                + counts.cross(b)
                + counts.update(b)
                + counts.decay_and_add,
                held_bytes=counts.blocks(b) + 2 * counts.state,
                carried_bytes=counts.state,
            )
        )
    return steps

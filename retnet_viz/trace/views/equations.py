"""The terms of equations 5, 6 and 7 for one head and one token, as tensors of the forward pass.

Shapes: T tokens, B tokens of the chunk, d_k and d_v the widths of a head's keys and values.
What the mode computed is the very tensor that its pass used; treat it as read-only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from retnet_viz.model.position import decay_powers
from retnet_viz.trace.views.observables import Trace
from retnet_viz.trace.views.state_analysis import contributions
from retnet_viz.trace.views.steps import check_head, check_position


@dataclass(frozen=True, eq=False)
class ParallelTerms:
    """o_n = sum over m <= n of (q_n k_m^T * gamma^(n-m)) v_m: row n of equation 5.

    scores   (n+1,)      q_n k_m^T
    decay    (n+1,)      gamma^(n-m)
    weights  (n+1,)      their product
    values   (n+1, d_v)  v_m
    output   (d_v,)      o_n

    The mode computed all of them.
    """

    n: int
    gamma: float
    scores: Tensor
    decay: Tensor
    weights: Tensor
    values: Tensor
    output: Tensor


@dataclass(frozen=True, eq=False)
class RecurrentTerms:
    """S_n = gamma S_{n-1} + k_n^T v_n and o_n = q_n S_n: one step of equation 6.

    before         (d_k, d_v)  S_{n-1}, zeros for n = 0; as edits change it before token n
    faded          (d_k, d_v)  gamma S_{n-1}
    added          (d_k, d_v)  k_n^T v_n
    state          (d_k, d_v)  S_n
    q, k           (d_k,)      of token n
    v              (d_v,)      of token n
    output         (d_v,)      o_n
    contributions  (n+1,)      norm of what each token m <= n still adds to S_n, see `memory`

    The mode computed the states, q, k, v and the output. `faded` repeats the operation of the pass
    on the state that it read. `added` is derived: the pass multiplies and adds in one operation
    and never holds the product. `contributions` are derived too.
    """

    n: int
    gamma: float
    before: Tensor
    faded: Tensor
    added: Tensor
    state: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    output: Tensor
    contributions: Tensor


@dataclass(frozen=True, eq=False)
class ChunkTerms:
    """O_i = (Q_i K_i^T * D) V_i + (Q_i S_{i-1}) * xi and S_i: one step of equation 7.

    chunk    number i of the chunk that holds token n, from 0
    tokens   the positions of its tokens, B of them
    weights  (B, B)      Q_i K_i^T * D
    before   (d_k, d_v)  S_{i-1}, zeros for i = 0; as edits change it before the chunk
    inner    (B, d_v)    (Q_i K_i^T * D) V_i
    cross    (B, d_v)    (Q_i S_{i-1}) * xi
    output   (B, d_v)    O_i
    added    (d_k, d_v)  K_i^T (V_i * zeta)
    state    (d_k, d_v)  S_i
    share    (B,)        |cross| / (|cross| + |inner|) per token, Euclidean; 0 where both are 0

    The mode computed all of them but `share`, which is derived. `added` repeats the operations of
    the pass on its keys and values.
    """

    n: int
    chunk: int
    tokens: range
    gamma: float
    weights: Tensor
    before: Tensor
    inner: Tensor
    cross: Tensor
    output: Tensor
    added: Tensor
    state: Tensor
    share: Tensor


Terms = ParallelTerms | RecurrentTerms | ChunkTerms


def terms(trace: Trace, layer: int, head: int, n: int) -> Terms:
    """What the trace's mode put together to give the output of token n in one head.

    ParallelTerms, RecurrentTerms or ChunkTerms, by `trace.mode`. Raises IndexError on a layer,
    head or position that there is not.
    """
    check_head(trace, head)
    check_position(trace, n)
    if trace.mode == "parallel":
        return _parallel(trace, layer, head, n)
    if trace.mode == "recurrent":
        return _recurrent(trace, layer, head, n)
    return _chunkwise(trace, layer, head, n)


def _parallel(trace: Trace, layer: int, head: int, n: int) -> ParallelTerms:
    row, cols = slice(n, n + 1), slice(0, n + 1)
    return ParallelTerms(
        n=n,
        gamma=trace.gamma(layer)[head].item(),
        scores=trace.scores(layer, row, cols)[head, 0],
        decay=trace.decay(layer, row, cols)[head, 0],
        weights=trace.retention(layer, row, cols)[head, 0],
        values=trace.v(layer)[head, cols],
        output=trace.head_output(layer)[head, n],
    )


def _recurrent(trace: Trace, layer: int, head: int, n: int) -> RecurrentTerms:
    gamma = trace.gamma(layer)[head]
    k, v = trace.k(layer)[head, n], trace.v(layer)[head, n]
    before, state = _states(trace, layer, head, n, n)
    return RecurrentTerms(
        n=n,
        gamma=gamma.item(),
        before=before,
        faded=gamma.to(state) * before,
        added=torch.outer(k.to(state), v.to(state)),
        state=state,
        q=trace.q(layer)[head, n],
        k=k,
        v=v,
        output=trace.head_output(layer)[head, n],
        contributions=contributions(trace, layer, n)[head],
    )


def _chunkwise(trace: Trace, layer: int, head: int, n: int) -> ChunkTerms:
    chunk = n // trace.chunk_size
    first = chunk * trace.chunk_size
    tokens = range(first, min(first + trace.chunk_size, trace.length))
    span = slice(tokens.start, tokens.stop)
    inner, cross = trace.inner(layer)[head, span], trace.cross(layer)[head, span]
    before, state = _states(trace, layer, head, first, tokens[-1])
    gamma = trace.gamma(layer)[head]
    k, v = (x[head, span].to(state) for x in (trace.k(layer), trace.v(layer)))
    exponents = torch.arange(len(tokens) - 1, -1, -1, device=state.device)  # exponents of zeta
    zeta = decay_powers(gamma[None], exponents, state.dtype)[0, :, None]
    left = trace.left_in_state(layer, tokens[-1])[head, span, None].to(zeta)
    return ChunkTerms(
        n=n,
        chunk=chunk,
        tokens=tokens,
        gamma=gamma.item(),
        weights=trace.retention(layer, span, span)[head],
        before=before,
        inner=inner,
        cross=cross,
        output=trace.head_output(layer)[head, span],
        added=k.mT @ (v * zeta * left),
        state=state,
        share=_share(cross, inner),
    )


def _states(trace: Trace, layer: int, head: int, first: int, n: int) -> tuple[Tensor, Tensor]:
    """The states before token `first` is read, and after token n."""
    return trace.state_before(layer, first)[head], trace.state(layer, n)[head]


def _share(part: Tensor, other: Tensor) -> Tensor:
    """|part| / (|part| + |other|) along the last axis, 0 where both are 0; float32 at least."""
    dtype = torch.promote_types(part.dtype, torch.float32)
    norm, other_norm = (torch.linalg.vector_norm(x, dim=-1, dtype=dtype) for x in (part, other))
    total = norm + other_norm
    share: Tensor = norm / torch.where(total > 0, total, 1.0)
    return share

"""Position in a RetNet: how q and k turn with it, and how weights decay with distance.

Shapes: H heads, T tokens, d_k the width of a head's queries and keys.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor


def rotation_angles(
    head_dim: int,
    start: int,
    length: int,
    base: float,
    device: torch.device | str = "cpu",
    kind: str = "inclusive",
) -> tuple[Tensor, Tensor]:
    """cos and sin of n * theta_i for positions n = start .. start + length - 1, each (T, d_k / 2).

    For i = 0 .. d_k/2 - 1, kind "inclusive" is theta_i = base**(-i / (d_k/2 - 1)), the angles of
    the authors' code (torchscale, `RetNetRelPos.angle`), and "rope" is base**(-i / (d_k/2)), those
    of RoFormer (arXiv:2104.09864, section 3.2.2); the paper leaves them open (section 2.1).
    "half_turn" is pi times "inclusive": the fastest pair rotates by half a turn from token to
    token, the most that still tells positions apart. Without a softmax, weights need this to read
    one token and not its neighbours: a sum of cosines of at most 1 radian a token changes too
    slowly.
    float64, because at n = 100,000 a float32 angle is off by more than a hundredth of a radian.
    """
    half = head_dim // 2
    if kind == "rope":
        exponents = torch.arange(half, dtype=torch.float64, device=device) / half
    else:
        exponents = torch.linspace(0, 1, half, dtype=torch.float64, device=device)
    theta = base**-exponents
    if kind == "half_turn":
        theta = math.pi * theta
    position = torch.arange(start, start + length, dtype=torch.float64, device=device)
    angle = torch.outer(position, theta)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor, layout: str) -> Tensor:
    """x (..., T, d_k) with its pairs of components rotated by their angles.

    The paper's `X e^{i n theta}` (section 2.1) on real numbers: a pair (a, b) is the complex
    number a + ib. "interleaved" pairs components 2i and 2i + 1, "half" pairs i and i + d_k / 2.
    "interleaved" views x as complex numbers in place: neighbours must be neighbours in memory too,
    and each token must begin at an even offset.
    """
    if layout == "none":
        return x
    if layout == "interleaved" and x.dtype in (torch.float32, torch.float64):
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * torch.complex(cos, sin).to(pairs.dtype)).flatten(-2)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    if layout == "interleaved":  # there are no complex numbers of two 16-bit halves
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def decay_powers(gamma: Tensor, exponents: Tensor, dtype: torch.dtype) -> Tensor:
    """gamma_h ** exponents for every head: gamma (H,) float64, exponents (...) -> (H, ...).

    Computed in log space, and used only as factors: some codes write gamma**(n-m) as a quotient and
    divide by gamma**n, which underflows after a few thousand tokens.
    """
    work = torch.promote_types(dtype, torch.float32)
    log_gamma = gamma.to(device=exponents.device).log().to(work)
    return torch.exp(log_gamma.view(-1, *[1] * exponents.dim()) * exponents.to(work)).to(dtype)


def decay_matrix(
    gamma: Tensor, rows: Tensor | range, cols: Tensor | range, dtype: torch.dtype
) -> Tensor:
    """D (H, len(rows), len(cols)): gamma**(n-m) for n >= m, else 0 (paper, equation 5).

    `rows` holds the positions n of the reading tokens, `cols` the positions m of those that they
    read. Two ranges of step 1 cost one power per distance instead of one per cell; D is then on
    gamma's device.
    """
    if isinstance(rows, range) and isinstance(cols, range):
        return _toeplitz_decay(gamma, rows, cols, dtype)
    assert isinstance(rows, Tensor)
    assert isinstance(cols, Tensor)
    distance = rows[:, None] - cols[None, :]
    powers = decay_powers(gamma, distance.clamp(min=0), dtype)
    return powers.masked_fill(distance < 0, 0)


def _toeplitz_decay(gamma: Tensor, rows: range, cols: range, dtype: torch.dtype) -> Tensor:
    """D between consecutive positions, a Toeplitz matrix: each row is the one above it, shifted.

    So all rows are windows of one vector: the powers from the farthest distance down to 0, then
    zeros.
    """
    distance = torch.arange(rows.stop - 1 - cols.start, rows.start - cols.stop, -1)
    distance = distance.to(gamma.device)
    powers = decay_powers(gamma, distance.clamp(min=0), dtype).masked_fill(distance < 0, 0)
    return powers.unfold(-1, len(cols), 1).flip(1)


class ChunkDecay(NamedTuple):
    """The powers of gamma that a chunk of B tokens needs (paper, equation 7).

    matrix (H, B, B) is D, in the dtype of the scores; xi (H, B, 1) is gamma**(j+1), zeta (H, B, 1)
    is gamma**(B-j-1) and total (H, 1, 1) is gamma**B, in the dtype of the state.
    """

    matrix: Tensor
    xi: Tensor
    zeta: Tensor
    total: Tensor


_decay_cache: ContextVar[dict[tuple[object, ...], ChunkDecay] | None] = ContextVar(
    "retnet_viz_decays", default=None
)


@contextmanager
def decay_cache() -> Iterator[None]:
    """Inside the `with` block `chunk_decay` computes equal decays only once.

    All chunks of a text use the same powers, and so do all layers with the same gammas. Nested
    blocks share one cache, which ends with the outermost block.
    """
    if _decay_cache.get() is not None:
        yield
        return
    token = _decay_cache.set({})
    try:
        yield
    finally:
        _decay_cache.reset(token)


def chunk_decay(gamma: Tensor, q: Tensor) -> ChunkDecay:
    """The decays of a chunk as long as q (B, H, T, d_k); those of the state in float32 at least."""
    cache = _decay_cache.get()
    if cache is None:
        return _make_chunk_decay(gamma, q)
    key = (*gamma.tolist(), q.shape[-2], q.dtype, q.device)
    if key not in cache:
        cache[key] = _make_chunk_decay(gamma, q)
    return cache[key]


def _make_chunk_decay(gamma: Tensor, q: Tensor) -> ChunkDecay:
    gamma, length = gamma.to(q.device), q.shape[-2]
    matrix = decay_matrix(gamma, range(length), range(length), q.dtype)
    exponents = torch.arange(length + 1, device=q.device)
    powers = decay_powers(gamma, exponents, torch.promote_types(q.dtype, torch.float32))[..., None]
    return ChunkDecay(matrix, powers[:, 1:], powers[:, :-1].flip(1), powers[:, -1:])

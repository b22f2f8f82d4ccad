"""What a selective scan attends to (Ali, Zimerman & Wolf 2024, arXiv:2403.01590, section 3).

The scan of one channel is y = M x + D x with M[n, m] = C_n (prod_{k=m+1..n} exp(Δ_k A)) Δ_m B_m for
m <= n, and 0 after it. All of one text: T tokens, d_inner channels, N numbers per channel.
"""

from __future__ import annotations

import torch
from torch import Tensor

COLUMNS = 16  # of M that are computed at once
CHANNELS = 16  # that are


def decay(delta: Tensor, a: Tensor) -> Tensor:
    """exp(Δ_t A), what a token leaves of the state: delta (T, d_inner) -> (T, d_inner, N)."""
    return torch.exp(delta[..., None] * a)


def hidden_attention(
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    rows: Tensor | None = None,
    channels: Tensor | None = None,
) -> Tensor:
    """The mean over `channels` of M[rows], (rows, T); signed, and rows do not sum to 1.

    delta (T, d_inner), a (d_inner, N), b and c (T, N); rows and channels are indices, all where
    None. The decays are differences of a running sum of Δ A, in float64, so that none overflows;
    memory grows with T and with the result, not with T x T per channel.
    """
    length, d_inner = delta.shape
    rows = torch.arange(length, device=delta.device) if rows is None else rows
    channels = torch.arange(d_inner, device=delta.device) if channels is None else channels
    dtype = delta.dtype
    delta, a, b, c = (each.detach().double() for each in (delta, a, b, c))
    total = delta.new_zeros(len(rows), length)
    for some in channels.split(CHANNELS):
        total += _sum_of_channels(delta[:, some], a[some], b, c, rows)
    return (total / len(channels)).to(dtype)


def _sum_of_channels(delta: Tensor, a: Tensor, b: Tensor, c: Tensor, rows: Tensor) -> Tensor:
    """The sum of M[rows] over all given channels."""
    read = delta[..., None] * b[:, None]  # Δ_m B_m, (T, channels, N)
    exponents = (delta[..., None] * a).cumsum(0)
    matrix = delta.new_zeros(len(rows), len(delta))
    for start in range(0, len(delta), COLUMNS):
        stop = min(start + COLUMNS, len(delta))
        columns = slice(start, stop)
        # The decay from m to a later row n, split at the last column: both factors are at most 1.
        after = rows >= stop
        last = exponents[stop - 1]
        sources = (last - exponents[columns]).exp() * read[columns]
        targets = (exponents[rows[after]] - last).exp() * c[rows[after]][:, None]
        matrix[after, columns] = targets.flatten(1) @ sources.flatten(1).T
        within = ((rows >= start) & (rows < stop)).nonzero()[:, 0]
        for i in within.tolist():
            n = int(rows[i])
            upto = slice(start, n + 1)
            kept = (exponents[n] - exponents[upto]).exp() * read[upto]
            matrix[i, upto] = (kept @ c[n]).sum(-1)
    return matrix

"""What a selective scan attends to (Ali, Zimerman & Wolf 2024, arXiv:2403.01590, section 3).

The scan of one channel is y = M x + D x with M[n, m] = C_n (prod_{k=m+1..n} exp(Δ_k A)) Δ_m B_m for
m <= n, and 0 after it. All of one text: T tokens, d_inner channels, N numbers per channel.
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_COLUMNS = 8  # of M, computed pair by pair
CHANNEL_BLOCK = 64  # channels computed at once


def decay(delta: Tensor, a: Tensor) -> Tensor:
    """exp(Δ_t A), the factor of the state at a token: delta (T, d_inner) -> (T, d_inner, N)."""
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
    None. The decays are differences of a running sum of Δ A, in float64, so that none overflows and
    a long past takes no digits; the rest is computed in delta's precision, float32 at least. Memory
    grows with T and with the result, not with T x T per channel.
    """
    length, d_inner = delta.shape
    rows = torch.arange(length, device=delta.device) if rows is None else rows
    channels = torch.arange(d_inner, device=delta.device) if channels is None else channels
    total = delta.new_zeros(len(rows), length, dtype=torch.double)
    delta, a, b, c = (tensor.detach() for tensor in (delta, a, b, c))
    for block in channels.split(CHANNEL_BLOCK):
        total += _sum_of_channels(delta[:, block], a[block], b, c, rows)
    return (total / len(channels)).to(delta.dtype)


def _sum_of_channels(delta: Tensor, a: Tensor, b: Tensor, c: Tensor, rows: Tensor) -> Tensor:
    """The sum of M[rows] over these channels."""
    dtype = torch.promote_types(delta.dtype, torch.float32)
    exponents = (delta[..., None].double() * a.double()).cumsum(0)  # (T, channels, N)
    delta, b, c = delta[..., None].to(dtype), b[:, None].to(dtype), c[:, None].to(dtype)
    inputs = delta * b  # Δ_m B_m, (T, channels, N)
    matrix = inputs.new_zeros(len(rows), len(delta))
    intervals = [(0, len(delta), torch.arange(len(rows), device=rows.device))]
    while intervals:
        # Columns start .. stop - 1, and the rows among these tokens: rows[indices].
        start, stop, indices = intervals.pop()
        if stop - start <= MAX_COLUMNS:
            is_past = torch.arange(start, stop, device=rows.device) <= rows[indices, None]
            log_decay = exponents[rows[indices], None] - exponents[start:stop]
            decayed = log_decay.to(dtype).clamp_(max=0).exp_() * inputs[start:stop]
            matrix[indices, start:stop] = (decayed * c[rows[indices], None]).sum((-2, -1)) * is_past
            continue
        middle = (start + stop) // 2
        is_later = rows[indices] >= middle
        earlier, later = indices[~is_later], indices[is_later]
        if len(later):
            # The decay from m to n as a product of two factors, both at most 1.
            last = exponents[middle - 1]
            sources = (last - exponents[start:middle]).to(dtype).exp_() * inputs[start:middle]
            targets = (exponents[rows[later]] - last).to(dtype).exp_() * c[rows[later]]
            matrix[later, start:middle] = targets.flatten(1) @ sources.flatten(1).T
            intervals.append((middle, stop, later))
        if len(earlier):
            intervals.append((start, middle, earlier))
    return matrix

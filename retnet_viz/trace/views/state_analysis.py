"""What a state holds: how much of each token is left in it, and how much it can tell apart.

Shapes: H heads, d_k and d_v the widths of a head's keys and values; n is the last token that the
state S_n holds, m <= n one that it holds. All of these are derived from the keys, values and states
of the trace, in float64. Every function raises IndexError on a layer or position that there is not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retnet_viz.model.position import decay_powers
from retnet_viz.trace.views.observables import Trace
from retnet_viz.trace.views.steps import check_position


def contributions(trace: Trace, layer: int, n: int) -> Tensor:
    """(H, n+1): gamma^(n-m) |k_m| |v_m|, the Frobenius norm of what token m still adds to S_n.

    S_n is the sum of gamma^(n-m) k_m^T v_m over m <= n (equation 6 written out), so these norms
    add up to no less than the norm of S_n. A token that was forgotten counts for what is left.
    """
    check_position(trace, n)
    norms = _term_norms(trace, layer, n + 1)
    distance = torch.arange(n, -1, -1, device=norms.device)
    left = trace.left_in_state(layer, n)[:, : n + 1]
    return norms * decay_powers(trace.gamma(layer), distance, torch.float64) * left.to(norms)


def singular_values(trace: Trace, layer: int, n: int) -> Tensor:
    """(H, min(d_k, d_v)): the singular values of S_n, largest first."""
    check_position(trace, n)
    values: Tensor = torch.linalg.svdvals(trace.state(layer, n).double())
    return values


def effective_rank(trace: Trace, layer: int, n: int) -> Tensor:
    """(H,): how many directions S_n uses, from 1 to its rank; 0 for a state of zeros.

    exp of the entropy of the singular values divided by their sum (Roy and Vetterli 2007, "The
    effective rank: a measure of effective dimensionality").
    """
    values = singular_values(trace, layer, n)
    total = values.sum(dim=-1)
    share = values / torch.where(total > 0, total, 1.0)[:, None]
    entropy = -torch.xlogy(share, share).sum(dim=-1)
    return torch.where(total > 0, entropy.exp(), 0.0)


def norm_bound(trace: Trace, layer: int) -> Tensor:
    """(H,): max_m |k_m| |v_m| / (1 - gamma), which the norm of no S_n exceeds; inf for gamma 1.

    The geometric series bounds the sum of the `contributions`.
    """
    largest = _term_norms(trace, layer, trace.length).amax(dim=-1)
    gamma = trace.gamma(layer).to(largest.device)
    bound = torch.where(gamma < 1, largest / (1 - gamma), torch.inf)
    for change in trace.changes(layer).states:  # an edit may add to a state, or scale it up
        bound = bound * change.scale.to(bound).abs().clamp(min=1)
        if change.added is not None:
            bound = bound + torch.linalg.vector_norm(change.added, dim=(-2, -1)).to(bound)
    return bound


def recall(trace: Trace, layer: int, n: int) -> Tensor:
    """(H, n+1): cosine between k_m S_n, what key m finds in the state, and the value v_m.

    1 where the state gives the value back up to its size, 0 where the key or the value is zero.
    """
    check_position(trace, n)
    k, v = trace.k(layer)[:, : n + 1].double(), trace.v(layer)[:, : n + 1].double()
    readout = k @ trace.state(layer, n).double()
    lengths = torch.linalg.vector_norm(readout, dim=-1) * torch.linalg.vector_norm(v, dim=-1)
    cosine = (readout * v).sum(dim=-1) / torch.where(lengths > 0, lengths, 1.0)
    return cosine.clamp(-1, 1)  # rounding may carry it past by an ulp


def _term_norms(trace: Trace, layer: int, count: int) -> Tensor:
    """(H, count): |k_m| |v_m|, the Frobenius norm of k_m^T v_m."""
    k, v = (
        torch.linalg.vector_norm(x[:, :count], dim=-1, dtype=torch.float64)
        for x in (trace.k(layer), trace.v(layer))
    )
    norms: Tensor = k * v
    return norms

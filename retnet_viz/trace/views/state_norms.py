"""The norms of all states without the states: from the keys, values and decays of a text.

Shapes: T tokens, H heads, d_k and d_v the widths of a head's keys and values, B tokens a stretch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retnet_viz.model.observe import listening
from retnet_viz.model.position import chunk_decay
from retnet_viz.model.retention import chunkwise, recurrent

_STRETCH = 64  # tokens from one state, whose norm is taken as it is, to the next
_AT_ONCE = 64  # stretches
_LEAST = 1e-8  # share of its terms below which a squared norm is lost to cancellation


def state_norms(k: Tensor, v: Tensor, gamma: Tensor, state: Tensor | None = None) -> Tensor:
    """(H, T) float64: the Frobenius norms of S_n = gamma S_{n-1} + k_n^T v_n.

    k (H, T, d_k), v (H, T, d_v), gamma (H,); `state` (H, d_k, d_v) is S before the first token,
    zeros if it is not given. Written out, the square of S_n is

        |S_n|^2 = gamma^2 |S_{n-1}|^2 + a_n,   a_n = 2 (k_n S_n) . v_n - |k_n|^2 |v_n|^2

    and k_n S_n is what the chunkwise form gives a query k_n (equation 7). Memory is O(T), time that
    of one pass of retention. Every 64th state is computed exactly, so that no error adds up. Where
    the terms nearly cancel, the states are computed one by one.
    """
    if state is None:
        state = k.new_zeros(len(k), k.shape[-1], v.shape[-1])
    state = state.double()
    norms = []
    step = _STRETCH * _AT_ONCE
    for k_part, v_part in zip(k.split(step, dim=1), v.split(step, dim=1), strict=True):
        part_norms, state = _stretches(k_part.double(), v_part.double(), gamma, state)
        norms.append(part_norms)
    return torch.cat(norms, dim=-1)


def _stretches(k: Tensor, v: Tensor, gamma: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The norms of some stretches, (H, T), from the state before them; and the state after."""
    states = [state]

    def keep(name: str, tensor: Tensor) -> None:
        if name == "retention.state":
            states.append(tensor[0])

    with torch.no_grad(), listening(keep):
        outputs = chunkwise(k[None], k[None], v[None], gamma, state[None], _STRETCH)[0][0]
    before = torch.stack(states[:-1], dim=1)  # (H, N, d_k, d_v), of the N stretches
    increments = 2 * (outputs * v).sum(-1) - k.square().sum(-1) * v.square().sum(-1)
    length = increments.shape[-1]
    padding = before.shape[1] * _STRETCH - length
    increments = torch.nn.functional.pad(increments, (0, padding)).unflatten(-1, (-1, _STRETCH))
    # The sums of gamma^(2(n-m)) a_m are a retention, in its parallel form, by gamma^2.
    decay = chunk_decay(gamma.square(), increments.mT)
    start = before.square().sum((-2, -1))[..., None] * decay.xi.mT
    squares, terms = (
        (a @ decay.matrix.mT + start).flatten(-2)[:, :length]
        for a in (increments, increments.abs())
    )
    for n in (squares < _LEAST * terms).any(0).nonzero().flatten().tolist():
        i, first = n // _STRETCH, n // _STRETCH * _STRETCH
        stretch = slice(first, n + 1)
        with torch.no_grad():
            _, exact = recurrent(
                k[None, :, stretch], k[None, :, stretch], v[None, :, stretch], gamma,
                before[None, :, i],
            )  # fmt: skip
        squares[:, n] = exact[0].square().sum((-2, -1))
    return squares.sqrt(), states[-1]

"""The three forms of retention, side by side (Sun et al. 2023, arXiv:2307.08621, section 2).

Shapes
    q, k    (B, H, T, d_k)   after projection and rotation; k carries the factor d_k**-0.5
    v       (B, H, T, d_v)
    gamma   (H,)             decay per token of each head, float64
    state   (B, H, d_k, d_v) S, the sum over all earlier tokens; None at the start of a text
    output  (B, H, T, d_v)   before the per-head normalisation

Every form takes the state before its first token and returns the state after its last one, so a
text can be read in pieces, each in another form. Where q, k, v have 16 bits the state is in
float32: it is a sum over the whole text.

The scores are scaled by d_k**-0.5 and no more. The paper's other two normalisations (section 2.4:
D by its row sums, the weights by their absolute row sums) rescale a whole row of the weights, which
the per-head normalisation cancels; the authors' code applies them differently in each form, so its
forms disagree wherever the epsilon of that normalisation is felt.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retnet_viz.model.inplace import add, multiply
from retnet_viz.model.observe import may_overwrite, publish
from retnet_viz.model.position import ChunkDecay, chunk_decay, decay_cache

MODES = ("parallel", "recurrent", "chunkwise")
# Tokens per chunk by default: enough for matrix products that fill a processor.
CHUNK_SIZE = 64


def retain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gamma: Tensor,
    state: Tensor | None = None,
    mode: str = "parallel",
    chunk_size: int = CHUNK_SIZE,
) -> tuple[Tensor, Tensor]:
    """Retention in the named form: (output, state after the last token)."""
    if mode == "parallel":
        return parallel(q, k, v, gamma, state)
    if mode == "recurrent":
        return recurrent(q, k, v, gamma, state)
    if mode == "chunkwise":
        return chunkwise(q, k, v, gamma, state, chunk_size)
    raise ValueError(f"mode must be one of {MODES}, not {mode!r}")


def parallel(
    q: Tensor, k: Tensor, v: Tensor, gamma: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """O = (Q K^T * D) V, all tokens at once (equation 5)."""
    decay = chunk_decay(gamma, q)
    output = inner_output(q, k, v, decay)
    if state is not None:
        output = add(output, cross_output(q, state, decay))
    state = next_state(k, v, state, decay)
    state = publish("retention.state", state)
    return output, state


def recurrent(
    q: Tensor, k: Tensor, v: Tensor, gamma: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """S_n = gamma S_{n-1} + k_n^T v_n,  o_n = q_n S_n, one token after the other (equation 6)."""
    if state is None:
        state = empty_state(k, v)
    decay = gamma.to(state).view(-1, 1, 1)
    # A listener and the backward pass need every state; else each one overwrites the one before.
    in_place = may_overwrite()
    is_ours = False  # the first state is the caller's
    outputs = []
    for q_n, k_n, v_n in zip(*(x.to(state).unbind(dim=-2) for x in (q, k, v)), strict=True):
        decayed = state.mul_(decay) if is_ours else decay * state
        factors = (k_n[..., :, None], v_n[..., None, :])
        state = decayed.addcmul_(*factors) if in_place else torch.addcmul(decayed, *factors)
        is_ours = in_place
        state = publish("retention.state", state)
        outputs.append(q_n[..., None, :] @ state)
    return torch.cat(outputs, dim=-2).to(v.dtype), state


@decay_cache()
def chunkwise(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gamma: Tensor,
    state: Tensor | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> tuple[Tensor, Tensor]:
    """Parallel inside a chunk, recurrent from chunk to chunk (equation 7, corrected).

        O_i = (Q_i K_i^T * D) V_i + (Q_i S_{i-1}) * xi,   xi_j   = gamma^(j+1)
        S_i = K_i^T (V_i * zeta) + gamma^B S_{i-1},       zeta_j = gamma^(B-j-1)

    j counts a chunk's tokens from 0. The paper's first version printed R_i for S_{i-1} and no
    zeta, which contradicts equations 5 and 6; its last one leaves open where j starts, and counted
    from 1 its state is not that of equation 6. The last chunk may be shorter than `chunk_size`.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be 1 or more, not {chunk_size}")
    if state is None:
        state = empty_state(k, v)
    outputs = []
    for q_i, k_i, v_i in zip(*(x.split(chunk_size, dim=-2) for x in (q, k, v)), strict=True):
        decay = chunk_decay(gamma, q_i)
        inner = inner_output(q_i, k_i, v_i, decay)
        cross = cross_output(q_i, state, decay)
        inner = publish("retention.inner", inner)
        cross = publish("retention.cross", cross)
        # Tokens first, heads second: so the heads' normalisation finds each token's in one place.
        outputs.append(add(inner, cross).transpose(1, 2))
        state = next_state(k_i, v_i, state, decay)
        state = publish("retention.state", state)
    return torch.cat(outputs, dim=1).transpose(1, 2), state


def empty_state(k: Tensor, v: Tensor) -> Tensor:
    """The state before the first token: zeros (B, H, d_k, d_v), in float32 at least."""
    dtype = torch.promote_types(v.dtype, torch.float32)
    return torch.zeros(*k.shape[:2], k.shape[-1], v.shape[-1], dtype=dtype, device=v.device)


def next_state(k: Tensor, v: Tensor, state: Tensor | None, decay: ChunkDecay) -> Tensor:
    """The state after a chunk of B tokens: K^T (V * zeta) + gamma^B S (equation 7).

    zeta is a factor per token, so it can multiply K instead of V; K is narrower.
    """
    zeta = decay.zeta
    update = (k.to(zeta.dtype) * zeta).mT @ v.to(zeta.dtype)
    return update if state is None else add(update, decay.total * state)


def inner_output(q: Tensor, k: Tensor, v: Tensor, decay: ChunkDecay) -> Tensor:
    """The output that comes from the tokens of the same chunk: (Q K^T * D) V (equation 5)."""
    scores = q @ k.mT
    scores = publish("retention.scores", scores)
    matrix = publish("retention.decay", decay.matrix)
    weights = multiply(scores, matrix)
    weights = publish("retention.weights", weights)
    return weights @ v


def cross_output(q: Tensor, state: Tensor, decay: ChunkDecay) -> Tensor:
    """The output that comes from the state before the chunk: (Q S) * xi (equation 7).

    xi multiplies Q, for the same reason as zeta multiplies K in `next_state`.
    """
    return ((q.to(state.dtype) * decay.xi) @ state).to(q.dtype)
